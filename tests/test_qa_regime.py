"""The regime of features, on a little map with two editions of which everything is known."""

import numpy as np
import pytest
import shapely
from test_qa_drawn_alike import sides
from two_maps import SHIFT, LittleField, base_maps, is_west, on_new_map, plots

from qa.base_maps import BaseMaps, Edition
from qa.captures import Evidence
from qa.coincidence import CELLS, LIES
from qa.drawn_alike import Drawing, drawn_alike
from qa.limits import limits_in_force
from qa.origin import (
    DATED_AFTER,
    DATED_BEFORE,
    MISPLACED_RATIO,
    NEITHER,
    NEW,
    Expected,
    Signs,
    date_prior,
    origin_chances,
)
from qa.regime import REASONS, classify
from qa.same_move import Doubted
from qa.whole_maps import WholeMaps

LOADED = np.datetime64("2005-06-01")
BEFORE, AFTER, NEVER = np.datetime64("1999-03-02"), np.datetime64("2007-03-02"), np.datetime64("NaT")


@pytest.fixture(scope="module")
def base():
    return base_maps()


@pytest.fixture(scope="module")
def western():
    areas, buildings = plots()
    west = is_west(areas)
    return areas[west], buildings[west]


def judged(geometries, base, field=None, **columns):
    columns.setdefault("captured_on", np.full(len(geometries), NEVER, dtype="datetime64[D]"))
    evidence = Evidence(new_map_loaded_on=LOADED, ground_methods=("GPS",), **columns)
    return classify(np.asarray(geometries, dtype=object), evidence, base, field or LittleField(), limits_in_force())


def dates(*days):
    return np.array(days, dtype="datetime64[D]")


def mixed(areas):
    """Fifty traced on the old map, then fifty on the new one; dates for all but the last ten of each."""
    geometries = np.concatenate([areas[:50], on_new_map(areas[50:100])])
    captured = dates(*[BEFORE] * 40, *[NEVER] * 10, *[AFTER] * 40, *[NEVER] * 10)
    return geometries, captured


def test_undated_features_are_told_by_the_map_they_coincide_with(base, western):
    geometries, captured = mixed(western[0])
    regimes = judged(geometries, base, captured_on=captured)
    assert set(regimes.regime[40:50]) == {"affected"}
    assert set(regimes.regime[90:]) == {"already_new"}
    assert all("coincides_with_old_map" in codes for codes in regimes.reasons[40:50])
    assert regimes.wrong_chance_ratio[[*range(40, 50), *range(90, 100)]].max() < 0.05


def test_a_wrong_date_does_not_outweigh_coincidence(base, western):
    geometries, captured = mixed(western[0])
    captured[0], captured[50] = AFTER, BEFORE
    regimes = judged(geometries, base, captured_on=captured)
    assert list(regimes.regime[[0, 50]]) == ["affected", "already_new"]
    assert "date_contradicted" in regimes.reasons[0]
    assert "date_contradicted" in regimes.reasons[50]


def test_free_points_are_as_doubtful_as_dates_are_elsewhere(base, western):
    spots = shapely.points(np.random.default_rng(8).uniform(0, 850, (150, 2)))
    said = np.full(150, BEFORE)
    doubt = [
        np.median(judged(spots, base, captured_on=said, date_wrong_ratio=ratio).wrong_chance_ratio)
        for ratio in (0.002, 0.02, 0.1)
    ]
    assert doubt[0] < doubt[1] < doubt[2]


def beside(hedges, seed=7):
    """A tree about a metre from each outline."""
    random = np.random.default_rng(seed)
    along = shapely.line_interpolate_point(shapely.boundary(hedges), random.uniform(0, 200, len(hedges)))
    return shapely.points(shapely.get_coordinates(along) + random.normal(0, 0.7, (len(hedges), 2)))


def in_houses(buildings, seed=4):
    """An address in each building."""
    centres = shapely.get_coordinates(shapely.centroid(buildings))
    return shapely.points(centres + np.random.default_rng(seed).normal(0, 0.3, centres.shape))


def test_beyond_the_edge_of_the_maps_nothing_is_settled(base, western):
    """And nothing is learned there: the others fare as if they were the whole layer."""
    outlines = western[0][::2]
    beyond = shapely.transform(outlines, lambda places: places + np.array([0.0, 5000.0]))
    both = np.concatenate([outlines, beyond])
    regimes = judged(both, base, captured_on=np.full(len(both), BEFORE))
    alone = judged(outlines, base, captured_on=np.full(len(outlines), BEFORE))
    first, rest = slice(0, len(outlines)), slice(len(outlines), None)
    np.testing.assert_allclose(regimes.wrong_chance_ratio[first], alone.wrong_chance_ratio, rtol=0.2, atol=1e-5)
    assert not any("maps_show_nothing" in codes for codes in regimes.reasons[first])
    assert regimes.wrong_chance_ratio[rest].min() > limits_in_force().wrong_chance_ratio
    assert all("maps_show_nothing" in codes for codes in regimes.reasons[rest])


def maps_of(*editions):
    drawings = drawn_alike(*(Drawing(each, np.full(len(each), None), np.full(len(each), "")) for each in editions))
    return BaseMaps.of(*(Edition.of(each.geometries, each.ids) for each in drawings))


@pytest.mark.parametrize("whole", ["old", "new"])
def test_where_only_one_of_the_maps_reaches_nothing_is_settled(western, whole):
    """A layer would seem to lie where that one shows something, all of it."""
    areas, buildings = plots()
    old = np.concatenate([shapely.boundary(areas), buildings])
    south = shapely.bounds(old)[:, 3] < 600.0
    base = maps_of(old, on_new_map(old[south])) if whole == "old" else maps_of(old[south], on_new_map(old))
    outlines = western[0][::2]
    outlines = outlines if whole == "old" else on_new_map(outlines)
    regimes = judged(outlines, base, captured_on=np.full(len(outlines), BEFORE if whole == "old" else AFTER))
    beyond = shapely.bounds(outlines)[:, 1] > 850.0
    assert all("maps_show_nothing" in codes for codes, is_so in zip(regimes.reasons, beyond, strict=True) if is_so)
    assert regimes.wrong_chance_ratio[beyond].min() > limits_in_force().wrong_chance_ratio
    assert not any("dates_disproved" in codes for codes in regimes.reasons)
    right = "affected" if whole == "old" else "already_new"
    assert set(regimes.regime[shapely.bounds(outlines)[:, 3] < 550.0]) == {right}


@pytest.mark.parametrize("with_fences", ["old", "new"])
def test_what_only_one_of_the_maps_shows_is_no_evidence(western, with_fences):
    """Plots follow their fences, which the other map leaves out: they would seem to be off that one."""
    areas, buildings = plots()
    both = np.concatenate([buildings, sides(areas)])
    old, new = (both if with_fences == which else buildings for which in ("old", "new"))
    base = maps_of(old, on_new_map(new)).in_common
    assert len(base.before.geometries) == len(base.after.geometries) == len(buildings)
    outlines, captured = mixed(western[0])
    regimes = judged(outlines, base, captured_on=captured)
    assert "already_new" not in regimes.regime[:40]
    assert "affected" not in regimes.regime[50:90]


def test_maps_that_differ_by_a_few_features_stay_as_they_are(base):
    old, new = base.before.geometries, base.after.geometries
    fewer = maps_of(old, new[20:])
    assert fewer.in_common is fewer


@pytest.mark.parametrize("with_buildings", ["neither", "old", "new"])
def test_maps_of_which_one_has_no_buildings_show_nothing_to_points_but_to_outlines(western, with_buildings):
    """What is about a house would seem to be about one on that map alone, whichever it was drawn on."""
    areas, buildings = plots()
    fences, both = sides(areas), np.concatenate([sides(areas), buildings])
    old, new = (both if with_buildings == which else fences for which in ("old", "new"))
    base = maps_of(old, on_new_map(new)).in_common
    for layer, is_settled in (("outlines", True), ("addresses", False)):
        geometries = LAYERS[layer](*western)
        regimes = judged(geometries, base, captured_on=np.full(len(geometries), BEFORE))
        assert ("maps_show_nothing" in regimes.reasons[0]) is not is_settled
        settled = regimes.wrong_chance_ratio <= limits_in_force().wrong_chance_ratio
        assert settled.all() if is_settled else not settled.any()
        assert set(regimes.regime[settled]) <= {"affected"}
    gardens = shapely.buffer(in_houses(western[1]), 9.0)
    chances = judged(gardens, base, captured_on=np.full(len(gardens), BEFORE))
    assert set(chances.regime) <= {"affected", "unknown"}
    assert not any("dates_disproved" in codes for codes in chances.reasons)


LAYERS = {"outlines": lambda areas, buildings: areas[::2], "addresses": lambda areas, buildings: in_houses(buildings)}
LAYERS["trees"] = lambda areas, buildings: beside(areas)


@pytest.mark.parametrize("layer", list(LAYERS))
@pytest.mark.parametrize("truly_old", [True, False])
def test_dates_that_are_wrong_all_at_once_settle_nothing_on_the_wrong_map(base, western, layer, truly_old):
    """The day of a load, or a layer shifted years ago: all dates say the same map, and all lie on the other."""
    geometries = LAYERS[layer](*western)
    geometries = geometries if truly_old else on_new_map(geometries)
    regimes = judged(geometries, base, captured_on=np.full(len(geometries), AFTER if truly_old else BEFORE))
    wrong, right = ("already_new", "affected") if truly_old else ("affected", "already_new")
    settled = regimes.wrong_chance_ratio <= limits_in_force().wrong_chance_ratio
    assert not (settled & (regimes.regime == wrong)).any()
    assert all("dates_disproved" in codes for codes in regimes.reasons)
    if layer == "outlines":
        assert set(regimes.regime) == {right}
        assert all("date_contradicted" in codes for codes in regimes.reasons)


@pytest.mark.parametrize("layer", list(LAYERS))
def test_a_layer_that_was_only_listed_stays_if_it_lies_on_the_new_map(base, western, layer):
    regimes = judged(on_new_map(LAYERS[layer](*western)), base, captured_on=None)
    settled = regimes.wrong_chance_ratio <= limits_in_force().wrong_chance_ratio
    assert not (settled & (regimes.regime == "affected")).any()
    assert all("listing_disproved" in codes for codes in regimes.reasons)


def test_one_wrong_day_among_right_ones_is_found(base, western):
    """A hundred trees loaded in a day, drawn like the others on the old map; what they alone could not tell."""
    trees = beside(western[0])
    captured = np.full(len(trees), BEFORE)
    captured[:100] = AFTER
    captured[-40:], trees[-40:] = np.datetime64("2008-05-01"), on_new_map(trees[-40:])
    regimes = judged(trees, base, captured_on=captured)
    disproved = np.array(["dates_disproved" in codes for codes in regimes.reasons])
    assert disproved[:100].all()
    assert not disproved[100:].any()
    settled = regimes.wrong_chance_ratio <= limits_in_force().wrong_chance_ratio
    assert not (settled & (regimes.regime == "already_new"))[:100].any()


def test_part_of_a_layer_that_was_shifted_before_is_found_by_its_place(base, western):
    """Its dates say the old map, and so they should; but somebody moved the northern half."""
    addresses = in_houses(western[1])
    north = shapely.get_y(addresses) > 600
    addresses[north] = on_new_map(addresses[north])
    regimes = judged(addresses, base, captured_on=np.full(len(addresses), BEFORE))
    settled = regimes.wrong_chance_ratio <= limits_in_force().wrong_chance_ratio
    assert (settled & (regimes.regime == "affected"))[north].mean() < 0.02
    assert (settled & (regimes.regime == "affected"))[~north].mean() > 0.8


@pytest.mark.parametrize("kind", ["outlines", "addresses"])
def test_what_was_shifted_before_here_and_there_not_quite_to_its_place_is_not_shifted_again(base, western, kind):
    """By somebody's tool or by eye; nothing in its columns tells."""
    geometries, share = (western[0].copy(), 0.3) if kind == "outlines" else (in_houses(western[1]), 0.5)
    random = np.random.default_rng(12)
    before, off = random.random(len(geometries)) < share, random.normal(0, 0.2, (len(geometries), 2))
    for row in np.flatnonzero(before):
        geometries[row] = shapely.transform(on_new_map(geometries[row]), lambda places, row=row: places + off[row])
    said = {"captured_on": np.full(len(geometries), BEFORE), "date_wrong_ratio": 0.005}
    regimes = judged(geometries, base, **said)
    accepted = (regimes.regime == "affected") & (regimes.wrong_chance_ratio <= limits_in_force().wrong_chance_ratio)
    assert not accepted[before].any()
    assert accepted[~before].any()


@pytest.mark.parametrize(("wrong_ratio", "doubt"), [(0.03, 0.002), (0.2, 0.2)])
def test_where_much_was_shifted_before_a_survey_may_have_been_shifted_with_it(wrong_ratio, doubt):
    trees, method = free(10), np.full(10, "GPS")
    regimes = judged(trees, None, method=method, date_wrong_ratio=wrong_ratio)
    assert set(regimes.regime) == {"unaffected"}
    assert regimes.wrong_chance_ratio == pytest.approx(doubt)


def test_a_layer_displaced_as_a_whole_is_for_review_what_was_measured_on_the_ground_too(base, western):
    geometries = shapely.transform(western[0], lambda points: points + np.array([3.0, 2.0]))
    method = np.array(["Land-Line"] * (len(geometries) - 5) + ["GPS"] * 5)
    regimes = judged([*geometries, None], base, captured_on=None, method=np.append(method, ""))
    assert set(regimes.regime[:-1]) == {"unknown"}
    assert all("displaced_together" in codes for codes in regimes.reasons[:-1])
    np.testing.assert_allclose(np.median(regimes.displaced_by_m[:-1], axis=0), [3.0, 2.0], atol=0.15)
    assert regimes.reasons[-1] == ["no_geometry"]
    assert np.isnan(judged(western[0], base).displaced_by_m).all()


def test_where_the_control_doubts_that_nothing_moved_nothing_is_left_there(base):
    """Both editions of a tile are the same because one of them is the wrong one."""
    areas, _ = plots()
    east = areas[shapely.bounds(areas)[:, 0] > 950]
    south = shapely.bounds(east)[:, 3] < 600
    places = shapely.get_coordinates(shapely.get_point(shapely.get_exterior_ring(east), 0))
    doubted = Doubted.of(base, places, np.where(south[:, None], SHIFT, 0.0))
    evidence = Evidence(new_map_loaded_on=LOADED)
    regimes = classify(east, evidence, base, LittleField(), limits_in_force(), doubted)
    is_doubted = np.array(["still_contradicted" in codes for codes in regimes.reasons])
    assert is_doubted[south].mean() > 0.95
    assert is_doubted[~south].mean() < 0.1
    assert set(regimes.regime[is_doubted]) == {"unknown"}
    assert not any("map_did_not_move" in regimes.reasons[row] for row in np.flatnonzero(is_doubted))
    assert set(regimes.regime[~is_doubted]) == {"unaffected"}


class EverywhereField(LittleField):
    """A shift that moves the east as well."""

    def __call__(self, points):
        return points + SHIFT


@pytest.mark.parametrize(("uncertainty_m", "is_told"), [(0.3, True), (1.5, False)])
def test_land_that_a_sure_shift_moves_is_not_left_where_the_maps_agree(base, uncertainty_m, is_told):
    areas, _ = plots()
    east = areas[shapely.bounds(areas)[:, 0] > 950]
    regimes = judged(east, base, EverywhereField(uncertainty_m), captured_on=np.full(len(east), BEFORE))
    assert {"still_contradicted" in codes for codes in regimes.reasons} == {is_told}
    assert set(regimes.regime) == {"unknown" if is_told else "unaffected"}


@pytest.mark.parametrize("layer", list(LAYERS))
def test_where_both_editions_are_the_wrong_one_the_features_there_tell(base, western, layer):
    """A part of the old map was replaced by the new one, and no control knows."""
    south_west = (shapely.bounds(base.before.geometries)[:, 2:] < 420).all(axis=1)
    mixed = np.where(south_west, base.after.geometries, base.before.geometries)
    maps = BaseMaps.of(Edition.of(mixed, base.before.ids), base.after)
    geometries = LAYERS[layer](*western)
    there = (shapely.bounds(geometries)[:, 2:] < 330).all(axis=1)
    unsure = LittleField(uncertainty_m=3.0)
    regimes = judged(geometries, maps, unsure, captured_on=np.full(len(geometries), BEFORE))
    settled = regimes.wrong_chance_ratio <= limits_in_force().wrong_chance_ratio
    told = np.array([not {"still_contradicted", "displaced_together"}.isdisjoint(codes) for codes in regimes.reasons])
    assert not settled[there].any()
    assert told[there].all()  # this map was shifted alike all over, so its outlines may seem displaced instead
    right = judged(geometries, base, captured_on=np.full(len(geometries), BEFORE))
    assert not any("still_contradicted" in codes for codes in right.reasons)


def test_land_that_did_not_move_is_not_doubted_by_what_lies_on_it(base):
    areas, buildings = plots()
    for geometries in (areas, in_houses(buildings)):
        regimes = judged(geometries, base, captured_on=np.full(len(geometries), BEFORE))
        east = shapely.bounds(geometries)[:, 0] > 950
        assert set(regimes.regime[east]) == {"unaffected"}


def test_hand_traced_features_still_coincide(base, western):
    geometries, captured = mixed(western[0])
    shaky = np.random.default_rng(3)
    for row in range(40, 50):
        corners = shapely.get_coordinates(geometries[row])[:-1]
        geometries[row] = shapely.Polygon(corners + shaky.normal(0, 0.15, corners.shape))
    assert set(judged(geometries, base, captured_on=captured).regime[40:50]) == {"affected"}


def test_points_in_buildings_are_told_by_the_layers_own_habit(base, western):
    buildings = western[1]
    random = np.random.default_rng(4)
    centres = shapely.get_coordinates(shapely.centroid(np.concatenate([buildings, on_new_map(buildings)])))
    points = shapely.points(centres + random.normal(0, 0.3, centres.shape))
    half = len(buildings)
    captured = dates(*[BEFORE] * (half - 20), *[NEVER] * 20, *[AFTER] * (half - 20), *[NEVER] * 20)
    regimes = judged(points, base, captured_on=captured)
    assert np.mean(regimes.regime[half - 20 : half] == "affected") >= 0.9
    assert np.mean(regimes.regime[-20:] == "already_new") >= 0.9
    confident = regimes.wrong_chance_ratio < 0.05
    assert not (confident[-20:] & (regimes.regime[-20:] == "affected")).any()


@pytest.mark.parametrize(
    "how",
    [{}, {"method": np.full(100, " ")}, {"scale": np.full(100, np.nan)}, {"method": np.array([""] * 99 + ["GPS"])}],
)
def test_a_point_a_few_metres_off_is_doubted_in_a_layer_that_never_says_how_it_was_captured(base, western, how):
    """It may come from a map of 1:10 000; where the layer says such things, it would say so."""
    centres = shapely.get_coordinates(shapely.centroid(western[1][:100]))
    centres += np.random.default_rng(4).normal(0, 0.3, centres.shape)
    centres[0] += [2.5, 0.5]
    points = shapely.points(centres)
    told, untold = (judged(points, base, captured_on=None, **said) for said in ({"scale": np.full(100, 2500.0)}, how))
    is_told = bool(how.get("method", np.array([""]))[-1].strip())
    assert (untold.wrong_chance_ratio[0] > 2.5 * told.wrong_chance_ratio[0]) == (not is_told)
    assert np.median(untold.wrong_chance_ratio[1:]) < 0.01


def free(count, seed=5):
    return shapely.points(np.random.default_rng(seed).uniform(60, 700, (count, 2)))


def test_free_points_follow_their_dates_and_undated_ones_are_for_review(base):
    captured = dates(*[BEFORE] * 60, *[AFTER] * 60, *[NEVER] * 20)
    regimes = judged(free(140), base, captured_on=captured)
    sure = regimes.wrong_chance_ratio <= limits_in_force().wrong_chance_ratio
    assert np.mean(regimes.regime[:60] == "affected") > 0.9
    assert np.mean(regimes.regime[60:120] == "already_new") > 0.9
    assert sure[120:].mean() < 0.15


def test_a_method_that_always_meant_the_old_map_decides_for_the_undated(base):
    captured = dates(*[BEFORE] * 60, *[AFTER] * 60, *[NEVER] * 20)
    method = np.array(["Land-Line"] * 60 + ["MasterMap"] * 60 + ["Land-Line"] * 20)
    regimes = judged(free(140), base, captured_on=captured, method=method)
    assert np.mean(regimes.regime[120:] == "affected") > 0.9
    assert any("layer_habit" in codes for codes in regimes.reasons[120:])


def test_where_the_map_did_not_move_nothing_is_affected(base):
    areas, _ = plots()
    east = areas[shapely.bounds(areas)[:, 0] > 950]
    regimes = judged(east, base)
    assert set(regimes.regime) == {"unaffected"}
    assert all(codes == ["map_did_not_move"] for codes in regimes.reasons)


def test_an_outline_of_which_less_than_half_moved_is_told_by_that_part(base, western):
    """Traced on the old map, dated after the new one: to leave it would leave its western end behind."""
    areas, _ = plots()
    row = areas[8::20][13:20]  # from land that moved into land that did not
    across = shapely.union_all(row)
    moved = shapely.get_coordinates(across)[:, 0] < 900.0
    assert 0.1 < moved.mean() < 0.5
    geometries, captured = mixed(western[0])
    regimes = judged([*geometries, across], base, captured_on=np.append(captured, AFTER))
    assert regimes.regime[-1] == "affected" or regimes.wrong_chance_ratio[-1] > 0.05


def test_ground_measurements_small_scales_and_rounded_points_need_no_map():
    points = [shapely.Point(100.3, 200.7), shapely.Point(101.3, 200.7), shapely.Point(100, 205), None, shapely.Point()]
    method = np.array(["GPS survey", "", "", "", ""])
    scale = np.array([np.nan, 10000, np.nan, np.nan, np.nan])
    regimes = judged(points, None, method=method, scale=scale)
    assert list(regimes.regime) == ["unaffected", "unknown", "unknown", "unaffected", "unaffected"]
    assert [codes[0] for codes in regimes.reasons] == [
        "measured_on_ground",
        "small_scale",
        "coarse_coordinates",
        "no_geometry",
        "no_geometry",
    ]


@pytest.mark.parametrize("count", [12, 100])
def test_a_misplaced_outline_among_traced_ones_is_not_sure(base, western, count):
    geometries = western[0][:count].copy()
    geometries[7] = shapely.transform(geometries[7], lambda points: points + np.array([14.0, 9.0]))
    regimes = judged(geometries, base, captured_on=np.full(count, BEFORE))
    assert regimes.wrong_chance_ratio[7] > limits_in_force().wrong_chance_ratio
    assert np.delete(regimes.wrong_chance_ratio, 7).max() < limits_in_force().wrong_chance_ratio


def test_a_layer_that_is_to_stay_stays_but_not_what_lies_on_the_old_map_or_beside_both(base, western):
    areas = western[0]
    misplaced = shapely.transform(areas[99], lambda points: points + np.array([14.0, 9.0]))
    geometries = [*on_new_map(areas[:97]), areas[97], misplaced, *beside(on_new_map(areas[:60]))]
    regimes = judged(geometries, base, captured_on=np.full(len(geometries), BEFORE), is_to_stay=True)
    limit = limits_in_force().wrong_chance_ratio
    assert np.mean(np.delete(regimes.wrong_chance_ratio, [97, 98]) < limit) > 0.99
    assert regimes.wrong_chance_ratio[98] > limit
    assert regimes.reasons[97] == ["coincides_with_old_map", "left_contradicted"]
    assert (regimes.regime[97], regimes.wrong_chance_ratio[97]) == ("unknown", 1.0), "it is wrong where it is left"
    assert all("layer_left" in codes for codes in np.delete(np.array(regimes.reasons, dtype=object), [97, 98]))


@pytest.mark.parametrize("layer", ["outlines", "trees", "addresses"])
def test_a_layer_that_is_to_stay_but_lies_on_the_old_map_is_for_review(base, western, layer):
    geometries = {"outlines": western[0], "trees": beside(western[0]), "addresses": in_houses(western[1])}[layer]
    regimes = judged(geometries, base, is_to_stay=True)
    is_settled = np.array(["left_contradicted" not in codes for codes in regimes.reasons])
    assert np.mean(is_settled) < 0.05
    assert (regimes.wrong_chance_ratio[is_settled] > limits_in_force().wrong_chance_ratio).all()


def test_a_layer_of_which_much_lies_on_the_old_map_is_not_left_where_nothing_tells_its_map(base, western):
    outlines = np.concatenate([western[0][:10], on_new_map(western[0][10:60])])
    trees = shapely.points(np.random.default_rng(8).uniform(0, 850, (30, 2)))
    few, many = (judged([*outlines[first:], *trees], base, is_to_stay=True) for first in (9, 0))
    assert all("layer_left" in codes for codes in few.reasons[-30:])
    assert set(few.regime[-30:]) == {"already_new"} and set(many.regime[-30:]) == {"unknown"}
    assert set(many.regime[10:60]) == {"already_new"}


def test_a_layer_that_is_to_stay_does_so_without_maps():
    regimes = judged(free(10), None, captured_on=np.full(10, BEFORE), is_to_stay=True)
    assert set(regimes.regime) == {"already_new"}
    assert regimes.reasons[0] == ["layer_left"]
    assert regimes.wrong_chance_ratio.max() < limits_in_force().wrong_chance_ratio


def test_without_dates_and_maps_the_officers_list_stands():
    regimes = judged(free(10), None)
    assert set(regimes.regime) == {"affected"}
    assert regimes.reasons[0] == ["listed_for_shifting"]


def test_the_order_of_the_rows_does_not_matter(base, western):
    geometries, captured = mixed(western[0])
    order = np.random.default_rng(6).permutation(len(geometries))
    straight = judged(geometries, base, captured_on=captured)
    mixed_up = judged(geometries[order], base, captured_on=captured[order])
    assert list(straight.regime[order]) == list(mixed_up.regime)


def test_an_empty_layer_has_no_regimes(base):
    assert len(judged([], base).regime) == 0


def test_every_reason_has_a_sentence(base, western):
    geometries, captured = mixed(western[0])
    given = {code for codes in judged(geometries, base, captured_on=captured).reasons for code in codes}
    assert given <= set(REASONS)
    assert all(sentence.endswith(".") for sentence in REASONS.values())


def test_where_many_were_measured_on_the_ground_an_unsaid_method_is_doubted(base):
    """A third of them say GPS; those that say nothing may be GPS too, those that say Land-Line are not."""
    captured = dates(*[BEFORE] * 150)
    method = np.array(["GPS"] * 50 + ["Land-Line"] * 50 + [""] * 50)
    said, unsaid = slice(50, 100), slice(100, 150)
    doubt = judged(free(150), base, captured_on=captured, method=method).wrong_chance_ratio
    assert np.mean(doubt[unsaid] > limits_in_force().wrong_chance_ratio) > 0.8
    assert np.median(doubt[said]) < 0.1 * np.median(doubt[unsaid])
    nobody_gps = judged(free(150), base, captured_on=captured, method=np.where(method == "GPS", "Land-Line", method))
    assert np.median(nobody_gps.wrong_chance_ratio[unsaid]) < 0.5 * np.median(doubt[unsaid])


def test_an_unsaid_method_is_not_doubted_before_the_first_survey_nor_where_a_source_scale_is_said(base):
    """Nobody measured by GPS before the council had one, and what was measured so has no source map."""
    captured = dates(*[BEFORE] * 190)
    method = np.array(["GPS"] * 50 + ["Land-Line"] * 50 + [""] * 90)
    scale = np.full(190, np.nan)
    early, scaled, unsaid = slice(100, 130), slice(130, 160), slice(160, 190)
    captured[early], scale[scaled] = np.datetime64("1994-05-17"), 2500.0
    columns = {"captured_on": captured, "method": method, "scale": scale}
    doubt = judged(free(190), base, **columns).wrong_chance_ratio
    assert np.median(doubt[unsaid]) > 0.1
    assert max(np.median(doubt[early]), np.median(doubt[scaled])) < 0.05
    evidence = Evidence(new_map_loaded_on=LOADED, ground_methods=("GPS",), **columns)
    assert np.flatnonzero(evidence.maybe_ground(190)).tolist() == list(range(160, 190))
    scale[:50] = 500.0  # surveys of this layer state a scale too, so a scale does not tell
    assert evidence.maybe_ground(190)[scaled].all()


def test_an_outline_said_to_be_surveyed_that_lies_on_the_old_map_is_for_review(base, western):
    """A method is a word; forty corners on the lines of the old map are evidence."""
    geometries = np.concatenate([western[0][:5], on_new_map(western[0][5:10])])
    regimes = judged(geometries, base, method=np.array(["GPS"] * 10))
    assert list(regimes.regime) == ["unknown"] * 5 + ["unaffected"] * 5
    assert all("method_contradicted" in codes for codes in regimes.reasons[:5])


def test_addresses_said_to_be_surveyed_that_lie_all_together_on_the_old_map_are_for_review(base, western):
    """One address in its house could be on either map; two hundred are not. Those of the GPS are what they say."""
    addresses = np.concatenate([in_houses(western[1][:150]), on_new_map(in_houses(western[1][150:200]))])
    method = np.array(["GPS of the contractor"] * 150 + ["GPS"] * 50)
    regimes = judged(addresses, base, method=method)
    assert set(regimes.regime[:150]) == {"unknown"}
    assert all("method_contradicted" in codes for codes in regimes.reasons[:150])
    assert np.mean(regimes.regime[150:] == "unaffected") > 0.9


def test_a_tile_that_never_changed_leaves_its_features_unless_the_map_shows_otherwise(base, western):
    unchanged = np.ones(10, dtype=bool)
    without_map = judged(free(10), None, is_unchanged_tile=unchanged)
    assert set(without_map.regime) == {"unaffected"}
    assert without_map.reasons[0] == ["map_did_not_move"]
    contradicted = judged(western[0][:10], base, is_unchanged_tile=unchanged)
    assert set(contradicted.regime) == {"unknown"}
    assert "tile_contradicted" in contradicted.reasons[0]


def test_a_misplaced_point_that_happens_to_lie_in_a_building_of_the_other_map_is_not_sure(base, western):
    """The layer's points lie in buildings of the old map; one beside them is misplaced."""
    buildings = western[1][:100]
    random = np.random.default_rng(9)
    centres = shapely.get_coordinates(shapely.centroid(buildings)) + random.normal(0, 0.3, (100, 2))
    centres[7] = shapely.get_coordinates(shapely.centroid(on_new_map(buildings[7:8])))[0] + [12.0, 9.0]
    regimes = judged(shapely.points(centres), base, captured_on=dates(*[BEFORE] * 100))
    limit = limits_in_force().wrong_chance_ratio
    assert regimes.wrong_chance_ratio[7] > limit
    assert np.median(np.delete(regimes.wrong_chance_ratio, 7)) < limit


def about(buildings, seed=5):
    """A round outline about each building, of a size that has nothing to do with it: it follows no line of the map."""
    random = np.random.default_rng(seed)
    middles = shapely.get_coordinates(shapely.centroid(buildings)) + random.normal(0, 1.5, (len(buildings), 2))
    return shapely.buffer(shapely.points(middles), random.uniform(5, 35, len(buildings)))


def test_an_outline_away_from_the_house_that_all_others_lie_about_is_not_sure(base, western):
    groups = about(western[1][:120])
    groups[7] = shapely.transform(groups[7], lambda points: points + np.array([18.0, 14.0]))
    regimes = judged(groups, base, captured_on=np.full(120, BEFORE), date_wrong_ratio=0.001)
    assert regimes.wrong_chance_ratio[7] > 5 * np.median(np.delete(regimes.wrong_chance_ratio, 7))


def test_points_that_stand_anywhere_do_not_talk_one_another_into_being_misplaced(base, western):
    low, high = np.split(shapely.total_bounds(western[1]), 2)
    places = shapely.points(np.random.default_rng(4).uniform(low, high, (240, 2)))
    few, many = (judged(places[:n], base, captured_on=np.full(n, BEFORE)) for n in (20, 240))
    assert np.median(many.wrong_chance_ratio) < 1.2 * np.median(few.wrong_chance_ratio)


def test_features_that_lie_as_they_should_vouch_for_those_of_which_it_cannot_be_told():
    """Two in three lie as nothing misplaced does; the third in a class that is as usual for either."""
    on_a_line, anywhere = 0, 10
    shares = np.full((2, CELLS), 1e-6)
    shares[0, [on_a_line, anywhere]] = 2 / 3, 1 / 3
    shares[1, [anywhere, -1]] = 1 / 3, 2 / 3
    right, misplaced = shares / shares.sum(axis=1, keepdims=True)
    expected = Expected(right, np.stack([misplaced] * 2), misplaced, np.stack([misplaced] * 2))
    chances = []
    for count in (3, 300):
        classes = np.resize([on_a_line, on_a_line, anywhere], count)
        dated, nothing = np.full(count, DATED_BEFORE), np.zeros(count, dtype=int)
        alike = date_prior(0.02), nothing == 0, True, np.full(count, MISPLACED_RATIO), nothing == 0
        signs = Signs(classes, classes, nothing > 0, dated, nothing, *alike)
        chances.append(origin_chances(signs, expected).chances[2, NEITHER])
    assert chances[1] < 0.5 * MISPLACED_RATIO < chances[0]


def test_a_method_says_nothing_of_being_misplaced():
    """Trees that show nothing, traced from the old map nearly all, of every other one of which that is said."""
    like_any = np.full(CELLS, 1.0 / CELLS)
    expected = Expected(like_any, np.stack([like_any] * LIES), like_any, np.stack([like_any] * LIES))
    count = 200
    every, method = np.ones(count, dtype=bool), np.arange(count) % 2
    dated = np.where(np.arange(count) < 190, DATED_BEFORE, DATED_AFTER)
    method[dated == DATED_AFTER] = 2
    nowhere = np.full(count, CELLS - 1)
    alike = date_prior(0.02), every, True, np.full(count, MISPLACED_RATIO), every
    misplaced = origin_chances(Signs(nowhere, nowhere, every, dated, method, *alike), expected).chances[:, NEITHER]
    assert np.median(misplaced[method == 1]) == pytest.approx(np.median(misplaced[method == 0]), rel=0.1)


def test_houses_that_are_shown_do_not_vouch_for_addresses_whose_houses_the_maps_leave_out(western):
    """Half the houses are shown: every other address lies in none, as a misplaced one does."""
    areas, buildings = plots()
    half = maps_of(*(each(np.concatenate([sides(areas), buildings[::2]])) for each in (np.asarray, on_new_map)))
    addresses = in_houses(western[1])
    in_none = np.array([not shapely.intersects(buildings[::2], each).any() for each in addresses])
    corners = shapely.get_coordinates(buildings)
    whole = WholeMaps.of(half, corners, shapely.get_coordinates(on_new_map(buildings)))
    evidence = Evidence(captured_on=np.full(len(addresses), BEFORE), new_map_loaded_on=LOADED)
    limits = limits_in_force()
    doubt, too_sure = (
        classify(addresses, evidence, half, LittleField(), limits, whole=each).wrong_chance_ratio
        for each in (whole, None)
    )
    assert (doubt[~in_none] < limits.wrong_chance_ratio).mean() > 0.9
    assert np.median(doubt[in_none]) > 1.8 * np.median(too_sure[in_none])


@pytest.mark.parametrize(("wrong_ratio", "is_borne_out"), [(0.02, True), (0.15, False)])
def test_a_method_bears_out_dates_unless_they_are_often_wrong_in_other_layers(wrong_ratio, is_borne_out):
    """Trees that show nothing, as said to be traced from the old map as their dates say: both were so, once."""
    like_any = np.full(CELLS, 1.0 / CELLS)
    expected = Expected(like_any, np.stack([like_any] * LIES), like_any, np.stack([like_any] * LIES))
    count = 200
    is_old, apart = np.arange(count) < 150, np.ones(count, dtype=bool)
    dated, method = np.where(is_old, DATED_BEFORE, DATED_AFTER), np.where(is_old, 1, 2)
    nowhere = np.full(count, CELLS - 1)
    alike = date_prior(wrong_ratio), apart, True, np.full(count, MISPLACED_RATIO), apart
    signs = Signs(nowhere, nowhere, apart, dated, method, *alike)
    doubt = np.median(origin_chances(signs, expected).chances[is_old, NEW])
    assert doubt < 0.1 * wrong_ratio if is_borne_out else doubt > 0.5 * wrong_ratio


@pytest.mark.parametrize("kind", ["points", "outlines"])
def test_another_order_of_the_delivery_changes_no_chance(base, western, kind):
    """An officer would be asked about other features, and decided ones would open, for nothing."""
    geometries, captured = mixed(western[0])
    if kind == "points":
        geometries, captured = free(150), np.full(150, BEFORE)
    order = np.random.default_rng(1).permutation(len(geometries))
    one = judged(geometries, base, captured_on=captured)
    other = judged(geometries[order], base, captured_on=captured[order])
    np.testing.assert_allclose(other.wrong_chance_ratio, one.wrong_chance_ratio[order], rtol=1e-6)
    assert (other.regime == one.regime[order]).all()

"""A map drawn in lines beside one drawn in areas: buildings are buildings on both, however the lines were cut up."""

from itertools import pairwise

import numpy as np
import pytest
import shapely
from two_maps import on_new_map, plots

from qa.base_maps import BaseMaps, Edition
from qa.drawn_alike import LARGEST_M2, Drawing, drawn_alike
from qa.relations import LEFT_BUILDING, SAME_BUILDING, building_relation

FENCES, HOUSES = plots()[0], plots()[1]


def drawing(geometries, kinds="", ids=None):
    count = len(geometries)
    ids = np.full(count, None, dtype=object) if ids is None else ids
    return Drawing(np.asarray(geometries, dtype=object), ids, np.broadcast_to(np.asarray(kinds, dtype=str), count))


def sides(areas):
    """The outlines of areas as lines of one segment each, every one once."""
    rings = [shapely.get_coordinates(area) for area in areas]
    pairs = {tuple(sorted(map(tuple, pair))) for ring in rings for pair in pairwise(ring)}
    return np.array([shapely.LineString(pair) for pair in sorted(pairs)])


def in_lines(houses=HOUSES):
    return drawing(
        np.concatenate([shapely.boundary(houses), sides(FENCES)]),
        np.repeat(["0001", "0030"], [len(houses), len(sides(FENCES))]),
    )


def in_areas(houses=HOUSES):
    return drawing(np.concatenate([on_new_map(houses), on_new_map(sides(FENCES))]))


def centres(areas):
    return shapely.get_coordinates(shapely.centroid(areas))


def is_same(areas, others):
    """Whether two sets of areas are the same but for rounding, in whatever order."""
    total_m2 = [shapely.area(shapely.union_all(each)) for each in (areas, others)]
    return len(areas) == len(others) and np.isclose(*total_m2, rtol=1e-4)


def maps_of(*drawings):
    return BaseMaps.of(*(Edition.of(each.geometries, each.ids) for each in drawings))


def relation(before, after):
    return building_relation(centres(HOUSES), centres(on_new_map(HOUSES)), maps_of(before, after))


def test_a_building_drawn_as_a_line_is_the_building_drawn_as_an_area():
    as_delivered = relation(in_lines(), in_areas())
    assert SAME_BUILDING not in as_delivered
    before, after = drawn_alike(in_lines(), in_areas())
    assert is_same(before.areas, HOUSES)
    assert (relation(before, after) == SAME_BUILDING).all()


def test_it_does_not_matter_which_of_the_two_maps_was_drawn_in_lines():
    before, after = drawn_alike(
        drawing(np.concatenate([HOUSES, sides(FENCES)])), drawing(on_new_map(in_lines().geometries))
    )
    assert is_same(after.areas, on_new_map(HOUSES))
    assert (relation(before, after) == SAME_BUILDING).all()


@pytest.mark.parametrize("kinds", ["", ["house"]])
def test_outlines_in_pieces_are_buildings_and_plots_are_none(kinds):
    pieces = np.concatenate([sides(HOUSES), sides(FENCES)])
    names = np.repeat([kinds[0], "fence"], [len(sides(HOUSES)), len(sides(FENCES))]) if kinds else ""
    before, _ = drawn_alike(drawing(pieces, names), in_areas())
    assert is_same(before.areas, HOUSES)


def test_a_house_pulled_down_since_was_a_house_too():
    """Nothing on the new map is like it; but nearly all other lines of its kind go round buildings."""
    before, after = drawn_alike(in_lines(), in_areas(np.delete(HOUSES, 7)))
    assert is_same(before.areas, HOUSES)
    assert relation(before, after)[7] == LEFT_BUILDING


def test_a_pond_is_no_house():
    """A closed line as the outlines of houses are, but larger than any of them."""
    pond = shapely.Point(600.0, 600.0).buffer(40.0)
    lines = in_lines()
    with_pond = drawing(np.append(lines.geometries, shapely.boundary(pond)), np.append(lines.kinds, "0001"))
    before, _ = drawn_alike(with_pond, in_areas())
    assert is_same(before.areas, HOUSES)


def test_two_maps_of_lines_have_their_buildings_from_closed_lines():
    fields = shapely.box([0, 200], [-300, -300], [150, 350], [-150, -150])
    assert (shapely.area(fields) > LARGEST_M2).all()
    lines = np.concatenate([in_lines().geometries, shapely.boundary(fields)])
    before, after = drawn_alike(drawing(lines), drawing(on_new_map(lines)))
    assert is_same(before.areas, HOUSES)
    assert (relation(before, after) == SAME_BUILDING).all()


def test_a_line_round_a_building_that_is_drawn_as_an_area_does_not_compete_with_it():
    after = in_areas()
    twice = drawing(np.concatenate([after.geometries, shapely.boundary(after.areas)]))
    before, after = drawn_alike(in_lines(), twice)
    assert len(after.geometries) == len(before.geometries)
    assert (relation(before, after) == SAME_BUILDING).all()


def cut_up(lines, seed):
    """Every line cut at some of its vertices."""
    random, pieces = np.random.default_rng(seed), []
    for line in lines:
        places = shapely.get_coordinates(line)
        cuts = np.flatnonzero(random.random(len(places) - 2) < 0.4) + 1
        pieces += [shapely.LineString(part) for part in np.split(places, cuts) if len(part) > 1]
        pieces += [shapely.LineString(places[cut - 1 : cut + 1]) for cut in cuts]
    return np.array(pieces)


def hedges():
    """Lines of five segments that touch nowhere."""
    random = np.random.default_rng(4)
    return shapely.linestrings(centres(FENCES)[:, None] + np.cumsum(random.uniform(1, 4, (len(FENCES), 6, 2)), axis=1))


def test_lines_that_were_cut_up_in_another_way_are_the_same_lines():
    old, new = cut_up(hedges(), 1), on_new_map(cut_up(hedges(), 2))
    before, after = drawn_alike(drawing(old), drawing(new))
    assert len(before.geometries) == len(after.geometries) == len(hedges())
    assert len(maps_of(before, after).matches) == len(hedges())


def test_maps_that_know_their_features_by_ids_stay_as_delivered():
    lines = cut_up(hedges(), 1)
    ids = np.array([f"osgb{number}" for number in range(len(lines))], dtype=object)
    before, after = drawn_alike(drawing(lines, ids=ids), drawing(on_new_map(lines), ids=ids))
    assert before.ids.tolist() == after.ids.tolist() == ids.tolist()
    assert (before.geometries == lines).all()


def test_what_a_map_holds_twice_is_there_once():
    once = in_areas()
    twice = drawing(np.concatenate([once.geometries, once.geometries[::3]]))
    before, after = drawn_alike(once, twice)
    assert (before.geometries == after.geometries).all()


@pytest.mark.parametrize("dissolved", [(True, True), (False, True), (True, False)])
def test_what_a_map_shows_as_one_feature_of_many_parts_is_many_features(dissolved):
    """All buildings were dissolved into one by their code, all fences into another, on either map or on both."""
    ids = np.array([f"osgb{row}" for row in range(len(in_areas().geometries))], dtype=object)
    was = drawing(np.concatenate([HOUSES, sides(FENCES)]), ids=ids)
    as_delivered = was, drawing(in_areas().geometries, ids=ids)
    maps = [
        drawing(
            [shapely.multipolygons(each.areas), shapely.multilinestrings(each.lines[0])],
            ids=np.array(["10021", "10030"], dtype=object),
        )
        if is_one
        else each
        for each, is_one in zip(as_delivered, dissolved, strict=True)
    ]
    before, after = drawn_alike(*maps)
    assert is_same(before.areas, HOUSES)
    assert "10021" not in [*before.ids, *after.ids]
    assert (relation(before, after) == SAME_BUILDING).all()


LAND = drawing(on_new_map(FENCES), "General Surface")


def together(*drawings):
    return Drawing(
        *(np.concatenate([getattr(each, name) for each in drawings]) for name in ("geometries", "ids", "kinds"))
    )


@pytest.mark.parametrize("building", ["Building", "topographicarea 10021"])
def test_of_a_map_of_areas_buildings_are_told_from_land(building):
    houses = drawing(on_new_map(HOUSES), building)
    before, after = drawn_alike(in_lines(), together(houses, LAND))
    assert is_same(after.areas, on_new_map(HOUSES))
    assert (relation(before, after) == SAME_BUILDING).all()
    assert len(after.geometries) == len(HOUSES) + len(FENCES), "the outlines of the land are its lines"


def test_land_is_left_out_where_lines_are_its_outlines():
    houses, fences = drawing(on_new_map(HOUSES), "Building"), drawing(on_new_map(sides(FENCES)), "fence")
    before, after = drawn_alike(in_lines(), together(houses, LAND, fences))
    assert len(after.geometries) == len(before.geometries)


def test_buildings_that_one_map_alone_shows_are_left_out():
    fences = drawing(sides(FENCES))
    for before, after in ((fences, in_areas()), (in_areas(), fences)):
        assert [len(each.areas) for each in drawn_alike(before, after)] == [0, 0]

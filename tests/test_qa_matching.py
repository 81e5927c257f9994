"""Which feature of the old map is which of the new: by id, by shape and neighbourhood, across breaks, or none."""

import numpy as np
import pytest
import shapely
from two_maps import LittleField, plots

from qa.matching import match_features


def nameless(geometries):
    return np.full(len(geometries), None, dtype=object)


def named(geometries):
    return np.array([f"osgb{number}" for number in range(len(geometries))], dtype=object)


def little_map():
    """Buildings and the sides of plots as lines, on the old and on the new map."""
    areas, buildings = plots()
    ends = shapely.get_coordinates(areas).reshape(len(areas), -1, 2)
    lines = shapely.linestrings(ends[:, :3])
    old = np.concatenate([buildings, lines])
    return old, shapely.transform(old, LittleField())


def test_without_ids_all_but_a_few_are_found_and_none_wrongly():
    """Nothing is known of the shift, half the map did not move, and a break crosses some of the lines."""
    old, new = little_map()
    order = np.random.default_rng(5).permutation(len(new))
    matches = match_features(old, new[order], nameless(old), nameless(new))
    assert (order[matches.new] == matches.old).all()
    assert len(matches) > 0.97 * len(old)
    assert not matches.by_id.any()


def test_corners_correspond_wherever_an_outline_begins_and_however_it_turns():
    old, new = little_map()
    is_area = shapely.get_dimensions(new) == 2
    turned = new.copy()
    turned[is_area] = [
        shapely.Polygon(np.roll(shapely.get_coordinates(each)[:-1], 2, axis=0)[::-1]) for each in new[is_area]
    ]
    turned[~is_area] = shapely.reverse(new[~is_area])
    matches = match_features(old, turned, named(old), named(old))
    np.testing.assert_allclose(matches.corner_after, LittleField()(matches.corner_before), atol=1e-6)
    assert not matches.is_altered[shapely.get_dimensions(old[matches.old]) == 2].any()


def test_an_id_given_to_another_object_yields_to_the_shape():
    old, new = little_map()
    ids = named(old)
    ids[[3, 23]] = ids[[23, 3]]
    matches = match_features(old, new, named(old), ids)
    found = dict(zip(matches.old.tolist(), matches.new.tolist(), strict=True))
    assert found[3] == 3
    assert found[23] == 23


@pytest.mark.parametrize("ids", [named, nameless])
def test_what_was_demolished_or_built_has_no_partner(ids):
    old, new = little_map()
    names = ids(old)
    matches = match_features(old[5:], new[:-5], names[5:], names[:-5])
    assert not np.isin(matches.new, np.arange(5)).any()
    assert not np.isin(matches.old, np.arange(len(old) - 10, len(old) - 5)).any()
    assert (matches.old + 5 == matches.new).all()


def test_an_extended_building_is_the_same_but_its_corners_are_not():
    old, new = little_map()
    new[7] = shapely.union(new[7], shapely.affinity.translate(new[7], 6.0, 0.0))
    matches = match_features(old, new, named(old), named(old))
    row = int(np.flatnonzero(matches.old == 7)[0])
    assert matches.new[row] == 7
    assert matches.is_altered[row]
    assert row not in matches.corner_pair


def test_a_long_hedge_of_which_one_vertex_was_redrawn_is_the_same_but_altered():
    """Along 600 m a line may bend by more than that; but here its neighbours on either side stayed."""
    old, new = little_map()
    west, south = shapely.total_bounds(old)[:2]
    hedge = shapely.linestrings(np.column_stack([np.full(31, west - 5.0), south + 20.0 * np.arange(31)]))
    gone = shapely.transform(hedge, LittleField())
    places = shapely.get_coordinates(gone)
    places[15] += [3.6, 2.0]
    old, new = np.append(old, hedge), np.append(new, [shapely.linestrings(places)])
    matches = match_features(old, new, named(old), named(old))
    row = int(np.flatnonzero(matches.old == len(old) - 1)[0])
    assert matches.new[row] == len(old) - 1
    assert matches.is_altered[row] and row not in matches.corner_pair


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_few_features_are_matched_by_id_or_not_at_all(count):
    old, new = little_map()
    old, new = old[:count], new[:count]
    assert len(match_features(old, new, named(old), named(old))) == count
    assert len(match_features(old, new, nameless(old), nameless(old))) == 0


def redrawn(geometries, random):
    """The same shapes in another order, begun at another corner or the other way round, each corner a little out."""
    order = random.permutation(len(geometries))
    drawn = []
    for shape in geometries[order]:
        points = shapely.get_coordinates(shape)
        if shape.geom_type == "Polygon":
            points = np.roll(points[:-1], random.integers(len(points)), axis=0)
        points = np.round(points[:: random.choice([-1, 1])] + random.normal(0, 0.05, points.shape), 2)
        drawn.append(shapely.Polygon(points) if shape.geom_type == "Polygon" else shapely.LineString(points))
    return np.array(drawn), order


def test_a_redrawn_map_without_ids_is_matched_and_says_how_well_its_corners_are_known():
    old, new = little_map()
    new, order = redrawn(new, np.random.default_rng(6))
    matches = match_features(old, new, nameless(old), nameless(new))
    assert (order[matches.new] == matches.old).all()
    assert len(matches) > 0.95 * len(old)
    error_m = np.linalg.norm(matches.corner_after - LittleField()(matches.corner_before), axis=1)
    assert np.mean(error_m < 0.2) > 0.97
    assert 0.04 < np.median(matches.corner_accuracy_m) < 0.12


@pytest.mark.parametrize("ids", [named, nameless])
def test_an_extended_building_is_found_with_ids_and_without(ids):
    old, new = little_map()
    new[7] = shapely.union(new[7], shapely.affinity.translate(new[7], 6.0, 0.0))
    names = ids(old)
    matches = match_features(old, new, names, names)
    row = int(np.flatnonzero(matches.old == 7)[0])
    assert matches.new[row] == 7
    assert matches.is_altered[row]


def test_a_building_that_moved_on_its_own_is_the_same_and_unaltered():
    old, new = little_map()
    new[7] = shapely.affinity.translate(new[7], 0.7, -0.6)
    matches = match_features(old, new, nameless(old), nameless(new))
    row = int(np.flatnonzero(matches.old == 7)[0])
    assert matches.new[row] == 7
    assert not matches.is_altered[row]


def test_houses_of_a_terrace_are_not_taken_for_their_neighbours():
    """Ten equal houses in a row that moved by nearly a house's width: the map around them tells which is which."""
    old, new = little_map()
    row_of_houses = shapely.box(
        *(np.array([[480.0], [480.0], [485.0], [488.0]]) + np.array([[5], [0], [5], [0]]) * np.arange(10))
    )
    old = np.concatenate([row_of_houses, old])
    new = np.concatenate([shapely.transform(row_of_houses, LittleField()), new])
    matches = match_features(old, new, nameless(old), nameless(new))
    assert (matches.old == matches.new).all()
    assert np.isin(np.arange(10), matches.old).all()

"""How the base map itself moved: what its corners tell, and when they tell less than they seem to."""

import numpy as np
import pytest
import shapely
from two_maps import SHIFT, UNMOVED_EAST_OF, LittleField, base_maps, is_west, plots

from qa.base_maps import BaseMaps, Edition


def maps_of(old, new):
    ids = np.array([f"osgb{number}" for number in range(len(old))], dtype=object)
    return BaseMaps.of(Edition.of(old, ids), Edition.of(new, ids))


def western_buildings():
    _, buildings = plots()
    return buildings[is_west(buildings)]


def centre(geometry):
    return shapely.get_coordinates(shapely.centroid(geometry))


def test_a_place_in_a_building_moves_with_it():
    places = centre(western_buildings())
    observed = base_maps().observed_shift(places)
    np.testing.assert_allclose(observed.shift, np.broadcast_to(SHIFT, places.shape), atol=1e-6)
    assert observed.spread_m.max() < 1e-6


def test_a_building_of_its_own_way_answers_for_the_places_in_it():
    old = western_buildings()
    new = shapely.transform(old, LittleField())
    new[7] = shapely.affinity.translate(new[7], 0.6, 0.0)
    observed = maps_of(old, new).observed_shift(centre(old[7]))
    np.testing.assert_allclose(observed.shift[0], SHIFT + np.array([0.6, 0.0]), atol=1e-6)


def test_a_building_that_was_extended_leaves_the_answer_to_its_neighbours():
    old = western_buildings()
    new = shapely.transform(old, LittleField())
    corners = shapely.get_coordinates(new[7])
    corners[[1, 2]] += 0.25 * (corners[[1, 2]] - corners[[0, 3]])
    new[7] = shapely.Polygon(corners)
    observed = maps_of(old, new).observed_shift(centre(old[7]))
    np.testing.assert_allclose(observed.shift[0], SHIFT, atol=1e-6)
    assert observed.distance_m[0] > 0


def test_a_place_in_a_building_that_is_gone_goes_with_the_houses_not_with_the_fences():
    """Every house moved in a way of its own, all fences as one: what stood in a house that is gone is as unsure."""
    areas, buildings = (kind[is_west(kind)] for kind in plots())
    ways = np.random.default_rng(3).normal(0.0, 0.5, (len(buildings), 2))
    houses = [shapely.affinity.translate(house, *(SHIFT + way)) for house, way in zip(buildings, ways, strict=True)]
    fences = shapely.boundary(areas)
    old = np.concatenate([buildings, fences])
    new = np.delete(np.concatenate([np.array(houses, dtype=object), shapely.transform(fences, LittleField())]), 7)
    ids = np.array([f"osgb{number}" for number in range(len(old))], dtype=object)
    maps = BaseMaps.of(Edition.of(old, ids), Edition.of(new, np.delete(ids, 7)))
    observed = maps.observed_shift(centre(old[7]))
    near = np.argsort(np.linalg.norm(centre(buildings) - centre(old[7]), axis=1))[1:6]
    np.testing.assert_allclose(observed.shift[0], SHIFT + np.median(ways[near], axis=0), atol=1e-6)
    assert observed.standard_error_m[0] > 0.3


def test_houses_over_a_hundred_metres_away_do_not_speak_for_one_that_is_gone():
    """All about it was pulled down, and the nearest houses stand where the map did not move."""
    areas, buildings = plots()
    fences = shapely.boundary(areas)
    gone = shapely.bounds(buildings)[:, 2] < UNMOVED_EAST_OF + 120
    old = np.concatenate([buildings, fences])
    new = np.concatenate([buildings[~gone], shapely.transform(fences, LittleField())])
    ids = np.array([f"osgb{number}" for number in range(len(old))], dtype=object)
    maps = BaseMaps.of(Edition.of(old, ids), Edition.of(new, np.delete(ids, np.flatnonzero(gone))))
    west = buildings[shapely.bounds(buildings)[:, 2] < UNMOVED_EAST_OF - 100]
    np.testing.assert_allclose(maps.observed_shift(centre(west)).shift, np.tile(SHIFT, (len(west), 1)), atol=1e-6)


def test_a_building_bent_out_of_shape_leaves_the_answer_to_its_neighbours():
    """As many corners and the same area, but one corner went its own way by 2 m: it was redrawn."""
    old = western_buildings()
    new = shapely.transform(old, LittleField())
    corners = shapely.get_coordinates(new[7])
    along = corners[1] - corners[3]
    corners[2] += 2.0 * along / np.linalg.norm(along)
    new[7] = shapely.Polygon(corners)
    assert shapely.area(new[7]) == pytest.approx(shapely.area(old[7]))
    observed = maps_of(old, new).observed_shift(centre(old[7]))
    np.testing.assert_allclose(observed.shift[0], SHIFT, atol=1e-6)
    assert observed.distance_m[0] > 0


def test_a_building_bent_a_little_is_not_called_certain():
    old = western_buildings()
    new = shapely.transform(old, LittleField())
    corners = shapely.get_coordinates(new[7])
    along = corners[1] - corners[3]
    corners[2] += 0.9 * along / np.linalg.norm(along)
    new[7] = shapely.Polygon(corners)
    assert maps_of(old, new).observed_shift(centre(old[7])).standard_error_m[0] > 0.3


def test_corners_to_one_side_are_told_from_corners_all_round():
    observed = base_maps().observed_shift(np.array([[450.0, 450.0], [450.0, -300.0]]))
    assert observed.is_within.tolist() == [True, False]
    alone = centre(western_buildings()[0])
    assert (
        maps_of(western_buildings()[:1], shapely.transform(western_buildings()[:1], LittleField()))
        .observed_shift(np.concatenate([alone, shapely.get_coordinates(western_buildings()[0])[:1]]))
        .is_within.all()
    )


@pytest.mark.parametrize("others", [3, 4, 6])
def test_corners_in_two_camps_are_not_called_certain(others):
    """Of the twelve nearest corners some lie across a break: the middle of them alone would hide it."""
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ends = 10.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    old = shapely.linestrings(np.stack([ends, ends * 30], axis=1))
    jump = np.where(np.arange(12)[:, None] < others, [2.0, 0.0], [0.0, 0.0])
    new = shapely.linestrings(np.stack([ends + jump, ends * 30 + jump], axis=1))
    observed = maps_of(old, new).observed_shift(np.zeros((1, 2)))
    assert observed.standard_error_m[0] > 0.7


def test_the_spread_of_even_scatter_is_its_radial_standard_deviation():
    random = np.random.default_rng(3)
    starts = random.uniform(0, 3000, (3000, 2))
    old = shapely.linestrings(np.stack([starts, starts + np.array([1e4, 0.0])], axis=1))
    scatter = random.normal(0, 0.2, (3000, 1, 2))
    new = shapely.linestrings(shapely.get_coordinates(old).reshape(-1, 2, 2) + scatter)
    observed = maps_of(old, new).observed_shift(random.uniform(200, 2800, (400, 2)))
    assert observed.spread_m.mean() == pytest.approx(0.2 * np.sqrt(2), rel=0.15)

"""What lies in what: moves compared with the little map's own."""

import numpy as np
import pytest
import shapely
from two_maps import SHIFT, LittleField, base_maps, is_west, plots

from qa.base_maps import BaseMaps, Edition
from qa.coincidence import Vertices
from qa.relations import base_map_disagreement, building_offset_change_m, building_relation, line_distance_change_m


@pytest.fixture(scope="module")
def base():
    return base_maps()


@pytest.fixture(scope="module")
def centres():
    _, buildings = plots()
    return shapely.get_coordinates(shapely.centroid(buildings[is_west(buildings)]))


def test_the_true_move_agrees_with_the_map(base, centres):
    vertices = Vertices.of(shapely.points(centres))
    disagreement = base_map_disagreement(vertices, LittleField()(centres), base)
    assert disagreement.distance_m.max() < 1e-6
    assert disagreement.standard_error_m.max() < 0.1


@pytest.mark.parametrize("wrong_by_m", [0.5, 1.0, 3.0])
def test_a_wrong_move_disagrees_by_as_much_as_it_is_wrong(base, centres, wrong_by_m):
    vertices = Vertices.of(shapely.points(centres))
    moved = LittleField()(centres) + wrong_by_m * np.array([0.6, 0.8])
    np.testing.assert_allclose(base_map_disagreement(vertices, moved, base).distance_m, wrong_by_m)
    np.testing.assert_allclose(building_offset_change_m(centres, moved, base), wrong_by_m)


def test_one_wrong_vertex_is_not_averaged_away(base):
    areas, _ = plots()
    vertices = Vertices.of(areas[:1])
    moved = LittleField()(vertices.points)
    moved[2] += [0, 2.0]
    assert base_map_disagreement(vertices, moved, base).distance_m[0] == pytest.approx(2.0)


def test_points_stay_in_their_building_leave_it_or_land_in_another(base, centres):
    neighbour = centres[1] + SHIFT
    after = np.array([centres[0] + SHIFT, centres[0] + SHIFT + [16, 16], neighbour])
    before = np.array([centres[0], centres[0], centres[0]])
    assert building_relation(before, after, base).tolist() == ["same", "left", "other"]
    assert building_relation(np.array([[-500.0, -500.0]]), np.array([[0.0, 0.0]]), base).tolist() == ["none"]


def test_buildings_whose_ids_were_exchanged_are_known_by_their_shapes():
    _, buildings = plots()
    old = buildings[is_west(buildings)]
    ids = np.array([f"osgb{number}" for number in range(len(old))], dtype=object)
    exchanged = ids.copy()
    exchanged[[3, 4]] = ids[[4, 3]]
    maps = BaseMaps.of(Edition.of(old, ids), Edition.of(shapely.transform(old, LittleField()), exchanged))
    points = shapely.get_coordinates(shapely.centroid(old[[3, 4, 3]]))
    after = LittleField()(points[[0, 1, 1]])
    assert building_relation(points, after, maps).tolist() == ["same", "same", "other"]


def test_only_a_building_that_the_new_map_neither_names_nor_shows_is_gone():
    """Where its site is built up, or it never had an id, the point has left its building."""
    _, buildings = plots()
    old = buildings[is_west(buildings)]
    ids = np.array([f"osgb{number}" for number in range(len(old))], dtype=object)
    ids[2] = None
    new = shapely.transform(old, LittleField())
    new[1] = shapely.affinity.translate(new[1], 10, 0)
    rest = np.arange(len(old))[3:]
    reissued = np.array(["osgb_new", *ids[rest]], dtype=object)
    maps = BaseMaps.of(Edition.of(old, ids), Edition.of(new[[1, *rest]], reissued))
    points = np.array([shapely.get_coordinates(shapely.box(*old[k].bounds).centroid)[0] for k in range(3)])
    assert building_relation(points, points + SHIFT, maps).tolist() == ["gone", "left", "left"]


def test_a_point_beside_a_line_keeps_its_distance(base):
    areas, _ = plots()
    corner = shapely.get_coordinates(areas[21])[0]
    beside = corner[None] + np.array([[0.5, 0.2]])
    assert line_distance_change_m(beside, beside + SHIFT, base, 2.0)[0] == pytest.approx(0, abs=1e-9)
    assert line_distance_change_m(beside, beside, base, 2.0)[0] > 0.1
    assert np.isnan(line_distance_change_m(beside + 20, beside + 20, base, 0.01)[0])


def test_maps_without_ids_tell_as_much(centres):
    """Features are then matched by shape and neighbourhood; only the corners' shift is asked here."""
    _, buildings = plots()
    nameless = np.full(len(buildings), None, dtype=object)
    base = BaseMaps.of(
        Edition.of(buildings, nameless), Edition.of(shapely.transform(buildings, LittleField()), nameless)
    )
    vertices = Vertices.of(shapely.points(centres))
    assert base_map_disagreement(vertices, LittleField()(centres), base).distance_m.max() < 1e-6
    np.testing.assert_allclose(building_offset_change_m(centres, LittleField()(centres), base), 0, atol=1e-6)


def test_an_id_given_to_another_object_is_passed_over(centres):
    _, buildings = plots()
    ids = np.array([f"t{number}" for number in range(len(buildings))], dtype=object)
    exchanged = ids.copy()
    exchanged[[0, 200]] = exchanged[[200, 0]]
    base = BaseMaps.of(Edition.of(buildings, ids), Edition.of(shapely.transform(buildings, LittleField()), exchanged))
    vertices = Vertices.of(shapely.points(centres[:1]))
    assert base_map_disagreement(vertices, LittleField()(centres[:1]), base).distance_m[0] < 0.01

"""Measures of shape on figures whose answers are known beforehand."""

import numpy as np
import pytest
import shapely

from qa.shape import CommonVertices, area_change_ratio, distance_change_ratio, right_angle_change_deg

SQUARE = shapely.box(0, 0, 60, 60)


def features(*geometries):
    return np.array([*geometries, None], dtype=object)[:-1]


def vertices(before, after):
    return CommonVertices.of(features(*before), features(*after))


def test_area_change_counts_both_ways_and_only_for_areas():
    before = features(SQUARE, SQUARE, shapely.Point(0, 0), None)
    after = features(shapely.box(0, 0, 60, 63), shapely.box(0, 0, 60, 57), shapely.Point(1, 1), None)
    np.testing.assert_allclose(area_change_ratio(before, after), [0.05, 0.05, np.nan, np.nan])


def test_a_small_areas_rounding_is_not_a_change():
    before, after = features(shapely.box(0, 0, 1, 1)), features(shapely.box(0, 0, 1.03, 1.03))
    assert area_change_ratio(before, after)[0] > 0.02
    assert area_change_ratio(before, after, noise_m=0.05)[0] == 0.0


@pytest.mark.parametrize(("stretch_m", "ratio"), [(0.0, 0.0), (0.4, 0.5), (0.8, 1.0), (1.6, 2.0)])
def test_a_side_of_sixty_metres_may_change_by_eighty_centimetres_in_town(stretch_m, ratio):
    longer = shapely.box(0, 0, 60 + stretch_m, 60)
    measured = distance_change_ratio(vertices([SQUARE], [longer]), np.array([0.8]), np.array([60.0]))
    assert measured[0] == pytest.approx(ratio, abs=1e-9)


def test_moving_and_turning_change_no_shape():
    turned = shapely.affinity.translate(shapely.affinity.rotate(SQUARE, 33), 3, -2)
    pair = vertices([SQUARE], [turned])
    assert distance_change_ratio(pair, np.array([0.8]), np.array([60.0]))[0] == pytest.approx(0, abs=1e-9)
    assert right_angle_change_deg(pair, 3.0)[0] == pytest.approx(0, abs=1e-9)


def test_a_sheared_square_has_its_right_angles_bent_by_the_shear():
    sheared = shapely.affinity.skew(SQUARE, xs=4.0, origin=(0, 0))
    assert right_angle_change_deg(vertices([SQUARE], [sheared]), 3.0)[0] == pytest.approx(4.0, abs=1e-6)


def test_other_corners_and_short_sides_have_no_right_angle():
    triangle, small = shapely.Polygon([(0, 0), (50, 0), (25, 40)]), shapely.box(0, 0, 2, 2)
    assert np.isnan(right_angle_change_deg(vertices([triangle, small], [triangle, small]), 3.0)).all()


def test_inserted_vertices_do_not_upset_the_pairing():
    bent = shapely.transform(shapely.segmentize(SQUARE, 7.0), lambda points: points + np.array([2.0, 1.0]))
    pair = vertices([SQUARE, None, SQUARE], [bent, None, SQUARE])
    np.testing.assert_allclose(pair.after[:5], pair.before[:5] + np.array([2.0, 1.0]))
    np.testing.assert_allclose(pair.after[5:], pair.before[5:])
    assert pair.feature.tolist() == [0] * 5 + [2] * 5


def test_rings_and_parts_do_not_run_into_one_another():
    two = shapely.MultiPolygon([shapely.box(0, 0, 10, 10), shapely.box(1000, 0, 1010, 10)])
    holed = SQUARE.difference(shapely.box(10, 10, 20, 20))
    pair = vertices(
        [two, shapely.MultiPoint([(0, 0), (5, 5)]), holed], [two, shapely.MultiPoint([(0, 0), (5, 5)]), holed]
    )
    starts = pair.followers(1)
    assert np.linalg.norm(pair.before[starts + 1] - pair.before[starts], axis=1).max() <= 60.0
    assert len(np.unique(pair.ring)) == 2 + 2 + 2


def test_no_features_no_measures():
    pair = vertices([], [])
    assert len(distance_change_ratio(pair, np.empty(0), np.empty(0))) == 0
    assert len(right_angle_change_deg(pair, 3.0)) == 0

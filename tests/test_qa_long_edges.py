"""Places along long edges follow the new outline, also where vertices were inserted."""

import numpy as np
import shapely

from qa.long_edges import EVERY_M, places_along
from qa.shape import CommonVertices


def along(before, after):
    before, after = np.array([before], dtype=object), np.array([after], dtype=object)
    return places_along(CommonVertices.of(before, after), after)


def test_short_edges_have_no_places():
    square = shapely.box(0, 0, EVERY_M - 1, EVERY_M - 1)
    assert len(along(square, square)[0]) == 0


def test_places_divide_a_long_line_evenly_and_move_with_it():
    before, after, feature = along(shapely.LineString([(0, 0), (120, 0)]), shapely.LineString([(3, 1), (123, 1)]))
    np.testing.assert_allclose(before, [[40, 0], [80, 0]])
    np.testing.assert_allclose(after, [[43, 1], [83, 1]])
    assert feature.tolist() == [0, 0]


def test_an_inserted_bend_is_seen():
    bent = shapely.LineString([(0, 0), (200, 6), (400, 0)])
    before, after, _ = along(shapely.LineString([(0, 0), (400, 0)]), bent)
    expected = np.interp(before[:, 0], [0, 200, 400], [0, 6, 0])
    np.testing.assert_allclose(after[:, 1], expected, atol=0.02)
    assert after[:, 1].max() > 5


def test_features_without_edges_are_passed_over():
    points = np.array([shapely.Point(1, 2), None], dtype=object)
    assert len(places_along(CommonVertices.of(points, points), points)[0]) == 0

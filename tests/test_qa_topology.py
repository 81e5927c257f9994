"""Validity, parts, holes and shared vertices."""

import numpy as np
import shapely

from qa.shape import CommonVertices
from qa.topology import (
    hole_count,
    is_valid,
    part_count,
    parted_pairs,
    shared_edge_gap_m,
    undecided_area_ratio,
    vertex_count,
)

LEFT, RIGHT, AWAY = shapely.box(0, 0, 10, 10), shapely.box(10, 0, 20, 10), shapely.box(50, 0, 60, 10)


def features(*geometries):
    return np.array([*geometries, None], dtype=object)[:-1]


def moved(geometry, by):
    return shapely.transform(geometry, lambda points: points + by)


def test_a_bow_tie_is_invalid_and_nothing_is_not():
    assert is_valid(features(shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)]), LEFT, None)).tolist() == [
        False,
        True,
        True,
    ]


def test_counts_of_parts_holes_and_vertices():
    holed = shapely.MultiPolygon([LEFT.difference(shapely.box(2, 2, 4, 4)), AWAY])
    subjects = features(holed, shapely.Point(1, 1), shapely.LineString(), None)
    assert part_count(subjects).tolist() == [2, 1, 0, 0]
    assert hole_count(subjects).tolist() == [1, 0, 0, 0]
    assert vertex_count(subjects).tolist() == [15, 1, 0, 0]


def test_neighbours_that_move_together_stay_joined():
    before = features(LEFT, RIGHT, AWAY)
    pairs, gap = parted_pairs(CommonVertices.of(before, moved(before, [2, 1])), 0.05)
    assert len(pairs) == 0
    assert shared_edge_gap_m(pairs, gap, 3).tolist() == [0, 0, 0]


def test_a_neighbour_that_stays_is_found_with_the_width_of_the_gap():
    before, after = features(LEFT, RIGHT, AWAY), features(moved(LEFT, [3, 4]), RIGHT, AWAY)
    pairs, gap = parted_pairs(CommonVertices.of(before, after), 0.05)
    assert {tuple(sorted(pair)) for pair in pairs.tolist()} == {(0, 1)}
    np.testing.assert_allclose(shared_edge_gap_m(pairs, gap, 3), [5, 5, 0])


def test_a_gap_within_tolerance_is_none():
    before, after = features(LEFT, RIGHT), features(moved(LEFT, [0.03, 0]), RIGHT)
    assert len(parted_pairs(CommonVertices.of(before, after), 0.05)[0]) == 0


def test_only_outlines_that_run_the_wrong_way_round_leave_ground_undecided():
    """A bow tie leaves all of it open; a spike, a doubled vertex and a valid shape nothing."""
    spike = shapely.Polygon([(0, 0), (4, 0), (4, 4), (4, 9), (4, 4), (0, 4)])
    eight = shapely.Polygon([(0, 0), (4, 0), (4, 4), (3, 6), (5, 6), (4, 4), (0, 4)])
    bow_tie = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    shapes = np.array([spike, bow_tie, shapely.box(0, 0, 1, 1), None, eight, shapely.Point(0, 0)], dtype=object)
    ratio = undecided_area_ratio(shapes)
    assert ratio[[0, 2, 3, 5]].tolist() == [0.0, 0.0, 0.0, 0.0]
    assert ratio[1] == 1.0
    assert 0.0 < ratio[4] < 0.5

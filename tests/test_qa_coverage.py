"""Whether a coverage fits together, and how far moved edges lie from exact images."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from shift_worlds import BendingField, road_coverage

from qa.coverage import area_between, edge_error_m, fit_of, hanging_nodes, shared_edges

SQUARES = np.array([shapely.box(0, 0, 10, 10), shapely.box(10, 0, 20, 10), None, shapely.Point(5, 5)])


def test_neighbours_that_share_an_edge_neither_overlap_nor_part():
    fit = fit_of(SQUARES)
    assert fit.overlap_m2.tolist() == [0, 0, 0, 0] and fit.gap_m2 == 0
    assert shared_edges(SQUARES) == 1


def test_an_overlap_counts_for_both_and_once_in_the_sum():
    overlapping = np.array([shapely.box(0, 0, 10, 10), shapely.box(9, 0, 20, 10)])
    assert fit_of(overlapping).overlap_m2.tolist() == [10, 10]
    assert area_between(overlapping) == 10


def test_a_gap_enclosed_by_several_counts_and_the_hole_filled_by_another_does_not():
    ring = shapely.box(0, 0, 10, 10) - shapely.box(4, 4, 6, 6)
    halves = np.array([ring & shapely.box(0, 0, 5, 10), ring & shapely.box(5, 0, 10, 10)])
    assert area_between(halves) == pytest.approx(4)
    assert area_between(np.append(halves, shapely.box(4, 4, 6, 6))) == pytest.approx(0)


def test_hanging_nodes_of_a_road_are_the_corners_along_its_sides():
    # One road between two blocks of 4 x 4 cells: three corners within each of its two sides.
    assert len(hanging_nodes(road_coverage(blocks=2, cells=4))) == 6
    assert len(hanging_nodes(SQUARES)) == 0


def test_moving_only_the_ends_of_a_long_edge_shows_in_its_error():
    line = np.array([shapely.LineString([(0, 0), (1000, 0)])])
    field = BendingField(wave_m=200.0)
    ends = shapely.transform(line, field)
    every_metre = shapely.transform(shapely.segmentize(line, 1.0), field)
    assert edge_error_m(line, every_metre, field) < 1e-4
    share = np.linspace(0, 1, 501)[:, None]
    exact = field(share * [[1000.0, 0.0]])
    expected = shapely.distance(shapely.points(exact), ends[0]).max()
    assert edge_error_m(line, ends, field) == pytest.approx(expected, abs=1e-3)

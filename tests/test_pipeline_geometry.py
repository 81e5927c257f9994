"""Geometries moved in their own bytes: whole or not at all, nothing lost, shared edges shared."""

from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shift_worlds import (
    BendingField,
    TurningField,
    geometries_of,
    nest_wkb,
    places_of,
    random_geometries,
    road_coverage,
    run_wkb,
    wkb_array,
)

from pipeline.geometry.hanging import LaidOut, NodeFinder
from pipeline.geometry.move import MoveRules, move_geometries
from pipeline.geometry.wkb import Trouble, find_runs
from pipeline.geometry.wkb_batch import WkbBatch
from qa.coverage import area_between, edge_error_m, hanging_nodes

RULES = MoveRules()
FLAT = BendingField(bend_m=0.5, wave_m=1e7)


def moved(array, field=FLAT, **more):
    return move_geometries(array, field, rules=RULES, **more)


def with_nodes(array, field, **more):
    with NodeFinder(**more) as finder:
        finder.add(LaidOut.of(WkbBatch.of(array)))
        nodes = finder.find()
    return move_geometries(array, field, rules=RULES, nodes=nodes), nodes


mixes = st.integers(0, 2**32 - 1).map(lambda seed: random_geometries(np.random.default_rng(seed)))
"""Layers of any simple, multi or nested geometry of any dimension, also empty and null."""


@settings(max_examples=50, deadline=None)
@given(mixes)
def test_whatever_moves_keeps_its_structure_its_z_and_m_and_every_vertex_goes_to_its_image(shapes):
    array = wkb_array(shapes)
    outcome = moved(array, TurningField())
    for before, after in zip(shapes, geometries_of(outcome.geometry), strict=True):
        if before is None:
            assert after is None
            continue
        old, new = (shapely.get_coordinates(g, include_z=True, include_m=True) for g in (before, after))
        assert np.array_equal(TurningField()(old[:, :2]), new[:, :2])
        assert np.array_equal(old[:, 2:], new[:, 2:], equal_nan=True)
        assert shapely.to_wkt(shapely.transform(before, np.zeros_like)) == shapely.to_wkt(
            shapely.transform(after, np.zeros_like)
        )


@settings(max_examples=15, deadline=None)
@given(mixes, st.integers(0, 7))
def test_a_slice_of_an_array_moves_as_the_same_rows_of_the_whole(shapes, low):
    array = wkb_array(shapes)
    for variant in (array, array.cast(pa.large_binary())):
        whole, part = moved(variant), moved(variant.slice(low))
        assert whole.geometry.to_pylist()[low:] == part.geometry.to_pylist()


def test_big_endian_and_srid_marks_stay_as_they_came():
    line = run_wkb(2, [(0, 0), (10, 5)], order=">")
    marked = b"\x01" + struct.pack("<III", 2 | 0x20000000, 27700, 2) + np.array([0, 0, 10, 5.0]).tobytes()
    plain = run_wkb(2, [(0, 0), (10, 5)])
    big, srid, little = moved(pa.array([line, marked, plain])).geometry.to_pylist()
    assert big[:9] == line[:9] and srid[:13] == marked[:13]
    assert big[9:] == np.frombuffer(little, "<f8", offset=9).astype(">f8").tobytes()
    assert srid[13:] == little[9:]


def test_inserted_vertices_get_the_z_and_m_between_their_neighbours_and_old_ones_keep_theirs():
    field = BendingField(break_easting=250.0, bend_m=0.0, wave_m=1e9)
    line = run_wkb(3002, [(0, 0, 100, np.nan), (1000, 0, 200, 7), (1001, 0, -5.5, 8)])
    outcome = moved(pa.array([line]), field)
    places = places_of(outcome.geometry[0].as_py(), 4)
    assert len(places) == 5 and outcome.vertices_added.tolist() == [2]
    assert np.allclose(places[1:3, 2], 125, atol=0.01)
    assert np.isnan(places[0, 3]) and places[3:, 2:].tolist() == [[200, 7], [-5.5, 8]]


def test_a_feature_with_one_vertex_outside_control_stays_whole_and_the_others_move():
    field = BendingField(end_easting=100.0)
    array = wkb_array(shapely.from_wkt(["MULTIPOINT(0 0, 101 0)", "POINT(5 5)", "LINESTRING(0 0, 50 0, 200 0)"]))
    outcome = moved(array, field)
    assert outcome.blocked_by.tolist() == ["outside_control", "", "outside_control"]
    assert outcome.moved.tolist() == [False, True, False]
    assert outcome.geometry.to_pylist()[::2] == array.to_pylist()[::2]


def test_a_feature_that_straddles_a_large_jump_stays_and_one_over_a_small_jump_moves_by_place():
    array = wkb_array(shapely.from_wkt(["LINESTRING(0 0, 1000 0)", "POINT(0 0)"]))
    small, large = (moved(array, BendingField(break_easting=500.0, jump_m=jump)) for jump in (0.4, 0.6))
    assert small.moved.all() and np.allclose(small.straddling_m, [0.4, 0.0])
    assert large.blocked_by.tolist() == ["straddling", ""] and np.isclose(large.straddling_m[0], 0.6)


def test_an_edge_that_only_passes_through_another_piece_straddles_too():
    class Tongue(BendingField):
        def piece(self, points):
            return (np.abs(points[:, 0] - 500) < 60).astype(int)

    outcome = moved(wkb_array(shapely.from_wkt(["LINESTRING(0 0, 1000 0)"])), Tongue(jump_m=3.0))
    assert outcome.blocked_by.tolist() == ["straddling"]


def test_a_feature_that_a_closing_break_would_make_cross_itself_stays():
    """Its hole ends before the break and its outer edge beyond it: moved by place, the hole would stick out."""

    class ClosingField(BendingField):
        def in_piece(self, points, piece):
            return points + np.stack([-0.4 * (piece == 1), 0.0 * piece], axis=1)

    outline, hole = shapely.box(0, 0, 100.2, 10), shapely.box(90, 4, 99.9, 6)
    sound = shapely.box(0, 20, 99, 30)
    out = moved(wkb_array([outline - hole, sound]), ClosingField(break_easting=100.0))
    assert out.blocked_by.tolist() == ["became_invalid", ""]
    assert geometries_of(out.geometry)[0].equals(outline - hole)


def test_odd_geometries_stay_to_the_byte_with_their_reason():
    triangle = nest_wkb(17, b"")
    broken = run_wkb(2, [(0, 0), (1, 1)])[:-3]
    many = b"\x01" + struct.pack("<II", 2, 0xFFFFFFFF)
    tin = nest_wkb(16, shapely.to_wkb(shapely.box(0, 0, 1, 1)))
    deep = run_wkb(2, [(0, 0), (1, 1)])
    for _ in range(50):
        deep = nest_wkb(7, deep)
    bad, beyond = (run_wkb(2, [(0, 0), (odd, 3)]) for odd in (np.nan, 1e300))
    empty = shapely.to_wkb(shapely.from_wkt("POINT EMPTY"))
    array = pa.array([triangle, broken, many, tin, deep, bad, beyond, empty, None, b""])
    outcome = moved(array)
    assert outcome.geometry.to_pylist() == array.to_pylist()
    assert outcome.blocked_by.tolist() == [
        "geometry_type",
        *["bad_coordinates"] * 2,
        "geometry_type",
        *["bad_coordinates"] * 3,
        *["no_geometry"] * 3,
    ]


def test_features_that_are_not_wanted_stay_but_are_measured():
    outcome = moved(wkb_array([shapely.Point(0, 0), shapely.Point(0, 0)]), wanted=np.array([False, True]))
    assert outcome.moved.tolist() == [False, True] and outcome.shift_m[0] == outcome.shift_m[1] > 0


def test_measures_are_the_largest_and_the_mean_over_the_vertices():
    field = BendingField(bend_m=0.0, wave_m=1e9)
    outcome = moved(wkb_array(shapely.from_wkt(["LINESTRING(0 3, 1000 -40)"])), field)
    assert np.isclose(outcome.uncertainty_m[0], 0.101) and outcome.control_distance_m[0] == 40
    assert np.isclose(outcome.shift_easting_m[0], 1.0, atol=1e-3) and np.isnan(outcome.break_distance_m[0])


SMALL_ARC = run_wkb(8, [(0, 0), (5, 5), (10, 0)])
LARGE_ARC = run_wkb(8, [(0, 0), (1000, 1000), (2000, 0)])


def test_an_arc_stays_an_arc_where_its_image_is_one():
    outcome = moved(pa.array([SMALL_ARC, LARGE_ARC]), TurningField())
    assert outcome.curves_kept.tolist() == [1, 1] and outcome.vertices_added.tolist() == [0, 0]
    assert np.array_equal(places_of(outcome.geometry[1].as_py()), TurningField()(places_of(LARGE_ARC)))


def test_an_arc_whose_image_is_none_becomes_a_line_within_the_tolerance_and_is_counted():
    ring = run_wkb(8, [(0, 0), (2000, 0), (0, 0)])
    straight = run_wkb(2, [(2000, 0), (2100, 0)])
    compound = nest_wkb(9, LARGE_ARC, straight)
    polygon = nest_wkb(10, ring)
    surface = nest_wkb(12, polygon, shapely.to_wkb(shapely.box(0, 0, 10, 10)))
    curves = nest_wkb(11, SMALL_ARC, compound)
    outcome = moved(pa.array([LARGE_ARC, compound, polygon, surface, curves]), BendingField())
    assert outcome.curves_densified.tolist() == [1, 1, 1, 1, 1]
    assert outcome.curves_kept.tolist() == [0, 0, 0, 0, 1]
    assert outcome.blocked_by.tolist() == [""] * 5
    _assert_walks(outcome.geometry)
    line = shapely.from_wkb(outcome.geometry[0].as_py())
    angle = np.linspace(0, np.pi, 500)
    exact = BendingField()(1000 * np.stack([1 - np.cos(angle), np.sin(angle)], axis=1))
    assert shapely.distance(shapely.points(exact), line).max() <= 0.05


def _assert_walks(array):
    batch = WkbBatch.of(array)
    assert (batch.runs.trouble == Trouble.NONE).all()
    assert (np.bincount(batch.runs.feature, minlength=len(batch)) > 0).all()


@pytest.mark.parametrize("extra", range(3))
def test_a_feature_of_very_many_parts_is_walked_as_well_as_a_small_one(extra):
    parts = shapely.MultiPoint(np.arange(2 * (300 + extra)).reshape(-1, 2))
    array = wkb_array([parts, shapely.Point(1, 2)])
    batch = WkbBatch.of(array)
    assert np.array_equal(batch.place, shapely.get_coordinates([parts, shapely.Point(1, 2)]))


def test_runs_lie_where_their_bytes_are():
    data = np.frombuffer(shapely.to_wkb(shapely.box(1, 2, 3, 4).buffer(0)), np.uint8)
    runs = find_runs(data, np.array([0, len(data)]))
    assert (runs.start.tolist(), runs.count.tolist(), runs.dimensions.tolist()) == ([13], [5], [2])


BENT = BendingField(break_easting=400_500.0, bend_m=2.0, wave_m=400.0)


def test_a_coverage_with_hanging_nodes_and_long_edges_has_no_gap_and_no_overlap_after_a_bending_move():
    before = road_coverage(blocks=3, cells=6)
    outcome, nodes = with_nodes(wkb_array(before), BENT)
    after = geometries_of(outcome.geometry)
    assert outcome.moved.all() and len(nodes.segment) == 20
    assert area_between(after) - area_between(before) <= 1e-6 * len(before)
    assert edge_error_m(before, after, BENT) <= 0.05
    assert len(hanging_nodes(after)) == 0
    assert shapely.is_valid(after).all()


def test_without_the_nodes_the_same_coverage_parts():
    before = road_coverage(blocks=3, cells=6)
    assert area_between(geometries_of(moved(wkb_array(before), BENT).geometry)) > 0.01


def test_nodes_found_in_stripes_on_disk_are_those_found_in_memory():
    array = wkb_array(road_coverage(blocks=3, cells=6, size_m=400.0))
    _, in_memory = with_nodes(array, BENT)
    _, on_disk = with_nodes(array, BENT, most_in_memory=5)
    for name in ("segment", "fraction", "place"):
        assert np.array_equal(getattr(in_memory, name), getattr(on_disk, name))


def test_a_vertex_of_another_layer_hangs_as_well():
    edge = wkb_array([shapely.LineString([(0, 0), (100, 0)])])
    with NodeFinder() as finder:
        finder.add(LaidOut.of(WkbBatch.of(edge)))
        finder.add_places(np.array([[40.0, 0.0004], [40.0, 1.0]]))
        assert finder.find().place.tolist() == [[40.0, 0.0004]]


@settings(max_examples=10, deadline=None)
@given(
    angle=st.floats(0, 3.1),
    size_m=st.floats(20, 300),
    break_easting=st.floats(399_500, 401_500),
    wave_m=st.floats(200, 3000),
    backwards=st.booleans(),
)
def test_any_coverage_stays_one(angle, size_m, break_easting, wave_m, backwards):
    before = road_coverage(blocks=2, cells=2, size_m=size_m, angle=angle)
    before[::2] = shapely.reverse(before[::2]) if backwards else before[::2]
    field = BendingField(break_easting=break_easting, wave_m=wave_m)
    outcome, _ = with_nodes(wkb_array(before), field)
    after = geometries_of(outcome.geometry)
    assert area_between(after) - area_between(before) <= 1e-6 * len(before)
    assert edge_error_m(before, after, field) <= 0.05

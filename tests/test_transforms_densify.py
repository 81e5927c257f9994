"""Vertices where a straight edge bends: the same from either end, within the tolerance, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from shift_worlds import BendingField, TurningField

from transforms.arcs import Arcs, chords, stays_arc
from transforms.densify import find_insertions
from transforms.distinct import distinct_rows
from transforms.nodes import PlaceIndex
from transforms.rigid import Moments
from transforms.table import Table

coordinates = st.floats(-3000.0, 3000.0, allow_nan=False).map(lambda value: round(value, 3))
places = st.tuples(coordinates, coordinates)


def inserted(field, starts, ends, tolerance_m=0.05):
    return find_insertions(field, starts, ends, field(starts), field(ends), tolerance_m=tolerance_m)


def largest_error_m(field, start, end, found):
    """Farthest from the polyline that any image of the old segment lies, looked at every metre or so."""
    share = np.linspace(0, 1, max(int(np.hypot(*(end - start)[0])), 2))[:, None]
    exact = field(np.concatenate([start + share[:-1] * (end - start), end]))  # rounding may put the end over a break
    line = np.concatenate([field(start), found.after, field(end)])
    return max(_distance_m(point, line) for point in exact)


def _distance_m(point, line):
    a, along = line[:-1], np.diff(line, axis=0)
    share = ((point - a) * along).sum(axis=1) / np.maximum((along**2).sum(axis=1), 1e-30)
    return np.hypot(*(a + share.clip(0, 1)[:, None] * along - point).T).min()


@settings(max_examples=30, deadline=None)
@given(start=places, end=places, break_easting=coordinates)
@example(start=(-1023.0, 0.0), end=(1.938, 0.0), break_easting=1.938)
@example(start=(0.0, 0.0), end=(3.0, 0.0), break_easting=0.0)
def test_a_moved_edge_stays_within_the_tolerance_of_its_exact_image(start, end, break_easting):
    field = BendingField(break_easting=break_easting)
    starts, ends = np.array([start]), np.array([end])
    found = inserted(field, starts, ends)
    assert largest_error_m(field, starts, ends, found) <= 0.05 + 1e-9


@settings(max_examples=30, deadline=None)
@given(start=places, end=places, break_easting=coordinates)
def test_an_edge_gets_the_same_vertices_from_either_end_to_the_last_bit(start, end, break_easting):
    field = BendingField(break_easting=break_easting)
    starts, ends = np.array([start]), np.array([end])
    there, back = inserted(field, starts, ends), inserted(field, ends, starts)
    assert np.array_equal(there.before, back.before[::-1])
    assert np.array_equal(there.after, back.after[::-1])
    assert (np.diff(there.fraction) > 0).all()


def test_straight_stays_straight_where_the_field_allows():
    starts, ends = np.array([[0.0, 0.0]]), np.array([[5000.0, 1000.0]])
    assert len(inserted(TurningField(), starts, ends)) == 0


def rough_table(seed, strain, spacing_m=40.0):
    rng = np.random.default_rng(seed)
    shift = rng.normal(0.0, strain * spacing_m, (2, 30, 30))
    return Table(np.zeros(2), spacing_m, shift, np.zeros((30, 30)), 0.0)


def bow_m(table, start, along_m):
    """Farthest that the image of a segment strays from its chord at equal shares."""
    share = np.linspace(0.0, 1.0, 41)[:, None]
    shift = table.shift_at(start + share * along_m)
    return np.hypot(*(shift - shift[0] - share * (shift[-1] - shift[0])).T).max()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    strain=st.sampled_from([1e-5, 1e-3, 1e-2]),
    start=st.tuples(st.floats(100.0, 1000.0), st.floats(100.0, 1000.0)),
    angle=st.floats(0.0, 6.28),
)
def test_a_table_bends_no_segment_that_it_calls_straight(seed, strain, start, angle):
    table = rough_table(seed, strain)
    along_m = table.straight_length_m(0.05) * np.array([np.cos(angle), np.sin(angle)])
    assert bow_m(table, np.array(start), along_m) <= 0.05 + 1e-9


def test_a_table_calls_straight_what_a_kink_just_leaves_so():
    shift = np.zeros((2, 30, 30))
    shift[1] = 0.005 * np.abs(np.arange(30) * 40.0 - 600.0)  # a fold along easting 600
    table = Table(np.zeros(2), 40.0, shift, np.zeros((30, 30)), 0.0)
    length_m = table.straight_length_m(0.05)
    assert length_m == pytest.approx(20.0)
    assert bow_m(table, np.array([600.0 - length_m / 2, 500.0]), np.array([length_m, 0.0])) == pytest.approx(0.05)


def test_a_break_costs_two_vertices_not_all_that_were_looked_at():
    field = BendingField(bend_m=0.0, wave_m=1e9, break_easting=333.3)
    found = inserted(field, np.array([[0.0, 0.0]]), np.array([[1000.0, 0.0]]))
    assert len(found) == 2
    assert found.before[0, 0] <= 333.3 < found.before[1, 0]
    assert found.before[1, 0] - found.before[0, 0] <= 0.05


def test_an_edge_that_leaves_the_field_in_between_says_so():
    class Island(BendingField):
        def in_piece(self, points, piece):
            moved = super().in_piece(points, piece)
            moved[np.abs(points[:, 0] - 500) < 100] = np.nan
            return moved

    found = inserted(Island(), np.array([[0.0, 0.0]]), np.array([[1000.0, 0.0]]))
    assert np.isnan(found.after).any()


def test_no_segments_need_no_vertices():
    assert len(inserted(BendingField(), np.empty((0, 2)), np.empty((0, 2)))) == 0


def test_arcs_hold_their_three_places_whichever_way_they_turn():
    start, middle, end = (np.array([p, q]) for p, q in (((0, 0), (10, 0)), ((5, 5), (5, 5)), ((10, 0), (0, 0))))
    arcs = Arcs.through(start * 1.0, middle * 1.0, end * 1.0)
    for fraction, expected in ((0.0, start), (0.5, middle), (1.0, end)):
        assert np.allclose(arcs.at(np.arange(2), np.full(2, fraction)), expected)


def test_a_closed_arc_is_a_whole_circle():
    arcs = Arcs.through(np.zeros((1, 2)), np.array([[10.0, 0.0]]), np.zeros((1, 2)))
    assert arcs.radius_m[0] == 5.0
    assert np.allclose(arcs.at(np.zeros(1, int), np.array([0.25])), [[5.0, -5.0]])


def test_three_places_on_a_line_draw_the_line():
    arcs = Arcs.through(np.zeros((1, 2)), np.array([[1.0, 1.0]]), np.array([[4.0, 4.0]]))
    assert np.isinf(arcs.radius_m[0])
    assert np.allclose(arcs.at(np.zeros(1, int), np.array([0.25])), [[1.0, 1.0]])


@pytest.mark.parametrize(("field", "expected"), [(TurningField(), True), (BendingField(), False)])
def test_the_image_of_an_arc_is_an_arc_only_where_the_field_is_rigid(field, expected):
    places = tuple(np.array([p]) for p in ((0.0, 0.0), (1000.0, 1000.0), (2000.0, 0.0)))
    assert stays_arc(field, places, tuple(field(p) for p in places), 0.05).tolist() == [expected]


def test_chords_of_an_arc_are_the_same_from_either_end_and_keep_their_sag():
    start, middle, end = (np.array([p]) for p in ((0.0, 0.0), (30.0, 40.0), (100.0, 10.0)))
    _, there, places = chords(start, middle, end, 0.05)
    _, back, turned = chords(end, middle, start, 0.05)
    assert np.array_equal(places, turned[::-1])
    assert (np.diff(there) > 0).all() and (np.diff(back) > 0).all()
    arc = Arcs.through(start, middle, end)
    line = np.concatenate([start, places[there < 1], middle, places[there > 1], end])
    middles = 0.5 * (line[1:] + line[:-1])
    assert (arc.radius_m - np.hypot(*(middles - arc.centre).T)).max() <= 0.025 + 1e-9


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 60), cell_m=st.sampled_from([0.7, 5.0, 60.0]))
def test_places_on_segments_are_found_as_by_looking_at_every_pair(seed, count, cell_m):
    random = np.random.default_rng(seed)
    starts, ends = random.uniform(-200, 200, (2, count, 2)) * random.choice([0.02, 1.0, 5.0], (count, 1))
    share = random.uniform(0.05, 0.95, (count, 1))
    candidates = np.concatenate([starts, ends, starts + share * (ends - starts), random.uniform(-99, 99, (20, 2))])
    segment, fraction, place = PlaceIndex.of(candidates, cell_m).on_segments(starts, ends)
    found = {(int(s), *p) for s, p in zip(segment, place.tolist(), strict=True)}
    assert found == _by_every_pair(starts, ends, candidates)
    assert np.allclose(starts[segment] + fraction[:, None] * (ends - starts)[segment], place, atol=0.0011)


def _by_every_pair(starts, ends, candidates):
    along = (ends - starts)[:, None]
    length = np.hypot(along[..., 0], along[..., 1])
    to = candidates[None] - starts[:, None]
    at = (along * to).sum(axis=2) / length
    off = np.abs(along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0]) / length
    on = (off <= 0.001) & (at > 0.001) & (at < length - 0.001)
    return {(int(s), *candidates[p].tolist()) for s, p in np.argwhere(on)}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([(0.0, 0.0), (1.5, 2.0), (2.0, 1.5), (-0.1, 7.0)]), max_size=40))
def test_distinct_rows_stand_for_every_place(chosen):
    places = np.array(chosen, dtype=float).reshape(-1, 2)
    rows, number = distinct_rows(places)
    assert np.array_equal(places[rows][number], places)


def test_a_rigid_motion_is_recovered_from_groups_of_members_with_references_of_their_own():
    random = np.random.default_rng(3)
    places = random.uniform([4e5, 3e5], [4e5 + 40, 3e5 + 40], (60, 2))
    images = TurningField(angle=0.01)(places)
    member = np.sort(random.integers(0, 6, 60))
    motion = Moments.of(member, 6, places, images).grouped(np.zeros(6, int), 1).fit()
    assert np.allclose(motion.move(places, np.zeros(60, int)), images, atol=1e-8)
    assert motion.misfit_m[0] < 1e-4


def test_the_misfit_of_a_motion_is_the_root_mean_square_left():
    places = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]])
    images = places + np.array([[0.1, 0], [-0.1, 0], [0.1, 0], [-0.1, 0]])
    motion = Moments.of(np.zeros(4, int), 1, places, images).fit()
    left = motion.move(places, np.zeros(4, int)) - images
    assert np.isclose(motion.misfit_m[0], np.sqrt((left**2).sum(axis=1).mean()), atol=1e-6)


def test_one_place_is_shifted_and_not_turned():
    motion = Moments.of(np.zeros(1, int), 1, np.array([[5e5, 3e5]]), np.array([[5e5 + 1, 3e5 + 2]])).fit()
    assert motion.angle[0] == 0.0
    assert np.allclose(motion.move(np.array([[5e5, 3e5]]), np.zeros(1, int)), [[5e5 + 1, 3e5 + 2]])

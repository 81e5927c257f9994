"""Breaks: the plain geometry of lines and pieces, and finding them in control with known truth."""

from __future__ import annotations

import numpy as np
import pytest

from qa.breaks import find_breaks
from transforms.breaks import Breaks
from transforms.contract import Control

SQUARE = np.array([[0.0, 0.0], [1000.0, 0.0], [1000.0, 1000.0], [0.0, 1000.0], [0.0, 0.0]])
BENT = np.array([[500.0, 0.0], [520.0, 600.0], [500.0, 1000.0]])
FAR = np.array([400_000.0, 300_000.0])
EXTENT = (-200.0, -200.0, 1200.0, 1200.0)


def two_sheets(count: int, noise_m: float, jump_m: float, seed: int = 0, side_m: float = 3000.0) -> Control:
    """Control on a bent line's two sides, the shift smooth on each and jumping by ``jump_m`` between."""
    rng = np.random.default_rng(seed)
    before = rng.uniform(0.0, side_m, (count, 2))
    slope = 1e-3 * before @ np.array([[0.4, -0.3], [0.2, 0.5]])
    jump = np.where(is_east(before, side_m)[:, None], [0.8 * jump_m, -0.6 * jump_m], 0.0)
    return Control(before, before + np.array([1.0, -2.0]) + slope + jump + rng.normal(0.0, noise_m, before.shape))


def is_east(points: np.ndarray, side_m: float = 3000.0) -> np.ndarray:
    """The true side of each point: the line runs from south to north with a bend half way."""
    half = side_m / 2
    return points[:, 0] > half + 0.1 * np.abs(points[:, 1] - half)


def test_given_lines_divide_the_land() -> None:
    """A closed line with a chord makes three pieces, told apart to the metre at the bend."""
    breaks = Breaks.from_lines([SQUARE, BENT], EXTENT)
    places = np.array([[250.0, 500.0], [750.0, 500.0], [1100.0, 500.0], [519.5, 600.0], [520.5, 600.0]])
    piece = breaks.piece(places)
    assert breaks.count == 3
    assert piece[0] == piece[3] and piece[1] == piece[4]
    assert len(set(piece[:3].tolist())) == 3


def test_pieces_agree_with_the_exact_polygon() -> None:
    """The raster's short cut never changes the answer that exact geometry gives."""
    shapely = pytest.importorskip("shapely")
    breaks = Breaks.from_lines([SQUARE, BENT], EXTENT)
    places = np.random.default_rng(1).uniform(-150.0, 1150.0, (20_000, 2))
    west = shapely.Polygon(np.concatenate([BENT, [[0.0, 1000.0], [0.0, 0.0]]]))
    truly = shapely.contains_xy(west, *places.T)
    assert np.array_equal(breaks.piece(places) == breaks.piece(np.array([[250.0, 500.0]]))[0], truly)


def test_distance_is_that_to_the_line() -> None:
    """Distances agree with exact geometry to a cell's width, and to the millimetre near the line."""
    shapely = pytest.importorskip("shapely")
    breaks = Breaks.from_lines([SQUARE, BENT], EXTENT)
    places = np.random.default_rng(2).uniform(-150.0, 1150.0, (5_000, 2))
    exact = shapely.distance(
        shapely.points(places), shapely.union_all([shapely.LineString(SQUARE), shapely.LineString(BENT)])
    )
    found = breaks.distance_m(places)
    assert np.abs(found - exact).max() < 4.0
    assert np.abs(found - exact)[exact < 2.0].max() < 1e-3


def test_without_breaks_there_is_one_piece() -> None:
    """No lines: piece 0 everywhere and no break within any distance."""
    places = np.array([[0.0, 0.0], [5e5, 5e5]])
    assert Breaks.none().piece(places).tolist() == [0, 0]
    assert np.isinf(Breaks.none().distance_m(places)).all()
    assert not Breaks.none().ambiguous(places).any()


def test_arrays_bring_the_same_breaks_back() -> None:
    """Breaks written to arrays and read back answer alike to the last bit."""
    breaks = Breaks.from_lines([SQUARE, BENT], EXTENT)
    again = Breaks.from_arrays(breaks.to_arrays())
    places = np.random.default_rng(3).uniform(-200.0, 1200.0, (1000, 2))
    assert np.array_equal(again.piece(places), breaks.piece(places))
    assert np.array_equal(again.distance_m(places), breaks.distance_m(places))
    assert Breaks.from_arrays(Breaks.none().to_arrays()).count == 1


def test_places_that_are_not_finite_do_not_fail() -> None:
    """NaN and infinite places get some piece and an infinite distance."""
    breaks = Breaks.from_lines([SQUARE, BENT], EXTENT)
    odd = np.array([[np.nan, 1.0], [np.inf, 2.0]])
    assert breaks.piece(odd).shape == (2,)
    assert np.isinf(breaks.distance_m(odd)).all()


def test_two_lands_far_apart_are_two_pieces_though_no_control_lies_near_their_border() -> None:
    rng = np.random.default_rng(3)
    here = rng.uniform(0, 1000, (150, 2)) + np.array([400_000, 300_000])
    before = np.concatenate([here, here + np.array([20_000, 0])])
    shift = np.repeat([[3.0, 0.0], [-2.0, 1.0]], 150, axis=0) + rng.normal(0, 0.2, (300, 2))
    breaks = find_breaks(Control(before, before + shift))
    assert breaks.piece(np.array([[400_500.0, 300_500.0], [420_500.0, 300_500.0]])).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("count", "noise_m", "jump_m"), [(300, 0.1, 0.8), (900, 0.3, 0.5), (900, 0.3, 1.5), (900, 0.3, 3.0)]
)
def test_a_jump_is_found_where_it_is(count: int, noise_m: float, jump_m: float) -> None:
    """Two sheets are told apart, also where the jump is that of two neighbours by chance, and nearly every place is
    given to its true side.
    """
    breaks = find_breaks(two_sheets(count, noise_m, jump_m))
    places = np.random.default_rng(9).uniform(100.0, 2900.0, (4000, 2))
    piece = breaks.piece(places)
    east = np.bincount(piece[is_east(places)]).argmax()
    west = np.bincount(piece[~is_east(places)]).argmax()
    right = np.where(is_east(places), piece == east, piece == west)
    assert east != west
    assert right.mean() > 0.975


def test_bad_control_is_no_break() -> None:
    """Three in a hundred gross errors in a smooth field make no piece of their own."""
    control = two_sheets(800, 0.2, 0.0, seed=4)
    rng = np.random.default_rng(5)
    bad = rng.choice(800, 24, replace=False)
    after = control.after.copy()
    after[bad] += rng.normal(0.0, 3.0, (24, 2))
    assert find_breaks(Control(control.before, after)).count == 1


def test_a_smooth_bend_is_no_break() -> None:
    """A shift that swings by metres over kilometres, smoothly, stays one piece."""
    rng = np.random.default_rng(6)
    before = rng.uniform(0.0, 8000.0, (1500, 2))
    swing = 1.5 * np.stack([np.sin(before[:, 0] / 1500.0), np.cos(before[:, 1] / 1800.0)], axis=1)
    control = Control(before, before + swing + rng.normal(0.0, 0.2, before.shape))
    assert find_breaks(control).count == 1


def test_a_bend_that_thin_control_hardly_follows_is_no_break() -> None:
    """Where the shift swings within a few spacings of control, no quadratic surface describes it: no line cuts it."""
    rng = np.random.default_rng(2000)
    before = rng.uniform(0.0, 15_000.0, (1000, 2))
    east, north = before.T / 1000.0
    swing = np.stack([np.sin(east / 1.7) + 0.4 * np.cos(north), 0.8 * np.cos(east / 2.3 - north)], axis=1)
    assert find_breaks(Control(before, before + swing + rng.normal(0.0, 0.1, before.shape))).count == 1


def test_houses_that_each_moved_a_little_of_their_own_are_not_divided_by_lines() -> None:
    """Two corners of a house agree, and the houses beside it by chance; that is no piece of land."""
    rng = np.random.default_rng(3)
    countryside = rng.uniform(0.0, 6000.0, (4000, 2))
    houses = np.stack(np.meshgrid(np.arange(2600.0, 3400.0, 25.0), np.arange(2600.0, 3400.0, 25.0)), -1).reshape(-1, 2)
    angle, own_m = rng.uniform(0.0, 2.0 * np.pi, len(houses)), rng.uniform(0.3, 1.0, len(houses))
    corners = houses[:, None] + np.array([[0.0, 0.0], [9.0, 0.0]])
    own = np.repeat(own_m[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1), 2, axis=0)
    before = np.concatenate([countryside, corners.reshape(-1, 2)])
    shift = np.array([1.2, -0.9]) + np.concatenate([np.zeros_like(countryside), own])
    assert find_breaks(Control(before, before + shift + rng.normal(0.0, 0.15, before.shape))).count == 1


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 30])
def test_small_or_collinear_control_has_no_breaks(count: int) -> None:
    """Too little control, or control along one line, is answered with no breaks and no failure."""
    before = np.stack([np.arange(count) * 50.0, np.arange(count) * 20.0], axis=1)
    assert find_breaks(Control(before, before + 1.0)).count == 1
    assert find_breaks(Control(np.zeros((count, 2)), np.ones((count, 2)))).count == 1


def test_the_search_does_not_depend_on_where_the_origin_lies() -> None:
    """The same control moved by hundreds of kilometres has the same pieces."""
    control = two_sheets(400, 0.15, 1.5)
    far = Control(control.before + FAR, control.after + FAR)
    here, there = find_breaks(control), find_breaks(far)
    assert (here.piece(control.before) == there.piece(far.before)).mean() > 0.99

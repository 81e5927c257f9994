"""A field of several pieces: exact on either side of a break, honest on the line."""

from __future__ import annotations

import numpy as np
import pytest

from transforms.affine import Affine
from transforms.breaks import Breaks
from transforms.contract import NO_PIECE, Control
from transforms.densify import find_insertions
from transforms.errors import ControlError
from transforms.piecewise import Piecewise, _radius_m, piece_of_control

LINE = np.array([[500.0, -1000.0], [500.0, 2000.0]])
BREAKS = Breaks.from_lines([LINE], (0.0, 0.0, 1000.0, 1000.0))
GRID = np.stack(np.meshgrid(np.arange(30.0, 1000.0, 60.0), np.arange(30.0, 1000.0, 60.0)), axis=-1).reshape(-1, 2)
EAST = GRID[:, 0] > 500.0
TRUE = Control(GRID, GRID + np.where(EAST[:, None], [3.0, 1.0], [1.0, -1.0]))


def widened(half_width_m: float) -> Breaks:
    """The same line, its place known only to ``half_width_m``."""
    width = (np.full(len(BREAKS.lines[0]), half_width_m),)
    return Breaks(BREAKS.lines, BREAKS.left, BREAKS.right, BREAKS.jump_m, width, BREAKS.count)


def test_each_side_moves_with_its_own_piece() -> None:
    """A metre from the break the shift is that of the own side to the millimetre."""
    field = Piecewise.fit(TRUE, BREAKS, Affine.fit)
    places = np.array([[499.0, 400.0], [501.0, 400.0]])
    assert np.allclose(field(places) - places, [[1.0, -1.0], [3.0, 1.0]], atol=1e-3)


def test_the_distance_to_a_break_is_told() -> None:
    """A plain distance to the line, on either side."""
    field = Piecewise.fit(TRUE, BREAKS, Affine.fit)
    assert np.allclose(field.break_distance_m(np.array([[499.0, 400.0], [503.0, 400.0]])), [1.0, 3.0])


def test_a_place_can_be_moved_with_the_other_piece() -> None:
    """``in_piece`` answers for a feature that straddles the break."""
    field = Piecewise.fit(TRUE, BREAKS, Affine.fit)
    place = np.array([[499.0, 400.0]])
    other = 1 - field.piece(place)
    assert np.allclose(field.in_piece(place, other) - place, [[3.0, 1.0]], atol=1e-3)


def test_outside_control_there_is_no_answer() -> None:
    """Far from control the image is NaN and the place is in no piece."""
    field = Piecewise.fit(TRUE, BREAKS, Affine.fit)
    far = np.array([[50_000.0, 400.0]])
    assert np.isnan(field(far)).all()
    assert np.isnan(field.uncertainty(far)).all()
    assert field.piece(far).tolist() == [NO_PIECE]


def test_no_rows_give_no_rows() -> None:
    """n = 0 is allowed."""
    field = Piecewise.fit(TRUE, BREAKS, Affine.fit)
    assert field(np.empty((0, 2))).shape == (0, 2)
    assert field.uncertainty(np.empty((0, 2))).shape == (0,)


def test_the_way_back_is_exact() -> None:
    """New places return to their old ones within a millimetre."""
    field = Piecewise.fit(TRUE, BREAKS, Affine.fit)
    places = np.array([[200.0, 300.0], [450.0, 800.0], [700.0, 100.0]])
    assert np.abs(field.inverse(field(places)) - places).max() < 1e-3


def test_where_the_break_is_uncertain_so_is_the_shift() -> None:
    """On the line the 95 % radius reaches as far as the jump; far beyond the half-width none of it is included."""
    field = Piecewise.fit(TRUE, widened(40.0), Affine.fit)
    on_line, beyond = field.uncertainty(np.array([[499.999, 400.0], [420.0, 400.0]]))
    assert 1.73 * on_line == pytest.approx(np.hypot(2.0, 2.0), rel=0.02)
    assert beyond < 0.05


def test_control_on_the_wrong_side_of_an_uncertain_line_joins_its_own() -> None:
    """A control point ten metres across the line that moves like the other side belongs to the other side."""
    before = np.concatenate([GRID, [[510.0, 400.0]]])
    after = np.concatenate([TRUE.after, [[511.0, 399.0]]])
    control = Control(before, after)
    assert piece_of_control(control, widened(40.0))[-1] == BREAKS.piece(np.array([[400.0, 400.0]]))[0]
    assert piece_of_control(control, BREAKS)[-1] == BREAKS.piece(np.array([[600.0, 400.0]]))[0]


def test_a_piece_without_control_is_not_covered() -> None:
    """One side without control stays unanswered; with no control on any side fitting is refused."""
    field = Piecewise.fit(TRUE.take(EAST), BREAKS, Affine.fit)
    assert np.isnan(field(np.array([[300.0, 400.0]]))).all()
    with pytest.raises(ControlError, match="enough control"):
        Piecewise.fit(TRUE.take(np.arange(0)), BREAKS, Affine.fit)


def test_a_small_jump_that_closes_folds_nothing() -> None:
    """Across a break that closes by 0.4 m places keep their order, and half a metre away nothing changes."""
    closing = Control(GRID, GRID + np.where(EAST[:, None], [-0.4, 0.0], [0.0, 0.0]))
    field = Piecewise.fit(closing, BREAKS, Affine.fit)
    places = np.stack([np.linspace(498.0, 502.0, 4001), np.full(4001, 400.0)], axis=1)
    moved = field(places)
    assert np.diff(moved[:, 0]).min() >= 0.4 * 0.001
    away = np.abs(places[:, 0] - 500.0) > 0.5
    assert np.allclose(moved[away], field.in_piece(places, field.piece(places))[away])


def test_an_edge_that_grazes_a_break_is_looked_at_closely() -> None:
    """Both its ends lie away from the break and its middle does not: it follows the field within the tolerance."""
    closing = Control(GRID, GRID + np.where(EAST[:, None], [-0.4, 0.0], [0.0, 0.0]))
    corner = np.array([[480.0, -1000.0], [480.0, 387.3], [500.0, 407.3], [480.0, 427.3], [480.0, 2000.0]])
    field = Piecewise.fit(closing, Breaks.from_lines([corner], (0.0, 0.0, 1000.0, 1000.0)), Affine.fit)
    starts, ends = np.array([[500.02, 402.0]]), np.array([[500.02, 412.0]])
    found = find_insertions(field, starts, ends, field(starts), field(ends), tolerance_m=0.05)
    line = np.concatenate([field(starts), found.after, field(ends)])
    places = starts + np.linspace(0.0, 1.0, 1001)[:, None] * (ends - starts)
    exact = field(places)
    assert np.abs(exact[:, 0] - np.interp(exact[:, 1], line[:, 1], line[:, 0])).max() <= 0.05
    assert len(found) >= 1


@pytest.mark.parametrize("chance", [0.0, 0.04, 0.2, 0.5])
def test_the_radius_beside_a_break_leaves_out_one_place_in_twenty(chance: float) -> None:
    """Of made places that are right, or wrong by the whole jump with the chance given, 95 % are within."""
    rng, count = np.random.default_rng(2), 100_000
    own_m, across_m, jump_m = 0.2, 0.3, 2.0
    is_across = rng.random(count) < chance
    spread = np.where(is_across, across_m, own_m)[:, None] / np.sqrt(2.0)
    error = rng.normal(size=(count, 2)) * spread + np.where(is_across, jump_m, 0.0)[:, None] * [1.0, 0.0]
    radius = _radius_m(*(np.array([value]) for value in (own_m, across_m, jump_m, chance)))
    assert np.mean(np.hypot(*error.T) <= radius) == pytest.approx(0.95, abs=0.005)

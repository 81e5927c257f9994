"""Hold-out and the choice of a method, on control whose right answer is known."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from qa.accuracy import FOLDS, Region, blocks, compare, hold_out
from qa.methods import STIFF, exact_methods, regions
from transforms.affine import Affine
from transforms.collocation import Kriging
from transforms.contract import Control
from transforms.covariance import Covariance, estimate_covariance
from transforms.errors import ControlError
from transforms.identity import Identity
from transforms.polynomial import Polynomial
from transforms.triangulated import Triangulated


def control_of(shift, count=300, noise_m=0.2, seed=0):
    rng = np.random.default_rng(seed)
    before = np.array([420000.0, 310000.0]) + rng.uniform(0, 8000, (count, 2))
    moved = before + shift((before - [424000.0, 314000.0]) / 4000.0)
    return Control(before, moved + rng.normal(0, noise_m, (count, 2)))


def bent(unit):
    return np.stack([2 + np.sin(2.5 * unit[:, 0]), np.cos(2 * unit[:, 1] + unit[:, 0])], axis=1)


def linear(unit):
    return np.stack([3 + unit[:, 0], -2 + 0.5 * unit[:, 1]], axis=1)


def always(east_m):
    class Constant(Identity):
        def shift_at(self, points):
            return np.broadcast_to([east_m, 0.0], points.shape)

    return Constant.fit


def region_of(control):
    return [Region(control, np.ones(len(control), dtype=bool))]


def test_blocks_leave_together_and_folds_share_the_control():
    """Control of one block is in one fold, and every fold has a fair share."""
    control = control_of(bent)
    block, fold = blocks(control.before)
    for number in np.unique(block):
        assert len(np.unique(fold[block == number])) == 1
    assert (np.bincount(fold, minlength=FOLDS) > 300 / FOLDS / 3).all()


def test_held_out_control_is_not_seen():
    """A method that is exact at control errs by the noise and more on held-out control."""
    control = control_of(linear)
    held_out = hold_out(Triangulated.fit, control, *blocks(control.before))
    assert held_out.rms_m() > 0.2
    assert held_out.covered.mean() > 0.7


@pytest.mark.parametrize(
    ("shift", "is_little", "winner"),
    [
        (linear, True, "affine"),
        (linear, False, "collocation"),
        (bent, True, "collocation"),
        (bent, False, "collocation"),
    ],
)
def test_the_method_of_the_world_wins(shift, is_little, winner):
    """A bent world is given to collocation, an affine one too unless control is too little to know its covariance."""
    control = control_of(shift)
    methods = exact_methods(estimate_covariance([control]), is_little)
    assert compare(methods, regions([control]), STIFF).winner == winner


def test_a_town_that_no_method_follows_does_not_decide():
    """What is twice as true in the country wins, though by the square of the error a few houses weigh more."""
    control = control_of(lambda unit: 0.0 * unit, noise_m=0.0)
    town = control.before[:, 0] < np.quantile(control.before[:, 0], 0.1)
    shift = np.where(town, 1.0, 0.05)
    world = Control(control.before, control.before + np.column_stack([shift, 0.0 * shift]))
    methods = {"even": always(0.145), "country": always(0.0)}
    contest = compare(methods, region_of(world))
    even, country = contest.scores
    assert even.rms_m < country.rms_m
    assert contest.winner == "country"


def test_held_out_control_is_judged_by_the_noise_of_its_class():
    control = control_of(linear)
    code = np.where(np.arange(len(control)) % 2, "0001", "0030").astype(np.str_)
    coded = Control(control.before, control.after, code)
    covariance = Covariance(5000.0, 1.5, np.array([1.0, 1.0]), 0.1, {"0001": 0.01})
    held_out = hold_out(partial(Kriging.fit, covariance=covariance), coded, *blocks(control.before))
    assert held_out.noise_m[code == "0001"] == pytest.approx(0.1 * np.sqrt(0.2))
    assert held_out.noise_m[code == "0030"] == pytest.approx(np.sqrt(0.2))


def test_data_that_did_not_move_is_left_alone():
    """Where control is noise about no shift at all, nothing beats the identity beyond chance."""
    control = control_of(lambda unit: 0.0 * unit)
    methods = exact_methods(estimate_covariance([control]))
    assert compare(methods, regions([control]), STIFF).winner == "identity"


def test_refusals_stand_in_the_table():
    """A refusing method is listed with its sentence and cannot win; where all refuse, so does the contest."""
    control = control_of(linear, count=9)
    contest = compare({"identity": Identity.fit, "polynomial": Polynomial.fit}, region_of(control))
    assert contest.winner == "identity"
    assert "polynomial" in contest.scores[1].refusal
    with pytest.raises(ControlError, match="polynomial"):
        compare({"polynomial": Polynomial.fit}, region_of(control))


def test_stiff_methods_are_fitted_to_the_whole():
    """In a small region an affine fitted there would win; fitted to all, as it is used, it errs more."""
    control = control_of(bent, count=3000)
    near = np.hypot(*(control.before - control.before[0]).T) < 500.0
    region = [Region(control, near)]
    local = compare({"affine": Affine.fit}, region).scores[0].rms_m
    whole = compare({"affine": Affine.fit}, region, stiff=("affine",)).scores[0].rms_m
    assert whole > 1.3 * local

"""Calibration: factors set by held-out control, inland and at the rim, and judged on control that did not set them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qa.accuracy import HeldOut
from qa.calibration import Calibration, Rim, cross_calibrated_m

SIDE_M = 1000.0
PLACES = np.random.default_rng(0).uniform(0.0, SIDE_M, (8000, 2))
GRID = np.stack(np.meshgrid(*2 * [np.linspace(0.0, SIDE_M, 20)]), axis=-1).reshape(-1, 2)
RIM = Rim.of(GRID)


def held_out(inland, at_rim, noise_m=0.1, places=PLACES, seed=2):
    """Control whose true errors are ``inland`` and (on the hull) ``at_rim`` times what the field stated."""
    rng = np.random.default_rng(seed)
    stated = np.full(len(places), 0.3)
    actual = inland * (1.0 + (at_rim - 1.0) * RIM.weight(places)) * stated
    error = np.hypot(*rng.normal(0.0, np.hypot(actual, noise_m * inland) / np.sqrt(2.0), (2, len(places))))
    block = (places // 50.0 @ [100.0, 1.0]).astype(int)
    return HeldOut(error, stated, np.full(len(places), noise_m), np.full(len(places), 10.0), block)


def test_the_rim_fades_inwards():
    """Full weight on the hull and beyond, half of it one spacing (50 m) inside, none in the middle."""
    places = np.array([[0.0, 500.0], [-40.0, 500.0], [50.0, 500.0], [500.0, 500.0]])
    np.testing.assert_allclose(RIM.weight(places), [1.0, 1.0, 0.5, 0.0], atol=0.01)


@pytest.mark.parametrize(("inland", "at_rim"), [(1.0, 1.0), (0.7, 1.8), (1.6, 1.3)])
def test_factors_are_found_again(inland, at_rim):
    """What the errors were made with comes back."""
    found = Calibration.of(held_out(inland, at_rim), PLACES, RIM)
    assert found.field == pytest.approx(inland, rel=0.06)
    assert found.at_rim == pytest.approx(at_rim, rel=0.15)


def test_calibrated_errors_hold_inland_and_at_the_rim():
    """Fresh control lies within the calibrated 95 % radius in 93-97 % of cases in both."""
    calibration = Calibration.of(held_out(0.8, 2.0), PLACES, RIM)
    places = np.random.default_rng(7).uniform(0.0, SIDE_M, (8000, 2))
    fresh = held_out(0.8, 2.0, places=places, seed=8)
    within = fresh.error_m <= 1.73 * calibration.stated_m(fresh, places)
    rim = RIM.weight(places) >= 0.5
    assert 0.93 <= within[rim].mean() <= 0.97
    assert 0.93 <= within[~rim].mean() <= 0.97


def test_little_control_sets_nothing():
    """Fewer than a hundred held-out points leave the factors at 1."""
    few = np.arange(99)
    assert Calibration.of(held_out(2.0, 2.0).take(few), PLACES[few], RIM) == Calibration(RIM)


def test_each_half_is_judged_by_the_other():
    """A block whose errors are tenfold does not widen its own standard errors, only those of the other half."""
    one = held_out(1.0, 1.0)
    half = np.unique(one.block, return_inverse=True)[1] % 2
    wild = replace(one, error_m=np.where(half == 0, 10.0, 1.0) * one.error_m)
    stated = cross_calibrated_m(wild, PLACES, RIM)
    assert stated[half == 0].mean() < 0.5 * stated[half == 1].mean()


def test_control_on_a_line_has_no_rim():
    """Without a hull no place is nearer to the rim than another."""
    along = np.arange(50.0)
    rim = Rim.of(np.stack([along, along], axis=1))
    np.testing.assert_array_equal(rim.weight(PLACES[:10]), 0.0)

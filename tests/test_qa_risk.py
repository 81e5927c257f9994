"""The calibration of chances, the limit that follows from it, and what it makes one expect."""

import itertools

import numpy as np
import pytest

from qa.limits import limits_in_force
from qa.risk import Bin, calibration, expected_wrong, limit_for, measured_curve, write_curve


def drawn(count=200_000, factor=1.0, seed=1):
    """Chances over five decades, and what came of them: ``factor`` times as often wrong as predicted."""
    random = np.random.default_rng(seed)
    chance = 10.0 ** random.uniform(-5, 0, count)
    return chance, random.random(count) < np.minimum(factor * chance, 1.0)


def test_bins_of_honest_chances_show_what_was_predicted():
    bins = calibration(*drawn())
    assert sum(one.features for one in bins) == 200_000
    assert all(one.low < one.predicted <= one.high for one in bins)
    assert [one.observed for one in bins[6:]] == pytest.approx([one.predicted for one in bins[6:]], rel=0.25)


def test_without_truth_nothing_is_observed():
    assert all(np.isnan(one.observed) for one in calibration(drawn()[0]))


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_below_the_limit_the_acceptable_share_is_wrong_however_bold_the_predictions(factor):
    limit = limit_for(0.001, calibration(*drawn(factor=factor)))
    chance, wrong = drawn(factor=factor, seed=2)
    share = wrong[chance <= limit].mean()
    assert share + np.sqrt(share / 5_000) == pytest.approx(0.001, rel=0.2), "in a borough of 5,000"


def test_a_lucky_curve_gives_no_higher_limit_than_its_size_bears_out():
    """One error among 2,000 may as well have been two."""
    few = [Bin(0.0, 0.01, 1_000, 0.001, 0.0), Bin(0.01, 0.1, 1_000, 0.05, 0.001)]
    many = [one._replace(features=100 * one.features) for one in few]
    assert 0.01 < limit_for(0.001, few) < limit_for(0.001, many) == 0.1


def test_who_accepts_more_errors_gets_a_higher_limit():
    curve = calibration(*drawn())
    limits = [limit_for(ratio, curve) for ratio in (0.0001, 0.001, 0.01, 0.1)]
    assert limits == sorted(limits)
    assert len(set(limits)) == 4


def test_a_curve_without_a_single_error_takes_all_and_one_of_errors_only_takes_nothing():
    assert limit_for(0.001, [Bin(0.0, 0.1, 10, 0.01, 0.0), Bin(0.1, 1.0, 5, 0.5, 0.0)]) == 1.0
    assert limit_for(0.001, [Bin(0.0, 0.1, 10, 0.01, 1.0)]) == pytest.approx(0.01)


def test_the_expected_number_follows_what_was_observed_not_what_was_predicted():
    curve = calibration(*drawn(factor=3.0))
    chance, wrong = drawn(factor=3.0, seed=3)
    below = chance < 0.02
    assert expected_wrong(chance[below], curve) == pytest.approx(wrong[below].sum(), rel=0.25)
    assert expected_wrong(np.array([np.nan]), curve) == 1.0
    assert expected_wrong(np.array([]), curve) == 0.0


def test_a_curve_is_read_as_it_was_written(tmp_path, monkeypatch):
    write_curve(measured_curve(), tmp_path / "curve.csv")
    monkeypatch.setattr("qa.risk.CURVE_FILE", tmp_path / "curve.csv")
    assert measured_curve.__wrapped__() == measured_curve()


def test_the_shipped_curve_covers_every_chance_and_gives_the_limit_in_force():
    curve = measured_curve()
    assert (curve[0].low, curve[-1].high) == (0.0, 1.0)
    assert all(one.high == other.low for one, other in itertools.pairwise(curve))
    limits = limits_in_force()
    asked = limits.acceptable_wrong_ratio
    assert limits.wrong_chance_ratio == min(limit_for(asked, curve), 10.0 * asked)
    assert limits_in_force({"acceptable_wrong_ratio": 0.01}).wrong_chance_ratio > limits.wrong_chance_ratio

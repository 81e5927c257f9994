"""Verdicts from measures: chances against simulation, and every rule on its own."""

import numpy as np
import pytest

from qa.limits import limits_in_force
from qa.triage import REASONS, REMARKS, position_wrong_chance, triage

NOTHING = np.array([np.nan])


def chance(uncertainty_m, disagreement_m=np.nan, error_m=np.nan):
    values = (np.array([value]) for value in (uncertainty_m, disagreement_m, error_m))
    return float(position_wrong_chance(*values, 1.0)[0])


@pytest.mark.parametrize("uncertainty_m", [0.3, 0.6, 1.0])
def test_the_chance_is_that_of_a_circular_normal_error(uncertainty_m):
    draws = np.random.default_rng(1).normal(0, uncertainty_m / np.sqrt(2), (400_000, 2))
    assert chance(uncertainty_m) == pytest.approx(np.mean(np.linalg.norm(draws, axis=1) > 1), abs=0.003)


def test_what_the_base_map_shows_replaces_what_the_field_claims():
    assert chance(0.1) < 1e-6
    assert chance(0.1, disagreement_m=2.0, error_m=0.1) > 0.99
    assert chance(1.5, disagreement_m=0.05, error_m=0.1) < 0.01


def test_an_unknown_uncertainty_is_certain_to_be_wrong():
    assert chance(np.nan) == 1.0


def test_more_disagreement_is_never_less_doubt():
    steps = np.linspace(0, 3, 50)
    chances = position_wrong_chance(np.full(50, 0.3), steps, np.full(50, 0.2), 1.0)
    assert (np.diff(chances) >= -1e-12).all()


def verdict_of(regime="affected", moved=True, origin_doubt=0.0, position_doubt=0.0, findings=()):
    verdicts = triage(
        np.array([regime]),
        [["captured_before_new_map"]],
        np.array([moved]),
        np.array([origin_doubt]),
        np.array([position_doubt]),
        np.array([2.0]),
        {code: np.array([True]) for code in findings},
        limits_in_force(),
    )
    return str(verdicts.verdict[0]), verdicts.reasons[0], float(verdicts.risk[0])


def test_what_moves_is_accepted_and_what_stays_is_left():
    assert verdict_of()[:2] == ("accept", ["captured_before_new_map"])
    assert verdict_of("already_new", moved=False)[0] == "leave"
    assert verdict_of("unaffected", moved=False)[0] == "leave"


@pytest.mark.parametrize("doubt", ["origin_doubt", "position_doubt"])
def test_a_chance_that_is_no_number_settles_nothing(doubt):
    assert verdict_of(**{doubt: np.nan})[0] == "review"


@pytest.mark.parametrize("regime", ["unknown", "straddling"])
@pytest.mark.parametrize("moved", [True, False])
def test_unknown_and_straddling_features_always_go_to_an_officer(regime, moved):
    assert verdict_of(regime, moved)[0] == "review"


@pytest.mark.parametrize("code", sorted(set(REASONS) - REMARKS - {"origin_doubtful", "position_uncertain"}))
def test_any_finding_sends_a_feature_to_review_and_leads_its_reasons(code):
    verdict, reasons, _ = verdict_of(findings=[code])
    assert verdict == "review"
    assert reasons[0] == code


def test_two_doubts_that_are_too_large_together_are_one_too_many():
    limit = limits_in_force().wrong_chance_ratio
    assert verdict_of(origin_doubt=0.7 * limit)[0] == "accept"
    assert verdict_of(position_doubt=0.7 * limit)[0] == "accept"
    verdict, reasons, _ = verdict_of(origin_doubt=0.7 * limit, position_doubt=0.6 * limit)
    assert (verdict, reasons[0]) == ("review", "origin_doubtful")
    verdict, reasons, _ = verdict_of(origin_doubt=0.6 * limit, position_doubt=0.7 * limit)
    assert (verdict, reasons[0]) == ("review", "position_uncertain")


def test_a_disagreement_that_the_map_explains_is_not_held_against_the_field():
    assert chance(0.4, disagreement_m=0.7, error_m=0.7) < 0.03
    assert chance(0.4, disagreement_m=0.7, error_m=0.1) < 0.01
    assert chance(0.4, disagreement_m=0.95, error_m=0.1) > 0.2


def test_a_remark_does_not():
    assert verdict_of(findings=["invalid_before"])[:2] == ("accept", ["invalid_before", "captured_before_new_map"])


def test_doubt_above_the_limit_is_for_review_also_where_nothing_moves():
    limit = limits_in_force().wrong_chance_ratio
    assert verdict_of(origin_doubt=1.1 * limit)[0] == "review"
    assert verdict_of("already_new", moved=False, origin_doubt=1.1 * limit)[0] == "review"
    assert verdict_of(position_doubt=1.1 * limit)[0] == "review"
    assert verdict_of(origin_doubt=0.9 * limit)[0] == "accept"
    assert verdict_of("already_new", moved=False, position_doubt=1.0)[0] == "leave"


def test_risk_grows_with_doubt_and_is_never_nothing_in_the_queue():
    risks = [verdict_of(origin_doubt=doubt)[2] for doubt in (0.2, 0.5, 0.9)]
    assert risks == sorted(risks)
    assert verdict_of(findings=["area_changed"])[2] > 0


def test_every_reason_is_a_plain_sentence():
    for code, sentence in REASONS.items():
        assert sentence[0].isupper() and sentence.endswith("."), code
        assert len(sentence) < 120, code

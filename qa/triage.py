"""From measures and limits to one verdict for each feature, with reasons and a risk that orders the queue.

The worst thing that can happen is a wrong feature accepted; a tie goes to the officer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ncx2

from qa import regime as regimes
from qa.limits import Limits

Numbers = NDArray[np.float64]

ACCEPT, REVIEW, LEAVE = "accept", "review", "leave"

REASONS = regimes.REASONS | {
    "layer_check_only": "The layer is only to be looked at; nothing of it is moved.",
    "outside_control": "Part of it lies where there is no control, so its shift would be a guess.",
    "straddling": "It lies across a break, and its two ways of moving differ by more than the limit.",
    "bad_coordinates": "It has coordinates that are no place: not numbers, or beyond any map.",
    "geometry_type": "Its type of geometry cannot be moved.",
    "not_moved": "It was drawn on the old map but no move is proposed.",
    "origin_doubtful": "The chance that it was not drawn on that map, or is misplaced, is above the limit.",
    "position_uncertain": "The chance that its new place is wrong by more than the limit is too large.",
    "base_map_disagrees": "It moves differently from the base map beside it.",
    "off_the_new_map": "It lay on the lines of the old map and does not lie on those of the new one.",
    "left_its_building": "It was inside a building and is in none on the new map.",
    "changed_building": "It was inside one building and is in another on the new map.",
    "moved_within_building": "It lies elsewhere within its building than before, so the building moved differently.",
    "off_its_line": "It lay close to a line of the old map and now lies at another distance from it.",
    "control_disagrees": "The control points near it disagree, and the base map does not show where it went.",
    "far_from_control": "The nearest control is too far away; with one edition of the base map 100 m is too far.",
    "long_shift": "It moves further than shifts do.",
    "area_changed": "Its area changes by more than the limit.",
    "distance_changed": "A distance within it changes by more than OS's limit.",
    "right_angle_bent": "A right angle of it is bent by more than the limit.",
    "became_invalid": "It was valid and is not any more.",
    "parts_changed": "It has gained or lost parts or holes.",
    "lost_geometry": "It had a geometry and has none any more.",
    "type_changed": "Its type of geometry changed.",
    "shared_edge_parted": "It shared an edge with a feature that goes elsewhere.",
    "far_from_layer": "It lies far from every other feature of its layer.",
    "building_gone": "The building it was in is no longer on the new map.",
    "outline_crosses": "Its outline crosses itself, so it does not tell what lies inside.",
    "invalid_before": "It was invalid before, and still is; the move changed nothing about it.",
    "base_feature_gone": "It followed a line of the old map that is not on the new one; there it is only shifted.",
    "base_feature_changed": "It followed a line of the old map that was redrawn; there it is only shifted.",
    "reattach_disagrees": "The line it followed went elsewhere than the shift allows; there it is only shifted.",
    "relation_changed": "It lies in something, or beside something, that it did not before, or no longer does.",
    "unreadable_geometry": "Its geometry could not be read, so nothing about it was measured.",
}
"""Every reason of a verdict, with the sentence an officer reads."""

REMARKS = frozenset(
    {"building_gone", "invalid_before", "base_feature_gone", "base_feature_changed", "relation_changed"}
)
"""Reasons that tell an officer something but send nothing to review: what has no other was never found wrong."""


@dataclass(frozen=True)
class Verdicts:
    """The outcome for ``n`` features.

    Parameters
    ----------
    verdict
        ``(n,)`` ``accept``, ``review`` or ``leave``.
    reasons
        ``(n,)`` lists of codes of ``REASONS``; what sends a feature to review comes first.
    wrong_chance_ratio
        ``(n,)`` the chance that it is wrong by more than the limit.
    origin_doubt, position_doubt
        ``(n,)`` the chances it is made of: that the origin, and that the new place, is wrong.
    risk
        ``(n,)`` metres: that chance times how far it would then be out; the queue's order, highest first.
    """

    verdict: NDArray[np.str_]
    reasons: list[list[str]]
    wrong_chance_ratio: Numbers
    origin_doubt: Numbers
    position_doubt: Numbers
    risk: Numbers


def position_wrong_chance(
    uncertainty_m: Numbers, disagreement_m: Numbers, disagreement_error_m: Numbers, limit_m: float
) -> Numbers:
    """The chance ``(n,)`` that a moved feature is out by more than ``limit_m``.

    The error is taken as circular normal (Rice's distribution: the square of the distance is a non-central chi-square
    of two degrees of freedom). Where the base map shows nothing, the field's own uncertainty stands alone; where it
    does, both are weighed by their variances. A disagreement larger than the base map's own error explains shows that
    the field is less sure than it says.

    Parameters
    ----------
    uncertainty_m
        ``(n,)`` radial standard error of the field; NaN counts as certain to be wrong.
    disagreement_m, disagreement_error_m
        ``(n,)`` difference from the base map's own shift and its radial standard error; NaN without a base map.
    limit_m
        What counts as wrong.

    Examples
    --------
    >>> nothing = np.full(2, np.nan)
    >>> position_wrong_chance(np.array([0.2, 1.0]), nothing, nothing, 1.0).round(3).tolist()
    [0.0, 0.368]
    """
    shown = np.isfinite(disagreement_m) & np.isfinite(disagreement_error_m)
    base_variance = np.where(shown, disagreement_error_m, 0.0) ** 2
    unexplained = np.where(shown, disagreement_m, 0.0) ** 2 - base_variance
    field_variance = np.maximum(uncertainty_m**2, np.where(shown, unexplained, 0.0))
    share = np.where(shown, field_variance / np.maximum(field_variance + base_variance, 1e-12), 0.0)
    offset = share * np.nan_to_num(disagreement_m)
    variance = np.where(shown, share * base_variance, field_variance)
    per_axis = np.maximum(variance / 2.0, 1e-6)
    chance = ncx2.sf(limit_m**2 / per_axis, 2, np.maximum(offset**2 / per_axis, 1e-12))
    return np.where(np.isfinite(variance), chance, 1.0)


def triage(
    regime: NDArray[np.str_],
    regime_reasons: list[list[str]],
    moved: NDArray[np.bool_],
    origin_doubt: Numbers,
    position_doubt: Numbers,
    would_be_out_m: Numbers,
    findings: dict[str, NDArray[np.bool_]],
    limits: Limits,
) -> Verdicts:
    """One verdict for each feature: accept what moves, leave what stays, and review whatever has a finding.

    Parameters
    ----------
    regime, regime_reasons
        What ``regime.classify`` said.
    moved
        ``(n,)`` whether a move is proposed.
    origin_doubt, position_doubt
        ``(n,)`` chances that the regime, or the new place, is wrong; NaN counts as certain to be wrong.
    would_be_out_m
        ``(n,)`` metres by which it would be out if the decision is wrong.
    findings
        Masks ``(n,)`` by code of ``REASONS``: what the measures found beyond their limits.
    limits
        The limits in force.
    """
    origin_doubt = np.nan_to_num(origin_doubt, nan=1.0)
    position_doubt = np.where(moved, np.nan_to_num(position_doubt, nan=1.0), 0.0)
    chance = 1.0 - (1.0 - origin_doubt) * (1.0 - position_doubt)
    conflicts = {code: np.array([code in codes for codes in regime_reasons], dtype=bool) for code in _ALWAYS_REVIEWED}
    findings = (
        conflicts
        | findings
        | {
            "origin_doubtful": _is_too_large(origin_doubt, position_doubt, chance, limits)
            & (regime != regimes.UNKNOWN),
            "position_uncertain": _is_too_large(position_doubt, origin_doubt, chance, limits),
        }
    )
    grounds = {code: mask for code, mask in findings.items() if code not in REMARKS}
    is_doubtful = np.logical_or.reduce([np.isin(regime, (regimes.UNKNOWN, regimes.STRADDLING)), *grounds.values()])
    verdict = np.where(is_doubtful, REVIEW, np.where(moved, ACCEPT, LEAVE))
    weight = np.where(is_doubtful, np.maximum(chance, limits.wrong_chance_ratio), chance)
    risk = weight * np.nan_to_num(would_be_out_m, nan=limits.shift_m)
    return Verdicts(verdict, _reasons(findings, regime_reasons), chance, origin_doubt, position_doubt, risk)


def _is_too_large(doubt: Numbers, other: Numbers, chance: Numbers, limits: Limits) -> NDArray[np.bool_]:
    """Whether a doubt is too large: by itself, or as the larger of two that are too large together."""
    limit = limits.wrong_chance_ratio
    return np.asarray((doubt > limit) | ((chance > limit) & (doubt > other)))


_ALWAYS_REVIEWED = ("date_contradicted", "left_contradicted", "method_contradicted", "tile_contradicted")
"""Reasons of a regime that are a conflict: whichever side is right, a person decides."""

_LIMITED = frozenset({"origin_doubtful", "position_uncertain"})


def is_limited(reasons: Sequence[Sequence[str]], verdict: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Whether the chance of being wrong alone decides on features, ``(n,)``: settled, or nothing else is against them.

    Parameters
    ----------
    reasons, verdict
        The verdicts as ``triage`` gives them.
    """
    grounds = (
        frozenset(REASONS) - (frozenset(regimes.REASONS) - {"origin_unknown", *_ALWAYS_REVIEWED}) - _LIMITED - REMARKS
    )
    return np.array([word != REVIEW or grounds.isdisjoint(codes) for codes, word in zip(reasons, verdict, strict=True)])


def _reasons(findings: dict[str, NDArray[np.bool_]], regime_reasons: list[list[str]]) -> list[list[str]]:
    found: list[list[str]] = [[] for _ in regime_reasons]
    for code, mask in sorted(findings.items(), key=lambda finding: finding[0] in REMARKS):
        for row in np.flatnonzero(mask):
            found[row].append(code)
    return [
        mine + [code for code in given if code not in mine] for mine, given in zip(found, regime_reasons, strict=True)
    ]

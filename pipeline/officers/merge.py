"""Verdicts and decisions become outcomes: ``moved``, ``unmoved``, ``fixed`` or ``open``, each with its reasons.

The pipeline's verdict holds until an officer has decided; a decision holds as long as what it was about is
unchanged, and what it no longer covers is opened again, never settled in silence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import shapely

from pipeline.fingerprint import read_geometry
from pipeline.geometry.middle import middle
from pipeline.geometry.wkb_kind import as_single
from pipeline.officers.decisions import FALSE_ALARM, Decision, Standing
from pipeline.officers.layer_rows import LayerRows

SAME_TO_THE_EYE_M = 0.01
"""A proposal that moved less than this since an officer accepted it is still the one accepted: MapInfo's default
bounds store coordinates no finer."""

FALSE_ALARM_M = 0.25
"""A false alarm is not raised again for the same cause while the proposal moves less than this: below what the map
itself can show (0.4 m root mean square in rural towns)."""

REVIEW_REASONS = {
    "officer_accepted": "An officer accepted the proposal.",
    "officer_fixed": "An officer put it in its place by hand.",
    "officer_kept": "An officer decided that it stays where it was.",
    "officer_cannot_place": "An officer found that it cannot be placed; it stays where it was.",
    "proposal_changed": "An officer accepted an earlier proposal; the shift has changed since, so look again.",
    "fix_on_older_proposal": "An officer put it in its place by hand; the proposal has changed since, the fix stays.",
    "decision_on_older_proposal": "An officer left it in place; the proposal has changed since, the decision holds.",
    "false_alarm": "An officer found that there was nothing wrong; the cause is the same, so nobody is asked again.",
    "new_cause": "An officer found a false alarm here, but there is a new cause now, so look again.",
    "officers_disagree": "Two officers decided differently without knowing of each other; decide which holds.",
    "put_back": "The whole layer was put back to where it was delivered.",
    "source_changed": "An officer decided on it, but the source feature has changed since, so look again.",
}
"""What the codes of this stage say, in plain words."""

OFFICER_REASON = {
    "accept": "officer_accepted",
    "fixed": "officer_fixed",
    "keep": "officer_kept",
    "cannot_place": "officer_cannot_place",
}
"""The reason code of each of the officers' words, where it stands."""

_STATUS_BY_VERDICT = {"accept": "moved", "leave": "unmoved", "review": "open"}


@dataclass(frozen=True)
class Outcome:
    """What becomes of one feature.

    ``fix`` is the officer's geometry (well-known binary) where there is one; a ``moved`` feature takes its proposal,
    every other stays at its old place.
    """

    status: str
    reasons: tuple[str, ...]
    fix: bytes | None = None


def merge(rows: LayerRows, standing: Standing) -> list[Outcome]:
    """The outcome of every feature, in source order."""
    merged = []
    proposals = rows.proposal_hashes(sorted(standing.holding))
    for row, (verdict, codes, has_moved) in enumerate(
        zip(rows.verdicts(), rows.reasons(), rows.has_moved(), strict=True)
    ):
        decision = standing.holding.get(row)
        if decision is not None and decision.why == FALSE_ALARM and _has_new_cause(decision, codes):
            outcome = Outcome("open", ("new_cause",))
        elif decision is not None:
            outcome = _decided(decision, _is_as_seen(decision, proposals[row], rows, row), rows.before(row), has_moved)
        elif row in standing.disagreeing:
            outcome = Outcome("open", ("officers_disagree",))
        elif row in standing.source_changed:
            outcome = Outcome("open", ("source_changed",))
        else:
            outcome = _judged(verdict, has_moved)
        merged.append(Outcome(outcome.status, _without_repeats([*outcome.reasons, *codes]), outcome.fix))
    return merged


def displacement_m(before: bytes | None, after: bytes | None) -> float:
    """How far a fix lies from the old place: between the middles [m]; NaN where there is none."""
    old, new = read_geometry(before), read_geometry(after)
    if old is None or new is None:
        return float("nan")
    return float(shapely.distance(middle(old), middle(new)))


def _judged(verdict: str, has_moved: bool) -> Outcome:
    # An unknown verdict opens the feature: better a person looks once too often.
    status = _STATUS_BY_VERDICT.get(verdict, "open")
    return Outcome("unmoved" if status == "moved" and not has_moved else status, ())


def _decided(decision: Decision, is_as_seen: bool, before: bytes | None, has_moved: bool) -> Outcome:
    said = OFFICER_REASON[decision.decision]
    if decision.decision == "fixed":
        reasons = (said,) if is_as_seen else (said, "fix_on_older_proposal")
        return Outcome("fixed", reasons, as_single(decision.wkb or b"", before))
    if decision.decision != "accept":
        return Outcome("unmoved", (said,) if is_as_seen else (said, "decision_on_older_proposal"))
    if is_as_seen:
        accepted = (said, "false_alarm") if decision.why == FALSE_ALARM else (said,)
        return Outcome("moved" if has_moved else "unmoved", accepted)
    return Outcome("open", ("proposal_changed",))


def _has_new_cause(decision: Decision, codes: Iterable[str]) -> bool:
    return decision.decision in ("accept", "keep") and not set(codes) <= set(decision.codes)


def _is_as_seen(decision: Decision, proposal_hash: str, rows: LayerRows, row: int) -> bool:
    if proposal_hash == decision.proposal_hash:
        return True
    if decision.decision != "accept":
        return False
    seen, now = read_geometry(decision.wkb), read_geometry(rows.proposal(row))
    if seen is None or now is None:
        return False
    if decision.why == FALSE_ALARM:
        return bool(shapely.hausdorff_distance(seen, now) <= FALSE_ALARM_M)
    return _is_same_to_the_eye(seen, now)


def _is_same_to_the_eye(seen: shapely.Geometry, now: shapely.Geometry) -> bool:
    old, new = shapely.get_coordinates(seen), shapely.get_coordinates(now)
    return old.shape == new.shape and bool(np.all(np.hypot(*(old - new).T) <= SAME_TO_THE_EYE_M))


def _without_repeats(codes: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(codes))

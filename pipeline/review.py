"""The stage ``review``: take in what officers saved, merge it with the verdicts, offer what is still open.

The order makes it safe to be killed anywhere: answers reach the log, each forced to disk, before the file that
holds them is replaced; and a file that somebody has saved meanwhile is not replaced at all.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.officers.answers import Answers, read_answers
from pipeline.officers.control_nearby import read_control_nearby
from pipeline.officers.corrected import write_corrected
from pipeline.officers.decisions import Decision, Standing, append_new, not_yet_logged, read_decisions, standing
from pipeline.officers.layer_rows import LayerRows, read_layer_rows
from pipeline.officers.merge import Outcome, displacement_m, merge
from pipeline.officers.offers import offer_features
from pipeline.officers.review_file import (
    RESERVED_NAMES,
    ControlNearby,
    Offer,
    SavedReview,
    control_hash,
    read_review,
    why_busy,
    write_review,
)
from pipeline.storage import Migration, sha256
from transforms.errors import ExportError, ReviewError

QUIET_S = 3.0
"""How long a saved file must have been left alone before the sensor looks at it."""


@dataclass(frozen=True)
class Reviewed:
    """What the review of a layer came to; ``features`` = ``moved`` + ``unmoved`` + ``fixed`` + ``open``."""

    layer: str
    features: int
    moved: int
    unmoved: int
    fixed: int
    open: int
    decisions_taken: int
    answers_refused: int
    findings: tuple[str, ...]
    is_offered: bool
    """Whether the review file shows what is open now; False while somebody has it open."""


@dataclass(frozen=True)
class Collected:
    """What was read from a review file: the answers new to the log, and everything that was odd."""

    new: tuple[Decision, ...]
    findings: tuple[str, ...]
    saved: SavedReview | None
    answers: Answers | None


def review_layer(migration: Migration, layer_name: str, run_id: str, now: datetime | None = None) -> Reviewed:
    """Take in the officers' decisions of a layer, write its outcome, and offer what is still open.

    Parameters
    ----------
    migration, layer_name
        The layer; its stages sources, shift and quality have run.
    run_id
        Goes into ``pai_run`` and the log.
    now
        The time to log; the clock's if None.

    Raises
    ------
    ReviewError
        If the review file cannot be read at all, or a stage before has not run. Nothing is written then.
    """
    _refuse_reserved_name(layer_name)
    rows = read_layer_rows(migration, layer_name)
    collected = collect_decisions(migration, layer_name, rows, run_id, now or datetime.now(UTC))
    decisions = read_decisions(migration.decisions_log, layer_name)
    stand = standing(decisions, len(rows), rows.source_hashes)
    outcomes = merge(rows, stand)
    write_corrected(migration.corrected(layer_name), rows, outcomes, run_id)
    offers = offer_features(rows, outcomes, stand, collected.saved, collected.answers)
    is_offered, trouble = _offer(migration, layer_name, offers, collected)
    far = _far_fixes(collected.new, rows, migration.settings.control.length_reject_m)
    findings = [*collected.findings, *far, *_homeless(stand, layer_name), *trouble]
    return _summary(layer_name, outcomes, collected.new, findings, is_offered)


def collect_decisions(migration: Migration, layer_name: str, rows: LayerRows, run_id: str, now: datetime) -> Collected:
    """Read what officers saved and log what is new; the same save read twice is logged once.

    Raises
    ------
    ReviewError
        If the file as a whole cannot be read.
    """
    path = migration.review(layer_name)
    busy = why_busy(path)
    saved = None if busy else read_review(path, layer_name)
    if saved is None:
        return Collected((), (busy,) if busy else (), None, None)
    logged = read_decisions(migration.decisions_log, layer_name)
    answers = read_answers(saved, layer_name, rows, logged, run_id, now)
    new = append_new(migration.decisions_log, answers.decisions)
    return Collected(tuple(new), tuple(answers.findings), saved, answers)


def changed_reviews(migration: Migration, cursor: str | None, quiet_s: float = QUIET_S) -> tuple[list[str], str]:
    """The layers whose review file holds answers that are not in the log, and where to go on next time.

    A file that is open in QGIS, or was saved in the last seconds, waits for the next time.

    Parameters
    ----------
    migration
        Read only.
    cursor
        What the last call returned; None at first.
    quiet_s
        How long a file must have been left alone [s].
    """
    seen: dict[str, str] = json.loads(cursor) if cursor else {}
    layers = []
    for layer in migration.settings.layers:
        path = migration.review(layer.name)
        if not path.exists() or why_busy(path) or time.time() - path.stat().st_mtime < quiet_s:
            continue
        digest = sha256(path)
        if seen.get(layer.name) != digest and _holds_news(migration, layer.name):
            layers.append(layer.name)
        seen[layer.name] = digest
    return layers, json.dumps(seen, sort_keys=True)


def _holds_news(migration: Migration, layer: str) -> bool:
    try:
        saved = read_review(migration.review(layer), layer)
    except ReviewError:
        return True  # the run will say the sentence where people see it
    if saved is None:
        return False
    try:
        rows = read_layer_rows(migration, layer)
    except ReviewError:
        return False
    logged = read_decisions(migration.decisions_log, layer)
    answers = read_answers(saved, layer, rows, logged, "", datetime.now(UTC))
    return bool(not_yet_logged(migration.decisions_log, answers.decisions))


def _refuse_reserved_name(layer: str) -> None:
    if layer in RESERVED_NAMES:
        raise ReviewError(
            f"Layer {layer} cannot be reviewed: every review file has a layer of that name for itself. "
            "Give the layer another name in migration.yaml."
        )


def _far_fixes(new: Sequence[Decision], rows: LayerRows, limit_m: float) -> list[str]:
    """A sentence on each fix that lies further off than a shift can be; it is taken all the same."""
    fixes = [
        (decision, displacement_m(rows.before(decision.pai_row), decision.wkb))
        for decision in new
        if decision.decision == "moved" and not decision.refused
    ]
    return [
        f"Layer {decision.layer}, row {decision.pai_row}: the fix by {decision.officer} lies {distance_m:.1f} m from "
        f"the old place, further than control may shift ({limit_m:g} m); it was taken, but look whether it is meant."
        for decision, distance_m in fixes
        if distance_m > limit_m
    ]


def _homeless(stand: Standing, layer: str) -> list[str]:
    return [
        f"Layer {layer}: the decision {decision.decision} on row {decision.pai_row} of {decision.taken_at[:10]} has no "
        "feature any more; it stays in the log."
        for decision in stand.homeless
    ]


def _offer(migration: Migration, layer: str, offers: Sequence[Offer], collected: Collected) -> tuple[bool, list[str]]:
    path = migration.review(layer)
    if busy := why_busy(path):
        return False, [] if busy in collected.findings else [busy]
    control = read_control_nearby(migration.control_table, offers)
    saved = collected.saved
    if saved and _is_shown(offers, control, collected):
        return True, []
    read = saved.sha256 if saved else None
    try:
        written = write_review(
            path,
            layer,
            offers,
            control,
            saved.last_fid if saved else 0,
            lambda: not why_busy(path) and _hash(path) == read,
        )
    except ExportError as error:
        return False, [str(error)]
    return written, [] if written else [
        f"{path} was saved while this run was at work, so it was left as it is. Run again to take in what was saved."
    ]


def _is_shown(offers: Sequence[Offer], control: ControlNearby, collected: Collected) -> bool:
    """Whether the present file shows the same already: then it stays under the hands of whoever has it open."""
    saved, answers = collected.saved, collected.answers
    if saved is None or answers is None or answers.findings or saved.control != control_hash(control):
        return False
    answered = {row.token for row in answers.answered.values()}
    shown = Counter(row.token if row.token in answered else row.shown for row in saved.rows)
    return shown == Counter(offer.token if offer.token in answered else offer.shown for offer in offers)


def _hash(path: Path) -> str | None:
    return sha256(path) if path.exists() else None


def _summary(
    layer: str,
    outcomes: Sequence[Outcome],
    new: Sequence[Decision],
    findings: Sequence[str],
    is_offered: bool,
) -> Reviewed:
    count = Counter(outcome.status for outcome in outcomes)
    refused = sum(bool(decision.refused) for decision in new)
    return Reviewed(
        layer=layer,
        features=len(outcomes),
        moved=count["moved"],
        unmoved=count["unmoved"],
        fixed=count["fixed"],
        open=count["open"],
        decisions_taken=len(new) - refused,
        answers_refused=refused,
        findings=tuple(findings),
        is_offered=is_offered,
    )

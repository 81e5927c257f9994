"""The stage ``review``: take in what officers saved, merge it with the verdicts, offer what is still open.

The order makes it safe to be killed anywhere: answers reach the log, each forced to disk, before the file that
holds them is replaced; and a file that somebody has saved meanwhile is not replaced at all.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.answers import Answers, read_answers, row_of
from pipeline.control_nearby import read_control_nearby
from pipeline.decisions import Decision, Standing, append_new, not_yet_logged, read_decisions, standing
from pipeline.layer_rows import LayerRows, read_layer_rows
from pipeline.merge import Outcome, displacement_m, merge
from pipeline.reasons import sentence
from pipeline.review_file import (
    ControlNearby,
    Offer,
    SavedReview,
    SavedRow,
    control_hash,
    finite,
    read_review,
    token,
    why_busy,
    write_review,
)
from pipeline.storage import Migration, sha256, whole_file
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

    @property
    def fids(self) -> dict[int, int]:
        """The feature number by row, of the features in the file."""
        rows = self.saved.rows if self.saved else ()
        return {row: saved.fid for saved in reversed(rows) if (row := row_of(saved.token)) is not None}


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
    rows = read_layer_rows(migration, layer_name)
    collected = collect_decisions(migration, layer_name, rows, run_id, now or datetime.now(UTC))
    decisions = read_decisions(migration.decisions_log, layer_name)
    stand = standing(decisions, len(rows), rows.source_hashes)
    outcomes = merge(rows, stand)
    _write_corrected(migration.corrected(layer_name), rows, outcomes, run_id)
    offers = _offers(rows, outcomes, stand, collected)
    is_offered, trouble = _offer(migration, layer_name, offers, collected)
    findings = [*collected.findings, *_homeless(stand, layer_name), *trouble]
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


def _homeless(stand: Standing, layer: str) -> list[str]:
    return [
        f"Layer {layer}: the decision {decision.decision} on row {decision.pai_row} of {decision.taken_at[:10]} has no "
        "feature any more; it stays in the log."
        for decision in stand.homeless
    ]


def _offers(rows: LayerRows, outcomes: Sequence[Outcome], stand: Standing, collected: Collected) -> list[Offer]:
    """The open features in order of risk, then those answered in the present file.

    The answered ones stay where the officer has them on the screen, and can be answered differently.
    """
    risk = np.nan_to_num(rows.numbers("quality", "risk"), nan=np.inf)
    answered = collected.answers.answered if collected.answers else {}
    kept = [row for row in answered if row < len(rows) and outcomes[row].status != "open" and row in stand.holding]
    open_rows = [row for row, outcome in enumerate(outcomes) if outcome.status == "open"]
    open_rows.sort(key=lambda row: (-risk[row], row))
    offers = [
        _offer_of(row, source_hash, rows, outcomes[row], stand, collected)
        for row, source_hash in rows.source_hashes(open_rows).items()
    ]
    for row in sorted(kept):
        offer = _offer_of(row, "", rows, outcomes[row], stand, collected)
        offers.append(_with_answer(offer, answered[row]))
    return offers


def _offer_of(
    row: int, source_hash: str, rows: LayerRows, outcome: Outcome, stand: Standing, collected: Collected
) -> Offer:
    drafts = collected.answers.drafts if collected.answers else {}
    note, officer = drafts.get(row, ("", ""))
    return Offer(
        row=row,
        reference=rows.reference(row),
        reasons=" ".join(sentence(code) for code in outcome.reasons),
        remark=stand.refused[row].refused if row in stand.refused else "",
        shift_m=rows.shifted["shift_m"][row].as_py(),
        uncertainty_m=rows.shifted["uncertainty_m"][row].as_py(),
        risk=finite(rows.quality["risk"][row].as_py()),
        before=rows.before(row),
        proposal=rows.proposal(row),
        token=token(row, source_hash, rows.proposal_hash(row)),
        fid=collected.fids.get(row),
        note=note,
        officer=officer,
    )


def _with_answer(offer: Offer, saved: SavedRow) -> Offer:
    return replace(
        offer,
        proposal=saved.geometry,
        token=saved.token,
        decision=saved.decision,
        note=saved.note,
        officer=saved.officer,
    )


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


def _write_corrected(path: Path, rows: LayerRows, outcomes: Sequence[Outcome], run_id: str) -> None:
    table = _corrected(rows, outcomes, run_id).replace_schema_metadata(_geoparquet(rows.staged))
    with whole_file(path) as beside:
        pq.write_table(table, beside, compression="zstd")


def _corrected(rows: LayerRows, outcomes: Sequence[Outcome], run_id: str) -> pa.Table:
    status = np.array([outcome.status for outcome in outcomes], dtype=object)
    is_moved = status == "moved"
    shift_m = np.where(is_moved, rows.numbers("shifted", "shift_m"), 0.0)
    for row, outcome in enumerate(outcomes):
        if outcome.fix is not None:
            shift_m[row] = displacement_m(rows.before(row), outcome.fix)
    uncertainty_m = np.where(is_moved, rows.numbers("shifted", "uncertainty_m"), np.nan)
    return pa.table(
        {
            "pai_row": rows.staged["pai_row"],
            "pai_geometry": _geometries(rows, outcomes, is_moved),
            "pai_status": pa.array(status, pa.string()),
            "pai_reasons": pa.array([";".join(outcome.reasons) for outcome in outcomes], pa.string()),
            "pai_shift_m": pa.array(shift_m, pa.float64(), from_pandas=True),
            "pai_uncertainty_m": pa.array(uncertainty_m, pa.float64(), from_pandas=True),
            "pai_run": pa.array([run_id] * len(rows), pa.string()),
        }
    )


def _geometries(rows: LayerRows, outcomes: Sequence[Outcome], is_moved: NDArray[np.bool_]) -> pa.Array:
    before = rows.staged["pai_geometry"].combine_chunks().cast(pa.large_binary())
    proposal = rows.shifted["pai_geometry"].combine_chunks().cast(pa.large_binary())
    placed = pc.if_else(pa.array(is_moved), proposal, before)
    fixes = [outcome.fix for outcome in outcomes if outcome.fix is not None]
    is_fixed = pa.array([outcome.fix is not None for outcome in outcomes], pa.bool_())
    return pc.replace_with_mask(placed, is_fixed, pa.array(fixes, pa.large_binary()))


def _geoparquet(staged: pa.Table) -> dict[bytes, bytes]:
    described = (staged.schema.metadata or {}).get(b"geo")
    if described is None:
        return {}
    content = json.loads(described)
    column = content["columns"][content["primary_column"]]
    column.pop("bbox", None)  # it told where the features were
    column["geometry_types"] = []
    return {b"geo": json.dumps(content).encode()}


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

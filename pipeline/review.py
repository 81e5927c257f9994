"""The stage ``review``: take in what officers saved, merge it with the verdicts, offer what is still open.

The order makes it safe to be killed anywhere: answers reach the log, each forced to disk, before the file that
holds them is replaced; and a file that somebody has saved meanwhile is not replaced at all.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from pipeline.files import sha256
from pipeline.locks import alone_with
from pipeline.officers.answers import Answers, read_answers
from pipeline.officers.background import placed_on_old_map
from pipeline.officers.control_answers import read_control_answers
from pipeline.officers.control_decisions import read_control_decisions, standing_control
from pipeline.officers.control_intake import take_in_control
from pipeline.officers.copies import copies_of, read_copies
from pipeline.officers.corrected import write_corrected
from pipeline.officers.decisions import Decision, Standing, append_new, not_yet_logged, read_decisions, standing
from pipeline.officers.layer_rows import LayerRows, read_layer_rows
from pipeline.officers.merge import Outcome, displacement_m, merge
from pipeline.officers.narrow_package import (
    digest_of,
    read_narrow_review,
    shown_in,
    with_cut_texts,
    write_narrow_review,
)
from pipeline.officers.offers import offer_features
from pipeline.officers.outdated import why_outdated
from pipeline.officers.package import RESERVED_NAMES, Offer, Surroundings
from pipeline.officers.review_file import write_review
from pipeline.officers.saved_review import SavedReview, read_review, why_busy
from pipeline.officers.surroundings import read_surroundings
from pipeline.storage import Migration
from transforms.errors import BusyError, ExportError, ReviewError

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
    disagreements: int = 0
    outdated: str = ""
    """Why the proposals are older than the shift or the control; empty if they are not."""
    on_old_map: Mapping[str, int] = field(default_factory=dict)
    """By officer, how many of the features that were fixed or kept lie, together, on the old map."""


@dataclass(frozen=True)
class ReadFile:
    """A review file with what its rows mean; ``saved`` is None where there is none or somebody is at work in it."""

    path: Path
    saved: SavedReview | None
    answers: Answers | None


@dataclass(frozen=True)
class Collected:
    """What was read from the review files: the answers new to the log, and everything that was odd.

    ``offered`` are the files that are written anew: the GeoPackage first, then those for other software.
    """

    new: tuple[Decision, ...]
    findings: tuple[str, ...]
    offered: tuple[ReadFile, ...]


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
    now = now or datetime.now(UTC)
    collected = collect_decisions(migration, layer_name, rows, run_id, now)
    about_control = take_in_control(migration, [layer_name], run_id, now)
    decisions = read_decisions(migration.decisions_log, layer_name)
    stand = standing(decisions, rows)
    outcomes = merge(rows, stand)
    write_corrected(migration, layer_name, rows, outcomes, run_id)
    is_offered, trouble = _offer_all(migration, layer_name, rows, outcomes, stand, collected)
    far = _far_fixes(collected.new, rows, migration.settings.control.length_reject_m)
    outdated = why_outdated(migration, layer_name)
    findings = [*collected.findings, *about_control, *far, *_homeless(stand, layer_name), *trouble]
    findings += [outdated] if outdated else []
    summary = _summary(layer_name, outcomes, collected.new, findings, is_offered, stand, outdated)
    return replace(summary, on_old_map=placed_on_old_map(migration, layer_name, rows, outcomes, stand.holding))


def collect_decisions(migration: Migration, layer_name: str, rows: LayerRows, run_id: str, now: datetime) -> Collected:
    """Read what officers saved in every file and log what is new; the same save read twice is logged once.

    Raises
    ------
    ReviewError
        If the file that is offered cannot be read as a whole. A copy that cannot be read is a finding.
    """
    files, findings = _read_offered(migration, layer_name)
    copies, about_copies = read_copies(migration, layer_name)
    findings += [each for each in about_copies if each not in findings]
    names = {each.saved.name for each in files if each.saved}
    new: list[Decision] = []
    offered = [
        replace(each, answers=_take_in(migration, layer_name, rows, each.saved, run_id, now, new, findings))
        for each in files
    ]
    for copy in copies:
        if copy.name not in names:
            _take_in(migration, layer_name, rows, copy, run_id, now, new, findings)
    return Collected(tuple(new), tuple(findings), tuple(offered))


def _read_offered(migration: Migration, layer: str) -> tuple[list[ReadFile], list[str]]:
    path = migration.review(layer)
    busy = why_busy(path)
    files = [ReadFile(path, None if busy else read_review(path, layer), None)]
    findings = [busy] if busy else []
    for kind in migration.settings.layer(layer).review_formats:
        narrow = migration.review_in(layer, kind)
        try:
            files.append(ReadFile(narrow, read_narrow_review(narrow, f"{kind}/{narrow.name}", is_main=True), None))
        except ReviewError as error:
            findings.append(str(error))
    return files, findings


def _take_in(
    migration: Migration,
    layer: str,
    rows: LayerRows,
    saved: SavedReview | None,
    run_id: str,
    now: datetime,
    new: list[Decision],
    findings: list[str],
) -> Answers | None:
    if saved is None:
        return None
    logged = read_decisions(migration.decisions_log, layer)
    answers = read_answers(saved, layer, rows, logged, run_id, now)
    new += append_new(migration.decisions_log, answers.decisions)
    findings += [each if saved.is_main else f"{saved.name}: {each}" for each in answers.findings]
    return answers


def changed_reviews(migration: Migration, cursor: str | None, quiet_s: float = QUIET_S) -> tuple[list[str], str]:
    """The layers whose review file holds answers that are not in the log, and where to go on next time.

    A file that is open in QGIS, or was saved in the last seconds, waits for the next time, and so does a layer on which
    a run is at work.

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
        files = [path for path in (migration.review(layer.name), *copies_of(migration, layer.name)) if path.exists()]
        if not files or any(why_busy(path) or time.time() - path.stat().st_mtime < quiet_s for path in files):
            continue
        digest = hashlib.sha256("".join(map(_digest, files)).encode()).hexdigest()
        try:
            with alone_with(migration, layer.name, wait_s=0.0):
                if seen.get(layer.name) != digest and _holds_news(migration, layer.name):
                    layers.append(layer.name)
        except BusyError:
            continue
        seen[layer.name] = digest
    return layers, json.dumps(seen, sort_keys=True)


def _digest(path: Path) -> str:
    return sha256(path) if path.suffix.lower() == ".gpkg" else digest_of(path)


def _holds_news(migration: Migration, layer: str) -> bool:
    try:
        main = read_review(migration.review(layer), layer)
    except ReviewError:
        return True  # the run will say the sentence where people see it
    files = [each for each in (main, *read_copies(migration, layer)[0]) if each]
    try:
        rows = read_layer_rows(migration, layer)
    except ReviewError:
        return any(row.decision for saved in files for row in saved.rows)  # and then too
    logged = read_decisions(migration.decisions_log, layer)
    said = read_control_decisions(migration.decisions_log)
    now = datetime.now(UTC)
    for saved in files:
        answers = read_answers(saved, layer, rows, logged, "", now)
        if not_yet_logged(migration.decisions_log, answers.decisions) or read_control_answers(saved, said, "", now).new:
            return True
    return False


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
        if decision.decision == "fixed" and not decision.refused
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


def _offer_all(
    migration: Migration,
    layer: str,
    rows: LayerRows,
    outcomes: Sequence[Outcome],
    stand: Standing,
    collected: Collected,
) -> tuple[bool, list[str]]:
    """Write every file that is offered, as far as nobody is at work in it."""
    said = standing_control(read_control_decisions(migration.decisions_log))
    is_offered, findings = True, list[str]()
    for file in collected.offered:
        offers = offer_features(rows, outcomes, stand, file.answers)
        around = read_surroundings(migration, offers, rows, stand, said, file.saved)
        write = _offer if file.path == migration.review(layer) else _offer_narrow
        written, trouble = write(layer, file, offers, around)
        is_offered = is_offered and written
        findings += [each for each in trouble if each not in collected.findings]
    return is_offered, findings


def _offer(layer: str, file: ReadFile, offers: Sequence[Offer], around: Surroundings) -> tuple[bool, list[str]]:
    path, saved = file.path, file.saved
    if busy := why_busy(path):
        return False, [busy]
    if saved and _is_shown(offers, around, saved, file.answers):
        return True, []
    read = saved.sha256 if saved else None
    try:
        written = write_review(
            path,
            layer,
            offers,
            around,
            saved.last_fid if saved else 0,
            lambda: not why_busy(path) and _hash(path) == read,
        )
    except ExportError as error:
        return False, [str(error)]
    return written, [] if written else [_saved_meanwhile(path)]


def _offer_narrow(layer: str, file: ReadFile, offers: Sequence[Offer], around: Surroundings) -> tuple[bool, list[str]]:
    path, saved = file.path, file.saved
    shown = sorted(with_cut_texts(offer).shown[:3] for offer in offers)
    if saved and shown == shown_in(saved) and not around.drawn.lines:
        return True, []
    read = saved.sha256 if saved else ""
    try:
        written = write_narrow_review(path, offers, around, lambda: digest_of(path) == read)
    except ExportError as error:
        return False, [str(error)]
    return written, [] if written else [_saved_meanwhile(path)]


def _saved_meanwhile(path: Path) -> str:
    return f"{path} was saved while this run was at work, so it was left as it is. Run again to take in what was saved."


def _is_shown(offers: Sequence[Offer], around: Surroundings, saved: SavedReview, answers: Answers | None) -> bool:
    """Whether the present file shows the same already: then it stays under the hands of whoever has it open."""
    if answers is None or answers.findings or saved.control != around.digest:
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
    stand: Standing,
    outdated: str,
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
        disagreements=len(stand.disagreeing),
        outdated=outdated,
    )

"""What the rows of a saved review file mean: each an answer, a refusal with a sentence, or no answer yet.

A row is known by its ``offer``, which says which feature was shown and how it looked; row numbers and references
that were changed are mentioned and passed over. Every row is judged alone, so one that cannot be taken never costs
another.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import shapely
from shapely.validation import explain_validity

from pipeline.fingerprint import geometry_hash, geometry_hashes, read_geometry
from pipeline.geometry.linear_copy import linear_copy
from pipeline.geometry.wkb_kind import family
from pipeline.georeference import on_land_square
from pipeline.officers.decisions import ALSO_SAID, UNDO, UNKNOWN_OFFICER, WHY, WORDS, Decision, in_force, is_known
from pipeline.officers.heads import heads
from pipeline.officers.layer_rows import Feature, LayerRows, Today
from pipeline.officers.saved_review import SavedReview, SavedRow

_TOKEN = re.compile(r"(?P<row>\d+):(?P<source>[0-9a-f]*):(?P<proposal>[0-9a-f]*)(?::(?P<line>\d+))?")
_STAYS = ("keep", "cannot_place")

_RowsByFeature = dict[Feature, list[SavedRow]]  # a copied row is there twice

FAR_M = 1000.0
"""Nobody moves a feature so far by accident of mapping: without a note it is a slip of the hand or of the axes."""

_CHORD_RATIO = 0.001
"""Chords of 5 degrees keep as close to a circle: a thousandth of what lies across it."""


@dataclass(frozen=True)
class Answers:
    """The answers of a saved file in its order, the refused ones too, and a sentence on whatever was odd.

    Rows are those that the features have today: a file may be older than the latest delivery.
    """

    decisions: list[Decision]
    findings: list[str]
    fids: dict[int, int]
    """By row, the number of the feature in the file."""
    answered: dict[int, SavedRow]
    """By row, what was saved where the answer counts."""
    drafts: dict[int, SavedRow]
    """By row, what was saved where nothing was decided yet."""
    strays: list[SavedRow]
    """Rows that were never offered: somebody drew them."""


def read_answers(
    saved: SavedReview, layer: str, rows: LayerRows, logged: Sequence[Decision], run_id: str, now: datetime
) -> Answers:
    """What officers decided in a saved review file.

    Parameters
    ----------
    saved
        The file.
    layer, rows
        The layer it is about, as it is today.
    logged
        The decisions of the layer so far, oldest first.
    run_id, now
        Go into the answers.
    """
    by_feature, findings = _rows_by_feature(saved, layer)
    called = {decision.feature: decision.reference for decision in logged}
    today = rows.today(called | {feature: copies[0].reference for feature, copies in by_feature.items()})
    findings += [*_changed_names(by_feature, today, layer, rows), *_copied(by_feature, layer)]
    if saved.is_main:  # a copy may have been cut down to one officer's share
        findings += _deleted(saved, by_feature, layer)
    strays = [row for row in saved.rows if feature_of(row.token) is None]
    drawn = dict(zip(saved.rows, geometry_hashes(row.geometry for row in saved.rows), strict=True))
    answers = Answers([], findings, {}, {}, {}, strays)
    past = _Past(logged, saved.name, today)
    for feature, copies in by_feature.items():
        row = today.row_of(feature)
        before = None if row is None else rows.before(row)
        proposal = None if row is None else rows.proposal(row)
        read = [_answer(copy, before, proposal, drawn[copy], past) for copy in copies]
        settled = _settle_copies([answer for answer in read if answer is not None], len(copies))
        stamped = [_stamp(answer, layer, saved, run_id, now) for answer in settled]
        answers.decisions.extend(past.compared(answer, findings) for answer in stamped)
        _sort_out(answers, feature, today, copies)
    return answers


class _Past:
    """What is logged on the features of a layer, seen from one review file."""

    def __init__(self, logged: Sequence[Decision], name: str, today: Today) -> None:
        self._name, self._today = name, today
        self._logged: dict[int | Feature, list[Decision]] = defaultdict(list)
        self._in_force: dict[int | Feature, list[Decision]] = defaultdict(list)
        for decision in logged:
            self._logged[self._key(decision.feature)].append(decision)
        for decision in in_force(logged):
            self._in_force[self._key(decision.feature)].append(decision)

    def _key(self, feature: Feature) -> int | Feature:
        return self._today.same.get(feature, feature)

    def fix(self, feature: Feature) -> str | None:
        """Where the latest fix of a feature lies."""
        fixes = [each for each in self._logged[self._key(feature)] if each.decision == "fixed"]
        return geometry_hash(fixes[-1].wkb) if fixes else None

    def taken_back(self, feature: Feature, proposal_hash: str, seen: int) -> tuple[int, ...]:
        """The lines that an emptied row takes back; none if this file had said nothing of what it shows.

        What another file has said since is not among them: who emptied the row has not seen it.
        """
        mine = [
            each
            for each in self._logged[self._key(feature)]
            if (each.copy, each.proposal_hash, each.seen) == (self._name, proposal_hash, seen)
        ]
        if not mine or mine[-1].refused:
            return ()
        if mine[-1].decision == UNDO:
            return mine[-1].undoes  # said before: the same answer again
        standing = [each for each in self._in_force[self._key(feature)] if each.line]
        return tuple(each.line for each in standing if each.line <= seen or each.copy == self._name)

    def compared(self, answer: Decision, findings: list[str]) -> Decision:
        """The answer, marked if another officer has said otherwise since the file was offered."""
        if answer.refused or answer.decision == UNDO:
            return answer
        key = self._key(answer.feature)
        others = heads(self._in_force[key])
        unseen = [each for each in others if each.line > answer.seen and each.copy != answer.copy]
        against = [each for each in unseen if each.meaning != answer.meaning]
        if not against or is_known(answer, self._logged[key]):
            return answer
        findings.append(
            f"Layer {answer.layer}, feature {_called(answer.pai_row, answer.reference)}: officers disagree. "
            f"{against[-1].told()}; {answer.told()} in {answer.copy}. Neither counts; the review file shows both."
        )
        return replace(answer, conflicts_with=against[-1].line)


def _sort_out(answers: Answers, feature: Feature, today: Today, copies: list[SavedRow]) -> None:
    latest = answers.decisions[-1] if answers.decisions and answers.decisions[-1].feature == feature else None
    if latest is not None and latest.refused:
        where = f"Layer {latest.layer}, feature {_called(latest.pai_row, latest.reference)}"
        answers.findings.append(f"{where}: {latest.refused}")
    row = today.row_of(feature)
    if row is None:
        return
    answers.fids[row] = copies[0].fid
    if latest is None or latest.refused or latest.decision == UNDO:
        if copies[0].note or copies[0].officer or copies[0].why:
            answers.drafts[row] = copies[0]
    elif feature in today.same:
        answers.answered[row] = next(copy for copy in copies if _is_source_of(latest, copy))


def _is_source_of(decision: Decision, saved_row: SavedRow) -> bool:
    return decision.note == saved_row.note and decision.wkb == saved_row.geometry


def feature_of(token: str) -> Feature | None:
    """The feature that a row of the review file is about; None if it was not offered.

    Examples
    --------
    >>> feature_of("12:0f:1e")
    (12, '0f')
    """
    found = _TOKEN.fullmatch(token)
    return (int(found["row"]), found["source"]) if found else None


def _called(row: int, reference: str) -> str:
    return f"{reference} (row {row})" if reference else f"row {row}"


def _rows_by_feature(saved: SavedReview, layer: str) -> tuple[_RowsByFeature, list[str]]:
    by_feature: _RowsByFeature = defaultdict(list)
    findings = []
    for saved_row in saved.rows:
        feature = feature_of(saved_row.token)
        if feature is None:
            findings.append(
                f"Layer {layer}, fid {saved_row.fid}: this row was not offered for review (its column offer says "
                f"{saved_row.token!r}), so it decides nothing and stays in the file; new features belong in the source."
            )
            continue
        by_feature[feature].append(saved_row)
    return by_feature, findings


def _changed_names(by_feature: _RowsByFeature, today: Today, layer: str, rows: LayerRows) -> Iterable[str]:
    for feature, copies in by_feature.items():
        row = today.row_of(feature)
        reference = copies[0].reference if row is None else rows.reference(row)
        where = f"Layer {layer}, feature {_called(feature[0], reference)}"
        for copy in copies:
            if copy.pai_row not in (feature[0], row):
                yield (
                    f"{where}: pai_row was changed to {copy.pai_row!r}; the row still says which feature was shown, "
                    "so its answer was read as of that one."
                )
            if copy.reference != reference:
                yield f"{where}: its reference was changed to {copy.reference!r}; source columns are not changed here."


def _copied(by_feature: _RowsByFeature, layer: str) -> Iterable[str]:
    for (row, _), copies in by_feature.items():
        if len(copies) > 1:
            yield (
                f"Layer {layer}, feature {_called(row, copies[0].reference)} is there {len(copies)} times (a copied or "
                "split row): a feature has one place, so it was answered only if the copies agree."
            )


def _deleted(saved: SavedReview, by_feature: _RowsByFeature, layer: str) -> list[str]:
    offered = {feature for token in saved.offered if (feature := feature_of(token))}
    return [
        f"Layer {layer}, row {row} was deleted from the review file: that decides nothing, so it is offered again. "
        "To leave a feature where it was, choose keep."
        for row, _ in sorted(offered - by_feature.keys())
    ]


def _answer(
    saved_row: SavedRow, before: bytes | None, proposal: bytes | None, drawn: str, past: _Past
) -> Decision | None:
    token = _TOKEN.fullmatch(saved_row.token)
    if token is None:
        return None
    word = re.sub(r"[\s-]+", "_", saved_row.decision.lower())
    word, feature, seen = ALSO_SAID.get(word, word), (int(token["row"]), token["source"]), int(token["line"] or 0)
    # An earlier fix still lies in the file: who now says keep has changed his mind, and drawn nothing.
    has_left_fix = word in _STAYS and drawn == past.fix(feature)
    is_edited = drawn not in ("", token["proposal"], saved_row.drawn) and not has_left_fix
    is_edited = is_edited and not _is_chords_of(saved_row.geometry, proposal)
    is_lost = bool(saved_row.trouble) or (saved_row.geometry is None and bool(token["proposal"]))
    undoes: tuple[int, ...] = ()
    if not (word or is_edited or is_lost):
        undoes = past.taken_back(feature, token["proposal"], seen)
        if not undoes:
            return None
    refused = _why_refused(word, saved_row, is_edited, is_lost, before)
    return Decision(
        layer="",
        pai_row=feature[0],
        reference=saved_row.reference,
        decision="fixed" if is_edited and not refused else word or (UNDO if undoes else ""),
        officer=saved_row.officer,
        note=saved_row.note,
        saved_at="",
        taken_at="",
        run="",
        source_hash=feature[1],
        proposal_hash=token["proposal"],
        geometry=saved_row.geometry.hex() if saved_row.geometry else None,
        refused=refused,
        why=_reason(saved_row.why),
        codes=saved_row.codes,
        decided_at=saved_row.decided_at,
        seen=seen,
        undoes=undoes,
    )


def _is_chords_of(saved: bytes | None, proposal: bytes | None) -> bool:
    """Whether lines were saved that run along a true curve: a program that has no curves made them, no officer."""
    if not saved or not proposal or read_geometry(proposal) is not None:
        return False
    (chords, curve), _ = linear_copy([saved, proposal])
    if chords is None or curve is None or read_geometry(saved) is None:
        return False
    west, south, east, north = curve.bounds
    return bool(shapely.hausdorff_distance(chords, curve) <= _CHORD_RATIO * np.hypot(east - west, north - south))


def _reason(why: str) -> str:
    """The officer's reason as its code, whether the code or the words of the form were written."""
    code = re.sub(r"[\s-]+", "_", why.lower())
    return next((known for known, words in WHY.items() if code == known or why == words), why)


def _why_refused(word: str, saved_row: SavedRow, is_edited: bool, is_lost: bool, before: bytes | None) -> str:
    if word and word not in WORDS:
        return f"the decision {saved_row.decision!r} is not known; choose one of {', '.join(WORDS)}."
    if word in _STAYS:
        return _why_not_both(word) if is_edited else ""
    if saved_row.trouble:
        return f"{saved_row.trouble}, so it cannot be taken; draw it again, or choose keep."
    if is_lost:
        return "its geometry was deleted; to leave it where it was choose keep, if nobody can tell choose cannot_place."
    if word == "fixed" and not is_edited:
        return "it says fixed but lies exactly as proposed; save the new place, or choose accept for the proposal."
    if not (is_edited and saved_row.geometry):
        return ""
    return _why_not_drawn(saved_row.geometry, before) or _why_not_there(saved_row, before)


def _why_not_both(word: str) -> str:
    return (
        f"it was redrawn and says {word}, which contradict each other; choose fixed for the new place, or leave the "
        f"proposal as drawn and choose {word} again."
    )


def _why_not_drawn(wkb: bytes, before: bytes | None) -> str:
    if before and family(wkb) != family(before):
        return f"it was drawn as {_a(family(wkb))} but is {_a(family(before))}; draw it again as what it is."
    (geometry,), _ = linear_copy([wkb])
    if geometry is None:
        return "its geometry cannot be read; draw it again, or choose keep."
    if geometry.is_empty:
        return "its geometry is empty; to leave it where it was choose keep."
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        return "it has a vertex without coordinates; draw it again."
    if not geometry.is_valid and read_geometry(wkb) is not None:  # chords of a true curve may cross where it does not
        return f"its outline is not valid ({explain_validity(geometry)}); put that right in QGIS and save again."
    return ""


def _why_not_there(saved_row: SavedRow, before: bytes | None) -> str:
    if saved_row.note:
        return ""
    (drawn, old), _ = linear_copy([saved_row.geometry, before])
    away_m = shapely.hausdorff_distance(drawn, old)  # NaN where there was none
    if away_m > FAR_M:
        where = f"{away_m / 1000:,.1f} km from where it was"
    elif np.isnan(away_m) and not on_land_square(shapely.get_coordinates(drawn)).all():
        where = "off the land of Great Britain"
    else:
        return ""
    return f"it was put {where}; put it back, or say in the note why it belongs there."


def _a(kind: str) -> str:
    return {"point": "a point", "line": "a line", "area": "an area"}.get(kind, "a mixture of shapes")


def _settle_copies(answers: list[Decision], copies: int) -> list[Decision]:
    """One answer if the copies of a row agree, else all of them refused so that each is kept in the log."""
    good = [answer for answer in answers if not answer.refused]
    meant = {(answer.decision, answer.geometry if answer.decision == "fixed" else None) for answer in good}
    if len(good) == len(answers) and len(meant) == 1:
        return good[:1]
    if copies == 1:
        return answers
    why = f"its {copies} copies were answered differently; delete all but one and answer that."
    return [answer if answer.refused else replace(answer, refused=why) for answer in answers]


def _stamp(answer: Decision, layer: str, saved: SavedReview, run_id: str, now: datetime) -> Decision:
    return replace(
        answer,
        layer=layer,
        officer=answer.officer or UNKNOWN_OFFICER,
        saved_at=saved.saved_at,
        taken_at=now.isoformat(timespec="seconds"),
        run=run_id,
        copy=saved.name,
    )

"""What the control rows of a saved review file mean: a word on a point, a new point, or nothing new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import shapely

from pipeline.fingerprint import read_geometry
from pipeline.officers.control_decisions import (
    ADD,
    CONTROL_WORDS,
    ControlDecision,
    control_in_force,
    point_keys,
)
from pipeline.officers.decisions import UNDO, UNKNOWN_OFFICER
from pipeline.officers.saved_review import SavedControl, SavedReview

_LONGEST_M = 1000.0
"""A longer drawn line is a slip of the hand, not control."""


@dataclass(frozen=True)
class ControlAnswers:
    """What is new to the log, and a sentence on whatever was odd."""

    new: list[ControlDecision]
    findings: list[str]


def read_control_answers(
    saved: SavedReview, logged: Sequence[ControlDecision], run_id: str, now: datetime
) -> ControlAnswers:
    """What officers said of control in a saved file, as far as the log does not hold it yet.

    Parameters
    ----------
    saved
        The file.
    logged
        Everything said so far, oldest first.
    run_id, now
        Go into the answers.
    """
    answers = ControlAnswers([], [])
    for row in saved.control_rows:
        _read_word(answers, row, saved, logged, run_id, now)
    known = {said.point for said in logged if said.decision == ADD}
    for row in saved.drawn_control:
        _read_line(answers, row, saved, known, run_id, now)
    return answers


def why_no_control(geometry: bytes | None) -> str:
    """A sentence if a drawn line cannot be control; empty if it can."""
    shape = read_geometry(geometry)
    if shape is None or shape.is_empty:
        return "this row has no line; draw one from the old place to the new one."
    places = shapely.get_coordinates(shape)
    if shapely.get_type_id(shape) not in (1, 5) or len(places) != 2:
        return f"a control line has two points, the old place and the new one; this one has {len(places)}."
    if not np.isfinite(places).all() or shape.length > _LONGEST_M:
        return f"this line is {shape.length:.0f} m long, which no shift is; draw it again."
    return ""


def key_of_line(geometry: bytes | None) -> str:
    """The key of the control point that a line of two points stands for."""
    return point_keys(shapely.get_coordinates(read_geometry(geometry)).reshape(1, 4))[0]


def _read_word(
    answers: ControlAnswers,
    row: SavedControl,
    saved: SavedReview,
    logged: Sequence[ControlDecision],
    run_id: str,
    now: datetime,
) -> None:
    point, _, line = row.offer.partition("@")
    word, seen = row.decision.lower(), int(line or 0) if (line or "0").isdigit() else 0
    if not point or (word and word not in CONTROL_WORDS):
        if word:
            known = ", ".join(CONTROL_WORDS)
            answers.findings.append(
                f"{saved.name}, control_nearby row {row.fid}: {row.decision!r} cannot be said of a control point; "
                f"choose one of {known}."
            )
        return
    mine = [each for each in logged if each.point == point and each.copy == saved.name and each.seen == seen]
    shown = mine[-1] if mine else next((each for each in logged if each.line == seen and seen), None)
    before = shown.decision if shown and shown.decision in CONTROL_WORDS else ""
    if word == before:
        return
    others = [
        each
        for each in control_in_force(logged)
        if each.point == point and each.line > seen and each.copy != saved.name and each.decision in CONTROL_WORDS
    ]
    against = others[-1] if others and others[-1].decision != word else None
    taken_back = tuple(each.line for each in control_in_force(logged) if each.point == point and each.decision != ADD)
    decision = ControlDecision(
        point=point,
        decision=word or UNDO,
        officer=row.officer or UNKNOWN_OFFICER,
        note=row.note,
        decided_at=row.decided_at,
        saved_at=saved.saved_at,
        taken_at=now.isoformat(timespec="seconds"),
        run=run_id,
        copy=saved.name,
        seen=seen,
        conflicts_with=against.line if against and word else 0,
        undoes=() if word else taken_back,
    )
    if against:
        answers.findings.append(
            f"{saved.name}: officers disagree on the control point at {point}: {against.told()}, {decision.told()}. "
            "Neither counts until one of them says so again."
        )
    answers.new.append(decision)


def _read_line(
    answers: ControlAnswers, row: SavedControl, saved: SavedReview, known: set[str], run_id: str, now: datetime
) -> None:
    if why := why_no_control(row.geometry):
        answers.findings.append(f"{saved.name}, new_control row {row.fid}: {why}")
        return
    point = key_of_line(row.geometry)
    if point in known:
        return
    known.add(point)
    answers.new.append(
        ControlDecision(
            point=point,
            decision=ADD,
            officer=row.officer or UNKNOWN_OFFICER,
            note=row.note,
            decided_at=row.decided_at,
            saved_at=saved.saved_at,
            taken_at=now.isoformat(timespec="seconds"),
            run=run_id,
            copy=saved.name,
        )
    )

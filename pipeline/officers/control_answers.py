"""What the control rows of a saved review file mean: a word on a point, a new point, or nothing new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    standing_control,
)
from pipeline.officers.decisions import UNDO, UNKNOWN_OFFICER
from pipeline.officers.heads import heads
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
    reader = _Reader(saved, logged, run_id, now.isoformat(timespec="seconds"))
    for word in saved.control_rows:
        reader.read_word(word)
    for line in saved.drawn_control:
        reader.read_line(line)
    return ControlAnswers(reader.new, reader.findings)


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


class _Reader:
    """Reads one saved file row by row; ``new`` and ``findings`` fill as it goes."""

    def __init__(self, saved: SavedReview, logged: Sequence[ControlDecision], run_id: str, taken_at: str) -> None:
        self.new: list[ControlDecision] = []
        self.findings: list[str] = []
        self._saved, self._logged, self._run_id, self._taken_at = saved, logged, run_id, taken_at
        self._in_force = control_in_force(logged)
        self._drawn = {said.point for said in logged if said.decision == ADD}

    def read_word(self, row: SavedControl) -> None:
        """A word on a control point that the file showed."""
        point, _, line = row.offer.partition("@")
        word, seen = row.decision.lower(), int(line) if line.isdigit() else 0
        if word and word not in CONTROL_WORDS:
            self.findings.append(
                f"{self._saved.name}, control_nearby row {row.fid}: {row.decision!r} cannot be said of a control "
                f"point; choose one of {', '.join(CONTROL_WORDS)}."
            )
        elif point and word != self._word_shown(point, seen):
            self.new.append(self._word_said(row, point, word, seen) if word else self._taken_back(row, point, seen))

    def read_line(self, row: SavedControl) -> None:
        """A control point drawn as a line."""
        if why := why_no_control(row.geometry):
            self.findings.append(f"{self._saved.name}, new_control row {row.fid}: {why}")
            return
        point = key_of_line(row.geometry)
        if point not in self._drawn:
            self._drawn.add(point)
            self.new.append(self._decision(row, point, ADD))

    def _word_shown(self, point: str, seen: int) -> str:
        """The word that the file held when this row was last read, or when it was written."""
        of_point = self._of(self._logged, point)
        mine = [said for said in of_point if self._is_mine(said) and said.seen == seen]
        if mine:
            return mine[-1].decision if mine[-1].decision in CONTROL_WORDS else ""
        return standing_control([said for said in of_point if said.line <= seen]).shown(point)

    def _word_said(self, row: SavedControl, point: str, word: str, seen: int) -> ControlDecision:
        said = replace(self._decision(row, point, word), seen=seen)
        against = self._said_against(point, word, seen)
        if not against:
            return said
        self.findings.append(
            f"{self._saved.name}: officers disagree on the control point at {point}: {against.told()}, {said.told()}. "
            "Neither counts until one of them says so again."
        )
        return replace(said, conflicts_with=against.line)

    def _taken_back(self, row: SavedControl, point: str, seen: int) -> ControlDecision:
        """Takes back what this file said or showed; what another said since, its officer has not seen."""
        words = [said for said in self._of(self._in_force, point) if said.decision != ADD]
        undone = tuple(said.line for said in words if said.line <= seen or self._is_mine(said))
        return replace(self._decision(row, point, UNDO), seen=seen, undoes=undone)

    def _said_against(self, point: str, word: str, seen: int) -> ControlDecision | None:
        """What another file said last, after this one was written, if it says something else."""
        words = heads([said for said in self._of(self._in_force, point) if said.decision in CONTROL_WORDS])
        others = [said for said in words if said.line > seen and not self._is_mine(said) and said.decision != word]
        return others[-1] if others else None

    def _decision(self, row: SavedControl, point: str, decision: str) -> ControlDecision:
        return ControlDecision(
            point=point,
            decision=decision,
            officer=row.officer or UNKNOWN_OFFICER,
            note=row.note,
            decided_at=row.decided_at,
            saved_at=self._saved.saved_at,
            taken_at=self._taken_at,
            run=self._run_id,
            copy=self._saved.name,
        )

    def _is_mine(self, said: ControlDecision) -> bool:
        return said.copy == self._saved.name

    @staticmethod
    def _of(said: Sequence[ControlDecision], point: str) -> list[ControlDecision]:
        return [each for each in said if each.point == point]

"""What officers say of control points: this one is wrong, this one is good, and here is another.

Kept in the same append-only log as the decisions on features. A point is known by its four coordinates to the
millimetre, never by its row: so an answer survives a delivery in another order, and holds for the same point in every
file. What stands is handed to the stage ``control``, where added points are checked like all others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.logbook import append_lines, read_lines
from pipeline.officers.decisions import UNDO
from pipeline.officers.heads import disagreement

WRONG, GOOD, ADD = "wrong", "good", "add"

CONTROL_WORDS = {WRONG: "Wrong: do not use it", GOOD: "Good: use it"}
"""The words an officer may say of a control point, and how the form shows them."""

OFFICER_REASONS = {
    "officer_rejected": "An officer found that this point is wrong.",
    "officer_trusted": "An officer found that this point is good, whatever its neighbours say.",
}
"""Why an officer's word decides about a control point: code and sentence."""

ADDED_FILE, ADDED_CODE = "added_by_officers.csv", "OFFICER"
"""The file and the feature code under which drawn points go through the check."""

_KIND = "control"


@dataclass(frozen=True)
class ControlDecision:
    """An officer's word on one control point; ``point`` is its key, the rest as in ``decisions.Decision``."""

    point: str
    decision: str
    officer: str
    note: str
    decided_at: str
    saved_at: str
    taken_at: str
    run: str
    copy: str
    seen: int = 0
    conflicts_with: int = 0
    undoes: tuple[int, ...] = ()
    kind: str = _KIND
    line: int = field(default=0, compare=False)

    @property
    def meaning(self) -> str:
        """What two words must share to agree."""
        return self.decision

    @property
    def places(self) -> tuple[float, float, float, float]:
        """Old easting, old northing, new easting, new northing [m]."""
        easting, northing, new_easting, new_northing = map(float, self.point.split(","))
        return easting, northing, new_easting, new_northing

    def told(self) -> str:
        """Who said what and when, in a few words."""
        when = (self.decided_at or self.saved_at or self.taken_at)[:16].replace("T", " ")
        note = f" ({self.note})" if self.note else ""
        return f"{self.officer} said {self.decision} on {when}{note}"


@dataclass(frozen=True)
class StandingControl:
    """What officers' words on control come to today, by point; ``disagreeing`` counts for neither of the two.

    ``lines`` is the line of the latest word on a point, or of its taking back.
    """

    words: Mapping[str, ControlDecision]
    added: Sequence[ControlDecision]
    disagreeing: Mapping[str, tuple[ControlDecision, ControlDecision]]
    lines: Mapping[str, int]

    def keys(self, word: str) -> set[str]:
        """The points of which ``word`` holds."""
        return {point for point, said in self.words.items() if said.decision == word}

    def shown(self, point: str) -> str:
        """The word that the form shows for a point; empty where none holds."""
        return self.words[point].decision if point in self.words else ""

    @property
    def digest(self) -> str:
        """What the next check of the control will take into account."""
        words = sorted((point, said.decision) for point, said in self.words.items())
        return repr((words, sorted(each.point for each in self.added)))


def point_keys(places: NDArray[np.float64]) -> list[str]:
    """The keys of control points ``(n, 4)``, old and new easting and northing [m].

    Examples
    --------
    >>> point_keys(np.array([[1.0, 2.0, 3.0004, -0.0]]))
    ['1.000,2.000,3.000,0.000']
    """
    rounded = np.round(places, 3) + 0.0
    return [",".join(f"{value:.3f}" for value in row) for row in rounded.tolist()]


def read_control_decisions(log: Path) -> list[ControlDecision]:
    """What was said of control, oldest first.

    Raises
    ------
    LogError
        If the log is damaged.
    """
    return [as_control_decision(record) for record in read_lines(log) if record.get("kind") == _KIND]


def as_control_decision(record: Mapping[str, Any]) -> ControlDecision:
    """A line of the log as a word on a control point."""
    known = {each.name for each in fields(ControlDecision)}
    values = {key: value for key, value in record.items() if key in known}
    return ControlDecision(**{**values, "undoes": tuple(values.get("undoes") or ())})


def append_control(log: Path, said: Iterable[ControlDecision]) -> list[ControlDecision]:
    """Log what was said, each forced to disk."""
    said = list(said)
    numbers = append_lines(log, map(asdict, said)) if said else []
    return [replace(each, line=number) for each, number in zip(said, numbers, strict=True)]


def control_in_force(said: Sequence[ControlDecision]) -> list[ControlDecision]:
    """What counts, oldest first: without what was taken back."""
    undone: set[int] = set()
    kept = []
    for each in reversed(said):
        if each.line in undone:
            continue
        undone.update(each.undoes)
        if each.decision != UNDO:
            kept.append(each)
    return kept[::-1]


def standing_control(said: Sequence[ControlDecision]) -> StandingControl:
    """What holds of each point after everything that was said, oldest first."""
    active = control_in_force(said)
    words: dict[str, list[ControlDecision]] = defaultdict(list)
    for each in active:
        if each.decision != ADD:
            words[each.point].append(each)
    pairs = {point: pair for point, of_point in words.items() if (pair := disagreement(of_point))}
    added = {each.point: each for each in active if each.decision == ADD}
    holding = {point: of_point[-1] for point, of_point in words.items() if point not in pairs}
    lines = {each.point: each.line for each in said if each.decision != ADD}
    return StandingControl(holding, list(added.values()), pairs, lines)

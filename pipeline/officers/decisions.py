"""The officers' decisions: an append-only log, and which of them hold for a layer as it is today.

Nothing is ever changed or taken out of ``decisions/decisions.jsonl``. A decision is about one feature *as the officer
saw it*: the source feature and the proposal each have a hash, and a decision made on something else does not apply
in silence.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.fingerprint import geometry_hash
from pipeline.logbook import append_lines, read_lines
from pipeline.officers.heads import disagreement
from pipeline.officers.layer_rows import Feature, LayerRows

WORDS = {
    "accept": "Accept: the proposal is right",
    "fixed": "Fixed: I have put it right myself",
    "keep": "Keep: it stays where it was",
    "cannot_place": "Cannot be placed from what is known",
}
"""The words an officer may put into ``decision``, and how the form shows them."""

ALSO_SAID = {"moved": "fixed"}
"""Other words that are understood: what ``fixed`` was called before."""

WHY = {
    "false_alarm": "False alarm: nothing is wrong here",
    "control_wrong": "The control is wrong here",
    "badly_captured": "It was badly captured",
    "ground_changed": "The ground has changed",
    "checked": "Checked against map, photograph or site",
    "other": "Other: see the note",
}
"""The officer's own reason, in ``why``, and how the form shows it."""

FALSE_ALARM = "false_alarm"
UNDO = "undo"
"""The word of an entry that takes back an earlier one; nobody chooses it in the form."""

UNKNOWN_OFFICER = "unknown"


@dataclass(frozen=True)
class Decision:
    """An officer's answer about one feature, or an answer that had to be refused.

    ``decided_at`` is when the officer says it was, ``saved_at`` when the file was saved, ``taken_at`` when it was
    read: clocks may be wrong, so only the order of the log counts. ``geometry`` is well-known binary in hexadecimal,
    what the officer saved; ``why`` the officer's reason and ``codes`` those that were shown. ``copy`` is the review
    file it was saved in and ``seen`` the line of the decision that file showed. ``refused`` is the sentence the
    officer was given, empty when it counts; ``conflicts_with`` the line of another officer's answer that says
    otherwise, ``undoes`` the lines an ``undo`` takes back. ``line`` is its own.
    """

    layer: str
    pai_row: int
    reference: str
    decision: str
    officer: str
    note: str
    saved_at: str
    taken_at: str
    run: str
    source_hash: str
    proposal_hash: str
    geometry: str | None = None
    refused: str = ""
    why: str = ""
    codes: tuple[str, ...] = ()
    decided_at: str = ""
    copy: str = ""
    seen: int = 0
    conflicts_with: int = 0
    undoes: tuple[int, ...] = ()
    line: int = field(default=0, compare=False)

    @property
    def feature(self) -> Feature:
        """What it is about."""
        return self.pai_row, self.source_hash

    @property
    def wkb(self) -> bytes | None:
        """The geometry the officer saved."""
        return bytes.fromhex(self.geometry) if self.geometry else None

    @property
    def meaning(self) -> tuple[str, str]:
        """What two answers must share to agree: the word, and the place of a fix."""
        return self.decision, geometry_hash(self.wkb) if self.decision == "fixed" else ""

    @cached_property
    def digest(self) -> str:
        """What was answered, whenever and wherever it was read: the same save read twice has the same digest."""
        circumstances = ("saved_at", "taken_at", "decided_at", "run", "copy", "conflicts_with", "line")
        answer = [each.name for each in fields(self) if each.name not in circumstances]
        content = {name: getattr(self, name) for name in answer} | {"geometry": geometry_hash(self.wkb)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def told(self) -> str:
        """Who decided what and when, in a few words."""
        when = (self.decided_at or self.saved_at or self.taken_at)[:16].replace("T", " ")
        note = f" ({self.note})" if self.note else ""
        return f"{self.officer} said {self.decision} on {when}{note}"


def as_decision(record: dict[str, Any]) -> Decision:
    """A line of the log as a decision."""
    known = {each.name for each in fields(Decision)}
    values = {key: value for key, value in record.items() if key in known}
    word = str(values.get("decision", ""))
    values["copy"] = values.get("copy") or f"{values.get('layer', '')}.gpkg"  # all there was, before copies were read
    lists = {name: tuple(values.get(name) or ()) for name in ("codes", "undoes")}
    return Decision(**{**values, **lists, "decision": ALSO_SAID.get(word, word)})


def read_decisions(log: Path, layer: str) -> list[Decision]:
    """The answers logged for a layer, oldest first, the refused ones too.

    Raises
    ------
    LogError
        If the log is damaged.
    """
    return [as_decision(record) for record in read_lines(log) if is_on_feature(record, layer)]


def is_on_feature(record: dict[str, Any], layer: str) -> bool:
    """Whether a line of the log is a decision on a feature of ``layer``."""
    return record.get("layer") == layer and "pai_row" in record


def append_new(log: Path, answers: Iterable[Decision]) -> list[Decision]:
    """Log the answers that are not in the log yet, each forced to disk; return those."""
    new = not_yet_logged(log, answers)
    if not new:
        return []
    numbers = append_lines(log, map(asdict, new))
    return [replace(answer, line=number) for answer, number in zip(new, numbers, strict=True)]


def not_yet_logged(log: Path, answers: Iterable[Decision]) -> list[Decision]:
    """The answers that are news, as ``is_known`` has it; of a row that was copied within its file each one counts."""
    by_feature: dict[tuple[str, Feature, str], list[Decision]] = defaultdict(list)
    for answer in answers:
        by_feature[answer.layer, answer.feature, answer.copy].append(answer)
    logged: dict[tuple[str, Feature], list[Decision]] = defaultdict(list)
    for layer in sorted({layer for layer, *_ in by_feature}):
        for decision in read_decisions(log, layer):
            logged[layer, decision.feature].append(decision)
    return [
        answer for (layer, feature, _), saved in by_feature.items() for answer in _news(logged[layer, feature], saved)
    ]


def is_known(answer: Decision, logged: Sequence[Decision]) -> bool:
    """Whether an answer says nothing new.

    It is what its file said last: after a change of mind the first answer may come again, and must count again. Or it
    came with the file when that was copied: another file said it, and this one has said nothing since.

    Parameters
    ----------
    answer
        As it was saved.
    logged
        What is logged of its feature, oldest first.
    """
    own = [place for place, each in enumerate(logged) if each.copy == answer.copy]
    return answer.digest in {each.digest for each in logged[own[-1] if own else 0 :]}


def _news(logged: Sequence[Decision], saved: Sequence[Decision]) -> list[Decision]:
    # A run that was killed may have logged the first few of them.
    own = [each.digest for each in logged if saved and each.copy == saved[0].copy]
    digests = [answer.digest for answer in saved]
    known = next((count for count in range(len(saved), 0, -1) if own[-count:] == digests[:count]), 0)
    return [answer for answer in saved[known:] if not is_known(answer, logged)]


@dataclass(frozen=True)
class Standing:
    """The decisions of a layer as they stand today.

    ``holding`` has the latest decision per row whose source feature is unchanged; ``disagreeing`` the rows on which two
    officers said different things without knowing of each other, earlier and later; ``source_changed`` the rows whose
    source feature is not the one that was decided on; ``homeless`` the decisions whose row is gone; ``refused`` the
    rows whose latest answer was refused; ``lines`` the line of the latest entry on a row.
    """

    holding: dict[int, Decision]
    source_changed: dict[int, Decision]
    homeless: list[Decision]
    refused: dict[int, Decision]
    disagreeing: dict[int, tuple[Decision, Decision]] = field(default_factory=dict)
    lines: dict[int, int] = field(default_factory=dict)

    def latest_line(self, row: int) -> int:
        """The line of the latest decision on a row, or of its undoing; 0 if there is none."""
        return self.lines.get(row, 0)


def in_force(decisions: Sequence[Decision]) -> list[Decision]:
    """The decisions that count, oldest first: not refused, and not taken back by an ``undo`` that itself counts."""
    undone: set[int] = set()
    kept = []
    for decision in reversed(decisions):
        if decision.line in undone:
            continue
        undone.update(decision.undoes)
        if not decision.refused and decision.decision != UNDO:
            kept.append(decision)
    return kept[::-1]


def standing(decisions: Sequence[Decision], rows: LayerRows) -> Standing:
    """Which decision holds for which row; it follows its feature when the delivery's order changed.

    Parameters
    ----------
    decisions
        Of the layer, oldest first.
    rows
        The layer.
    """
    today = rows.today({decision.feature: decision.reference for decision in decisions})
    here = [(today.same[decision.feature], decision) for decision in decisions if decision.feature in today.same]
    lines = {row: decision.line for row, decision in here if not decision.refused}
    said: dict[int, list[Decision]] = defaultdict(list)
    changed, homeless = {}, []
    for decision in in_force(decisions):
        row = today.any_row_of(decision.feature)
        if row is None:
            homeless.append(decision)
        elif decision.feature in today.same:
            said[row].append(decision)
        else:
            changed[row] = decision
    pairs = {row: pair for row, words in said.items() if (pair := disagreement(words))}
    holding = {row: words[-1] for row, words in said.items() if row not in pairs}
    changed = {row: decision for row, decision in changed.items() if row not in said}
    refused = {row: decision for row, decision in dict(here).items() if decision.refused}
    return Standing(holding, changed, homeless, refused, pairs, lines)

"""The officers' decisions: an append-only log, and which of them hold for a layer as it is today.

Nothing is ever changed or taken out of ``decisions/decisions.jsonl``. A decision is about one feature *as the officer
saw it*: the source feature and the proposal each have a hash, and a decision made on something else does not apply
in silence.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pipeline.fingerprint import geometry_hash
from pipeline.storage import append_line, read_lines

WORDS = {
    "accept": "Accept: the proposal is right",
    "moved": "Moved: I have put it right myself",
    "keep": "Keep: it stays where it was",
    "cannot_place": "Cannot be placed from what is known",
}
"""The words an officer may put into ``decision``, and how the form shows them."""


@dataclass(frozen=True)
class Decision:
    """An officer's answer about one feature, or an answer that had to be refused.

    ``saved_at`` is when the officer saved it, ``taken_at`` when it was read; ``geometry`` is well-known binary in
    hexadecimal, what the officer saved; ``refused`` is the sentence the officer was given, empty when it counts.
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

    @property
    def wkb(self) -> bytes | None:
        """The geometry the officer saved."""
        return bytes.fromhex(self.geometry) if self.geometry else None

    @property
    def digest(self) -> str:
        """What was answered, whenever it was read: the same save read twice has the same digest."""
        content = asdict(self) | {"geometry": geometry_hash(self.wkb)}
        for moment in ("saved_at", "taken_at", "run"):
            del content[moment]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_decisions(log: Path, layer: str) -> list[Decision]:
    """The answers logged for a layer, oldest first, the refused ones too."""
    known = {field.name for field in fields(Decision)}
    return [
        Decision(**{key: value for key, value in record.items() if key in known})
        for record in read_lines(log)
        if record.get("layer") == layer
    ]


def append_new(log: Path, answers: Iterable[Decision]) -> list[Decision]:
    """Log the answers that are not in the log yet, each forced to disk; return those."""
    new = not_yet_logged(log, answers)
    for answer in new:
        append_line(log, asdict(answer))
    return new


def not_yet_logged(log: Path, answers: Iterable[Decision]) -> list[Decision]:
    """The answers the log does not end with.

    An answer counts as logged if it is the *latest* of its feature: after a change of mind the first answer may
    come again, and must count again.
    """
    by_row: dict[tuple[str, int], list[Decision]] = defaultdict(list)
    for answer in answers:
        by_row[answer.layer, answer.pai_row].append(answer)
    logged: dict[tuple[str, int], list[str]] = defaultdict(list)
    for layer in sorted({layer for layer, _ in by_row}):
        for decision in read_decisions(log, layer):
            logged[layer, decision.pai_row].append(decision.digest)
    return [answer for key, saved in by_row.items() for answer in _not_at_the_end_of(logged[key], saved)]


def _not_at_the_end_of(logged: list[str], saved: list[Decision]) -> list[Decision]:
    # A run that was killed may have logged the first few of them.
    digests = [answer.digest for answer in saved]
    for known in range(len(saved), 0, -1):
        if logged[-known:] == digests[:known]:
            return saved[known:]
    return saved


@dataclass(frozen=True)
class Standing:
    """The decisions of a layer as they stand today.

    ``holding`` has the latest decision per row whose source feature is unchanged; ``source_changed`` the rows whose
    feature was decided but has changed since; ``homeless`` the decisions whose feature is gone; ``refused`` the
    latest refused answer per row, where nothing was decided after it.
    """

    holding: dict[int, Decision]
    source_changed: dict[int, Decision]
    homeless: list[Decision]
    refused: dict[int, Decision]


def standing(decisions: Sequence[Decision], count: int, hashes: Callable[[Sequence[int]], dict[int, str]]) -> Standing:
    """Which decision holds for which row.

    A decision follows its feature to another row when the delivery's order changed, if the feature is still there
    and is unique.

    Parameters
    ----------
    decisions
        Of the layer, oldest first.
    count
        Rows of the layer.
    hashes
        Gives the hash of the source feature at each row asked for; asked for all rows only if some have changed.
    """
    decided = [decision for decision in decisions if not decision.refused]
    here = hashes(sorted({decision.pai_row for decision in decisions if 0 <= decision.pai_row < count}))
    has_strayed = any(here.get(decision.pai_row) != decision.source_hash for decision in decided)
    moved_to = _unique_rows(hashes(range(count))) if has_strayed else {}
    holding, changed, homeless = {}, {}, []
    for decision in decided:
        stayed = here.get(decision.pai_row) == decision.source_hash
        row = decision.pai_row if stayed else moved_to.get(decision.source_hash)
        if row is not None:
            holding[row] = decision
        elif decision.pai_row < count:
            changed[decision.pai_row] = decision
        else:
            homeless.append(decision)
    changed = {row: decision for row, decision in changed.items() if row not in holding}
    return Standing(holding, changed, homeless, _still_refused(decisions, here))


def _unique_rows(hashes: dict[int, str]) -> dict[str, int]:
    seen = Counter(hashes.values())
    return {digest: row for row, digest in hashes.items() if seen[digest] == 1}


def _still_refused(decisions: Sequence[Decision], here: dict[int, str]) -> dict[int, Decision]:
    latest = {decision.pai_row: decision for decision in decisions}
    return {
        row: decision for row, decision in latest.items() if decision.refused and here.get(row) == decision.source_hash
    }

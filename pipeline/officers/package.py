"""What a review package holds: its layers, their columns, and one feature or control point as it is offered."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

OLD_POSITION, CONTROL_NEARBY, NEW_CONTROL = "old_position", "control_nearby", "new_control"
SHIFT_ARROWS, BREAKS_NEARBY, BOTH_VERSIONS = "shift_arrows", "breaks_nearby", "both_versions"
RESERVED_NAMES = (
    *(OLD_POSITION, SHIFT_ARROWS, CONTROL_NEARBY, NEW_CONTROL, BREAKS_NEARBY, BOTH_VERSIONS),
    "layer_styles",
)
"""What a review file calls its own; no layer under review may be called so."""

NO_ROW = -1
"""The row of what somebody drew in a review file: there is none in the source."""

Shown = tuple[str, str, str, float | None]
"""Token, reasons, remark and risk of a feature, as a review file shows them."""


@dataclass(frozen=True)
class Offer:
    """One feature as it is offered to officers; geometries are well-known binary.

    Without a ``token`` it is none of the source's: somebody drew it, and it stays until somebody deletes it.

    ``fid`` is the one it had in the file before, None if it is new there; ``decision`` is filled in where an officer
    has answered. ``codes`` are the reasons as codes.
    """

    row: int
    reference: str
    reasons: str
    remark: str
    shift_m: float | None
    uncertainty_m: float | None
    risk: float | None
    before: bytes | None
    proposal: bytes | None
    token: str
    fid: int | None = None
    decision: str = ""
    note: str = ""
    officer: str = ""
    why: str = ""
    decided_at: str = ""
    codes: tuple[str, ...] = ()
    drawn: str = ""
    """The fingerprint of the proposal in a file that rounds, where an officer has answered in one."""

    @property
    def shown(self) -> Shown:
        """What would have to change for the feature to be offered anew."""
        return self.token, self.reasons, self.remark, self.risk


def finite(number: float | None) -> float | None:
    """``number`` as a GeoPackage holds it, which knows no NaN."""
    return number if number is not None and np.isfinite(number) else None


def token(row: int, source_hash: str, proposal_hash: str, line: int = 0) -> str:
    """Which feature is shown, how it looks, and which decision stands; goes with the row wherever it is copied."""
    return f"{row}:{source_hash}:{proposal_hash}" + (f":{line}" if line else "")


@dataclass(frozen=True)
class Lines:
    """Lines with columns, as well-known binary; lists of equal length."""

    lines: Sequence[bytes | None]
    columns: dict[str, Sequence[Any]]

    def __len__(self) -> int:
        return len(self.lines)


@dataclass(frozen=True)
class Surroundings:
    """What officers see round the features: control as lines from old to new, breaks, what was drawn, and two versions.

    ``drawn`` are the lines officers drew that are not control yet; ``versions`` the answers of two officers who
    disagree.
    """

    control: Lines
    breaks: Lines = field(default_factory=lambda: Lines([], {}))
    drawn: Lines = field(default_factory=lambda: Lines([], {}))
    versions: Lines = field(default_factory=lambda: Lines([], {}))

    @property
    def digest(self) -> str:
        """What a review file shows of them, so that it is written anew only when that changes."""
        shown = [(list(each.lines), each.columns) for each in (self.control, self.breaks, self.drawn, self.versions)]
        return hashlib.sha256(repr(shown).encode()).hexdigest()

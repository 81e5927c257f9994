"""The fitted shift with everything that says where it came from: what the field file holds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from qa.accuracy import Score
from transforms.breaks import Breaks
from transforms.contract import Control, ShiftField
from transforms.piecewise import Piecewise
from transforms.tabulated import Tabulated


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted shift field and its provenance.

    Parameters
    ----------
    pieces
        The tabulated field of each piece between breaks; None for a piece without control.
    breaks
        The breaks; ``Breaks.none()`` where the shift is smooth throughout.
    method
        The method used.
    control_sha256, control_count
        Hash and number of the control points used.
    scores
        The hold-out table of the methods compared.
    calibration
        Factors by which hold-out widened (or narrowed) the standard errors of the ``noise`` of control and of the
        ``field``, and the latter further ``at_rim`` of control.
    within_95_share
        Share of held-out control within the stated 95 % radius: overall, dense, sparse, edge, near breaks.
    holdout_rms_m
        Root mean square error of the held-out control in metres, its own noise included.
    covariance
        Parameters of the covariance, for collocation.
    settings
        How the fit was asked for.
    version
        Version of the software.
    holdout
        More about the held-out control: ``p95_m``, the error [m] that 95 % of it stay within, and ``reliability``,
        pairs of a stated share and the share found within its radius. Empty in files of earlier versions.
    """

    pieces: tuple[Tabulated | None, ...]
    breaks: Breaks
    method: str
    control_sha256: str
    control_count: int
    scores: tuple[Score, ...]
    calibration: dict[str, float]
    within_95_share: dict[str, float]
    holdout_rms_m: float
    covariance: dict[str, object]
    settings: dict[str, object]
    version: str
    holdout: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def field(self) -> ShiftField:
        """The shift field over all pieces."""
        only = self.pieces[0]
        if self.breaks.count == 1 and only is not None:
            return only
        return Piecewise(self.breaks, self.pieces)

    @property
    def tolerance_m(self) -> float:
        """How far in metres the tables may stray from the fitted functions, as tried between their nodes."""
        return max(piece.table.deviation_m for piece in self.pieces if piece is not None)

    @property
    def sentence(self) -> str:
        """The outcome in one line."""
        return (
            f"{self.method} fitted to {self.control_count} control points in {self.breaks.count} piece(s); "
            f"hold-out error {self.holdout_rms_m:.3f} m RMS, "
            f"{100 * self.within_95_share['overall']:.1f} % within the stated 95 % radius."
        )


def control_sha256(control: Control) -> str:
    """The SHA-256 of control points in their order: places and codes."""
    digest = hashlib.sha256()
    digest.update(control.before.tobytes())
    digest.update(control.after.tobytes())
    digest.update("\n".join(control.code.tolist()).encode())
    return digest.hexdigest()

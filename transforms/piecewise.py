"""A shift field that jumps at breaks: one smooth field per piece of land, none reaching across.

Where it is uncertain on which side of a break a place lies, the field still moves it with the side that the
line says, and its standard error includes the jump it may be wrong by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import numpy as np
import scipy
from numpy.typing import NDArray

from .breaks import Breaks
from .contract import NO_PIECE, Control, Points
from .errors import ControlError
from .inverse import Inverse
from .one_piece import CIRCULAR_95, OnePiece, as_points

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]

Field = TypeVar("Field", bound=OnePiece)

MISSED = 0.05
"""Share of places that a 95 % radius leaves out."""

LARGEST_SPREAD_JUMP_M = 0.5
"""A larger jump stays one: what lies across it is for a person, and what lies beside it keeps its shape."""

SIDE_NEIGHBOURS = 8
"""Control asked on either side of a break about a control point that may stand on the wrong side."""


@dataclass(frozen=True)
class Piecewise(Generic[Field]):
    """Smooth fields side by side, divided by breaks.

    Parameters
    ----------
    breaks
        The lines between the pieces.
    pieces
        The field of each piece; None for a piece with too little control, which is then not covered.
    """

    breaks: Breaks
    pieces: tuple[Field | None, ...]

    @classmethod
    def fit(cls, control: Control, breaks: Breaks, fit_smooth: Callable[[Control], Field]) -> Self:
        """Fit every piece to its own control.

        Parameters
        ----------
        control
            Control points of all pieces.
        breaks
            The lines between the pieces.
        fit_smooth
            Fits one smooth field to the control of one piece.

        Raises
        ------
        ControlError
            If no piece has enough control for ``fit_smooth``.
        """
        number = piece_of_control(control, breaks)
        pieces = tuple(_fitted(control.take(number == piece), fit_smooth) for piece in range(breaks.count))
        if all(piece is None for piece in pieces):
            raise ControlError(
                f"None of the {breaks.count} pieces between breaks has enough control among the {len(control)} "
                "points given. Add control, choose a simpler method or leave the break lines out."
            )
        return cls(breaks, pieces)

    def __call__(self, points: Points) -> Points:
        """The new places of ``points``, ``(n, 2)`` metres; NaN outside what the pieces cover."""
        points = as_points(points)
        return self._closed(points, self.in_piece(points, self.breaks.piece(points)))

    def in_piece(self, points: Points, piece: Ints) -> Points:
        """The new places if each point moved with the given piece, ``(n, 2)``; NaN beyond that piece's reach."""
        points = as_points(points)
        moved = np.full(points.shape, np.nan)
        for field, rows in self._by_piece(np.asarray(piece)):
            moved[rows] = field(points[rows])
        return moved

    def piece(self, points: Points) -> Ints:
        """The piece that each point lies in, ``(n,)``; ``NO_PIECE`` outside what the pieces cover."""
        points = as_points(points)
        number = self.breaks.piece(points)
        covered = np.zeros(len(points), dtype=bool)
        for field, rows in self._by_piece(number):
            covered[rows] = field.covers(points[rows])
        return np.where(covered, number, NO_PIECE)

    def uncertainty(self, points: Points) -> Floats:
        """Radial standard error ``(n,)`` in metres; NaN outside what the pieces cover.

        Near a break it includes the jump, as far as the place may lie across (``_jump_share``).
        """
        points = as_points(points)
        own = self.breaks.piece(points)
        error_m = self._error_in(points, own)
        across, offset = self.breaks.other_piece(points)
        near = np.flatnonzero(across != own)
        jump = self.in_piece(points[near], across[near]) - self.in_piece(points[near], own[near])
        jump_m2 = np.nan_to_num((jump**2).sum(axis=1))
        error_m[near] = np.sqrt(error_m[near] ** 2 + _jump_share(offset[near]) * jump_m2)
        return error_m

    def control_distance_m(self, points: Points) -> Floats:
        """Distance ``(n,)`` in metres to the nearest control point, of whichever piece."""
        points = as_points(points)
        distance = np.full(len(points), np.inf)
        for field in self.pieces:
            if field is not None:
                distance = np.minimum(distance, field.control_distance_m(points))
        return distance

    def break_distance_m(self, points: Points) -> Floats:
        """Distance ``(n,)`` in metres to the nearest break."""
        return self.breaks.distance_m(as_points(points))

    @property
    def noise_m(self) -> float:
        """Radial standard error in metres of one control point's own position, over all pieces."""
        noises = [field.noise_m for field in self.pieces if field is not None]
        return float(np.sqrt(np.mean(np.square(noises))))

    @property
    def inverse(self) -> Inverse:
        """The field from the new map back to the old one."""
        return Inverse(self, np.concatenate([field.support.before for field in self.pieces if field is not None]))

    def _closed(self, points: Points, moved: Points) -> Points:
        """``moved`` with small jumps spread over as much land on either side of the break as they are long.

        A jump that closes would fold the map: edges would run back and neighbours overlap. On a slope of one half
        nothing folds. Where a break runs is not known to half a metre, so nothing is lost.
        """
        rows, across, distance_m = self.breaks.beside(points, LARGEST_SPREAD_JUMP_M)
        jump = self.in_piece(points[rows], across) - moved[rows]
        jump_m = np.hypot(*jump.T)
        small = np.flatnonzero((jump_m <= LARGEST_SPREAD_JUMP_M) & (distance_m < jump_m))
        share = 0.5 * (1.0 - distance_m[small] / jump_m[small])
        moved[rows[small]] += share[:, None] * jump[small]
        return moved

    def _error_in(self, points: Points, piece: Ints) -> Floats:
        error_m = np.full(len(points), np.nan)
        for field, rows in self._by_piece(piece):
            error_m[rows] = field.uncertainty(points[rows])
        return error_m

    def _by_piece(self, piece: Ints) -> list[tuple[Field, Ints]]:
        """Each piece's field with the rows that ask for it."""
        order = np.argsort(piece, kind="stable")
        starts = np.searchsorted(piece[order], np.arange(len(self.pieces) + 1))
        groups = [order[starts[k] : starts[k + 1]] for k in range(len(self.pieces))]
        return [
            (field, rows) for field, rows in zip(self.pieces, groups, strict=True) if field is not None and len(rows)
        ]


def _jump_share(offset: Floats) -> Floats:
    """The share of the squared jump in the radial variance at ``offset`` half-widths from a break, ``(n,)``.

    A half-width is two standard errors of the line, so the place lies across with the normal chance beyond
    ``2 offset``. It is right or wrong by the whole jump, never in between: where that chance passes 5 %, the 95 %
    radius holds only if it reaches across, which is more than the variance of the two cases says.
    """
    chance, at_half_width = scipy.special.ndtr(-2.0 * offset), scipy.special.ndtr(-2.0)
    return np.clip((chance - at_half_width) / (MISSED - at_half_width), 0.0, 1.0) / CIRCULAR_95**2


def _fitted(control: Control, fit_smooth: Callable[[Control], Field]) -> Field | None:
    if len(control) == 0:
        return None
    try:
        return fit_smooth(control)
    except ControlError:
        return None


def piece_of_control(control: Control, breaks: Breaks) -> Ints:
    """The piece that each control point belongs to, ``(n,)``.

    Control within a line's half-width goes to the side whose shift it shares, not to the side the line says.
    """
    number = breaks.piece(control.before)
    across, _ = breaks.other_piece(control.before)
    unsure = np.flatnonzero(across != number)
    sure = across == number
    own = _misfit(control, unsure, number[unsure], number, sure)
    other = _misfit(control, unsure, across[unsure], number, sure)
    moved = unsure[other < own]
    number[moved] = across[moved]
    return number


def _misfit(control: Control, rows: Ints, piece: Ints, number: Ints, sure: NDArray[np.bool_]) -> Floats:
    """Distance in metres of each point's shift from the mean shift of the sure control of ``piece`` near it."""
    misfit = np.full(len(rows), np.inf)
    for wanted in np.unique(piece):
        members = np.flatnonzero(sure & (number == wanted))
        asked = piece == wanted
        if len(members):
            near = np.arange(1, min(SIDE_NEIGHBOURS, len(members)) + 1)
            found = members[scipy.spatial.cKDTree(control.before[members]).query(control.before[rows[asked]], near)[1]]
            misfit[asked] = np.hypot(*(control.shift[rows[asked]] - control.shift[found].mean(axis=1)).T)
    return misfit

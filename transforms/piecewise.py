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

from .breaks import Beside, Breaks
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

LINE_FREEDOM = 3.0
"""Degrees of freedom of Student's t that the place of a line errs by, in the standard errors it states. Laplace's
approximation knows one course; on made nets places a few standard errors off are on the wrong side as often as this."""

JUMP_REACH = 1.6
"""Half-widths (two standard errors each) up to which the jump counts in the standard error; beyond, the chance that
the place lies across is below 2.5 %, and that which is left is subtracted so that nothing jumps there."""

HALVINGS = 14
"""Steps of bisection for a radius: to a ten-thousandth of the jump."""

MOST_ASKED = 2000
"""Control points from which the usual misfit to their neighbours is learned."""

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
        piece, beside = self.breaks.piece_and_beside(points, LARGEST_SPREAD_JUMP_M)
        return self._closed(points, self.in_piece(points, piece), beside)

    def in_piece(self, points: Points, piece: Ints) -> Points:
        """The new places if each point moved with the given piece, ``(n, 2)``; NaN beyond that piece's reach."""
        points = as_points(points)
        moved = np.full(points.shape, np.nan)
        for field, rows in self._by_piece(np.asarray(piece)):
            moved[rows] = field(points[rows])
        return moved

    def straight_length_m(self, tolerance_m: float) -> float:
        """Length of a segment [m], not beside a break, up to which its image is as good as straight."""
        return min(piece.straight_length_m(tolerance_m) for piece in self.pieces if piece is not None)

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

        Near a break it includes the jump, as far as the place may lie across (``_radius_m``).
        """
        points = as_points(points)
        own, across, offset = self.breaks.sides(points, JUMP_REACH)
        error_m = self._error_in(points, own)
        near = np.flatnonzero(across != own)
        jump = self.in_piece(points[near], across[near]) - self.in_piece(points[near], own[near])
        jump_m = np.nan_to_num(np.hypot(*jump.T))
        across_m = np.nan_to_num(self._error_in(points[near], across[near]))
        error_m[near] = _radius_m(error_m[near], across_m, jump_m, _across_chance(offset[near])) / CIRCULAR_95
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

    def is_beside_break(self, points: Points, reach_m: Floats) -> NDArray[np.bool_]:
        """Whether each point lies within its reach ``(n,)`` [m] of a break."""
        return self.breaks.is_within(as_points(points), reach_m)

    def noise_of(self, code: NDArray[np.str_]) -> Floats:
        """Radial standard error ``(n,)`` in metres of control points of the given codes, over all pieces."""
        noises = [field.noise_of(code) for field in self.pieces if field is not None]
        return np.asarray(np.sqrt(np.mean(np.square(noises), axis=0)))

    @property
    def inverse(self) -> Inverse:
        """The field from the new map back to the old one."""
        return Inverse(self, np.concatenate([field.support.before for field in self.pieces if field is not None]))

    def _closed(self, points: Points, moved: Points, beside: Beside) -> Points:
        """``moved`` with small jumps spread over as much land on either side of the break as they are long.

        A jump that closes would fold the map: edges would run back and neighbours overlap. On a slope of one half
        nothing folds. Where a break runs is not known to half a metre, so nothing is lost.
        """
        rows, across, distance_m = beside
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


def _across_chance(offset: Floats) -> Floats:
    """Chance ``(n,)`` that a place ``offset`` half-widths from a break lies across; 0 from ``JUMP_REACH`` on."""
    chance, at_reach = (scipy.special.stdtr(LINE_FREEDOM, -2.0 * away) for away in (offset, JUMP_REACH))
    return np.maximum(chance - at_reach, 0.0) * 0.5 / (0.5 - at_reach)


def _radius_m(own_m: Floats, across_m: Floats, jump_m: Floats, chance: Floats) -> Floats:
    """The 95 % radius ``(n,)`` in metres where the shift is right, or wrong by the whole jump with some ``chance``.

    It is never in between, so no variance tells the radius: it is the R that leaves out 5 % of
    ``(1 - chance) exp(-R² / own²) + chance P(|jump + e| > R)``, with e the error of the piece across.
    """
    low, high = CIRCULAR_95 * own_m, CIRCULAR_95 * (own_m + across_m) + jump_m
    spread_m = np.maximum(across_m, 1e-6) / np.sqrt(2.0)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        missed_here = np.exp(-((middle / np.maximum(own_m, 1e-6)) ** 2))
        missed = (1.0 - chance) * missed_here + chance * scipy.special.ndtr((jump_m - middle) / spread_m)
        is_short = missed > MISSED
        low, high = np.where(is_short, middle, low), np.where(is_short, high, middle)
    return high


def _fitted(control: Control, fit_smooth: Callable[[Control], Field]) -> Field | None:
    if len(control) == 0:
        return None
    try:
        return fit_smooth(control)
    except ControlError:
        return None


def piece_of_control(control: Control, breaks: Breaks) -> Ints:
    """The piece that each control point belongs to, ``(n,)``.

    Control within a line's half-width goes to the side that is the likelier by its place and its shift together.
    """
    number, across, offset = breaks.sides(control.before)
    unsure = np.flatnonzero(across != number)
    sure = across == number
    if not len(unsure) or not sure.any():
        return number
    own = _misfit(control, unsure, number[unsure], number, sure)
    other = _misfit(control, unsure, across[unsure], number, sure)
    asked = np.flatnonzero(sure)[:: max(1, int(sure.sum()) // MOST_ASKED)]
    # The square of a circular normal error is exponential: its median is its mean times log 2. The asked are among
    # their own neighbours, which the unsure are not.
    variance_m2 = np.median(_misfit(control, asked, number[asked], number, sure) ** 2) / np.log(2.0)
    variance_m2 *= (SIDE_NEIGHBOURS + 1.0) / (SIDE_NEIGHBOURS - 1.0)
    by_place = _across_chance(offset[unsure])
    with np.errstate(invalid="ignore", divide="ignore"):
        for_other = (own**2 - other**2) / variance_m2 + np.log(by_place / (1.0 - by_place))
    moved = unsure[for_other > 0]
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

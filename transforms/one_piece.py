"""What every field without breaks has in common: coverage, the piece number and the way back.

A method supplies two functions of place, ``shift_at`` and ``error_at``; this class keeps the laws.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .contract import NO_PIECE, Points
from .support import Support

if TYPE_CHECKING:
    from .inverse import Inverse

CIRCULAR_95 = 1.73
"""95 % radius of a circular normal error over its radial standard error: sqrt(-ln 0.05)."""


LARGEST_STRAIN = 0.01
"""No sound field stretches more (2 % of area)."""


class OnePiece(ABC):
    """A shift field without breaks: one smooth (or one triangulated) piece, numbered 0."""

    support: Support
    noise_m: float
    """Radial standard error in metres of one control point's own position."""

    @abstractmethod
    def shift_at(self, points: Points) -> Points:
        """New minus old ``(n, 2)`` in metres, asked only near covered places."""

    @abstractmethod
    def error_at(self, points: Points) -> NDArray[np.float64]:
        """Radial standard error ``(n,)`` in metres, asked only near covered places."""

    def covers(self, points: Points) -> NDArray[np.bool_]:
        """Which points the field speaks about, ``(n,)``."""
        return self.support.covers(points)

    def __call__(self, points: Points) -> Points:
        """The new places of ``points``, ``(n, 2)`` metres; NaN outside what the field covers."""
        points = as_points(points)
        moved = np.full(points.shape, np.nan)
        covered = self.covers(points)
        moved[covered] = points[covered] + self.shift_at(points[covered])
        return moved

    def uncertainty(self, points: Points) -> NDArray[np.float64]:
        """Radial standard error ``(n,)`` in metres; NaN outside what the field covers."""
        points = as_points(points)
        error_m = np.full(len(points), np.nan)
        covered = self.covers(points)
        error_m[covered] = self.error_at(points[covered])
        return error_m

    def piece(self, points: Points) -> NDArray[np.int_]:
        """0 where the field covers, ``NO_PIECE`` elsewhere, ``(n,)``."""
        return np.where(self.covers(as_points(points)), 0, NO_PIECE)

    def in_piece(self, points: Points, piece: NDArray[np.int_]) -> Points:
        """The new places of the points whose ``piece`` is 0, ``(n, 2)``; NaN for others."""
        return np.where((np.asarray(piece) == 0)[:, None], self(points), np.nan)

    def control_distance_m(self, points: Points) -> NDArray[np.float64]:
        """Distance ``(n,)`` in metres to the nearest control point used."""
        return self.support.distance_m(as_points(points))

    def noise_of(self, code: NDArray[np.str_]) -> NDArray[np.float64]:
        """Radial standard error ``(n,)`` in metres of control points of the given codes about the field."""
        return np.full(len(code), self.noise_m)

    def straight_length_m(self, tolerance_m: float) -> float:
        """Length of a segment [m] up to which its image is straight but for ``tolerance_m``."""
        return assumed_straight_m(tolerance_m)

    @property
    def inverse(self) -> Inverse:
        """The field from the new map back to the old one."""
        from .inverse import Inverse

        return Inverse(self, self.support.before)


def assumed_straight_m(tolerance_m: float) -> float:
    """The same of a field that only is known to stretch nowhere by more than ``LARGEST_STRAIN``."""
    return 2.0 * tolerance_m / LARGEST_STRAIN


def as_points(points: Points) -> Points:
    """``points`` as an ``(n, 2)`` float array; an empty list is no points.

    Raises
    ------
    ValueError
        If ``points`` has another shape.
    """
    array = np.asarray(points, dtype=float)
    if array.size == 0:
        return array.reshape(0, 2)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"Points must have the shape (n, 2): easting, northing; got {array.shape}.")
    return array

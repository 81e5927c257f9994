"""The way back: from the new map to the old one, by iterating on the forward field.

A shift field changes by millimetres per metre, so ``p <- p + (q - field(p))`` gains about three digits a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy
from numpy.typing import NDArray

from .contract import NO_PIECE, Points, ShiftField

TOLERANCE_M = 1e-5
"""A hundredth of the promised millimetre, and far above the rounding of National Grid coordinates."""

MOST_STEPS = 100
"""A few suffice inside; at the edge of what is covered the iteration halves its way to the edge."""

PIECES_TRIED = 8


@dataclass(frozen=True)
class Inverse:
    """The inverse of a shift field; exact to 1 mm wherever the forward field is.

    Parameters
    ----------
    forward
        The field from the old map to the new one.
    anchors
        ``(n, 2)`` old places that the field covers (its control), from which the search starts.

    Notes
    -----
    Where a break lets two old places fall on one new place, the one in the nearest control's piece is
    returned; where a break leaves a gap, there is no old place and the image is NaN.
    """

    forward: ShiftField
    anchors: Points

    def __call__(self, points: Points) -> Points:
        """The old places of ``points`` on the new map, ``(n, 2)`` metres; NaN where there is none."""
        points = np.asarray(points, dtype=float).reshape(-1, 2)
        found = np.full(points.shape, np.nan)
        open_rows = np.flatnonzero(np.isfinite(points).all(axis=1))
        for rank in range(min(PIECES_TRIED, len(self.anchors))):
            if len(open_rows) == 0:
                break
            found[open_rows] = self._found_from(points[open_rows], rank)
            open_rows = open_rows[np.isnan(found[open_rows, 0])]
        return found

    def uncertainty(self, points: Points) -> NDArray[np.float64]:
        """Radial standard error ``(n,)`` in metres of the old place."""
        return self.forward.uncertainty(self(points))

    def piece(self, points: Points) -> NDArray[np.int_]:
        """The forward field's piece that each new place came from, ``(n,)``."""
        return self.forward.piece(self(points))

    def in_piece(self, points: Points, piece: NDArray[np.int_]) -> Points:
        """The old places if each new place had moved with the given piece, ``(n, 2)``."""
        points = np.asarray(points, dtype=float).reshape(-1, 2)
        start, _ = self._start(points, 0)
        return _iterated(self.forward, points, np.asarray(piece), start)

    def control_distance_m(self, points: Points) -> NDArray[np.float64]:
        """Distance ``(n,)`` in metres from the old place to the nearest control point."""
        return self.forward.control_distance_m(self(points))

    @property
    def inverse(self) -> ShiftField:
        """The forward field again."""
        return self.forward

    @cached_property
    def _images(self) -> tuple[Points, Points, scipy.spatial.cKDTree]:
        moved = self.forward(self.anchors)
        kept = np.isfinite(moved).all(axis=1)
        return self.anchors[kept], moved[kept], scipy.spatial.cKDTree(moved[kept])

    def _start(self, points: Points, rank: int) -> tuple[Points, Points]:
        """First guess from the anchor of the given rank of nearness, and that anchor."""
        anchors, moved, tree = self._images
        rank = min(rank, len(anchors) - 1)
        nearest = tree.query(points, k=[rank + 1])[1][:, 0]
        return points - (moved[nearest] - anchors[nearest]), anchors[nearest]

    def _found_from(self, points: Points, rank: int) -> Points:
        if len(self._images[0]) == 0:
            return np.full(points.shape, np.nan)
        guess, anchor = self._start(points, rank)
        piece = self.forward.piece(anchor)
        old = _iterated(self.forward, points, piece, guess, anchor)
        return np.where((self.forward.piece(old) == piece)[:, None], old, np.nan)


def _iterated(
    forward: ShiftField, points: Points, piece: NDArray[np.int_], guess: Points, covered: Points | None = None
) -> Points:
    """Solve ``forward.in_piece(old, piece) = points`` for ``old``; NaN where it does not converge.

    A guess outside the field is halved towards the last place that was inside, at first ``covered``.
    """
    old, inside = guess.copy(), (guess if covered is None else covered).copy()
    result = np.full(points.shape, np.nan)
    rows = np.flatnonzero(piece != NO_PIECE)
    for _ in range(MOST_STEPS):
        if len(rows) == 0:
            break
        step = points[rows] - forward.in_piece(old[rows], piece[rows])
        outside = np.isnan(step[:, 0])
        done = ~outside & (np.hypot(step[:, 0], step[:, 1]) <= TOLERANCE_M)
        result[rows[done]] = old[rows[done]]
        inside[rows[~outside]] = old[rows[~outside]]
        old[rows] = np.where(outside[:, None], (old[rows] + inside[rows]) / 2, old[rows] + step)
        rows = rows[~done]
    return result

"""The thin-plate shift: the smoothest surface through control; local where control is plenty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .contract import Control, Points
from .exact import DistanceError, Exact
from .support import Support
from .trend import Frame

MOST_WHOLE = 1000
"""Control up to here is solved at once; more is solved around each place, so that no matrix grows with it."""

NEIGHBOURS = 48
ROWS_AT_ONCE = 2048


@dataclass(frozen=True)
class ThinPlate(Exact):
    """The thin-plate spline through control.

    Examples
    --------
    >>> before = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [100.0, 100.0], [50.0, 50.0]])
    >>> ThinPlate.fit(Control(before, before + 1.0))(np.array([[30.0, 40.0]])).round(6)
    array([[31., 41.]])

    Notes
    -----
    Source: Duchon (1977); the kernel is ``r^2 log r`` with a linear trend. With more than ``MOST_WHOLE``
    control points the spline of the nearest ``NEIGHBOURS`` is taken at each place.
    """

    frame: Frame
    whole: NDArray[np.float64] | None

    name = "thin-plate spline"

    @classmethod
    def _built(cls, control: Control, error: DistanceError) -> Self:
        frame = Frame.of(control.before)
        whole = _solved(frame(control.before), control.shift) if len(control) <= MOST_WHOLE else None
        return cls(control, Support.around(control.before), error, frame, whole)

    def shift_at(self, points: Points) -> Points:
        """New minus old ``(n, 2)`` in metres."""
        starts = range(0, len(points), ROWS_AT_ONCE)
        parts = [self._shift_of(points[start : start + ROWS_AT_ONCE]) for start in starts]
        return np.concatenate(parts) if parts else np.empty((0, 2))

    def _shift_of(self, points: Points) -> Points:
        if self.whole is None:
            return self._local(points)
        terms = _terms(self.frame(points), self.frame(self.control.before))
        # Summed row by row: a matrix product rounds differently in batches of different size.
        return np.stack([(terms * column).sum(axis=1) for column in self.whole.T], axis=1)

    def _local(self, points: Points) -> Points:
        rows = self.support.tree.query(points, NEIGHBOURS)[1]
        centre = points[:, None]
        near = self.control.before[rows] - centre
        near /= np.abs(near).max(axis=(1, 2), keepdims=True)
        solved = _solved(near, self.control.shift[rows])
        terms = _terms(np.zeros((len(points), 1, 2)), near)[:, 0]
        return np.stack([(terms * solved[..., axis]).sum(axis=1) for axis in (0, 1)], axis=1)


def _solved(unit: Points, shift: Points) -> NDArray[np.float64]:
    """Weights of the kernels and of the trend, ``(..., n + 3, 2)``."""
    upper = _terms(unit, unit)
    trend = upper[..., -3:]
    below = np.concatenate([np.swapaxes(trend, -1, -2), np.zeros((*unit.shape[:-2], 3, 3))], axis=-1)
    right = np.concatenate([shift, np.zeros((*shift.shape[:-2], 3, 2))], axis=-2)
    return np.linalg.solve(np.concatenate([upper, below], axis=-2), right)


def _terms(places: Points, centres: Points) -> NDArray[np.float64]:
    """Kernels about ``centres (..., n, 2)`` and the linear trend at ``places (..., m, 2)``: ``(..., m, n + 3)``."""
    offset = places[..., :, None, :] - centres[..., None, :, :]
    square = offset[..., 0] ** 2 + offset[..., 1] ** 2
    kernel = 0.5 * square * np.log(np.maximum(square, 1e-300))
    return np.concatenate([kernel, np.ones((*places.shape[:-1], 1)), places], axis=-1)

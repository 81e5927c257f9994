"""A trend, then what it leaves: two methods in a row, as one field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .contract import Control, Points
from .one_piece import OnePiece
from .support import Support

Fit = Callable[[Control], OnePiece]


@dataclass(frozen=True)
class Chain(OnePiece):
    """The sum of a trend's shift and the shift of what the trend leaves.

    Parameters
    ----------
    trend, residual
        The two fields, both functions of the old place.

    Examples
    --------
    >>> from transforms.similarity import Similarity
    >>> from transforms.triangulated import Triangulated
    >>> before = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [100.0, 100.0]])
    >>> field = Chain.fit(Control(before, before + 2.0), Similarity.fit, Triangulated.fit)
    >>> field(np.array([[30.0, 40.0]])).round(6)
    array([[32., 42.]])
    """

    trend: OnePiece
    residual: OnePiece
    support: Support
    noise_m: float

    @classmethod
    def fit(cls, control: Control, fit_trend: Fit, fit_residual: Fit) -> Self:
        """Fit the trend to control, then the residual method to what the trend leaves.

        Raises
        ------
        ControlError
            If either method refuses the control.
        """
        trend = fit_trend(control)
        left = Control(control.before, control.after - trend.shift_at(control.before), control.code, control.accuracy_m)
        residual = fit_residual(left)
        return cls(trend, residual, residual.support, residual.noise_m)

    def covers(self, points: Points) -> NDArray[np.bool_]:
        """Which points the residual covers, ``(n,)``."""
        return self.residual.covers(points)

    def shift_at(self, points: Points) -> Points:
        """New minus old ``(n, 2)`` in metres."""
        return self.trend.shift_at(points) + self.residual.shift_at(points)

    def error_at(self, points: Points) -> NDArray[np.float64]:
        """Radial standard error ``(n,)`` in metres: the residual's, which was measured with the trend in place."""
        return self.residual.error_at(points)

"""The similarity (Helmert) shift: one offset, rotation and scale for all places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .contract import Control, Points
from .errors import ControlError
from .support import Support, count_places
from .trend import Frame, Trend

LEAST_PLACES = 3
"""Two places fix the four coefficients; the third shows how well they hold."""


@dataclass(frozen=True)
class Similarity(Trend):
    """A shift that keeps shapes: ``shift = a + [[p, -q], [q, p]] place``.

    Examples
    --------
    >>> before = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]])
    >>> turned = np.stack([-before[:, 1], before[:, 0]], axis=1)
    >>> Similarity.fit(Control(before, turned))(np.array([[10.0, 5.0]])).round(6)
    array([[-5., 10.]])
    """

    @classmethod
    def fit(cls, control: Control) -> Self:
        """Fit by least squares, in closed form about the centre of control.

        Parameters
        ----------
        control
            At least three different places.

        Raises
        ------
        ControlError
            If there are fewer.
        """
        places = count_places(control.before)
        if places < LEAST_PLACES:
            raise ControlError(
                f"The similarity needs control at {LEAST_PLACES} or more different places to fit and to check "
                f"itself; {places} given. Add control."
            )
        frame = Frame.of(control.before)
        unit = frame(control.before)
        middle, spread = unit.mean(axis=0), float(((unit - unit.mean(axis=0)) ** 2).sum())
        coefficients = _helmert(unit - middle, control.shift, spread, middle)
        residuals = control.shift - np.column_stack([np.ones(len(unit)), unit]) @ coefficients
        residual_m = float(np.sqrt((residuals**2).sum() / (len(unit) - 2)))
        cofactor = _cofactor(len(unit), middle, spread)
        return cls(frame, coefficients, cofactor, residual_m, Support.around(control.before))

    def _basis(self, unit: Points) -> list[NDArray[np.float64]]:
        return [np.ones(len(unit)), unit[:, 0], unit[:, 1]]


def _helmert(centred: Points, shift: Points, spread: float, middle: NDArray[np.float64]) -> NDArray[np.float64]:
    scale = float((centred * shift).sum()) / spread
    turn = float((centred[:, 0] * shift[:, 1] - centred[:, 1] * shift[:, 0]).sum()) / spread
    slopes = np.array([[scale, turn], [-turn, scale]])
    return np.vstack([shift.mean(axis=0) - middle @ slopes, slopes])


def _cofactor(count: int, middle: NDArray[np.float64], spread: float) -> NDArray[np.float64]:
    """Leverage ``1/n + |place - middle|^2 / spread`` as a quadratic form in (1, easting, northing)."""
    cofactor = np.eye(3) / spread
    cofactor[0, 0] = 1.0 / count + float(middle @ middle) / spread
    cofactor[0, 1:] = cofactor[1:, 0] = -middle / spread
    return cofactor

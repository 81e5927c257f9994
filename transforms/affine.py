"""The affine shift: one offset, rotation, scale and skew for all places."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from .contract import Control, Points
from .trend import Trend


class Affine(Trend):
    """A shift linear in place: ``shift = a + B place``.

    Examples
    --------
    >>> before = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [100.0, 100.0]])
    >>> field = Affine.fit(Control(before, before * 1.01 + 5.0))
    >>> field(np.array([[50.0, 50.0]])).round(6)
    array([[55.5, 55.5]])
    """

    @classmethod
    def fit(cls, control: Control) -> Self:
        """Fit by least squares.

        Parameters
        ----------
        control
            At least four different places, not on one line.

        Raises
        ------
        ControlError
            If there are fewer, or all lie on one line.
        """
        return cls._solved(control, _linear, "affine")

    def _basis(self, unit: Points) -> list[NDArray[np.float64]]:
        return _linear(unit)


def _linear(unit: Points) -> list[NDArray[np.float64]]:
    return [np.ones(len(unit)), unit[:, 0], unit[:, 1]]

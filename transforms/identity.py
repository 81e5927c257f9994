"""The shift of nothing: what every other method has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .contract import Control, Points
from .errors import ControlError
from .one_piece import OnePiece
from .support import Support


@dataclass(frozen=True)
class Identity(OnePiece):
    """Leaves every place where it is, and says how wrong that is.

    Examples
    --------
    >>> Identity.fit(Control(np.zeros((1, 2)), np.array([[3.0, 4.0]]))).error_m
    5.0
    """

    support: Support
    error_m: float

    noise_m = 0.0

    @classmethod
    def fit(cls, control: Control) -> Self:
        """Measure how far control moves.

        Raises
        ------
        ControlError
            If there is no control.
        """
        if len(control) == 0:
            raise ControlError("There is no control: nothing says where the map moved. Give control points.")
        return cls(Support.around(control.before), float(np.sqrt((control.shift**2).sum(axis=1).mean())))

    def shift_at(self, points: Points) -> Points:
        """Nothing, ``(n, 2)``."""
        return np.zeros(points.shape)

    def error_at(self, points: Points) -> NDArray[np.float64]:
        """The root mean square shift of control ``(n,)`` in metres."""
        return np.full(len(points), self.error_m)

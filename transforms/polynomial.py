"""The polynomial shift: a cubic of place (or another degree)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .contract import Control, Points
from .trend import Trend


@dataclass(frozen=True)
class Polynomial(Trend):
    """A shift polynomial in easting and northing.

    Examples
    --------
    >>> before = np.array([[e, n] for e in range(0, 500, 100) for n in range(0, 500, 100)], dtype=float)
    >>> bent = before + np.stack([1e-5 * before[:, 0] ** 2, 0.0 * before[:, 1]], axis=1)
    >>> Polynomial.fit(Control(before, bent))(np.array([[250.0, 250.0]])).round(6)
    array([[250.625, 250.   ]])
    """

    degree: int = 3

    @classmethod
    def fit(cls, control: Control, degree: int = 3) -> Self:
        """Fit by least squares.

        Parameters
        ----------
        control
            More different places than the polynomial has terms, ``(degree + 1)(degree + 2) / 2``.
        degree
            Highest power of place; 3 by default.

        Raises
        ------
        ControlError
            If there are fewer, or they lie on a curve that leaves a term undetermined.
        """
        solved = cls._solved(control, partial(_powers, degree=degree), f"polynomial of degree {degree}")
        values = {name: getattr(solved, name) for name in solved.__dataclass_fields__}
        return cls(**{**values, "degree": degree})

    def _basis(self, unit: Points) -> list[NDArray[np.float64]]:
        return _powers(unit, self.degree)


def _powers(unit: Points, degree: int) -> list[NDArray[np.float64]]:
    easts, norths = [np.ones(len(unit))], [np.ones(len(unit))]
    for _ in range(degree):
        easts.append(easts[-1] * unit[:, 0])
        norths.append(norths[-1] * unit[:, 1])
    return [easts[total - j] * norths[j] for total in range(degree + 1) for j in range(total + 1)]

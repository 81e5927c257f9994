"""A shift that is linear in a few coefficients, by least squares: what similarity, affine and polynomial share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .contract import Control, Points
from .errors import ControlError
from .one_piece import OnePiece
from .support import Support, count_places

Basis = Callable[[Points], list[NDArray[np.float64]]]
"""Places in the unit frame -> the basis functions there, one ``(n,)`` array each."""

LARGEST_CONDITION = 1e6
"""In the unit frame a well-spread control has a condition number under 100; past this it is collinear."""


@dataclass(frozen=True)
class Frame:
    """The unit frame of control: its centre and half-width, so that no result depends on the origin."""

    centre: NDArray[np.float64]
    half_width_m: float

    @classmethod
    def of(cls, points: Points) -> Frame:
        """The frame around ``points``."""
        low, high = points.min(axis=0), points.max(axis=0)
        return cls((low + high) / 2, max(float((high - low).max()) / 2, 1e-3))

    def __call__(self, points: Points) -> Points:
        """``points`` in the unit frame: within -1 and 1 over control."""
        return (points - self.centre) / self.half_width_m


@dataclass(frozen=True)
class Trend(OnePiece):
    """Base of the fields whose shift is a least-squares sum of basis functions; subclasses name the basis.

    Notes
    -----
    The standard error of a place is that of a new control point there, ``s sqrt(1 + h)`` with ``h`` the
    leverage: what a stiff trend cannot follow is the larger part of its error, and only the residuals show it.
    """

    frame: Frame
    coefficients: NDArray[np.float64]
    cofactor: NDArray[np.float64]
    residual_m: float
    support: Support

    noise_m = 0.0

    def shift_at(self, points: Points) -> Points:
        """New minus old ``(n, 2)`` in metres."""
        terms = self._basis(self.frame(points))
        return np.stack([_weighted(terms, column) for column in self.coefficients.T], axis=1)

    def error_at(self, points: Points) -> NDArray[np.float64]:
        """Radial standard error ``(n,)`` in metres of a control point predicted there."""
        terms = self._basis(self.frame(points))
        leverage = sum(term * _weighted(terms, row) for term, row in zip(terms, self.cofactor, strict=True))
        return self.residual_m * np.sqrt(1.0 + leverage)

    def _basis(self, unit: Points) -> list[NDArray[np.float64]]:
        raise NotImplementedError

    @classmethod
    def _solved(cls, control: Control, basis: Basis, name: str) -> Self:
        least = len(basis(np.zeros((1, 2)))) + 1
        places = count_places(control.before)
        if places < least:
            raise ControlError(
                f"The {name} needs control at {least} or more different places to fit and to check itself; "
                f"{places} given. Add control or choose a simpler method."
            )
        frame = Frame.of(control.before)
        design = np.stack(basis(frame(control.before)), axis=1)
        if np.linalg.cond(design) > LARGEST_CONDITION:
            raise ControlError(
                f"The {name} cannot be fitted to {places} control places that lie on one line. "
                "Add control to either side of the line."
            )
        coefficients = np.asarray(np.linalg.lstsq(design, control.shift, rcond=None)[0], dtype=float)
        residuals = control.shift - design @ coefficients
        freedom = len(design) - design.shape[1]
        residual_m = float(np.sqrt((residuals**2).sum() / freedom))
        cofactor = np.asarray(np.linalg.inv(design.T @ design), dtype=float)
        return cls(frame, coefficients, cofactor, residual_m, Support.around(control.before))


def _weighted(terms: list[NDArray[np.float64]], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    # Term by term and not as a matrix product: BLAS rounds a row differently in batches of different size.
    total = terms[0] * weights[0]
    for term, weight in zip(terms[1:], weights[1:], strict=True):
        total = total + term * weight
    return total

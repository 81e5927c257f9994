"""Standard errors that hold: what hold-out says they must be multiplied by, inland and at the rim of control.

At the rim control lies on one side only; there the field errs by more than its covariance foresees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from qa.accuracy import HeldOut
from transforms.contract import Points
from transforms.one_piece import CIRCULAR_95
from transforms.support import mean_spacing_m

Floats = NDArray[np.float64]

LEAST_TESTED = 100
LEAST_AT_RIM = 40
WIDEST = 3.0
RIM_SPACINGS = 2.0
"""Width of the rim: the field's reach beyond it, and what a block held out takes with it."""

AT_RIM = 0.5
"""Weight from which a place counts as lying at the rim: within half of its width."""


@dataclass(frozen=True)
class Rim:
    """The outer land of control, where it lies on one side only.

    Parameters
    ----------
    sides
        ``(k, 3)`` half-planes of the convex hull of control; empty where it has none.
    middle
        ``(2,)`` metres, about which the half-planes are given.
    width_m
        How far the rim reaches inwards.
    """

    sides: Floats
    middle: Floats
    width_m: float

    @classmethod
    def of(cls, before: Points) -> Self:
        """The rim of control at ``before`` ``(n, 2)``."""
        middle = before.mean(axis=0)
        try:
            sides = ConvexHull(before - middle).equations if len(before) > 2 else np.empty((0, 3))
        except QhullError:
            sides = np.empty((0, 3))
        return cls(sides, middle, RIM_SPACINGS * mean_spacing_m(before))

    def weight(self, points: Points) -> Floats:
        """1 on the hull and beyond, falling to 0 where the rim ends, ``(n,)``."""
        inside_m = np.full(len(points), np.inf)
        for east, north, offset in self.sides:
            centred = points - self.middle
            np.minimum(inside_m, -(centred[:, 0] * east + centred[:, 1] * north + offset), out=inside_m)
        return np.clip(1.0 - inside_m / max(self.width_m, 1e-9), 0.0, 1.0)


@dataclass(frozen=True)
class Calibration:
    """Factors on stated standard errors.

    Parameters
    ----------
    rim
        Where the second factor applies.
    noise
        Factor on the standard error of control.
    field
        Factor on the field's own; where control errs less than was thought, it is narrowed only by the field's share
        in that error, for the rest tells nothing about the field.
    at_rim
        Further factor on the field's own standard error on the hull; it fades across the rim.
    """

    rim: Rim
    noise: float = 1.0
    field: float = 1.0
    at_rim: float = 1.0

    @classmethod
    def of(cls, held_out: HeldOut, places: Points, rim: Rim) -> Self:
        """The factors that put 95 % of held-out control within the stated 95 % radius, inland and at the rim.

        Parameters
        ----------
        held_out
            Control predicted without itself; factors stay 1 where it is too little to tell.
        places
            ``(n, 2)`` where that control lies.
        rim
            The rim of all control.
        """
        known = held_out.covered & (held_out.stated_m > 0)
        if known.sum() < LEAST_TESTED:
            return cls(rim)
        weight = rim.weight(places)
        inland = known & (weight == 0.0)
        noise, field = _factors(held_out, inland if inland.sum() >= LEAST_TESTED else known)
        at_rim = known & (weight >= AT_RIM) & (held_out.uncertainty_m > 0)
        if at_rim.sum() < LEAST_AT_RIM:
            return cls(rim, noise, field)
        return cls(rim, noise, field, _at_rim(held_out, at_rim, weight, noise, field))

    @property
    def factors(self) -> dict[str, float]:
        """The three factors by name, for files and reports."""
        return {"noise": self.noise, "field": self.field, "at_rim": self.at_rim}

    def factor_at(self, points: Points) -> Floats:
        """Factor ``(n,)`` on the field's own standard error at each point."""
        return self.field * (1.0 + (self.at_rim - 1.0) * self.rim.weight(points))

    def stated_m(self, held_out: HeldOut, places: Points) -> Floats:
        """The standard errors ``(n,)`` of ``held_out``, noise included, as calibrated."""
        return np.hypot(self.factor_at(places) * held_out.uncertainty_m, self.noise * held_out.noise_m)


def _factors(held_out: HeldOut, rows: NDArray[np.bool_]) -> tuple[float, float]:
    """The factors on noise and field with which 95 % of the control at ``rows`` is within."""
    ratio = held_out.error_m[rows] / (CIRCULAR_95 * held_out.stated_m[rows])
    factor = float(np.clip(np.quantile(ratio, 0.95), 1.0 / WIDEST, WIDEST))
    share = float(np.median((held_out.uncertainty_m[rows] / held_out.stated_m[rows]) ** 2))
    return factor, factor if factor >= 1.0 else factor**share


def _at_rim(held_out: HeldOut, rows: NDArray[np.bool_], weight: Floats, noise: float, field: float) -> float:
    """The further factor on the hull with which 95 % of the control at the rim is within; never below 1."""
    needed_m2 = (held_out.error_m[rows] / CIRCULAR_95) ** 2 - (noise * held_out.noise_m[rows]) ** 2
    factor = np.sqrt(np.maximum(needed_m2, 0.0)) / (field * held_out.uncertainty_m[rows])
    on_hull = 1.0 + (factor - 1.0) / weight[rows]
    found = float(np.clip(np.quantile(on_hull, 0.95), 1.0, WIDEST))
    # The few worst of a few dozen decide it: it counts by how many there are.
    return 1.0 + (found - 1.0) * rows.sum() / (rows.sum() + LEAST_TESTED)


def cross_calibrated_m(held_out: HeldOut, places: Points, rim: Rim) -> Floats:
    """Standard errors ``(n,)`` of held-out control, each calibrated on the other half of the blocks.

    Judged on the control that set it, a calibration is always right.
    """
    stated_m = np.empty(len(places))
    half = np.unique(held_out.block, return_inverse=True)[1].ravel() % 2
    for number in (0, 1):
        others = Calibration.of(held_out.take(half != number), places[half != number], rim)
        rows = half == number
        stated_m[rows] = others.stated_m(held_out.take(rows), places[rows])
    return stated_m

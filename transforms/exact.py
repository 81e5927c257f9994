"""What the exact interpolators share: control with coincident places merged, and an error learnt by hold-out.

An exact interpolator has no error of its own to report; how wrong it is between control is measured by leaving
control out, as a function of the distance to the nearest control that was kept.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from .contract import Control, Points
from .errors import ControlError
from .one_piece import OnePiece
from .support import Support, mean_spacing_m

FOLDS = 5
MOST_TESTED = 4000
"""Control left out for the error; more would not change the two figures that describe it."""


@dataclass(frozen=True)
class DistanceError:
    """Radial standard error as a function of distance to control: ``sqrt(base + slope (d / spacing)^2)``."""

    base_m2: float
    slope_m2: float
    spacing_m: float

    def __call__(self, distance_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Radial standard error ``(n,)`` in metres at the given distances from control."""
        return np.sqrt(self.base_m2 + self.slope_m2 * (distance_m / self.spacing_m) ** 2)


@dataclass(frozen=True)
class Exact(OnePiece):
    """Base of the exact interpolators; subclasses interpolate in ``_built``.

    Parameters
    ----------
    control
        Control with coincident places merged.
    support
        Where it covers.
    error
        What hold-out says of its error.
    """

    control: Control
    support: Support
    error: DistanceError

    noise_m = 0.0
    name = "exact interpolator"
    least_places = 4

    @classmethod
    def fit(cls, control: Control) -> Self:
        """Fit to control; coincident control counts as one point at its mean.

        Raises
        ------
        ControlError
            If there is too little control, or all of it on one line.
        """
        merged = merged_control(control)
        if len(merged) < cls.least_places or _is_collinear(merged.before):
            raise ControlError(
                f"The {cls.name} needs control at {cls.least_places} or more different places that are not on "
                f"one line; {len(merged)} given. Add control or choose a simpler method."
            )
        return cls._built(merged, _held_out_error(cls, merged))

    @classmethod
    @abstractmethod
    def _built(cls, control: Control, error: DistanceError) -> Self:
        """The interpolator of merged control."""

    def error_at(self, points: Points) -> NDArray[np.float64]:
        """Radial standard error ``(n,)`` in metres, noise of control included."""
        return self.error(self.support.distance_m(points))


def merged_control(control: Control) -> Control:
    """Control with every place once, its new place the mean of those given."""
    before, first, row = np.unique(control.before, axis=0, return_index=True, return_inverse=True)
    if len(before) == len(control):
        return control
    count = np.bincount(row.ravel())
    shift = [np.bincount(row.ravel(), column) / count for column in control.shift.T]
    return Control(before, before + np.stack(shift, axis=1), control.code[first], control.accuracy_m[first])


def _is_collinear(points: Points) -> bool:
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(spread[1] <= 1e-6 * spread[0])


def _held_out_error(method: type[Exact], control: Control) -> DistanceError:
    """Fit the error of ``method`` to the squared misses of control left out, fold by fold."""
    spacing_m = mean_spacing_m(control.before)
    unknown = DistanceError(0.0, 0.0, spacing_m)
    fold = np.random.default_rng(0).permutation(len(control)) % FOLDS
    squared, distance = [], []
    for number in range(FOLDS):
        kept = control.take(fold != number)
        if len(kept) < method.least_places - 1 or _is_collinear(kept.before):
            continue
        test = control.take(np.flatnonzero(fold == number)[: MOST_TESTED // FOLDS])
        field = method._built(kept, unknown)
        squared.append(((field(test.before) - test.after) ** 2).sum(axis=1))
        distance.append(field.control_distance_m(test.before))
    return _fitted_error(np.concatenate([[np.nan], *squared]), np.concatenate([[0.0], *distance]), control, spacing_m)


def _fitted_error(
    squared: NDArray[np.float64], distance: NDArray[np.float64], control: Control, spacing_m: float
) -> DistanceError:
    known = np.isfinite(squared)
    if known.sum() < 2:  # hardly any control: what the shift itself varies by, and no less
        return DistanceError(float(control.shift.var(axis=0, ddof=1).sum()), 0.0, spacing_m)
    terms = np.stack([np.ones(known.sum()), (distance[known] / spacing_m) ** 2], axis=1)
    base, slope = nnls(terms, squared[known])[0]
    return DistanceError(float(base), float(slope), spacing_m)

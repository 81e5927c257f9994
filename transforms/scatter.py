"""Where control scatters more than distance and its noise explain: resurveyed places that no smooth field can follow.

In a resurveyed town every building moved a little of its own. A covariance for all control takes that for noise
of control, or follows it from building to building; but it is the land that scatters, so between control points the
error of the field is larger there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .contract import Control, Points
from .covariance import Covariance, matern, trend_design
from .support import query_threads
from .trend import Frame

NEIGHBOURS = 32
COMPARED = slice(8, 11)
"""Each control point is compared with its eighth to tenth neighbour: nearer ones are often corners of one building,
which moved together."""

BEYOND_CHANCE = 2.5
"""Standard deviations by which a local mean square must pass what is expected before it counts."""

LEAST_LOOSENESS = 0.25
"""Control that the field follows more closely than this says little of its surroundings' scatter."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scatter:
    """Variance of the shift that neither distance nor the noise of control explains, by place.

    Parameters
    ----------
    tree
        The control places.
    excess_m2
        ``(n,)`` radial variance in square metres about each control point.
    """

    tree: cKDTree
    excess_m2: Floats

    @classmethod
    def of(cls, control: Control, covariance: Covariance, residual: Points, error_m: Floats) -> Self:
        """The scatter that control shows about the field, or, where the field follows each point, among neighbours.

        Parameters
        ----------
        control
            Control of one piece.
        covariance
            What the shift and its noise are expected to vary by.
        residual
            ``(n, 2)`` shift of control less that of the field, metres.
        error_m
            ``(n,)`` radial standard error of the field there.
        """
        tree = cKDTree(control.before)
        if len(control) < NEIGHBOURS:
            return cls(tree, np.zeros(len(control)))
        apart_m, near = tree.query(control.before, NEIGHBOURS, workers=query_threads(len(control)))
        noise_m2 = covariance.variance_m2.sum() * covariance.noise(control.code)
        about = _about_the_field(residual, error_m, noise_m2, near)
        return cls(tree, np.maximum(about, _among_neighbours(control, covariance, apart_m, near)))

    def at(self, points: Points) -> NDArray[np.float64]:
        """Radial variance ``(n,)`` in square metres at places: that about the nearest control point."""
        return self.excess_m2[self.tree.query(points, workers=query_threads(len(points)))[1]]


def _about_the_field(residual: Points, error_m: Floats, noise_m2: Floats, near: NDArray[np.int_]) -> Floats:
    """Excess of the mean squared residual; under noise alone that is the noise variance less the field's."""
    looseness = np.maximum(1.0 - error_m**2 / np.maximum(noise_m2, 1e-12), LEAST_LOOSENESS)
    seen = ((residual**2).sum(axis=1) / looseness)[near].mean(axis=1)
    return _excess(seen, noise_m2[near].mean(axis=1))


def _among_neighbours(control: Control, covariance: Covariance, apart_m: Floats, near: NDArray[np.int_]) -> Floats:
    """Excess of half the squared differences over the variogram at their distance plus their noise."""
    pair = near[:, COMPARED]
    trend = trend_design(Frame.of(control.before)(control.before))
    about_trend = control.shift - trend @ np.linalg.lstsq(trend, control.shift, rcond=None)[0]
    half_square = 0.5 * ((about_trend[pair] - about_trend[:, None]) ** 2).sum(axis=2)
    noise = covariance.noise(control.code)
    unlike = 1.0 - matern(apart_m[:, COMPARED] / covariance.length_m, covariance.smoothness)
    expected = covariance.variance_m2.sum() * (unlike + 0.5 * (noise[pair] + noise[:, None]))
    seen = half_square.mean(axis=1)[near].mean(axis=1)
    return _excess(seen, expected.mean(axis=1)[near].mean(axis=1))


def _excess(seen: Floats, foreseen: Floats) -> Floats:
    # The mean of n squared radii of a circular normal error varies by its own size over root n.
    by_chance = foreseen * (1.0 + BEYOND_CHANCE / np.sqrt(NEIGHBOURS))
    return np.where(seen > by_chance, seen - foreseen, 0.0)

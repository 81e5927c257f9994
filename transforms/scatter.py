"""Where control scatters more than its noise explains: resurveyed places that no smooth field can follow.

In a resurveyed town every building moved a little of its own. A covariance for all control takes that for noise
of control; but it is the land that scatters, so the error of the field is larger there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .contract import Points
from .support import query_threads

NEIGHBOURS = 32
BEYOND_CHANCE = 2.5
"""Standard deviations by which a local mean square must pass the noise before it counts."""

LEAST_LOOSENESS = 0.25
"""Control that the field follows more closely than this says little of its surroundings' scatter."""


@dataclass(frozen=True)
class Scatter:
    """Variance of the shift that neither the field nor the noise of control explains, by place.

    Parameters
    ----------
    tree
        The control places.
    excess_m2
        ``(n,)`` radial variance in square metres about each control point.
    """

    tree: cKDTree
    excess_m2: NDArray[np.float64]

    @classmethod
    def of(cls, before: Points, residual: Points, error_m: NDArray[np.float64], noise_m: float) -> Self:
        """The scatter that residuals show among neighbouring control.

        Parameters
        ----------
        before
            ``(n, 2)`` control places in metres.
        residual
            ``(n, 2)`` shift of control less that of the field, metres.
        error_m
            ``(n,)`` radial standard error of the field there. The field leans towards its own control: under noise
            alone a squared residual is the noise variance less the field's.
        noise_m
            Radial standard error of one control point.
        """
        tree = cKDTree(before)
        if len(before) < NEIGHBOURS:
            return cls(tree, np.zeros(len(before)))
        near = tree.query(before, NEIGHBOURS, workers=query_threads(len(before)))[1]
        looseness = np.maximum(1.0 - (error_m / noise_m) ** 2, LEAST_LOOSENESS)
        mean_square = ((residual**2).sum(axis=1) / looseness)[near].mean(axis=1)
        # The mean of n squared radii of a circular normal error varies by its own size over root n.
        by_chance = noise_m**2 * (1.0 + BEYOND_CHANCE / np.sqrt(NEIGHBOURS))
        return cls(tree, np.where(mean_square > by_chance, mean_square - noise_m**2, 0.0))

    def at(self, points: Points) -> NDArray[np.float64]:
        """Radial variance ``(n,)`` in square metres at places: that about the nearest control point."""
        return self.excess_m2[self.tree.query(points, workers=query_threads(len(points)))[1]]

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
from .covariance import Covariance, matern
from .support import query_threads

NEIGHBOURS = 32
CLOSEST = 4
"""Each control point is compared with so many others; among neighbours of a neighbourhood the pairs are counted."""

OUTER_SHARE = 0.8
_MEAN_OVER_QUANTILE = -1.0 / np.log(1.0 - OUTER_SHARE)
"""From that quantile of squared radii of a circular normal difference to their mean, which bad control would swell."""

BEYOND_CHANCE = 2.5
"""Standard deviations by which a local mean square must pass what is expected before it counts."""


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
    excess_m2: NDArray[np.float64]

    @classmethod
    def of(cls, control: Control, covariance: Covariance) -> Self:
        """The scatter that differences of shift between neighbouring control show.

        Half the squared difference of two shifts is, on average, the variogram at their distance plus their noise.

        Parameters
        ----------
        control
            Control of one piece.
        covariance
            What the shift and its noise are expected to vary by.
        """
        before = control.before
        tree = cKDTree(before)
        if len(before) < NEIGHBOURS:
            return cls(tree, np.zeros(len(before)))
        apart_m, near = tree.query(before, NEIGHBOURS, workers=query_threads(len(before)))
        pair = near[:, 1 : CLOSEST + 1]
        half_square = 0.5 * ((control.shift[pair] - control.shift[:, None]) ** 2).sum(axis=2)
        noise = covariance.noise(control.code)
        unlike = 1.0 - matern(apart_m[:, 1 : CLOSEST + 1] / covariance.length_m, covariance.smoothness)
        expected = covariance.variance_m2.sum() * (unlike + 0.5 * (noise[pair] + noise[:, None]))
        seen = _MEAN_OVER_QUANTILE * np.quantile(half_square[near].reshape(len(before), -1), OUTER_SHARE, axis=1)
        foreseen = expected.mean(axis=1)[near].mean(axis=1)
        by_chance = foreseen * (1.0 + BEYOND_CHANCE / np.sqrt(NEIGHBOURS))
        return cls(tree, np.where(seen > by_chance, seen - foreseen, 0.0))

    def at(self, points: Points) -> NDArray[np.float64]:
        """Radial variance ``(n,)`` in square metres at places: that about the nearest control point."""
        return self.excess_m2[self.tree.query(points, workers=query_threads(len(points)))[1]]

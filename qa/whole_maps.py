"""Where the base maps show all there is, as far as the control can tell: it is of corners of the map.

A map of buildings alone, or one of every other feature, shows nothing wrong. But what lies away from its lines may do
so because the line it belongs to is not shown, because what it marked is gone, or because it is misplaced.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from qa.base_maps import BaseMaps
from transforms.contract import Points

AT_A_LINE_M = 0.6
"""Control no further from a line is a corner of it, mapped a little off."""

_WHOLE_RATIO = 0.8
"""Of the control 96 % or more lies on lines of whole maps (9 boroughs), of maps that show half of their features 60 %,
of a tenth 11 %.
"""

_ASKED, _ASKED_WITHIN_M = 30, 1000.0
"""So many of the nearest are asked: where six in ten lie on lines, among thirty eight in ten hardly ever do."""


@dataclass(frozen=True)
class WholeMaps:
    """Which control lies on lines of both maps.

    Parameters
    ----------
    tree
        The places of the control on the old map.
    is_on_both
        ``(n,)`` whether each lies on a line of either map.
    """

    tree: cKDTree
    is_on_both: NDArray[np.bool_]

    @classmethod
    def of(cls, base: BaseMaps, before: Points, after: Points) -> WholeMaps:
        """By control at ``before`` and ``after``, ``(n, 2)`` metres each, that was not taken from the maps."""
        on_old, on_new = (
            edition.line_distance_m(places, AT_A_LINE_M) <= AT_A_LINE_M
            for edition, places in ((base.before, before), (base.after, after))
        )
        return cls(cKDTree(before), on_old & on_new)

    def at(self, points: Points) -> NDArray[np.bool_]:
        """Whether nearly all control near each of ``points`` ``(n, 2)`` lies on lines of both; False where none is
        near, and where a point is no place.
        """
        is_whole = np.zeros(len(points), dtype=bool)
        there = np.flatnonzero(np.isfinite(points).all(axis=1))
        distance_m, near = self.tree.query(points[there], k=_ASKED, distance_upper_bound=_ASKED_WITHIN_M)
        asked = np.isfinite(distance_m).sum(axis=1)
        on_both = np.append(self.is_on_both, False)[near].sum(axis=1)
        is_whole[there] = (asked > 0) & (on_both >= _WHOLE_RATIO * asked)
        return is_whole

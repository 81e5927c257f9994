"""Where control supports a shift: the places a field may speak about, and how far the nearest control is.

The rule is the same for every method, so that a contest between methods compares like with like. A place is
covered when control lies within ``REACH_SPACINGS`` times the spacing of control thereabouts; beyond the
convex hull of control, within half of that. A strip of a few spacings between two dense blocks is therefore
covered, an area far from all control is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy
from numpy.typing import NDArray

from .complex_places import is_place
from .contract import Points

REACH_SPACINGS = 3.0
"""A void of six spacings is still crossed: a link-poor strip of 200 m where control stands 35 m apart."""

EDGE_SHARE = 0.5
"""Beyond the hull nothing pulls from the other side: half the reach."""

LOCAL_NEIGHBOURS = 8
MANY = 50_000
LARGEST_LOCAL_SPACING = 2.0
"""A lone control point far from the rest must not claim all the land between: at most twice the mean spacing."""


@dataclass(frozen=True)
class Support:
    """Control places and how far around each the field reaches.

    Parameters
    ----------
    before
        ``(n, 2)`` easting, northing in metres of control on the old map.
    reach_m
        ``(n,)`` distance in metres within which each supports the field.
    """

    before: Points
    reach_m: NDArray[np.float64]

    @classmethod
    def around(cls, before: Points, least_reach_m: float = 0.0) -> Support:
        """The support that control at ``before`` gives, at least ``least_reach_m`` around each point."""
        reach_m = np.maximum(REACH_SPACINGS * local_spacing_m(before), least_reach_m)
        return cls(before, reach_m)

    @cached_property
    def tree(self) -> scipy.spatial.cKDTree:
        """The control places, for nearest-neighbour queries."""
        return scipy.spatial.cKDTree(self.before)

    @cached_property
    def hull(self) -> NDArray[np.float64]:
        """``(m, 3)`` half-planes of the convex hull; empty where control is collinear."""
        try:
            return scipy.spatial.ConvexHull(self.before).equations if len(self.before) > 2 else np.empty((0, 3))
        except scipy.spatial.QhullError:
            return np.empty((0, 3))

    def distance_m(self, points: Points) -> NDArray[np.float64]:
        """Distance ``(n,)`` in metres to the nearest control; infinite for what is no place."""
        return self._nearest(points)[0]

    def covers(self, points: Points) -> NDArray[np.bool_]:
        """Which ``points`` are near enough to control to be spoken about."""
        distance, nearest = self._nearest(points)
        reach = self.reach_m[np.minimum(nearest, len(self.before) - 1)]
        covered = distance <= reach * EDGE_SHARE
        doubtful = (distance <= reach) & ~covered
        covered[doubtful] = self._is_in_hull(points[doubtful])
        return covered

    def extent(self) -> NDArray[np.float64]:
        """Lowest easting, northing and highest easting, northing ``(4,)`` of what may be covered."""
        reach = self.reach_m[:, None] * (1.0 if len(self.hull) == 0 else EDGE_SHARE)
        return np.concatenate([(self.before - reach).min(axis=0), (self.before + reach).max(axis=0)])

    def _nearest(self, points: Points) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
        distance = np.full(len(points), np.inf)
        nearest = np.zeros(len(points), dtype=int)
        finite = is_place(points)
        distance[finite], nearest[finite] = self.tree.query(points[finite], workers=query_threads(len(points)))
        return distance, nearest

    def _is_in_hull(self, points: Points) -> NDArray[np.bool_]:
        inside = np.full(len(points), len(self.hull) > 0)
        for east, north, offset in self.hull:
            inside &= east * points[:, 0] + north * points[:, 1] + offset <= 0.0
        return inside


def mean_spacing_m(before: Points) -> float:
    """Mean spacing of control in metres: the root of the hull's area per point; along a line, the mean step.

    Examples
    --------
    >>> mean_spacing_m(np.array([[0.0, 0.0], [10.0, 0.0], [30.0, 0.0]]))
    15.0
    """
    count = count_places(before)
    if count < 2:
        return 0.0
    length = float(np.hypot(*np.ptp(before, axis=0)))
    try:
        area = scipy.spatial.ConvexHull(before).volume if count > 2 else 0.0
    except scipy.spatial.QhullError:
        area = 0.0
    return float(np.sqrt(area / count)) if area > 1e-3 * length**2 else length / (count - 1)


def count_places(points: Points) -> int:
    """Number of different places among ``points``.

    Examples
    --------
    >>> count_places(np.array([[0.0, 0.0], [1.0, 2.0], [0.0, 0.0]]))
    2
    """
    # As complex numbers, because sorting rows is ten times slower.
    return len(np.unique(points[:, 0] + 1j * points[:, 1]))


def query_threads(count: int) -> int:
    """Threads for a nearest-neighbour query of ``count`` places: starting them costs more than a small query."""
    return -1 if count > MANY else 1


def local_spacing_m(before: Points) -> NDArray[np.float64]:
    """Spacing of control around each control point ``(n,)`` in metres, between one and two mean spacings."""
    mean = mean_spacing_m(before)
    if len(before) < 2 or mean == 0.0:
        return np.full(len(before), mean)
    neighbours = min(LOCAL_NEIGHBOURS, len(before) - 1)
    tree = scipy.spatial.cKDTree(before)
    farthest = tree.query(before, k=[neighbours + 1], workers=query_threads(len(before)))[0][:, 0]
    # In a uniform scatter the m-th neighbour lies at the root of m / (pi density).
    local = farthest * np.sqrt(np.pi / neighbours)
    return np.clip(local, mean, LARGEST_LOCAL_SPACING * mean)

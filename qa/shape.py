"""What a move did to the shape of each feature: area, distances, right angles. Nouns, one number per feature.

Geometries in, numbers out; NaN where a measure does not apply. What a number means for the verdict is ``triage.py``'s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from qa.base_maps import Geometries
from transforms.contract import Points

Numbers = NDArray[np.float64]

_SHORTEST_SIDE_M = 3.0
_SMALLEST_SHARE_OF_BASE = 0.1


@dataclass(frozen=True)
class CommonVertices:
    """The vertices of each feature that its old and its new geometry have in common, in drawing order.

    Parameters
    ----------
    before, after
        ``(m, 2)`` easting, northing in metres.
    feature
        ``(m,)`` row of the feature, ascending.
    ring
        ``(m,)`` number of the line or ring, ascending; counted through all features.
    count
        Number of features.
    """

    before: Points
    after: Points
    feature: NDArray[np.int_]
    ring: NDArray[np.int_]
    count: int

    @classmethod
    def of(cls, before: Geometries, after: Geometries) -> CommonVertices:
        """Pair the vertices of ``(n,)`` old and new geometries.

        A new geometry may have more vertices, inserted where the shift bends; each old vertex is then paired with the
        new one nearest to its expected place. A feature that is missing on one side has no vertices.
        """
        both = ~(shapely.is_missing(before) | shapely.is_missing(after))
        rings, feature_of_ring = _rings(_kept(before, both))
        old, ring = shapely.get_coordinates(rings, return_index=True)
        feature = feature_of_ring[ring]
        new = np.full_like(old, np.nan)
        alike = both & (shapely.get_num_coordinates(before) == shapely.get_num_coordinates(after))
        new_rings, _ = _rings(_kept(after, alike))
        new[alike[feature]] = shapely.get_coordinates(new_rings)
        for row in np.flatnonzero(both & ~alike):
            mine = feature == row
            new[mine] = _nearest_to_expected(old[mine], shapely.get_coordinates(after[row]))
        return cls(old, new, feature, ring, len(before))

    def greatest(self, values: Numbers, of: NDArray[np.int_]) -> Numbers:
        """The greatest of ``values`` for each feature, ``(count,)``; ``of`` are rows of this table; NaN for none."""
        result = np.full(self.count, -np.inf)
        np.maximum.at(result, self.feature[of], values)
        return np.where(np.isneginf(result), np.nan, result)

    def followers(self, by: int) -> NDArray[np.int_]:
        """Rows that have a vertex ``by`` places further on in the same ring."""
        return np.flatnonzero(self.ring[:-by] == self.ring[by:]) if len(self.ring) > by else np.empty(0, dtype=int)


def area_change_ratio(before: Geometries, after: Geometries, noise_m: float = 0.0) -> Numbers:
    """By which share the area changed, ``(n,)``; what ``noise_m`` along the outline explains is not counted.

    Examples
    --------
    >>> import shapely
    >>> square, larger = shapely.box(0, 0, 10, 10), shapely.box(0, 0, 10, 11)
    >>> float(area_change_ratio(np.array([square]), np.array([larger]))[0])
    0.1
    """
    old, new = shapely.area(before), shapely.area(after)
    change = np.maximum(np.abs(new - old) - noise_m * shapely.length(before), 0.0)
    return np.divide(change, old, out=np.full(len(old), np.nan), where=old > 0)


def distance_change_ratio(vertices: CommonVertices, allowed_m: Numbers, base_m: Numbers) -> Numbers:
    """The worst change of a distance within each feature, as a multiple of what is allowed, ``(n,)``.

    ``allowed_m`` over ``base_m`` (both ``(n,)``) are OS's conformity limits; over a shorter distance proportionally
    less is allowed, but not less than a tenth, which is what rounding and digitising leave.

    Parameters
    ----------
    vertices
        The vertices of the features.
    allowed_m, base_m
        By how much a distance of ``base_m`` may change, per feature.
    """
    worst = np.full(vertices.count, np.nan)
    for step in (1, 2, 4, 8, 16):
        first = vertices.followers(step)
        old = np.linalg.norm(vertices.before[first + step] - vertices.before[first], axis=1)
        new = np.linalg.norm(vertices.after[first + step] - vertices.after[first], axis=1)
        owner = vertices.feature[first]
        allowed = allowed_m[owner] * np.maximum(old / base_m[owner], _SMALLEST_SHARE_OF_BASE)
        worst = np.fmax(worst, vertices.greatest(np.abs(new - old) / allowed, first))
    return worst


def right_angle_change_deg(vertices: CommonVertices, tolerance_deg: float) -> Numbers:
    """By how many degrees the worst right angle of each feature was bent, ``(n,)``; NaN without right angles.

    A corner counts if it was within ``tolerance_deg`` of 90 degrees and both its sides are at least 3 m long.
    """
    first = vertices.followers(2)
    old, length = _corner_deg(vertices.before, first)
    new, _ = _corner_deg(vertices.after, first)
    right = (np.abs(old - 90.0) <= tolerance_deg) & (length >= _SHORTEST_SIDE_M)
    return vertices.greatest(np.abs(new - old)[right], first[right])


def _kept(geometries: Geometries, mask: NDArray[np.bool_]) -> Geometries:
    kept = geometries.copy()
    kept[~mask] = None
    return kept


def _rings(geometries: Geometries) -> tuple[Geometries, NDArray[np.int_]]:
    """Every line and ring with the row of its feature; points count as lines of one vertex."""
    parts, row = shapely.get_parts(geometries, return_index=True)
    while (shapely.get_type_id(parts) > 3).any():
        parts, inner = shapely.get_parts(parts, return_index=True)
        row = row[inner]
    is_area = shapely.get_type_id(parts) == 3
    rings, area = shapely.get_rings(parts[is_area], return_index=True)
    all_rings = np.concatenate([parts[~is_area], rings])
    owner = np.concatenate([np.flatnonzero(~is_area), np.flatnonzero(is_area)[area]])
    order = np.argsort(owner, kind="stable")
    return all_rings[order], row[owner[order]]


def _nearest_to_expected(old: Points, new: Points) -> Points:
    if not len(new):
        return np.full_like(old, np.nan)
    middle = (new.min(axis=0) + new.max(axis=0) - old.min(axis=0) - old.max(axis=0)) / 2.0
    return np.asarray(new[cKDTree(new).query(old + middle)[1]])


def _corner_deg(points: Points, first: NDArray[np.int_]) -> tuple[Numbers, Numbers]:
    back, ahead = points[first] - points[first + 1], points[first + 2] - points[first + 1]
    lengths = np.linalg.norm(back, axis=1), np.linalg.norm(ahead, axis=1)
    cross = back[:, 0] * ahead[:, 1] - back[:, 1] * ahead[:, 0]
    return np.degrees(np.arctan2(np.abs(cross), (back * ahead).sum(axis=1))), np.minimum(*lengths)

"""Shapes as plain arrays, all vertices in one table: a million can be compared without a million objects.

Only what comparing two editions of a map needs; geometries in, arrays out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from transforms.contract import Points

Ints = NDArray[np.int_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outlines:
    """The vertices of ``n`` shapes, one shape after the other.

    Parameters
    ----------
    points
        ``(v, 2)`` easting, northing in metres; the vertex that closes a simple ring is left out.
    first
        ``(n + 1,)`` where each shape's vertices begin in ``points``.
    kind
        ``(n,)`` 0 for points, 1 for lines, 2 for rings (areas and closed lines of one ring), 3 for shapes of several
        parts or rings.
    centre
        ``(n, 2)`` mean of the vertices.
    radius_m
        ``(n,)`` root mean square distance of the vertices from that centre.
    """

    points: Points
    first: Ints
    kind: NDArray[np.int8]
    centre: Points
    radius_m: Floats

    @classmethod
    def of(cls, geometries: NDArray[np.object_]) -> Outlines:
        """The outlines of ``(n,)`` geometries, none of them null or empty."""
        points, owner = shapely.get_coordinates(geometries, return_index=True)
        kind = _kinds(geometries)
        count = np.bincount(owner, minlength=len(geometries))
        last = np.cumsum(count) - 1
        keep = np.ones(len(points), dtype=bool)
        keep[last[(kind == RING) & (count > 1)]] = False
        return cls.of_vertices(points[keep], owner[keep], kind)

    @classmethod
    def of_vertices(cls, points: Points, owner: Ints, kind: NDArray[np.int8]) -> Outlines:
        """The outlines whose vertices ``points`` ``(v, 2)`` belong to the shapes ``owner`` ``(v,)``, ascending."""
        count = np.bincount(owner, minlength=len(kind))
        many = np.maximum(count, 1)
        centre = np.stack([np.bincount(owner, points[:, axis], len(kind)) / many for axis in (0, 1)], axis=1)
        square = np.sum((points - centre[owner]) ** 2, axis=1)
        radius_m = np.sqrt(np.bincount(owner, square, len(kind)) / many)
        return cls(points, np.concatenate([[0], np.cumsum(count)]), kind, centre, radius_m)

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def count(self) -> Ints:
        """``(n,)`` vertices of each shape."""
        return np.diff(self.first)

    def vertices(self, rows: Ints, count: int) -> Points:
        """The vertices of ``rows`` ``(k,)`` that all have ``count`` of them, ``(k, count, 2)``."""
        return self.points[self.first[rows][:, None] + np.arange(count)]

    def all_vertices(self, rows: Ints) -> tuple[Ints, Ints]:
        """Rows of ``points`` that ``rows`` ``(k,)`` own, and which of ``rows`` (0 to k - 1) owns each."""
        count = self.count[rows]
        owner = np.repeat(np.arange(len(rows)), count)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
        return self.first[rows][owner] + within, owner


POINT, LINE, RING, SEVERAL = 0, 1, 2, 3


def _kinds(geometries: NDArray[np.object_]) -> NDArray[np.int8]:
    dimension = shapely.get_dimensions(geometries)
    is_single = shapely.get_num_geometries(geometries) == 1
    rings = shapely.get_num_interior_rings(geometries) + 1
    is_line = (dimension == 1) & is_single
    is_ring = ((dimension == 2) & is_single & (rings == 1)) | (is_line & shapely.is_closed(geometries))
    return np.select([is_ring, is_line, (dimension == 0) & is_single], [RING, LINE, POINT], SEVERAL).astype(np.int8)

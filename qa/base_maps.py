"""The two editions of the base map, ready to be asked what lies near a place and how far it moved there.

Geometries in, distances out. Reading the files is ``pipeline/base_maps.py``'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from transforms.contract import Points

Geometries = NDArray[np.object_]

FAR_M = 50.0
"""Lines further than this are not looked for; the distance is then infinite."""

LONGEST_SHIFT_M = 10.0
"""Two vertices further apart are not the same corner on two editions: an id was given to another object."""

_NEIGHBOURS = 12


@dataclass(frozen=True)
class Edition:
    """One edition of the base map in search trees."""

    geometries: Geometries
    ids: NDArray[np.object_]
    segments: shapely.STRtree
    areas: shapely.STRtree
    area_ids: NDArray[np.str_]
    centres: cKDTree | None

    @classmethod
    def of(cls, geometries: Geometries, ids: NDArray[np.object_]) -> Edition:
        """Index ``(n,)`` geometries (null and empty ones are passed over) with their ``(n,)`` ids (None unknown)."""
        good = ~(shapely.is_missing(geometries) | shapely.is_empty(geometries))
        geometries, ids = shapely.force_2d(geometries[good]), ids[good]
        is_area = shapely.get_dimensions(geometries) == 2
        areas = geometries[is_area]
        centres = shapely.get_coordinates(shapely.centroid(areas))
        return cls(
            geometries,
            ids,
            shapely.STRtree(_segments(geometries)),
            shapely.STRtree(areas),
            np.array([str(value or "") for value in ids[is_area]], dtype=str),
            cKDTree(centres) if len(centres) else None,
        )

    def line_distance_m(self, points: Points) -> NDArray[np.float64]:
        """Distance ``(n,)`` in metres to the nearest line or outline; infinite beyond ``FAR_M``."""
        distance = np.full(len(points), np.inf)
        if len(self.segments) and len(points):
            (row, _), found = self.segments.query_nearest(
                shapely.points(points), max_distance=FAR_M, return_distance=True, all_matches=False
            )
            distance[row] = found
        return distance

    def centre_distance_m(self, points: Points) -> NDArray[np.float64]:
        """Distance ``(n,)`` in metres to the nearest centre of an area (a building); infinite without any."""
        if self.centres is None or not len(points):
            return np.full(len(points), np.inf)
        return np.asarray(self.centres.query(points)[0])

    def area_at(self, points: Points) -> NDArray[np.int_]:
        """Which area (row of ``areas.geometries``) each point lies in, ``(n,)``; -1 for none."""
        inside = np.full(len(points), -1)
        row, area = self.areas.query(shapely.points(points), predicate="intersects")
        inside[row] = area
        return inside

    def areas_per_ha(self, points: Points, radius_m: float = 100.0) -> NDArray[np.float64]:
        """How densely built-up each place is: areas per hectare within ``radius_m``, ``(n,)``."""
        if self.centres is None or not len(points):
            return np.zeros(len(points))
        counts = self.centres.query_ball_point(points, radius_m, return_length=True)
        return np.asarray(counts, dtype=float) / (np.pi * radius_m**2 / 1e4)


@dataclass(frozen=True)
class ObservedShift:
    """How the base map itself moved near some places: median of the corners that both editions show.

    Parameters
    ----------
    shift
        ``(n, 2)`` metres, new minus old; NaN where the editions have no corner in common.
    spread_m
        ``(n,)`` robust radial standard deviation of the corners about that median.
    distance_m
        ``(n,)`` to the furthest corner used.
    """

    shift: Points
    spread_m: NDArray[np.float64]
    distance_m: NDArray[np.float64]

    @property
    def standard_error_m(self) -> NDArray[np.float64]:
        """Radial standard error ``(n,)``: the spread, and 1 mm for each metre of distance."""
        return np.maximum(self.spread_m, 0.05) + 0.001 * self.distance_m


@dataclass(frozen=True)
class BaseMaps:
    """The old and the new base map, and the corners they have in common."""

    before: Edition
    after: Edition
    corners: cKDTree | None
    corner_shift: Points

    @classmethod
    def of(cls, before: Edition, after: Edition) -> BaseMaps:
        """Pair the corners of objects that carry the same id in both editions."""
        old, new = _common_corners(before, after)
        return cls(before, after, cKDTree(old) if len(old) else None, new - old)

    def observed_shift(self, points: Points) -> ObservedShift:
        """How the map moved near each of ``points`` ``(n, 2)`` on the old map."""
        count = len(points)
        if self.corners is None or not count:
            return ObservedShift(np.full((count, 2), np.nan), np.full(count, np.inf), np.full(count, np.inf))
        neighbours = min(_NEIGHBOURS, self.corners.n)
        distance, corner = self.corners.query(points, k=neighbours)
        shift = self.corner_shift[corner.reshape(count, neighbours)]
        middle = np.median(shift, axis=1)
        residual = np.linalg.norm(shift - middle[:, None], axis=2)
        return ObservedShift(middle, 1.2 * np.median(residual, axis=1), distance.reshape(count, -1)[:, -1])


def _segments(geometries: Geometries) -> Geometries:
    is_area = shapely.get_dimensions(geometries) == 2
    lines = np.concatenate([shapely.boundary(geometries[is_area]), geometries[~is_area]])
    parts = shapely.get_parts(lines[shapely.get_dimensions(lines) == 1])
    points, line = shapely.get_coordinates(parts, return_index=True)
    together = line[:-1] == line[1:]
    return np.asarray(shapely.linestrings(np.stack([points[:-1], points[1:]], axis=1)[together]))


def _common_corners(before: Edition, after: Edition) -> tuple[Points, Points]:
    old_row, new_row = _rows_with_the_same_id(before.ids, after.ids)
    old, new = before.geometries[old_row], after.geometries[new_row]
    alike = shapely.get_num_coordinates(old) == shapely.get_num_coordinates(new)
    old_corner, new_corner = shapely.get_coordinates(old[alike]), shapely.get_coordinates(new[alike])
    near = np.linalg.norm(new_corner - old_corner, axis=1) <= LONGEST_SHIFT_M
    return old_corner[near], new_corner[near]


def _rows_with_the_same_id(old: NDArray[Any], new: NDArray[Any]) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    old_ids, old_row = _rows_of_unique_ids(old)
    new_ids, new_row = _rows_of_unique_ids(new)
    _, in_old, in_new = np.intersect1d(old_ids, new_ids, assume_unique=True, return_indices=True)
    return old_row[in_old], new_row[in_new]


def _rows_of_unique_ids(ids: NDArray[Any]) -> tuple[NDArray[np.str_], NDArray[np.int_]]:
    known = np.flatnonzero([bool(value) for value in ids])
    text, first, count = np.unique(ids[known].astype(str), return_index=True, return_counts=True)
    return text[count == 1], known[first[count == 1]]

"""The two editions of the base map, ready to be asked what lies near a place and how far it moved there.

Geometries in, distances out. Reading the files is ``pipeline/base_maps.py``'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from qa.matching import LONGEST_SHIFT_M, Matches, match_features
from transforms.contract import Points

Geometries = NDArray[np.object_]

SEEN_WITHIN_M = 200.0
"""So far from its corners the base map shows how it moved."""

SPEAKS_WITHIN_M = 100.0
"""What lies further off tells no more of a place than the field has heard already: of 79 features that corners so far
off alone called certain 6 were wrong.
"""

FAR_M = 50.0
"""Lines further than this are not looked for unless asked to; the distance is then infinite."""

ON_A_CORNER_M = 0.03
"""Nearer than this a point lies on a corner; three steps of MapInfo's default rounding."""

MOST_SEGMENTS = 16
"""A longer line is cut for searching: a line is near as soon as any of its segments is."""

IN_COMMON_RATIO = 0.7
"""Of two editions of one map nearly all features are on both, but for a few in a hundred that were altered."""

BUILDINGS_RATIO = 0.05
"""Every fourth feature of a map of the country is a building; one with fewer than so many areas shows none."""

_NEIGHBOURS = 12
_BUILDINGS = 5
_POINTS_AT_ONCE = 100_000
_OUTER_SHARE = 0.8
_RADIUS_TO_STANDARD_ERROR = 1.0 / np.sqrt(-np.log(1.0 - _OUTER_SHARE))
"""From the radius that holds that share of a circular normal scatter to its radial standard deviation."""


@dataclass(frozen=True)
class Edition:
    """One edition of the base map in search trees."""

    geometries: Geometries
    ids: NDArray[np.object_]
    outlines: shapely.STRtree
    areas: shapely.STRtree
    area_ids: NDArray[np.str_]
    centres: cKDTree | None

    @classmethod
    def of(cls, geometries: Geometries, ids: NDArray[np.object_]) -> Edition:
        """Index ``(n,)`` geometries (null and empty ones are passed over) with their ``(n,)`` ids (None unknown)."""
        good = ~(shapely.is_missing(geometries) | shapely.is_empty(geometries))
        geometries, ids = geometries[good], ids[good]
        if shapely.has_z(geometries).any() or shapely.has_m(geometries).any():
            geometries = shapely.force_2d(geometries)
        is_area = shapely.get_dimensions(geometries) == 2
        areas = geometries[is_area]
        centres = shapely.get_coordinates(shapely.centroid(areas))
        return cls(
            geometries,
            ids,
            shapely.STRtree(_outlines(geometries)),
            shapely.STRtree(areas),
            np.array([str(value or "") for value in ids[is_area]], dtype=str),
            cKDTree(centres) if len(centres) else None,
        )

    def of_rows(self, rows: NDArray[np.int_]) -> Edition:
        """The same with only some of its features."""
        return Edition.of(self.geometries[rows], self.ids[rows])

    @property
    def area_of_row(self) -> NDArray[np.int_]:
        """Which area each geometry is, ``(n,)``; -1 for what is none."""
        is_area = shapely.get_dimensions(self.geometries) == 2
        return np.where(is_area, np.cumsum(is_area) - 1, -1)

    def line_distance_m(self, points: Points, within_m: float = FAR_M) -> NDArray[np.float64]:
        """Distance ``(n,)`` in metres to the nearest line or outline; infinite beyond ``within_m``."""
        distance = np.full(len(points), np.inf)
        for first in range(0, len(points), _POINTS_AT_ONCE):
            places = shapely.points(points[first : first + _POINTS_AT_ONCE])
            row, line = self.outlines.query(places, predicate="dwithin", distance=within_m)
            found = shapely.distance(places[row], self.outlines.geometries[line])
            np.minimum.at(distance, first + row, found)
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
        ``(n,)`` radial standard deviation of the corners about that median; large where they fall into two camps.
    distance_m
        ``(n,)`` to the furthest corner used.
    is_within
        ``(n,)`` whether those corners lie all round the place, or are its own: no line passes between it and them all.
    """

    shift: Points
    spread_m: NDArray[np.float64]
    distance_m: NDArray[np.float64]
    is_within: NDArray[np.bool_]

    @property
    def standard_error_m(self) -> NDArray[np.float64]:
        """Radial standard error ``(n,)``: the spread, and 1 mm for each metre of distance."""
        return np.maximum(self.spread_m, 0.05) + 0.001 * self.distance_m


@dataclass(frozen=True)
class CommonCorners:
    """The corners of objects that are the same and unaltered in both editions.

    Parameters
    ----------
    tree
        Search tree of the corners' old places.
    shift
        ``(m, 2)`` new minus old in metres.
    object_shift
        ``(areas + 1, 2)`` median shift of the corners of each area of the old edition; NaN where it has none in
        common, and in the last row, which stands for no area.
    object_spread_m
        ``(areas + 1,)`` root mean square distance of those corners' shifts from that median.
    object_tree, known
        Search tree of the centres of the areas that have such a shift, and the row of each, ``(k,)``.
    """

    tree: cKDTree
    shift: Points
    object_shift: Points
    object_spread_m: NDArray[np.float64]
    object_tree: cKDTree
    known: NDArray[np.int_]

    @classmethod
    def of(cls, before: Edition, places: Points, shift: Points, area: NDArray[np.int_]) -> CommonCorners:
        """Of corners at ``places`` ``(m, 2)`` of the old edition, and the area that each belongs to; -1 for none."""
        is_area = area >= 0
        area, of_areas = area[is_area], shift[is_area]
        of_area = _median_by(area, of_areas, len(before.area_ids))
        spread_m = _spread_by(area, of_areas, of_area)
        known = np.flatnonzero(np.isfinite(spread_m))
        centres = shapely.get_coordinates(shapely.centroid(before.areas.geometries[known])).reshape(-1, 2)
        return cls(cKDTree(places), shift, of_area, spread_m, cKDTree(centres), known)


@dataclass(frozen=True, eq=False)
class BaseMaps:
    """The old and the new base map, which features of them are the same, and the corners they have in common.

    ``corners`` is None where none shows how the map moved. ``is_lone`` says that one edition was delivered and the
    other made of it (``lone_edition.py``): then the corners are the control.
    """

    before: Edition
    after: Edition
    matches: Matches
    corners: CommonCorners | None
    is_lone: bool = False

    @classmethod
    def of(cls, before: Edition, after: Edition) -> BaseMaps:
        """Pair the features of both editions and their corners."""
        matches = match_features(before.geometries, after.geometries, before.ids, after.ids)
        return cls(before, after, matches, _common_corners(before, matches))

    @property
    def in_common(self) -> BaseMaps:
        """The same where each shows most of the other; else an edition without what it alone shows.

        A map of roads beside one of roads and fences would seem to have lost the fences, and what follows one would
        seem to lie on that map and to be off the other, whichever it was drawn on.
        """
        editions = [
            edition if len(rows) >= IN_COMMON_RATIO * len(edition.geometries) else edition.of_rows(rows)
            for edition, rows in ((self.before, self.matches.old), (self.after, np.sort(self.matches.new)))
        ]
        is_same = editions[0] is self.before and editions[1] is self.after
        return self if is_same else BaseMaps.of(*editions)

    @cached_property
    def show_buildings(self) -> bool:
        """Whether buildings are on both, and not only some areas among lines."""
        return all(
            len(each.area_ids) >= BUILDINGS_RATIO * len(each.geometries) > 0 for each in (self.before, self.after)
        )

    @cached_property
    def area_after(self) -> NDArray[np.int_]:
        """Which area of the new edition each of the old one is, ``(areas + 1,)``; -1 unknown, and last for no area."""
        old, new = self.before.area_of_row[self.matches.old], self.after.area_of_row[self.matches.new]
        found = np.full(len(self.before.area_ids) + 1, -1)
        both = (old >= 0) & (new >= 0)
        found[old[both]] = new[both]
        return found

    def surround(self, points: Points) -> NDArray[np.bool_]:
        """Whether corners of the maps lie all round each of ``points`` ``(n, 2)`` on the old map, near by."""
        all_round = np.zeros(len(points), dtype=bool)
        for first in range(0, len(points), _POINTS_AT_ONCE):
            some = points[first : first + _POINTS_AT_ONCE]
            distance_m, corner = _nearest(self._places, some)
            near = distance_m[:, -1] <= SEEN_WITHIN_M
            all_round[first : first + len(some)] = near & _is_within(some, self.matches.corner_before[corner])
        return all_round

    @cached_property
    def _places(self) -> cKDTree:
        return cKDTree(self.matches.corner_before)

    def observed_shift(self, points: Points) -> ObservedShift:
        """How the map moved at each of ``points`` ``(n, 2)`` on the old map.

        A point on a corner moves with that corner and a point in a building with its building, or, where that one is
        not on the new map, with the median of the nearest within 100 m that are: houses may have moved where the
        fences about them did not. Any other moves with the median of the twelve nearest corners.
        """
        if self.corners is None or not len(points):
            count = len(points)
            nowhere = np.full(count, np.inf)
            return ObservedShift(np.full((count, 2), np.nan), nowhere, nowhere, np.zeros(count, dtype=bool))
        parts = [
            _median_of_nearest(points[first : first + _POINTS_AT_ONCE], self.corners)
            for first in range(0, len(points), _POINTS_AT_ONCE)
        ]
        observed = ObservedShift(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        building = self.before.area_at(points)
        _take_from_building(observed, self.corners, building)
        _take_from_near_buildings(observed, self.corners, points, building)
        return observed


def _median_of_nearest(
    points: Points, corners: CommonCorners
) -> tuple[Points, NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """What ``ObservedShift`` holds, from the nearest corners alone."""
    distance, corner = _nearest(corners.tree, points)
    shift = corners.shift[corner]
    middle, spread = _middle_and_spread(shift)
    reach = distance[:, -1].copy()
    on_it = distance[:, 0] <= ON_A_CORNER_M
    middle[on_it], spread[on_it], reach[on_it] = shift[on_it, 0], 0.0, 0.0
    return middle, spread, reach, on_it | _is_within(points, np.asarray(corners.tree.data)[corner])


def _nearest(tree: cKDTree, points: Points) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    """Distance and row of the corners nearest to each point, ``(n, k)``, the nearest first."""
    neighbours = min(_NEIGHBOURS, tree.n)
    distance, corner = tree.query(points, k=neighbours)
    return distance.reshape(len(points), neighbours), corner.reshape(len(points), neighbours)


def _middle_and_spread(shift: NDArray[np.float64]) -> tuple[Points, NDArray[np.float64]]:
    """Median ``(n, 2)`` of some shifts ``(n, k, 2)``, and their radial standard deviation ``(n,)`` about it."""
    middle = np.median(shift, axis=1)
    away = np.sort(np.linalg.norm(shift - middle[:, None], axis=2), axis=1)
    return middle, _RADIUS_TO_STANDARD_ERROR * away[:, int(np.ceil(_OUTER_SHARE * shift.shape[1])) - 1]


def _is_within(points: Points, corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each point lies within the hull of its corners ``(n, k, 2)``: no half of the horizon is empty."""
    east, north = np.moveaxis(corners - points[:, None], 2, 0)
    bearing = np.sort(np.arctan2(north, east), axis=1)
    gap = np.diff(bearing, axis=1, append=bearing[:, :1] + 2.0 * np.pi)
    return np.asarray(gap.max(axis=1) < np.pi)


def _take_from_building(observed: ObservedShift, corners: CommonCorners, building: NDArray[np.int_]) -> None:
    """Put the shift of the building in the place of its surroundings', where a point lies in one."""
    shift, spread_m = corners.object_shift[building], corners.object_spread_m[building]
    known = np.isfinite(spread_m) & (observed.distance_m > 0)
    observed.shift[known], observed.spread_m[known], observed.distance_m[known] = shift[known], spread_m[known], 0.0
    observed.is_within[known] = True


def _take_from_near_buildings(
    observed: ObservedShift, corners: CommonCorners, points: Points, building: NDArray[np.int_]
) -> None:
    """The same with the buildings near by, where a point lies in one that the new map does not show."""
    lost = np.flatnonzero((building >= 0) & (observed.distance_m > 0))
    if len(corners.known) < _BUILDINGS or not len(lost):
        return
    distance, near = corners.object_tree.query(points[lost], k=_BUILDINGS)
    is_near = distance[:, -1] <= SPEAKS_WITHIN_M
    lost, distance, near = lost[is_near], distance[is_near], near[is_near]
    middle, spread_m = _middle_and_spread(corners.object_shift[corners.known[near]])
    observed.shift[lost], observed.spread_m[lost], observed.distance_m[lost] = middle, spread_m, distance[:, -1]
    observed.is_within[lost] = _is_within(points[lost], np.asarray(corners.object_tree.data)[near])


def _outlines(geometries: Geometries) -> Geometries:
    """Lines and outlines of areas, cut into short runs: few objects for a search tree, none of them with many segments.

    One object for each segment would take several gigabytes for a borough.
    """
    is_area = shapely.get_dimensions(geometries) == 2
    lines = np.concatenate([shapely.boundary(geometries[is_area]), geometries[~is_area]])
    parts = shapely.get_parts(lines[shapely.get_dimensions(lines) == 1])
    is_long = shapely.get_num_points(parts) > MOST_SEGMENTS + 1
    return np.concatenate([parts[~is_long], _cut(parts[is_long])])


def _cut(lines: Geometries) -> Geometries:
    points, line = shapely.get_coordinates(lines, return_index=True)
    count = np.bincount(line, minlength=len(lines))
    runs = -(-(count - 1) // MOST_SEGMENTS)
    run_line = np.repeat(np.arange(len(lines)), runs)
    run_start = MOST_SEGMENTS * (np.arange(len(run_line)) - np.repeat(np.cumsum(runs) - runs, runs))
    run_count = np.minimum(run_start + MOST_SEGMENTS, count[run_line] - 1) - run_start + 1
    run = np.repeat(np.arange(len(run_line)), run_count)
    within = np.arange(len(run)) - np.repeat(np.cumsum(run_count) - run_count, run_count)
    first = np.cumsum(count) - count
    return np.asarray(shapely.linestrings(points[first[run_line][run] + run_start[run] + within], indices=run))


def _common_corners(before: Edition, matches: Matches) -> CommonCorners | None:
    shift = matches.corner_after - matches.corner_before
    near = np.linalg.norm(shift, axis=1) <= LONGEST_SHIFT_M
    area = before.area_of_row[matches.old[matches.corner_pair]]
    return CommonCorners.of(before, matches.corner_before[near], shift[near], area[near]) if near.any() else None


def _spread_by(group: NDArray[np.int_], values: Points, middle: Points) -> NDArray[np.float64]:
    """Root mean square distance of ``values`` from their group's ``middle``; NaN for groups without any."""
    square = np.bincount(group, weights=((values - middle[group]) ** 2).sum(axis=1), minlength=len(middle))
    count = np.bincount(group, minlength=len(middle))
    return np.sqrt(np.divide(square, count, out=np.full(len(middle), np.nan), where=count > 0))


def _median_by(group: NDArray[np.int_], values: Points, count: int) -> Points:
    """Median of each column of ``values`` for each of ``count`` groups, and one row of NaN at the end for "none"."""
    result = np.full((count + 1, 2), np.nan)
    for axis in (0, 1):
        order = np.lexsort((values[:, axis], group))
        size = np.bincount(group, minlength=count)
        has = np.flatnonzero(size)
        first = (np.cumsum(size) - size)[has]
        low, high = order[first + (size[has] - 1) // 2], order[first + size[has] // 2]
        result[has, axis] = (values[low, axis] + values[high, axis]) / 2.0
    return result

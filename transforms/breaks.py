"""Breaks: lines across which the shift jumps, and the pieces of land between them.

Finding breaks is the matter of ``qa.breaks``; here is the plain geometry: which piece a place lies in, how far
the nearest break is, and where it is uncertain on which side of a break a place lies. A raster answers for
most places; only those near a line are tested exactly, so that millions of places take seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from .complex_places import is_place, length
from .contract import Points
from .line_raster import LineRaster, places_along
from .line_segments import LineSegments

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]

BATCH = 200_000


class Beside(NamedTuple):
    """Which points ``(k,)`` lie close to a break, the piece across it and how far away it is [m]."""

    rows: Ints
    across: Ints
    distance_m: Floats


class Sides(NamedTuple):
    """For each point ``(n,)`` its own piece, the piece across the nearest break, and the distance to it.

    ``offset`` is the distance over the line's half-width, infinite where no line is near; there ``across`` is the own
    piece.
    """

    own: Ints
    across: Ints
    offset: Floats


@dataclass(frozen=True)
class Breaks:
    """Lines across which the shift jumps, each with the piece on its left and on its right.

    Parameters
    ----------
    lines
        Polylines ``(k, 2)``, easting and northing in metres.
    left, right
        ``(m,)`` the piece on either side of each line, seen along it.
    jump_m
        ``(m,)`` mean length of the jump across each line in metres; NaN where nobody measured it.
    half_width_m
        ``(k,)`` for each line: how far from each of its vertices, in metres, a place may yet lie on the other side of
        the real break.
    count
        Number of pieces; one without breaks.
    """

    lines: tuple[Points, ...]
    left: Ints
    right: Ints
    jump_m: Floats
    half_width_m: tuple[Floats, ...]
    count: int

    @classmethod
    def none(cls) -> Breaks:
        """No breaks: one piece, everywhere.

        Examples
        --------
        >>> Breaks.none().piece(np.array([[400000.0, 300000.0]]))
        array([0])
        """
        return cls((), np.empty(0, int), np.empty(0, int), np.empty(0), (), 1)

    @classmethod
    def from_lines(cls, lines: Sequence[Points], extent: Sequence[float]) -> Breaks:
        """Breaks given as lines, the pieces being the areas they close off.

        Ends that miss another line by less than a cell of the raster (a 2,000th of the extent) close all the
        same; a line that closes nothing off has the same piece on both sides and changes nothing.

        Parameters
        ----------
        lines
            Polylines ``(k, 2)``, easting and northing in metres.
        extent
            Lowest easting, northing and highest easting, northing of the land in question.
        """
        kept = tuple(np.asarray(line, dtype=float)[:, :2] for line in lines if len(line) > 1)
        if not kept:
            return cls.none()
        raster = LineRaster.around(kept, np.asarray(extent, dtype=float), margin=0)
        cut = [part for number in range(len(kept)) for part in _cut_by_area(kept, number, raster)]
        sides = np.array([part.areas for part in cut])
        numbers, renumbered = np.unique(sides, return_inverse=True)
        left, right = renumbered.reshape(sides.shape).T
        unknown = np.full(len(cut), np.nan)
        exact = tuple(np.zeros(len(part.line)) for part in cut)
        return cls(tuple(part.line for part in cut), left, right, unknown, exact, len(numbers))

    def piece(self, points: Points) -> Ints:
        """The piece ``(n,)`` that each point lies in, counted from 0; 0 for what is no place."""
        return self.piece_and_beside(points, 0.0)[0]

    def piece_and_beside(self, points: Points, reach_m: float) -> tuple[Ints, Beside]:
        """The piece that each point lies in, and what lies close to a break.

        Parameters
        ----------
        points
            ``(n, 2)`` metres.
        reach_m
            What counts as close [m]: at most a cell of the raster, which is never below 2 m.
        """
        points = np.asarray(points, dtype=float).reshape(-1, 2)
        if not self.lines or len(points) == 0:
            return np.zeros(len(points), dtype=int), Beside(np.empty(0, int), np.empty(0, int), np.empty(0))
        number = self._piece_of_cell[self._raster.cells(points)].astype(int)
        near = np.flatnonzero((number < 0) & is_place(points))
        segment, distance = self._nearest(points[near])
        own, across = self._sides(segment, points[near])
        number[near] = own
        close = np.flatnonzero(distance < reach_m)
        return np.maximum(number, 0), Beside(near[close], across[close], distance[close])

    def distance_m(self, points: Points) -> Floats:
        """Distance ``(n,)`` in metres to the nearest break: exact beside one, then to a fraction of a cell.

        Infinite without breaks and for what is no place.
        """
        points = np.asarray(points, dtype=float).reshape(-1, 2)
        distance = np.full(len(points), np.inf)
        if not self.lines:
            return distance
        finite = is_place(points)
        distance[finite] = self._raster.distance_m(points[finite])
        near = np.flatnonzero(finite & self._raster.near_line[self._raster.cells(points)])
        distance[near] = self._nearest(points[near])[1]
        return distance

    def is_within(self, points: Points, limit_m: Floats) -> NDArray[np.bool_]:
        """Whether each point lies nearer to a break than its limit ``(n,)`` [m]: as ``distance_m``, and quicker."""
        points = np.asarray(points, dtype=float).reshape(-1, 2)
        within = np.zeros(len(points), dtype=bool)
        if self.lines:
            asked = np.flatnonzero(self._raster.at_least_m(points) < limit_m)
            within[asked] = self.distance_m(points[asked]) < limit_m[asked]
        return within

    def ambiguous(self, points: Points) -> NDArray[np.bool_]:
        """Whether the real break may run on the other side of each point, ``(n,)``."""
        return self.sides(points).offset < 1.0

    def sides(self, points: Points, reach: float = 1.0) -> Sides:
        """The pieces on this side and across the nearest break, and the distance to it in half-widths.

        Parameters
        ----------
        points
            ``(n, 2)`` metres.
        reach
            Half-widths within which a line is asked.
        """
        points = np.asarray(points, dtype=float).reshape(-1, 2)
        own = self.piece(points)
        across, offset = own.copy(), np.full(len(points), np.inf)
        if not self.lines or len(points) == 0:
            return Sides(own, across, offset)
        place = self._raster.dense_near(points)
        half_width_m = self._dense_half_width_m[place]
        near = np.flatnonzero(self._raster.at_least_m(points) < reach * half_width_m)
        distance = self.distance_m(points[near])
        close = distance < reach * half_width_m[near]
        rows = near[close]
        offset[rows] = distance[close] / half_width_m[rows]
        line = self._raster.line[place[rows]]
        across[rows] = np.where(self.left[line] == own[rows], self.right[line], self.left[line])
        return Sides(own, across, offset)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Plain arrays from which ``from_arrays`` makes the same breaks, for files."""
        return {
            "vertices": np.concatenate(self.lines) if self.lines else np.empty((0, 2)),
            "vertex_counts": np.array([len(line) for line in self.lines], dtype=int),
            "left": self.left,
            "right": self.right,
            "jump_m": self.jump_m,
            "half_width_m": np.concatenate(self.half_width_m) if self.lines else np.empty(0),
            "count": np.array(self.count),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Breaks:
        """The breaks that ``to_arrays`` described."""
        ends = np.cumsum(arrays["vertex_counts"].astype(int))
        vertices = arrays["vertices"].astype(float)
        lines, half_width_m = (
            tuple(np.split(of_vertices, ends[:-1])) if len(ends) else ()
            for of_vertices in (vertices, arrays["half_width_m"].astype(float))
        )
        left, right, jump_m = arrays["left"].astype(int), arrays["right"].astype(int), arrays["jump_m"].astype(float)
        return cls(lines, left, right, jump_m, half_width_m, int(arrays["count"].astype(int)))

    @cached_property
    def _segments(self) -> LineSegments:
        return LineSegments.of(self.lines, 2.0 * self._raster.cell_m)

    @cached_property
    def _raster(self) -> LineRaster:
        vertices = np.concatenate(self.lines)
        return LineRaster.around(self.lines, np.concatenate([vertices.min(axis=0), vertices.max(axis=0)]), margin=3)

    @cached_property
    def _dense_half_width_m(self) -> Floats:
        """The half-width at each of the raster's places along the lines."""
        places = np.split(self._raster.dense, np.flatnonzero(np.diff(self._raster.line)) + 1)
        return np.concatenate(
            [
                np.interp(_way_m(dense), _way_m(line), half_width_m)
                for dense, line, half_width_m in zip(places, self.lines, self.half_width_m, strict=True)
            ]
        )

    @cached_property
    def _piece_of_cell(self) -> NDArray[np.int32]:
        """The piece of each cell of the raster; -1 in cells near a line.

        Cells beside a line are asked exactly; every other takes the answer of the nearest of these, which no
        line can separate from it.
        """
        raster = self._raster
        beside = scipy.ndimage.binary_dilation(raster.near_line, np.ones((3, 3))) & ~raster.near_line
        centres = raster.centres(np.argwhere(beside))
        answer = np.full(beside.shape, -1, dtype=np.int32)
        answer[beside] = self._sides(self._nearest(centres)[0], centres)[0]
        row, column = scipy.ndimage.distance_transform_edt(~beside, return_distances=False, return_indices=True)
        return np.where(raster.near_line, -1, answer[row, column])

    def _sides(self, segment: Ints, points: Points) -> tuple[Ints, Ints]:
        """The piece on the side of each point's segment where the point lies, and the piece across."""
        line, is_left = self._segments.line[segment], self._segments.is_left(segment, points)
        left, right = self.left[line], self.right[line]
        return np.where(is_left, left, right), np.where(is_left, right, left)

    def _nearest(self, points: Points) -> tuple[Ints, Floats]:
        """The nearest segment and its distance in metres, in batches to keep memory flat."""
        parts = [self._segments.nearest(points[i : i + BATCH]) for i in range(0, len(points), BATCH)]
        if not parts:
            return np.empty(0, int), np.empty(0)
        segment, distance = (np.concatenate(column) for column in zip(*parts, strict=True))
        return segment, distance


def _way_m(line: Points) -> Floats:
    """How far along a line each of its vertices lies ``(k,)`` in metres."""
    return np.append(0.0, np.cumsum(length(np.diff(line, axis=0))))


class _Part(NamedTuple):
    """A stretch of a given line and the areas on its left and right."""

    line: Points
    areas: tuple[int, int]


def _cut_by_area(lines: Sequence[Points], number: int, raster: LineRaster) -> list[_Part]:
    """One line cut where another meets it, so that each part has one area on either side."""
    dense = places_along([lines[number]], raster.cell_m)
    beside = np.stack([_areas_beside(dense, raster, side) for side in (1.0, -1.0)], axis=1)
    changes = np.flatnonzero((np.diff(beside, axis=0) != 0).any(axis=1)) + 1
    others = [line for other, line in enumerate(lines) if other != number]
    cuts = np.unique([0, *_nearest_meeting(dense, changes, others, raster.cell_m), len(dense) - 1])
    parts = []
    for start, end in pairwise(cuts):
        middle = beside[(start + end) // 2]
        parts.append(_Part(_thinned(dense[start : end + 1], lines[number]), (int(middle[0]), int(middle[1]))))
    return parts


def _areas_beside(dense: Points, raster: LineRaster, side: float) -> Ints:
    """The area to the left (``side`` 1) or right (-1) of each point of a line; near a junction that of the next."""
    along = np.gradient(dense, axis=0)
    along /= np.maximum(np.hypot(*along.T), 1e-9)[:, None]
    aside = dense + side * 3.0 * raster.cell_m * np.stack([-along[:, 1], along[:, 0]], axis=1)
    area = raster.areas[raster.cells(aside)].astype(int)
    known = np.flatnonzero(area > 0)
    if len(known) == 0:
        return area
    place = np.searchsorted(known, np.arange(len(area)))
    return area[known[np.minimum(place, len(known) - 1)]]


def _nearest_meeting(dense: Points, changes: Ints, others: list[Points], cell_m: float) -> list[int]:
    """Where, near each change of area, the line comes nearest to the other lines."""
    if len(changes) == 0 or not others:
        return []
    distance = scipy.spatial.cKDTree(places_along(others, cell_m / 4.0)).query(dense)[0]
    window = 12
    found = []
    for change in changes.tolist():
        first = max(change - window, 0)
        found.append(first + int(distance[first : change + window].argmin()))
    return found


def _thinned(dense: Points, line: Points) -> Points:
    """The ends of a stretch and the line's own vertices between them."""
    own = scipy.spatial.cKDTree(line).query(dense)[0] < 1e-6
    own[[0, -1]] = True
    return dense[own]

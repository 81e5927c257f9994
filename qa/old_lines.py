"""The lines of the old base map, each with the place its vertices have on the new one: what things are attached to.

Which feature is which on the two editions is ``matching.py``'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import shapely
from numpy.typing import NDArray

from qa.base_maps import BaseMaps, Geometries
from qa.matching import Matches
from transforms.contract import Points
from transforms.nodes import each_between

Integers = NDArray[np.int64]
Numbers = NDArray[np.float64]

RUN_SEGMENTS = 16
"""Neighbouring segments that the search tree holds as one: a tree of single ones takes 3 GiB of a million features."""

SAME, CHANGED, GONE = 0, 1, 2
"""What became of a feature of the old map: it is on the new one as it was, otherwise, or not at all."""


@dataclass(frozen=True)
class OldLines:
    """Segments of the old edition and where both their ends went.

    Parameters
    ----------
    start, end
        ``(m, 2)`` ends on the old map [m].
    new_start, new_end
        ``(m, 2)`` the same ends on the new map; NaN unless the owner is ``SAME``.
    owner
        ``(m,)`` row of the feature in the old edition.
    state
        ``(features,)`` ``SAME``, ``CHANGED`` or ``GONE``.
    is_area
        ``(features,)`` whether the feature is an area: a building.
    runs
        Runs of neighbouring segments in a search tree.
    """

    start: Points
    end: Points
    new_start: Points
    new_end: Points
    owner: Integers
    state: Integers
    is_area: NDArray[np.bool_]
    runs: _Runs

    @classmethod
    def of(cls, base: BaseMaps) -> OldLines:
        """The lines of both editions, feature by feature."""
        state = states(base)
        before = base.before.geometries
        drawn = _Drawn.of(before)
        image = _images(drawn, base.matches)
        first = np.flatnonzero(drawn.line[:-1] == drawn.line[1:])
        first = first[(drawn.place[first] != drawn.place[first + 1]).any(axis=1)]
        ends = (drawn.place[first], drawn.place[first + 1])
        images = (image[first], image[first + 1])
        owner, line = drawn.owner[first], drawn.line[first]
        del drawn, image, first  # of a million features these are large
        return cls(*ends, *images, owner, state, shapely.get_dimensions(before) == 2, _Runs.of(*ends, line))

    def __len__(self) -> int:
        return len(self.start)

    @property
    def has_image(self) -> NDArray[np.bool_]:
        """``(m,)`` whether it is known where the segment went."""
        return cast("NDArray[np.bool_]", self.state[self.owner] == SAME)

    @property
    def has_free_image(self) -> NDArray[np.bool_]:
        """``(m,)`` whether it is known where the segment went, and it is none of a building's outline."""
        return self.has_image & ~self.is_area[self.owner]

    def within(self, points: Points, distance_m: float) -> tuple[Integers, Integers]:
        """Every pair of a point ``(n, 2)`` and a segment no further away: their rows, ``(k,)`` each."""
        if not len(points) or not len(self):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        point, segment = self.runs.within(points, distance_m)
        away = points[point] - self.foot(points[point], segment)[0]
        near = np.hypot(away[:, 0], away[:, 1]) <= distance_m
        return point[near], segment[near]

    def foot(self, points: Points, segment: Integers) -> tuple[Points, Numbers]:
        """The place ``(k, 2)`` on each segment that is nearest to its point, and how far along it lies."""
        along = self.end[segment] - self.start[segment]
        share = ((points - self.start[segment]) * along).sum(axis=1) / (along**2).sum(axis=1)
        share = np.clip(share, 0.0, 1.0)
        return _between(self.start[segment], self.end[segment], share), share

    def image(self, segment: Integers, share: Numbers) -> Points:
        """Where the place so far along each segment lies on the new map, ``(k, 2)``; NaN where nobody knows."""
        return _between(self.new_start[segment], self.new_end[segment], share)


def states(base: BaseMaps) -> Integers:
    """What became of each feature of the old edition, ``(n,)``: ``SAME``, ``CHANGED`` or ``GONE``."""
    state = np.full(len(base.before.geometries), GONE, dtype=np.int64)
    state[base.matches.old] = np.where(base.matches.is_altered, CHANGED, SAME)
    return state


@dataclass(frozen=True)
class _Runs:
    """Runs of neighbouring segments of a line: ``first`` ``(r + 1,)`` is where each begins among all segments."""

    first: Integers
    tree: shapely.STRtree

    @classmethod
    def of(cls, start: Points, end: Points, line: Integers) -> _Runs:
        """The segments from ``start`` to ``end``, in runs of ``RUN_SEGMENTS`` at most; ``line`` ``(m,)`` as drawn."""
        broken = np.ones(len(line), dtype=bool)
        broken[1:] = (line[1:] != line[:-1]) | (start[1:] != end[:-1]).any(axis=1)
        of_stretch = np.flatnonzero(broken)
        place = np.arange(len(line)) - np.repeat(of_stretch, np.diff(np.append(of_stretch, len(line))))
        first = np.flatnonzero(place % RUN_SEGMENTS == 0)
        after = np.append(first[1:], len(line))
        segment = each_between(first, after - 1)
        order = np.argsort(np.concatenate([segment[0], np.arange(len(first))]), kind="stable")
        vertices = np.concatenate([start, end[after - 1]])[order]
        run = np.concatenate([segment[0], np.arange(len(first))])[order]
        return cls(np.append(first, len(line)), shapely.STRtree(shapely.linestrings(vertices, indices=run)))

    def within(self, points: Points, distance_m: float) -> tuple[Integers, Integers]:
        """Pairs of a point and a segment of a run no further away: no near pair is missing, far ones are among them."""
        point, run = self.tree.query(shapely.points(points), predicate="dwithin", distance=distance_m)
        pair, segment = each_between(self.first[run], self.first[run + 1] - 1)
        return point[pair].astype(np.int64), segment


@dataclass(frozen=True)
class _Drawn:
    """The vertices of geometries in drawing order, with their line (or ring) and their feature."""

    place: Points
    line: Integers
    owner: Integers

    @classmethod
    def of(cls, geometries: Geometries) -> _Drawn:
        parts, feature = shapely.get_parts(geometries, return_index=True)
        is_area = shapely.get_dimensions(parts) == 2
        rings, ring_part = shapely.get_rings(parts[is_area], return_index=True)
        is_line = shapely.get_dimensions(parts) == 1
        lines = np.concatenate([rings, parts[is_line]])
        owner = np.concatenate([feature[is_area][ring_part], feature[is_line]])
        order = np.argsort(owner, kind="stable")
        place, line = shapely.get_coordinates(lines[order], return_index=True)
        return cls(place, line, owner[order][line])


def _between(start: Points, end: Points, share: Numbers) -> Points:
    """Exact at both ends, so that a vertex goes where the map's vertex went, to the last bit."""
    share = share[:, None]
    return cast("Points", np.where(share == 1.0, end, start + share * (end - start)))


def _images(drawn: _Drawn, matches: Matches) -> Points:
    """Where each vertex went, ``(n, 2)``: as the corner of its feature at the same place; NaN for unknown."""
    owner = np.concatenate([matches.old[matches.corner_pair], drawn.owner])
    place = np.concatenate([matches.corner_before, drawn.place])
    corners = len(matches.corner_before)
    order = np.lexsort((np.arange(len(owner)) >= corners, place[:, 1], place[:, 0], owner))
    new = np.r_[True, (np.diff(owner[order]) != 0) | (np.diff(place[order], axis=0) != 0).any(axis=1)][: len(order)]
    leader = order[np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))]
    corner = np.empty(len(owner), dtype=np.int64)
    corner[order] = np.where(leader < corners, leader, corners)
    return np.concatenate([matches.corner_after, np.full((1, 2), np.nan)])[corner[corners:]]

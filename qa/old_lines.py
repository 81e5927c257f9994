"""The lines of the old base map, each with the place its vertices have on the new one: what things are attached to.

Which feature is which on the two editions is asked of one function, ``counterparts``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import shapely
from numpy.typing import NDArray

from qa.base_maps import ALTERED_RATIO, LONGEST_SHIFT_M, BaseMaps, Edition, Geometries
from transforms.contract import Points

Integers = NDArray[np.int64]
Numbers = NDArray[np.float64]

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
    tree
        The segments in a search tree.
    """

    start: Points
    end: Points
    new_start: Points
    new_end: Points
    owner: Integers
    state: Integers
    is_area: NDArray[np.bool_]
    tree: shapely.STRtree

    @classmethod
    def of(cls, base: BaseMaps) -> OldLines:
        """The lines of both editions, feature by feature."""
        new_row, state = counterparts(base)
        before, after = base.before.geometries, base.after.geometries
        drawn = _Drawn.of(before)
        image = np.full_like(drawn.place, np.nan)
        same = np.flatnonzero(state == SAME)
        image[np.isin(drawn.owner, same)] = _Drawn.of(after[new_row[same]]).place
        first = np.flatnonzero(drawn.line[:-1] == drawn.line[1:])
        first = first[(drawn.place[first] != drawn.place[first + 1]).any(axis=1)]
        ends = (drawn.place[first], drawn.place[first + 1])
        return cls(
            *ends,
            image[first],
            image[first + 1],
            drawn.owner[first],
            state,
            shapely.get_dimensions(before) == 2,
            shapely.STRtree(shapely.linestrings(np.stack(ends, axis=1))),
        )

    def __len__(self) -> int:
        return len(self.start)

    @property
    def has_image(self) -> NDArray[np.bool_]:
        """``(m,)`` whether it is known where the segment went."""
        return cast("NDArray[np.bool_]", self.state[self.owner] == SAME)

    def within(self, points: Points, distance_m: float) -> tuple[Integers, Integers]:
        """Every pair of a point ``(n, 2)`` and a segment no further away: their rows, ``(k,)`` each."""
        if not len(points) or not len(self):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        point, segment = self.tree.query(shapely.points(points), predicate="dwithin", distance=distance_m)
        return point.astype(np.int64), segment.astype(np.int64)

    def foot(self, points: Points, segment: Integers) -> tuple[Points, Numbers]:
        """The place ``(k, 2)`` on each segment that is nearest to its point, and how far along it lies."""
        along = self.end[segment] - self.start[segment]
        share = ((points - self.start[segment]) * along).sum(axis=1) / (along**2).sum(axis=1)
        share = np.clip(share, 0.0, 1.0)
        return _between(self.start[segment], self.end[segment], share), share

    def image(self, segment: Integers, share: Numbers) -> Points:
        """Where the place so far along each segment lies on the new map, ``(k, 2)``; NaN where nobody knows."""
        return _between(self.new_start[segment], self.new_end[segment], share)


def counterparts(base: BaseMaps) -> tuple[Integers, Integers]:
    """Which feature of the new edition each of the old one is, and whether it is as it was.

    Returns
    -------
    new_row, state
        ``(n,)`` each; -1 for a feature that is gone.
    """
    before, after = base.before, base.after
    new_row = _by_id(before, after)
    lost = np.flatnonzero(new_row < 0)
    free = np.setdiff1d(np.arange(len(after.geometries)), new_row[new_row >= 0])
    new_row[lost] = _by_shape(base, lost, free)
    state = np.full(len(new_row), GONE, dtype=np.int64)
    paired = np.flatnonzero(new_row >= 0)
    is_same = _is_as_it_was(before.geometries[paired], after.geometries[new_row[paired]])
    state[paired] = np.where(is_same, SAME, CHANGED)
    return new_row, state


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


def _by_id(before: Edition, after: Edition) -> Integers:
    from qa.base_maps import _rows_with_the_same_id

    old_row, new_row = _rows_with_the_same_id(before.ids, after.ids)
    result = np.full(len(before.geometries), -1, dtype=np.int64)
    result[old_row] = new_row
    return result


def _is_as_it_was(old: Geometries, new: Geometries) -> NDArray[np.bool_]:
    same = shapely.get_type_id(old) == shapely.get_type_id(new)
    same &= shapely.get_num_coordinates(old) == shapely.get_num_coordinates(new)
    is_area = shapely.get_dimensions(old) == 2
    was, now = (np.where(is_area, shapely.area(shape), shapely.length(shape)) for shape in (old, new))
    same &= np.abs(now - was) <= np.maximum(ALTERED_RATIO * was, 0.5)
    place, owner = shapely.get_coordinates(old[same], return_index=True)
    far = np.linalg.norm(shapely.get_coordinates(new[same]) - place, axis=1) > LONGEST_SHIFT_M
    same[np.flatnonzero(same)[owner[far]]] = False
    return np.asarray(same)


_SHAPE_M = 0.5
_EXPECTED_M = 1.5


def _by_shape(base: BaseMaps, lost: Integers, free: Integers) -> Integers:
    """The one free feature of the new edition with the same shape where a lost one should be; -1 for none."""
    found = np.full(len(lost), -1, dtype=np.int64)
    if not len(lost) or not len(free):
        return found
    old, new = base.before.geometries[lost], base.after.geometries[free]
    expected = shapely.get_coordinates(shapely.centroid(old))
    shift = base.observed_shift(expected).shift
    known = np.isfinite(shift[:, 0])
    query = shapely.points(np.where(known[:, None], expected + shift, 0.0))
    row, other = shapely.STRtree(shapely.centroid(new)).query(query, predicate="dwithin", distance=_EXPECTED_M)
    alike = known[row] & (shapely.get_num_coordinates(old[row]) == shapely.get_num_coordinates(new[other]))
    alike &= shapely.get_dimensions(old[row]) == shapely.get_dimensions(new[other])
    row, other = row[alike], other[alike]
    misfit_m = _misfit_m(old[row], new[other], shift[row])
    good = misfit_m <= _SHAPE_M + _EXPECTED_M
    row, other, misfit_m = row[good], other[good], misfit_m[good]
    order = np.lexsort((misfit_m, row))
    row, other, misfit_m = row[order], other[order], misfit_m[order]
    first = np.r_[True, row[1:] != row[:-1]] if len(row) else np.empty(0, bool)
    rival = np.r_[misfit_m[1:], np.inf]
    rival[np.flatnonzero(np.r_[first[1:], True])] = np.inf
    clear = first & (rival > 2.0 * misfit_m + 0.2)
    taken, count = np.unique(other[clear], return_counts=True)
    clear &= ~np.isin(other, taken[count > 1])
    found[row[clear]] = free[other[clear]]
    return found


def _misfit_m(old: Geometries, new: Geometries, shift: Points) -> Numbers:
    """The worst vertex of each pair once the old one is shifted, ``(k,)``."""
    place, owner = shapely.get_coordinates(old, return_index=True)
    away = np.linalg.norm(shapely.get_coordinates(new) - place - shift[owner], axis=1)
    worst = np.zeros(len(old))
    np.maximum.at(worst, owner, away)
    return worst

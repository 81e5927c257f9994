"""What lies in what and on which side: the answers a search gives, before the move and after it.

Before, everything lies where the council drew it, against the old map; after, where it is proposed, against the new.
Only answers that differ are of interest. Geometries in, row numbers out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from qa.base_maps import Geometries
from qa.old_lines import Integers, OldLines
from transforms.contract import Points

INSIDE_M = 0.1
"""Lines and areas must reach so far into an area to lie in it: neighbours that share an edge do not overlap."""

BESIDE_M = 3.0
"""So near to a line of the map its side matters: which side of the hedge a path runs."""

ON_THE_LINE_M = 0.1
"""Nearer than this a place lies on the line and has no side."""


@dataclass(frozen=True)
class Changes:
    """Answers of one pair of layers.

    Parameters
    ----------
    before, after
        How many pairs of features lay in one another, and do.
    one, other
        ``(k,)`` rows of the features whose answer changed.
    was_in
        ``(k,)`` whether they lay in one another before.
    """

    before: int
    after: int
    one: Integers
    other: Integers
    was_in: NDArray[np.bool_]


def changed_answers(
    one_before: Geometries, one_after: Geometries, other_before: Geometries, other_after: Geometries
) -> Changes:
    """Compare what lies in what between two layers before and after.

    Parameters
    ----------
    one_before, one_after, other_before, other_after
        ``(n,)`` and ``(m,)`` geometries of either layer; None where there is none. A point lies in an area, or on its
        edge; a line or an area overlaps it by more than ``INSIDE_M``. Points and lines hold nothing.
    """
    count = max(len(other_before), 1)
    was, now = (
        row * count + container
        for row, container in (_lies_in(one_before, other_before), _lies_in(one_after, other_after))
    )
    changed = np.setxor1d(was, now)
    return Changes(len(was), len(now), changed // count, changed % count, np.isin(changed, was))


def _lies_in(one: Geometries, other: Geometries) -> tuple[Integers, Integers]:
    """Pairs of rows, either of which holds the other or overlaps it."""
    if not len(one) or not len(other):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    row, container = shapely.STRtree(other).query(one, predicate="intersects")
    dimension = np.stack([shapely.get_dimensions(one[row]), shapely.get_dimensions(other[container])])
    holds = dimension.max(axis=0, initial=0) == 2
    row, container, dimension = row[holds], container[holds], dimension[:, holds]
    sure = dimension.min(axis=0, initial=2) == 0
    sure |= shapely.intersects(_shrunk(one, row), _shrunk(other, container))
    return row[sure].astype(np.int64), container[sure].astype(np.int64)


def _shrunk(shapes: Geometries, rows: NDArray[np.int_]) -> Geometries:
    """The shapes of ``rows``, areas without their rim; one that is all rim stays whole."""
    once, number = np.unique(rows, return_inverse=True)
    inner = shapes[once].copy()
    is_area = shapely.get_dimensions(inner) == 2
    less = shapely.buffer(inner[is_area], -INSIDE_M, join_style="mitre")
    inner[is_area] = np.where(shapely.is_empty(less), inner[is_area], less)
    return np.asarray(inner[number])


def changed_sides(before: Points, after: Points, lines: OldLines) -> tuple[Integers, Integers]:
    """Places that lay on one side of a line of the old map and lie on the other side of it on the new one.

    Parameters
    ----------
    before, after
        ``(n, 2)`` old and new places.
    lines
        The old map, and where its lines went.

    Returns
    -------
    place, segment
        ``(k,)`` each: which place, and the segment of the map it changed the side of.
    """
    place, segment = lines.within(before, BESIDE_M)
    known = lines.has_image[segment]
    place, segment = place[known], segment[known]
    foot, share = lines.foot(before[place], segment)
    beside = (share > 0.0) & (share < 1.0)
    place, segment, foot, share = place[beside], segment[beside], foot[beside], share[beside]
    old_side = _side(before[place] - foot, lines.end[segment] - lines.start[segment])
    new_foot = lines.image(segment, share)
    new_side = _side(after[place] - new_foot, lines.new_end[segment] - lines.new_start[segment])
    changed = (old_side * new_side < 0) & (np.minimum(np.abs(old_side), np.abs(new_side)) > ON_THE_LINE_M)
    return place[changed], segment[changed]


def _side(offset: Points, along: Points) -> NDArray[np.float64]:
    """Distance from the line in metres, positive on its left."""
    cross = along[:, 0] * offset[:, 1] - along[:, 1] * offset[:, 0]
    return np.asarray(cross / np.hypot(*along.T))

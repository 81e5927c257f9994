"""Things that are still there but were extended, cut down or redrawn: told by how much of them lies on one another.

For what ``qa/matching.py`` could not match vertex by vertex.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from transforms.contract import Points

Geometries = NDArray[np.object_]
Ints = NDArray[np.int_]
Floats = NDArray[np.float64]

LEAST_OVERLAP = 0.6
"""Share of the smaller thing that must lie on the other one."""

LEAST_OVERLAP_OF_LARGER = 0.25
"""Share of the larger thing that must: a shed inside the outline of a new hall is not the hall."""

ON_A_LINE_M = 0.5
"""A line this near to another lies on it, once laid over it by its neighbours' shift."""


def altered_pairs(old: Geometries, new: Geometries, shift: Points, same_id: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    """Pairs of rows of ``old`` and ``new`` that are one thing, altered.

    Parameters
    ----------
    old, new
        ``(n,)`` and ``(m,)`` geometries that have no unaltered match.
    shift
        ``(n, 2)`` how the surroundings of each of ``old`` moved, in metres.
    same_id
        Rows of ``old`` and of ``new`` that carry the same identifier: those need only touch.
    """
    if not len(old) or not len(new):
        return np.empty(0, dtype=int), np.empty(0, dtype=int)
    points, owner = shapely.get_coordinates(old, return_index=True)
    laid = shapely.set_coordinates(old.copy(), points + shift[owner])
    found = [_by_id(laid, new, *same_id)]
    for dimension in (2, 1):
        found.append(_by_overlap(laid, new, dimension))
    row, there, score = (np.concatenate(each) for each in zip(*found, strict=True))
    return _best_first(row, there, score)


def _by_id(laid: Geometries, new: Geometries, row: Ints, there: Ints) -> tuple[Ints, Ints, Floats]:
    same_kind = shapely.get_dimensions(laid[row]) == shapely.get_dimensions(new[there])
    near = same_kind & (shapely.distance(laid[row], new[there]) <= ON_A_LINE_M)
    return row[near], there[near], np.full(int(near.sum()), 2.0)


def _by_overlap(laid: Geometries, new: Geometries, dimension: int) -> tuple[Ints, Ints, Floats]:
    rows = np.flatnonzero(shapely.get_dimensions(laid) == dimension)
    theirs = np.flatnonzero(shapely.get_dimensions(new) == dimension)
    left, right = shapely.STRtree(new[theirs]).query(laid[rows], predicate="dwithin", distance=ON_A_LINE_M)
    row, there = rows[left], theirs[right]
    overlap = _area_overlap if dimension == 2 else _line_overlap
    of_old, of_new = overlap(laid[row], new[there])
    good = (np.maximum(of_old, of_new) >= LEAST_OVERLAP) & (np.minimum(of_old, of_new) >= LEAST_OVERLAP_OF_LARGER)
    return row[good], there[good], (of_old * of_new)[good]


def _area_overlap(old: Geometries, new: Geometries) -> tuple[Floats, Floats]:
    old, new = (np.where(shapely.is_valid(each), each, shapely.make_valid(each)) for each in (old, new))
    common = shapely.area(shapely.intersection(old, new))
    return common / np.maximum(shapely.area(old), 1e-9), common / np.maximum(shapely.area(new), 1e-9)


def _line_overlap(old: Geometries, new: Geometries) -> tuple[Floats, Floats]:
    def on(line: Geometries, other: Geometries) -> Floats:
        near = shapely.intersection(line, shapely.buffer(other, ON_A_LINE_M, quad_segs=2))
        return np.asarray(shapely.length(near) / np.maximum(shapely.length(line), 1e-9))

    return on(old, new), on(new, old)


def _best_first(row: Ints, there: Ints, score: Floats) -> tuple[Ints, Ints]:
    """Each row once, the best pairs first."""
    taken_row: set[int] = set()
    taken_there: set[int] = set()
    kept = []
    for k in np.argsort(-score, kind="stable").tolist():
        if row[k] not in taken_row and there[k] not in taken_there:
            taken_row.add(row[k])
            taken_there.add(there[k])
            kept.append(k)
    kept.sort(key=lambda k: row[k])
    return row[kept], there[kept]

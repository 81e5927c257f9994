"""Pairs of shapes of two editions that could be the same thing: near one another, and alike once laid together.

Only shapes with equally many vertices are compared here; ``qa/matching.py`` chooses among the pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from qa.outlines import LINE, RING, Outlines
from transforms.contract import Points

Ints = NDArray[np.int_]
Floats = NDArray[np.float64]

MOST_CANDIDATES = 8
"""The nearest shapes of the other edition that are looked at; a dense terrace has about six within a shift."""

SHAPE_NOISE_M = 0.10
"""How much the vertices of one thing differ between editions, beside its common shift (root mean square)."""

SHAPE_NOISE_RATIO = 0.004
"""The same for each metre of size: the shift is not the same along a long line."""

_MOST_COORDINATES = 2_000_000
"""Coordinates compared at once; bounds the memory."""


@dataclass(frozen=True)
class Candidates:
    """Pairs that could be the same thing, in the order of the old rows.

    Parameters
    ----------
    old, new
        ``(p,)`` rows of the two editions.
    shift
        ``(p, 2)`` mean of the vertices' shifts in metres.
    likeness
        ``(p,)`` from 1 for the same shape down to 0 for another.
    residual_m
        ``(p,)`` root mean square distance of the vertices once the shapes are laid together.
    start
        ``(p,)`` vertex of the new shape that answers to the old one's first.
    is_reversed
        ``(p,)`` whether the new shape runs the other way.
    """

    old: Ints
    new: Ints
    shift: Points
    likeness: Floats
    residual_m: Floats
    start: Ints
    is_reversed: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.old)

    def take(self, rows: Ints | NDArray[np.bool_]) -> Candidates:
        """The pairs at ``rows`` (indices or a mask)."""
        return Candidates(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def candidates(old: Outlines, new: Outlines, within_m: float) -> Candidates:
    """The pairs of shapes with equally many vertices whose centres lie within ``within_m`` of one another.

    Shapes so unlike that they can hardly be the same are left out.
    """
    every = _concatenated(
        [_compared(old, new, old_row, new_row, count) for count, old_row, new_row in _near_pairs(old, new, within_m)]
    )
    return every.take(np.argsort(every.old, kind="stable"))


_LEAST_LIKENESS = 0.01


def _near_pairs(old: Outlines, new: Outlines, within_m: float) -> Iterator[tuple[int, Ints, Ints]]:
    """Of each kind and number of vertices: old and new rows of the pairs that are near, in bounded portions."""
    old_class, new_class = (each.count * 4 + each.kind for each in (old, new))
    new_order = np.argsort(new_class, kind="stable")
    sorted_classes = new_class[new_order]
    old_order = np.argsort(old_class, kind="stable")
    classes, begin = np.unique(old_class[old_order], return_index=True)
    end = np.append(begin, len(old_order))[1:]
    for this, left_of, right_of in zip(classes, begin, end, strict=True):
        rows = old_order[left_of:right_of]
        count = int(this) // 4
        left, right = np.searchsorted(sorted_classes, [this, this + 1])
        if left == right or count == 0:
            continue
        there = new_order[left:right]
        tree = cKDTree(new.centre[there])
        many = min(MOST_CANDIDATES, len(there))
        portion = max(1, _MOST_COORDINATES // (count * many))
        for part in np.split(rows, range(portion, len(rows), portion)):
            distance, found = tree.query(old.centre[part], k=np.arange(1, many + 1), distance_upper_bound=within_m)
            near = np.isfinite(distance)
            yield count, np.repeat(part, near.sum(axis=1)), there[found[near]]


def _compared(old: Outlines, new: Outlines, old_row: Ints, new_row: Ints, count: int) -> Candidates:
    """Lay the shapes of each pair together, in the best of the ways their vertices can follow one another."""
    was, now = old.vertices(old_row, count), new.vertices(new_row, count)
    is_ring, is_line = old.kind[old_row] == RING, old.kind[old_row] == LINE
    relative = was[:, :1] - old.centre[old_row][:, None] + new.centre[new_row][:, None]
    nearest = np.argmin(np.sum((now - relative) ** 2, axis=2), axis=1)
    zero = np.zeros(len(old_row), dtype=int)
    ways = [(zero, 1, True), (nearest, 1, is_ring), (nearest, -1, is_ring), (zero + count - 1, -1, is_line)]
    spread = np.stack([np.where(allowed, _spread_m(was, now, start, step), np.inf) for start, step, allowed in ways])
    best = np.argmin(spread, axis=0)
    residual_m = spread[best, np.arange(len(old_row))]
    noise_m = SHAPE_NOISE_M + SHAPE_NOISE_RATIO * np.maximum(old.radius_m[old_row], new.radius_m[new_row])
    pairs = Candidates(
        old_row,
        new_row,
        new.centre[new_row] - old.centre[old_row],
        1.0 / (1.0 + (residual_m / noise_m) ** 2),
        residual_m,
        np.choose(best, [zero, nearest, nearest, zero + count - 1]),
        best >= _FIRST_REVERSED,
    )
    return pairs.take(pairs.likeness > _LEAST_LIKENESS)  # at once: of a million features all pairs take gigabytes


_FIRST_REVERSED = 2


def _spread_m(was: Points, now: Points, start: Ints, step: int) -> Floats:
    count = was.shape[1]
    order = (start[:, None] + step * np.arange(count)) % count
    shift = np.take_along_axis(now, order[..., None], axis=1) - was
    return np.asarray(np.sqrt(np.mean(np.sum((shift - shift.mean(axis=1, keepdims=True)) ** 2, axis=2), axis=1)))


def _concatenated(found: list[Candidates]) -> Candidates:
    if not found:
        none, nothing = np.empty(0, dtype=int), np.empty(0)
        return Candidates(none, none, np.empty((0, 2)), nothing, nothing, none, np.empty(0, dtype=bool))
    return Candidates(
        *(np.concatenate([getattr(each, name) for each in found]) for name in Candidates.__dataclass_fields__)
    )

"""The segments of many polylines: which is nearest to a place, how far it is, and on which side the place lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy
from numpy.typing import NDArray

from .complex_places import as_complex, length
from .contract import Points

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]


@dataclass(frozen=True)
class LineSegments:
    """The straight segments of all lines, cut short so that a tree of their middles finds the nearest.

    Parameters
    ----------
    start, end
        ``(s, 2)`` metres.
    line
        ``(s,)`` the line each belongs to.
    """

    start: Points
    end: Points
    line: Ints

    @classmethod
    def of(cls, lines: Sequence[Points], longest_m: float) -> LineSegments:
        """The segments of ``lines``, each cut into parts of at most ``longest_m`` metres."""
        start = np.concatenate([line[:-1] for line in lines])
        end = np.concatenate([line[1:] for line in lines])
        number = np.repeat(np.arange(len(lines)), [len(line) - 1 for line in lines])
        length_m = length(end - start)
        kept = length_m > 0
        start, end, number = start[kept], end[kept], number[kept]
        parts = np.ceil(length_m[kept] / longest_m).astype(int)
        step = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
        share = (step / np.repeat(parts, parts))[:, None]
        next_share = ((step + 1) / np.repeat(parts, parts))[:, None]
        whole, base = np.repeat(end - start, parts, axis=0), np.repeat(start, parts, axis=0)
        return cls(base + share * whole, base + next_share * whole, np.repeat(number, parts))

    @cached_property
    def _tree(self) -> scipy.spatial.cKDTree:
        return scipy.spatial.cKDTree((self.start + self.end) / 2.0)

    @cached_property
    def _half_length(self) -> float:
        return float(np.hypot(*(self.end - self.start).T).max() / 2.0)

    def nearest(self, points: Points, candidates: int = 4) -> tuple[Ints, Floats]:
        """The nearest segment ``(n,)`` and its distance; of equally near ones that seen most from the side."""
        have = min(candidates, len(self.start))
        away, rows = self._tree.query(points, k=np.arange(1, have + 1))
        segment, distance = self._best(points, rows)
        # A segment whose middle lies beyond the last candidate may still be nearer, by half its length.
        unsure = np.flatnonzero((away[:, -1] - self._half_length < distance) & (have < len(self.start)))
        if len(unsure):
            segment[unsure], distance[unsure] = self.nearest(points[unsure], 4 * candidates)
        return segment, distance

    def _best(self, points: Points, rows: Ints) -> tuple[Ints, Floats]:
        start, along = as_complex(self.start)[rows], as_complex(self.end - self.start)[rows]
        square = along.real**2 + along.imag**2
        # The real part is the way along the segment, the imaginary part the way off it, both times its length.
        seen = np.conj(along) * (as_complex(points)[:, None] - start)
        beyond = seen.real - np.clip(seen.real, 0.0, square)
        distance = np.sqrt((beyond**2 + seen.imag**2) / square)
        tied = distance <= distance.min(axis=1, keepdims=True) + 1e-6
        choice = np.where(tied, np.abs(seen.imag) / np.sqrt(square), -1.0).argmax(axis=1)
        each = np.arange(len(points))
        return rows[each, choice], distance[each, choice]

    def is_left(self, segment: Ints, points: Points) -> NDArray[np.bool_]:
        """Whether each point lies to the left of its segment."""
        along, offset = self.end[segment] - self.start[segment], points - self.start[segment]
        return along[:, 0] * offset[:, 1] - along[:, 1] * offset[:, 0] > 0

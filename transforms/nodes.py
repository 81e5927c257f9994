"""Which places lie on which segments: hanging nodes, found by the million.

A hanging node is a vertex of one feature in the middle of a straight edge of another. Moved apart they part; so
the edge is given the vertex before both move.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .complex_places import as_complex, as_points
from .contract import Points
from .distinct import stand_ins

NODE_TOLERANCE_M = 0.001
"""How far from an edge a vertex still lies on it [m]: the millimetre that formats round to."""

_SEGMENTS_AT_ONCE = 1 << 14
_MOST_BITS = 24
_ROW_STEP = 0x9E3779B1


@dataclass(frozen=True)
class PlaceIndex:
    """Places in a grid whose cells are dealt out to a small table: far-away places cost nothing but a false hit.

    Parameters
    ----------
    places
        ``(n, 2)`` places in the order of their cells [m].
    first
        ``(2 ** bits + 1,)`` where each slot of the table begins in ``places``.
    cell_m
        Size of a cell [m].
    bits
        The table has ``2 ** bits`` slots.
    """

    places: Points
    first: NDArray[np.int32]
    cell_m: float
    bits: int

    @classmethod
    def of(cls, places: Points, cell_m: float) -> PlaceIndex:
        """Index ``places`` ``(n, 2)`` (repeats allowed) in cells of ``cell_m``."""
        stands = stand_ins(places) == np.arange(len(places))
        places = as_points(as_complex(places)[stands])
        bits = min(len(places).bit_length() + 2, _MOST_BITS)
        column, row = (np.floor(axis / cell_m).astype(np.int64) for axis in places.T)
        slot = _slot(row, column, bits)
        # Sorting slot and row in one number is twice as fast as an argsort.
        order = np.sort((slot << 32) | np.arange(len(places))) & 0xFFFFFFFF
        counts = np.bincount(slot, minlength=1 << bits)
        return cls(
            as_points(as_complex(places)[order]),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            cell_m,
            bits,
        )

    def on_segments(
        self, starts: Points, ends: Points, tolerance_m: float = NODE_TOLERANCE_M
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], Points]:
        """The places in the interior of segments.

        Parameters
        ----------
        starts, ends
            ``(m, 2)`` ends of the segments [m]; they must be among the places.
        tolerance_m
            How far from a segment a place may lie; places nearer than this to an end do not count.

        Returns
        -------
        segment, fraction, place
            ``(k,)``, ``(k,)``, ``(k, 2)``, sorted by segment and then along it.
        """
        found = [
            self._on_some(starts[low : low + _SEGMENTS_AT_ONCE], ends[low : low + _SEGMENTS_AT_ONCE], tolerance_m, low)
            for low in range(0, len(starts), _SEGMENTS_AT_ONCE)
        ]
        if not found:
            return np.empty(0, np.int64), np.empty(0), np.empty((0, 2))
        segment, fraction, place = (np.concatenate(column) for column in zip(*found, strict=True))
        return segment, fraction, place

    def _on_some(
        self, starts: Points, ends: Points, tolerance_m: float, first_segment: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], Points]:
        segment, low, counts = self._near(starts, ends, tolerance_m)
        # Cells that hold two places hold the two ends; most segments are settled so, before a place is looked at.
        others = np.bincount(segment, weights=counts, minlength=len(starts)) > 2
        worth = np.flatnonzero(others[segment] & (counts > 0))
        segment, low, counts = segment[worth], low[worth], counts[worth]
        strip, at = each_between(low, low + counts - 1)
        segment = segment[strip]
        fraction, on = _interior(
            as_complex(starts), as_complex(ends), segment, as_complex(self.places)[at], tolerance_m
        )
        segment, place = segment[on], self.places[at[on]]
        # Two cells of one segment may share a slot, and a place may be indexed twice: each place counts once.
        _, once = np.unique(np.column_stack([segment, fraction, place]), axis=0, return_index=True)
        return segment[once] + first_segment, fraction[once], place[once]

    def _near(
        self, starts: Points, ends: Points, tolerance_m: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Segment, first place and number of places of every strip of cells that a segment crosses."""
        segment, row, left, right = _strips_crossed(starts, ends, self.cell_m, tolerance_m)
        last = (1 << self.bits) - 1
        begin = _slot(row, left, self.bits)
        end = begin + np.minimum(right - left, last)
        low = self.first[begin].astype(np.int64)
        counts = self.first[np.minimum(end, last) + 1] - low
        over = np.flatnonzero(end > last)
        if len(over):
            segment = np.concatenate([segment, segment[over]])
            low = np.concatenate([low, np.zeros(len(over), np.int64)])
            counts = np.concatenate([counts, self.first[end[over] - last]])
        return segment, low, counts


def _interior(
    starts: NDArray[np.complex128],
    ends: NDArray[np.complex128],
    segment: NDArray[np.int64],
    place: NDArray[np.complex128],
    tolerance_m: float,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Which rows have their place on their segment between its ends, and where along it."""
    chord = ends - starts
    square = chord.real**2 + chord.imag**2
    # The real part is the way along the segment, the imaginary part the way off it, both times its length.
    seen = np.conj(chord)[segment] * (place - starts[segment])
    # Compared as squares: most rows fail here, and a square root costs more than all the rest.
    limit = square[segment]
    near = np.flatnonzero((seen.imag**2 <= tolerance_m**2 * limit) & (seen.real > 0) & (seen.real < limit))
    length = np.sqrt(limit[near])
    from_start = seen.real[near] / length
    on = (from_start > tolerance_m) & (from_start < length - tolerance_m)
    return (from_start / length)[on], near[on]


def _slot(row: NDArray[np.int64], column: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Neighbours in a row stay neighbours in the table; rows begin far apart, whatever the shape of the land."""
    return (column + row * _ROW_STEP) & ((1 << bits) - 1)


def _strips_crossed(
    starts: Points, ends: Points, cell_m: float, margin_m: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Segment, row, first and last column of every strip of cells that a segment (widened by ``margin_m``) crosses."""
    low = np.floor((np.minimum(starts, ends) - margin_m) / cell_m).astype(np.int64)
    high = np.floor((np.maximum(starts, ends) + margin_m) / cell_m).astype(np.int64)
    segment, row = each_between(low[:, 1], high[:, 1])
    left, right = low[segment, 0], high[segment, 0]
    long = np.flatnonzero((right - left > 1) & (high[segment, 1] - low[segment, 1] > 1))
    if len(long):
        crossed = _columns_in_row(starts[segment[long]], ends[segment[long]], row[long], cell_m, margin_m)
        left[long] = np.maximum(left[long], crossed[0])
        right[long] = np.minimum(right[long], crossed[1])
    return segment, row, left, right


def each_between(low: NDArray[np.int64], high: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All whole numbers from ``low`` to ``high`` ``(n,)``, both included, and the row each belongs to."""
    counts = high - low + 1
    which = np.repeat(np.arange(len(low)), counts)
    return which, np.arange(len(which)) + (low - (np.cumsum(counts) - counts))[which]


def _columns_in_row(
    a: Points, b: Points, row: NDArray[np.int64], cell_m: float, margin_m: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first and last column of a row of cells that the line a-b crosses there."""
    north = b[:, 1] - a[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = [((row + side) * cell_m + edge - a[:, 1]) / north for side, edge in ((0, -margin_m), (1, margin_m))]
    level = np.abs(north) <= margin_m
    share = np.where(level, [[0.0], [1.0]], np.clip(shares, 0.0, 1.0))
    east = a[:, 0] + share * (b[:, 0] - a[:, 0])
    left = np.floor((east.min(axis=0) - margin_m) / cell_m).astype(np.int64)
    return left, np.floor((east.max(axis=0) + margin_m) / cell_m).astype(np.int64)

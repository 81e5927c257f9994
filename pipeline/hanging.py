"""Finding the hanging nodes of a layer that streams by: one pass over it before the pass that moves it.

Up to ``MOST_IN_MEMORY`` segments are kept; a larger layer is laid out on disk in stripes of northing, and one stripe
after the other is looked through, so memory does not grow with the layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import HangingNodes
from pipeline.wkb_batch import WkbBatch
from transforms.contract import Points
from transforms.nodes import NODE_TOLERANCE_M, PlaceIndex

MOST_IN_MEMORY = 5_000_000
"""Segments (40 bytes each) kept before they go to disk."""

STRIPE_M = 500.0
STRIPES = 64
"""Stripes are dealt out to this many files, the 65th to the first again."""

_NO_SEGMENT = -1.0
_CHUNK = 1 << 18

Rows = NDArray[np.float64]
"""``(n, 5)``: easting and northing of both ends, number of the segment; a place alone has the number -1."""


class NodeFinder:
    """Collects the segments and vertices of a layer, then finds which vertices lie on which segments.

    Use it in a ``with``: what it keeps on disk is removed at the end.
    """

    def __init__(self, *, most_in_memory: int = MOST_IN_MEMORY) -> None:
        self.vertices = 0
        self._most = most_in_memory
        self._kept: list[Rows] = []
        self._count = 0
        self._folder: TemporaryDirectory[str] | None = None

    def __enter__(self) -> NodeFinder:
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.clear()
        if self._folder is not None:
            self._folder.cleanup()

    def add(self, batch: WkbBatch) -> None:
        """Add the next batch of the layer; segments are numbered on through all batches."""
        first = self.vertices
        self.vertices += len(batch.place)
        place = batch.place
        usable = np.isfinite(place[:, 0]) & np.isfinite(place[:, 1])
        segment = np.flatnonzero(batch.is_segment & usable & np.append(usable[1:], [False]))
        rows = np.empty((len(segment), 5))
        rows[:, :2], rows[:, 2:4], rows[:, 4] = place[segment], place[segment + 1], segment + first
        self._keep(rows)
        # A vertex that begins or ends a segment is known by it.
        known = np.zeros(len(usable), dtype=bool)
        known[segment] = True
        known[segment + 1] = True
        self.add_places(place[usable & ~known])

    def add_places(self, places: Points) -> None:
        """Add vertices that may hang on segments of the layer: those of another layer moved with the same field."""
        if len(places):
            self._keep(np.concatenate([places, places, np.full((len(places), 1), _NO_SEGMENT)], axis=1))

    def find(self, executor: Executor | None = None) -> HangingNodes:
        """The hanging nodes of everything added."""
        found = [nodes for rows in self._portions() for nodes in _nodes_among(rows, executor)]
        if not found:
            return HangingNodes.none()
        segment, fraction, place = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.lexsort((fraction, segment))
        segment, fraction, place = segment[order], fraction[order], place[order]
        # A segment laid out in two stripes may have met a node twice.
        new = np.ones(len(segment), dtype=bool)
        new[1:] = (segment[1:] != segment[:-1]) | (place[1:] != place[:-1]).any(axis=1)
        return HangingNodes(segment[new], fraction[new], place[new])

    def _keep(self, rows: Rows) -> None:
        self._count += len(rows)
        if self._count <= self._most:
            self._kept.append(rows)
            return
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="post_pai_")
            while self._kept:
                self._lay_out(self._kept.pop())
        self._lay_out(rows)

    def _lay_out(self, rows: Rows) -> None:
        low = np.floor((np.minimum(rows[:, 1], rows[:, 3]) - NODE_TOLERANCE_M) / STRIPE_M).astype(np.int64)
        high = np.floor((np.maximum(rows[:, 1], rows[:, 3]) + NODE_TOLERANCE_M) / STRIPE_M).astype(np.int64)
        # A segment over all stripes is in every file once, not once for every turn.
        span = np.minimum(high - low, STRIPES - 1) + 1
        row = np.repeat(np.arange(len(rows)), span)
        step = np.arange(len(row)) - np.repeat(np.cumsum(span) - span, span)
        stripe = (low[row] + step) % STRIPES
        order = np.argsort(stripe, kind="stable")
        row, bounds = row[order], np.searchsorted(stripe[order], np.arange(STRIPES + 1))
        for number in range(STRIPES):
            if bounds[number] < bounds[number + 1]:
                with self._stripe(number).open("ab") as stream:
                    rows[row[bounds[number] : bounds[number + 1]]].tofile(stream)

    def _stripe(self, number: int) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / f"{number}.rows"

    def _portions(self) -> Iterator[Rows]:
        if self._folder is None:
            rows = np.concatenate([*self._kept, np.empty((0, 5))])
            self._kept.clear()
            yield rows
            return
        for number in range(STRIPES):
            if self._stripe(number).exists():
                yield np.fromfile(self._stripe(number)).reshape(-1, 5)


_Found = tuple[NDArray[np.int64], NDArray[np.float64], Points]


def _nodes_among(rows: Rows, executor: Executor | None) -> list[_Found]:
    if not len(rows):
        return []
    starts, ends, number = rows[:, :2], rows[:, 2:4], rows[:, 4].astype(np.int64)
    index = PlaceIndex.of(_vertices(starts, ends), _cell_size(starts, ends))
    segments = np.flatnonzero(number >= 0)
    chunks = [segments[low : low + _CHUNK] for low in range(0, len(segments), _CHUNK)]

    def search(chunk: NDArray[np.int64]) -> _Found:
        segment, fraction, place = index.on_segments(starts[chunk], ends[chunk])
        return number[chunk][segment], fraction, place

    return list(executor.map(search, chunks) if executor else map(search, chunks))


def _vertices(starts: Points, ends: Points) -> Points:
    """Every vertex at least once: starts, and those ends that do not begin the next row."""
    last = np.ones(len(ends), dtype=bool)
    last[:-1] = (ends[:-1, 0] != starts[1:, 0]) | (ends[:-1, 1] != starts[1:, 1])
    return np.concatenate([starts, ends[last]])


def _cell_size(starts: Points, ends: Points) -> float:
    """Cells as wide as a usual segment: then a segment crosses few, and each holds few vertices."""
    sample = slice(None, None, max(1, len(starts) // 10_000))
    reach = np.abs(ends[sample] - starts[sample]).max(axis=1)
    reach = reach[reach > 0]
    return float(np.clip(np.median(reach), 0.5, 50.0)) if len(reach) else 1.0

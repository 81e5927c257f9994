"""Finding the hanging nodes of a layer that streams by: one pass over it before the pass that moves it.

Segments and vertices are laid out in stripes of northing, and the stripes are looked through one by one, on every
core: each is small enough for the processor's cache. A layer of more than ``MOST_IN_MEMORY`` segments waits on disk,
so memory does not grow with the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.in_order import in_order
from pipeline.geometry.move import HangingNodes
from pipeline.geometry.wkb_batch import WkbBatch
from transforms.contract import Points
from transforms.nodes import NODE_TOLERANCE_M, PlaceIndex

MOST_IN_MEMORY = 5_000_000
"""Segments (40 bytes each) kept before they go to disk."""

STRIPE_M = 500.0
STRIPES = 64
"""Stripes are dealt out to this many places, the 65th to the first again."""

PORTION_ROWS = 100_000
"""Stripes are looked through together until they have so many rows: a small layer is one portion."""

_NO_SEGMENT = -1.0

Rows = NDArray[np.float64]
"""``(n, 5)``: easting and northing of both ends, number of the segment; a place alone has the number -1."""


@dataclass(frozen=True)
class LaidOut:
    """The segments and lone vertices of a batch by stripe, numbered from the batch's first vertex."""

    vertices: int
    stripes: dict[int, Rows]

    @classmethod
    def of(cls, batch: WkbBatch) -> LaidOut:
        """What ``batch`` has to say about hanging nodes."""
        place = batch.place
        usable = np.isfinite(place[:, 0]) & np.isfinite(place[:, 1])
        begins = batch.is_segment & usable
        begins[:-1] &= usable[1:]
        segment = np.flatnonzero(begins)
        # A vertex that begins or ends a segment is known by it.
        lone = usable & ~begins
        lone[1:] &= ~begins[:-1]
        rows = np.concatenate([_segment_rows(place, segment), _place_rows(place[lone])])
        return cls(len(place), _by_stripe(rows))


class NodeFinder:
    """Collects the segments and vertices of a layer, then finds which vertices lie on which segments.

    Use it in a ``with``: what it keeps on disk is removed at the end.
    """

    def __init__(self, *, most_in_memory: int = MOST_IN_MEMORY) -> None:
        self.vertices = 0
        self._most = most_in_memory
        self._kept: dict[int, list[Rows]] = {}
        self._count = 0
        self._folder: TemporaryDirectory[str] | None = None

    def __enter__(self) -> NodeFinder:
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.clear()
        if self._folder is not None:
            self._folder.cleanup()

    def add(self, batch: LaidOut) -> None:
        """Add the next batch of the layer; segments are numbered on through all batches."""
        for rows in batch.stripes.values():
            rows[rows[:, 4] >= 0, 4] += self.vertices
        self.vertices += batch.vertices
        self._keep(batch.stripes)

    def add_places(self, places: Points) -> None:
        """Add vertices that may hang on segments of the layer: those of another layer moved with the same field."""
        self._keep(_by_stripe(_place_rows(places)))

    def find(self, executor: Executor | None = None) -> HangingNodes:
        """The hanging nodes of everything added."""
        portions = self._portions()
        self._kept = {}
        found = [part for part in _each(executor, _nodes_among, portions) if len(part[0])]
        if not found:
            return HangingNodes.none()
        segment, fraction, place = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.lexsort((fraction, segment))
        segment, fraction, place = segment[order], fraction[order], place[order]
        # A segment laid out in two stripes may have met a node twice.
        new = np.ones(len(segment), dtype=bool)
        new[1:] = (segment[1:] != segment[:-1]) | (place[1:] != place[:-1]).any(axis=1)
        return HangingNodes(segment[new], fraction[new], place[new])

    def _keep(self, stripes: dict[int, Rows]) -> None:
        for number, rows in stripes.items():
            self._kept.setdefault(number, []).append(rows)
            self._count += len(rows)
        if self._count > self._most:
            self._to_disk()

    def _to_disk(self) -> None:
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="post_pai_")
        for number, kept in self._kept.items():
            with self._stripe(number).open("ab") as stream:
                for rows in kept:
                    rows.tofile(stream)
        self._kept = {}

    def _stripe(self, number: int) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / f"{number}.rows"

    def _portions(self) -> list[_Portion]:
        """What yields the rows of some stripes each; a stripe on disk is read when its turn comes."""
        if self._folder is not None:
            self._to_disk()
            stripes = (self._stripe(number) for number in range(STRIPES))
            return [partial(_read_rows, stripe) for stripe in stripes if stripe.exists()]
        portions: list[list[Rows]] = [[]]
        for number in sorted(self._kept):
            if sum(map(len, portions[-1])) >= PORTION_ROWS:
                portions.append([])
            portions[-1] += self._kept[number]
        return [partial(np.concatenate, portion) for portion in portions if portion]


_Portion = Callable[[], Rows]
_Found = tuple[NDArray[np.int64], NDArray[np.float64], Points]


def _each(
    executor: Executor | None, work: Callable[[_Portion], _Found], portions: Iterable[_Portion]
) -> Iterable[_Found]:
    return in_order(executor, work, portions) if executor else map(work, portions)


def _segment_rows(place: Points, segment: NDArray[np.int64]) -> Rows:
    rows = np.empty((len(segment), 5))
    rows[:, :2], rows[:, 2:4], rows[:, 4] = place[segment], place[segment + 1], segment
    return rows


def _place_rows(places: Points) -> Rows:
    return np.concatenate([places, places, np.full((len(places), 1), _NO_SEGMENT)], axis=1)


def _by_stripe(rows: Rows) -> dict[int, Rows]:
    low = np.floor((np.minimum(rows[:, 1], rows[:, 3]) - NODE_TOLERANCE_M) / STRIPE_M).astype(np.int64)
    high = np.floor((np.maximum(rows[:, 1], rows[:, 3]) + NODE_TOLERANCE_M) / STRIPE_M).astype(np.int64)
    # A segment over all stripes is in every one once, not once for every turn.
    span = np.minimum(high - low, STRIPES - 1) + 1
    row = np.repeat(np.arange(len(rows)), span)
    step = np.arange(len(row)) - np.repeat(np.cumsum(span) - span, span)
    # Small numbers are sorted by radix, in linear time.
    stripe = ((low[row] + step) % STRIPES).astype(np.uint8)
    order = np.argsort(stripe, kind="stable")
    row, bounds = row[order], np.searchsorted(stripe[order], np.arange(STRIPES + 1))
    taken = {number: rows[row[bounds[number] : bounds[number + 1]]] for number in range(STRIPES)}
    return {number: of_stripe for number, of_stripe in taken.items() if len(of_stripe)}


def _read_rows(stripe: Path) -> Rows:
    return np.fromfile(stripe).reshape(-1, 5)


def _nodes_among(portion: _Portion) -> _Found:
    rows = portion()
    starts, ends, number = rows[:, :2], rows[:, 2:4], rows[:, 4]
    drawn = np.flatnonzero(number >= 0)
    if not len(drawn):
        return np.empty(0, np.int64), np.empty(0), np.empty((0, 2))
    index = PlaceIndex.of(_vertices(starts, ends), _cell_size(starts, ends))
    segment, fraction, place = index.on_segments(starts[drawn], ends[drawn])
    return number[drawn[segment]].astype(np.int64), fraction, place


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

"""Finding the hanging nodes of a layer that streams by: one pass over it before the pass that moves it.

Vertices are laid out in stripes of northing, and the stripes are looked through one by one, on every
core: each is small enough for the processor's cache. A layer of more than ``MOST_IN_MEMORY`` vertices waits on disk,
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
from pipeline.geometry.wkb import Integers
from pipeline.geometry.wkb_batch import WkbBatch
from transforms.complex_places import as_complex, as_points, is_place
from transforms.contract import Points
from transforms.nodes import NODE_TOLERANCE_M, PlaceIndex, each_between

MOST_IN_MEMORY = 5_000_000
"""Vertices (24 bytes each) kept before they go to disk."""

STRIPE_M = 500.0
STRIPES = 64
"""Stripes are dealt out to this many places, the 65th to the first again."""

PORTION_ROWS = 100_000
"""Stripes are looked through together until they have so many rows: a small layer is one portion."""

CHUNK_SEGMENTS = 32
"""Lines are dealt out in chunks of so many segments: most lie in one stripe whole."""

_NO_SEGMENT = -1

_VERTEX = np.dtype([("place", np.complex128), ("segment", np.int64)])

Rows = NDArray[np.void]
"""``(n,)`` of ``_VERTEX``: vertices in the order in which they are drawn, each with its place (easting + i northing)
and the number of the segment that leads to the next row; -1 where none does."""


@dataclass(frozen=True)
class LaidOut:
    """The vertices of a batch by stripe; segments are numbered from the batch's first vertex."""

    vertices: int
    stripes: dict[int, Rows]

    @classmethod
    def of(cls, batch: WkbBatch) -> LaidOut:
        """What ``batch`` has to say about hanging nodes."""
        place = batch.place
        usable = is_place(place)
        begins = batch.is_segment & usable
        begins[:-1] &= usable[1:]
        rows = _rows(place, np.where(begins, np.arange(len(place)), _NO_SEGMENT))
        return cls(len(place), _by_stripe(rows if usable.all() else rows[usable]))


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
            segment = rows["segment"]
            segment[segment >= 0] += self.vertices
        self.vertices += batch.vertices
        self._keep(batch.stripes)

    def add_places(self, places: Points) -> None:
        """Add vertices that may hang on segments of the layer: those of another layer moved with the same field."""
        self._keep(_by_stripe(_rows(places, np.full(len(places), _NO_SEGMENT))))

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


def _rows(place: Points, segment: Integers) -> Rows:
    rows = np.empty(len(place), _VERTEX)
    rows["place"], rows["segment"] = as_complex(place), segment
    return rows


def _by_stripe(rows: Rows) -> dict[int, Rows]:
    first, last = _chunks(rows["segment"])
    north = rows["place"].imag
    low, high = (
        np.floor((nearest(nearest.reduceat(north, first), north[last]) + margin) / STRIPE_M).astype(np.int64)
        for nearest, margin in ((np.minimum, -NODE_TOLERANCE_M), (np.maximum, NODE_TOLERANCE_M))
    )
    # A chunk over all stripes is in every one once, not once for every turn.
    chunk, stripe = each_between(low, np.minimum(high, low + STRIPES - 1))
    # Small numbers are sorted by radix, in linear time.
    stripe = (stripe % STRIPES).astype(np.uint8)
    order = np.argsort(stripe, kind="stable")
    chunk, stripe = chunk[order], stripe[order]
    taken = rows.take(each_between(first[chunk], last[chunk])[1])
    after = np.cumsum(last[chunk] - first[chunk] + 1)
    taken["segment"][after - 1] = _NO_SEGMENT
    bounds = np.r_[0, after][np.searchsorted(stripe, np.arange(STRIPES + 1))]
    return {number: taken[bounds[number] : bounds[number + 1]] for number in np.unique(stripe).tolist()}


def _chunks(segment: Integers) -> tuple[Integers, Integers]:
    """The first and last row of every chunk of a line; where one ends in the middle of it the next one begins."""
    end = np.flatnonzero(segment < 0)
    begin = np.r_[0, end[:-1] + 1]
    line, part = each_between(np.zeros_like(end), np.maximum(end - begin - 1, 0) // CHUNK_SEGMENTS)
    first = begin[line] + CHUNK_SEGMENTS * part
    return first, np.minimum(first + CHUNK_SEGMENTS, end[line])


def _read_rows(stripe: Path) -> Rows:
    return np.fromfile(stripe, _VERTEX)


def _nodes_among(portion: _Portion) -> _Found:
    rows = portion()
    place, number = np.ascontiguousarray(rows["place"]), rows["segment"]
    drawn = np.flatnonzero(number >= 0)
    if not len(drawn):
        return np.empty(0, np.int64), np.empty(0), np.empty((0, 2))
    starts, ends = as_points(place[drawn]), as_points(place[drawn + 1])
    index = PlaceIndex.of(as_points(place), _cell_size(starts, ends))
    segment, fraction, on = index.on_segments(starts, ends)
    return number[drawn[segment]], fraction, on


def _cell_size(starts: Points, ends: Points) -> float:
    """Cells as wide as a usual segment: then a segment crosses few, and each holds few vertices."""
    sample = slice(None, None, max(1, len(starts) // 10_000))
    reach = np.abs(ends[sample] - starts[sample]).max(axis=1)
    reach = reach[reach > 0]
    return float(np.clip(np.median(reach), 0.5, 50.0)) if len(reach) else 1.0

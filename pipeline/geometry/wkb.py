"""Where the coordinates lie in a batch of WKB: the walk over the bytes, and nothing about what is done to them.

WKB is a skeleton (types, counts) with runs of coordinates in between. Knowing where the runs are, coordinates are
taken out and put back as arrays, and everything else - Z, M, byte order, SRID, curve types, empty parts, rings that
libraries refuse - stays as it came, byte for byte. (shapely and GEOS read no curves.)

Plain geometries are walked all at once, one run of each feature at a time; the odd ones one by one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]


class Base(IntEnum):
    """The geometry types of ISO 19125 / SQL-MM that consist of coordinate runs; the code without Z and M."""

    POINT = 1
    LINE = 2
    POLYGON = 3
    MULTI_POINT = 4
    MULTI_LINE = 5
    MULTI_POLYGON = 6
    COLLECTION = 7
    ARCS = 8
    COMPOUND_CURVE = 9
    CURVE_POLYGON = 10
    MULTI_CURVE = 11
    MULTI_SURFACE = 12


class Kind(IntEnum):
    """What a run of coordinates draws."""

    POINT = 0
    LINE = 1
    RING = 2
    ARCS = 3


class Trouble(IntEnum):
    """Why a geometry cannot be walked."""

    NONE = 0
    TYPE = 1
    """A type without a plan: TIN, polyhedral surface, or one nobody knows."""
    BROKEN = 2
    """The bytes contradict themselves."""


@dataclass(frozen=True)
class Runs:
    """The runs of coordinates of a batch, in the order of the bytes.

    Parameters
    ----------
    feature
        ``(r,)`` row of the batch each run belongs to.
    kind
        ``(r,)`` one of ``Kind``.
    start
        ``(r,)`` byte of the first coordinate.
    count
        ``(r,)`` number of vertices.
    dimensions
        ``(r,)`` numbers per vertex: 2, 3 or 4.
    count_byte
        ``(r,)`` byte of the vertex count; -1 for a point, which has none.
    header
        ``(r,)`` byte of the type code that governs the run.
    big_endian
        ``(r,)`` whether its numbers are written so.
    trouble
        ``(features,)`` one of ``Trouble``; a feature in trouble has no runs.
    """

    feature: Integers
    kind: Integers
    start: Integers
    count: Integers
    dimensions: Integers
    count_byte: Integers
    header: Integers
    big_endian: NDArray[np.bool_]
    trouble: Integers

    def __len__(self) -> int:
        return len(self.start)

    @property
    def length(self) -> Integers:
        """Bytes of each run."""
        return 8 * self.dimensions * self.count

    def take(self, rows: NDArray[np.int_] | NDArray[np.bool_]) -> Runs:
        """Some of the runs, in that order; ``trouble`` stays whole."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _COLUMNS})


_COLUMNS = ("feature", "kind", "start", "count", "dimensions", "count_byte", "header", "big_endian")

_Row = tuple[int, int, int, int, int, int, int, bool]

_DEEPEST = 32
"""Collections within collections; deeper ones are made to exhaust a reader, not to map anything."""

_STEPS_TOGETHER = 200
"""Runs of one feature walked in company; a feature with more of them is cheaper walked alone."""

_PARTS = {
    Base.MULTI_POINT: Base.POINT,
    Base.MULTI_LINE: Base.LINE,
    Base.MULTI_POLYGON: Base.POLYGON,
}

_CHILDREN = {
    **{base: frozenset({part}) for base, part in _PARTS.items()},
    Base.COLLECTION: frozenset(Base),
    Base.COMPOUND_CURVE: frozenset({Base.LINE, Base.ARCS}),
    Base.CURVE_POLYGON: frozenset({Base.LINE, Base.ARCS, Base.COMPOUND_CURVE}),
    Base.MULTI_CURVE: frozenset({Base.LINE, Base.ARCS, Base.COMPOUND_CURVE}),
    Base.MULTI_SURFACE: frozenset({Base.POLYGON, Base.CURVE_POLYGON}),
}


def find_runs(data: Bytes, offsets: Integers) -> Runs:
    """Find every run of coordinates in a batch.

    Parameters
    ----------
    data
        The bytes of all geometries.
    offsets
        ``(features + 1,)`` where each begins and ends; an empty stretch is a null geometry.
    """
    trouble = np.zeros(len(offsets) - 1, dtype=np.int64)
    together, alone = _walk_together(data, offsets)
    rows: list[_Row] = []
    buffer = memoryview(data.data)
    for feature in alone.tolist():
        begin, end = int(offsets[feature]), int(offsets[feature + 1])
        found, trouble[feature] = _walk_alone(buffer, feature, begin, end)
        rows += found
    columns = np.array(rows, dtype=np.int64).reshape(-1, len(_COLUMNS)).T
    joined = [np.concatenate(pair) for pair in zip(together, columns, strict=True)]
    order = np.argsort(joined[_COLUMNS.index("start")], kind="stable")
    feature, kind, start, count, dimensions, count_byte, header, big_endian = (column[order] for column in joined)
    return Runs(feature, kind, start, count, dimensions, count_byte, header, big_endian.astype(bool), trouble)


# One by one: the whole grammar.


class _Unplanned(Exception):
    pass


class _Broken(Exception):
    pass


def _walk_alone(buffer: memoryview, feature: int, begin: int, end: int) -> tuple[list[_Row], Trouble]:
    rows: list[_Row] = []
    try:
        stop = _walk(buffer[:end], begin, feature, rows, frozenset(Base), 0)
    except _Unplanned:
        return [], Trouble.TYPE
    except (_Broken, struct.error):
        return [], Trouble.BROKEN
    return (rows, Trouble.NONE) if stop == end else ([], Trouble.BROKEN)


def _walk(buffer: memoryview, at: int, feature: int, rows: list[_Row], allowed: frozenset[Base], depth: int) -> int:
    """Walk the geometry at byte ``at``, append its runs to ``rows`` and return the byte after it."""
    order, base, dimensions, body = _read_header(buffer, at)
    if base not in allowed or depth > _DEEPEST:
        raise _Broken
    header, big = at + 1, order == ">"
    if base is Base.POINT:
        rows.append((feature, Kind.POINT, body, 1, dimensions, -1, header, big))
        return _inside(buffer, body + 8 * dimensions)
    (count,) = struct.unpack_from(order + "I", buffer, body)
    if base in (Base.LINE, Base.ARCS):
        kind = Kind.LINE if base is Base.LINE else Kind.ARCS
        rows.append((feature, kind, body + 4, count, dimensions, body, header, big))
        return _inside(buffer, body + 4 + 8 * dimensions * count)
    at = body + 4
    for _ in range(count):
        if base is Base.POLYGON:
            (vertices,) = struct.unpack_from(order + "I", buffer, at)
            rows.append((feature, Kind.RING, at + 4, vertices, dimensions, at, header, big))
            at = _inside(buffer, at + 4 + 8 * dimensions * vertices)
        else:
            at = _walk(buffer, at, feature, rows, _CHILDREN[base], depth + 1)
    return at


def _inside(buffer: memoryview, at: int) -> int:
    if at > len(buffer):
        raise _Broken
    return at


def _read_header(buffer: memoryview, at: int) -> tuple[str, Base, int, int]:
    """Byte order, type, numbers per vertex and the byte where the body begins; ISO and Extended WKB."""
    mark = buffer[at] if at < len(buffer) else 2
    if mark > 1:
        raise _Broken
    order = "<" if mark else ">"
    (code,) = struct.unpack_from(order + "I", buffer, at + 1)
    flags, plain = code >> 28, code & 0x0FFFFFFF
    iso, base = divmod(plain, 1000)
    if iso > 3 or base not in set(Base):
        raise _Unplanned
    has_z = bool(flags & 8) or iso in (1, 3)
    has_m = bool(flags & 4) or iso in (2, 3)
    return order, Base(base), 2 + has_z + has_m, at + (9 if flags & 2 else 5)


# All at once: little-endian ISO (or plain 2-D) points, lines, polygons and their multis.


def unaligned(data: Bytes, dtype: str) -> NDArray[Any]:
    """``data`` seen as numbers that begin at any byte: element ``i`` is the number at byte ``i``."""
    kind = np.dtype(dtype)
    size = max(len(data) - kind.itemsize + 1, 0)
    return np.ndarray((size,), dtype=kind, buffer=data, strides=(1,))


def _walk_together(data: Bytes, offsets: Integers) -> tuple[list[Integers], Integers]:
    """Columns of ``Runs`` for the features walked in company, and the features left to walk alone."""
    walk = _Company(data, offsets)
    found = list(walk.steps())
    alone = np.flatnonzero(~walk.finished & (offsets[1:] > offsets[:-1]))
    columns = [np.concatenate([step[i] for step in found]) if found else np.empty(0, int) for i in range(len(_COLUMNS))]
    if len(alone):
        keep = walk.finished[columns[0]]
        columns = [column[keep] for column in columns]
    return columns, alone


class _Company:
    """The state of a walk over many plain geometries at once, one entry per feature still under way."""

    def __init__(self, data: Bytes, offsets: Integers) -> None:
        self.words = unaligned(data, "<u4")
        self.data = data
        self.finished = np.zeros(len(offsets) - 1, dtype=bool)
        self.feature = np.flatnonzero(offsets[1:] - offsets[:-1] >= 9)
        self.at = offsets[:-1][self.feature].astype(np.int64)
        self.end = offsets[1:][self.feature].astype(np.int64)
        self.part_code = np.zeros(len(self.feature), dtype=np.int64)
        self.parts = np.ones(len(self.feature), dtype=np.int64)
        self.rings = np.zeros(len(self.feature), dtype=np.int64)
        self.header = self.at.copy()
        self._enter_multis()

    def steps(self) -> Iterator[list[NDArray[Any]]]:
        """One run of each feature under way, until all are through or the company has walked far enough."""
        for _ in range(_STEPS_TOGETHER):
            self._enter_parts()
            self._leave_finished()
            if not len(self.feature):
                return
            yield self._run()

    def _keep(self, keep: NDArray[np.bool_]) -> None:
        if keep.all():
            return
        for name in ("feature", "at", "end", "part_code", "parts", "rings", "header"):
            setattr(self, name, getattr(self, name)[keep])

    def _enter_multis(self) -> None:
        code = self._code()
        base = code % 1000
        self._keep((self.data[self.at] == 1) & (code < 4000) & (base >= Base.POINT) & (base <= Base.MULTI_POLYGON))
        code = self._code()
        multi = code % 1000 >= Base.MULTI_POINT
        self.part_code = np.where(multi, code - 3, code)
        self.parts[multi] = self.words[self.at[multi] + 5]
        self.at[multi] += 9

    def _code(self) -> Integers:
        return self.words[self.at + 1].astype(np.int64)

    def _enter_parts(self) -> None:
        """Read part headers until every feature stands before a run, is through, or is left to walk alone."""
        while True:
            self._keep(self.at <= self.end)
            waiting = (self.rings == 0) & (self.parts > 0)
            if not waiting.any():
                return
            room = ~waiting | (self.at + 9 <= self.end)
            self._keep(room)
            waiting = waiting[room]
            at = self.at[waiting]
            good = np.ones(len(waiting), dtype=bool)
            good[waiting] = (self.data[at] == 1) & (self.words[at + 1] == self.part_code[waiting])
            self._keep(good)
            self._open(np.flatnonzero(waiting[good]))

    def _open(self, rows: Integers) -> None:
        polygon = self.part_code[rows] % 1000 == Base.POLYGON
        at = self.at[rows]
        self.parts[rows] -= 1
        self.header[rows] = at + 1
        self.rings[rows] = np.where(polygon, self.words[at + 5], 1)
        self.at[rows] = at + np.where(polygon, 9, 5)

    def _leave_finished(self) -> None:
        through = (self.parts == 0) & (self.rings == 0)
        self.finished[self.feature[through & (self.at == self.end)]] = True
        self._keep(~through)

    def _run(self) -> list[NDArray[Any]]:
        base = self.part_code % 1000
        point = base == Base.POINT
        self._keep(point | (self.at + 4 <= self.end))
        base = self.part_code % 1000
        point = base == Base.POINT
        dimensions = 2 + np.array([0, 1, 1, 2])[self.part_code // 1000]
        count = np.ones(len(self.at), dtype=np.int64)
        count[~point] = self.words[self.at[~point]]
        start = self.at + np.where(point, 0, 4)
        self.rings -= 1
        run = [self.feature, base - 1, start, count, dimensions, np.where(point, -1, self.at), self.header]
        run = [column.copy() for column in run] + [np.zeros(len(self.at), dtype=np.int64)]
        self.at = (start + 8 * dimensions * count).astype(np.int64)
        return run

"""A batch of WKB as arrays of places, and back: coordinates out, coordinates in, vertices inserted.

What is moved is easting and northing. All other bytes are carried over; inserted vertices get the Z and M that lie
between those of their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.geometry.wkb import Base, Bytes, Integers, Kind, Runs, find_runs, unaligned
from transforms.contract import Points


@dataclass(frozen=True)
class Vertices:
    """Vertices for a whole batch, old and inserted, in the order in which they are drawn.

    Parameters
    ----------
    base
        ``(k,)`` the vertex of the batch that each one is, or that it follows.
    fraction
        ``(k,)`` 0 for the vertices of the batch; else how far on towards the next one.
    place
        ``(k, 2)`` where to write them [m].
    """

    base: Integers
    fraction: NDArray[np.float64]
    place: Points


@dataclass(frozen=True)
class WkbBatch:
    """The geometries of a batch: their bytes, and where the coordinates lie in them."""

    data: Bytes
    offsets: Integers
    is_null: NDArray[np.bool_]
    runs: Runs
    array: pa.Array

    @classmethod
    def of(cls, array: pa.Array) -> WkbBatch:
        """The batch in an Arrow array of binary or large binary."""
        if array.offset:
            array = pa.concat_arrays([array, array[:0]]) if len(array) else array.take(pa.array([], pa.int64()))
        array = array if not array.offset else array.take(pa.array(np.arange(len(array))))
        _, offsets_buffer, data_buffer = array.buffers()
        width = np.int64 if pa.types.is_large_binary(array.type) else np.int32
        offsets = np.zeros(1, np.int64)
        if offsets_buffer is not None and offsets_buffer.size:
            offsets = np.frombuffer(offsets_buffer, dtype=width)[: len(array) + 1].astype(np.int64)
        data = np.frombuffer(data_buffer, dtype=np.uint8) if data_buffer is not None else np.empty(0, np.uint8)
        is_null = np.asarray(array.is_null().to_numpy(zero_copy_only=False), dtype=bool)
        return cls(data, offsets, is_null, _without_empty_points(data, find_runs(data, offsets)), array)

    def __len__(self) -> int:
        return len(self.is_null)

    @cached_property
    def first(self) -> Integers:
        """``(runs + 1,)`` the first vertex of each run."""
        return np.concatenate([[0], np.cumsum(self.runs.count)])

    @cached_property
    def run(self) -> Integers:
        """``(vertices,)`` the run of each vertex."""
        return np.repeat(np.arange(len(self.runs)), self.runs.count)

    @cached_property
    def feature(self) -> Integers:
        """``(vertices,)`` the feature of each vertex."""
        return np.repeat(self.runs.feature, self.runs.count)

    @cached_property
    def byte(self) -> Integers:
        """``(vertices,)`` the byte of each vertex's easting."""
        return _vertex_bytes(self.runs.start, self.runs)

    @cached_property
    def place(self) -> Points:
        """``(vertices, 2)`` easting and northing of every vertex [m]."""
        return _read(self.data, self.byte, self._big(self.run)).view(np.float64).reshape(-1, 2)

    @cached_property
    def is_segment(self) -> NDArray[np.bool_]:
        """``(vertices,)`` whether a straight segment begins at the vertex."""
        straight = (self.runs.kind == Kind.LINE) | (self.runs.kind == Kind.RING)
        begins = np.repeat(straight, self.runs.count)
        begins[self.first[1:][self.runs.count > 0] - 1] = False
        return begins

    def with_places(self, place: Points) -> pa.Array:
        """The batch with every vertex at a new ``place`` ``(vertices, 2)``."""
        data = self.data.copy()
        _write(data, self.byte, place, self._big(self.run))
        return self._array(data, self.offsets)

    def with_vertices(self, vertices: Vertices, straightened: NDArray[np.bool_]) -> pa.Array:
        """The batch with other vertices; runs of arcs marked ``straightened`` ``(runs,)`` become lines."""
        run = self.run[vertices.base]
        count = np.bincount(run, minlength=len(self.runs))
        grown = replace(self.runs, count=count)
        growth = np.concatenate([[0], np.cumsum(grown.length - self.runs.length)])
        data = np.empty(len(self.data) + int(growth[-1]), dtype=np.uint8)
        grown = replace(grown, start=self.runs.start + growth[:-1])
        self._copy_skeleton(data, growth)
        _write_counts(data, grown, growth)
        _straighten(data, grown, growth, straightened)
        byte = _vertex_bytes(grown.start, grown)
        _write(data, byte, vertices.place, self._big(run))
        self._write_heights(data, byte, vertices, run)
        return self._array(data, self.offsets + growth[np.searchsorted(self.runs.start, self.offsets)])

    def _copy_skeleton(self, data: Bytes, growth: Integers) -> None:
        begin = np.concatenate([[0], self.runs.start + self.runs.length])
        length = np.concatenate([self.runs.start, [len(self.data)]]) - begin
        gap = np.repeat(np.arange(len(length)), length)
        byte = np.arange(len(gap)) + (begin - (np.cumsum(length) - length))[gap]
        data[byte + growth[gap]] = self.data[byte]

    def _write_heights(self, data: Bytes, byte: Integers, vertices: Vertices, run: Integers) -> None:
        """Z and M: as they were at old vertices, in between at inserted ones."""
        dimensions = self.runs.dimensions[run]
        for ordinate in range(2, int(dimensions.max(initial=2))):
            rows = np.flatnonzero(dimensions > ordinate)
            base, fraction, big = vertices.base[rows], vertices.fraction[rows], self._big(run[rows])
            here = _read(self.data, self.byte[base] + 8 * ordinate, big, "f8")
            inserted = np.flatnonzero(fraction > 0)
            step = 8 * dimensions[rows][inserted] + 8 * ordinate
            there = _read(self.data, self.byte[base[inserted]] + step, None if big is None else big[inserted], "f8")
            here[inserted] += fraction[inserted] * (there - here[inserted])
            _put(data, byte[rows] + 8 * ordinate, here, big)

    def _big(self, run: Integers) -> NDArray[np.bool_] | None:
        return self.runs.big_endian[run] if self.runs.big_endian.any() else None

    def _array(self, data: Bytes, offsets: Integers) -> pa.Array:
        width = np.int64 if pa.types.is_large_binary(self.array.type) else np.int32
        buffers = [self.array.buffers()[0], pa.py_buffer(offsets.astype(width)), pa.py_buffer(data)]
        return pa.Array.from_buffers(self.array.type, len(self), buffers)


def _vertex_bytes(start: Integers, runs: Runs) -> Integers:
    step = 8 * runs.dimensions
    offset = start - step * (np.cumsum(runs.count) - runs.count)
    vertex = np.arange(int(runs.count.sum()))
    if len(step) and (step == step[0]).all():
        return np.repeat(offset, runs.count) + step[0] * vertex
    return np.repeat(offset, runs.count) + np.repeat(step, runs.count) * vertex


def _without_empty_points(data: Bytes, runs: Runs) -> Runs:
    """WKB writes an empty point as NaN, NaN: nothing is drawn there."""
    points = np.flatnonzero(runs.kind == Kind.POINT)
    big = runs.big_endian[points] if runs.big_endian.any() else None
    place = _read(data, runs.start[points], big).view(np.float64).reshape(-1, 2)
    empty = points[np.isnan(place).all(axis=1)]
    return runs.take(np.delete(np.arange(len(runs)), empty)) if len(empty) else runs


def _read(data: Bytes, byte: Integers, big: NDArray[np.bool_] | None, kind: str = "c16") -> NDArray[Any]:
    values = unaligned(data, "<" + kind)[byte]
    if big is not None and big.any():
        values[big] = unaligned(data, ">" + kind)[byte[big]]
    return values


def _write(data: Bytes, byte: Integers, place: Points, big: NDArray[np.bool_] | None) -> None:
    _put(data, byte, np.ascontiguousarray(place).view(np.complex128).ravel(), big)


def _put(data: Bytes, byte: Integers, values: NDArray[Any], big: NDArray[np.bool_] | None) -> None:
    unaligned(data, "<" + values.dtype.str[1:])[byte] = values
    if big is not None and big.any():
        unaligned(data, ">" + values.dtype.str[1:])[byte[big]] = values[big]


def _write_counts(data: Bytes, grown: Runs, growth: Integers) -> None:
    counted = np.flatnonzero(grown.count_byte >= 0)
    values = grown.count[counted].astype(np.uint32)
    _put(data, (grown.count_byte + growth[:-1])[counted], values, grown.big_endian[counted])


def _straighten(data: Bytes, grown: Runs, growth: Integers, straightened: NDArray[np.bool_]) -> None:
    """Turn the type codes of arcs into those of lines; Z, M and SRID marks stay."""
    runs = np.flatnonzero(straightened)
    byte, big = (grown.header + growth[:-1])[runs], grown.big_endian[runs]
    codes = _read(data, byte, big, "u4") - np.uint32(Base.ARCS - Base.LINE)
    _put(data, byte, codes, big)

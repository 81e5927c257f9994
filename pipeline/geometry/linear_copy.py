"""Well-known binary to geometries for measuring: as shapely reads it, and curves as polygons and lines of many chords.

GEOS reads no curves. An arc has the same number of chords before and after a move, so that the two compare vertex by
vertex; nothing read here is ever written back.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from transforms.arcs import Arcs
from transforms.contract import Points

CHORDS = 64
"""Of an arc; on a half circle of 35 m radius they stay within 1 cm of it."""

_LINE, _POLYGON, _ARCS, _COMPOUND, _CURVE_POLYGON, _MULTI_CURVE, _MULTI_SURFACE = 2, 3, 8, 9, 10, 11, 12


def linear_copy(wkb: Sequence[bytes | None]) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Read geometries for measuring.

    Parameters
    ----------
    wkb
        Well-known binary (ISO or EWKB) or None, one per feature.

    Returns
    -------
    geometries : ndarray
        ``(n,)`` in two dimensions; None where there is none or it cannot be read.
    is_unread : ndarray
        ``(n,)`` True where bytes are there that nobody can read.
    """
    values = np.array([*wkb, None], dtype=object)[:-1]
    try:
        with np.errstate(invalid="ignore"):  # coordinates that are not numbers are for others to judge
            geometries = np.asarray(shapely.from_wkb(values, on_invalid="ignore"), dtype=object)
    except (NotImplementedError, shapely.errors.ShapelyError):
        geometries = np.array([*(_one(value) for value in values), None], dtype=object)[:-1]
    is_unread = np.array([value is not None for value in values], dtype=bool) & shapely.is_missing(geometries)
    return shapely.force_2d(geometries), is_unread


def _one(value: bytes | None) -> shapely.Geometry | None:
    if value is None:
        return None
    try:
        with np.errstate(invalid="ignore"):
            return shapely.from_wkb(value, on_invalid="ignore")
    except (NotImplementedError, shapely.errors.ShapelyError):
        return _curved(value)


def _curved(value: bytes) -> shapely.Geometry | None:
    try:
        return _Reader(value).geometry()
    except (struct.error, ValueError, KeyError, IndexError, shapely.errors.ShapelyError):
        return None


class _Reader:
    """Walks one geometry."""

    def __init__(self, value: bytes) -> None:
        self._value, self._at = value, 0

    def geometry(self) -> shapely.Geometry:
        order, kind, dimensions = self._head()
        if kind in (_LINE, _ARCS):
            run = self._run(order, dimensions)
            return shapely.linestrings(_drawn(run) if kind == _ARCS else run)
        if kind == _POLYGON:
            rings = [self._run(order, dimensions) for _ in range(self._count(order))]
            return shapely.Polygon(rings[0], rings[1:]) if rings else shapely.Polygon()
        parts = [self.geometry() for _ in range(self._count(order))]
        if kind == _COMPOUND:
            return _joined(parts)
        if kind == _CURVE_POLYGON:
            return shapely.Polygon(parts[0].coords, [part.coords for part in parts[1:]])
        return {_MULTI_CURVE: shapely.MultiLineString, _MULTI_SURFACE: shapely.MultiPolygon}[kind](parts)

    def _head(self) -> tuple[str, int, int]:
        order = "<" if self._value[self._at] else ">"
        (code,) = struct.unpack_from(f"{order}I", self._value, self._at + 1)
        self._at += 9 if code & 0x20000000 else 5
        has_z, has_m = bool(code & 0x80000000), bool(code & 0x40000000)
        thousands, kind = divmod(code & 0x0FFFFFFF, 1000)
        return order, kind, 2 + max(int(has_z) + int(has_m), (0, 1, 1, 2)[thousands])

    def _count(self, order: str) -> int:
        (count,) = struct.unpack_from(f"{order}I", self._value, self._at)
        self._at += 4
        return int(count)

    def _run(self, order: str, dimensions: int) -> NDArray[np.float64]:
        count = self._count(order)
        numbers = np.frombuffer(self._value, f"{order}f8", count * dimensions, self._at)
        self._at += numbers.nbytes
        return numbers.reshape(count, dimensions)[:, :2].astype(float)


def _drawn(run: Points) -> Points:
    """The chords of the arcs through a run of places, each arc from one to the next but one."""
    arcs = Arcs.through(run[:-2:2], run[1:-1:2], run[2::2])
    arc, chord = np.divmod(np.arange(CHORDS * len(run[2::2])), CHORDS)
    return np.concatenate([arcs.at(arc, chord / CHORDS), run[-1:]])


def _joined(parts: list[shapely.Geometry]) -> shapely.Geometry:
    coordinates = [shapely.get_coordinates(part) for part in parts]
    return shapely.linestrings(np.concatenate([coordinates[0], *(part[1:] for part in coordinates[1:])]))

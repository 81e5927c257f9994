"""Which kinds of geometry a column of WKB holds, counted from the bytes alone (curves and Z/M included)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

NAMES = {
    0: "Geometry",
    1: "Point",
    2: "LineString",
    3: "Polygon",
    4: "MultiPoint",
    5: "MultiLineString",
    6: "MultiPolygon",
    7: "GeometryCollection",
    8: "CircularString",
    9: "CompoundCurve",
    10: "CurvePolygon",
    11: "MultiCurve",
    12: "MultiSurface",
    15: "PolyhedralSurface",
    16: "TIN",
    17: "Triangle",
}
CURVES = frozenset({8, 9, 10, 11, 12, 13, 14})
_EWKB_Z, _EWKB_M = 0x80000000, 0x40000000


def type_codes(column: pa.Array) -> np.ndarray:
    """The ISO WKB type code of each geometry, ``(n,)`` int64 (1003 = Polygon Z); -1 for null.

    Examples
    --------
    >>> import shapely
    >>> wkb = shapely.to_wkb(shapely.from_wkt(["POINT (1 2)", "POINT Z (1 2 3)"]), flavor="iso").tolist()
    >>> type_codes(pa.array([*wkb, None], pa.binary()))
    array([   1, 1001,   -1])
    """
    codes = np.full(len(column), -1, dtype=np.int64)
    rows, starts, data = _starts(column)
    if len(rows) == 0:
        return codes
    head = data[starts[:, None] + np.arange(5)]
    little = head[:, 1:].copy().view("<u4").ravel()
    big = head[:, 1:].copy().view(">u4").ravel()
    codes[rows] = _as_iso(np.where(head[:, 0] == 1, little, big).astype(np.int64))
    return codes


def _starts(column: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    wide = pa.types.is_large_binary(column.type)
    _, offset_buffer, data_buffer = column.buffers()
    if len(column) == 0 or data_buffer is None:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint8)
    offsets = np.frombuffer(offset_buffer, dtype=np.int64 if wide else np.int32)
    offsets = offsets[column.offset : column.offset + len(column) + 1].astype(np.int64)
    there = column.is_valid().to_numpy(zero_copy_only=False) & (np.diff(offsets) >= 5)
    rows = np.flatnonzero(there)
    return rows, offsets[rows], np.frombuffer(data_buffer, dtype=np.uint8)


def _as_iso(codes: np.ndarray) -> np.ndarray:
    old = codes >= 1 << 29
    z, m = (codes & _EWKB_Z) > 0, (codes & _EWKB_M) > 0
    return np.where(old, (codes & 0xFF) + 1000 * z + 2000 * m, codes)


@dataclass
class TypeCount:
    """How many geometries of each ISO type code a stream has held so far; -1 counts the nulls."""

    codes: Counter[int] = field(default_factory=Counter)

    def add(self, column: pa.Array) -> None:
        """Count one more batch."""
        values, counts = np.unique(type_codes(column), return_counts=True)
        self.codes.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))

    def by_name(self) -> dict[str, int]:
        """Counts by name ("Polygon Z"), the commonest first; nulls as "null"."""
        return {type_name(code): count for code, count in self.codes.most_common()}

    def curves(self) -> int:
        """How many have true curves."""
        return sum(count for code, count in self.codes.items() if code % 1000 in CURVES)

    def geopackage_declaration(self) -> tuple[str, int, int]:
        """Type name and the z and m flags (0 none, 1 all, 2 some) for ``gpkg_geometry_columns``."""
        there = [code for code in self.codes if code >= 0]
        kinds = {code % 1000 for code in there}
        name = NAMES.get(kinds.pop(), "Geometry").upper() if len(kinds) == 1 else "GEOMETRY"
        z = {code // 1000 in (1, 3) for code in there}
        m = {code // 1000 in (2, 3) for code in there}
        return name, _flag(z), _flag(m)


def _flag(seen: set[bool]) -> int:
    if seen == {True}:
        return 1
    return 2 if True in seen else 0


def type_name(code: int) -> str:
    """The name of an ISO WKB type code.

    Examples
    --------
    >>> type_name(3003), type_name(10), type_name(-1)
    ('Polygon ZM', 'CurvePolygon', 'null')
    """
    if code < 0:
        return "null"
    dimension = ("", " Z", " M", " ZM")[min(code // 1000, 3)]
    return NAMES.get(code % 1000, f"WKB type {code % 1000}") + dimension

"""Which kind of geometry well-known binary holds, read from its header alone, and single against multi.

The header is enough, so it works for the curves that shapely cannot hold.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

_NAMES = {1: "Point", 2: "LineString", 3: "Polygon", 4: "MultiPoint", 5: "MultiLineString", 6: "MultiPolygon"}
_FAMILIES = {1: "point", 4: "point"}
_FAMILIES |= dict.fromkeys((2, 5, 8, 9, 11, 13), "line")
_FAMILIES |= dict.fromkeys((3, 6, 10, 12, 14, 15, 16, 17), "area")
_DIMENSIONS = {0: "", 1: " Z", 2: " M", 3: " ZM"}
_TO_MULTI = 3
_HEADER_BYTES = 5


def family(wkb: bytes) -> str:
    """``point``, ``line``, ``area`` or ``mixed`` (a collection, or anything unknown).

    Examples
    --------
    >>> family(bytes.fromhex("0101000000") + bytes(16))
    'point'
    """
    return _FAMILIES.get(_code(wkb) % 1000, "mixed")


def as_single(wkb: bytes, like: bytes | None) -> bytes:
    """The one part of a multi-geometry, if ``like`` is a single geometry of that kind; else ``wkb`` as it is.

    For what a program made a multi-geometry of because the layer was one.
    """
    if like is None or _code(like) + _TO_MULTI != _code(wkb) or _code(like) % 1000 not in (1, 2, 3):
        return wkb
    (parts,) = struct.unpack_from(_order(wkb) + "I", wkb, _HEADER_BYTES)
    return wkb[_HEADER_BYTES + 4 :] if parts == 1 else wkb


@dataclass(frozen=True)
class WkbKind:
    """The geometry type a layer is declared with; 0 for several kinds in one layer."""

    code: int

    @classmethod
    def of_layer(cls, geometries: Iterable[bytes | None]) -> WkbKind:
        """The one type all ``geometries`` fit, single ones as multi where both occur; else the kind for several."""
        codes = {_code(wkb) for wkb in geometries if wkb}
        if len(codes) == 2 and max(codes) - min(codes) == _TO_MULTI:
            codes = {max(codes)}
        one = codes.pop() if len(codes) == 1 else 0
        return cls(one if one % 1000 in _NAMES else 0)

    @property
    def name(self) -> str:
        """As GDAL calls it, ``Unknown`` for several kinds."""
        if not self.code:
            return "Unknown"
        return _NAMES[self.code % 1000] + _DIMENSIONS[self.code // 1000]

    def fit(self, wkb: bytes | None) -> bytes | None:
        """``wkb`` as this kind: a single geometry becomes a multi-geometry of one part where the layer needs it."""
        if wkb and self.code and _code(wkb) + _TO_MULTI == self.code:
            order = _order(wkb)
            return wkb[:1] + struct.pack(order + "II", self.code, 1) + wkb
        return wkb


def _order(wkb: bytes) -> str:
    return "<" if wkb[:1] == b"\x01" else ">"


def _code(wkb: bytes) -> int:
    if len(wkb) < _HEADER_BYTES:
        return 0
    (code,) = struct.unpack_from(_order(wkb) + "I", wkb, 1)
    flags, code = code >> 28, code & 0x0FFFFFFF
    # The older extended form (EWKB) keeps Z and M as flags.
    return int(code + 1000 * bool(flags & 8) + 2000 * bool(flags & 4))

"""The geometry types a layer may declare, beyond those that pyogrio knows: any type, but with Z or M."""

from __future__ import annotations

from pyogrio._geometry import GEOMETRY_TYPE_CODES, GEOMETRY_TYPES

from pipeline.geometry.wkb_types import TypeCount

_ANY_Z = 0x80000000
_ANY = {"Unknown Z": _ANY_Z, "Measured Unknown": 2000, "Measured 3D Unknown": 3000}
_NAMES = ("Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon", "GeometryCollection")
_BEFORE, _BEHIND = ("", "", "Measured ", "Measured 3D "), ("", " Z", "", "")

# Without these pyogrio refuses a layer of mixed geometries with heights, to read and to write.
GEOMETRY_TYPE_CODES.update(_ANY)
GEOMETRY_TYPES.update(dict.fromkeys((*_ANY.values(), -_ANY_Z), "Unknown"))


def declared_type(types: TypeCount) -> str:
    """The one type of a layer, else any type with the Z and M that some have; by pyogrio's name.

    Examples
    --------
    >>> from collections import Counter
    >>> declared_type(TypeCount(Counter({1003: 5, -1: 1}))), declared_type(TypeCount(Counter({1: 2, 1002: 1})))
    ('Polygon Z', 'Unknown Z')
    """
    codes = {code for code in types.codes if code >= 0}
    one = min(codes, default=0) % 1000 if len(codes) == 1 else 0
    kind = _NAMES[one - 1] if 1 <= one <= len(_NAMES) else "Unknown"
    has_z, has_m = any(code // 1000 in (1, 3) for code in codes), any(code >= 2000 for code in codes)
    at = 2 * has_m + has_z
    name = f"{_BEFORE[at]}{kind}{_BEHIND[at]}"
    return "PointM" if name == "Measured Point" else name

"""Coordinates written as text, turned into WKB; text that is no coordinate gives null, never a guess."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})+(\.\d*)?$"
_POINT = np.dtype([("order", "u1"), ("kind", "<u4"), ("easting", "<f8"), ("northing", "<f8")])


def numbers_from_text(text: pa.Array, decimal_comma: bool = False) -> np.ndarray:
    """The numbers in ``text``, ``(n,)`` float64; NaN where there is none.

    Parameters
    ----------
    text
        Arrow array of strings.
    decimal_comma
        Read "358514,88" as 358514.88; otherwise commas are thousands separators, where they stand as such.

    Examples
    --------
    >>> numbers_from_text(pa.array([" 358514.88", "358,514.88", "n/a", "", None]))
    array([358514.88, 358514.88,       nan,       nan,       nan])
    >>> numbers_from_text(pa.array(["358514,88"]), decimal_comma=True)
    array([358514.88])
    """
    plain = pc.utf8_trim_whitespace(text)
    if decimal_comma:
        plain = pc.replace_substring(plain, ",", ".")
    else:
        spread = pc.match_substring_regex(plain, _THOUSANDS)
        plain = pc.if_else(spread, pc.replace_substring(plain, ",", ""), plain)
    usable = pc.match_substring_regex(plain, _NUMBER)
    numbers = pc.if_else(usable, plain, None).cast(pa.float64())
    return numbers.fill_null(np.nan).to_numpy(zero_copy_only=False)


def points_from_text(easting: pa.Array, northing: pa.Array, decimal_comma: bool = False) -> pa.Array:
    """WKB points (``binary``) from two text columns; null where either holds no finite number."""
    eastings = numbers_from_text(easting, decimal_comma)
    northings = numbers_from_text(northing, decimal_comma)
    points = np.zeros(len(eastings), dtype=_POINT)
    points["order"], points["kind"] = 1, 1
    points["easting"], points["northing"] = eastings, northings
    width = pa.binary(_POINT.itemsize)
    wkb = pa.FixedSizeBinaryArray.from_buffers(width, len(points), [None, pa.py_buffer(points.tobytes())])
    usable = pa.array(np.isfinite(eastings) & np.isfinite(northings))
    return pc.if_else(usable, wkb.cast(pa.binary()), None)


def shapes_from_wkt(text: pa.Array) -> pa.Array:
    """ISO WKB (``binary``) from WKT, with or without an ``SRID=...;`` before it; null where it is no WKT."""
    import shapely

    plain = pc.replace_substring_regex(text, r"^\s*(SRID=\d+;)?\s*", "")
    values = np.array(plain.to_pylist(), dtype=object)
    shapes = shapely.from_wkt(values, on_invalid="ignore")
    return pa.array(shapely.to_wkb(shapes, flavor="iso", output_dimension=4).tolist(), pa.binary())

"""Widths and decimals of a DBF's number columns, so that a Shapefile comes out with the columns it came in with.

GDAL's Arrow stream tells the width of text only. The widths travel in the schema and are used when a DBF is written.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

_KEY = b"post_pai:dbf_number"
_GDAL_WIDTH = b"GDAL:OGR:width"
_HEADER_BYTES = 32
_FIELD_BYTES = 32
_END_OF_FIELDS = 0x0D
_MOST_DIGITS = 19  # of the decimals that GDAL takes from Arrow; a wider column gets its default, 24.15
_SIGN_AND_POINT = 2
"""GDAL makes a DBF column wider than the decimal's digits by these."""


def number_widths(path: Path) -> list[tuple[int, int] | None]:
    """Width and decimals of each column of a DBF, in order; None for a column that is no number."""
    with path.open("rb") as stream:
        header = stream.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES:
            return []
        descriptions = stream.read(max(0, int.from_bytes(header[8:10], "little") - _HEADER_BYTES))
    widths: list[tuple[int, int] | None] = []
    for start in range(0, len(descriptions) - _FIELD_BYTES + 1, _FIELD_BYTES):
        if descriptions[start] == _END_OF_FIELDS:
            break
        is_number = descriptions[start + 11 : start + 12] in (b"N", b"F")
        widths.append((descriptions[start + 16], descriptions[start + 17]) if is_number else None)
    return widths


def remember_widths(fields: list[pa.Field], widths: list[tuple[int, int] | None]) -> list[pa.Field]:
    """``fields`` with the widths of their number columns; as they are where the two do not correspond."""
    if len(fields) != len(widths):
        return fields
    return [
        field if width is None else field.with_metadata({**(field.metadata or {}), _KEY: b"%d.%d" % width})
        for field, width in zip(fields, widths, strict=True)
    ]


def as_it_was(column: pa.Field, largest: float) -> pa.Field:
    """``column`` in the width its DBF had; unchanged where it had none or ``largest`` would not fit any more."""
    stated = (column.metadata or {}).get(_KEY)
    if stated is None:
        return column
    width, decimals = (int(part) for part in stated.split(b"."))
    if pa.types.is_integer(column.type):
        return column.with_metadata({**column.metadata, _GDAL_WIDTH: b"%d" % width})
    digits = width - _SIGN_AND_POINT
    if (
        pa.types.is_floating(column.type)
        and decimals < digits <= _MOST_DIGITS
        and largest < 10.0 ** (digits - decimals) - 1
    ):
        return column.with_type(pa.decimal128(digits, decimals))
    return column

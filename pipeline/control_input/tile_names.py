"""Names of Ordnance Survey tiles as rectangles of the National Grid. Names only; nothing here opens a file."""

from __future__ import annotations

import re

_TILE = re.compile(r"(?<![A-Z])([HNOST][A-HJ-Z])(\d{4}|\d{2})(NE|NW|SE|SW)?(?![A-Z0-9])", re.IGNORECASE)
_LETTERS = "ABCDEFGHJKLMNOPQRSTUVWXYZ"  # I is not used
_FALSE_ORIGIN_M = (-1_000_000, -500_000)  # south-west corner of square V, five 500 km squares in from A


def tile_extent(name: str) -> tuple[float, float, float, float] | None:
    """The rectangle of the first tile that ``name`` names.

    Link files are named after the tile they improve, so a control point far outside the rectangle belongs to
    another file. Recognised are 500 m (``SK0472SE``), 1 km (``SK0474``), 5 km (``SK07SW``) and 10 km (``SK07``).

    Parameters
    ----------
    name
        A file name or any text; case does not matter.

    Returns
    -------
    tuple or None
        Least easting, least northing, greatest easting, greatest northing [m, EPSG:27700]; None without a tile.

    Examples
    --------
    >>> tile_extent("SK0474.csv")
    (404000.0, 374000.0, 405000.0, 375000.0)
    >>> tile_extent("SK0472SE.CSV")
    (404500.0, 372000.0, 405000.0, 372500.0)
    >>> tile_extent("SK07SW.csv")
    (400000.0, 370000.0, 405000.0, 375000.0)
    >>> tile_extent("control.csv") is None
    True
    """
    found = _TILE.search(name.upper())
    if found is None:
        return None
    letters, digits, quarter = found.groups()
    easting, northing = _hundred_km_corner(letters)
    half = len(digits) // 2
    side = 10.0 ** (5 - half)
    easting += int(digits[:half]) * side
    northing += int(digits[half:]) * side
    if quarter:
        side /= 2
        easting += side * (quarter[1] == "E")
        northing += side * (quarter[0] == "N")
    return easting, northing, easting + side, northing + side


def _hundred_km_corner(letters: str) -> tuple[float, float]:
    row_500, column_500 = divmod(_LETTERS.index(letters[0]), 5)
    row_100, column_100 = divmod(_LETTERS.index(letters[1]), 5)
    easting = _FALSE_ORIGIN_M[0] + 500_000 * column_500 + 100_000 * column_100
    northing = _FALSE_ORIGIN_M[1] + 500_000 * (4 - row_500) + 100_000 * (4 - row_100)
    return float(easting), float(northing)

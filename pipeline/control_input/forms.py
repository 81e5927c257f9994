"""Which of the text forms a control file has, told by its content: extensions lie.

Only the layout is decided here (delimiter, columns); ``control_files`` reads the rows, ``control_lines`` the
layers of lines.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from transforms.errors import SourceError

Form = Literal["os_link", "csv", "qgis_points", "esri_link", "line_layer", "base_maps"]
"""A form of control file, by the name the manifest shows."""

_SAMPLE_ROWS = 20
_DELIMITERS: tuple[str | None, ...] = (";", "\t", ",", None)

# Old easting, old northing, new easting, new northing as each program calls them, without case, blanks and underscores.
# In QGIS the source is the layer being moved and the map is where it goes, whatever the column order suggests.
_HEADERS: tuple[tuple[Form, tuple[str, str, str, str]], ...] = (
    ("csv", ("oldeasting", "oldnorthing", "neweasting", "newnorthing")),
    ("qgis_points", ("sourcex", "sourcey", "mapx", "mapy")),
    ("qgis_points", ("pixelx", "pixely", "mapx", "mapy")),
    ("esri_link", ("xsource", "ysource", "xmap", "ymap")),
    ("esri_link", ("xsource", "ysource", "xdest", "ydest")),
    ("esri_link", ("xsource", "ysource", "xdestination", "ydestination")),
)


@dataclass(frozen=True)
class Layout:
    """Where the columns of a text form are.

    Parameters
    ----------
    form
        The form's name.
    delimiter
        One character, or None for any white space.
    positions
        Columns of old easting, old northing, new easting, new northing (0-based).
    header
        The header's columns by plain name (lower case, no blanks or underscores); empty without a header.
    fields
        How many fields a whole row has.
    extra_allowed
        Whether a row may have more (residuals that a program appends).
    """

    form: Form
    delimiter: str | None
    positions: tuple[int, int, int, int]
    header: dict[str, int]
    fields: int
    extra_allowed: bool


def split_fields(line: str, delimiter: str | None) -> list[str]:
    """The fields of one line; a quoted field may hold the delimiter, a line is always one row."""
    if delimiter is None:
        return line.split()
    if '"' in line:
        return next(csv.reader([line], delimiter=delimiter))
    return line.split(delimiter)


def is_data(line: str) -> bool:
    """Whether a line is neither blank nor a ``#`` remark such as QGIS's ``#CRS:``."""
    text = line.strip()
    return bool(text) and not text.startswith("#")


def as_number(text: str, delimiter: str | None) -> float:
    """The number a field holds, NaN if it holds none; a comma is decimal unless it delimits."""
    if delimiter != ",":
        text = text.replace(",", ".")
    try:
        return float(text)
    except ValueError:
        return float("nan")


def recognise_layout(lines: Sequence[str]) -> Layout:
    """Tell which text form ``lines`` have.

    Parameters
    ----------
    lines
        The file's lines; the first twenty that hold data decide.

    Raises
    ------
    SourceError
        If the lines hold no control in any known form.

    Examples
    --------
    >>> recognise_layout(["457224.20,0221147.60,457223.39,0221146.11,0030"]).form
    'os_link'
    >>> recognise_layout(["mapX,mapY,pixelX,pixelY,enable", "1,2,3,4,1"]).positions
    (2, 3, 0, 1)
    """
    sample = [line for line in lines if is_data(line)][:_SAMPLE_ROWS]
    if not sample:
        raise SourceError("it is empty. Ask for the delivery again")
    delimiter = _likeliest_delimiter(sample)
    rows = [split_fields(line, delimiter) for line in sample]
    return _layout_by_header(rows, delimiter) or _layout_by_position(rows, delimiter)


def _likeliest_delimiter(sample: Sequence[str]) -> str | None:
    def score(delimiter: str | None) -> tuple[int, int]:
        rows = [split_fields(line, delimiter) for line in sample]
        return sum(_count_numbers(row, delimiter) >= 4 for row in rows), min(len(rows[0]), 4)

    return max(_DELIMITERS, key=score)


def _count_numbers(row: Sequence[str], delimiter: str | None) -> int:
    return sum(not np.isnan(as_number(field, delimiter)) for field in row)


def _layout_by_header(rows: Sequence[Sequence[str]], delimiter: str | None) -> Layout | None:
    header = {_plain(name): column for column, name in reversed(list(enumerate(rows[0])))}
    for form, names in _HEADERS:
        if set(names) <= set(header):
            east, north, new_east, new_north = (header[name] for name in names)
            positions = (east, north, new_east, new_north)
            return Layout(form, delimiter, positions, header, max(positions) + 1, True)
    if delimiter is not None and len(rows[0]) >= 4 and _count_numbers(rows[0], delimiter) == 0 and len(header) > 1:
        raise SourceError(
            f"its header is {', '.join(rows[0])[:80]}. Name the columns old_easting, old_northing, new_easting and "
            "new_northing"
        )
    return None


def _plain(name: str) -> str:
    return re.sub(r"[\s_]", "", name.strip().strip('"')).lower()


def _layout_by_position(rows: Sequence[Sequence[str]], delimiter: str | None) -> Layout:
    numbers = [[as_number(field, delimiter) for field in row[:5]] for row in rows]
    whole = [row for row in numbers if len(row) >= 4 and not np.isnan(row[:4]).any()]
    if not whole:
        raise SourceError(
            "no line holds an old easting, old northing, new easting and new northing. "
            "Give link files, CSV with a header, QGIS .points, Esri link text or a layer of two-point lines"
        )
    first = int(_starts_with_an_id(whole))
    fields = 5 if any(_filled(row) >= 5 for row in rows) else 4
    form: Form = "os_link" if delimiter in (",", ";") and not first else "esri_link"
    positions = (first, first + 1, first + 2, first + 3)
    return Layout(form, delimiter, positions, {}, fields, form == "esri_link")


def _filled(row: Sequence[str]) -> int:
    return max((column for column, field in enumerate(row, start=1) if field.strip()), default=0)


def _starts_with_an_id(rows: Sequence[Sequence[float]]) -> bool:
    """Whether columns 1-4 rather than 0-3 read as an old and a new place: the reading that moves things less."""
    five = np.array([row for row in rows if len(row) >= 5 and not np.isnan(row[4])])
    if len(five) == 0:
        return False
    without = np.abs(five[:, [0, 1]] - five[:, [2, 3]]).sum(axis=1)
    with_id = np.abs(five[:, [1, 2]] - five[:, [3, 4]]).sum(axis=1)
    return bool(np.median(with_id) < np.median(without))

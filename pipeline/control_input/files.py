"""Control files, read row by row: what can be used, and what cannot and why.

No row stops another and no file stops another; judging the control (gross errors, duplicates, foreign tiles) is
``qa.control``'s work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.control_input.forms import Form, Layout, as_number, is_data, recognise_layout, split_fields
from pipeline.control_input.lines import is_line_layer, is_side_file, read_line_layer
from transforms.errors import SourceError

ROW_REASONS = {
    "too_few_fields": "The row has too few fields; copy it from the original delivery.",
    "too_many_fields": "The row has too many fields; check for decimal commas.",
    "not_a_number": "A coordinate is missing or is no number; copy the row from the original delivery.",
    "switched_off": "The point is switched off in QGIS (enable = 0).",
    "image_row": "The old place counts pixels of an image; pick points against a layer with National Grid places.",
    "in_degrees": "The places are degrees, not metres; give control in the National Grid (EPSG:27700).",
    "outside_great_britain": "A place lies outside Great Britain; check for a missing or extra digit.",
    "not_two_points": "A control line runs from the old place to the new one and has no other points.",
}
"""Why a row cannot be used: code and sentence."""

_GREAT_BRITAIN_M = np.array([[-10_000.0, -10_000.0], [710_000.0, 1_310_000.0]])
_DEGREES = np.array([[-10.0, 49.0], [4.0, 62.0]])  # longitude, latitude of Great Britain with a margin


@dataclass(frozen=True)
class ControlRows:
    """The rows of one control file, in file order; blank lines are not rows.

    Parameters
    ----------
    form
        The form the file has.
    row
        ``(n,)`` line of the file, or number of the feature, from 1.
    places
        ``(n, 4)`` old easting, old northing, new easting, new northing [m]; NaN where no number stands.
    code, identifier
        ``(n,)`` text; empty where the file gives none.
    accuracy_m
        ``(n,)`` radial standard error [m]; NaN where the file gives none.
    reason
        ``(n,)`` a key of ``ROW_REASONS``, empty where the row can be used.
    blank_lines
        How many lines were blank.
    """

    form: Form
    row: NDArray[np.int32]
    places: NDArray[np.float64]
    code: NDArray[np.str_]
    identifier: NDArray[np.str_]
    accuracy_m: NDArray[np.float64]
    reason: NDArray[np.str_]
    blank_lines: int = 0

    def __len__(self) -> int:
        return len(self.row)


def find_control_files(paths: Iterable[Path]) -> list[Path]:
    """The files that ``paths`` name, folders searched to the bottom, in name order, each once.

    Raises
    ------
    SourceError
        If a path does not exist.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise SourceError(f"Control file {path} does not exist. Check its name and folder.")
        found.update(dict.fromkeys(sorted(_files_below(path)) if _is_folder(path) else [path]))
    return list(found)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and path.suffix.lower() != ".gdb"


def _files_below(folder: Path) -> Iterable[Path]:
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if _is_folder(path):
            yield from _files_below(path)
        elif not is_side_file(path):
            yield path


def read_control_file(path: Path) -> ControlRows:
    """Read one control file of any form.

    Parameters
    ----------
    path
        The file; its content decides the form, not its extension.

    Raises
    ------
    SourceError
        If the file as a whole holds no control in a known form.
    """
    if is_line_layer(path):
        return _rows_of_lines(path)
    try:
        lines = _lines(path)
        layout = recognise_layout(lines)
    except SourceError as error:
        raise SourceError(f"Control file {path.name} cannot be used: {error}.") from None
    return _read_rows(lines, layout)


def _lines(path: Path) -> list[str]:
    content = path.read_bytes()
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = content.decode("utf-16", errors="replace")
    elif b"\0" in content[:4096]:
        raise SourceError("it is neither text nor a layer of lines. Export it as CSV")
    else:
        text = _decoded(content)
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _read_rows(lines: Sequence[str], layout: Layout) -> ControlRows:
    numbers = [number for number, line in enumerate(lines, start=1) if is_data(line)]
    numbers = numbers[1:] if layout.header else numbers
    rows = [split_fields(lines[number - 1], layout.delimiter) for number in numbers]
    columns = [_column(rows, position) for position in layout.positions]
    places = np.column_stack([_numbers(column, layout.delimiter) for column in columns])
    reason = _reasons_by_shape(rows, layout)
    _mark(reason, np.asarray(~np.isfinite(places).all(axis=1)), "not_a_number")
    if layout.form == "qgis_points":
        _mark_qgis(reason, rows, layout, places)
    mark_impossible(reason, places)
    return ControlRows(
        layout.form,
        np.array(numbers, dtype=np.int32),
        places,
        _text(rows, _code_position(layout)),
        _text(rows, layout.header.get("id", _id_position(layout))),
        _numbers(_column(rows, layout.header.get("accuracym", -1)), layout.delimiter),
        reason,
        sum(not line.strip() for line in lines),
    )


def _column(rows: Sequence[Sequence[str]], position: int) -> list[str]:
    if position < 0:
        return [""] * len(rows)
    return [row[position] if len(row) > position else "" for row in rows]


def _text(rows: Sequence[Sequence[str]], position: int) -> NDArray[np.str_]:
    return np.array([field.strip() for field in _column(rows, position)], dtype=np.str_)


def _numbers(column: Sequence[str], delimiter: str | None) -> NDArray[np.float64]:
    try:
        return np.fromiter(map(float, column), dtype=np.float64, count=len(column))
    except ValueError:
        return np.array([as_number(field, delimiter) for field in column], dtype=np.float64)


def _code_position(layout: Layout) -> int:
    return layout.header.get("code", 4 if layout.form == "os_link" and layout.fields == 5 else -1)


def _id_position(layout: Layout) -> int:
    return 0 if layout.form == "esri_link" and layout.positions[0] == 1 else -1


def _reasons_by_shape(rows: Sequence[Sequence[str]], layout: Layout) -> NDArray[np.str_]:
    reason = np.full(len(rows), "", dtype="<U24")
    _mark(reason, np.array([len(row) < layout.fields for row in rows], dtype=bool), "too_few_fields")
    if not layout.extra_allowed:
        extra = [len(row) > layout.fields and any(map(str.strip, row[layout.fields :])) for row in rows]
        _mark(reason, np.array(extra, dtype=bool), "too_many_fields")
    return reason


def _mark(reason: NDArray[np.str_], rows: NDArray[np.bool_], code: str) -> None:
    reason[rows & (reason == "")] = code


def _mark_qgis(
    reason: NDArray[np.str_], rows: Sequence[Sequence[str]], layout: Layout, places: NDArray[np.float64]
) -> None:
    enabled = _text(rows, layout.header.get("enable", -1))
    _mark(reason, np.isin(enabled, ["0", "false", "False"]), "switched_off")
    # QGIS counts image rows downwards from 0 as negative northings; a northing of a mapped place is never that.
    image = np.asarray((places[:, 1] <= 0) & (places[:, 3] > 0))
    if image[reason == ""].all():
        _mark(reason, image, "image_row")


def mark_impossible(reason: NDArray[np.str_], places: NDArray[np.float64]) -> None:
    """Mark, in ``reason``, the rows whose places cannot be where the others are.

    A row outside Great Britain is refused only in a file that mostly lies inside: a whole net elsewhere is another
    country's, and right.
    """
    usable = reason == ""
    corners = places.reshape(-1, 2, 2)
    _mark(reason, usable & _all_within(corners, _DEGREES), "in_degrees")
    _mark(reason, usable & _all_within(corners[..., ::-1], _DEGREES), "in_degrees")
    inside = _all_within(corners, _GREAT_BRITAIN_M)
    if 2 * np.count_nonzero(inside & usable) >= np.count_nonzero(usable):
        _mark(reason, usable & ~inside, "outside_great_britain")


def _all_within(corners: NDArray[np.float64], bounds: NDArray[np.float64]) -> NDArray[np.bool_]:
    within = (corners >= bounds[0]) & (corners <= bounds[1])
    return np.asarray(within.all(axis=(1, 2)))


def _rows_of_lines(path: Path) -> ControlRows:
    lines = read_line_layer(path)
    reason = np.where(np.isnan(lines.places).any(axis=1), "not_two_points", "").astype("<U24")
    mark_impossible(reason, lines.places)
    return ControlRows(
        "line_layer",
        np.arange(1, len(reason) + 1, dtype=np.int32),
        lines.places,
        np.array(lines.code, dtype=np.str_),
        np.array(lines.identifier, dtype=np.str_),
        np.array(lines.accuracy_m, dtype=np.float64),
        reason,
    )

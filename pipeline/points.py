"""``post-pai points``: a CSV of places moved by a fitted shift, with the uncertainty of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv

from pipeline.field_file import read_field
from pipeline.files import whole_file
from pipeline.targets import refuse_source_as_target
from transforms.complex_places import is_place
from transforms.contract import Points, ShiftField
from transforms.errors import SourceError

OUTSIDE_CONTROL = "outside_control"
"""The field does not reach this place; nothing is guessed."""

BAD_COORDINATES = "bad_coordinates"
"""The easting or northing of this row is not a number."""


@dataclass(frozen=True)
class MovedPoints:
    """What was done: rows read, rows moved and the file written."""

    rows: int
    moved: int
    target: Path

    @property
    def sentence(self) -> str:
        """The outcome for the terminal."""
        return (
            f"{self.moved} of {self.rows} points moved; {self.rows - self.moved} have a reason why not: {self.target}"
        )


def move_points(field_file: Path, source: Path, target: Path) -> MovedPoints:
    """Move the points of CSV ``source`` (columns easting, northing) and write CSV ``target``.

    ``target`` has one row per row of ``source``, in order: ``easting``, ``northing`` [m, new map, 0.1 mm],
    ``uncertainty_m`` (radial standard error) and ``reason``, empty where the point moved. Rows that did not move
    have no coordinates, so that nothing unmoved is taken for moved.

    Raises
    ------
    FieldError
        If the field file cannot be read.
    SourceError
        If the CSV cannot be read or lacks the columns.
    ExportError
        If ``target`` is the source, or cannot be written.
    """
    refuse_source_as_target(target, [source, field_file])
    field = read_field(field_file).field
    places = _read_points(source)
    table = _moved_table(field, places)
    with whole_file(target) as beside:
        pv.write_csv(table, beside, pv.WriteOptions(quoting_style="needed"))
    return MovedPoints(len(places), int(pc.sum(pc.equal(table["reason"], "")).as_py() or 0), target)


def _read_points(source: Path) -> Points:
    as_text = pv.ConvertOptions(column_types={"easting": pa.string(), "northing": pa.string()})
    try:
        table = pv.read_csv(source, convert_options=as_text)
    except FileNotFoundError:
        raise SourceError(f"{source} does not exist. Check the path.") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceError(f"{source} cannot be read as CSV ({error}). Save it as comma-separated UTF-8.") from None
    missing = {"easting", "northing"} - set(table.column_names)
    if missing:
        raise SourceError(
            f"{source} has no column {' or '.join(sorted(missing))} (found: {', '.join(table.column_names)}). "
            "Name the two coordinate columns easting and northing."
        )
    return np.column_stack([_numbers(table[name]) for name in ("easting", "northing")])


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Text as float64, NaN where it is not a number."""
    text = pc.utf8_trim_whitespace(column)
    is_number = pc.match_substring_regex(text, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
    return pc.cast(pc.if_else(is_number, text, None), pa.float64()).to_numpy(zero_copy_only=False)


def _moved_table(field: ShiftField, places: Points) -> pa.Table:
    readable = is_place(places)
    after = np.full(places.shape, np.nan)
    uncertainty = np.full(len(places), np.nan)
    after[readable] = field(places[readable])
    moved = np.isfinite(after).all(axis=1)
    uncertainty[moved] = field.uncertainty(places[moved])
    reason = np.select([~readable, ~moved], [BAD_COORDINATES, OUTSIDE_CONTROL], "")
    columns = {"easting": after[:, 0], "northing": after[:, 1], "uncertainty_m": uncertainty}
    numbers = {name: pa.array(np.round(column, 4), from_pandas=True) for name, column in columns.items()}
    return pa.table({**numbers, "reason": pa.array(reason.astype(object), pa.string())})

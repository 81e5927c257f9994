"""Control with verdicts: the table of ``check-control``, one row per control point read.

The judging itself is ``qa.control``'s; rows that could not be read are joined to it here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from pipeline.control_input.files import ROW_REASONS
from pipeline.control_input.table import ControlTable
from pipeline.files import whole_file
from pipeline.formats.spreadsheet import as_cell
from pipeline.officers.control_decisions import OFFICER_REASONS
from qa.control import REASONS, judge_control
from transforms.breaks import Breaks

REPORT_COLUMNS = (
    *("file", "row", "old_easting", "old_northing", "new_easting", "new_northing", "code"),
    *("verdict", "reasons", "residual_m", "standardised_residual"),
)
"""The columns of ``check-control``, in order."""


CONTROL_REASONS = {**ROW_REASONS, **REASONS, **OFFICER_REASONS}
"""Every reason a control point can carry: code and sentence."""


@dataclass(frozen=True)
class JudgedControl:
    """The table read, the verdict table of ``REPORT_COLUMNS`` and more, and the breaks that came to light."""

    read: ControlTable
    verdicts: pa.Table
    breaks: Breaks

    def count(self, verdict: str) -> int:
        """How many control points have a verdict."""
        return int(np.count_nonzero(self.verdicts["verdict"].to_numpy() == verdict))

    @property
    def reason_counts(self) -> dict[str, int]:
        """How many control points carry each reason, the commonest first."""
        codes = self.verdicts["reasons"].to_pylist()
        return dict(Counter(code for row in codes for code in row.split(";") if code).most_common())


def judge_control_table(
    read: ControlTable, *, length_warn_m: float = 6.5, length_reject_m: float = 10.0, breaks: Breaks | None = None
) -> JudgedControl:
    """Give every row a verdict.

    Parameters
    ----------
    read
        The control as read.
    length_warn_m, length_reject_m
        A longer shift is suspect, or rejected [m].
    breaks
        Known breaks; without them they are found.

    Raises
    ------
    ControlError
        If the control cannot be judged as a whole.
    """
    usable = read.usable
    judged = judge_control(
        read.control,
        file=read.file_names[usable],
        tile_extent=read.tile_extents[usable],
        length_warn_m=length_warn_m,
        length_reject_m=length_reject_m,
        breaks=breaks,
    )
    columns = {
        "file": read.file_names,
        "row": read.row,
        **{name: read.places[:, column] for column, name in enumerate(REPORT_COLUMNS[2:6])},
        "code": read.code,
        "verdict": _spread(judged.verdict, usable, "rejected"),
        "reasons": _spread([";".join(codes) for codes in judged.reasons], usable, read.reason),
        "residual_m": _spread(judged.residual_m, usable, np.nan),
        "standardised_residual": _spread(judged.standardised_residual, usable, np.nan),
        "id": read.identifier,
        "accuracy_m": read.accuracy_m,
    }
    return JudgedControl(read, pa.table({name: _column(values) for name, values in columns.items()}), judged.breaks)


def _spread(values: Any, usable: NDArray[np.bool_], elsewhere: Any) -> NDArray[Any]:
    spread = np.full(len(usable), elsewhere, dtype=object)
    spread[:] = elsewhere
    spread[usable] = values
    return spread


def _column(values: NDArray[Any]) -> pa.Array:
    return pa.array(values.tolist(), from_pandas=True)  # NaN becomes null: an empty number, not a number


def write_control_report(verdicts: pa.Table, path: Path) -> None:
    """Write the columns of ``check-control`` as CSV; numbers as read, residuals to 0.1 mm, empty where unknown.

    No cell begins a formula: the report is read in spreadsheets.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    shown = verdicts.select(REPORT_COLUMNS)
    for name in REPORT_COLUMNS[-2:]:
        place = shown.schema.get_field_index(name)
        shown = shown.set_column(place, name, pc.round(shown[name].cast(pa.float64()), 4))
    for name in ("file", "code"):
        place = shown.schema.get_field_index(name)
        cells = [as_cell(text) for text in shown[name].to_pylist()]
        shown = shown.set_column(place, name, pa.array(cells, shown.schema.field(name).type))
    with whole_file(path) as beside, beside.open("wb") as stream:
        stream.write((",".join(REPORT_COLUMNS) + "\n").encode())
        pacsv.write_csv(shown, stream, pacsv.WriteOptions(include_header=False, quoting_style=_quoting(shown)))


def _quoting(table: pa.Table) -> str:
    """Quotes only where a file name or a code holds a mark that would break the row."""
    texts = [column for column in table.columns if pa.types.is_string(column.type)]
    special = any(pc.any(pc.match_substring_regex(column, '[,"\r\n]')).as_py() for column in texts)
    return "needed" if special else "none"

"""Reports are opened in spreadsheets: no cell of them begins a formula, and numbers stay numbers."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from pipeline.control import check_control_files
from pipeline.formats.spreadsheet import as_cell


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_what_a_spreadsheet_would_run_is_shown(text: str) -> None:
    assert as_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", None, "0030", "-0.5", "+44", "kerb=new"])
def test_everything_else_stays(text: str | None) -> None:
    assert as_cell(text) == text


def test_the_control_report_begins_no_formula(tmp_path: Path) -> None:
    rows = [f"{400_000 + 10 * k}.5,160000.25,{400_001 + 10 * k}.5,159998.25,=cmd()" for k in range(9)]
    header = "old_easting,old_northing,new_easting,new_northing,code"
    (tmp_path / "c.csv").write_text("\n".join([header, *rows]) + "\n")
    check_control_files([tmp_path / "c.csv"], tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as stream:
        read = list(csv.reader(stream))
    assert read[1][6] == "'=cmd()" and not any(cell.startswith(("=", "+", "@")) for row in read for cell in row)

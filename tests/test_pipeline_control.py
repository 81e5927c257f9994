"""The control stage: one row per control point read, each with a verdict, and papers on every file."""

import csv
import shutil
from pathlib import Path

import fiona
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.breaks_file import write_breaks
from pipeline.control import check_control, check_control_files
from pipeline.control_input.break_lines import known_breaks, read_break_lines
from pipeline.control_input.table import read_control
from pipeline.control_input.verdicts import CONTROL_REASONS, REPORT_COLUMNS
from pipeline.files import read_json, sha256
from pipeline.fit import fit_field
from pipeline.storage import Migration
from transforms.breaks import Breaks
from transforms.contract import Control
from transforms.errors import ControlError, SourceError

SETTINGS = """
title: Test
control: {files: [sources/control], vintage: 2004-11}
layers: [{name: points, file: sources/points.csv}]
"""


def link_lines(rng: np.random.Generator, count: int, west: float, south: float) -> list[str]:
    before = rng.uniform([west, south], [west + 1000, south + 1000], (count, 2))
    after = before + np.array([-0.8, -1.5]) + rng.normal(0, 0.1, (count, 2))
    return [
        ",".join(f"{value:.2f}" for value in (*old, *new)) + ",0030" for old, new in zip(before, after, strict=True)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A migration with two good tiles, one of them with a gross error and an unreadable row, and a letter."""
    rng = np.random.default_rng(5)
    control = tmp_path / "sources" / "control"
    control.mkdir(parents=True)
    east = link_lines(rng, 60, 405_000, 374_000)
    east[9] = east[9].replace(",0030", "").rsplit(",", 1)[0] + ",374999.99,0030"
    east[20] = "no link at all"
    (control / "SK0474.csv").write_text("\n".join(link_lines(rng, 60, 404_000, 374_000)) + "\n")
    (control / "SK0574.csv").write_text("\n".join(east) + "\n")
    (control / "letter.txt").write_text("Please find the link files enclosed.\n")
    (tmp_path / "migration.yaml").write_text(SETTINGS)
    return tmp_path


def report(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_report_has_one_row_per_row_read(folder: Path) -> None:
    """Columns and order are those of the command; the unreadable row is rejected with empty numbers."""
    out = folder / "out.csv"
    summary = check_control_files([folder / "sources" / "control"], out)
    rows = report(out)
    assert tuple(rows[0]) == REPORT_COLUMNS
    assert [(row["file"], row["row"]) for row in rows] == [
        (name, str(number)) for name in ("SK0474.csv", "SK0574.csv") for number in range(1, 61)
    ]
    bad = rows[60 + 20]
    assert (bad["verdict"], bad["reasons"]) == ("rejected", "too_few_fields")
    assert bad["old_easting"] == bad["residual_m"] == ""
    assert summary.read == 120 == summary.used + summary.suspect + summary.rejected


def test_a_gross_error_is_rejected_and_its_neighbours_are_not(folder: Path) -> None:
    """The judge's verdict lands on the row it belongs to, also after a row that could not be read."""
    out = folder / "out.csv"
    check_control_files([folder / "sources" / "control"], out)
    rejected = [(row["file"], row["row"]) for row in report(out) if row["verdict"] == "rejected"]
    assert rejected == [("SK0574.csv", "10"), ("SK0574.csv", "21")]


def test_every_reason_has_a_sentence(folder: Path) -> None:
    """No code in the report is without its sentence, and no sentence is empty."""
    out = folder / "out.csv"
    check_control_files([folder / "sources" / "control"], out)
    used = {code for row in report(out) for code in row["reasons"].split(";") if code}
    assert used <= set(CONTROL_REASONS)
    assert all(sentence.endswith(".") for sentence in CONTROL_REASONS.values())


def test_numbers_come_out_as_read(folder: Path) -> None:
    """The report repeats the delivered coordinates exactly."""
    out = folder / "out.csv"
    check_control_files([folder / "sources" / "control" / "SK0474.csv"], out)
    delivered = [line.split(",") for line in (folder / "sources/control/SK0474.csv").read_text().splitlines()]
    for row, fields in zip(report(out), delivered, strict=True):
        assert [float(row[name]) for name in REPORT_COLUMNS[2:6]] == [float(field) for field in fields[:4]]
        assert row["code"] == "0030"


def test_the_stage_writes_table_report_and_manifest(folder: Path) -> None:
    """Parquet and CSV agree; the manifest has each file's hash, vintage and counts, and the letter's sentence."""
    migration = Migration.open(folder)
    summary = check_control(migration)
    table = pq.read_table(migration.control_table)
    assert table["verdict"].to_pylist() == [row["verdict"] for row in report(migration.control_report)]
    files = {file["name"]: file for file in read_json(migration.control_manifest)["files"]}
    assert files["SK0474.csv"]["sha256"] == sha256(folder / "sources/control/SK0474.csv")
    assert {file["vintage"] for file in files.values()} == {"2004-11"}
    assert "letter.txt" in files["letter.txt"]["problem"]
    assert sum(file["used"] for file in files.values()) == summary.used
    assert read_json(migration.control_manifest)["unusable_rows"][0]["row"] == 21


def test_a_second_run_writes_the_same(folder: Path) -> None:
    """Nothing depends on time or on what an earlier run left."""
    migration = Migration.open(folder)
    check_control(migration)
    first = migration.control_report.read_bytes(), migration.control_manifest.read_bytes()
    check_control(migration)
    assert (migration.control_report.read_bytes(), migration.control_manifest.read_bytes()) == first


def test_the_sources_stay_untouched(folder: Path) -> None:
    """Reading writes nothing beside the deliveries."""
    before = {path: path.read_bytes() for path in (folder / "sources").rglob("*") if path.is_file()}
    check_control(Migration.open(folder))
    assert before == {path: path.read_bytes() for path in (folder / "sources").rglob("*") if path.is_file()}


def test_equal_names_in_two_folders_are_told_apart(folder: Path) -> None:
    """A re-issued tile beside the first issue keeps a name of its own."""
    for issue in ("may", "august"):
        (folder / issue).mkdir()
        shutil.copy(folder / "sources/control/SK0474.csv", folder / issue)
    names = [file.name for file in read_control([folder / "may", folder / "august"]).files]
    assert names == ["may/SK0474.csv", "august/SK0474.csv"]


@pytest.mark.parametrize("text", ["", "hello\n", "old_easting,old_northing,new_easting,new_northing\n", "a,b,c,d\n"])
def test_no_usable_control_at_all_is_one_sentence(tmp_path: Path, text: str) -> None:
    """Only then is there an error, and it names the file."""
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(ControlError, match=r"No usable control at all.*c\.csv"):
        read_control([tmp_path / "c.csv"])


def test_an_empty_folder_is_one_sentence(tmp_path: Path) -> None:
    """A folder without files says so."""
    with pytest.raises(ControlError, match="no control file was found"):
        read_control([tmp_path])


def test_known_breaks_take_the_place_of_found_ones(folder: Path) -> None:
    """A layer of break lines that the settings name divides the control as it says."""
    path = folder / "sources" / "breaks.gpkg"
    schema = {"geometry": "LineString", "properties": {}}
    with fiona.open(path, "w", driver="GPKG", schema=schema, crs="EPSG:27700") as layer:
        line = {"type": "LineString", "coordinates": [(405000, 373000), (405000, 376000)]}
        layer.write({"geometry": line, "properties": {}})
    (folder / "migration.yaml").write_text(SETTINGS.replace("vintage", "breaks: sources/breaks.gpkg, vintage"))
    migration = Migration.open(folder)
    assert check_control(migration).pieces == 2
    np.testing.assert_array_equal(read_break_lines(path)[0], [[405000, 373000], [405000, 376000]])
    assert fit_field(migration).pieces == 2, "the shift is fitted between the breaks by which control was judged"


def test_a_lost_digit_does_not_coarsen_known_breaks(tmp_path: Path) -> None:
    """A piece 200 m wide stays one though a link starts 300 km away."""
    path = tmp_path / "breaks.gpkg"
    schema = {"geometry": "LineString", "properties": {}}
    ring = [(402000, 372000), (402200, 372000), (402200, 372200), (402000, 372200), (402000, 372000)]
    with fiona.open(path, "w", driver="GPKG", schema=schema, crs="EPSG:27700") as layer:
        layer.write({"geometry": {"type": "LineString", "coordinates": ring}, "properties": {}})
    before = np.random.default_rng(0).uniform([400000, 370000], [405000, 375000], (100, 2))
    control = Control(np.vstack([before, before[:1] - [300_000, 0]]), np.vstack([before, before[:1]]) + 2.0)
    assert known_breaks(path, control).count == 2


@pytest.mark.parametrize("cut_off", ["nothing checked", "no breaks", "breaks of another check"])
def test_a_fit_without_a_whole_check_is_a_sentence(folder: Path, cut_off: str) -> None:
    """Control would be fitted between breaks by which it was not judged."""
    migration = Migration.open(folder)
    if cut_off != "nothing checked":
        check_control(migration)
        migration.control_breaks.unlink()
    if cut_off == "breaks of another check":
        line = np.array([[0.0, 5.0], [9.0, 5.0]])
        write_breaks(migration.control_breaks, Breaks.from_lines([line], (0.0, 0.0, 9.0, 9.0)))
    with pytest.raises(ControlError, match=r"is not checked, or the check was cut off\. Run post-pai run"):
        fit_field(migration)


def test_a_break_layer_without_lines_is_a_sentence(tmp_path: Path) -> None:
    """The cure is in the sentence."""
    with fiona.open(
        tmp_path / "b.gpkg", "w", driver="GPKG", schema={"geometry": "LineString", "properties": {}}, crs="EPSG:27700"
    ):
        pass
    with pytest.raises(SourceError, match="holds no line"):
        read_break_lines(tmp_path / "b.gpkg")

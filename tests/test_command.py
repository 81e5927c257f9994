"""Every verb of ``post-pai`` answers: with what it promises, or with exactly one sentence and nothing left behind."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from pyproj import Transformer

from pipeline.choices import Method
from pipeline.cli import app, main
from pipeline.field_file import read_field

LOW = np.array([410_000.0, 320_000.0])
SIDE_M = 4_000.0
OUTSIDE = (500_000.0, 200_000.0)
CHECK_COLUMNS = (
    "file,row,old_easting,old_northing,new_easting,new_northing,code,verdict,reasons,residual_m,standardised_residual"
)


def true_shift(places: np.ndarray) -> np.ndarray:
    unit = (places - LOW) / SIDE_M
    return np.stack([1.5 + unit[:, 0] ** 2 - unit[:, 1], -1.0 + unit[:, 0] * unit[:, 1]], axis=1)


def write_rows(path: Path, header: str, rows: np.ndarray) -> Path:
    path.write_text("\n".join([header, *(",".join(f"{value:.2f}" for value in row) for row in rows)]) + "\n")
    return path


def write_control(path: Path, count: int = 300, wrong_row: int | None = None) -> Path:
    before = LOW + np.random.default_rng(1).uniform(0, SIDE_M, (count, 2))
    after = before + true_shift(before)
    if wrong_row is not None:
        after[wrong_row] += [4.0, 3.0]
    return write_rows(path, "old_easting,old_northing,new_easting,new_northing", np.hstack([before, after]))


@dataclass(frozen=True)
class Answer:
    """What the command gave back."""

    status: int
    out: str
    errors: str


Command = Callable[..., Answer]


@pytest.fixture
def post_pai(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command as its entry point runs it; an exception that gets through fails the test."""

    def run(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["post-pai", *map(str, words)])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        return Answer(status, *capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with control, a field fitted by the command, and a layer; read only by agreement."""
    folder = tmp_path_factory.mktemp("kit")
    write_control(folder / "control.csv")
    command = [sys.executable, "-c", "from pipeline.cli import main; main()"]
    words = ["fit", str(folder / "control.csv"), "--out", str(folder / "shift.field"), "--method", "affine"]
    subprocess.run([*command, *words], check=True, capture_output=True)
    places = LOW + np.array([[1000.0, 1000.0], [2000.0, 2500.0], [90_000.0, 0.0]])
    boxes = shapely.box(*places.T, *(places + 20.0).T)
    pyogrio.raw.write(
        folder / "areas.gpkg",
        geometry=shapely.to_wkb(boxes),
        field_data=[np.array(["a", "b", "c"], dtype=object)],
        fields=["ref"],
        crs="EPSG:27700",
        geometry_type="Polygon",
    )
    return folder


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_check_control_says_a_verdict_for_each_row(post_pai: Command, tmp_path: Path) -> None:
    """The columns are those agreed, one row per control point in order, and the wrong one is found."""
    control = write_control(tmp_path / "control.csv", wrong_row=17)
    answer = post_pai("check-control", control, "--out", tmp_path / "checked.csv")
    assert answer == Answer(0, "", "")
    text = (tmp_path / "checked.csv").read_text()
    assert text.splitlines()[0] == CHECK_COLUMNS
    rows = read_table(tmp_path / "checked.csv")
    assert len(rows) == 300
    assert [int(row["row"]) for row in rows] == list(range(2, 302)), "rows are numbered as an editor shows them"
    assert {row["verdict"] for row in rows} <= {"used", "suspect", "rejected"}
    assert rows[17]["verdict"] == "rejected" and rows[17]["reasons"]
    assert float(rows[17]["residual_m"]) == pytest.approx(5.0, abs=0.5)
    assert sum(row["verdict"] == "used" for row in rows) >= 295


def test_the_length_limits_are_options(post_pai: Command, tmp_path: Path) -> None:
    control = write_control(tmp_path / "control.csv")
    post_pai("check-control", control, "--out", tmp_path / "checked.csv", "--length-reject-m", 0.5)
    assert {row["verdict"] for row in read_table(tmp_path / "checked.csv")} == {"rejected"}


@pytest.mark.parametrize("method", get_args(Method))
def test_each_method_fits(post_pai: Command, kit: Path, tmp_path: Path, method: str) -> None:
    """The field moves places near the truth, with an uncertainty, whichever method was asked for."""
    answer = post_pai("fit", kit / "control.csv", "--out", tmp_path / "shift.field", "--method", method)
    assert answer == Answer(0, "", "")
    fitted = read_field(tmp_path / "shift.field")
    assert method in ("auto", fitted.method)
    places = LOW + np.random.default_rng(2).uniform(0.2 * SIDE_M, 0.8 * SIDE_M, (200, 2))
    errors = np.hypot(*(fitted.field(places) - places - true_shift(places)).T)
    assert errors.max() < (0.8 if method in ("similarity", "affine") else 0.05)
    assert np.all(fitted.field.uncertainty(places) >= 0)


def test_points_move_or_say_why_not(post_pai: Command, kit: Path, tmp_path: Path) -> None:
    """One row out per row in; outside control there are no coordinates, so that nobody takes them for moved."""
    inside = LOW + 1000.0
    source = tmp_path / "in.csv"
    source.write_text(
        f"easting,northing,name\n{inside[0]},{inside[1]},x\n{OUTSIDE[0]},{OUTSIDE[1]},y\n,320000,z\nabc,320000,z\n1e300,320000,z\n"
    )
    answer = post_pai("points", kit / "shift.field", source, tmp_path / "out.csv")
    assert answer == Answer(0, "", "")
    text = (tmp_path / "out.csv").read_text()
    assert text.splitlines()[0].replace('"', "") == "easting,northing,uncertainty_m,reason"
    rows = read_table(tmp_path / "out.csv")
    assert [row["reason"] for row in rows] == ["", "outside_control", *["bad_coordinates"] * 3]
    moved = np.array([float(rows[0]["easting"]), float(rows[0]["northing"])])
    expected = read_field(kit / "shift.field").field(inside[None])[0]
    np.testing.assert_allclose(moved, expected, atol=1e-4)
    assert float(rows[0]["uncertainty_m"]) > 0
    for row in rows[1:]:
        assert (row["easting"], row["northing"], row["uncertainty_m"]) == ("", "", "")


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "tab", "geojson", "parquet", "csv"])
def test_shift_adds_columns_and_keeps_the_rest(post_pai: Command, kit: Path, tmp_path: Path, suffix: str) -> None:
    """Every feature comes out once, in order, with its reference, its outcome and its new place."""
    target = tmp_path / f"areas.{suffix}"
    assert post_pai("shift", kit / "shift.field", kit / "areas.gpkg", target) == Answer(0, "", "")
    if suffix in ("csv", "parquet"):
        return
    meta, _, geometry, columns = pyogrio.raw.read(target)
    by_name = dict(zip(meta["fields"], columns, strict=True))
    assert list(by_name["ref"]) == ["a", "b", "c"]
    assert {"pai_status", "pai_shift_m", "pai_run"} <= set(by_name) or suffix == "shp"
    before = shapely.from_wkb(pyogrio.raw.read(kit / "areas.gpkg")[2])
    after = shapely.from_wkb(geometry)
    assert list(by_name["pai_status"]) == ["moved", "moved", "open"]
    field = read_field(kit / "shift.field").field
    for old, new in zip(before[:2], after[:2], strict=True):
        wanted = field(shapely.get_coordinates(shapely.centroid(old)))
        assert shapely.centroid(new).distance(shapely.points(*wanted[0])) < 0.01
    assert after[2].equals(before[2])


def test_our_own_output_is_not_shifted_again(post_pai: Command, kit: Path, tmp_path: Path) -> None:
    once = tmp_path / "once.gpkg"
    post_pai("shift", kit / "shift.field", kit / "areas.gpkg", once)
    answer = post_pai("shift", kit / "shift.field", once, tmp_path / "twice.gpkg")
    assert_one_sentence(answer)
    assert not (tmp_path / "twice.gpkg").exists()


def test_a_source_is_never_its_own_target(post_pai: Command, tmp_path: Path, kit: Path) -> None:
    copy = tmp_path / "areas.gpkg"
    copy.write_bytes((kit / "areas.gpkg").read_bytes())
    before = copy.read_bytes()
    assert_one_sentence(post_pai("shift", kit / "shift.field", copy, copy))
    assert copy.read_bytes() == before and list(tmp_path.iterdir()) == [copy]


@pytest.mark.parametrize("suffix", ["json", "tif", "gsb"])
def test_the_field_leaves_in_the_forms_of_others(post_pai: Command, kit: Path, tmp_path: Path, suffix: str) -> None:
    """PROJ opens what was written and moves a place as the field does."""
    out = tmp_path / f"shift.{suffix}"
    assert post_pai("export-field", kit / "shift.field", out) == Answer(0, "", "")
    place = LOW + 2000.0
    expected = read_field(kit / "shift.field").field(place[None])[0]
    if suffix == "json":
        moved = Transformer.from_pipeline(f'+proj=tinshift +file="{out}"').transform(*place)
    elif suffix == "tif":
        moved = Transformer.from_pipeline(f'+proj=gridshift +grids="{out}" +no_z_transform').transform(*place)
    else:
        with rasterio.open(out) as grid:
            assert grid.driver == "NTv2" and grid.count == 4
        return
    np.testing.assert_allclose(moved, expected, atol=0.02)


BAD = {
    "no control file": ("check-control", "{tmp}/none.csv", "--out", "{tmp}/out.csv"),
    "empty control file": ("check-control", "{tmp}/empty.csv", "--out", "{tmp}/out.csv"),
    "folder without control": ("check-control", "{tmp}/folder", "--out", "{tmp}/out.csv"),
    "control without its columns": ("check-control", "{tmp}/other.csv", "--out", "{tmp}/out.csv"),
    "report below a file": ("check-control", "{kit}/control.csv", "--out", "{tmp}/empty.csv/out.csv"),
    "report onto a folder": ("check-control", "{kit}/control.csv", "--out", "{tmp}/folder"),
    "fit to no file": ("fit", "{tmp}/none.csv", "--out", "{tmp}/out.field"),
    "fit to an empty file": ("fit", "{tmp}/empty.csv", "--out", "{tmp}/out.field"),
    "fit to an empty folder": ("fit", "{tmp}/folder", "--out", "{tmp}/out.field"),
    "fit to another table": ("fit", "{tmp}/other.csv", "--out", "{tmp}/out.field"),
    "contest of three points": ("fit", "{tmp}/three.csv", "--out", "{tmp}/out.field"),
    "polynomial of three points": ("fit", "{tmp}/three.csv", "--out", "{tmp}/out.field", "--method", "polynomial"),
    "field below a file": ("fit", "{kit}/control.csv", "--out", "{tmp}/empty.csv/out.field", "--method", "affine"),
    "report onto its control": ("check-control", "{tmp}/folder", "{tmp}/three.csv", "--out", "{tmp}/three.csv"),
    "field onto its control": ("fit", "{tmp}/three.csv", "--out", "{tmp}/three.csv", "--method", "affine"),
    "no break lines": ("fit", "{kit}/control.csv", "--out", "{tmp}/out.field", "--breaks", "{tmp}/none.gpkg"),
    "points by no field": ("points", "{tmp}/none.field", "{tmp}/in.csv", "{tmp}/out.csv"),
    "points by rubbish": ("points", "{tmp}/rubbish.field", "{tmp}/in.csv", "{tmp}/out.csv"),
    "points by an empty field": ("points", "{tmp}/empty.csv", "{tmp}/in.csv", "{tmp}/out.csv"),
    "points by a folder": ("points", "{tmp}/folder", "{tmp}/in.csv", "{tmp}/out.csv"),
    "points by half a field": ("points", "{tmp}/half.field", "{tmp}/in.csv", "{tmp}/out.csv"),
    "no points": ("points", "{kit}/shift.field", "{tmp}/none.csv", "{tmp}/out.csv"),
    "empty points": ("points", "{kit}/shift.field", "{tmp}/empty.csv", "{tmp}/out.csv"),
    "points without columns": ("points", "{kit}/shift.field", "{tmp}/other.csv", "{tmp}/out.csv"),
    "points from a folder": ("points", "{kit}/shift.field", "{tmp}/folder", "{tmp}/out.csv"),
    "points from bytes": ("points", "{kit}/shift.field", "{tmp}/rubbish.field", "{tmp}/out.csv"),
    "points onto a folder": ("points", "{kit}/shift.field", "{tmp}/in.csv", "{tmp}/folder"),
    "points below a file": ("points", "{kit}/shift.field", "{tmp}/in.csv", "{tmp}/empty.csv/out.csv"),
    "points onto the field": ("points", "{tmp}/copy.field", "{tmp}/in.csv", "{tmp}/copy.field"),
    "points onto themselves": ("points", "{kit}/shift.field", "{tmp}/in.csv", "{tmp}/in.csv"),
    "shift by rubbish": ("shift", "{tmp}/rubbish.field", "{kit}/areas.gpkg", "{tmp}/out.gpkg"),
    "shift of nothing": ("shift", "{kit}/shift.field", "{tmp}/none.gpkg", "{tmp}/out.gpkg"),
    "shift of an empty file": ("shift", "{kit}/shift.field", "{tmp}/empty.csv", "{tmp}/out.gpkg"),
    "shift of a folder": ("shift", "{kit}/shift.field", "{tmp}/folder", "{tmp}/out.gpkg"),
    "shift of rubbish": ("shift", "{kit}/shift.field", "{tmp}/rubbish.gpkg", "{tmp}/out.gpkg"),
    "shift to an unknown form": ("shift", "{kit}/shift.field", "{kit}/areas.gpkg", "{tmp}/out.xyz"),
    "shift to no form": ("shift", "{kit}/shift.field", "{kit}/areas.gpkg", "{tmp}/out"),
    "shift below a file": ("shift", "{kit}/shift.field", "{kit}/areas.gpkg", "{tmp}/empty.csv/out.gpkg"),
    "shift onto a folder": ("shift", "{kit}/shift.field", "{kit}/areas.gpkg", "{tmp}/folder"),
    "shift of no such layer": ("shift", "{kit}/shift.field", "{kit}/areas.gpkg", "{tmp}/o.gpkg", "--layer", "none"),
    "export to an unknown form": ("export-field", "{kit}/shift.field", "{tmp}/out.xyz"),
    "export of rubbish": ("export-field", "{tmp}/rubbish.field", "{tmp}/out.json"),
    "export of nothing": ("export-field", "{tmp}/none.field", "{tmp}/out.json"),
    "export onto a folder": ("export-field", "{kit}/shift.field", "{tmp}/folder.json"),
    "export below a file": ("export-field", "{kit}/shift.field", "{tmp}/empty.csv/out.json"),
    "run of nothing": ("run", "{tmp}/none"),
    "run of another folder": ("run", "{tmp}/folder"),
    "run of a file": ("run", "{tmp}/other.csv"),
    "run of nonsense": ("run", "{tmp}/nonsense"),
    "ui of nothing": ("ui", "{tmp}/none"),
}


@pytest.mark.parametrize("words", BAD.values(), ids=BAD)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    post_pai: Command, kit: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Exit status not 0, one sentence on standard error, no traceback, no file made or changed."""
    lay_out_mistakes(kit, tmp_path)
    before = contents(tmp_path), contents(kit)
    assert_one_sentence(post_pai(*(word.format(tmp=tmp_path, kit=kit) for word in words)))
    assert (contents(tmp_path), contents(kit)) == before


def lay_out_mistakes(kit: Path, folder: Path) -> None:
    (folder / "folder").mkdir()
    (folder / "folder.json").mkdir()
    (folder / "nonsense").mkdir()
    (folder / "nonsense" / "migration.yaml").write_text("title: [\n")
    (folder / "empty.csv").touch()
    (folder / "other.csv").write_text("a,b\n1,2\n")
    (folder / "in.csv").write_text("easting,northing\n411000,321000\n")
    write_control(folder / "three.csv", count=3)
    rubbish = np.random.default_rng(3).integers(0, 256, 5000, dtype=np.uint8).tobytes()
    (folder / "rubbish.field").write_bytes(rubbish)
    (folder / "rubbish.gpkg").write_bytes(rubbish)
    whole = (kit / "shift.field").read_bytes()
    (folder / "copy.field").write_bytes(whole)
    (folder / "half.field").write_bytes(whole[: len(whole) // 2])


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def assert_one_sentence(answer: Answer) -> None:
    assert answer.status == 1
    assert answer.out == ""
    assert answer.errors.startswith("post-pai: ") and "Traceback" not in answer.errors
    assert answer.errors.count("\n") == 1 and answer.errors.rstrip().endswith((".", ".)"))


@pytest.mark.parametrize(
    "words",
    [("fit", "--no-such-option"), ("shift", "only-one"), ("nothing",), ("shift", "a", "b", "c", "--tolerance-m", "0")],
)
def test_a_slip_in_the_command_line_is_explained(post_pai: Command, words: tuple[str, ...]) -> None:
    """Typer's own form, exit status 2."""
    answer = post_pai(*words)
    assert answer.status == 2 and "Traceback" not in answer.errors and "Usage" in answer.errors


def test_a_small_job_does_not_wait_for_heavy_modules() -> None:
    loaded = "import sys, pipeline.cli, pipeline.shift_file; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert not {"dagster", "pydantic", "matplotlib", "scipy.spatial", "pyproj"} & set(done.stdout.split())


def test_the_installed_command_is_this_one() -> None:
    """``post-pai`` is on the path of the environment, and its help names every verb."""
    script = Path(sys.executable).with_name("post-pai")
    shown = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
    for command in app.registered_commands:
        assert (command.name or command.callback.__name__) in shown

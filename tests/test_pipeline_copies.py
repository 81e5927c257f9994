"""Copies, other software and false alarms: answers from any file are merged, and nothing is overwritten in silence."""

from __future__ import annotations

import os
import signal
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pyogrio.raw
import pytest
import shapely
from review_migration import LAYER, copy_for, execute, make_migration, moved, outcomes, places, save, save_in, square
from review_migration import write_stages as write_stages_of

from pipeline.officers.decisions import read_decisions
from pipeline.officers.narrow_package import read_narrow_review
from pipeline.officers.progress import review_progress
from pipeline.review import Reviewed, changed_reviews, review_layer
from pipeline.storage import Migration

SQUARES = [square(400_000.0 + 20 * number) for number in range(5)]
VERDICTS = ["accept", "leave", "review", "review", "review"]
RISKS = [0.0, 0.0, 0.1, 0.2, 0.9]
GRID = "EPSG:27700"


def write_stages(migration: Migration, shift_m: tuple[float, float] = (1.0, -2.0)) -> None:
    write_stages_of(migration, SQUARES, VERDICTS, risks=RISKS, shift_m=shift_m)


def offered_thrice(root: Path) -> Migration:
    migration = make_migration(root)
    layers = [layer.model_copy(update={"review_formats": ["tab", "shp"]}) for layer in migration.settings.layers]
    return Migration(migration.root, migration.settings.model_copy(update={"layers": layers}))


@pytest.fixture
def migration(tmp_path: Path) -> Migration:
    """Five squares, three of them open, offered as GeoPackage, TAB and Shapefile."""
    migration = offered_thrice(tmp_path)
    write_stages(migration)
    review_layer(migration, LAYER, "run-1")
    return migration


def run(migration: Migration, name: str = "run-2") -> Reviewed:
    return review_layer(migration, LAYER, name)


@pytest.mark.parametrize("name", ["trees_ann.gpkg", "incoming/trees.gpkg", "incoming/trees_bob.gpkg"])
def test_an_answer_in_a_copy_counts(migration: Migration, name: str) -> None:
    save_in(copy_for(migration, name), 3, decision="keep", officer="Ann")
    assert run(migration).decisions_taken == 1 and outcomes(migration)[3][0] == "unmoved"
    assert read_decisions(migration.decisions_log, LAYER)[0].copy == name
    assert run(migration, "run-3").decisions_taken == 0, "the same copy says nothing new"


def test_a_copy_of_another_layer_with_a_longer_name_is_left_to_it(tmp_path: Path) -> None:
    migration = make_migration(tmp_path, [LAYER, "trees_old"])
    for layer in (LAYER, "trees_old"):
        write_stages_of(migration, SQUARES[:1], ["review"], layer=layer)
        review_layer(migration, layer, "run-1")
    assert run(migration).findings == ()


def test_two_officers_with_copies_who_agree_agree(migration: Migration) -> None:
    for name in ("trees_ann.gpkg", "trees_bob.gpkg"):
        save_in(copy_for(migration, name), 3, decision="keep", officer=name)
    assert run(migration).disagreements == 0 and outcomes(migration)[3][0] == "unmoved"


def test_two_officers_who_disagree_are_shown_both_versions_and_neither_counts(migration: Migration) -> None:
    fixed = square(400_064.0)
    save_in(copy_for(migration, "trees_ann.gpkg"), 3, geometry=fixed, officer="Ann", note="hedge")
    save_in(copy_for(migration, "trees_bob.gpkg"), 3, decision="keep", officer="Bob")
    review = run(migration)
    (finding,) = [each for each in review.findings if "officers disagree" in each]
    assert "Ann said fixed" in finding and "Bob said keep" in finding and review.disagreements == 1
    assert outcomes(migration)[3][:1] == ("open",) and outcomes(migration)[3][1][0] == "officers_disagree"
    versions = execute(migration, "SELECT officer, decision FROM both_versions ORDER BY fid")
    assert versions == [("Ann", "fixed"), ("Bob", "keep")]
    _, _, drawn, _ = pyogrio.raw.read(migration.review(LAYER), layer="both_versions")
    assert shapely.equals(shapely.from_wkb(drawn[0]), fixed) and shapely.equals(shapely.from_wkb(drawn[1]), SQUARES[3])
    assert run(migration, "run-3").decisions_taken == 0, "nothing new was said"
    save(migration, 3, decision="keep", officer="Carol")
    assert run(migration, "run-4").disagreements == 0 and outcomes(migration)[3][0] == "unmoved"
    assert len(read_decisions(migration.decisions_log, LAYER)) == 3, "every version stays in the log"


def test_who_empties_an_answer_leaves_what_another_drew(migration: Migration) -> None:
    fixed, ann, bob = square(400_064.0), copy_for(migration, "trees_ann.gpkg"), copy_for(migration, "trees_bob.gpkg")
    save_in(bob, 3, decision="keep", officer="Bob")
    run(migration)
    save_in(ann, 3, geometry=fixed, officer="Ann")
    assert run(migration, "run-3").disagreements == 1
    save_in(bob, 3, decision=None)
    assert run(migration, "run-4").disagreements == 0
    assert outcomes(migration)[3][0] == "fixed" and shapely.equals(places(migration)[3], fixed)
    assert run(migration, "run-5").decisions_taken == 0


def test_a_copy_taken_before_a_decision_does_not_overwrite_it(migration: Migration) -> None:
    late = copy_for(migration, "trees_late.gpkg")
    save(migration, 3, decision="keep", officer="Ann")
    run(migration)
    save_in(late, 3, decision="accept", officer="Bob")
    assert run(migration, "run-3").disagreements == 1 and outcomes(migration)[3][0] == "open"


def test_the_same_disagreement_is_found_after_the_source_came_in_another_order(migration: Migration) -> None:
    late = copy_for(migration, "trees_late.gpkg")
    write_stages_of(migration, SQUARES[::-1], VERDICTS[::-1], references=[f"T{row}" for row in (4, 3, 2, 1, 0)])
    run(migration)
    save(migration, 1, decision="keep", officer="Ann")
    run(migration, "run-3")
    save_in(late, 3, decision="accept", officer="Bob")
    assert run(migration, "run-4").disagreements == 1 and outcomes(migration)[1][0] == "open"


def test_a_feature_that_comes_changed_and_in_another_row_is_opened_and_no_other_is(migration: Migration) -> None:
    save(migration, 3, geometry=square(400_064.0), officer="Ann")
    run(migration)
    squares = [square(399_000.0), *SQUARES[:3], moved(SQUARES[3], (0.5, 0.0)), SQUARES[4]]
    references = ["T9", "T0", "T1", "T2", "T3", "T4"]
    write_stages_of(migration, squares, ["accept"] * 6, references=references)
    run(migration, "run-3")
    assert [row for row, (status, _) in enumerate(outcomes(migration)) if status == "open"] == [4]
    assert outcomes(migration)[4] == ("open", ["source_changed"])


def test_a_row_deleted_from_a_copy_says_nothing(migration: Migration) -> None:
    path = copy_for(migration, "trees_ann.gpkg")
    with closing(sqlite3.connect(path)) as connection, connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{trigger}"')
        connection.execute(f"DELETE FROM {LAYER} WHERE pai_row = 2")
    assert run(migration).findings == ()


def test_a_damaged_copy_is_named_and_costs_no_other(migration: Migration) -> None:
    (migration.review_dir / "trees_ann.gpkg").write_bytes(b"half a file")
    save_in(copy_for(migration, "trees_bob.gpkg"), 3, decision="keep", officer="Bob")
    review = run(migration)
    assert any("trees_ann.gpkg cannot be read" in finding for finding in review.findings)
    assert outcomes(migration)[3][0] == "unmoved"


def test_an_emptied_decision_is_taken_back_by_a_new_entry(migration: Migration) -> None:
    save(migration, 3, decision="keep", officer="Ann")
    run(migration)
    save(migration, 3, decision=None)
    run(migration, "run-3")
    assert outcomes(migration)[3][0] == "open"
    assert [each.decision for each in read_decisions(migration.decisions_log, LAYER)] == ["keep", "undo"]
    save(migration, 3, decision="keep")
    run(migration, "run-4")
    assert outcomes(migration)[3][0] == "unmoved" and run(migration, "run-5").decisions_taken == 0


def test_the_sensor_sees_a_copy(migration: Migration) -> None:
    _, cursor = changed_reviews(migration, None, quiet_s=0)
    save_in(copy_for(migration, "trees_ann.gpkg"), 3, decision="keep", officer="Ann")
    assert changed_reviews(migration, cursor, quiet_s=0)[0] == [LAYER]


def test_a_clock_an_hour_off_changes_no_order(migration: Migration) -> None:
    """The order of the log counts, not what a clock said."""
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    save(migration, 3, decision="accept", officer="Ann", decided_at="2026-03-01T13:00:00")
    review_layer(migration, LAYER, "run-2", noon)
    save(migration, 3, decision="keep", officer="Ann", decided_at="2026-03-01T11:05:00")
    review_layer(migration, LAYER, "run-3", noon - timedelta(hours=1))
    assert outcomes(migration)[3][0] == "unmoved"


def edit_narrow(path: Path, edit: Callable[[dict[str, np.ndarray], np.ndarray], None]) -> None:
    """What another program does: read the table, change it, write it again as it does itself."""
    meta, _, geometries, fields = pyogrio.raw.read(path)
    names = list(meta["fields"])
    columns = dict(zip(names, fields, strict=True))
    edit({name.lower(): column for name, column in columns.items()}, geometries)
    for each in path.parent.glob(f"{path.stem}.*"):
        each.unlink()
    driver = {".tab": "MapInfo File", ".shp": "ESRI Shapefile"}[path.suffix]
    options = {"BOUNDS": "0,0,2000000,2000000"} if path.suffix == ".tab" else {}
    pyogrio.raw.write(
        path, geometries, list(columns.values()), names, driver=driver, geometry_type=meta["geometry_type"],
        crs="EPSG:27700", **options,
    )  # fmt: skip


def saved_anew(migration: Migration, name: str, geometries: np.ndarray | None = None, *, crs: str = GRID) -> None:
    """What "save as" of another program makes of the features in the review file: a layer called as the new file."""
    meta, _, there, fields = pyogrio.raw.read(migration.review(LAYER), layer=LAYER)
    names, path = [str(field)[:10] for field in meta["fields"]], migration.review_dir / name
    columns = [column if column.dtype != object else np.array(column) for column in fields]
    columns[names.index("decision")] = np.array(["keep", *[None] * (len(there) - 1)], dtype=object)
    pyogrio.raw.write(
        path, there if geometries is None else geometries, columns, names, layer=path.stem, crs=crs,
        driver={".gpkg": "GPKG", ".shp": "ESRI Shapefile"}[path.suffix], geometry_type=meta["geometry_type"],
    )  # fmt: skip


@pytest.mark.parametrize("name", ["trees_ann.gpkg", "trees_ann.shp"])
def test_a_copy_that_a_program_saved_anew_is_read(migration: Migration, name: str) -> None:
    saved_anew(migration, name)
    review = run(migration)
    assert (review.decisions_taken, review.findings) == (1, ())
    assert [status for status, _ in outcomes(migration)] == ["moved", "unmoved", "open", "open", "unmoved"]


@pytest.mark.parametrize("name", ["trees_ann.gpkg", "trees_ann.shp"])
def test_a_copy_in_another_coordinate_system_is_refused_whole(migration: Migration, name: str) -> None:
    saved_anew(migration, name, crs="EPSG:4326")
    review = run(migration)
    (finding,) = review.findings
    assert f"{name} is in " in finding and "Save it as EPSG:27700" in finding
    assert review.decisions_taken == 0 and read_decisions(migration.decisions_log, LAYER) == []


@pytest.mark.parametrize(("east_m", "status"), [(0.0, "unmoved"), (0.5, "open")])
def test_lines_that_a_program_made_of_a_curve_are_no_fix_but_a_move_is(
    tmp_path: Path, east_m: float, status: str
) -> None:
    migration = make_migration(tmp_path)
    angles, quarters = np.radians(np.arange(0, 360, 4)), np.radians([0, 90, 180, 270, 360])
    fine, coarse = (
        np.stack([400_030 + 30 * np.cos(each), 160_030 + 30 * np.sin(each)], axis=1) for each in (angles, quarters)
    )
    circle = struct.pack("<BII", 1, 10, 1) + struct.pack("<BII10d", 1, 8, 5, *coarse.ravel())
    write_stages_of(migration, [circle], ["review"])
    run(migration, "run-1")
    chords = shapely.to_wkb(shapely.polygons(fine + np.array([east_m, 0.0])))
    saved_anew(migration, "trees_ann.gpkg", np.array([chords], dtype=object))  # and says keep
    assert any("contradict each other" in finding for finding in run(migration).findings) == (status == "open")
    assert outcomes(migration)[0][0] == status
    assert pq.read_table(migration.corrected(LAYER))["pai_geometry"].to_pylist() == [circle]


@pytest.mark.parametrize("kind", ["tab", "shp"])
def test_other_software_is_offered_the_same_and_answers_the_same(migration: Migration, kind: str) -> None:
    path = migration.review_in(LAYER, kind)
    fixed = square(400_044.0)

    def answer(columns: dict[str, np.ndarray], geometries: np.ndarray) -> None:
        row = {int(number): at for at, number in enumerate(columns["source_row"])}
        columns["decision"][row[3]], columns["officer"][row[3]] = "keep", "Ann"
        columns["decision"][row[4]], columns["why"][row[4]] = "accept", "checked"
        geometries[row[2]] = shapely.to_wkb(fixed)

    meta, _, _, fields = pyogrio.raw.read(path)
    assert list(fields[list(meta["fields"]).index("source_row")]) == [4, 3, 2], "the riskiest first"
    assert run(migration).decisions_taken == 0, "rounding is no edit"
    edit_narrow(path, answer)
    review = run(migration, "run-3")
    assert (review.decisions_taken, review.findings) == (3, ())
    assert [status for status, _ in outcomes(migration)] == ["moved", "unmoved", "fixed", "unmoved", "moved"]
    assert shapely.hausdorff_distance(places(migration)[2], fixed) < 0.002
    assert {each.copy for each in read_decisions(migration.decisions_log, LAYER)} == {f"{kind}/trees.{kind}"}
    assert run(migration, "run-4").decisions_taken == 0 and outcomes(migration)[2][0] == "fixed"


@pytest.mark.parametrize("kind", ["tab", "shp"])
def test_a_row_that_was_not_offered_stays_in_a_narrow_file(migration: Migration, kind: str) -> None:
    def draw(columns: dict[str, np.ndarray], geometries: np.ndarray) -> None:
        columns["offer"][0], columns["note"][0] = "", "drawn by hand"

    path = migration.review_in(LAYER, kind)
    edit_narrow(path, draw)
    for name in ("run-2", "run-3"):
        assert run(migration, name).decisions_taken == 0
        saved = read_narrow_review(path, path.name)
        assert saved is not None and sorted(row.pai_row for row in saved.rows) == [-1, 2, 3, 4]
        (stray,) = [row for row in saved.rows if not row.token]
        assert stray.note == "drawn by hand" and stray.geometry is not None


def test_answers_in_tab_and_geopackage_that_differ_are_a_disagreement(migration: Migration) -> None:
    def accept(columns: dict[str, np.ndarray], geometries: np.ndarray) -> None:
        columns["decision"][:], columns["officer"][:] = "accept", "Bob"

    save(migration, 3, decision="keep", officer="Ann")
    edit_narrow(migration.review_in(LAYER, "tab"), accept)
    assert run(migration).disagreements == 1 and outcomes(migration)[3][0] == "open"


def test_a_table_open_in_mapinfo_is_left_and_said(migration: Migration, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Path.replace

    held = migration.review_in(LAYER, "tab").with_suffix(".map")
    before = held.read_bytes()

    def locked(path: Path, target: Path) -> Path:
        if path == held:
            raise PermissionError(13, "Permission denied")
        return original(path, target)

    monkeypatch.setattr(Path, "replace", locked)
    save(migration, 3, decision="keep", officer="Ann")
    review = run(migration)
    assert any("Close it in MapInfo" in finding for finding in review.findings)
    assert outcomes(migration)[3][0] == "unmoved" and not review.is_offered
    assert held.read_bytes() == before and held.with_suffix(".dat").exists()
    monkeypatch.undo()
    assert run(migration, "run-3").findings == ()


_KILLER = """
import importlib, os, signal, sys
sys.path[:0] = sys.argv[1].split(os.pathsep)
from pathlib import Path
from test_pipeline_copies import offered_thrice
from pipeline.review import review_layer
target, call = sys.argv[3].split("#")
module, name = target.rsplit(".", 1)
module = importlib.import_module(module)
original, calls = getattr(module, name), []
def kill(*arguments, **named):
    calls.append(1)
    if len(calls) == int(call):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **named)
setattr(module, name, kill)
review_layer(offered_thrice(Path(sys.argv[2])), "trees", "run-2")
"""
KILLED_AT = [
    "pipeline.logbook._write_line#2",
    "pipeline.review.append_new#3",
    "pipeline.officers.narrow_package._put_in_place#1",
    "pipeline.officers.narrow_package.digest_of#2",
]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("moment", KILLED_AT)
def test_killed_in_the_middle_of_three_files_nothing_is_lost_and_nothing_twice(
    migration: Migration, moment: str
) -> None:
    save_in(copy_for(migration, "trees_bob.gpkg"), 3, decision="keep", officer="Bob")
    save(migration, 2, geometry=square(400_043.0), officer="Ann")
    save(migration, 4, decision="accept", officer="Ann")
    here = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    words = [sys.executable, "-c", _KILLER, here, str(migration.root), moment]
    assert subprocess.run(words, check=False, timeout=120).returncode == -signal.SIGKILL
    review = run(migration)
    assert [status for status, _ in outcomes(migration)] == ["moved", "unmoved", "fixed", "unmoved", "moved"]
    logged = [(each.officer, each.decision, each.pai_row) for each in read_decisions(migration.decisions_log, LAYER)]
    assert len(logged) == len(set(logged)) and {("Bob", "keep", 3), ("Ann", "accept", 4)} < set(logged)
    assert review.is_offered and run(migration, "run-3").decisions_taken == 0


def _false_alarm(migration: Migration, row: int = 4, decision: str = "accept") -> None:
    save(migration, row, decision=decision, why="false_alarm", officer="Ann")
    run(migration)


@pytest.mark.parametrize(("shift_m", "status"), [((1.2, -2.0), "moved"), ((1.4, -2.0), "open")])
def test_a_false_alarm_is_not_raised_again_while_the_proposal_moves_little(
    migration: Migration, shift_m: tuple[float, float], status: str
) -> None:
    _false_alarm(migration)
    write_stages(migration, shift_m)
    run(migration, "run-3")
    assert outcomes(migration)[4][0] == status
    if status == "moved":
        assert places(migration)[4] == shapely.transform(SQUARES[4], lambda xy: xy + shift_m), "the proposal of today"


@pytest.mark.parametrize("decision", ["accept", "keep"])
def test_a_new_cause_raises_a_false_alarm_again(migration: Migration, decision: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _false_alarm(migration, decision=decision)
    table = pq.read_table(migration.quality(LAYER))
    reasons = [*table["reasons"].to_pylist()[:4], ["outside_control", "area_changed"]]
    pq.write_table(table.set_column(2, "reasons", pa.array(reasons)), migration.quality(LAYER))
    run(migration, "run-3")
    assert outcomes(migration)[4] == ("open", ["new_cause", "outside_control", "area_changed"])


def test_the_progress_counts_by_officer_and_day_and_forecasts_the_rest(migration: Migration) -> None:
    for number, row in enumerate((2, 3)):
        save(migration, row, decision="keep", officer="Ann", decided_at=f"2026-03-0{number + 1}T09:00:00")
    run(migration)
    progress = review_progress(migration, LAYER)
    assert (progress.features, progress.open, progress.decided, progress.by_officer) == (5, 1, {"keep": 2}, {"Ann": 2})
    assert progress.by_day == {"2026-03-01": {"Ann": 1}, "2026-03-02": {"Ann": 1}}
    assert progress.hours_left == 0.1 and "assumed" in progress.basis


@pytest.mark.parametrize("written", ["2026/03/01 09:00:00+00", "01/03/2026", "yesterday"])
def test_a_time_written_in_any_way_costs_nothing(migration: Migration, written: str) -> None:
    save(migration, 2, decision="keep", officer="Ann", decided_at=written)
    run(migration)
    (decision,) = read_decisions(migration.decisions_log, LAYER)
    assert decision.decided_at == written
    assert review_progress(migration, LAYER).by_day == {decision.saved_at[:10]: {"Ann": 1}}

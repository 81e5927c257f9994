"""What leaves the house: every feature once, with its attributes, whole or not at all."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from outcomes import make_migration, plots, write_layer
from stage_tables import belong_together

from pipeline.delivery import layer_files
from pipeline.delivery.digest import TableDigest
from pipeline.export import export_layer
from pipeline.files import read_json, sha256
from pipeline.formats import open_batches
from pipeline.logbook import read_lines
from pipeline.pages import evidence
from pipeline.pages.layer_pictures import LayerPictures
from transforms.errors import ExportError


@pytest.fixture
def migration(tmp_path, monkeypatch):
    # The pictures have tests of their own, and take most of the time.
    monkeypatch.setattr(evidence, "draw_layer", lambda migration, outcome: LayerPictures())
    return make_migration(tmp_path / "borough with a space")


def table_of(path: Path) -> pa.Table:
    with open_batches(path) as stream:
        return pa.Table.from_batches(list(stream.batches), stream.schema)


def files_of(migration) -> list[str]:
    return sorted(path.name for path in migration.exports_dir.iterdir() if path.is_file())


def all_moved(migration, run="run-2", **more) -> None:
    write_layer(migration, "parks", status=["moved"] * 200, run=run, **more)


def test_every_feature_comes_out_once_in_order_with_its_attributes(migration):
    """Nulls, empty text, accents and 64-bit integers are those of the source; ours are added behind them."""
    write_layer(migration, "parks")
    exported = export_layer(migration, "parks", "r1")
    source, out = pq.read_table(migration.staged("parks")), table_of(exported.files[0])
    for name in ("ref", "note", "big", "size"):
        assert out[name].to_pylist() == source[name].to_pylist()
    assert [name for name in out.column_names if name.startswith("pai_") and name != "pai_geometry"] == [
        "pai_status", "pai_reasons", "pai_shift_m", "pai_uncertainty_m", "pai_run",
    ]  # fmt: skip
    assert "pai_row" not in out.column_names


def test_the_geometry_is_the_corrected_one(migration):
    """What was moved lies two and a half metres away; what is open lies where it was."""
    write_layer(migration, "parks")
    out = table_of(export_layer(migration, "parks", "r1").files[0])
    after = shapely.from_wkb(out["pai_geometry"].to_numpy(zero_copy_only=False))
    distance = shapely.distance(shapely.centroid(after), shapely.centroid(plots(200)))
    displaced = np.isin(out["pai_status"].to_pylist(), ("moved", "fixed"))
    assert np.allclose(distance, np.where(displaced, 2.5, 0.0))


def test_a_layer_with_open_features_leaves_as_a_draft_and_nothing_else(migration):
    """GeoJSON and Shapefile are asked for, but not while an officer has still to decide."""
    write_layer(migration, "parks")
    exported = export_layer(migration, "parks", "r1")
    assert exported.state == "draft"
    assert files_of(migration) == ["parks.draft.gpkg", "parks.manifest.json"]


def test_when_the_last_feature_is_decided_the_draft_goes_and_the_final_files_come(migration):
    """In every format asked for."""
    write_layer(migration, "parks")
    export_layer(migration, "parks", "r1")
    all_moved(migration)
    exported = export_layer(migration, "parks", "r2")
    assert exported.state == "final"
    assert "parks.draft.gpkg" not in files_of(migration)
    assert {"parks.gpkg", "parks.geojson", "parks.shp", "parks.dbf"} <= set(files_of(migration))
    assert (
        len(table_of(migration.exports_dir / "parks.geojson"))
        == len(table_of(migration.exports_dir / "parks.shp"))
        == 200
    )


def test_an_earlier_final_export_is_withdrawn_not_lost_when_a_layer_is_open_again(migration):
    """It would look current beside the draft; it may have been handed out, so it is kept with its manifest."""
    all_moved(migration)
    handed_out = sha256(export_layer(migration, "parks", "r1").files[0].with_name("parks.gpkg"))
    write_layer(migration, "parks")
    exported = export_layer(migration, "parks", "r2")
    assert exported.withdrawn == migration.exports_dir / "withdrawn" / "parks-r1"
    assert sha256(exported.withdrawn / "parks.gpkg") == handed_out
    assert read_json(exported.withdrawn / "parks.manifest.json")["state"] == "final"
    assert read_json(exported.manifest)["withdrawn"] == ["withdrawn/parks-r1"]
    assert "withdrawn/parks-r1" in exported.evidence.read_text(encoding="utf-8")
    assert files_of(migration) == ["parks.draft.gpkg", "parks.manifest.json"]


def test_a_format_no_longer_asked_for_does_not_stay_behind(migration):
    """An old Shapefile beside a new GeoPackage would be taken for its twin."""
    all_moved(migration)
    export_layer(migration, "parks", "r1")
    settings = migration.root / "migration.yaml"
    settings.write_text(settings.read_text().replace("[geojson, shp]", "[]"), encoding="utf-8")
    export_layer(type(migration).open(migration.root), "parks", "r2")
    assert files_of(migration) == ["parks.gpkg", "parks.manifest.json"]
    assert (migration.exports_dir / "withdrawn" / "parks-r1" / "parks.shp").exists()


def test_every_format_officers_may_ask_for_passes_its_own_check(migration):
    """TAB writes the National Grid in MapInfo's words, GeoJSON as a name: each must still read back as it."""
    all_moved(migration)
    settings = migration.root / "migration.yaml"
    settings.write_text(
        settings.read_text().replace("[geojson, shp]", "[tab, shp, geojson, parquet]"), encoding="utf-8"
    )
    exported = export_layer(type(migration).open(migration.root), "parks", "r1")
    assert exported.state == "final"
    assert {f"parks.{suffix}" for suffix in ("gpkg", "tab", "shp", "geojson", "parquet")} <= set(files_of(migration))


def test_exporting_again_replaces_and_withdraws_nothing(migration):
    """A re-run of the same outcome leaves one export, not two."""
    all_moved(migration)
    before = export_layer(migration, "parks", "r1").files
    again = export_layer(migration, "parks", "r2")
    assert (again.files, again.withdrawn) == (before, None)
    assert not (migration.exports_dir / "withdrawn").exists()


def test_a_layer_whose_name_begins_like_another_is_left_alone(migration):
    """Exporting parks must not withdraw what belongs to parks_old."""
    all_moved(migration)
    migration.exports_dir.mkdir()
    other = migration.exports_dir / "parks_old.gpkg"
    other.write_bytes(b"another layer")
    export_layer(migration, "parks", "r1")
    assert other.read_bytes() == b"another layer"


def mixed(count: int) -> np.ndarray:
    """Plots and, every third, the point in their middle."""
    shapes = plots(count)
    return np.where(np.arange(count) % 3 == 0, shapely.centroid(shapes), shapes)


def test_a_shapefile_of_several_kinds_is_counted_and_withdrawn_with_all_its_parts(migration):
    """A part left behind, or not counted, would lose features in silence."""
    all_moved(migration, shapes=mixed(200))
    export_layer(migration, "parks", "r1")
    assert {"parks.shp", "parks_points.shp"} <= set(files_of(migration))
    write_layer(migration, "parks")
    withdrawn = export_layer(migration, "parks", "r2").withdrawn
    assert files_of(migration) == ["parks.draft.gpkg", "parks.manifest.json"]
    assert (withdrawn / "parks_points.dbf").exists()


def test_a_part_never_takes_the_name_of_another_layer(migration):
    """Two layers that would write one file: neither wins in silence."""
    settings = migration.root / "migration.yaml"
    settings.write_text(settings.read_text().replace("name: trees", "name: parks_points"), encoding="utf-8")
    migration = type(migration).open(migration.root)
    all_moved(migration, shapes=mixed(200))
    with pytest.raises(ExportError, match="which is the name of layer parks_points"):
        export_layer(migration, "parks", "r1")


def test_the_manifest_answers_years_later(migration):
    """Files with hashes, counts that reconcile, what it rests on, by which software."""
    all_moved(migration)
    exported = export_layer(migration, "parks", "r9")
    content = json.loads(exported.manifest.read_text(encoding="utf-8"))
    assert {file["name"]: file["sha256"] for file in content["files"]} == {
        path.name: sha256(path) for path in exported.files
    }
    counts = content["counts"]
    assert counts["in"] == counts["moved"] + counts["unmoved"] + counts["fixed"] + counts["open"] == 200
    assert (content["exported_by_run"], content["decided_by_run"]) == ("r9", "run-2")
    assert content["control_sha256"] == sha256(migration.control_table)
    assert content["corrected_sha256"] == sha256(migration.corrected("parks"))
    assert {"post-pai", "GDAL", "GEOS", "PROJ", "numpy"} <= set(content["versions"])
    assert content["settings"]["id_column"] == "ref"


def test_the_attributes_hash_of_the_manifest_is_that_of_the_source(migration):
    """Anyone who has the source can prove that the attributes of the export are unchanged."""
    all_moved(migration)
    manifest = read_json(export_layer(migration, "parks", "r1").manifest)
    digest = TableDigest(["ref", "note", "big", "size"])
    for batch in pq.read_table(migration.staged("parks")).to_batches(max_chunksize=7):
        digest.update(batch)
    assert manifest["attributes_sha256"] == digest.hexdigest()


def test_the_ledger_knows_what_left(migration):
    """So that an export that comes back as a source is recognised."""
    all_moved(migration)
    exported = export_layer(migration, "parks", "r1")
    record = next(line for line in read_lines(migration.ledger) if line["event"] == "exported")
    assert (record["event"], record["layer"], record["run"]) == ("exported", "parks", "r1")
    assert record["files"]["parks.gpkg"] == sha256(migration.exports_dir / "parks.gpkg")
    assert exported.files


@pytest.mark.parametrize("shapes", [plots(0), np.array([None, None, None], dtype=object)])
def test_a_layer_of_nothing_is_still_a_layer(migration, shapes):
    """No features, or only nulls: an export, a manifest and a page, all the same."""
    write_layer(migration, "trees", shapes=shapes, status=["unmoved"] * len(shapes))
    exported = export_layer(migration, "trees", "r1")
    assert exported.state == "final" and exported.counts.total == len(shapes)
    assert len(table_of(exported.files[0])) == len(shapes)
    assert exported.evidence.exists()


def test_batches_of_any_size_are_joined_in_step(migration, monkeypatch):
    """Row groups of source and outcome need not match: a wrong join would pair attributes with other shapes."""
    all_moved(migration)
    staged = pq.read_table(migration.staged("parks"))
    pq.write_table(staged, migration.staged("parks"), row_group_size=17)
    belong_together(migration, "parks")
    monkeypatch.setattr(layer_files, "_BATCH_ROWS", 23)
    out = table_of(next(path for path in export_layer(migration, "parks", "r1").files if path.suffix == ".gpkg"))
    after = shapely.from_wkb(out["pai_geometry"].to_numpy(zero_copy_only=False))
    assert out["ref"].to_pylist() == staged["ref"].to_pylist()
    assert np.allclose(shapely.distance(shapely.centroid(after), shapely.centroid(plots(200))), 2.5)


def test_rows_that_do_not_match_the_source_are_refused(migration):
    """A feature lost between source and review must never leave the house unnoticed."""
    write_layer(migration, "parks")
    pq.write_table(pq.read_table(migration.corrected("parks")).slice(0, 199), migration.corrected("parks"))
    with pytest.raises(ExportError, match=r"199 rows, the source 200"):
        export_layer(migration, "parks", "r1")


def test_rows_in_another_order_are_refused(migration):
    """Same number, other order: attributes would land on other shapes."""
    write_layer(migration, "parks")
    table = pq.read_table(migration.corrected("parks"))
    pq.write_table(table.take(np.arange(199, -1, -1)), migration.corrected("parks"))
    with pytest.raises(ExportError, match="order differs"):
        export_layer(migration, "parks", "r1")


def test_an_unknown_status_is_refused(migration):
    """The counts would not reconcile."""
    write_layer(migration, "parks")
    table = pq.read_table(migration.corrected("parks"))
    column = table.schema.get_field_index("pai_status")
    pq.write_table(table.set_column(column, "pai_status", pa.array(["lost"] * 200)), migration.corrected("parks"))
    with pytest.raises(ExportError, match="'lost'"):
        export_layer(migration, "parks", "r1")


def test_a_layer_not_reviewed_yet_is_refused_in_one_sentence(migration):
    """With the cure."""
    with pytest.raises(ExportError, match=r"Layer trees: .* missing .* Run the layer again"):
        export_layer(migration, "trees", "r1")


def test_a_file_that_reads_back_differently_is_not_exported(migration, monkeypatch):
    """If a writer changed an attribute or lost a feature, the earlier export stays and nothing else appears."""
    all_moved(migration)
    export_layer(migration, "parks", "r1")
    before = {path.name: sha256(path) for path in migration.exports_dir.iterdir() if path.is_file()}
    honest = layer_files.write_batches

    def careless(path, schema, batches, **options):
        return honest(path, schema, (_with_other_note(batch) for batch in batches), **options)

    monkeypatch.setattr(layer_files, "write_batches", careless)
    with pytest.raises(ExportError, match="column note does not read back"):
        export_layer(migration, "parks", "r2")
    assert {path.name: sha256(path) for path in migration.exports_dir.iterdir() if path.is_file()} == before


def test_a_lost_feature_is_noticed(migration, monkeypatch):
    """The count is compared after reading back, not taken from the writer."""
    all_moved(migration)
    honest = layer_files.write_batches
    monkeypatch.setattr(
        layer_files,
        "write_batches",
        lambda path, schema, batches, **o: honest(path, schema, _shortened(batches), **o),
    )
    with pytest.raises(ExportError, match="199 features read back of 200"):
        export_layer(migration, "parks", "r1")
    assert files_of(migration) == []


KILLED_EXPORT = """
import os, signal
from pathlib import Path
from pipeline import export
from pipeline.pages import evidence
from pipeline.delivery import place as export_place
from pipeline.storage import Migration
honest, moved = export_place._move, []
def killed(path, target):
    moved.append(path)
    if len(moved) == {moves}:
        os.kill(os.getpid(), signal.SIGKILL)
    return honest(path, target)
export_place._move = killed
export.export_layer(Migration.open(Path({root!r})), "parks", "r2")
"""


@pytest.mark.parametrize(("outcome", "moves"), [("draft", 1), ("draft", 4), ("final", 4), ("final", 9)])
def test_killed_between_two_renames_and_run_again_it_is_as_if_never_killed(migration, outcome, moves):
    """While an old export is withdrawn or a new one put in place: the next run completes it and loses nothing."""
    all_moved(migration)
    handed_out = sha256(export_layer(migration, "parks", "r1").files[0].with_name("parks.gpkg"))
    if outcome == "draft":
        write_layer(migration, "parks")
    else:
        all_moved(migration, run="run-3")
    code = KILLED_EXPORT.format(root=str(migration.root), moves=moves)
    killed = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    again = export_layer(migration, "parks", "r3")
    assert again.state == outcome
    assert {path.name for path in again.files} | {"parks.manifest.json"} == set(files_of(migration))
    assert not list(migration.exports_dir.glob(".parks.*"))
    assert len(table_of(next(path for path in again.files if path.suffix == ".gpkg"))) == 200
    if outcome == "draft":
        withdrawn = migration.exports_dir.glob("withdrawn/parks-r1*/parks.gpkg")
        assert [sha256(path) for path in withdrawn] == [handed_out]


def test_a_folder_that_cannot_be_written_is_one_sentence(migration):
    """Not a traceback."""
    write_layer(migration, "parks")
    migration.exports_dir.write_text("a file where the folder should be")
    with pytest.raises(ExportError, match="exports cannot be written"):
        export_layer(migration, "parks", "r1")


@pytest.mark.parametrize("outcome", ["draft", "final"])
@pytest.mark.parametrize("name", ["parks.gpkg", "parks.geojson"])
def test_a_file_held_open_by_another_program_is_one_sentence(migration, monkeypatch, outcome, name):
    """QGIS on Windows holds its files: the sentence says what to close, and the earlier export stays whole."""
    all_moved(migration)
    export_layer(migration, "parks", "r1")
    before = {path.name: path.read_bytes() for path in migration.exports_dir.iterdir() if path.is_file()}
    if outcome == "draft":
        write_layer(migration, "parks")
    else:
        all_moved(migration, run="run-3")
    honest = Path.replace

    def held(path, target):
        if path == migration.exports_dir / name:
            raise PermissionError(13, "in use")
        return honest(path, target)

    monkeypatch.setattr(Path, "replace", held)
    with pytest.raises(ExportError, match=f"{name} cannot be moved.*Close it in QGIS or MapInfo"):
        export_layer(migration, "parks", "r2")
    assert {path.name: path.read_bytes() for path in migration.exports_dir.iterdir() if path.is_file()} == before
    assert not list(migration.exports_dir.glob(".parks.*"))
    assert not list(migration.exports_dir.glob("withdrawn/*"))


def _with_other_note(batch: pa.RecordBatch) -> pa.RecordBatch:
    index = batch.schema.get_field_index("note")
    return batch.set_column(
        index, batch.schema.field(index), pa.array(["x"] * batch.num_rows, batch.column(index).type)
    )


def _shortened(batches):
    for batch in batches:
        yield batch.slice(1)

"""Staging: every row and column of the delivery, in order, with a manifest of what was found."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
import yaml

from pipeline.files import read_json
from pipeline.formats import open_batches
from pipeline.sources import stage_layer
from pipeline.storage import Migration
from transforms.errors import LedgerError, SettingsError, SourceError

POINTS = "ref,EASTING,NORTHING\nT1,358514.88,161234.50\nT2,,161000\nT1,362673.48,159272.39\n"


def migration(root: Path, *layers: dict, **files: str) -> Migration:
    (root / "sources").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (root / "sources" / name.replace("__", ".")).write_text(content)
    settings = {"title": "Test", "control": {"files": ["sources/control"]}, "layers": list(layers)}
    (root / "migration.yaml").write_text(yaml.safe_dump(settings))
    return Migration.open(root)


def layer(name: str, file: str, **said) -> dict:
    return {"name": name, "file": f"sources/{file}", **said}


def test_a_csv_is_staged_with_a_manifest(tmp_path):
    """Rows, columns and order are kept; the manifest counts what is missing and repeated."""
    here = migration(tmp_path, layer("trees", "trees.csv", id_column="ref"), trees__csv=POINTS)
    staged = stage_layer(here, "trees")
    table = pq.read_table(here.staged("trees"))
    assert table.column_names == ["ref", "EASTING", "NORTHING", "pai_row", "pai_geometry"]
    assert table["EASTING"].to_pylist() == ["358514.88", "", "362673.48"]
    assert table["pai_row"].to_pylist() == [0, 1, 2]
    assert (staged.features, staged.null_geometries, staged.repeated_ids) == (3, 1, 2)
    assert staged.extent == (358514.88, 159272.39, 362673.48, 161234.5)
    manifest = read_json(here.manifest("trees"))
    assert manifest["files"] == {"trees.csv": hashlib.sha256(POINTS.encode()).hexdigest()}
    assert manifest["geometry_types"] == {"Point": 2, "null": 1}
    assert any("no coordinate system" in finding for finding in manifest["findings"])


def test_staging_again_gives_the_same_bytes(tmp_path):
    """A re-run reproduces the staged copy and the manifest."""
    here = migration(tmp_path, layer("trees", "trees.csv"), trees__csv=POINTS)
    stage_layer(here, "trees")
    first = here.staged("trees").read_bytes(), here.manifest("trees").read_bytes()
    stage_layer(here, "trees")
    assert (here.staged("trees").read_bytes(), here.manifest("trees").read_bytes()) == first


def test_a_cure_from_the_settings_is_applied_and_recorded(tmp_path):
    """Swapped axes are put right in the geometry; the text columns stay as delivered."""
    swapped = "ref,EASTING,NORTHING\nT1,161234.5,358514.88\n"
    here = migration(tmp_path, layer("trees", "trees.csv", swap_axes=True), trees__csv=swapped)
    staged = stage_layer(here, "trees")
    table = pq.read_table(here.staged("trees"))
    assert shapely.from_wkb(table["pai_geometry"][0].as_py()).coords[0] == (358514.88, 161234.5)
    assert table["EASTING"].to_pylist() == ["161234.5"]
    assert staged.cures == ("swap_axes: true",)


def test_trouble_leaves_no_staged_copy(tmp_path):
    """A layer that needs a setting is refused with its path, and nothing is half-staged."""
    here = migration(tmp_path, layer("trees", "trees.csv"), trees__csv="ref,E,N\n1,161234.5,358514.88\n")
    with pytest.raises(SourceError, match=r"trees\.csv.*swap_axes"):
        stage_layer(here, "trees")
    assert not here.staged("trees").exists()


def test_a_column_that_is_not_there_is_named(tmp_path):
    """A misspelt id column is found before anything is computed."""
    here = migration(tmp_path, layer("trees", "trees.csv", id_column="REFNO"), trees__csv=POINTS)
    with pytest.raises(SettingsError, match=r"id_column.*REFNO.*ref, EASTING"):
        stage_layer(here, "trees")


def test_our_own_export_is_refused_with_its_run(tmp_path):
    """Data that we shifted must not be shifted again."""
    own = "ref,EASTING,NORTHING,pai_status,pai_run\nT1,358514.88,161234.50,moved,run-7\n"
    here = migration(tmp_path, layer("trees", "trees.csv"), trees__csv=own)
    with pytest.raises(LedgerError, match="run-7"):
        stage_layer(here, "trees")


def test_an_empty_layer_is_staged(tmp_path):
    """A header without rows is a layer of no features, not an error."""
    here = migration(tmp_path, layer("trees", "trees.csv"), trees__csv="ref,EASTING,NORTHING\n")
    staged = stage_layer(here, "trees")
    assert (staged.features, staged.extent) == (0, None)
    assert pq.read_table(here.staged("trees")).num_rows == 0


REAL = {
    "chew_valley/layers/conservation_areas.tab": (22, {}),
    "chew_valley/layers/tree_preservation_orders.gpkg": (415, {"source_layer": "tpo_point"}),
    "chew_valley/layers/planning_applications.shp": (1151, {"id_column": "APPREF"}),
    "chew_valley/layers/pipeline_zones.mif": (10, {}),
    "chew_valley/layers/rights_of_way.geojson": (120, {}),
    "chew_valley/layers/gazetteer.csv": (3344, {}),
    "chew_valley/layers/greenspace.gpkg": (157, {"source_layer": "greenspace"}),
    "layers/south_northants_conservation_areas.gml": (58, {}),
    "layers/medway_conservation_areas.gml": (24, {}),
    "layers/newcastle_tpo_points.csv": (7337, {}),
    "layers/st_albans_tpo_zones.geojson": (1044, {"reproject": True}),
    "layers/southwark_conservation_areas_shp.zip": (53, {}),
    "layers/southwark_conservation_areas.gpkg": (53, {}),
}


@pytest.mark.parametrize("name", REAL)
def test_real_council_layers_stage_whole(name, shared_data, tmp_path, monkeypatch):
    """Every row of every real layer is staged with its attributes and, without a cure, its bytes of geometry."""
    monkeypatch.setenv("PROJ_DATA", str(shared_data / "control"))
    source = shared_data / name
    (tmp_path / "sources").mkdir()
    for file in source.parent.glob(f"{source.stem}.*"):
        shutil.copy(file, tmp_path / "sources")
    before = {file.name: file.read_bytes() for file in (tmp_path / "sources").iterdir()}
    count, said = REAL[name]
    here = migration(tmp_path, layer("real", source.name, **said))
    staged = stage_layer(here, "real")
    assert staged.features == count == sum(staged.geometry_types.values())
    assert {file.name: file.read_bytes() for file in (tmp_path / "sources").iterdir()} == before
    table = pq.read_table(here.staged("real"))
    with open_batches(source, layer=said.get("source_layer")) as stream:
        found = [row for batch in stream.batches for row in batch.to_pylist()]
    compared = [field for field in found[0] if field != "pai_geometry" or not staged.cures]
    assert table.select(compared).to_pylist() == [{key: row[key] for key in compared} for row in found]
    west, south, east, north = staged.extent
    assert 0 < west < east < 700_000 and 0 < south < north < 1_300_000


def test_medway_keeps_both_fields_called_name(shared_data, tmp_path):
    """The GML's own name and the council's NAME are two columns with their own values."""
    with open_batches(shared_data / "layers/medway_conservation_areas.gml") as stream:
        rows = [row for batch in stream.batches for row in batch.to_pylist()]
    assert (rows[0]["name"], rows[0]["NAME_"]) == ("Polygon", "Halling")


def test_the_census_counts_what_is_doubtful(shared_data, tmp_path):
    """Bad rings, NaN, empties and curves of the hostile GeoPackage are counted, none stops the stage."""
    file = "curves_and_bad_rings.gpkg"
    (tmp_path / "sources").mkdir()
    shutil.copy(shared_data / "hostile/made" / file, tmp_path / "sources")
    names = {"rings": "bad rings", "mixed": "mixed", "curves": "curves"}
    here = migration(tmp_path, *(layer(name, file, source_layer=inside) for name, inside in names.items()))
    rings, mixed, curves = (stage_layer(here, name) for name in names)
    assert rings.empty_geometries == 1 and rings.invalid_geometries >= 4
    assert mixed.bad_coordinates == 1 and mixed.null_geometries == 1
    assert curves.curves == 5 and np.isfinite(curves.extent).all()

"""The stage reattach on a little migration: what was traced from the map lies on it again, neighbours joined."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from stage_tables import belong_together
from two_maps import LittleField, is_west, on_new_map, plots

from pipeline import reattach
from pipeline.files import sha256
from pipeline.formats import write_batches
from pipeline.geometry.linear_copy import linear_copy
from pipeline.ledger import record_shift
from pipeline.settings import read_settings
from pipeline.storage import Migration
from transforms.errors import SettingsError, SourceError

OFF = np.array([0.35, -0.2])
"""What the fitted shift misses."""

MIGRATION = """
title: A little borough
control: {files: [sources/control]}
base_maps:
  before: {file: sources/before.gpkg}
  after: {file: sources/after.gpkg}
layers:
  - {name: sites, file: sources/sites.gpkg, strategy: shift_and_reattach}
  - {name: trees, file: sources/trees.gpkg, strategy: shift}
"""


class OffField(LittleField):
    """The true shift and a smooth error."""

    def __call__(self, points):
        return super().__call__(points) + OFF

    def break_distance_m(self, points):
        return np.full(len(points), 500.0)


class Fitted:
    field = OffField()


@pytest.fixture(scope="module")
def migration(tmp_path_factory):
    folder = tmp_path_factory.mktemp("borough")
    (folder / "sources").mkdir()
    (folder / "migration.yaml").write_text(MIGRATION, encoding="utf-8")
    areas, buildings = plots()
    old = np.concatenate([shapely.boundary(areas), buildings])
    toid = np.array([f"osgb{number}" for number in range(len(old))], dtype=object)
    for name, shapes in (("before", old), ("after", on_new_map(old))):
        path = folder / "sources" / f"{name}.gpkg"
        pyogrio.raw.write(
            path, shapely.to_wkb(shapes), [toid], ["toid"], geometry_type="Unknown", crs="EPSG:27700", driver="GPKG"
        )
    migration = Migration.open(folder)
    write_layer(migration, "sites", areas[is_west(areas)][:40])
    beside = shapely.get_coordinates(areas[is_west(areas)][:40])[::5] + np.array([0.6, 0.5])
    write_layer(migration, "trees", shapely.points(beside), small_scale=True)
    return migration


def write_layer(migration, name, shapes, small_scale=False):
    rows = pa.array(range(len(shapes)), pa.int64())
    migration.layer_dir(name).mkdir(parents=True, exist_ok=True)
    pyogrio.raw.write(
        migration.source(migration.settings.layer(name).file),
        shapely.to_wkb(shapes),
        [np.arange(len(shapes))],
        ["n"],
        geometry_type="Unknown",
        crs="EPSG:27700",
        driver="GPKG",
    )
    staged = pa.record_batch({"pai_row": rows, "pai_geometry": wkb(shapes)})
    write_batches(migration.staged(name), staged.schema, [staged])
    shifted = {
        "pai_row": rows,
        "moved": pa.array([True] * len(shapes)),
        "regime_reasons": pa.array([["small_scale"] if small_scale else []] * len(shapes), pa.list_(pa.string())),
        "shift_m": pa.array([2.7] * len(shapes)),
        "shift_easting_m": pa.array([2.2] * len(shapes)),
        "shift_northing_m": pa.array([-1.6] * len(shapes)),
        "blocked_by": pa.array([""] * len(shapes)),
        "regime": pa.array(["affected"] * len(shapes)),
        "vertices_added": pa.array([0] * len(shapes), pa.int64()),
        "pai_geometry": wkb(shapely.transform(shapes, OffField())),
    }
    pq.write_table(pa.table(shifted), migration.shifted(name))
    belong_together(migration, name)


def wkb(shapes):
    return pa.array(shapely.to_wkb(shapes).tolist(), pa.binary())


def read(path):
    return linear_copy(pq.read_table(path)["pai_geometry"].to_pylist())[0]


def run(migration, name, monkeypatch):
    monkeypatch.setattr(reattach, "read_field", lambda path: Fitted())
    return reattach.reattach_layer(migration, name)


def test_what_was_traced_lies_on_the_map_again_to_the_last_bit(migration, monkeypatch):
    summary = run(migration, "sites", monkeypatch)
    old, new = read(migration.staged("sites")), read(migration.proposed("sites"))
    assert summary.attached_m == pytest.approx(summary.followed_m)
    assert summary.attached_features == summary.features == 40
    assert not summary.reasons
    assert (shapely.get_coordinates(new) == shapely.get_coordinates(on_new_map(old))).all()
    assert summary.pairs[-1].changed == 0


def test_what_the_lines_would_tie_in_a_knot_is_only_shifted(migration, monkeypatch):
    """Bow ties in place of what the lines made of one site, which is whole where the shift puts it."""
    run(migration, "sites", monkeypatch)
    shifted, attached = read(migration.shifted("sites")), read(migration.proposed("sites"))
    bow_tie = shapely.Polygon(shapely.get_coordinates(attached[3])[[0, 2, 1, 3]])
    knotted = [*attached[:3], bow_tie, *attached[4:]]
    monkeypatch.setattr(reattach, "_collect", knotting(reattach._collect, wkb(knotted)))
    summary = run(migration, "sites", monkeypatch)
    proposed = pq.read_table(migration.proposed("sites"))
    assert summary.attached_features == 39
    assert shapely.from_wkb(proposed["pai_geometry"][3].as_py()).equals_exact(shifted[3])
    assert proposed["is_attached"].to_pylist().index(False) == 3
    assert np.flatnonzero(proposed["attached_m"].to_numpy() == 0.0).tolist() == [3]
    assert proposed["reattach_reasons"].to_pylist()[3] == []


def knotting(collect, geometry):
    def collected(*args):
        return replace(collect(*args), geometry=pa.chunked_array([geometry]))

    return collected


def test_the_same_run_again_gives_the_same_file(migration, monkeypatch):
    run(migration, "sites", monkeypatch)
    first = read(migration.proposed("sites"))
    run(migration, "sites", monkeypatch)
    assert (shapely.to_wkb(first) == shapely.to_wkb(read(migration.proposed("sites")))).all()


def test_a_layer_that_does_not_ask_is_left_as_shifted_but_its_answers_are_looked_at(migration, monkeypatch):
    run(migration, "sites", monkeypatch)
    summary = run(migration, "trees", monkeypatch)
    assert summary.attached_features == 0 and not migration.reattached("trees").exists()
    assert summary.pairs[0].other == "sites"
    listed = pq.read_table(migration.consequences("trees")).to_pylist()
    before = shapely.intersects(read(migration.staged("trees"))[:, None], read(migration.staged("sites"))[None])
    after = shapely.intersects(read(migration.proposed("trees"))[:, None], read(migration.proposed("sites"))[None])
    assert {(row["pai_row"], int(row["other_row"])) for row in listed if row["other"] == "sites"} == set(
        zip(*(rows.tolist() for rows in np.nonzero(before != after)), strict=True)
    )


def test_small_scale_captures_are_never_attached(migration, monkeypatch):
    settings = migration.settings
    asked = [layer.model_copy(update={"strategy": "shift_and_reattach"}) for layer in settings.layers]
    asking = Migration(migration.root, settings.model_copy(update={"layers": asked}))
    summary = run(asking, "trees", monkeypatch)
    assert summary.never_attached == summary.features
    assert (shapely.to_wkb(read(asking.proposed("trees"))) == shapely.to_wkb(read(asking.shifted("trees")))).all()


def test_without_base_maps_the_refusal_says_what_to_do(migration, monkeypatch, tmp_path):
    text = MIGRATION.replace(
        "base_maps:\n  before: {file: sources/before.gpkg}\n  after: {file: sources/after.gpkg}\n", ""
    )
    (tmp_path / "migration.yaml").write_text(text, encoding="utf-8")
    without = Migration(migration.root, read_settings(tmp_path / "migration.yaml"))
    with pytest.raises(SettingsError, match="Name it as after in"):
        run(without, "sites", monkeypatch)


def test_a_layer_that_is_not_shifted_is_refused(migration, monkeypatch, tmp_path):
    elsewhere = Migration(tmp_path, migration.settings)
    with pytest.raises(SourceError, match="the copy of its source is missing"):
        run(elsewhere, "sites", monkeypatch)


def test_a_shift_of_an_earlier_fit_is_not_attached_by_the_field_of_today(migration, monkeypatch):
    """Half of the proposal would be of one shift and half of the other."""
    migration.field_file.parent.mkdir(parents=True)
    migration.field_file.write_bytes(b"fitted anew")
    digests = {"source_digest": "s", "geometry_digest": "g", "control_digest": "c", "field_digest": "an earlier one"}
    record_shift(migration, "sites", **digests, run_id="r1")
    with pytest.raises(SourceError, match="before the shift was fitted anew"):
        run(migration, "sites", monkeypatch)
    record_shift(migration, "sites", **digests | {"field_digest": sha256(migration.field_file)}, run_id="r2")
    assert run(migration, "sites", monkeypatch).features == 40

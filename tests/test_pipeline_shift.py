"""``post-pai shift`` from file to file, and the stage: every feature once, in order, moved whole or with a reason."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shift_worlds import BendingField, TurningField, geometries_of, random_geometries, road_coverage, wkb_array

from pipeline import shift, shift_file
from pipeline.formats import GEOMETRY, open_batches, write_batches
from pipeline.formats.stream import Origin, geometry_field
from pipeline.geometry import layer_survey
from pipeline.geometry.in_order import AHEAD, in_order
from pipeline.geometry.move import MoveRules, move_geometries
from pipeline.settings import BaseMaps, ControlSettings, LayerSettings, Settings
from pipeline.storage import Migration
from qa.coverage import area_between
from transforms.errors import ExportError, LedgerError, SourceError

FIELD = BendingField(break_easting=400_500.0, wave_m=400.0, end_easting=402_000.0)


@dataclass(frozen=True)
class Fitted:
    field: object
    control_sha256: str = "c0ffee"


@pytest.fixture
def field_file(tmp_path, monkeypatch):
    """A field file whose field is ``FIELD``; reading real ones is tested where they are written."""
    path = tmp_path / "test.field"
    path.write_bytes(b"a field")
    for module in (shift_file, shift):
        monkeypatch.setattr(module, "read_field", lambda _: Fitted(FIELD))
    return path


def write_layer(path: Path, geometries, **columns) -> Path:
    columns = columns or {"ref": [f"R{i}" for i in range(len(geometries))]}
    arrays = [pa.array(values) for values in columns.values()] + [wkb_array(geometries)]
    fields = [pa.field(name, array.type) for name, array in zip(columns, arrays[:-1], strict=True)]
    schema = pa.schema([*fields, geometry_field(Origin(column="geom"))])
    write_batches(path, schema, [pa.RecordBatch.from_arrays(arrays, schema=schema)])
    return path


def read_layer(path: Path) -> pa.Table:
    with open_batches(path) as stream:
        return pa.Table.from_batches(list(stream.batches), stream.schema)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


MIXED = np.array(
    [
        shapely.Point(400_100, 300_100),
        shapely.LineString([(400_100, 300_100), (403_000, 300_100)]),
        None,
        shapely.box(400_000, 300_000, 400_050, 300_050),
    ]
)


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet", ".geojson", ".fgb"])
def test_every_feature_comes_out_once_in_order_with_its_columns_and_its_outcome(tmp_path, field_file, suffix):
    source = write_layer(tmp_path / f"in{suffix}", MIXED, ref=["a", None, "", "ä"], height=[1.5, None, 3.0, 4.0])
    before = sha256(source)
    done = shift_file.shift_file(field_file, source, tmp_path / f"out{suffix}")
    found = read_layer(tmp_path / f"out{suffix}")
    assert found["pai_status"].to_pylist() == ["moved", "open", "unmoved", "moved"]
    assert [value or "" for value in found["pai_reasons"].to_pylist()] == ["", "outside_control", "no_geometry", ""]
    assert found["height"].to_pylist() == [1.5, None, 3.0, 4.0] and found["ref"][3].as_py() == "ä"
    assert set(found["pai_run"].to_pylist()) == {sha256(field_file)[:12]}
    assert (done.features, done.moved, done.unmoved, done.open) == (4, 2, 1, 1)
    assert sha256(source) == before
    geometries = geometries_of(found[GEOMETRY].combine_chunks())
    expected = FIELD(shapely.get_coordinates(MIXED[[0, 3]]))
    assert np.allclose(shapely.get_coordinates(geometries[[0, 3]]), expected, atol=1e-6)
    assert shapely.equals_exact(geometries[1], MIXED[1], 1e-6)


class UncertainInTheEast(BendingField):
    """A field whose 95 % radius is 0.9 m west of 400,500 m and 1.1 m east of it."""

    def uncertainty(self, points):
        return np.where(points[:, 0] < 400_500.0, 0.9, 1.1) / np.sqrt(-np.log(0.05))


def test_what_is_probably_more_than_a_metre_wrong_stays_open(tmp_path, field_file, monkeypatch):
    monkeypatch.setattr(shift_file, "read_field", lambda _: Fitted(UncertainInTheEast()))
    places = np.array([shapely.Point(400_100, 300_100), shapely.Point(400_900, 300_100)])
    crossing = shapely.LineString(shapely.get_coordinates(places))
    source = write_layer(tmp_path / "in.gpkg", np.array([*places, crossing]))
    shift_file.shift_file(field_file, source, tmp_path / "out.gpkg")
    found = read_layer(tmp_path / "out.gpkg")
    assert found["pai_status"].to_pylist() == ["moved", "open", "open"]
    assert found["pai_reasons"].to_pylist() == ["", "uncertain", "uncertain"]
    after = geometries_of(found[GEOMETRY].combine_chunks())
    assert shapely.equals_exact(after[1], places[1]) and shapely.equals_exact(after[2], crossing)


def test_no_feature_is_a_layer_too(tmp_path, field_file):
    source = write_layer(tmp_path / "in.gpkg", MIXED[:0], ref=pa.array([], pa.string()))
    assert shift_file.shift_file(field_file, source, tmp_path / "out.gpkg").features == 0
    assert read_layer(tmp_path / "out.gpkg").num_rows == 0


def test_the_source_is_refused_as_target_and_stays(tmp_path, field_file):
    source = write_layer(tmp_path / "in.gpkg", MIXED)
    before = sha256(source)
    with pytest.raises(ExportError, match="the source itself"):
        shift_file.shift_file(field_file, source, tmp_path / "." / "in.gpkg")
    assert sha256(source) == before


def test_our_own_output_is_not_shifted_again(tmp_path, field_file):
    source = write_layer(tmp_path / "in.gpkg", MIXED)
    shift_file.shift_file(field_file, source, tmp_path / "out.gpkg")
    with pytest.raises(LedgerError, match="shifted already"):
        shift_file.shift_file(field_file, tmp_path / "out.gpkg", tmp_path / "twice.gpkg")
    assert not (tmp_path / "twice.gpkg").exists()


def test_a_layer_in_degrees_is_refused_and_nothing_is_written(tmp_path, field_file):
    source = write_layer(tmp_path / "in.gpkg", np.array([shapely.Point(-2.6, 51.3)] * 3))
    with pytest.raises(SourceError, match="degrees"):
        shift_file.shift_file(field_file, source, tmp_path / "out.gpkg")
    assert not (tmp_path / "out.gpkg").exists()


def test_a_coverage_in_many_small_batches_read_twice_neither_parts_nor_overlaps(tmp_path, field_file, monkeypatch):
    monkeypatch.setattr(shift_file, "rows_at_once", lambda *_: 7)
    monkeypatch.setattr(layer_survey, "MOST_KEPT_BYTES", 0)
    before = road_coverage(blocks=3, cells=5)
    source = write_layer(tmp_path / "in.gpkg", before)
    done = shift_file.shift_file(field_file, source, tmp_path / "out.gpkg")
    found = read_layer(tmp_path / "out.gpkg")
    after = geometries_of(found[GEOMETRY].combine_chunks())
    assert done.moved == len(before) and done.hanging_nodes == 16
    assert found["ref"].to_pylist() == [f"R{i}" for i in range(len(before))]
    assert area_between(after) - area_between(before) <= 1e-6 * len(before)


def test_a_rigid_layer_keeps_its_right_angles_and_touching_features_together(tmp_path, field_file):
    houses = np.array([shapely.box(e, 300_000, e + 12, 300_009) for e in (400_000, 400_012, 400_100)])
    source = write_layer(tmp_path / "in.gpkg", houses)
    shift_file.shift_file(field_file, source, tmp_path / "out.gpkg", shape="rigid")
    after = geometries_of(read_layer(tmp_path / "out.gpkg")[GEOMETRY].combine_chunks())
    sides = np.diff(shapely.get_coordinates(after).reshape(3, 5, 2), axis=1)
    assert np.allclose((sides[:, :-1] * sides[:, 1:]).sum(axis=2), 0, atol=1e-6)
    assert np.allclose(shapely.area(after), 108)
    assert shapely.length(shapely.intersection(after[0], after[1])) == pytest.approx(9)
    followed = FIELD(shapely.get_coordinates(houses)).reshape(3, 5, 2)
    assert np.abs(followed - shapely.get_coordinates(after).reshape(3, 5, 2)).max() < 0.05


def test_a_group_too_long_to_be_rigid_follows_the_field_with_all_the_vertices_that_takes(tmp_path, field_file):
    row = np.array([shapely.box(e, 300_000, e + 100, 300_100) for e in range(400_000, 401_900, 100)])
    road = shapely.box(400_000, 300_100, 401_900, 300_110)
    source = write_layer(tmp_path / "in.gpkg", np.array([*row, road]))
    shift_file.shift_file(field_file, source, tmp_path / "rigid.gpkg", shape="rigid")
    shift_file.shift_file(field_file, source, tmp_path / "follow.gpkg")
    rigid, follow = (
        geometries_of(read_layer(tmp_path / f"{shape}.gpkg")[GEOMETRY].combine_chunks())
        for shape in ("rigid", "follow")
    )
    assert shapely.get_num_coordinates(rigid[-1]) > 20 and shapely.equals_exact(rigid, follow).all()


def test_what_moves_beside_what_stays_is_counted(tmp_path, field_file):
    stays, beside, apart = (
        shapely.box(east, 300_000, to, 300_050)
        for east, to in ((400_050, 403_000), (400_000, 400_050), (399_000, 399_050))
    )
    source = write_layer(tmp_path / "in.gpkg", np.array([stays, beside, apart]))
    done = shift_file.shift_file(field_file, source, tmp_path / "out.gpkg")
    assert done.moved == 2 and any(note.startswith("1 moved features touch one that stays") for note in done.notes)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([".gpkg", ".parquet"]))
def test_any_mix_of_geometries_through_a_file_is_what_it_is_in_memory(tmp_path_factory, seed, suffix):
    shapes = random_geometries(np.random.default_rng(seed))
    shapes[0] = shapely.Point(0, 0)
    shapes = (
        shapely.transform(shapes, lambda rows: np.column_stack([[4e5, 3e5] + rows[:, :2], rows[:, 2:]]), include_z=None)
        if not any(shape is not None and shapely.has_m(shape) for shape in shapes)
        else shapes[:1]
    )
    folder = tmp_path_factory.mktemp("mix")
    source, field_path = write_layer(folder / f"in{suffix}", shapes), folder / "a.field"
    field_path.write_bytes(b"a field")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shift_file, "read_field", lambda _: Fitted(TurningField()))
        shift_file.shift_file(field_path, source, folder / f"out{suffix}")
    expected = move_geometries(read_layer(source)[GEOMETRY].combine_chunks(), TurningField(), rules=MoveRules())
    found = read_layer(folder / f"out{suffix}")[GEOMETRY].combine_chunks()
    assert found.to_pylist() == expected.geometry.to_pylist()


def test_work_in_order_never_runs_far_ahead_of_its_taker():
    from concurrent.futures import ThreadPoolExecutor

    taken = []

    def items():
        for number in range(50):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(2) as executor:
        results = in_order(executor, lambda number: number * 2, items())
        assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
        assert len(taken) <= 5 + AHEAD + 1


# The stage.


def make_migration(root: Path, strategy: str = "shift", **captured) -> Migration:
    layers = [
        LayerSettings(name="plots", file=Path("sources/plots.gpkg"), strategy=strategy, **captured),
        LayerSettings(name="edges", file=Path("sources/edges.gpkg")),
    ]
    settings_ = Settings(
        title="Test", control=ControlSettings(files=[Path("sources/control.csv")]), layers=layers, base_maps=BaseMaps()
    )
    return Migration(root, settings_)


def stage(migration: Migration, layer: str, geometries, **columns) -> None:
    """Leave a layer as the stage sources does."""
    source = migration.source(migration.settings.layer(layer).file)
    source.parent.mkdir(parents=True, exist_ok=True)
    write_layer(source, geometries, **columns)
    columns = columns or {"ref": [f"R{i}" for i in range(len(geometries))]}
    migration.staged(layer).parent.mkdir(parents=True, exist_ok=True)
    write_layer(migration.staged(layer), geometries, **columns, pai_row=np.arange(len(geometries)))
    migration.manifest(layer).write_text(json.dumps({"files": {source.name: sha256(source)}}))
    migration.field_file.parent.mkdir(parents=True, exist_ok=True)
    migration.field_file.write_bytes(b"a field")


def test_the_stage_proposes_whole_moves_and_says_why_not(tmp_path, field_file):
    migration = make_migration(tmp_path / "m")
    stage(migration, "plots", MIXED)
    summary = shift.shift_layer(migration, "plots", run_id="r1")
    found = pq.read_table(migration.shifted("plots"))
    assert found["pai_row"].to_pylist() == [0, 1, 2, 3]
    assert found["moved"].to_pylist() == [True, False, False, True]
    assert found["blocked_by"].to_pylist()[:2] == ["", "outside_control"]
    assert found["pai_geometry"][1].as_py() == wkb_array(MIXED)[1].as_py()
    assert (summary.features, summary.moved, summary.unmoved) == (4, 2, 2)
    assert summary.blocked == {"outside_control": 1}
    assert 0 < summary.mean_shift_m <= summary.largest_shift_m
    assert json.loads(migration.ledger.read_text().splitlines()[-1])["run"] == "r1"


def test_the_stage_run_again_gives_the_same_bytes_and_no_second_line_in_the_ledger(tmp_path, field_file):
    migration = make_migration(tmp_path / "m")
    stage(migration, "plots", MIXED)
    shift.shift_layer(migration, "plots")
    first = sha256(migration.shifted("plots"))
    shift.shift_layer(migration, "plots")
    assert sha256(migration.shifted("plots")) == first
    assert len(migration.ledger.read_text().splitlines()) == 1


def test_the_same_delivery_under_another_name_is_refused(tmp_path, field_file):
    migration = make_migration(tmp_path / "m")
    stage(migration, "plots", MIXED)
    shift.shift_layer(migration, "plots")
    stage(migration, "edges", MIXED)
    migration.manifest("edges").write_bytes(migration.manifest("plots").read_bytes())
    with pytest.raises(LedgerError, match="as layer plots"):
        shift.shift_layer(migration, "edges")


@pytest.mark.parametrize("strategy", ["leave", "check_only"])
def test_a_layer_that_is_left_is_measured_and_not_moved(tmp_path, field_file, strategy):
    migration = make_migration(tmp_path / "m", strategy)
    finely = np.where(shapely.is_missing(MIXED), None, shapely.transform(MIXED, lambda points: points + 0.37))
    stage(migration, "plots", finely)
    assert shift.shift_layer(migration, "plots").moved == 0
    found = pq.read_table(migration.shifted("plots"))
    left = [["layer_left"], ["layer_left"], ["no_geometry"], ["layer_left"]]
    assert (found["regime_reasons"].to_pylist() == left) == (strategy == "leave")
    assert found["pai_geometry"].to_pylist() == wkb_array(finely).to_pylist()
    assert found["shift_m"][0].as_py() > 0


def test_what_lies_across_a_break_is_called_straddling_and_stays(tmp_path, field_file, monkeypatch):
    jumping = BendingField(break_easting=400_500.0, jump_m=2.0)
    monkeypatch.setattr(shift, "read_field", lambda _: Fitted(jumping))
    migration = make_migration(tmp_path / "m")
    stage(migration, "plots", np.array([shapely.box(400_450.3, 300_000, 400_550, 300_100)]))
    summary = shift.shift_layer(migration, "plots")
    assert summary.regimes == {"straddling": 1}
    found = pq.read_table(migration.shifted("plots"))
    assert found["regime"].to_pylist() == ["straddling"] and found["moved"].to_pylist() == [False]


def test_what_was_measured_on_the_ground_does_not_move(tmp_path, field_file):
    migration = make_migration(tmp_path / "m", method_column="how")
    stage(migration, "plots", np.array([shapely.Point(400_101.3, 300_002.7)] * 2), how=["GPS", "map"])
    shift.shift_layer(migration, "plots")
    found = pq.read_table(migration.shifted("plots"))
    assert found["moved"].to_pylist() == [False, True]
    assert found["regime"][0].as_py() == "unaffected" and found["blocked_by"][0].as_py() == ""


def test_a_vertex_of_another_layer_on_an_edge_keeps_both_layers_together(tmp_path, field_file):
    migration = make_migration(tmp_path / "m")
    plot = shapely.box(400_000, 300_000, 400_400, 300_400)
    node = np.array([400_000.0, 300_123.0])
    stage(migration, "plots", np.array([plot]))
    stage(migration, "edges", np.array([shapely.LineString([node, node - np.array([50, 0])])]))
    moved = [_proposal(migration, layer) for layer in ("plots", "edges")]
    assert shapely.get_coordinates(moved[1])[0].tolist() in shapely.get_coordinates(moved[0]).tolist()


def _proposal(migration, layer):
    shift.shift_layer(migration, layer)
    return geometries_of(pq.read_table(migration.shifted(layer))[GEOMETRY].combine_chunks())[0]


def test_a_layer_that_is_not_staged_is_answered_with_a_sentence(tmp_path, field_file):
    with pytest.raises(SourceError, match="Run the stage sources first"):
        shift.shift_layer(make_migration(tmp_path / "m"), "plots")

"""One edition of the base map alone, through the stages: what is settled by it, and what is refused."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from test_pipeline_all_at_once import CORNER, deliver, write
from two_maps import LittleField, is_west, on_new_map, plots

from pipeline.control import check_control
from pipeline.fit import fit_field
from pipeline.orchestration import checks
from pipeline.quality import judge_layer
from pipeline.reattach import reattach_layer
from pipeline.shift import shift_layer
from pipeline.sources import stage_layer
from pipeline.storage import Migration
from transforms.errors import SettingsError, SourceError

SETTINGS = """
title: A little borough
control: {{files: [sources/links.csv], from_base_maps: false}}
fit: {{method: similarity}}
base_maps: {{{maps} new_map_loaded_on: 2005-06-01}}
layers:
  - {{name: sites, file: sources/sites.gpkg, captured_column: day, strategy: {strategy}}}
"""
OLD, NEW = "before: {file: sources/before.gpkg},", "after: {file: sources/after.gpkg},"
AREAS, BUILDINGS = (shapes[is_west(shapes)] for shapes in plots())
SHOWN = np.concatenate([shapely.boundary(AREAS), BUILDINGS])
TRACED_ON_OLD, TRACED_ON_NEW = AREAS[:60], on_new_map(AREAS[60:90])
DAYS = ["1999-05-05"] * 60 + ["2007-05-05"] * 30


def links(path, buildings):
    """Control at the corners of buildings, mapped to a few centimetres."""
    corners = shapely.get_coordinates(buildings)[::2]
    there = LittleField()(corners) + np.random.default_rng(1).normal(0, 0.04, corners.shape)
    rows = np.column_stack([corners + CORNER, there + CORNER])
    path.write_text("\n".join(",".join(f"{value:.2f}" for value in row) for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The western part of the little map, which moved alike, with links and both editions; fitted without either."""
    root = tmp_path_factory.mktemp("borough")
    (root / "sources").mkdir()
    ids = [f"osgb{number}" for number in range(len(SHOWN))]
    write(root / "sources" / "before.gpkg", SHOWN, "toid", ids)
    write(root / "sources" / "after.gpkg", on_new_map(SHOWN), "toid", ids)
    links(root / "sources" / "links.csv", BUILDINGS)
    fitted(with_settings(root, ""))
    return root


def with_settings(root, maps, strategy="shift"):
    (root / "migration.yaml").write_text(SETTINGS.format(maps=maps, strategy=strategy), encoding="utf-8")
    return Migration.open(root)


def fitted(migration):
    check_control(migration)
    fit_field(migration)


def judged(migration):
    """The verdicts, the reasons and the proposal of the layer."""
    for stage in (stage_layer, shift_layer, reattach_layer, judge_layer):
        stage(migration, "sites")
    quality = pq.read_table(migration.quality("sites"))
    proposed = shapely.from_wkb(pq.read_table(migration.proposed("sites"))["pai_geometry"].to_pylist())
    return np.array(quality["verdict"].to_pylist()), quality["reasons"].to_pylist(), proposed


def apart_m(proposed, plots):
    return shapely.hausdorff_distance(shapely.transform(proposed, lambda places: places - CORNER), plots)


def origin_shown(migration):
    return {found.check_name: found.passed for found in checks.of_shift(migration, "sites")}["origin_shown"]


def test_the_new_map_alone_settles_what_followed_either_map(root):
    deliver(root, np.concatenate([TRACED_ON_OLD, TRACED_ON_NEW]), DAYS)
    migration = with_settings(root, NEW, "shift_and_reattach")
    verdicts, _, proposed = judged(migration)
    assert verdicts.tolist() == ["accept"] * 60 + ["leave"] * 30
    assert apart_m(proposed, on_new_map(AREAS[:90])).max() < 0.011
    assert origin_shown(migration)


def test_the_old_map_alone_settles_them_too_but_there_is_nothing_to_attach_to(root):
    deliver(root, np.concatenate([TRACED_ON_OLD, TRACED_ON_NEW]), DAYS)
    verdicts, _, proposed = judged(with_settings(root, OLD))
    assert verdicts.tolist() == ["accept"] * 60 + ["leave"] * 30
    assert apart_m(proposed, on_new_map(AREAS[:90])).max() < 0.05

    migration = with_settings(root, OLD, "shift_and_reattach")
    stage_layer(migration, "sites")
    shift_layer(migration, "sites")
    with pytest.raises(SettingsError, match="Layer sites cannot be re-attached: base_maps names no new map"):
        reattach_layer(migration, "sites")


def test_without_any_map_nothing_of_it_is_settled(root):
    deliver(root, np.concatenate([TRACED_ON_OLD, TRACED_ON_NEW]), DAYS)
    migration = with_settings(root, "")
    assert set(judged(migration)[0]) == {"review"}
    assert not origin_shown(migration)


def test_what_lies_far_from_control_is_settled_only_where_it_follows_the_new_map(root):
    """Nobody has seen how the map moved there; what it is traced from shows where it goes."""
    deliver(root, AREAS, ["1999-05-05"] * len(AREAS))
    is_near = shapely.bounds(AREAS)[:, 2] < 300
    links(root / "sources" / "links.csv", BUILDINGS[shapely.bounds(BUILDINGS)[:, 2] < 300])
    migration = with_settings(root, NEW)
    fitted(migration)
    verdicts, reasons, _ = judged(migration)
    far = np.array(["far_from_control" in codes for codes in reasons])
    assert far.any()
    assert not (far & is_near).any()
    assert set(verdicts[far]) == {"review"}
    assert set(verdicts[is_near]) == {"accept"}

    verdicts, reasons, _ = judged(with_settings(root, NEW, "shift_and_reattach"))
    assert not any("far_from_control" in codes for codes in reasons)
    assert (verdicts[far] == "accept").any()
    verdicts, reasons, _ = judged(with_settings(root, OLD + NEW))
    assert not any("far_from_control" in codes for codes in reasons)

    links(root / "sources" / "links.csv", BUILDINGS)
    fitted(with_settings(root, ""))


@pytest.mark.parametrize(
    ("maps", "words"),
    [
        (NEW.replace("after.gpkg", "before.gpkg"), "named as after, .* with its old places. Name it as before"),
        (OLD.replace("before.gpkg", "after.gpkg"), "named as before, .* with its new places. Name it as after"),
        (NEW.replace("after.gpkg", "beside.gpkg"), "Only .* of the control lies on lines of base map beside.gpkg"),
    ],
)
def test_an_edition_that_the_control_does_not_lie_on_is_refused_before_anything_is_written(root, maps, words):
    beside = shapely.transform(on_new_map(SHOWN), lambda places: places + np.array([1.5, 1.5]))
    write(root / "sources" / "beside.gpkg", beside, "toid", [""] * len(beside))
    deliver(root, TRACED_ON_OLD, DAYS[:60])
    judged(with_settings(root, NEW))
    migration = with_settings(root, maps)
    written = {path: path.read_bytes() for path in (migration.control_table, migration.shifted("sites"))}
    for stage in (lambda: check_control(migration), lambda: shift_layer(migration, "sites")):
        with pytest.raises(SettingsError, match=words):
            stage()
    assert {path: path.read_bytes() for path in written} == written


def test_a_map_of_another_place_is_refused(root):
    deliver(root, TRACED_ON_OLD, DAYS[:60])
    elsewhere = shapely.transform(on_new_map(BUILDINGS), lambda places: places + 20_000.0)
    write(root / "sources" / "elsewhere.gpkg", elsewhere, "toid", [""] * len(elsewhere))
    migration = with_settings(root, NEW.replace("after.gpkg", "elsewhere.gpkg"))
    stage_layer(migration, "sites")
    with pytest.raises(SourceError, match=r"elsewhere.gpkg shows nothing where the shift is known.*another place"):
        shift_layer(migration, "sites")

"""What is wrong all at once in a delivery, dates, coordinates, base maps, through the stages; and what checks say."""

import shutil

import dagster as dg
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from two_maps import LittleField, is_west, on_new_map, plots

from pipeline.control import check_control
from pipeline.dates import disproved_dates
from pipeline.fit import fit_field
from pipeline.orchestration import checks, views
from pipeline.shift import shift_layer
from pipeline.sources import stage_layer
from pipeline.storage import Migration
from transforms.errors import SettingsError

CORNER = np.array([350_000.0, 150_000.0])

SETTINGS = """
title: A little borough
control: {{files: [{links}]}}
fit: {{method: similarity}}
base_maps:
  before: {{file: sources/{before}.gpkg}}
  after: {{file: sources/{after}.gpkg}}
  new_map_loaded_on: 2005-06-01
layers:
  - {{name: sites, file: sources/sites.gpkg, {more}}}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The western part of the little map, which moved alike, with links and both editions; fitted."""
    root = tmp_path_factory.mktemp("borough")
    (root / "sources").mkdir()
    areas, buildings = (shapes[is_west(shapes)] for shapes in plots())
    old = np.concatenate([shapely.boundary(areas), buildings])
    write(root / "sources" / "before.gpkg", old, "toid", [f"osgb{number}" for number in range(len(old))])
    write(root / "sources" / "after.gpkg", on_new_map(old), "toid", [f"osgb{number}" for number in range(len(old))])
    corners = shapely.get_coordinates(buildings)[::5]
    links = np.column_stack([corners + CORNER, LittleField()(corners) + CORNER])
    (root / "sources" / "links.csv").write_text("\n".join(",".join(f"{v:.2f}" for v in row) for row in links))
    migration = with_settings(root)
    check_control(migration)
    fit_field(migration)
    return root


def with_settings(root, before="before", after="after", more="captured_column: day", links="sources/links.csv"):
    settings = SETTINGS.format(before=before, after=after, more=more, links=links)
    (root / "migration.yaml").write_text(settings, encoding="utf-8")
    return Migration.open(root)


def write(path, shapes, column, values):
    there = shapely.to_wkb(shapely.transform(shapes, lambda points: points + CORNER))
    pyogrio.raw.write(
        path,
        there,
        [np.array(values, dtype=object)],
        [column],
        geometry_type="Unknown",
        crs="EPSG:27700",
        driver="GPKG",
    )


def deliver(root, geometries, days):
    """Deliver the layer anew, with nothing of what was made of the last one."""
    migration = Migration.open(root)
    shutil.rmtree(migration.ledger.parent, ignore_errors=True)
    write(migration.source("sources/sites.gpkg"), geometries, "day", days)


def shifted(migration):
    """What the stage shift says of the layer: its regimes, the checks by name, and the page of the asset."""
    stage_layer(migration, "sites")
    summary = shift_layer(migration, "sites")
    found = {result.check_name: result for result in checks.of_shift(migration, "sites")}
    return summary.regimes, found, views.of_shift(migration, "sites", summary)


def sites():
    areas, _ = plots()
    return areas[is_west(areas)][:60]


def rows(value):
    assert isinstance(value, dg.TableMetadataValue)
    return [record.data for record in value.records]


def test_the_day_of_a_load_is_told_and_can_be_named(root):
    deliver(root, sites(), ["2007-01-01"] * 50 + ["1999-05-05"] * 10)
    migration = with_settings(root)
    regimes, found, page = shifted(migration)
    assert regimes == {"affected": 60}
    assert disproved_dates(migration, "sites") == {"2007-01-01": 50}
    assert not found["origin_as_said"].passed
    assert found["origin_as_said"].metadata["disproved_share"].value == pytest.approx(0.8333)
    assert found["origin_as_said"].metadata["found"].value == "50 of 2007-01-01"
    assert rows(page["dates_disproved"]) == [{"date": "2007-01-01", "features": 50}]
    reasons = pq.read_table(migration.shifted("sites"))["regime_reasons"].to_pylist()
    assert sum("date_contradicted" in codes for codes in reasons) == 50

    _, found, page = shifted(with_settings(root, more="captured_column: day, load_days: [2007-01-01]"))
    assert found["origin_as_said"].passed
    assert page["dates_disproved"] == "none"
    reasons = pq.read_table(migration.shifted("sites"))["regime_reasons"].to_pylist()
    assert not any("date_contradicted" in codes for codes in reasons)


def test_a_listed_layer_that_lies_on_the_new_map_is_told(root):
    deliver(root, on_new_map(sites()), [""] * 60)
    migration = with_settings(root, more="title: Sites")
    regimes, found, _ = shifted(migration)
    assert regimes == {"already_new": 60}
    assert disproved_dates(migration, "sites") == {"": 60}
    assert not found["origin_as_said"].passed

    regimes, found, _ = shifted(with_settings(root, more="strategy: leave"))
    assert regimes == {"already_new": 60}
    assert found["origin_as_said"].passed


def test_what_was_shifted_before_here_and_there_is_told(root):
    geometries = sites()
    geometries[::10] = on_new_map(geometries[::10])
    deliver(root, geometries, ["1999-05-05"] * 60)
    regimes, found, _ = shifted(with_settings(root))
    assert regimes == {"affected": 54, "already_new": 6}
    assert not found["not_shifted_before"].passed
    assert found["not_shifted_before"].metadata["on_new_map_share"].value == 0.1
    assert found["origin_as_said"].passed

    _, found, page = shifted(with_settings(root, more="captured_column: day, strategy: leave"))
    assert found["not_shifted_before"].passed
    assert not found["origin_as_said"].passed
    assert "dates_wrong_pct" not in page

    deliver(root, sites(), ["1999-05-05"] * 60)
    _, found, _ = shifted(with_settings(root))
    assert found["not_shifted_before"].passed


def test_dates_that_cannot_be_read_are_told(root):
    deliver(root, sites(), ["05/13/1999"] * 30 + ["05/12/1999"] * 20 + [""] * 10)
    _, found, _ = shifted(with_settings(root))
    assert not found["dates_read"].passed
    assert found["dates_read"].metadata["unread_share"].value == 0.5
    assert found["dates_read"].metadata["found"].value == "'05/13/1999'"

    _, found, _ = shifted(with_settings(root, more='captured_column: day, captured_format: "%m/%d/%Y"'))
    assert found["dates_read"].passed
    _, found, _ = shifted(with_settings(root, more="title: Sites"))
    assert found["dates_read"].passed


def test_a_displaced_layer_is_told_and_cured_by_its_offset(root):
    by = np.array([-4.0, 3.0])
    deliver(root, shapely.transform(sites(), lambda points: points + by), ["1999-05-05"] * 60)
    regimes, found, page = shifted(with_settings(root))
    assert regimes == {"unknown": 60}
    assert not found["lies_on_a_map"].passed
    assert found["origin_as_said"].passed
    (told,) = rows(page["displaced"])
    assert told["features"] == 60
    assert np.hypot(told["east_m"] - by[0], told["north_m"] - by[1]) < 0.3

    words = f"{told['east_m']:.2f} m east, {told['north_m']:.2f} m north"
    assert found["lies_on_a_map"].metadata["found"].value == words
    cure = f"captured_column: day, offset_easting_m: {-told['east_m']}, offset_northing_m: {-told['north_m']}"
    regimes, found, page = shifted(with_settings(root, more=cure))
    assert regimes == {"affected": 60}
    assert found["lies_on_a_map"].passed
    assert page["displaced"] == "none"


def test_sheets_placed_wrongly_are_told_from_a_layer_displaced_as_a_whole(root):
    geometries = sites()
    middles = shapely.get_coordinates(shapely.centroid(geometries))[:, 1]
    by = np.where(middles[:, None] < np.median(middles), [-4.0, 3.0], [3.0, 4.0])
    geometries = np.array([shapely.transform(g, lambda p, b=b: p + b) for g, b in zip(geometries, by, strict=True)])
    deliver(root, geometries, ["1999-05-05"] * 60)
    regimes, found, _ = shifted(with_settings(root))
    assert regimes == {"unknown": 60}
    assert not found["lies_on_a_map"].passed
    assert found["lies_on_a_map"].metadata["found"].value.endswith("m, from place to place in another direction")


def test_rounded_coordinates_are_told(root):
    deliver(root, shapely.transform(sites(), lambda points: 5 * np.round(points / 5)), ["1999-05-05"] * 60)
    regimes, found, _ = shifted(with_settings(root))
    assert regimes == {"unknown": 60}
    assert not found["written_finely"].passed
    assert found["written_finely"].metadata["coarse_share"].value == 1.0
    assert found["lies_on_a_map"].passed

    deliver(root, sites(), ["1999-05-05"] * 60)
    _, found, _ = shifted(with_settings(root))
    assert found["written_finely"].passed


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [("before", "before", "0.00 m"), ("after", "after", "0.00 m"), ("after", "before", "exchanged")],
)
def test_base_maps_that_show_another_move_stop_control_and_shift_before_anything_is_written(root, before, after, word):
    deliver(root, sites(), ["1999-05-05"] * 60)
    migration = with_settings(root)
    stage_layer(migration, "sites")
    shift_layer(migration, "sites")
    written = {path: path.read_bytes() for path in (migration.control_table, migration.shifted("sites"))}
    migration = with_settings(root, before, after)
    for stage in (lambda: check_control(migration), lambda: shift_layer(migration, "sites")):
        with pytest.raises(SettingsError, match=f"2.72 m by the control .*{word}.*Correct base_maps in migration.yaml"):
            stage()
    assert {path: path.read_bytes() for path in written} == written


def test_a_base_map_from_a_wrong_transformation_is_refused_with_its_offset(root):
    areas, buildings = (shapes[is_west(shapes)] for shapes in plots())
    old = np.concatenate([shapely.boundary(areas), buildings])
    beside = shapely.transform(on_new_map(old), lambda points: points + np.array([-0.6, 0.8]))
    write(root / "sources" / "beside.gpkg", beside, "toid", [f"osgb{number}" for number in range(len(old))])
    with pytest.raises(SettingsError, match=r"0\.6. m east and -0\.8. m north of that all over.*wrong transformation"):
        check_control(with_settings(root, after="beside"))


def test_twice_the_same_edition_is_refused_where_there_are_no_control_files_to_contradict_it(root):
    with pytest.raises(SettingsError, match=r"Both base maps are the same.*add control files"):
        check_control(with_settings(root, "after", "after", links=""))
    check_control(with_settings(root, links=""))

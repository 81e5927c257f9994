"""The ledger: the same data is shifted once, and a run may be repeated as often as one likes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyogrio.raw
import pytest
import shapely
from review_migration import make_migration, moved, square

from pipeline.fingerprint import layer_hash
from pipeline.ledger import record_export, record_shift, refuse_second_shift, source_digest
from pipeline.logbook import read_lines
from pipeline.own_columns import refuse_own_columns
from pipeline.storage import Migration
from transforms.errors import LedgerError

BEFORE = [square(400_000.123456 + 20 * number) for number in range(4)]
AFTER = [moved(shape) for shape in BEFORE]
WHEN = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
SOURCE = source_digest(["aa"], "trees")


def digest(shapes: list[shapely.Geometry | None]) -> str:
    return layer_hash([None if shape is None else shapely.to_wkb(shape) for shape in shapes])


def shift(migration: Migration, layer: str = "trees", control: str = "c1") -> bool:
    return record_shift(
        migration,
        layer,
        source_digest=SOURCE,
        geometry_digest=digest(BEFORE),
        control_digest=control,
        field_digest="f",
        run_id="run-1",
        now=WHEN,
    )


@pytest.fixture
def migration(tmp_path: Path) -> Migration:
    """A migration whose layer ``trees`` was shifted and exported."""
    migration = make_migration(tmp_path)
    shift(migration)
    record_export(
        migration, "trees", geometry_digest=digest(AFTER), files={"trees.gpkg": "ff"}, run_id="run-1", now=WHEN
    )
    return migration


def test_the_first_shift_is_allowed(tmp_path: Path) -> None:
    refuse_second_shift(make_migration(tmp_path), "trees", SOURCE, digest(BEFORE))


def test_the_same_layer_may_run_again_from_its_untouched_source(migration: Migration) -> None:
    refuse_second_shift(migration, "trees", SOURCE, digest(BEFORE))


def test_a_repeated_run_is_noted_once_and_new_control_once_more(migration: Migration) -> None:
    assert shift(migration) is False
    assert shift(migration, control="c2") is True
    assert [record.get("control") for record in read_lines(migration.ledger)] == ["c1", None, "c2"]


def test_the_same_delivery_under_another_name_is_refused(migration: Migration) -> None:
    sentence = r"as layer trees on 2026-03-01 at 09:30 \(run run-1\).*Keep the name trees"
    with pytest.raises(LedgerError, match=sentence):
        refuse_second_shift(migration, "woods", SOURCE, digest(BEFORE))


def test_another_layer_of_the_same_file_is_other_data(migration: Migration) -> None:
    refuse_second_shift(migration, "woods", source_digest(["aa"], "woods"), digest([square(0.0)]))


def test_other_data_on_the_same_places_is_other_data(migration: Migration) -> None:
    refuse_second_shift(migration, "addresses", source_digest(["bb"]), digest(BEFORE))


@pytest.mark.parametrize("layer", ["trees", "woods"])
def test_our_export_as_a_source_is_refused_under_any_name(migration: Migration, layer: str) -> None:
    with pytest.raises(LedgerError, match="where layer trees was exported on 2026-03-01 at 09:30"):
        refuse_second_shift(migration, layer, source_digest(["ff"]), digest(AFTER))


@pytest.mark.parametrize(
    ("driver", "name"), [("GPKG", "t.gpkg"), ("ESRI Shapefile", "t.shp"), ("MapInfo File", "t.tab")]
)
def test_our_export_is_known_through_another_format_without_our_columns(
    migration: Migration, tmp_path: Path, driver: str, name: str
) -> None:
    options = {"BOUNDS": "0,0,2000000,2000000"} if name.endswith("tab") else {}
    shapes = np.array([shapely.to_wkb(shape) for shape in AFTER], dtype=object)
    pyogrio.raw.write(
        tmp_path / name, shapes, [np.arange(4)], ["id"], driver=driver, geometry_type="Polygon", crs="EPSG:27700",
        **options,
    )  # fmt: skip
    returned = pyogrio.raw.read(tmp_path / name)[2]
    with pytest.raises(LedgerError, match="data is shifted only once"):
        refuse_second_shift(migration, "trees", "other bytes", layer_hash(returned))


def test_an_export_in_which_nothing_moved_does_not_block_its_own_source(tmp_path: Path) -> None:
    migration = make_migration(tmp_path)
    shift(migration)
    record_export(migration, "trees", geometry_digest=digest(BEFORE), files={}, run_id="run-1")
    refuse_second_shift(migration, "trees", SOURCE, digest(BEFORE))


def test_a_layer_without_geometries_is_not_taken_for_another(migration: Migration) -> None:
    record_export(migration, "empty", geometry_digest=digest([]), files={}, run_id="run-1")
    refuse_second_shift(migration, "notes", source_digest(["cc"]), digest([None]))


def test_our_columns_are_refused_with_the_run_they_name() -> None:
    with pytest.raises(LedgerError, match=r"sources/trees\.gpkg has the column pai_run: .* in run run-7"):
        refuse_own_columns("sources/trees.gpkg", ["ref", "pai_run"], "run-7")
    refuse_own_columns("sources/trees.gpkg", ["ref", "paint"])


def test_a_ledger_line_cut_off_by_a_crash_does_not_hide_the_others(migration: Migration) -> None:
    with migration.ledger.open("a", encoding="utf-8") as stream:
        stream.write('{"event": "shif')
    assert shift(migration, control="c2") is True
    with pytest.raises(LedgerError):
        refuse_second_shift(migration, "woods", SOURCE, digest(BEFORE))


def test_a_moved_vertex_changes_the_digest_and_the_ring_order_does_not() -> None:
    assert digest([shapely.reverse(shape) for shape in BEFORE]) == digest(BEFORE)
    assert digest([*BEFORE[:3], moved(BEFORE[3], (0.002, 0.0))]) != digest(BEFORE)
    assert digest(BEFORE[::-1]) != digest(BEFORE)

"""That no stage reads tables of different runs as if they were of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from outcomes import make_migration, write_layer
from stage_tables import belong_together

from pipeline.export import export_layer
from pipeline.made_from import why_mixed
from pipeline.officers.layer_rows import read_layer_rows
from pipeline.officers.outdated import why_outdated
from pipeline.officers.sign_off import sign_layer
from pipeline.pages.board import read_board
from pipeline.quality import judge_layer
from pipeline.reattach import reattach_layer
from pipeline.review import review_layer
from pipeline.storage import Migration
from transforms.errors import PostPaiError

LAYER = "parks"


@pytest.fixture
def migration(tmp_path: Path) -> Migration:
    migration = make_migration(tmp_path / "borough")
    write_layer(migration, LAYER)
    return migration


def turned_round(path: Path) -> None:
    """The same rows the other way round, numbered as they lie: what a re-delivery in another order leaves."""
    table = pq.read_table(path)
    rows = table.column_names.index("pai_row")
    turned = table.take(pa.array(range(len(table) - 1, -1, -1)))
    pq.write_table(turned.set_column(rows, "pai_row", pa.array(range(len(table)), pa.int64())), path)


def test_tables_that_belong_together_have_nothing_to_say(migration: Migration) -> None:
    assert why_mixed(migration, LAYER, "review") == ""


def test_a_stage_that_ran_again_with_the_same_outcome_spoils_nothing(migration: Migration) -> None:
    pq.write_table(pq.read_table(migration.staged(LAYER)), migration.staged(LAYER))
    assert why_mixed(migration, LAYER, "review") == ""


def test_a_table_of_an_earlier_version_is_called_so(migration: Migration) -> None:
    """Nothing was cut off then, and the officer who upgraded did nothing wrong."""
    pq.write_table(pq.read_table(migration.quality(LAYER)).replace_schema_metadata(), migration.quality(LAYER))
    said = why_mixed(migration, LAYER, "review")
    assert "the list of verdicts was made by an earlier version. Run the layer again" in said


CHANGED: dict[str, Callable[[Migration], Path]] = {
    "the copy of its source": lambda migration: migration.staged(LAYER),
    "the list of shifts": lambda migration: migration.shifted(LAYER),
    "the list of verdicts": lambda migration: migration.quality(LAYER),
}


@pytest.mark.parametrize("what", CHANGED)
def test_whatever_was_made_anew_alone_is_named_and_stops_what_rests_on_it(migration: Migration, what: str) -> None:
    turned_round(CHANGED[what](migration))
    assert f"does not belong to {what} that is there now" in why_mixed(migration, LAYER, "review")
    with pytest.raises(PostPaiError, match=r"Run the layer again"):
        export_layer(migration, LAYER, "run-2")
    with pytest.raises(PostPaiError, match=r"Run the layer again"):
        sign_layer(migration, LAYER, "A. Second")
    assert read_board(migration).lines[0].state == "blocked"
    assert not list(migration.exports_dir.glob("parks*"))


@pytest.mark.parametrize("read", [reattach_layer, judge_layer, read_layer_rows])
def test_a_source_read_anew_in_another_order_goes_no_further_with_the_old_shift(
    migration: Migration, read: Callable[[Migration, str], object]
) -> None:
    """Each row would have another feature's proposal, or verdict."""
    turned_round(migration.staged(LAYER))
    with pytest.raises(PostPaiError, match=r"the list of shifts does not belong to the copy of its source"):
        read(migration, LAYER)


OTHER_SETTINGS = (
    "limits: {position_error_m: 0.5}",
    "base_maps: {new_map_loaded_on: 2005-06-01}",
    "tolerance_m: 0.1",
    "limits: {shift_m: 3.0}",
    "strategy: leave",
)


@pytest.mark.parametrize("change", OTHER_SETTINGS)
def test_other_settings_than_those_it_was_run_with_make_a_layer_outdated(migration: Migration, change: str) -> None:
    """The manifest would tell limits by which nothing was judged."""
    assert why_outdated(migration, LAYER) == ""
    settings = migration.root / "migration.yaml"
    text = settings.read_text(encoding="utf-8")
    is_of_layer = change.startswith(("tolerance", "strategy", "limits: {shift"))
    text = text.replace("name: parks,", f"name: parks, {change},") if is_of_layer else f"{text}{change}\n"
    settings.write_text(text, encoding="utf-8")
    assert "its settings, the limits or the base maps have changed" in why_outdated(Migration.open(settings), LAYER)


def test_what_a_layer_is_called_and_handed_over_in_makes_no_difference(migration: Migration) -> None:
    settings = migration.root / "migration.yaml"
    text = settings.read_text(encoding="utf-8").replace("Parks & greens", "Greens").replace("[geojson, shp]", "[tab]")
    settings.write_text(text, encoding="utf-8")
    assert why_outdated(Migration.open(settings), LAYER) == ""


def test_another_edition_of_a_base_map_makes_a_layer_outdated(migration: Migration) -> None:
    settings = migration.root / "migration.yaml"
    after = "base_maps: {after: {file: sources/after}}\n"
    settings.write_text(settings.read_text(encoding="utf-8") + after, encoding="utf-8")
    chunk = migration.root / "sources" / "after" / "1.gml"
    chunk.parent.mkdir(parents=True)
    chunk.write_bytes(b"2004")
    migration = Migration.open(settings)
    belong_together(migration, LAYER)
    assert why_outdated(migration, LAYER) == ""
    chunk.write_bytes(b"2005, corrected")
    assert "the base maps have changed" in why_outdated(migration, LAYER)


def test_nothing_is_written_from_tables_of_two_runs(migration: Migration) -> None:
    before = migration.corrected(LAYER).read_bytes()
    turned_round(migration.shifted(LAYER))
    with pytest.raises(PostPaiError, match=r"does not belong"):
        review_layer(migration, LAYER, "run-2")
    assert migration.corrected(LAYER).read_bytes() == before
    assert not migration.review(LAYER).exists()

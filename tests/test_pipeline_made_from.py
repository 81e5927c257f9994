"""That no stage reads tables of different runs as if they were of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from outcomes import make_migration, write_layer

from pipeline.export import export_layer
from pipeline.made_from import why_mixed
from pipeline.officers.layer_rows import read_layer_rows
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


def test_nothing_is_written_from_tables_of_two_runs(migration: Migration) -> None:
    before = migration.corrected(LAYER).read_bytes()
    turned_round(migration.shifted(LAYER))
    with pytest.raises(PostPaiError, match=r"does not belong"):
        review_layer(migration, LAYER, "run-2")
    assert migration.corrected(LAYER).read_bytes() == before
    assert not migration.review(LAYER).exists()

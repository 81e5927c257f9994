"""That what works on the same part of a migration waits, and that nobody's half-written files are removed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
from outcomes import make_migration, write_layer
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.ledger import PUT_BACK, events
from pipeline.locks import BOARD, alone_with, remove_leftovers
from pipeline.orchestration import assets
from pipeline.orchestration.catalogue import MigrationFolder
from pipeline.rollback import put_back
from pipeline.storage import Migration
from pipeline.verify import verify_migration
from transforms.errors import BusyError

LAYER = "tree_points"
"""Known to Dagster from the demo borough."""


@pytest.fixture
def migration(tmp_path: Path) -> Migration:
    make_migration(tmp_path / "borough")
    settings = tmp_path / "borough" / "migration.yaml"
    settings.write_text(settings.read_text(encoding="utf-8").replace("name: trees", f"name: {LAYER}"), encoding="utf-8")
    migration = Migration.open(settings)
    write_layer(migration, LAYER)
    return migration


def export_from_the_ui(migration: Migration) -> None:
    """One run of the asset, as the sensor, a colleague or the command starts it."""
    folder = MigrationFolder(path=str(migration.root))
    dg.materialize([assets.export], partition_key=LAYER, resources={"folder": folder})


def test_exports_of_one_layer_at_once_take_their_turn(migration: Migration) -> None:
    """Each clears what a dead run left of the layer: side by side they would take one another's files away."""
    with ThreadPoolExecutor(3) as executor:
        for run in [executor.submit(export_from_the_ui, migration) for _ in range(6)]:
            run.result()
    about_no_source = [fault for fault in verify_migration(migration).faults if not fault.startswith("The source")]
    assert not about_no_source
    assert not list(migration.exports_dir.glob("*.part"))


def test_a_stage_waits_until_its_part_is_free(migration: Migration) -> None:
    with ThreadPoolExecutor(1) as executor:
        with alone_with(migration, LAYER):
            run = executor.submit(export_from_the_ui, migration)
            time.sleep(0.5)
            assert not run.done() and not list(migration.exports_dir.glob(f"{LAYER}*"))
        run.result(timeout=60)
    assert list(migration.exports_dir.glob(f"{LAYER}*"))


def test_who_has_to_wait_is_told_once_and_who_has_not_is_not(migration: Migration) -> None:
    told: list[str] = []
    again = alone_with(migration, LAYER, wait_s=0.1, tell=told.append)
    with alone_with(migration, LAYER, tell=told.append), pytest.raises(BusyError), again:
        pass
    assert len(told) == 1 and told[0].endswith("Waiting until it has finished.")


def test_a_layer_is_not_put_back_while_a_run_is_at_work_on_it(migration: Migration) -> None:
    export_from_the_ui(migration)
    with alone_with(migration, LAYER), pytest.raises(BusyError, match=r"tree_points .* Wait until it has finished"):
        put_back(migration, LAYER, "original")
    assert put_back(migration, LAYER, "original").files


@pytest.mark.parametrize("part", [LAYER, BOARD])
def test_half_files_are_removed_when_nobody_is_at_work(migration: Migration, part: str) -> None:
    half = migration.exports_dir / ".tree_points.0123abcd.part.gpkg"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    with alone_with(migration, part):
        remove_leftovers(migration)
        assert half.exists()
    remove_leftovers(migration)
    assert not half.exists()


def test_who_puts_a_layer_back_is_known_by_the_account(migration: Migration, monkeypatch: pytest.MonkeyPatch) -> None:
    """Years later somebody asks who it was."""
    monkeypatch.setattr("getpass.getuser", lambda: "c.clerk")
    words = ["rollback", str(migration.root), LAYER, "--to", "original"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert CliRunner().invoke(app, [*words, "--officer", "Carol Clerk"]).exit_code == 0
    assert [event["officer"] for event in events(migration, LAYER, PUT_BACK)] == ["c.clerk", "Carol Clerk"]

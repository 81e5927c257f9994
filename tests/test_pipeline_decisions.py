"""The decision log: append-only, nothing twice, nothing lost, also when the process is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from review_migration import LAYER, execute, make_migration, offered, outcomes, save, square, write_stages

from pipeline.formats.stream import mark_feature_id
from pipeline.officers.decisions import Decision, append_new, read_decisions, standing
from pipeline.officers.layer_rows import LayerRows
from pipeline.review import review_layer
from pipeline.storage import Migration

KEEP = Decision(
    LAYER, 3, "T3", "keep", "Ann", "", "2026-03-01", "2026-03-02", "run-1", "aaaa", "bbbb", copy="trees.gpkg"
)


def test_the_same_save_read_twice_is_logged_once(tmp_path: Path) -> None:
    log = tmp_path / "decisions.jsonl"
    assert append_new(log, [KEEP]) == [KEEP]
    assert append_new(log, [replace(KEEP, taken_at="2026-03-09", run="run-2")]) == []
    assert read_decisions(log, LAYER) == [KEEP]


def test_a_change_of_mind_and_back_is_logged_each_time(tmp_path: Path) -> None:
    log = tmp_path / "decisions.jsonl"
    for word in ("keep", "accept", "keep"):
        append_new(log, [replace(KEEP, decision=word)])
    assert [decision.decision for decision in read_decisions(log, LAYER)] == ["keep", "accept", "keep"]


def test_of_several_answers_on_one_feature_only_the_rest_is_logged_after_a_kill(tmp_path: Path) -> None:
    log = tmp_path / "decisions.jsonl"
    both = [replace(KEEP, refused="copies"), replace(KEEP, decision="accept", refused="copies")]
    append_new(log, both[:1])
    append_new(log, both)
    append_new(log, both)
    assert read_decisions(log, LAYER) == both


def test_a_log_line_cut_off_by_a_crash_is_written_again_whole(tmp_path: Path) -> None:
    log = tmp_path / "decisions.jsonl"
    append_new(log, [KEEP])
    whole = log.read_bytes()
    log.write_bytes(whole + whole[: len(whole) // 2])
    other = replace(KEEP, pai_row=4)
    append_new(log, [KEEP, other])
    assert read_decisions(log, LAYER) == [KEEP, other]


def test_the_log_of_another_layer_is_not_read(tmp_path: Path) -> None:
    log = tmp_path / "decisions.jsonl"
    append_new(log, [KEEP, replace(KEEP, layer="woods")])
    assert read_decisions(log, LAYER) == [KEEP]


def rows_named(names: str) -> LayerRows:
    """A layer of one feature per letter, those of the same letter alike in everything."""
    staged = pa.table({"name": list(names), "pai_geometry": pa.nulls(len(names), pa.binary())})
    return LayerRows(staged, pa.table({}), pa.table({}), None)


def keep_in(rows: LayerRows, like: int) -> Decision:
    return replace(KEEP, source_hash=rows.source_hashes([like])[like])


def test_identical_features_keep_their_decisions_apart() -> None:
    rows = rows_named("aaaaa")
    keep = keep_in(rows, like=3)
    assert standing([keep], rows).holding == {3: keep}


def test_a_decision_follows_its_feature_to_another_row() -> None:
    rows = rows_named("bcad")
    keep = keep_in(rows, like=2)
    assert standing([keep], rows).holding == {2: keep}


def numbered(names: str, numbers: Sequence[int]) -> LayerRows:
    """The same as a GeoPackage holds it, which numbers its features."""
    plain = rows_named(names).staged
    number = mark_feature_id(pa.field("fid", pa.int64()))
    return LayerRows(plain.add_column(0, number, pa.array(numbers)), pa.table({}), pa.table({}), None)


def test_a_decision_follows_its_feature_into_a_container_that_numbers_anew() -> None:
    keep = keep_in(numbered("abcd", [1, 2, 3, 4]), like=3)
    assert standing([keep], numbered("dcba", [1, 2, 3, 4])).holding == {0: keep}


def test_a_decision_made_when_numbers_were_hashed_still_holds() -> None:
    unmarked = numbered("abcd", [1, 2, 3, 4])
    staged = unmarked.staged.cast(pa.schema([field.remove_metadata() for field in unmarked.staged.schema]))
    keep = keep_in(replace(unmarked, staged=staged), like=3)
    assert standing([keep], unmarked).holding == {3: keep}


def test_a_decision_whose_feature_is_gone_is_named_and_applies_to_no_other() -> None:
    stand = standing([KEEP], rows_named("cc"))
    assert (stand.holding, stand.source_changed, stand.homeless) == ({}, {}, [KEEP])


def test_a_decision_that_could_belong_to_two_moved_features_belongs_to_neither() -> None:
    rows = rows_named("aacd")
    keep = keep_in(rows, like=0)
    stand = standing([keep], rows)
    assert stand.holding == {} and stand.source_changed == {3: keep}


KILLED_AT = {
    "before the first answer is logged": "pipeline.logbook._write_line",
    "after the first answer is logged": "pipeline.logbook._write_line#2",
    "before the log says how long it is": "pipeline.logbook._write_head#2",
    "before the outcome is written": "pipeline.review.write_corrected",
    "with the outcome half in place": "pipeline.files._flush_to_disk",
    "before the review file is written": "pipeline.review.write_review",
    "with the review file half written": "pipeline.officers.review_file.store_styles",
    "before the review file takes its place": "pipeline.files._flush_to_disk#2",
}
_KILLER = """
# Imports once, then runs the review of each folder in a child that kills itself at the given call.
import importlib, json, os, signal, sys
sys.path[:0] = json.loads(sys.argv[1])
from pathlib import Path
from review_migration import LAYER, make_migration
from pipeline.review import review_layer

def run_and_be_killed(root, target):
    target, _, call = target.partition("#")
    module_name, _, name = target.rpartition(".")
    module = importlib.import_module(module_name)
    original, calls = getattr(module, name), []

    def kill(*arguments, **named):
        calls.append(1)
        if len(calls) == int(call or 1):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **named)

    setattr(module, name, kill)
    review_layer(make_migration(Path(root)), LAYER, "run-2")

for root, target in json.loads(sys.argv[2]).items():
    child = os.fork()
    if child == 0:
        run_and_be_killed(root, target)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Migration]:
    """A migration per moment, whose review was killed there."""
    migrations = {moment: _answered_migration(tmp_path_factory.mktemp("killed")) for moment in KILLED_AT}
    here = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    jobs = {str(migration.root): KILLED_AT[moment] for moment, migration in migrations.items()}
    command = [sys.executable, "-c", _KILLER, json.dumps(here), json.dumps(jobs)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert process.stdout.split() == [str(-signal.SIGKILL)] * len(jobs), process.stderr
    return migrations


def _answered_migration(root: Path) -> Migration:
    migration = make_migration(root)
    write_stages(migration, [square(400_000.0 + 20 * number) for number in range(4)], ["review"] * 4)
    review_layer(migration, LAYER, "run-1")
    save(migration, 1, decision="keep", officer="Ann")
    save(migration, 2, geometry=square(400_043.0))
    execute(migration, f"DELETE FROM {LAYER} WHERE pai_row = 0")
    return migration


def _state(migration: Migration) -> object:
    answers = [
        replace(decision, taken_at="", saved_at="") for decision in read_decisions(migration.decisions_log, LAYER)
    ]
    geometries = pq.read_table(migration.corrected(LAYER))["pai_geometry"].to_pylist()
    rows = execute(migration, f"SELECT fid, pai_row, decision, offer FROM {LAYER} ORDER BY fid")
    return answers, outcomes(migration), geometries, rows, sorted(offered(migration))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Migration:
    migration = _answered_migration(tmp_path_factory.mktemp("undisturbed"))
    review_layer(migration, LAYER, "run-2")
    return migration


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.parametrize("moment", KILLED_AT)
def test_killed_and_run_again_is_as_if_undisturbed(
    killed: dict[str, Migration], undisturbed: Migration, moment: str
) -> None:
    review_layer(killed[moment], LAYER, "run-2")
    assert _state(killed[moment]) == _state(undisturbed)

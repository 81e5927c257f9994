"""What officers say of control feeds the next check and fit, survives a new delivery, and can be taken back."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from review_migration import LAYER, copy_for, execute, execute_in, gpkg_blob, make_migration, square, write_stages

from pipeline.control import check_control
from pipeline.control_input.verdicts import CONTROL_REASONS
from pipeline.files import sha256
from pipeline.ledger import record_shift
from pipeline.officers.control_decisions import read_control_decisions
from pipeline.officers.outdated import why_outdated
from pipeline.officers.undo import undo_line
from pipeline.review import Reviewed, review_layer
from pipeline.storage import Migration

SQUARES = [square(400_000.0 + 20 * number) for number in range(3)]
GROSS = 7
"""The row, from 1, of the point that is really wrong."""


def deliver(migration: Migration, order: np.ndarray | None = None) -> None:
    """Sixty good points and one gross error, in the order asked for."""
    rng = np.random.default_rng(3)
    before = rng.uniform([399_900, 159_900], [400_200, 160_200], (61, 2)).round(2)
    after = (before + np.array([1.0, -2.0]) + rng.normal(0, 0.03, (61, 2))).round(2)
    after[GROSS - 1] += (5.0, 2.0)
    rows = np.hstack([before, after])[order if order is not None else np.arange(61)]
    path = migration.source(Path("sources/control.csv"))
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(",".join(f"{value:.2f}" for value in row) + ",0030" for row in rows)
    path.write_text("old_easting,old_northing,new_easting,new_northing,code\n" + text + "\n")


@pytest.fixture
def migration(tmp_path: Path) -> Migration:
    """A layer under review whose package shows the control near it."""
    migration = make_migration(tmp_path)
    deliver(migration)
    write_stages(migration, SQUARES, ["review"] * 3)
    check_control(migration)
    run(migration)
    return migration


def run(migration: Migration) -> Reviewed:
    return review_layer(migration, LAYER, "run")


def verdicts(migration: Migration) -> dict[tuple[float, float], tuple[str, str]]:
    """Verdict and reasons by old place."""
    table = pq.read_table(migration.control_table).to_pylist()
    return {(row["old_easting"], row["old_northing"]): (row["verdict"], row["reasons"]) for row in table}


def shown(migration: Migration) -> list[dict[str, Any]]:
    """The control points that the package shows, those with the largest residual first."""
    with closing(sqlite3.connect(migration.review(LAYER))) as connection:
        connection.row_factory = sqlite3.Row
        query = "SELECT * FROM control_nearby ORDER BY abs(residual_m) DESC"
        return [dict(row) for row in connection.execute(query)]


def say(migration: Migration, point: str, word: str | None, officer: str = "Ann") -> None:
    say_in(migration.review(LAYER), point, word, officer)


def say_in(path: Path, point: str, word: str | None, officer: str) -> None:
    statement = "UPDATE control_nearby SET decision = ?, officer = ? WHERE offer LIKE ?"
    execute_in(path, statement, (word, officer, f"{point}@%"))


def draw(migration: Migration, *places: tuple[float, float]) -> None:
    line = gpkg_blob(shapely.LineString(places))
    execute(migration, "INSERT INTO new_control (geom, officer, note) VALUES (?, 'Ann', 'church tower')", (line,))


def place(point: str) -> tuple[float, float]:
    easting, northing, *_ = map(float, point.split(","))
    return easting, northing


def a_good_point(migration: Migration) -> str:
    return next(row["offer"].partition("@")[0] for row in shown(migration)[::-1] if row["verdict"] == "used")


def the_gross_error(migration: Migration) -> str:
    return next(row["offer"].partition("@")[0] for row in shown(migration) if row["verdict"] != "used")


def test_a_point_called_wrong_is_rejected_and_one_called_good_is_used(migration: Migration) -> None:
    wrong, good = a_good_point(migration), the_gross_error(migration)
    say(migration, wrong, "wrong")
    say(migration, good, "good")
    summary = check_control(migration)
    assert verdicts(migration)[place(wrong)] == ("rejected", "officer_rejected")
    verdict, reasons = verdicts(migration)[place(good)]
    assert verdict == "used" and reasons.endswith("officer_trusted")
    assert (summary.used, summary.rejected, summary.unreadable_rows) == (60, 1, 0)
    assert all(code in CONTROL_REASONS for code in ("officer_rejected", "officer_trusted"))


def test_the_word_survives_a_re_run_and_a_delivery_in_another_order(migration: Migration) -> None:
    wrong = a_good_point(migration)
    say(migration, wrong, "wrong")
    check_control(migration)
    migration.review(LAYER).unlink()
    deliver(migration, np.random.default_rng(0).permutation(61))
    check_control(migration)
    assert verdicts(migration)[place(wrong)] == ("rejected", "officer_rejected")
    assert len(read_control_decisions(migration.decisions_log)) == 1, "said once, logged once"
    run(migration)
    (row,) = [row for row in shown(migration) if row["offer"].startswith(wrong)]
    assert (row["decision"], row["officer"]) == ("wrong", "Ann")


def test_an_emptied_word_is_taken_back_and_can_be_said_again(migration: Migration) -> None:
    wrong = a_good_point(migration)
    for word, verdict in (("wrong", "rejected"), (None, "used"), ("wrong", "rejected")):
        say(migration, wrong, word)
        check_control(migration)
        assert verdicts(migration)[place(wrong)][0] == verdict
    assert [each.decision for each in read_control_decisions(migration.decisions_log)] == ["wrong", "undo", "wrong"]
    undo_line(migration, 3, "Bob")
    check_control(migration)
    assert verdicts(migration)[place(wrong)][0] == "used"


def test_the_first_word_counts_again_after_it_was_emptied(migration: Migration) -> None:
    """The package is written anew after each word, with nothing on the point after the second."""
    point = a_good_point(migration)
    for word in ("wrong", None, "wrong"):
        say(migration, point, word)
        run(migration)
    assert [each.decision for each in read_control_decisions(migration.decisions_log)] == ["wrong", "undo", "wrong"]


def test_a_drawn_line_becomes_control_of_its_own_file_and_is_checked(migration: Migration) -> None:
    draw(migration, (400_010.0, 160_030.0), (400_011.0, 160_028.0))
    draw(migration, (400_050.0, 160_030.0), (400_056.0, 160_035.0))
    check_control(migration)
    table = [
        row for row in pq.read_table(migration.control_table).to_pylist() if row["file"] == "added_by_officers.csv"
    ]
    assert [(row["code"], row["verdict"], row["id"]) for row in table] == [
        ("OFFICER", "used", "Ann"),
        ("OFFICER", "rejected", "Ann"),
    ]
    run(migration)
    assert execute(migration, "SELECT count(*) FROM new_control") == [(0,)], "they are control now"
    assert sum(row["file"] == "added_by_officers.csv" for row in shown(migration)) == 2
    say(migration, "400010.000,160030.000,400011.000,160028.000", "wrong")
    check_control(migration)
    assert verdicts(migration)[(400_010.0, 160_030.0)] == ("rejected", "officer_rejected")


def test_a_drawn_line_waits_with_a_remark_until_the_next_fit_and_an_odd_one_is_answered(migration: Migration) -> None:
    draw(migration, (400_010.0, 160_030.0), (400_011.0, 160_028.0))
    draw(migration, (400_010.0, 160_030.0), (400_011.0, 160_028.0), (400_012.0, 160_028.0))
    review = run(migration)
    assert any("has two points" in finding for finding in review.findings)
    remarks = [remark for (remark,) in execute(migration, "SELECT remark FROM new_control ORDER BY fid")]
    assert "Taken in" in remarks[0] and "this one has 3" in remarks[1]
    run(migration)
    assert len(read_control_decisions(migration.decisions_log)) == 1


def test_an_unknown_word_is_answered_with_a_sentence(migration: Migration) -> None:
    say(migration, a_good_point(migration), "perhaps")
    assert any("'perhaps' cannot be said of a control point" in finding for finding in run(migration).findings)


def test_officers_who_disagree_on_a_point_leave_it_to_the_check(migration: Migration) -> None:
    point = a_good_point(migration)
    copy = copy_for(migration, "trees_bob.gpkg")
    say(migration, point, "wrong")
    run(migration)
    say_in(copy, point, "good", "Bob")
    assert any("officers disagree on the control point" in finding for finding in run(migration).findings)
    run(migration)
    assert len(read_control_decisions(migration.decisions_log)) == 2, "who sees the empty row has taken nothing back"
    check_control(migration)
    assert verdicts(migration)[place(point)][0] == "used" and "officer" not in verdicts(migration)[place(point)][1]


def test_who_empties_a_word_does_not_take_back_what_was_said_since_elsewhere(migration: Migration) -> None:
    point = a_good_point(migration)
    say(migration, point, "wrong")
    run(migration)
    copy = copy_for(migration, "trees_bob.gpkg")
    say(migration, point, "good", officer="Cid")
    run(migration)
    say_in(copy, point, None, "Bob")
    run(migration)
    check_control(migration)
    assert verdicts(migration)[place(point)] == ("used", "officer_trusted")


def test_layers_shifted_before_say_that_they_are_outdated(migration: Migration) -> None:
    migration.field_file.parent.mkdir(parents=True, exist_ok=True)
    migration.field_file.write_bytes(b"field one")
    digests = {"source_digest": "s", "geometry_digest": "g", "control_digest": "c"}
    record_shift(migration, LAYER, **digests, field_digest=sha256(migration.field_file), run_id="run")
    assert why_outdated(migration, LAYER) == ""
    say(migration, a_good_point(migration), "wrong")
    assert "officers have judged or added control" in run(migration).outdated
    check_control(migration)
    assert why_outdated(migration, LAYER) == ""
    migration.field_file.write_bytes(b"field two")
    assert "before the shift was fitted anew" in why_outdated(migration, LAYER)


_KILLER = """
import os, signal, sys
sys.path[:0] = sys.argv[1].split(os.pathsep)
from pathlib import Path
from pipeline import logbook
from pipeline.control import check_control
from review_migration import make_migration
name, call = sys.argv[3].split("#")
original, calls = getattr(logbook, name), []
def kill(*arguments):
    calls.append(1)
    if len(calls) == int(call):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)
setattr(logbook, name, kill)
check_control(make_migration(Path(sys.argv[2])))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("moment", ["_write_line#1", "_write_line#2", "_write_head#2"])
def test_killed_while_taking_in_control_nothing_is_lost_and_nothing_twice(migration: Migration, moment: str) -> None:
    say(migration, a_good_point(migration), "wrong")
    draw(migration, (400_010.0, 160_030.0), (400_011.0, 160_028.0))
    here = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    words = [sys.executable, "-c", _KILLER, here, str(migration.root), moment]
    assert subprocess.run(words, check=False, timeout=120).returncode == -signal.SIGKILL
    check_control(migration)
    said = read_control_decisions(migration.decisions_log)
    assert sorted(each.decision for each in said) == ["add", "wrong"]
    assert json.loads(migration.control_manifest.read_text())["officers"]

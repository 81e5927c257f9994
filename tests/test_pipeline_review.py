"""The review stage: what is offered, what officers save, what comes of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyogrio
import pytest
import shapely
from review_migration import LAYER, make_migration, offered, outcomes, places, save, square, write_stages

from pipeline.decisions import read_decisions
from pipeline.review import review_layer
from pipeline.storage import Migration

SQUARES = [square(400_000.0 + 20 * number) for number in range(5)]


@pytest.fixture
def migration(tmp_path: Path) -> Migration:
    """Five squares: one accepted, one left, three open, the last the riskiest."""
    migration = make_migration(tmp_path)
    write_stages(migration, SQUARES, ["accept", "leave", "review", "review", "review"], risks=[0.0, 0.0, 0.1, 0.2, 0.9])
    review_layer(migration, LAYER, "run-1")
    return migration


def test_verdicts_alone_decide_before_any_officer_has(migration: Migration) -> None:
    assert [status for status, _ in outcomes(migration)] == ["moved", "unmoved", "open", "open", "open"]
    assert places(migration)[1:] == SQUARES[1:], "only what was accepted may move"


def test_open_features_are_offered_the_riskiest_first(migration: Migration) -> None:
    assert offered(migration) == [4, 3, 2]


def test_the_review_file_has_its_three_layers_and_styles(migration: Migration) -> None:
    names = [name for name, _ in pyogrio.list_layers(migration.review(LAYER))]
    assert names == [LAYER, "old_position", "control_nearby", "layer_styles"]


def test_each_decision_comes_back_as_its_outcome(migration: Migration) -> None:
    fixed = square(400_044.0)
    save(migration, 2, geometry=fixed, officer="Ann", note="to the hedge")
    save(migration, 3, decision="keep")
    save(migration, 4, decision="accept")
    review = review_layer(migration, LAYER, "run-2")
    assert outcomes(migration)[2:] == [
        ("fixed", ["officer_fixed", "outside_control"]),
        ("unmoved", ["officer_kept", "outside_control"]),
        ("moved", ["officer_accepted", "outside_control"]),
    ]
    assert shapely.equals(places(migration)[2], fixed)
    assert places(migration)[3] == SQUARES[3]
    assert (review.decisions_taken, review.open, review.findings) == (3, 0, ())
    assert offered(migration) == []


def test_counts_reconcile(migration: Migration) -> None:
    save(migration, 3, decision="cannot_place")
    review = review_layer(migration, LAYER, "run-2")
    assert review.features == review.moved + review.unmoved + review.fixed + review.open == len(SQUARES)
    assert Counter(status for status, _ in outcomes(migration)) == {"moved": 1, "unmoved": 2, "open": 2}


def test_the_log_says_who_when_and_why(migration: Migration) -> None:
    save(migration, 3, decision="keep", officer="Ann", note="seen on site")
    review_layer(migration, LAYER, "run-2")
    (decision,) = read_decisions(migration.decisions_log, LAYER)
    assert (decision.officer, decision.note, decision.pai_row, decision.run) == ("Ann", "seen on site", 3, "run-2")
    assert decision.saved_at and decision.taken_at

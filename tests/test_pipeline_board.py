"""The board: tells from the files alone how every layer stands, whatever became of a run."""

import re
from dataclasses import asdict

import pyarrow.parquet as pq
import pytest
from outcomes import make_migration, plots, write_layer

from pipeline.export import export_layer
from pipeline.files import sha256
from pipeline.ledger import record_shift
from pipeline.logbook import append_line
from pipeline.officers.decisions import Decision
from pipeline.pages import evidence
from pipeline.pages.board import read_board, write_board
from pipeline.pages.layer_pictures import LayerPictures
from pipeline.pages.outcome import Counts
from pipeline.storage import Migration


@pytest.fixture
def migration(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "draw_layer", lambda migration, outcome: LayerPictures())
    return make_migration(tmp_path / "borough")


def states(migration) -> list[str]:
    return [line.state for line in read_board(migration).lines]


def test_a_new_migration_waits(migration):
    """Nothing has run: no counts are invented."""
    board = read_board(migration)
    assert states(migration) == ["waiting", "waiting"]
    assert board.total == Counts() and board.layers_done == 0


def test_each_layer_goes_from_outdated_to_draft_to_final(migration):
    """Reviewed but not exported; exported with open features; exported with none."""
    write_layer(migration, "parks")
    assert states(migration)[0] == "outdated"
    export_layer(migration, "parks", "r1")
    assert states(migration)[0] == "draft"
    write_layer(migration, "parks", status=["moved"] * 200)
    assert states(migration)[0] == "outdated"
    export_layer(migration, "parks", "r2")
    assert states(migration)[0] == "final"


def test_a_final_layer_whose_file_was_taken_away_is_not_final(migration):
    """The board looks at the files, not at what was once said."""
    write_layer(migration, "parks", status=["moved"] * 200)
    export_layer(migration, "parks", "r1")
    (migration.exports_dir / "parks.gpkg").unlink()
    assert states(migration)[0] == "outdated"


@pytest.mark.parametrize("stage", ["shift", "quality", "review"])
def test_a_layer_that_stopped_on_the_way_is_blocked_and_says_where(migration, stage):
    """A failed blocking check leaves the checked stage green and what follows missing or old."""
    write_layer(migration, "parks")
    lost = {"shift": migration.shifted, "quality": migration.quality, "review": migration.corrected}[stage]
    lost("parks").unlink()
    line = read_board(migration).lines[0]
    assert line.state == "blocked" and f"({lost('parks').name})" in line.next_step
    assert line.features == 200 and line.counts is None


def test_an_outcome_older_than_its_measures_is_blocked_too(migration):
    """A re-run that stopped half-way must not show the counts of the run before."""
    write_layer(migration, "parks")
    quality = pq.read_table(migration.quality("parks"))
    pq.write_table(quality.set_column(3, "risk", [[0.5] * 200]), migration.quality("parks"))
    assert states(migration)[0] == "blocked"


def test_totals_are_the_sum_of_the_layers(migration):
    """In every column, and in = moved + unmoved + fixed + open."""
    write_layer(migration, "parks")
    write_layer(migration, "trees", shapes=plots(100))
    board = read_board(migration)
    assert board.total == board.lines[0].counts + board.lines[1].counts
    assert board.total.total == 300


def test_the_accepted_share_is_what_needed_no_person(migration):
    """A fix by an officer does not count as accepted, a feature rightly left does."""
    write_layer(migration, "trees", shapes=plots(4), status=["moved", "unmoved", "fixed", "open"])
    assert read_board(migration).lines[1].accepted_share == 0.5


def test_the_table_of_text_has_a_line_per_layer_and_reconciles(migration):
    """What the command prints at its end."""
    write_layer(migration, "parks")
    text = read_board(migration).text()
    numbers = [list(map(int, re.findall(r"\d+", line)[:5])) for line in text.splitlines() if line.startswith("parks")]
    total, *parts = numbers[0]
    assert total == sum(parts) == 200
    assert len(text.splitlines()) == 4


def test_the_markdown_table_stays_short_with_the_needy_layers_first(tmp_path):
    """Above 1,000 characters Dagster hides it; a layer that is final may be left out first."""
    root = tmp_path / "many"
    root.mkdir()
    layers = "".join(f"  - {{name: layer_{n:02d}, file: sources/{n}.gpkg}}\n" for n in range(60))
    (root / "migration.yaml").write_text(f"title: Many\ncontrol: {{files: [c]}}\nlayers:\n{layers}", encoding="utf-8")
    migration = Migration.open(root)
    write_layer(migration, "layer_41", shapes=plots(20))
    export_layer(migration, "layer_41", "r1")
    table = read_board(migration).markdown()
    assert len(table) < 1000
    assert table.splitlines()[2].startswith("| [Layer 41](/assets/export?view=partitions&partition=layer_41) | draft |")
    assert "more" in table.splitlines()[-1]


def test_the_page_links_to_the_evidence_and_says_what_to_do_next(migration):
    """A manager needs the next step, not a traceback."""
    write_layer(migration, "parks")
    export_layer(migration, "parks", "r1")
    page = write_board(migration).page.read_text(encoding="utf-8")
    assert '<a href="parks.html">Parks &amp; greens</a>' in page
    assert "4 features wait for an officer: open review/parks.gpkg, decide, save." in page
    assert "Not run yet: run this layer." in page
    assert "<script" not in page and 'src="data:image/' in page


def test_an_empty_board_is_a_page_too(migration):
    """Before the first run there is nothing to draw."""
    page = write_board(migration).page.read_text(encoding="utf-8")
    assert "0 of 2 layers are final." in page and "<img" not in page


def test_a_layer_shifted_before_the_latest_fit_is_outdated(migration):
    """What was exported rests on another field than today's: the board says so, and what to do."""
    write_layer(migration, "parks", status=["moved"] * 200)
    export_layer(migration, "parks", "r1")
    migration.field_file.parent.mkdir(parents=True)
    migration.field_file.write_bytes(b"the field of today")
    digests = {"source_digest": "s", "geometry_digest": "g", "control_digest": "c"}
    record_shift(migration, "parks", **digests, field_digest=sha256(migration.field_file), run_id="r1")
    assert states(migration)[0] == "final"
    migration.field_file.write_bytes(b"another field")
    line = read_board(migration).lines[0]
    assert line.state == "outdated" and "before the shift was fitted anew" in line.next_step


def test_the_work_of_the_officers_is_summed_over_the_layers(migration):
    """By whom, on which day, and the forecast of the hours left, as the review of each layer tells them."""
    write_layer(migration, "parks")
    for row, day in ((4, 23), (29, 23), (54, 24)):
        answer = Decision("parks", row, "", "fixed", "J. Smith", "", f"2026-11-{day}T10:00:00+00:00", "", "r", "s", "p")
        append_line(migration.decisions_log, asdict(answer))
    board = read_board(migration)
    assert board.by_officer == {"J. Smith": 3}
    assert board.by_day == {"2026-11-23": 2, "2026-11-24": 1}
    assert board.hours_left == 0.2 and "4 wait for an officer, about 0.2 hours" in board.sentence

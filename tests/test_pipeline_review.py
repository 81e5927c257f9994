"""The review stage: what is offered, what officers save, what comes of it."""

from __future__ import annotations

import shutil
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pyogrio.raw
import pytest
import shapely
from review_migration import (
    LAYER,
    execute,
    gpkg_blob,
    make_migration,
    offered,
    outcomes,
    places,
    save,
    square,
    write_stages,
)

from pipeline.locks import alone_with
from pipeline.officers.decisions import read_decisions
from pipeline.officers.merge import REVIEW_REASONS
from pipeline.officers.package import RESERVED_NAMES
from pipeline.officers.saved_review import read_review
from pipeline.officers.surroundings import read_surroundings
from pipeline.orchestration import checks
from pipeline.review import Reviewed, changed_reviews, review_layer
from pipeline.storage import Migration
from transforms.errors import ReviewError

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
    assert names == [LAYER, *RESERVED_NAMES]


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


def test_counts_reconcile(migration: Migration) -> None:
    save(migration, 3, decision="cannot_place")
    review = review_layer(migration, LAYER, "run-2")
    assert review.features == review.moved + review.unmoved + review.fixed + review.open == len(SQUARES)
    assert Counter(status for status, _ in outcomes(migration)) == {"moved": 1, "unmoved": 2, "open": 2}


def test_where_most_wait_the_check_says_what_to_do_until_they_are_decided(tmp_path: Path) -> None:
    migration = make_migration(tmp_path)
    passed = []
    for waiting in (22, 30):
        verdicts = ["review"] * waiting + ["accept"] * (44 - waiting)
        write_stages(migration, [square(400_000.0 + 20 * row) for row in range(44)], verdicts)
        passed.append(most_settled(review_layer(migration, LAYER, f"run-{waiting}")))
    for row in range(8):
        save(migration, row, decision="keep", officer="Ann")
    passed.append(most_settled(review_layer(migration, LAYER, "run-2")))
    assert passed == [True, False, True]


def most_settled(reviewed: Reviewed) -> bool:
    return next(bool(check.passed) for check in checks.of_review(reviewed) if check.check_name == "most_settled")


def test_the_log_says_who_when_and_why(migration: Migration) -> None:
    save(migration, 3, decision="keep", officer="Ann", note="seen on site")
    review_layer(migration, LAYER, "run-2")
    (decision,) = read_decisions(migration.decisions_log, LAYER)
    assert (decision.officer, decision.note, decision.pai_row, decision.run) == ("Ann", "seen on site", 3, "run-2")
    assert decision.saved_at and decision.taken_at


NOT_A_NUMBER = struct.pack("<BIII8d", 1, 3, 1, 4, 0, 0, 9, 9, 9, float("nan"), 0, 0)


def _redraw(shape: shapely.Geometry | bytes | None) -> Callable[[Migration], object]:
    return lambda migration: save(migration, 3, geometry=shape)


ODD_SAVES: dict[str, tuple[Callable[[Migration], object], str]] = {
    "an unknown word": (lambda migration: save(migration, 3, decision="mvoed"), "'mvoed' is not known"),
    "a geometry of the wrong type": (_redraw(shapely.Point(400_060, 160_000)), "drawn as a point but is an area"),
    "no geometry": (_redraw(None), "its geometry was deleted"),
    "an empty geometry": (_redraw(shapely.Polygon()), "is empty"),
    "a bow tie": (_redraw(shapely.Polygon([(0, 0), (9, 9), (9, 0), (0, 9)])), "not valid (Self-intersection"),
    "a vertex without coordinates": (_redraw(NOT_A_NUMBER), "coordinates"),
    "slipped far away": (_redraw(shapely.box(0, 0, 9, 9)), "km from where it was"),
    "broken bytes": (lambda migration: save(migration, 3, geom=b"GP"), "not that of a GeoPackage"),
    "moved, but not drawn": (lambda migration: save(migration, 3, decision="moved"), "exactly as proposed"),
    "redrawn, yet kept": (
        lambda migration: save(migration, 3, decision="keep", geometry=square(400_064.0)),
        "contradict each other",
    ),
    "a deleted row": (
        lambda migration: execute(migration, f"DELETE FROM {LAYER} WHERE pai_row = 3"),
        "row 3 was deleted",
    ),
    "copies that disagree": (lambda migration: _copy(migration, 3, "keep", "accept"), "copies were answered different"),
}


def _copy(migration: Migration, row: int, first: str, second: str | None) -> None:
    columns = "geom, risk_order, pai_row, id, reasons, risk, note, offer"
    execute(migration, f"INSERT INTO {LAYER} ({columns}) SELECT {columns} FROM {LAYER} WHERE pai_row = {row}")
    for fid, word in zip(("min", "max"), (first, second), strict=True):
        where = f"fid = (SELECT {fid}(fid) FROM {LAYER} WHERE pai_row = {row})"
        execute(migration, f"UPDATE {LAYER} SET decision = ? WHERE {where}", (word,))


@pytest.mark.parametrize("odd", ODD_SAVES)
def test_an_odd_save_is_answered_with_a_sentence_and_costs_no_other(migration: Migration, odd: str) -> None:
    save_oddly, answer = ODD_SAVES[odd]
    save_oddly(migration)
    save(migration, 4, decision="keep", officer="Ann")
    review = review_layer(migration, LAYER, "run-2")
    (finding,) = [finding for finding in review.findings if answer in finding]
    assert finding.startswith(f"Layer {LAYER}, ") and finding.endswith(".")
    assert [status for status, _ in outcomes(migration)][2:] == ["open", "open", "unmoved"]
    assert sorted(offered(migration)) == [2, 3, 4], "the odd one is offered again"


def test_a_refused_answer_is_kept_in_the_log_and_answered_in_the_file(migration: Migration) -> None:
    bow_tie = shapely.Polygon([(0, 0), (9, 9), (9, 0), (0, 9)])
    save(migration, 3, geometry=bow_tie, note="two hours of work")
    review_layer(migration, LAYER, "run-2")
    (refused,) = read_decisions(migration.decisions_log, LAYER)
    assert shapely.from_wkb(refused.wkb) == bow_tie and "not valid" in refused.refused
    ((remark, note),) = execute(migration, f"SELECT remark, note FROM {LAYER} WHERE pai_row = 3")
    assert "not valid" in remark and note == "two hours of work"


def test_a_feature_belongs_far_away_if_the_note_says_why(migration: Migration) -> None:
    elsewhere = square(403_000.0)
    save(migration, 3, geometry=elsewhere, note="the order names the other farm")
    review_layer(migration, LAYER, "run-2")
    assert outcomes(migration)[3][0] == "fixed" and places(migration)[3].equals(elsewhere)


def test_a_feature_without_a_shape_is_placed_by_an_officer(tmp_path: Path) -> None:
    migration = make_migration(tmp_path)
    write_stages(migration, [square(400_000.0), None], ["accept", "review"])
    review_layer(migration, LAYER, "run-1")
    drawn = square(400_300.0)
    save(migration, 1, geometry=drawn, decision="fixed", officer="Ann")
    reviewed = review_layer(migration, LAYER, "run-2")
    assert (reviewed.fixed, reviewed.open, reviewed.findings) == (1, 0, ())
    assert places(migration)[1] == drawn


@pytest.mark.parametrize("note", ["", "a mooring in the bay"])
def test_a_feature_without_a_shape_is_not_placed_off_the_land_without_a_word(tmp_path: Path, note: str) -> None:
    migration = make_migration(tmp_path)
    write_stages(migration, [square(400_000.0), None], ["accept", "review"])
    review_layer(migration, LAYER, "run-1")
    save(migration, 1, geometry=square(-2.5, 51.3), decision="fixed", officer="Ann", note=note)
    reviewed = review_layer(migration, LAYER, "run-2")
    assert reviewed.open == (0 if note else 1)
    assert any("off the land of Great Britain" in finding for finding in reviewed.findings) == (not note)


def test_a_curve_is_not_put_far_away_without_a_word(tmp_path: Path) -> None:
    migration = make_migration(tmp_path)
    arc, slipped = (
        struct.pack("<BII6d", 1, 8, 3, east, 160_000, east + 1, 160_001, east + 2, 160_000) for east in (400_000, 4_000)
    )
    write_stages(migration, [arc], ["review"])
    review_layer(migration, LAYER, "run-1")
    save(migration, 0, geometry=slipped, decision="fixed", officer="Ann")
    reviewed = review_layer(migration, LAYER, "run-2")
    assert reviewed.open == 1 and any("396.0 km from where it was" in finding for finding in reviewed.findings)


def test_copies_that_agree_count_once(migration: Migration) -> None:
    _copy(migration, 3, "keep", "keep")
    assert review_layer(migration, LAYER, "run-2").decisions_taken == 1
    assert outcomes(migration)[3][0] == "unmoved"


def test_an_answer_on_a_copy_counts_if_the_original_says_nothing(migration: Migration) -> None:
    _copy(migration, 3, "keep", None)
    review_layer(migration, LAYER, "run-2")
    assert outcomes(migration)[3][0] == "unmoved"


def test_a_changed_row_number_or_reference_does_not_move_the_decision(migration: Migration) -> None:
    save(migration, 3, decision="keep", id="T999")
    save(migration, 3, pai_row=2)
    review = review_layer(migration, LAYER, "run-2")
    assert [status for status, _ in outcomes(migration)][2:] == ["open", "unmoved", "open"]
    assert any("pai_row was changed to 2" in finding for finding in review.findings)
    assert any("reference was changed to 'T999'" in finding for finding in review.findings)


def test_a_feature_drawn_anew_in_the_file_decides_nothing_and_stays_until_it_is_deleted(migration: Migration) -> None:
    drawn = square(0.0)
    execute(
        migration,
        f"INSERT INTO {LAYER} (geom, decision, note) VALUES (?, 'accept', 'missing')",
        (gpkg_blob(drawn),),
    )
    for name in ("run-2", "run-3"):
        review = review_layer(migration, LAYER, name)
        assert any("was not offered for review" in finding for finding in review.findings)
        assert review.features == len(SQUARES) and review.decisions_taken == 0
        saved = read_review(migration.review(LAYER), LAYER)
        (stray,) = [row for row in saved.rows if not row.token]
        assert shapely.from_wkb(stray.geometry) == drawn and (stray.decision, stray.note) == ("accept", "missing")
        assert len(saved.offered) == len(saved.rows) - 1, "it has no old position"
    execute(migration, f"DELETE FROM {LAYER} WHERE note = 'missing'")
    assert not any("not offered" in finding for finding in review_layer(migration, LAYER, "run-4").findings)


def test_a_note_without_a_decision_is_not_lost_when_the_file_is_rewritten(migration: Migration) -> None:
    save(migration, 3, note="ask the tree officer")
    _refit(migration)
    review_layer(migration, LAYER, "run-2")
    assert execute(migration, f"SELECT note FROM {LAYER} WHERE pai_row = 3") == [("ask the tree officer",)]


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_a_file_open_in_qgis_is_left_alone_and_read_later(migration: Migration, suffix: str) -> None:
    path = migration.review(LAYER)
    save(migration, 3, decision="keep")
    beside, content = path.with_name(path.name + suffix), path.read_bytes()
    beside.write_bytes(b"")
    review = review_layer(migration, LAYER, "run-2")
    assert len(review.findings) == 1 and "is open in QGIS" in review.findings[0] and not review.is_offered
    assert path.read_bytes() == content
    beside.unlink()
    assert review_layer(migration, LAYER, "run-3").decisions_taken == 1


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_file_cut_off_is_refused_whole_and_left_as_it_is(migration: Migration, share: float) -> None:
    save(migration, 3, decision="keep")
    review_layer(migration, LAYER, "run-2")
    path, before = migration.review(LAYER), outcomes(migration)
    cut = path.read_bytes()[: int(path.stat().st_size * share)]
    path.write_bytes(cut)
    with pytest.raises(ReviewError, match=r"saved half-way or is damaged|has no layer"):
        review_layer(migration, LAYER, "run-3")
    assert path.read_bytes() == cut and outcomes(migration) == before
    path.unlink()
    review_layer(migration, LAYER, "run-4")
    assert outcomes(migration) == before, "the decision was in the log"


def test_another_geopackage_in_its_place_is_refused(migration: Migration) -> None:
    path = migration.review(LAYER)
    path.unlink()
    pyogrio.raw.write(path, np.array([shapely.to_wkb(shapely.Point(0, 0))], dtype=object), [], [], layer="other",
                      driver="GPKG", geometry_type="Point", crs="EPSG:27700")  # fmt: skip
    with pytest.raises(ReviewError, match=f"has no layer {LAYER}"):
        review_layer(migration, LAYER, "run-2")


def test_a_save_during_the_run_is_neither_overwritten_nor_missed(
    migration: Migration, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_meanwhile(*arguments: object) -> object:
        save(migration, 3, decision="keep")
        return read_surroundings(*arguments)  # type: ignore[arg-type]

    _refit(migration)
    monkeypatch.setattr("pipeline.review.read_surroundings", save_meanwhile)
    review = review_layer(migration, LAYER, "run-2")
    assert "was saved while this run was at work" in review.findings[0]
    monkeypatch.undo()
    assert review_layer(migration, LAYER, "run-3").decisions_taken == 1


def _refit(migration: Migration, shift_m: tuple[float, float] = (1.5, -2.0)) -> None:
    write_stages(migration, SQUARES, ["accept", "leave", "review", "review", "review"], shift_m=shift_m)


def test_after_a_refit_an_accept_is_asked_again_and_a_fix_stays_and_says_so(migration: Migration) -> None:
    fixed = square(400_044.0)
    save(migration, 2, geometry=fixed)
    save(migration, 3, decision="keep")
    save(migration, 4, decision="accept")
    review_layer(migration, LAYER, "run-2")
    _refit(migration)
    review = review_layer(migration, LAYER, "run-3")
    assert outcomes(migration)[2:] == [
        ("fixed", ["officer_fixed", "fix_on_older_proposal", "outside_control"]),
        ("unmoved", ["officer_kept", "decision_on_older_proposal", "outside_control"]),
        ("open", ["proposal_changed", "outside_control"]),
    ]
    assert shapely.equals(places(migration)[2], fixed) and review.decisions_taken == 0
    save(migration, 4, decision="accept")
    review_layer(migration, LAYER, "run-4")
    assert outcomes(migration)[4] == ("moved", ["officer_accepted", "outside_control"])


def test_a_refit_nobody_can_see_asks_nobody_again(migration: Migration) -> None:
    save(migration, 4, decision="accept")
    review_layer(migration, LAYER, "run-2")
    _refit(migration, shift_m=(1.006, -2.0))
    review_layer(migration, LAYER, "run-3")
    assert outcomes(migration)[4][0] == "moved"


def test_a_save_on_an_older_proposal_is_not_taken_for_the_new_one(migration: Migration) -> None:
    save(migration, 4, decision="accept")
    _refit(migration)
    review_layer(migration, LAYER, "run-2")
    assert outcomes(migration)[4][0] == "open"
    assert outcomes(migration)[4][1][0] == "proposal_changed"


def test_a_changed_source_feature_is_asked_again(migration: Migration) -> None:
    save(migration, 3, decision="keep")
    save(migration, 4, decision="keep")
    review_layer(migration, LAYER, "run-2")
    changed = [*SQUARES[:3], square(400_060.0, side=11.0), SQUARES[4]]
    write_stages(migration, changed, ["accept", "leave", "review", "review", "review"])
    review_layer(migration, LAYER, "run-3")
    assert outcomes(migration)[3:] == [
        ("open", ["source_changed", "outside_control"]),
        ("unmoved", ["officer_kept", "outside_control"]),
    ]


def test_a_decision_follows_its_feature_to_another_row(migration: Migration) -> None:
    save(migration, 3, decision="keep")
    review_layer(migration, LAYER, "run-2")
    write_stages(migration, SQUARES[1:], ["review"] * 4, references=["T1", "T2", "T3", "T4"])
    review_layer(migration, LAYER, "run-3")
    assert [status for status, _ in outcomes(migration)] == ["open", "open", "unmoved", "open"]


def test_the_latest_decision_wins_and_the_earlier_stay_in_the_log(migration: Migration) -> None:
    for word in ("keep", "accept", "keep"):
        save(migration, 3, decision=word)
        review_layer(migration, LAYER, "run")
    assert outcomes(migration)[3][0] == "unmoved"
    logged = [decision.decision for decision in read_decisions(migration.decisions_log, LAYER)]
    assert logged == ["keep", "accept", "keep"]


def test_an_officer_may_take_a_fix_back(migration: Migration) -> None:
    save(migration, 3, geometry=square(400_064.0))
    review_layer(migration, LAYER, "run-2")
    save(migration, 3, decision="keep")
    review = review_layer(migration, LAYER, "run-3")
    assert outcomes(migration)[3][0] == "unmoved" and review.findings == ()
    assert review_layer(migration, LAYER, "run-4").decisions_taken == 0


def test_decisions_survive_the_loss_of_build_and_review(migration: Migration) -> None:
    save(migration, 2, geometry=square(400_044.0))
    save(migration, 3, decision="cannot_place")
    review_layer(migration, LAYER, "run-2")
    before, there = outcomes(migration), places(migration)
    shutil.rmtree(migration.build_dir)
    shutil.rmtree(migration.review_dir)
    write_stages(migration, SQUARES, ["accept", "leave", "review", "review", "review"], risks=[0.0, 0.0, 0.1, 0.2, 0.9])
    review_layer(migration, LAYER, "run-3")
    assert (outcomes(migration), places(migration)) == (before, there)
    assert offered(migration) == [4], "a fresh file offers only what is open"


def test_running_again_changes_nothing(migration: Migration) -> None:
    save(migration, 2, geometry=square(400_044.0), note="hedge")
    save(migration, 3, decision="keep")
    review_layer(migration, LAYER, "run-2")
    log, offer, before = migration.decisions_log.read_bytes(), migration.review(LAYER).read_bytes(), outcomes(migration)
    review = review_layer(migration, LAYER, "run-3")
    assert review.decisions_taken == 0 and migration.decisions_log.read_bytes() == log
    assert migration.review(LAYER).read_bytes() == offer and outcomes(migration) == before


def test_a_feature_keeps_its_number_when_the_file_is_rewritten(migration: Migration) -> None:
    def numbers() -> dict[int, int]:
        return dict(execute(migration, f"SELECT pai_row, fid FROM {LAYER}"))

    before = numbers()
    write_stages(migration, SQUARES, ["accept", "review", "review", "accept", "review"], shift_m=(1.5, -2.0))
    review_layer(migration, LAYER, "run-2")
    assert {row: before[row] for row in (2, 4)} == {row: numbers()[row] for row in (2, 4)}
    assert numbers()[1] not in before.values(), "a late save for row 3 must not reach row 1"


def test_points_keep_z_and_curves_keep_their_bytes(tmp_path: Path) -> None:
    migration = make_migration(tmp_path)
    arc = struct.pack("<BII6d", 1, 8, 3, 400_000, 160_000, 400_001, 160_001, 400_002, 160_000)
    write_stages(migration, [shapely.Point(400_000, 160_000, 7.5), arc, None], ["review"] * 3)
    review_layer(migration, LAYER, "run-1")
    review = review_layer(migration, LAYER, "run-2")
    assert review.findings == () and review.decisions_taken == 0, "nothing was edited"
    for row, word in enumerate(("accept", "keep", "keep")):
        save(migration, row, decision=word)
    review_layer(migration, LAYER, "run-3")
    geometries = pq.read_table(migration.corrected(LAYER))["pai_geometry"].to_pylist()
    assert shapely.from_wkb(geometries[0]) == shapely.Point(400_001, 159_998, 7.5)
    assert geometries[1:] == [arc, None]
    assert [status for status, _ in outcomes(migration)] == ["moved", "unmoved", "unmoved"]


def test_a_fix_of_a_polygon_among_multipolygons_stays_a_polygon(tmp_path: Path) -> None:
    migration = make_migration(tmp_path)
    write_stages(migration, [SQUARES[0], shapely.MultiPolygon([SQUARES[1], SQUARES[3]])], ["review"] * 2)
    review_layer(migration, LAYER, "run-1")
    save(migration, 0, geometry=shapely.MultiPolygon([square(400_003.0)]))
    review_layer(migration, LAYER, "run-2")
    assert places(migration)[0] == square(400_003.0)


@pytest.mark.parametrize("count", [0, 1])
def test_a_layer_with_nothing_to_review_has_an_empty_review_file(tmp_path: Path, count: int) -> None:
    migration = make_migration(tmp_path)
    write_stages(migration, SQUARES[:count], ["accept"] * count)
    review = review_layer(migration, LAYER, "run-1")
    assert (review.features, review.moved, review.open) == (count, count, 0)
    assert offered(migration) == []


def test_an_accepted_feature_without_a_shift_is_unmoved(tmp_path: Path) -> None:
    migration = make_migration(tmp_path)
    write_stages(migration, SQUARES[:2], ["accept", "review"], proposals=SQUARES[:2])
    review_layer(migration, LAYER, "run-1")
    save(migration, 1, decision="accept")
    review_layer(migration, LAYER, "run-2")
    assert [status for status, _ in outcomes(migration)] == ["unmoved", "unmoved"]


def test_an_outline_that_crosses_itself_is_measured_from_its_outline(tmp_path: Path) -> None:
    """Its two halves cancel: its centroid lay kilometres away, its arrow ran off the map, its fix seemed far off."""
    east, north = 400_000.0, 160_000.0
    corners = [(0.0, 0.0), (10.0, 10.0), (10.0, 0.001), (0.0, 10.0)]
    crossed = shapely.Polygon([(east + x, north + y) for x, y in corners])
    migration = make_migration(tmp_path)
    write_stages(migration, [crossed], ["review"])
    review_layer(migration, LAYER, "run-1")
    (arrow,) = pyogrio.raw.read(migration.review(LAYER), layer="shift_arrows")[2]
    ends = shapely.get_coordinates(shapely.from_wkb(arrow))
    np.testing.assert_allclose(ends - [east, north], [(5.0, 5.0), (6.0, 3.0)], atol=0.01)
    save(migration, 0, decision="fixed", geometry=square(east + 1.0, north - 2.0), officer="Ann")
    assert not review_layer(migration, LAYER, "run-2").findings
    assert pq.read_table(migration.corrected(LAYER))["pai_shift_m"].to_pylist() == pytest.approx([2.236], abs=0.01)


def test_a_fix_far_off_is_taken_but_mentioned(migration: Migration) -> None:
    save(migration, 3, geometry=square(400_560.0), officer="Ann")
    review = review_layer(migration, LAYER, "run-2")
    assert outcomes(migration)[3][0] == "fixed"
    assert [finding for finding in review.findings if "fix by Ann lies 500.0 m" in finding]


def test_a_layer_may_not_be_called_as_the_file_calls_its_own(tmp_path: Path) -> None:
    migration = make_migration(tmp_path, ["old_position"])
    with pytest.raises(ReviewError, match=r"another name in migration\.yaml"):
        review_layer(migration, "old_position", "run-1")


def test_a_missing_stage_is_named(tmp_path: Path) -> None:
    migration = make_migration(tmp_path)
    with pytest.raises(ReviewError, match=r"the copy of its source is missing .* Run the layer again"):
        review_layer(migration, LAYER, "run-1")


def test_tables_of_different_length_are_refused(migration: Migration) -> None:
    table = pq.read_table(migration.quality(LAYER))
    pq.write_table(table.slice(0, 3), migration.quality(LAYER))
    with pytest.raises(ReviewError, match="stage quality has 3 rows, the source 5"):
        review_layer(migration, LAYER, "run-2")


def test_the_sensor_sees_a_new_save_once(migration: Migration) -> None:
    layers, cursor = changed_reviews(migration, None, quiet_s=0)
    assert layers == []
    save(migration, 3, decision="keep")
    layers, later = changed_reviews(migration, cursor, quiet_s=0)
    assert layers == [LAYER] and later != cursor
    assert changed_reviews(migration, later, quiet_s=0)[0] == []


def test_the_sensor_waits_for_a_run_that_is_at_work_on_the_layer(migration: Migration) -> None:
    """Its tables may be of two runs just then, and the run takes the answers in itself."""
    _, cursor = changed_reviews(migration, None, quiet_s=0)
    save(migration, 3, decision="keep")
    with alone_with(migration, LAYER):
        assert changed_reviews(migration, cursor, quiet_s=0) == ([], cursor)
    assert changed_reviews(migration, cursor, quiet_s=0)[0] == [LAYER]


@pytest.mark.parametrize("is_decided", [True, False])
def test_a_save_on_tables_of_two_runs_starts_the_run_that_says_so(migration: Migration, is_decided: bool) -> None:
    """Nobody is told of a layer that stopped half-way unless somebody waits for it."""
    _, cursor = changed_reviews(migration, None, quiet_s=0)
    save(migration, 3, **({"decision": "keep"} if is_decided else {"note": "look"}))
    quality = pq.read_table(migration.quality(LAYER))
    pq.write_table(quality.replace_schema_metadata(), migration.quality(LAYER))
    assert changed_reviews(migration, cursor, quiet_s=0)[0] == ([LAYER] if is_decided else [])


def test_the_sensor_waits_for_quiet_and_for_qgis(migration: Migration) -> None:
    _, cursor = changed_reviews(migration, None, quiet_s=0)
    save(migration, 3, decision="keep")
    assert changed_reviews(migration, cursor, quiet_s=60) == ([], cursor)
    wal = migration.review(LAYER).with_name(f"{LAYER}.gpkg-wal")
    wal.write_bytes(b"")
    assert changed_reviews(migration, cursor, quiet_s=0) == ([], cursor)
    wal.unlink()
    assert changed_reviews(migration, cursor, quiet_s=0)[0] == [LAYER]


def test_the_sensor_passes_over_what_is_in_the_log_already(migration: Migration) -> None:
    save(migration, 3, decision="keep")
    review_layer(migration, LAYER, "run-2")
    assert changed_reviews(migration, None, quiet_s=0)[0] == []


def test_the_sensor_starts_a_run_on_a_damaged_file_so_that_somebody_hears_of_it(migration: Migration) -> None:
    migration.review(LAYER).write_bytes(b"half a file")
    assert changed_reviews(migration, None, quiet_s=0)[0] == [LAYER]


def test_every_reason_is_a_sentence() -> None:
    for code, text in REVIEW_REASONS.items():
        assert text[0].isupper() and text.endswith("."), code

"""The quality stage on a little migration: counts reconcile, every row is judged, every reason is specific."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
import yaml
from stage_tables import belong_together
from two_maps import SHIFT, LittleField, is_west, on_new_map, plots

from pipeline import quality
from pipeline.base_maps import read_base_maps
from pipeline.captures import read_evidence
from pipeline.geometry.linear_copy import linear_copy
from pipeline.settings import Settings
from pipeline.storage import Migration
from qa.limits import limits_in_force
from qa.regime import REASONS as REGIME_REASONS
from qa.regime import classify
from qa.triage import REASONS
from transforms.errors import SourceError

MIGRATION = """
title: A little borough
control: {files: [sources/control]}
base_maps:
  before: {file: sources/before.gpkg}
  after: {file: sources/after.gpkg}
  new_map_loaded_on: 2005-06-01
layers:
  - {name: sites, file: sources/sites.gpkg, captured_column: CAPTURED}
"""


@pytest.fixture(scope="module")
def migration(tmp_path_factory):
    folder = tmp_path_factory.mktemp("borough")
    (folder / "sources").mkdir()
    (folder / "migration.yaml").write_text(MIGRATION, encoding="utf-8")
    areas, buildings = plots()
    old = np.concatenate([shapely.boundary(areas), buildings])
    for name, shapes in (("before", old), ("after", on_new_map(old))):
        write_map(folder / "sources" / f"{name}.gpkg", shapes)
    migration = Migration.open(folder)
    migration.control_table.parent.mkdir(parents=True)
    pq.write_table(control_table(areas), migration.control_table)
    return migration


def write_map(path, shapes):
    toid = np.array([f"osgb{number}" for number in range(len(shapes))], dtype=object)
    pyogrio.raw.write(
        path, shapely.to_wkb(shapes), [toid], ["toid"], geometry_type="Unknown", crs="EPSG:27700", driver="GPKG"
    )


def control_table(areas):
    old = shapely.get_coordinates(shapely.centroid(areas))
    new = LittleField()(old)
    names = ("old_easting", "old_northing", "new_easting", "new_northing")
    places = dict(zip(names, np.column_stack([old, new]).T, strict=True))
    return pa.table({**places, "verdict": ["used"] * len(old)})


def write_layer(
    migration,
    geometries,
    proposals,
    moved,
    *,
    blocked_by=None,
    days=None,
    placed_by_map=False,
    attached_m=0.0,
    uncertainty_m=0.1,
    redrawn=False,
):
    rows = pa.array(range(len(geometries)), pa.int64())
    captured = pa.array(days or [None] * len(geometries), pa.string())
    layer_dir = migration.layer_dir("sites")
    layer_dir.mkdir(parents=True, exist_ok=True)
    staged = {"CAPTURED": captured, "pai_row": rows, "pai_geometry": wkb(geometries)}
    pq.write_table(pa.table(staged), migration.staged("sites"))
    regimes = classify(np.array([*geometries, None])[:-1], *judged_by(migration, pa.table(staged)))
    length = np.where(moved, np.linalg.norm(SHIFT), 0.0)
    shifted = {
        "pai_row": rows,
        "pai_geometry": wkb(proposals),
        "moved": pa.array(moved, pa.bool_()),
        "blocked_by": pa.array(blocked_by or [None] * len(geometries), pa.string()),
        "regime": regimes.regime.tolist(),
        "regime_reasons": pa.array(regimes.reasons, pa.list_(pa.string())),
        "wrong_chance_ratio": regimes.wrong_chance_ratio,
        "shift_m": length,
        "uncertainty_m": np.full(len(geometries), uncertainty_m),
        "control_distance_m": np.full(len(geometries), 20.0),
        "is_placed_by_map": np.full(len(geometries), placed_by_map),
        "attached_m": np.broadcast_to(attached_m, len(geometries)),
        "reattach_reasons": pa.array([["base_feature_changed"] if redrawn else []] * len(geometries)),
    }
    pq.write_table(pa.table(shifted), migration.shifted("sites"))
    belong_together(migration, "sites")


def judged_by(migration, staged):
    """What the stage shift classifies with, the true field in the fitted one's place."""
    evidence = read_evidence(staged, migration.settings.layers[0], migration.settings)
    return evidence, read_base_maps(migration), LittleField(), limits_in_force()


def wkb(geometries):
    return pa.array([None if shape is None else shapely.to_wkb(shape) for shape in geometries], pa.binary())


def judged(migration):
    summary = quality.judge_layer(migration, "sites")
    return summary, pq.read_table(migration.quality("sites")).to_pylist()


def western():
    areas, _ = plots()
    return areas[is_west(areas)][:60]


def test_a_right_proposal_is_accepted_throughout_and_the_counts_reconcile(migration):
    areas = western()
    write_layer(migration, areas, on_new_map(areas), [True] * len(areas))
    summary, rows = judged(migration)
    assert summary.accepted == summary.features == len(rows) == 60
    assert summary.accepted + summary.left + summary.to_review == summary.features
    assert summary.automatic_ratio == 1.0
    assert {row["verdict"] for row in rows} == {"accept"}
    assert all("coincides_with_old_map" in row["reasons"] for row in rows)


@pytest.mark.parametrize("wrong_by_m", [1.2, 3.0])
def test_a_wrong_proposal_is_never_accepted(migration, wrong_by_m):
    areas = western()
    proposals = on_new_map(areas)
    proposals[5] = shapely.affinity.translate(proposals[5], 0.0, wrong_by_m)
    write_layer(migration, areas, proposals, [True] * len(areas))
    _, rows = judged(migration)
    assert rows[5]["verdict"] == "review"
    assert rows[5]["reasons"][0] == "base_map_disagrees"
    assert rows[5]["risk"] == max(row["risk"] for row in rows)


def test_nulls_stay_blocked_features_are_reviewed_and_all_rows_are_there(migration):
    geometries = [*western(), None]
    proposals = [*on_new_map(western()), None]
    proposals[3] = geometries[3]
    blocked = [None, None, None, "outside_control", *[None] * (len(geometries) - 4)]
    moved = [shape is not None and row != 3 for row, shape in enumerate(geometries)]
    write_layer(migration, geometries, proposals, moved, blocked_by=blocked)
    summary, rows = judged(migration)
    assert [row["pai_row"] for row in rows] == list(range(61))
    assert (rows[3]["verdict"], rows[3]["reasons"][0]) == ("review", "outside_control")
    assert {type(code) for code in summary.reasons} == {str}
    assert (rows[60]["verdict"], rows[60]["reasons"]) == ("leave", ["no_geometry"])
    assert summary.left == 1


def test_neighbours_that_would_part_both_go_to_an_officer(migration):
    areas = western()
    proposals = on_new_map(areas)
    proposals[0] = shapely.affinity.translate(proposals[0], 0.25, 0.0)
    write_layer(migration, areas, proposals, [True] * len(areas))
    _, rows = judged(migration)
    parted = [row["pai_row"] for row in rows if "shared_edge_parted" in row["reasons"]]
    assert 0 in parted
    assert len(parted) >= 3
    assert all(rows[row]["verdict"] == "review" for row in parted)
    assert rows[0]["shared_edge_gap_m"] == pytest.approx(0.25)


def test_neighbours_that_the_new_map_itself_parts_are_no_doubt(migration):
    areas = western()
    proposals = on_new_map(areas)
    proposals[0] = shapely.affinity.translate(proposals[0], 0.25, 0.0)
    write_layer(migration, areas, proposals, [True] * len(areas), placed_by_map=True)
    _, rows = judged(migration)
    assert not any("shared_edge_parted" in row["reasons"] for row in rows)
    assert rows[0]["shared_edge_gap_m"] == pytest.approx(0.25)


def test_what_the_map_placed_in_part_is_doubtful_for_the_rest_only(migration):
    areas = western()
    write_layer(migration, areas, on_new_map(areas), [True] * len(areas), attached_m=0.75 * shapely.length(areas))
    staged, shifted = (pq.read_table(path) for path in (migration.staged("sites"), migration.proposed("sites")))
    proposal = quality._Proposal(migration, "sites", staged, shifted)
    np.testing.assert_allclose(proposal.placed_ratio, 0.75)
    measures, _ = proposal.measures()
    ones = np.ones(len(areas))
    unsure = measures | {
        "base_map_told_ratio": 0.0 * ones,
        "uncertainty_m": ones,
        "base_map_disagreement_m": 0.0 * ones,
    }
    np.testing.assert_allclose(quality._position_doubt(proposal, unsure), 0.25 * np.exp(-1.0))


@pytest.mark.parametrize(("uncertainty_m", "redrawn", "doubted"), [(0.9, False, 0), (0.9, True, 60), (0.1, True, 0)])
def test_where_its_own_line_was_redrawn_the_corners_near_by_do_not_speak_for_an_unsure_shift(
    migration, uncertainty_m, redrawn, doubted
):
    """A break had bent the line of a plot by 2 m, and corners on the one side of it vouched for the other."""
    areas = western()
    write_layer(migration, areas, on_new_map(areas), [True] * 60, uncertainty_m=uncertainty_m, redrawn=redrawn)
    _, rows = judged(migration)
    assert sum("position_uncertain" in row["reasons"] for row in rows) == doubted
    assert sum(row["verdict"] == "review" for row in rows) == doubted


def test_a_sliver_that_turns_inside_out_is_seen(migration):
    areas = western()
    proposals = on_new_map(areas)
    corners = shapely.get_coordinates(proposals[9])
    corners[[1, 2]] = corners[[2, 1]]
    proposals[9] = shapely.Polygon(corners)
    write_layer(migration, areas, proposals, [True] * len(areas))
    _, rows = judged(migration)
    assert rows[9]["verdict"] == "review"
    assert "became_invalid" in rows[9]["reasons"]


def test_what_would_move_in_a_layer_that_is_only_checked_is_shown_to_an_officer(migration):
    areas = western()
    write_layer(migration, areas, areas, [False] * len(areas))
    layer = migration.settings.layers[0].model_copy(update={"strategy": "check_only"})
    settings = migration.settings.model_copy(update={"layers": [layer]})
    _, rows = judged(Migration(migration.root, settings))
    assert {row["verdict"] for row in rows} == {"review"}
    assert all(row["reasons"][0] == "layer_check_only" for row in rows)


def test_every_reason_written_has_a_sentence(migration):
    areas = western()
    write_layer(migration, areas, areas, [False] * len(areas))
    summary, _ = judged(migration)
    assert set(summary.reasons) <= set(REASONS) | set(REGIME_REASONS)


def test_an_empty_layer_is_judged_too(migration):
    write_layer(migration, [], [], [])
    summary, rows = judged(migration)
    assert (summary.features, rows) == (0, [])
    assert np.isnan(summary.automatic_ratio)


def test_rows_that_do_not_match_stop_the_layer(migration):
    areas = western()
    write_layer(migration, areas, on_new_map(areas), [True] * len(areas))
    pq.write_table(pq.read_table(migration.shifted("sites")).slice(1), migration.shifted("sites"))
    with pytest.raises(SourceError, match="sites"):
        quality.judge_layer(migration, "sites")


def test_a_missing_base_map_is_one_sentence(migration):
    gone = migration.settings.base_maps.after.model_copy(update={"file": "sources/gone.gpkg"})
    base_maps = migration.settings.base_maps.model_copy(update={"after": gone})
    settings = migration.settings.model_copy(update={"base_maps": base_maps})
    with pytest.raises(SourceError, match=r"gone\.gpkg.*base_maps in migration\.yaml"):
        read_base_maps(Migration(migration.root, settings))


CURVE = shapely.LineString([(0, 0), (1, 1), (2, 0)])


def test_curves_are_measured_as_they_are_drawn():
    arc = b"\x01\x08\x00\x00\x00" + shapely.to_wkb(CURVE)[5:]
    closing = shapely.to_wkb(shapely.LineString([(2, 0), (0, 0)]))
    compound = b"\x01\x09\x00\x00\x00\x02\x00\x00\x00" + arc + closing
    polygon = b"\x01\x0a\x00\x00\x00\x01\x00\x00\x00" + compound
    geometries, unread = linear_copy([arc, polygon, b"\x01\x10\x00\x00\x00nonsense", None])
    assert geometries[0].length == pytest.approx(np.pi, rel=1e-3)
    assert geometries[1].area == pytest.approx(np.pi / 2, rel=1e-3)
    on_arc = shapely.distance(geometries[0], shapely.points(shapely.get_coordinates(CURVE)))
    assert on_arc == pytest.approx(0.0, abs=1e-9)
    assert unread.tolist() == [False, False, True, False]


def test_what_its_own_lines_placed_is_accepted_however_unsure_the_field_is(migration):
    """Beside a break the field says nothing; the lines a feature lay on all round say where it went."""
    areas = western()
    write_layer(migration, areas, on_new_map(areas), [True] * len(areas))
    verdicts = {}
    for placed in (False, True):
        shifted = pq.read_table(migration.shifted("sites"), columns=None)
        kept = [name for name in shifted.column_names if name not in ("uncertainty_m", "break_distance_m")]
        unsure = {"uncertainty_m": pa.array([1.5] * 60), "break_distance_m": pa.array([0.0] * 60)}
        columns = {name: shifted[name] for name in kept} | unsure | {"is_placed_by_map": pa.array([placed] * 60)}
        columns["pai_geometry"] = wkb([*on_new_map(areas[:30]), *shapely.segmentize(on_new_map(areas[30:]), 4.0)])
        pq.write_table(pa.table(columns), migration.shifted("sites"))
        belong_together(migration, "sites")
        verdicts[placed] = [row["verdict"] for row in judged(migration)[1]]
    assert "review" in verdicts[False]
    assert set(verdicts[True]) == {"accept"}


@pytest.mark.parametrize(("placed", "verdict"), [(False, "review"), (True, "accept")])
def test_the_shape_that_the_new_map_has_itself_is_no_finding(migration, placed, verdict):
    """A path across a break is as much longer as the hedges that it runs along."""
    areas = western()
    write_layer(migration, areas, on_new_map(areas), [True] * len(areas), placed_by_map=placed)
    staged, shifted = (pq.read_table(path) for path in (migration.staged("sites"), migration.proposed("sites")))
    proposal = quality._Proposal(migration, "sites", staged, shifted)
    bent = {"distance_change_ratio": np.full(60, 2.0), "right_angle_change_deg": np.full(60, 9.0)}
    assert set(quality._triage(proposal, proposal.measures()[0] | bent).verdict) == {verdict}


def test_a_limit_of_one_layer_counts_before_that_of_all(migration):
    """A place 0.3 m off the map is too far where 0.1 m is the limit, and no doubt where it is 2 m."""
    areas = western()
    write_layer(migration, areas, shapely.transform(on_new_map(areas), lambda xy: xy + 0.3), [True] * len(areas))
    of_all = "limits: {fit_to_new_map_m: 0.1, position_error_m: 0.5}\n"
    own = "captured_column: CAPTURED, limits: {fit_to_new_map_m: 2.0, position_error_m: 2.0}"
    accepted = []
    for text in (MIGRATION + of_all, (MIGRATION + of_all).replace("captured_column: CAPTURED", own)):
        changed = dataclasses.replace(migration, settings=Settings.model_validate(yaml.safe_load(text)))
        belong_together(changed, "sites")
        accepted.append(judged(changed)[0].accepted)
    assert accepted == [0, 60]


def test_an_outline_that_crosses_itself_is_for_an_officer(migration):
    areas = western()
    west, south, east, north = areas[5].bounds
    areas[5] = shapely.Polygon([(west, south), (east, north), (east, south), (west, north)])
    write_layer(migration, areas, on_new_map(areas), [True] * len(areas))
    row = judged(migration)[1][5]
    assert row["verdict"] == "review"
    assert "outline_crosses" in row["reasons"]
    assert row["doubt"] == "capture"


def test_a_point_in_a_redrawn_building_is_doubted_where_every_building_moved_of_its_own(tmp_path):
    """Of a house with no corners left in common only the neighbours tell, and they differ by more than decimetres."""
    _, buildings = plots()
    houses = buildings[is_west(buildings)]
    redrawn, own = 40, np.random.default_rng(4).normal(0.0, 0.5, (len(houses), 2))
    new = np.array([shapely.affinity.translate(each, *by) for each, by in zip(on_new_map(houses), own, strict=True)])
    centres = shapely.centroid(houses)
    proposals = np.array([shapely.affinity.translate(c, *(SHIFT + by)) for c, by in zip(centres, own, strict=True)])
    new[redrawn] = new[redrawn].buffer(1.0, join_style="mitre")
    (tmp_path / "sources").mkdir()
    (tmp_path / "migration.yaml").write_text(MIGRATION, encoding="utf-8")
    for name, shapes in (("before", houses), ("after", new)):
        write_map(tmp_path / "sources" / f"{name}.gpkg", shapes)
    town = Migration.open(tmp_path)
    town.control_table.parent.mkdir(parents=True)
    pq.write_table(control_table(houses), town.control_table)
    place = shapely.get_coordinates(centres[redrawn])
    # The proposal agrees with the middle of what its neighbours did: nothing but their scatter speaks against it.
    proposals[redrawn] = shapely.Point(place[0] + read_base_maps(town).observed_shift(place).shift[0])
    write_layer(town, centres, proposals, [True] * len(houses), days=["2001-01-01"] * len(houses))
    _, rows = judged(town)
    assert rows[redrawn]["verdict"] == "review"
    assert "position_uncertain" in rows[redrawn]["reasons"]
    assert np.mean([row["verdict"] == "accept" for row in rows]) > 0.9

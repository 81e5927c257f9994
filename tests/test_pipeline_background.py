"""What officers placed over the old base map, or kept there, on a little map of which everything is known."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import shapely
from two_maps import LittleField, base_maps, is_west, on_new_map, plots

from pipeline.officers import background
from pipeline.officers.background import placed_on_old_map
from pipeline.officers.decisions import Decision
from pipeline.officers.merge import Outcome
from pipeline.orchestration import checks
from pipeline.review import Reviewed
from pipeline.storage import Migration
from transforms.errors import SourceError

SETTINGS = """
title: A little borough
control: {files: [links.csv]}
layers:
  - {name: sites, file: sites.gpkg}
"""


class Rows:
    """Features that lie on the old map."""

    def __init__(self, geometries):
        self._wkb = shapely.to_wkb(geometries)

    def before(self, row):
        return self._wkb[row]


@pytest.fixture
def migration(tmp_path, monkeypatch):
    (tmp_path / "migration.yaml").write_text(SETTINGS, encoding="utf-8")
    monkeypatch.setattr(background, "read_base_maps", lambda _: base_maps())
    monkeypatch.setattr(background, "read_field", lambda _: SimpleNamespace(field=LittleField()))
    return Migration.open(tmp_path)


def decision(row, officer, word):
    said = {"layer": "sites", "pai_row": row, "reference": "", "decision": word, "officer": officer, "note": ""}
    return Decision(**said, saved_at="", taken_at="", run="", source_hash="", proposal_hash="")


def decided(migration, geometries, officers):
    """Kept where ``officers`` have no fix of a feature, and fixed where they have one."""
    rows, outcomes, holding = Rows(geometries), [], {}
    for row, (officer, fix) in enumerate(officers):
        outcomes.append(Outcome("unmoved", ()) if fix is None else Outcome("fixed", (), shapely.to_wkb(fix)))
        holding[row] = decision(row, officer, "keep" if fix is None else "fixed")
    return placed_on_old_map(migration, "sites", rows, outcomes, holding)


@pytest.mark.parametrize("kind", [0, 1])
def test_who_drew_over_the_old_map_or_kept_what_lies_on_it_is_named(migration, kind):
    geometries = plots()[kind][is_west(plots()[kind])][:44]
    if kind == 1:
        geometries = shapely.centroid(geometries)
    on_new = on_new_map(geometries)
    officers = [("Ann", None)] * 20 + [("Ben", each) for each in on_new[20:40]] + [("Cat", None)] * 4
    assert decided(migration, geometries, officers) == {"Ann": 20}  # Cat's four tell nothing together
    over_old = [("Dan", each) for each in shapely.transform(geometries, lambda points: points + 0.05)]
    assert decided(migration, geometries, over_old) == {"Dan": 44}


def test_what_was_drawn_on_the_new_map_is_rightly_kept(migration):
    areas = on_new_map(plots()[0][is_west(plots()[0])][:30])
    assert decided(migration, areas, [("Ann", None)] * 30) == {}


def test_where_the_map_did_not_move_keeping_is_right(migration):
    areas = plots()[0]
    east = areas[shapely.bounds(areas)[:, 0] > 950][:30]
    assert decided(migration, east, [("Ann", None)] * 30) == {}


def test_the_check_says_who():
    counts = {"features": 30, "moved": 0, "unmoved": 25, "fixed": 5, "open": 0, "decisions_taken": 0}
    reviewed = Reviewed(layer="sites", **counts, answers_refused=0, findings=(), is_offered=True)
    for on_old_map, found in (({}, None), ({"Ann": 20, "Dan": 7}, "20 by Ann, 7 by Dan")):
        results = checks.of_review(replace(reviewed, on_old_map=on_old_map))
        (result,) = [each for each in results if each.check_name == "drawn_on_new_map"]
        assert result.passed == (found is None)
        assert "found" not in result.metadata if found is None else result.metadata["found"].value == found


def test_base_maps_that_cannot_be_read_now_keep_no_decision_from_counting(migration, monkeypatch):
    def missing(_):
        raise SourceError("The base map is on a drive that is not there.")

    monkeypatch.setattr(background, "read_base_maps", missing)
    areas = plots()[0][is_west(plots()[0])][:30]
    assert decided(migration, areas, [("Ann", None)] * 30) == {}


def test_without_decisions_or_base_maps_nobody_is_named(migration, monkeypatch):
    assert decided(migration, plots()[0], []) == {}
    monkeypatch.setattr(background, "read_base_maps", lambda _: None)
    areas = plots()[0][is_west(plots()[0])][:30]
    assert decided(migration, areas, [("Ann", None)] * 30) == {}

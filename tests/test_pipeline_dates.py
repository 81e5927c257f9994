"""What the deliveries of the other layers say of a layer's dates, whichever stage of theirs has run."""

import numpy as np
import pyarrow as pa
import pyogrio
import pytest
import shapely
from two_maps import LittleField, is_west, on_new_map, plots

from pipeline import dates
from pipeline.storage import Migration

MIGRATION = """
title: A little borough
control: {files: [sources/control]}
base_maps:
  before: {file: sources/before.gpkg}
  after: {file: sources/after.gpkg}
  new_map_loaded_on: 2005-06-01
layers:
  - {name: trees, file: sources/trees.gpkg, captured_column: day}
  - {name: sites, file: sources/sites.gpkg, captured_column: day}
  - {name: parks, file: sources/parks.gpkg}
"""


CORNER = np.array([350_000.0, 150_000.0])


class FieldThere(LittleField):
    """The true shift of the little map, laid down within the National Grid."""

    def __call__(self, points):
        return super().__call__(points - CORNER) + CORNER


class Fitted:
    field = FieldThere()


@pytest.fixture
def migration(tmp_path, monkeypatch):
    monkeypatch.setattr(dates, "read_field", lambda path: Fitted())
    (tmp_path / "sources").mkdir()
    (tmp_path / "migration.yaml").write_text(MIGRATION, encoding="utf-8")
    areas, buildings = plots()
    old = np.concatenate([shapely.boundary(areas), buildings])
    write(tmp_path / "sources" / "before.gpkg", old)
    write(tmp_path / "sources" / "after.gpkg", on_new_map(old))
    return Migration.open(tmp_path)


def write(path, shapes, **columns):
    columns.setdefault("toid", np.array([f"osgb{number}" for number in range(len(shapes))], dtype=object))
    pyogrio.raw.write(
        path,
        shapely.to_wkb(shapely.transform(shapes, lambda points: points + CORNER)),
        list(columns.values()),
        list(columns),
        geometry_type="Unknown",
        crs="EPSG:27700",
        driver="GPKG",
    )


def write_sites(migration, wrong):
    """Outlines traced on the old map, all dated before the new one but the first ``wrong``."""
    areas, _ = plots()
    traced = areas[is_west(areas)][:200]
    day = np.array(["2007-01-01"] * wrong + ["1999-01-01"] * (len(traced) - wrong), dtype=object)
    write(migration.source("sources/sites.gpkg"), traced, day=day)


def test_a_layer_alone_has_dates_as_good_as_usual(migration):
    assert dates.date_wrong_ratio(migration, "trees") == pytest.approx(0.02)


@pytest.mark.parametrize("wrong", [0, 10, 40])
def test_outlines_speak_for_the_dates_of_trees(migration, wrong):
    write_sites(migration, wrong)
    weight, share = 100 * 200 / 300, wrong / 200
    expected = (50 * 0.02 + weight * share) / (50 + weight)
    assert dates.date_wrong_ratio(migration, "trees") == pytest.approx(expected, abs=2e-3)
    assert dates.date_wrong_ratio(migration, "sites") == pytest.approx(0.02)


def test_a_delivery_that_cannot_be_read_has_no_say(migration):
    migration.source("sources/sites.gpkg").write_bytes(b"half a file")
    assert dates.date_wrong_ratio(migration, "trees") == pytest.approx(0.02)


def test_a_new_delivery_is_read_again(migration):
    write_sites(migration, 0)
    first = dates.date_wrong_ratio(migration, "trees")
    migration.source("sources/sites.gpkg").unlink()
    write_sites(migration, 60)
    assert dates.date_wrong_ratio(migration, "trees") > 5 * first


def delivered(places, null_every=1000):
    """A layer of points in batches of 700, numbered by their place."""
    wkb = shapely.to_wkb(shapely.points(places)).tolist()
    for first in range(0, len(wkb), 700):
        rows = range(first, min(first + 700, len(wkb)))
        geometry = pa.array([None if row % null_every == null_every - 1 else wkb[row] for row in rows], pa.binary())
        yield pa.record_batch({"n": places[first : first + 700, 0], "pai_geometry": geometry})


def test_of_a_long_layer_the_same_features_are_taken_in_any_order():
    """Evenly, and none without a place; what is said of its dates would else depend on the order."""
    places = np.column_stack([np.arange(7000.0), np.zeros(7000)])
    taken = dates._taken(delivered(places), 500)["n"].to_numpy()
    assert 450 <= len(taken) <= 1000 and (taken % 1000 != 999).all()
    assert np.histogram(taken, 7, (0, 7000))[0].min() > 50
    shuffled = places[np.random.default_rng(0).permutation(7000)]
    again = dates._taken(delivered(shuffled, null_every=10**9), 500)["n"].to_numpy()
    assert set(taken) <= set(again)


def test_of_a_layer_that_lies_all_in_one_place_the_taking_comes_to_an_end():
    assert len(dates._taken(delivered(np.zeros((7000, 2))), 500)) in (0, 7000 - 7)

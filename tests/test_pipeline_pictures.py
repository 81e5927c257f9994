"""What pictures promise: they fit where they are shown, whatever the data."""

from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from outcomes import make_migration, plots

from pipeline.pages.base_map_window import read_new_map
from pipeline.pages.charts import histogram
from pipeline.pages.maps import (
    ControlPlaces,
    Features,
    Shifts,
    close_up,
    close_up_extent,
    extent_of,
    layer_map,
    shift_map,
)
from pipeline.pages.outcome import STATUSES, Counts
from pipeline.pages.outlines import drawable, drawn_rows
from pipeline.pages.pictures import INLINE_LIMIT, Picture, inline_bar_svg
from pipeline.storage import Migration

CURVE = bytes.fromhex("010800000003000000") + np.array([0.0, 0, 1, 1, 2, 0]).tobytes()


def crowd(count: int) -> Features:
    """``count`` plots of all statuses, moved by two metres."""
    before = plots(count)
    status = np.array([STATUSES[row % 4] for row in range(count)], dtype="<U7")
    return Features(before, shapely.transform(before, lambda xy: xy + 2.0) if count else before, status)


@pytest.mark.parametrize("counts", [Counts(), Counts(10**9, 10**9, 10**9, 10**9), Counts(moved=1, open=10**6)])
def test_a_bar_fits_inline_with_any_counts(counts):
    """Markdown of 1,000 characters or more hides behind a link in the Dagster UI; a raw space breaks the image."""
    text = inline_bar_svg(counts)
    assert len(text) < INLINE_LIMIT
    assert " " not in text.split("](", 1)[1]


def test_a_bar_shows_each_status_in_proportion():
    """Half of the features moved, so half of the bar has the colour of moved."""
    text = inline_bar_svg(Counts(moved=2, unmoved=1, open=1), width=400)
    assert "width=%27200.0%27" in text
    assert text.count("width=%27100.0%27") == 2


def test_a_map_of_very_many_features_stays_small():
    """The page must stay under 2 MB however long the layer is."""
    features = crowd(20_000)
    extent, _ = extent_of(features.after)
    assert len(layer_map(features, extent, [("A", 350_100.0, 160_100.0)]).content) < 450_000


def test_a_map_is_the_same_every_time():
    """Same outcome, same picture: a page can be compared with an earlier one."""
    features = crowd(8)
    extent, _ = extent_of(features.after)
    assert layer_map(features, extent) == layer_map(features, extent)


def test_a_gross_outlier_does_not_shrink_the_map():
    """One row at (0, 0) is counted, and the map still shows the borough."""
    extent, left_outside = extent_of(np.append(plots(100), shapely.Point(0, 0)))
    assert left_outside == 1
    assert extent[0] > 349_000 and extent[2] - extent[0] < 2_000


def test_nothing_to_draw_has_an_extent():
    """A layer of nulls does not fail."""
    extent, left_outside = extent_of(np.array([None, None], dtype=object))
    assert extent[2] > extent[0] and left_outside == 0


@pytest.mark.parametrize(
    "shape",
    [
        shapely.Point(350_000, 160_000),
        shapely.LineString([(350_000, 160_000), (352_000, 160_000)]),
        shapely.box(350_000, 160_000, 350_012, 160_010),
        shapely.box(350_000, 160_000, 353_000, 163_000),
    ],
)
def test_a_close_up_is_near_enough_to_see_two_metres(shape):
    """A shift of two metres is at least a twenty-fifth of the window, and both its ends are in the picture."""
    after = shapely.transform(shape, lambda xy: xy + np.array([1.2, -1.6]))
    west, south, east, north = close_up_extent(shape, after)
    assert east - west == pytest.approx(north - south)
    assert (east - west) / 2.0 <= 25.001
    window = shapely.box(west, south, east, north)
    assert window.intersects(shape) and window.intersects(after)


def test_every_kind_of_shape_can_be_drawn_close_up():
    """Collections, holes and features that do not move are drawn like the rest."""
    shapes = [
        shapely.from_wkt("GEOMETRYCOLLECTION (MULTIPOINT (0 0, 5 5), MULTILINESTRING ((0 0, 9 9), (1 0, 5 2)))"),
        shapely.from_wkt("MULTIPOLYGON (((0 0, 30 0, 30 30, 0 30, 0 0), (5 5, 9 5, 9 9, 5 5)))"),
        shapely.from_wkt("POLYGON Z ((0 0 1, 30 0 1, 30 30 1, 0 0 1))"),
    ]
    features = Features(np.array(shapes), np.array(shapes), np.array(["unmoved"] * 3))
    picture = close_up(features, 1, close_up_extent(shapes[1], shapes[1]), "A")
    assert b"<svg" in picture.content


def test_a_shift_map_draws_without_field_breaks_or_control():
    """Early in a migration some of them are missing; arrows that are NaN are not drawn."""
    features = crowd(4)
    extent, _ = extent_of(features.after)
    nowhere = Shifts(np.array([[350_000.0, 160_000.0]]), np.array([[np.nan, np.nan]]))
    bare = shift_map(features, extent, nowhere, ControlPlaces())
    full = shift_map(features, extent, Shifts(nowhere.places, np.array([[1.0, 2.0]])), ControlPlaces())
    assert len(full.content) > len(bare.content)


def test_curves_nulls_and_infinite_shapes_are_passed_over():
    """What cannot be drawn is None, and does not take its neighbours with it."""
    infinite = shapely.to_wkb(shapely.Point(np.inf, 1))
    shapes = drawable([CURVE, None, shapely.to_wkb(shapely.Point(1, 2)), infinite, b"rubbish"])
    assert [shape is None for shape in shapes] == [True, True, False, True, True]
    assert list(drawable([])) == []


def test_thinning_is_even_and_bounded():
    """At most the limit, from the first row to near the last."""
    rows = drawn_rows(100_001, limit=20_000)
    assert len(rows) <= 20_000 and rows[0] == 0 and rows[-1] > 99_000


def test_a_chart_tells_far_values_in_words():
    """A lost digit must not squeeze the rest into one bar, nor vanish."""
    near = histogram(np.linspace(1, 3, 1000), "shift [m]")
    far = histogram(np.append(np.linspace(1, 3, 1000), 50_000.0), "shift [m]")
    assert len(far.content) > len(near.content)


def test_a_picture_is_carried_inside_the_page():
    """No file beside the page, no address to ask."""
    assert Picture(b"<svg/>", "image/svg+xml").uri == "data:image/svg+xml;base64,PHN2Zy8+"


def test_a_close_up_lies_on_the_new_base_map_of_its_window(tmp_path):
    """Only what touches the window is read; without a base map, or with a broken one, the picture is drawn alone."""
    migration = with_base_map(make_migration(tmp_path), plots(100))
    near = read_new_map(migration, (350_000.0, 160_000.0, 350_040.0, 160_040.0))
    assert len(near) == 1 and near[0].equals(plots(1)[0])
    features = crowd(1)
    extent = close_up_extent(features.before[0], features.after[0])
    alone = close_up(features, 0, extent, "A")
    assert len(close_up(features, 0, extent, "A", near).content) > len(alone.content)
    migration.source(Path("sources/after.gpkg")).write_bytes(b"broken")
    assert len(read_new_map(migration, extent)) == 0
    assert len(read_new_map(make_migration(tmp_path / "without"), extent)) == 0


def with_base_map(migration: Migration, shapes: np.ndarray) -> Migration:
    """The migration with ``shapes`` as its new base map."""
    settings = migration.root / "migration.yaml"
    settings.write_text(settings.read_text() + "base_maps: {after: {file: sources/after.gpkg}}\n", encoding="utf-8")
    (migration.root / "sources").mkdir()
    pyogrio.raw.write(
        migration.root / "sources" / "after.gpkg",
        shapely.to_wkb(shapes),
        field_data=[],
        fields=[],
        geometry_type="Polygon",
        crs="EPSG:27700",
    )
    return Migration.open(migration.root)

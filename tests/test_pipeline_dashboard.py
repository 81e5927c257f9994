"""The pictures of the asset pages: as wide as their place, and drawn whatever there is to draw."""

import re
from itertools import pairwise

import numpy as np
import pytest
from outcomes import make_migration, plots, write_layer

from pipeline.breaks_file import write_breaks
from pipeline.pages import asset_pictures, dashboard
from pipeline.pages.dashboard import (
    STATUS_LOOKS,
    class_map,
    days_chart,
    layers_chart,
    methods_chart,
    reliability_chart,
    risk_chart,
    uncertainty_map,
)
from pipeline.pages.layer_pictures import read_control_places
from pipeline.pages.map_frame import as_drawn
from pipeline.pages.outcome import STATUSES, Counts
from qa.accuracy import Score
from qa.risk import measured_curve
from transforms.breaks import Breaks
from transforms.contract import Control
from transforms.similarity import Similarity

EXTENT = (350_000.0, 160_000.0, 351_000.0, 161_000.0)
WIDEST_PX = 320


def width_px(picture) -> float:
    """As a browser shows it: points are four thirds of a pixel."""
    return float(re.search(rb'<svg[^>]* width="([0-9.]+)pt"', picture.content)[1]) * 4 / 3


@pytest.fixture
def field():
    before = np.random.default_rng(0).uniform(EXTENT[:2], EXTENT[2:], (40, 2))
    return Similarity.fit(Control(before, before + 2.0))


DAYS = {
    "one": {"2026-11-23": 1},
    "two running": {"2026-11-23": 4, "2026-11-24": 9},
    "two apart": {"2026-11-23": 4, "2026-11-25": 9},
    "many": {f"2026-11-{day:02d}": 1000 + day for day in range(1, 28)},
    "once a month": {f"2026-{month:02d}-01": month for month in range(1, 13)},
}


@pytest.fixture
def figures(monkeypatch):
    """Every figure that is drawn meanwhile."""
    drawn = []
    monkeypatch.setattr(dashboard, "as_drawn", lambda figure: (drawn.append(figure), as_drawn(figure))[1])
    return drawn


def test_every_picture_fits_its_place_and_nothing_of_it_is_cut_off(field, figures):
    """A value has some 324 pixels on an asset page at a window of 1280; what is wider is cut off."""
    status = np.array([STATUSES[row % 4] for row in range(40)])
    pictures = [
        class_map(plots(40), status, STATUS_LOOKS, EXTENT),
        uncertainty_map(field, EXTENT, [], 1.0),
        methods_chart([Score("identity", 2.7, 2.5, 1.0, 0.9, 99), Score("affine", 0.2, 0.2, 1, 0.9, 99)], "affine"),
        reliability_chart([(0.5, 0.52), (0.95, 0.94)], {"overall": 0.95, "edge": float("nan")}),
        risk_chart(np.array([0.0, 0.02, np.nan]), np.array([False, True, True]), measured_curve(), 0.0134),
        layers_chart({"parks": Counts(1, 2, 3, 4), "trees": Counts(open=123_456)}),
        *map(days_chart, DAYS.values()),
    ]
    assert all(300 < width_px(picture) <= WIDEST_PX for picture in pictures)
    for figure in figures:
        inside = figure.get_tightbbox()
        assert min(inside.x0, inside.y0) > -0.02 and inside.x1 < figure.get_figwidth() + 0.02
        assert inside.y1 < figure.get_figheight() + 0.02


@pytest.mark.parametrize("days", DAYS)
def test_dates_below_the_days_do_not_run_into_one_another(days, figures):
    days_chart(DAYS[days])
    spans = [label.get_window_extent() for label in figures[0].axes[0].get_xticklabels()]
    assert all(left.x1 + 4 < right.x0 for left, right in pairwise(spans))


def test_the_scale_bar_lies_on_nothing_that_is_shown(figures):
    class_map(plots(40), np.full(40, "moved"), STATUS_LOOKS, EXTENT)
    (axes,) = figures[0].axes
    strip = axes.patches[-1].get_window_extent()
    assert strip.y1 <= axes.transData.transform(EXTENT[:2])[1] + 1
    assert all(strip.y0 < line.get_window_extent().y0 < strip.y1 for line in axes.lines)


def test_the_map_of_the_control_shows_the_breaks_it_was_judged_by(tmp_path):
    """Before a field is fitted too, and not those of the fit before."""
    migration = make_migration(tmp_path / "borough")
    middle = read_control_places(migration).places.mean(axis=0)
    drawn = set()
    for lines in ([], [], [np.add(middle, [[-600.0, 0.0], [600.0, 0.0]])]):
        write_breaks(migration.control_breaks, Breaks.from_lines(lines, (*(middle - 500.0), *(middle + 500.0))))
        drawn.add(asset_pictures.draw_control(migration).content)
    assert len(drawn) == 2


def test_pictures_of_a_layer_come_from_the_files_of_its_stages(tmp_path):
    """Before a field is fitted too; without a shape there is nothing to draw."""
    migration = make_migration(tmp_path / "borough")
    write_layer(migration, "parks")
    write_layer(migration, "trees", shapes=np.array([None] * 3, dtype=object), status=["unmoved"] * 3)
    assert asset_pictures.draw_outcome(migration, "parks") and asset_pictures.draw_verdicts(migration, "parks")
    assert asset_pictures.draw_outcome(migration, "trees") is None
    assert asset_pictures.draw_field(migration) is None
    assert asset_pictures.draw_board(migration, ["parks", "trees"])

"""The pictures of the asset pages: as wide as their place, and drawn whatever there is to draw."""

import re

import numpy as np
import pytest
from outcomes import make_migration, plots, write_layer

from pipeline.breaks_file import write_breaks
from pipeline.pages import asset_pictures
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
from pipeline.pages.outcome import STATUSES, Counts
from qa.accuracy import Score
from qa.risk import measured_curve
from transforms.breaks import Breaks
from transforms.contract import Control
from transforms.similarity import Similarity

EXTENT = (350_000.0, 160_000.0, 351_000.0, 161_000.0)
WIDEST_PX = 400


def width_px(picture) -> float:
    """As a browser shows it: points are four thirds of a pixel."""
    return float(re.search(rb'<svg[^>]* width="([0-9.]+)pt"', picture.content)[1]) * 4 / 3


@pytest.fixture
def field():
    before = np.random.default_rng(0).uniform(EXTENT[:2], EXTENT[2:], (40, 2))
    return Similarity.fit(Control(before, before + 2.0))


def test_every_picture_is_as_wide_as_its_place(field):
    """A value has some 410 pixels on an asset page at a window of 1440; what is wider is cut off."""
    status = np.array([STATUSES[row % 4] for row in range(40)])
    drawn = [
        class_map(plots(40), status, STATUS_LOOKS, EXTENT),
        uncertainty_map(field, EXTENT, [], 1.0),
        methods_chart([Score("identity", 2.7, 2.5, 1.0, 0.9, 99), Score("affine", 0.2, 0.2, 1, 0.9, 99)], "affine"),
        reliability_chart([(0.5, 0.52), (0.95, 0.94)], {"overall": 0.95, "edge": float("nan")}),
        risk_chart(np.array([0.0, 0.02, np.nan]), np.array([False, True, True]), measured_curve(), 0.0134),
        layers_chart({"parks": Counts(1, 2, 3, 4), "trees": Counts()}),
        days_chart({"2026-11-23": 4, "2026-11-25": 9}),
    ]
    assert all(350 < width_px(picture) <= WIDEST_PX for picture in drawn)


@pytest.mark.parametrize("days", [{"2026-11-23": 1}, {f"2026-{month:02d}-01": month for month in range(1, 13)}])
def test_days_are_drawn_for_one_as_for_many(days):
    """The first day of a review has no second to measure by."""
    assert width_px(days_chart(days)) <= WIDEST_PX


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

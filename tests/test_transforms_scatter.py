"""Scatter of the land: seen in how buildings differ, though the corners of each agree."""

from __future__ import annotations

import numpy as np

from transforms.contract import Control
from transforms.covariance import Covariance
from transforms.scatter import Scatter

COVARIANCE = Covariance(2000.0, 2.5, np.array([0.5, 0.5]), 0.01)


def village(building_m: float) -> Control:
    """Buildings 30 m apart with four corners each, every building moved a little of its own."""
    rng = np.random.default_rng(4)
    centre = np.stack(np.meshgrid(np.arange(20) * 30.0, np.arange(20) * 30.0), axis=-1).reshape(-1, 1, 2)
    before = (centre + np.array([[-4, -4], [4, -4], [4, 4], [-4, 4]])).reshape(-1, 2)
    own = np.repeat(rng.normal(0.0, building_m, (len(centre), 2)), 4, axis=0)
    return Control(before, before + own + rng.normal(0.0, 0.1 / np.sqrt(2.0), before.shape))


def excess(control: Control) -> np.ndarray:
    """As where the field follows each point: nothing is left over to see the scatter by."""
    nothing = np.zeros(len(control))
    return Scatter.of(control, COVARIANCE, np.zeros_like(control.before), nothing).excess_m2


def test_the_scatter_of_buildings_is_seen_past_their_own_corners() -> None:
    """Radial variance 2 x 0.4² between buildings, though three neighbours of four are corners of the same one."""
    excess_m2 = excess(village(0.4))
    assert 0.8 < np.mean(excess_m2) / (2 * 0.4**2) < 1.2


def test_where_nothing_scatters_nothing_is_added() -> None:
    """Of noise that the covariance foresees (0.01 m²) less than a tenth is taken for scatter of the land, by chance."""
    assert np.mean(excess(village(0.0))) < 0.1 * 0.01


def test_a_net_that_leans_does_not_scatter() -> None:
    """Another projection leans by metres over a village; that is the trend's, and none of the land's own."""
    control = village(0.0)
    leaning = Control(control.before, control.after + control.before @ np.array([[0.01, 0.002], [-0.002, 0.01]]))
    np.testing.assert_allclose(excess(leaning), excess(control), atol=1e-6)

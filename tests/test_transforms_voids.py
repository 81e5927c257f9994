"""Voids: land too large to be without control by chance, and what the field then says of itself."""

from __future__ import annotations

import numpy as np

from transforms.collocation import Collocation
from transforms.contract import Control
from transforms.voids import Voids

LOW = np.array([400000.0, 300000.0])
SIDE_M = 4000.0
MIDDLE = LOW + SIDE_M / 2


def control_around(is_left_out, seed=0):
    before = LOW + np.random.default_rng(seed).uniform(0, SIDE_M, (4000, 2))
    return before[~is_left_out(before - MIDDLE)]


def town(offset):
    return np.hypot(*offset.T) < 500.0


def strip(offset):
    return np.abs(offset[:, 0]) < 150.0


def test_an_area_that_did_not_move_is_a_void():
    """Half a kilometre without control where it stands 63 m apart: as likely as not the land stayed, rim included."""
    voids = Voids.of(control_around(town))
    inside = MIDDLE + np.array([[0.0, 0.0], [300.0, 200.0], [-480.0, 0.0]])
    outside = MIDDLE + np.array([[700.0, 0.0], [0.0, -900.0], [1500.0, 1500.0]])
    np.testing.assert_array_equal(voids.chance_at(inside), 0.5)
    np.testing.assert_array_equal(voids.chance_at(outside), 0.0)


def test_a_strip_without_links_is_no_void():
    """Links left out along a block's edge leave a strip, which the field crosses as before."""
    assert len(Voids.of(control_around(strip)).centre) == 0


def test_uniform_control_has_no_voids_whatever_its_density():
    """Chance gaps of 4,000 uniform points are none, wherever the origin lies."""
    before = control_around(lambda offset: np.zeros(len(offset), dtype=bool))
    assert len(Voids.of(before).centre) == 0
    assert len(Voids.of(before * 10.0 - 1e6).centre) == 0


def test_too_little_or_collinear_control_shows_no_void():
    """Few points, or all on a line, have no density to compare with."""
    along = np.linspace(0.0, 1e4, 300)
    for before in (np.empty((0, 2)), LOW[None], control_around(town)[:90], np.stack([along, along], axis=1)):
        assert len(Voids.of(before).centre) == 0


def test_no_number_is_in_no_void():
    """Places that are not finite get the chance 0, and no places get none."""
    voids = Voids.of(control_around(town))
    np.testing.assert_array_equal(voids.chance_at(np.array([[np.nan, 0.0], [np.inf, np.inf]])), 0.0)
    assert voids.chance_at(np.empty((0, 2))).shape == (0,)


def test_the_field_owns_up_to_the_shift_within_a_void():
    """The 95 % radius in the void reaches back to the old place; beyond its rim nothing changes, nor does a shift."""
    before = control_around(town)
    plain = Collocation.fit(Control(before, before + np.array([2.0, -2.0])))
    field = plain.restated(lambda places: np.ones(len(places)), 1.0, Voids.of(before))
    # The reach of control ends before the middle of so large a void.
    inside, outside = MIDDLE + np.array([[[0.0, 400.0]], [[0.0, 900.0]]])
    assert 1.73 * field.uncertainty(inside)[0] > np.hypot(2.0, 2.0)
    np.testing.assert_allclose(field.uncertainty(outside), plain.uncertainty(outside), atol=1e-6)
    np.testing.assert_allclose(field(np.vstack([inside, outside])), plain(np.vstack([inside, outside])), atol=1e-9)

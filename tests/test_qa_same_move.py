"""Base maps that do not show the move that the control shows, on a little map of which everything is known."""

import numpy as np
import pytest
from two_maps import SHIFT, base_maps

from qa.base_maps import BaseMaps
from qa.same_move import contradiction

RANDOM = np.random.default_rng(2)
WEST, EAST = RANDOM.uniform(50, 700, (200, 2)), RANDOM.uniform([950, 50], [1150, 1150], (200, 2))
TRUE = np.broadcast_to(SHIFT, WEST.shape)


@pytest.fixture(scope="module")
def base():
    return base_maps()


def test_base_maps_that_show_the_move_are_right_where_nothing_moved_too(base):
    places, shift = np.concatenate([WEST, EAST]), np.concatenate([TRUE, np.zeros_like(EAST)])
    assert contradiction(base, places, shift + RANDOM.normal(0, 0.2, shift.shape)) is None
    assert contradiction(base, EAST, np.zeros_like(EAST)) is None


def test_single_faults_of_the_control_are_no_contradiction(base):
    shift = TRUE.copy()
    shift[:60] = -shift[:60]
    assert contradiction(base, WEST, shift) is None


@pytest.mark.parametrize("edition", ["before", "after"])
def test_twice_the_same_edition_is_a_contradiction(base, edition):
    one = getattr(base, edition)
    found = contradiction(BaseMaps.of(one, one), WEST, TRUE)
    assert found is not None
    assert not found.is_opposite
    assert found.shown_m == 0.0
    assert found.said_m == pytest.approx(np.hypot(*SHIFT))


def test_exchanged_editions_and_exchanged_control_are_opposites(base):
    exchanged = contradiction(BaseMaps.of(base.after, base.before), WEST, TRUE)
    assert exchanged is not None
    assert exchanged.is_opposite
    reverse = contradiction(base, WEST, -TRUE)
    assert reverse is not None
    assert reverse.is_opposite


def test_a_move_that_only_the_base_maps_show_is_a_contradiction(base):
    found = contradiction(base, WEST, np.zeros_like(WEST))
    assert found is not None
    assert (found.said_m, found.is_opposite) == (0.0, False)


def test_few_places_and_those_far_from_the_base_maps_are_not_asked(base):
    assert contradiction(base, WEST[:19], -TRUE[:19]) is None
    assert contradiction(base, WEST[:20], -TRUE[:20]) is not None
    assert contradiction(base, WEST + 5000.0, -TRUE) is None
    assert contradiction(base, WEST, np.full_like(WEST, np.nan)) is None
    assert contradiction(base, WEST[:0], TRUE[:0]) is None

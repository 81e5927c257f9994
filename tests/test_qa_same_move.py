"""Base maps that do not show the move that the control shows, on a little map of which everything is known."""

import numpy as np
import pytest
import shapely
from two_maps import SHIFT, UNMOVED_EAST_OF, LittleField, base_maps, plots

from pipeline.control_input.derived import derive_control
from qa.base_maps import BaseMaps, Edition
from qa.same_move import Doubted, contradiction, show_no_move

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


def test_a_map_or_control_from_a_wrong_transformation_differs_by_the_same_all_over(base):
    by = np.array([-0.8, 0.6])
    noise = RANDOM.normal(0, 0.2, TRUE.shape)
    found = contradiction(base, WEST, TRUE + by + noise)
    assert found is not None
    assert found.offset_m == pytest.approx(tuple(by), abs=0.1)
    assert not found.is_opposite
    moved = shapely.transform(base.after.geometries, lambda points: points - by)
    found = contradiction(BaseMaps.of(base.before, Edition.of(moved, base.after.ids)), WEST, TRUE)
    assert found is not None
    assert found.offset_m == pytest.approx(tuple(by), abs=0.01)
    assert contradiction(base, WEST, TRUE + 0.25 * by + noise) is None
    assert contradiction(base, WEST, TRUE + np.where(WEST[:, :1] < 500, by, -by)) is None  # not the same all over


def test_only_twice_the_same_edition_shows_no_move(base):
    assert not show_no_move(base)
    assert show_no_move(BaseMaps.of(base.before, base.before))


def test_few_places_and_those_far_from_the_base_maps_are_not_asked(base):
    assert contradiction(base, WEST[:19], -TRUE[:19]) is None
    assert contradiction(base, WEST[:20], -TRUE[:20]) is not None
    assert contradiction(base, WEST + 5000.0, -TRUE) is None
    assert contradiction(base, WEST, np.full_like(WEST, np.nan)) is None
    assert contradiction(base, WEST[:0], TRUE[:0]) is None


def corners(count):
    """Corners of houses, where surveyors measure."""
    return RANDOM.choice(shapely.get_coordinates(plots()[1]), count)


def part_replaced(base):
    """The old edition with its south-western part replaced by the new one, as when tiles of it came early."""
    south_west = (shapely.bounds(base.before.geometries)[:, 2:] < 450).all(axis=1)
    mixed = np.where(south_west, base.after.geometries, base.before.geometries)
    return BaseMaps.of(Edition.of(mixed, base.before.ids), base.after)


def test_where_one_edition_holds_part_of_the_other_it_is_doubted_by_the_control_there(base):
    places = corners(600)
    moved = places[:, 0] < UNMOVED_EAST_OF
    shift = np.where(moved[:, None], SHIFT, 0.0) + RANDOM.normal(0, 0.1, places.shape)
    doubted = Doubted.of(part_replaced(base), places, shift)
    asked = RANDOM.uniform(20, 1180, (400, 2))
    inside, outside = (asked < 380).all(axis=1), (asked > 600).any(axis=1)
    assert doubted.at(asked)[inside].mean() > 0.95
    assert not doubted.at(asked)[outside].any()
    assert not Doubted.of(base, places, shift).at(asked).any()


def test_nothing_is_doubted_without_control_or_by_two_points_of_it(base):
    mixed = part_replaced(base)
    for count, expected in ((0, False), (2, False), (3, True)):
        places = shapely.get_coordinates(plots()[1][64])[:count]  # of a house in the south-west
        shift = np.broadcast_to(SHIFT, places.shape)
        assert Doubted.of(mixed, places, shift).at(np.array([[210.0, 210.0]])).tolist() == [expected]
    assert Doubted.of(mixed, places, shift).at(np.array([[3000.0, 210.0]])).tolist() == [False]
    assert len(Doubted.of(mixed, places, shift).at(np.empty((0, 2)))) == 0


def test_no_control_is_taken_from_where_an_edition_is_doubted(base):
    """It would say, in great number, that nothing moved."""
    places = corners(400)
    delivered = np.hstack([places, LittleField()(places)])
    rows = derive_control(part_replaced(base), delivered)
    old, new = rows.places[:, :2], rows.places[:, 2:]
    is_still = np.hypot(*(new - old).T) < 0.1
    assert len(old) > 100
    assert not (is_still & (old < 380).all(axis=1)).any()
    assert (is_still & (old[:, 0] > UNMOVED_EAST_OF)).any()

"""One edition of the base map at hand: what the other was is told by the shift, and how it moved by the control."""

import numpy as np
import pytest
import shapely
from two_maps import SHIFT, LittleField, is_west, on_new_map, plots

from qa.drawn_alike import Drawing
from qa.lone_edition import AT_A_BUILDING_M, AtLines, with_other_edition
from transforms.contract import Control

AREAS, HOUSES = (shapes[is_west(shapes)] for shapes in plots())
OLD = np.concatenate([shapely.boundary(AREAS), HOUSES])
CENTRES = shapely.get_coordinates(shapely.centroid(HOUSES))
NO_CONTROL = Control(np.array([[-5e3, -5e3]]), np.array([[-5e3, -5e3]]) + SHIFT)


class WestField(LittleField):
    """The little field, which can be gone back along, and is unsure north of a line."""

    def __init__(self, sure_south_of=np.inf):
        super().__init__()
        self._sure_south_of = sure_south_of

    def uncertainty(self, points):
        return np.where(points[:, 1] < self._sure_south_of, 0.1, 1.5)

    @property
    def inverse(self):
        return lambda points: points - SHIFT


def drawing(geometries):
    ids = np.array([f"osgb{number}" for number in range(len(geometries))], dtype=object)
    return Drawing(geometries, ids, np.full(len(geometries), ""))


def corners(of, noise_m=0.0, seed=1):
    """Control at every corner of houses of the old map, its new places scattered."""
    places = shapely.get_coordinates(of)
    scatter = np.random.default_rng(seed).normal(0, noise_m, places.shape)
    return Control(places, places + SHIFT + scatter)


@pytest.mark.parametrize("is_new", [True, False])
def test_the_other_edition_is_the_one_at_hand_carried_by_the_shift(is_new):
    at_hand = drawing(on_new_map(OLD) if is_new else OLD)
    base = with_other_edition(at_hand, WestField(), NO_CONTROL, is_new=is_new)
    assert base.is_lone
    assert shapely.equals_exact(base.before.geometries, OLD, tolerance=1e-6).all()
    assert shapely.equals_exact(base.after.geometries, on_new_map(OLD), tolerance=1e-6).all()
    assert base.area_after[:-1].tolist() == list(range(len(HOUSES)))
    assert np.allclose(base.matches.corner_after - base.matches.corner_before, SHIFT)
    assert base.surround(CENTRES[:50]).any()
    assert not base.surround(CENTRES[:1] - 5000.0).any()


def test_where_the_shift_is_unsure_nothing_is_compared():
    middle = np.median(CENTRES[:, 1])
    base = with_other_edition(drawing(on_new_map(OLD)), WestField(middle), NO_CONTROL, is_new=True)
    kept = shapely.bounds(base.before.geometries)
    assert 0 < len(kept) < len(OLD)
    assert kept[:, 3].max() < middle


def test_what_the_map_has_of_nulls_and_heights_does_no_harm():
    geometries = np.array([None, shapely.Polygon(), *shapely.force_3d(on_new_map(HOUSES), 7.0)], dtype=object)
    base = with_other_edition(drawing(geometries), WestField(), NO_CONTROL, is_new=True)
    assert shapely.equals_exact(base.before.geometries, HOUSES, tolerance=1e-6).all()


def test_how_the_map_moved_is_what_the_control_says_and_not_what_was_carried():
    """The shift says the same for all; by its control one house moved by half a metre more, as the new map shows."""
    own, others, more = corners(HOUSES[:1]), corners(HOUSES[1:]), np.array([0.5, 0.0])
    control = Control(np.concatenate([own.before, others.before]), np.concatenate([own.after + more, others.after]))
    new = on_new_map(OLD)
    new[len(AREAS)] = shapely.transform(new[len(AREAS)], lambda places: places + more)
    base = with_other_edition(drawing(new), WestField(), control, is_new=True)
    observed = base.observed_shift(CENTRES[:2])
    assert np.allclose(observed.shift, [SHIFT + more, SHIFT])
    assert observed.distance_m.tolist() == [0.0, 0.0]

    silent = with_other_edition(drawing(new), WestField(), NO_CONTROL, is_new=True)
    assert (silent.observed_shift(CENTRES[:2]).distance_m > 1000).all()


def test_a_single_point_at_a_house_is_believed_no_more_than_control_scatters_at_others():
    control = corners(HOUSES[1:], noise_m=0.3)
    single = Control(shapely.get_coordinates(HOUSES[0])[:1], shapely.get_coordinates(HOUSES[0])[:1] + SHIFT)
    control = Control(np.concatenate([control.before, single.before]), np.concatenate([control.after, single.after]))
    base = with_other_edition(drawing(on_new_map(OLD)), WestField(), control, is_new=True)
    assert base.observed_shift(CENTRES[:1]).spread_m[0] == pytest.approx(0.3 * np.sqrt(2), rel=0.15)

    alone = with_other_edition(drawing(on_new_map(OLD)), WestField(), single, is_new=True)
    assert 0.2 <= alone.observed_shift(CENTRES[:1]).spread_m[0] <= 0.5


def test_control_beside_a_house_is_not_of_it():
    corner = shapely.get_coordinates(HOUSES[0])[:1]
    away = (corner - CENTRES[:1]) / np.linalg.norm(corner - CENTRES[:1])
    for out_m, is_its_own in ((0.5 * AT_A_BUILDING_M, True), (2.0 * AT_A_BUILDING_M, False)):
        control = Control(corner + out_m * away, corner + out_m * away + SHIFT)
        base = with_other_edition(drawing(on_new_map(OLD)), WestField(), control, is_new=True)
        assert (base.observed_shift(CENTRES[:1]).distance_m[0] == 0.0) == is_its_own


def test_control_tells_which_edition_a_map_is():
    control = corners(HOUSES, noise_m=0.2)
    for is_new, shown in ((False, OLD), (True, on_new_map(OLD))):
        rightly = AtLines.of(drawing(shown), control, is_new=is_new)
        assert rightly.with_own.mean() > 0.95
        assert rightly.with_other.mean() < 0.2
        assert not rightly.deny(CENTRES).any()
        wrongly = AtLines.of(drawing(shown), control, is_new=not is_new)
        assert wrongly.with_own.mean() < 0.2
        assert wrongly.with_other.mean() > 0.95
        assert wrongly.deny(CENTRES).mean() > 0.9


def test_a_map_of_half_the_place_is_asked_only_there():
    west = OLD[shapely.bounds(OLD)[:, 2] < 300]
    at_lines = AtLines.of(drawing(west), corners(HOUSES, noise_m=0.2), is_new=False)
    assert at_lines.with_own.mean() > 0.95
    assert at_lines.places[:, 0].max() < 330
    assert not at_lines.deny(CENTRES).any()


@pytest.mark.parametrize("is_new", [True, False])
def test_the_part_of_a_map_that_is_the_other_edition_is_not_compared(is_new):
    """Tiles in the south were not replaced, or came too early."""
    of_other = shapely.bounds(OLD)[:, 3] < 500
    shown = np.where(of_other == is_new, OLD, on_new_map(OLD))
    base = with_other_edition(drawing(shown), WestField(), corners(HOUSES, noise_m=0.2), is_new=is_new)
    kept = np.isin([f"osgb{number}" for number in range(len(OLD))], base.before.ids)
    assert kept[shapely.bounds(OLD)[:, 1] > 700].all()
    assert not kept[shapely.bounds(OLD)[:, 3] < 400].any()


def test_control_that_did_not_move_lies_on_both_maps_and_control_beside_all_lines_on_neither():
    places = shapely.get_coordinates(HOUSES)
    still = AtLines.of(drawing(OLD), Control(places, places + 0.2), is_new=True)
    assert still.with_own.all() and still.with_other.all()
    beside = AtLines.of(drawing(OLD), Control(CENTRES, CENTRES + SHIFT), is_new=True)
    assert not beside.with_own.any() and not beside.with_other.any()

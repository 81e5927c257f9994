"""Where the base maps show all there is, by the control, on the little map."""

import numpy as np
import pytest
import shapely
from two_maps import base_maps, on_new_map, plots

from qa.base_maps import BaseMaps, Edition
from qa.whole_maps import WholeMaps

CORNERS = np.unique(shapely.get_coordinates(plots()[0]), axis=0)
ON_NEW = shapely.get_coordinates(on_new_map(shapely.points(CORNERS)))
MIDDLE = np.array([[600.0, 600.0]])


@pytest.fixture(scope="module")
def base():
    return base_maps()


def test_maps_on_whose_lines_the_control_lies_are_whole(base):
    places = np.concatenate([CORNERS, CORNERS + 30.0])
    assert WholeMaps.of(base, CORNERS, ON_NEW).at(places).all()


@pytest.mark.parametrize("lacking", ["old", "new"])
def test_a_map_that_lacks_lines_is_not_whole(base, lacking):
    buildings = Edition.of(plots()[1], np.arange(400).astype(object))
    maps = BaseMaps.of(buildings, base.after) if lacking == "old" else BaseMaps.of(base.before, buildings)
    assert not WholeMaps.of(maps, CORNERS, ON_NEW).at(CORNERS).any()


def test_a_part_of_the_map_may_be_whole(base):
    ids, drawn = np.arange(800).astype(object), base.before.geometries
    western = shapely.bounds(drawn)[:, 2] < 600.0
    maps = BaseMaps.of(Edition.of(drawn[western], ids[western]), base.after)
    is_whole = WholeMaps.of(maps, CORNERS, ON_NEW).at(CORNERS)
    assert is_whole[CORNERS[:, 0] < 400.0].all()
    assert not is_whole[CORNERS[:, 0] > 800.0].any()


def test_where_no_control_is_near_nobody_knows(base):
    far = np.array([[9000.0, 9000.0], [np.nan, 0.0]])
    assert not WholeMaps.of(base, CORNERS, ON_NEW).at(far).any()
    nothing = np.empty((0, 2))
    assert not WholeMaps.of(base, nothing, nothing).at(MIDDLE).any()
    assert len(WholeMaps.of(base, CORNERS, ON_NEW).at(nothing)) == 0

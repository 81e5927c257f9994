"""Nothing is lost, and if it is, it shows."""

import numpy as np
import pytest
import shapely

from qa.completeness import changed_type, lost_geometry, require_the_same_rows
from transforms.errors import SourceError

POINT, AREA = shapely.Point(1, 2), shapely.box(0, 0, 1, 1)


def features(*geometries):
    return np.array([*geometries, None], dtype=object)[:-1]


def test_a_geometry_that_vanishes_is_lost_and_a_null_one_is_not():
    assert lost_geometry(features(AREA, AREA, None), features(AREA, shapely.Polygon(), None)).tolist() == [
        False,
        True,
        False,
    ]


def test_an_area_that_became_a_line_changed_its_type_and_a_multipart_did_not():
    after = features(AREA.exterior, shapely.MultiPolygon([AREA]), POINT)
    assert changed_type(features(AREA, AREA, POINT), after).tolist() == [True, False, False]


@pytest.mark.parametrize("after", [[0, 1], [0, 2, 1], [0, 1, 2, 3]])
def test_missing_swapped_or_added_rows_stop_the_layer(after):
    with pytest.raises(SourceError, match="trees"):
        require_the_same_rows(np.array([0, 1, 2]), np.array(after), "trees")


def test_the_same_rows_pass():
    require_the_same_rows(np.arange(3), np.arange(3), "trees")

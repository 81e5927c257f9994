"""Which features have rounded coordinates, and which only happen to lie on multiples."""

import numpy as np
import pytest
import shapely

from qa.rounding import is_rounded

CORNER = np.array([354_000.0, 155_000.0])


def points(count, step, seed=1):
    places = CORNER + np.random.default_rng(seed).uniform(0, 9000, (count, 2))
    return shapely.points(step * np.round(places / step))


def plots(count, step, seed=1):
    random = np.random.default_rng(seed)
    places = CORNER + random.uniform(0, 9000, (count, 1, 2)) + random.uniform(-30, 30, (count, 4, 2))
    hulls = shapely.convex_hull(shapely.multipoints(places))
    return shapely.transform(hulls, lambda corners: step * np.round(corners / step))


def rounded(geometries, group=None, least_m=2.0):
    return is_rounded(geometries, np.zeros(len(geometries), dtype=int) if group is None else group, least_m, 1.0)


@pytest.mark.parametrize("make", [points, plots])
@pytest.mark.parametrize("count", [3, 100, 2000])
def test_rounded_layers_are_told_from_finely_written_ones(make, count):
    for step in (0.001, 0.01, 0.1, 0.25):
        assert rounded(make(count, step)).mean() < 0.01
    for step in (2.0, 2.5, 5.0, 10.0, 25.0, 100.0):
        assert rounded(make(count, step)).all()


def test_the_middles_of_squares_count_as_rounded():
    middles = shapely.transform(points(50, 4.0), lambda places: places + 2.0)
    assert rounded(middles, least_m=4.0).all()
    assert rounded(shapely.transform(points(50, 2.0), lambda places: places + 1.0)).all()


def test_whole_metres_are_fine_enough_though_some_are_multiples_of_five_by_chance():
    assert rounded(points(2000, 1.0)).mean() == pytest.approx(1 / 25, abs=0.01)
    assert rounded(points(2000, 0.5)).mean() < 0.03
    assert rounded(plots(2000, 1.0)).mean() < 0.02
    even = np.all(shapely.get_coordinates(points(2000, 1.0)) % 2 == 0, axis=1)
    assert rounded(points(2000, 1.0))[even].mean() < 0.1  # a quarter are even, as many as by chance


def test_many_more_than_by_chance_are_rounded():
    mixed = np.concatenate([points(1500, 1.0), points(500, 2.0, seed=2)])
    assert rounded(mixed)[1500:].all()


def test_a_few_rounded_records_among_fine_ones_are_found_one_by_one():
    mixed = np.concatenate([points(990, 0.01), points(10, 10.0, seed=2), plots(200, 0.01), plots(1, 5.0, seed=3)])
    assert np.flatnonzero(rounded(mixed)).tolist() == [*range(990, 1000), 1200]


def test_records_rounded_to_more_say_nothing_of_a_smaller_step():
    even = shapely.points(CORNER + np.array([[26.0, 196.0], [152.0, 70.0]]))  # by chance, as one in ten thousand is
    mixed = np.concatenate([points(1000, 0.01), points(15, 10.0, seed=2), even])
    assert np.flatnonzero(rounded(mixed)).tolist() == [*range(1000, 1015)]


def test_a_method_is_told_by_itself():
    mixed = np.concatenate([points(900, 1.0), points(100, 2.0, seed=2)])
    by_method = rounded(mixed, group=np.repeat([0, 1], [900, 100]))
    assert by_method[900:].all()
    assert by_method[:900].mean() < 0.06
    assert not rounded(np.concatenate([points(9000, 1.0), points(30, 2.0, seed=2)]))[9000:].all()  # lost among many


def test_the_limit_is_the_smallest_step():
    layer = points(100, 2.0)
    assert rounded(layer, least_m=2.0).all()
    assert rounded(layer, least_m=3.0).mean() < 0.2
    assert rounded(points(100, 3.0), least_m=3.0).all()
    assert rounded(points(100, 1.0), least_m=1.0).mean() < 0.06  # by that alone nothing is a metre off


def test_what_has_no_place_is_not_rounded():
    nowhere = shapely.transform(shapely.LineString([(0, 0), (10, 10)]), lambda places: places * np.nan)
    assert rounded(np.array([None, shapely.Point(), nowhere, shapely.Point(354_000, 155_000)])).tolist() == [
        False,
        False,
        False,
        True,
    ]
    assert len(rounded(np.array([], dtype=object))) == 0

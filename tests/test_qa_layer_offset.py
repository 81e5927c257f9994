"""Layers that lie beside both maps all alike, on a little map of which everything is known."""

import numpy as np
import pytest
import shapely
from two_maps import SHIFT, base_maps, is_west, on_new_map, plots

from qa.layer_offset import displaced_by_m

BY = np.array([3.0, -2.0])


@pytest.fixture(scope="module")
def base():
    return base_maps()


@pytest.fixture(scope="module")
def layers():
    areas, buildings = plots()
    west = is_west(areas)
    centres = shapely.get_coordinates(shapely.centroid(buildings[west]))
    addresses = shapely.points(centres + np.random.default_rng(4).normal(0, 0.3, centres.shape))
    return {"outlines": areas[west], "addresses": addresses}


def moved(geometries, by):
    return shapely.transform(geometries, lambda points: points + by)


def found(geometries, base, groups=()):
    are_points = bool(shapely.get_dimensions(geometries[0]) == 0)
    everything = np.zeros(len(geometries), dtype=int)
    return displaced_by_m(geometries, base, are_points, (everything, *groups))


@pytest.mark.parametrize("kind", ["outlines", "addresses"])
@pytest.mark.parametrize("edition", ["old", "new"])
def test_a_displaced_layer_is_found_with_its_displacement(base, layers, kind, edition):
    """Away from the other map, on which an address would still be in its house."""
    geometries, by = (layers[kind], -2 * BY) if edition == "old" else (on_new_map(layers[kind]), 2 * BY)
    by_m = found(moved(geometries, by), base)
    assert len(np.unique(by_m, axis=0)) == 1
    from_other_map = by + (SHIFT if edition == "new" else -SHIFT)  # the little map was shifted alike all over
    assert min(np.linalg.norm(by_m[0] - each) for each in (by, from_other_map)) < 0.2


@pytest.mark.parametrize("kind", ["outlines", "addresses"])
def test_a_layer_that_lies_on_either_map_or_partly_on_both_is_not_displaced(base, layers, kind):
    geometries = layers[kind]
    both = np.where(np.arange(len(geometries)) % 2, geometries, on_new_map(geometries))
    for each in (geometries, on_new_map(geometries), both):
        assert np.isnan(found(each, base)).all()


def test_what_was_captured_in_one_way_is_found_within_a_layer_that_is_in_place(base, layers):
    geometries, way = layers["outlines"].copy(), np.zeros(len(layers["outlines"]), dtype=int)
    way[:12] = 1
    geometries[:12] = moved(geometries[:12], BY)
    by_m = found(geometries, base, groups=(way,))
    np.testing.assert_allclose(by_m[:12], np.broadcast_to(BY, (12, 2)), atol=0.3)
    assert np.isnan(by_m[12:]).all()
    assert np.isnan(found(geometries, base)).all()


def test_what_stands_anywhere_is_not_displaced(base):
    random = np.random.default_rng(5)
    assert np.isnan(found(shapely.points(random.uniform(60, 700, (200, 2))), base)).all()
    corners = random.uniform(60, 700, (200, 1, 2)) + random.uniform(-30, 30, (200, 3, 2))
    assert np.isnan(found(shapely.polygons(corners), base)).all()


def test_few_features_and_none_are_not_displaced(base, layers):
    assert np.isnan(found(moved(layers["outlines"][:4], BY), base)).all()
    assert np.isfinite(found(moved(layers["outlines"][:5], BY), base)).all()
    assert len(displaced_by_m(np.array([], dtype=object), base, False, ())) == 0
    assert np.isnan(found(np.array([shapely.Point(), None], dtype=object), base)).all()


def test_shapes_that_are_no_outlines_are_passed_over(base, layers):
    """Beside the layer's outlines, which are found as they are without them."""
    nowhere = shapely.from_wkt("LINESTRING (0 0, 1 1)")
    nowhere = shapely.transform(nowhere, lambda points: points * np.nan)
    odd = [None, shapely.Polygon(), shapely.GeometryCollection([shapely.box(0, 0, 9, 9)]), nowhere]
    still = shapely.LineString([(0, 0), (0, 0)])
    by_m = found(np.array([*moved(layers["outlines"], BY), *odd, still], dtype=object), base)
    np.testing.assert_allclose(by_m[:20], np.broadcast_to(BY, (20, 2)), atol=0.3)


def test_the_order_of_the_delivery_does_not_matter(base, layers):
    geometries = moved(layers["outlines"], BY)
    order = np.random.default_rng(6).permutation(len(geometries))
    np.testing.assert_allclose(found(geometries[order], base), found(geometries, base)[order])

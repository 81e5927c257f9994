"""Layers that lie beside both maps all alike, on a little map of which everything is known."""

import numpy as np
import pytest
import shapely
from two_maps import SHIFT, base_maps, is_west, on_new_map, plots

from qa.layer_offset import displaced

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
    return displaced(geometries, base, are_points, (everything, *groups)).by_m


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


def test_sheets_placed_wrongly_are_found_each_with_its_own_displacement(base, layers):
    for kind in ("outlines", "addresses"):
        geometries, is_south = layers[kind].copy(), shapely.bounds(layers[kind])[:, 3] < 500
        is_north = shapely.bounds(layers[kind])[:, 1] > 500
        geometries[is_south] = moved(geometries[is_south], 2 * BY)
        everything = np.zeros(len(geometries), dtype=int)
        result = displaced(geometries, base, kind == "addresses", (everything,))
        np.testing.assert_allclose(np.median(result.by_m[is_south], axis=0), 2 * BY, atol=0.3)
        assert np.isfinite(result.by_m[is_south]).mean() > 0.9
        assert np.isnan(result.by_m[is_north]).all()
        assert result.is_suspect[is_north].mean() < 0.1  # each lies as it should, or an address nearly so


@pytest.mark.parametrize("kind", ["outlines", "addresses"])
@pytest.mark.parametrize("share", [0.1, 0.3])
def test_what_somebody_shifted_here_and_there_by_the_mean_is_found_though_some_lies_on_the_new_map(
    base, layers, kind, share
):
    geometries, by = layers[kind].copy(), 1.3 * SHIFT
    is_shifted = np.random.default_rng(8).random(len(geometries)) < share
    geometries[is_shifted] = moved(geometries[is_shifted], by)
    by_m = found(geometries, base)
    assert np.isfinite(by_m[is_shifted]).mean() > 0.95
    np.testing.assert_allclose(np.nanmedian(by_m, axis=0), by, atol=0.5)
    assert np.isnan(by_m[~is_shifted]).mean() > 0.9


@pytest.mark.parametrize("kind", ["outlines", "addresses"])
def test_what_lies_beside_the_maps_each_in_its_own_direction_is_not_displaced(base, layers, kind):
    geometries, random = layers[kind].copy(), np.random.default_rng(9)
    for row in np.flatnonzero(random.random(len(geometries)) < 0.3):
        angle, far = random.uniform(0, 2 * np.pi), random.uniform(2, 6)
        geometries[row] = moved(geometries[row], far * np.array([np.cos(angle), np.sin(angle)]))
    assert np.isnan(found(geometries, base)).all()


def test_where_much_is_displaced_the_rest_has_to_show_that_it_is_not(base, layers):
    geometries, bounds = layers["outlines"].copy(), shapely.bounds(layers["outlines"])
    is_south, lone = bounds[:, 3] < 500, np.flatnonzero(bounds[:, 1] > 1000)[:2]
    geometries[is_south] = moved(geometries[is_south], BY)
    geometries[lone[0]] = moved(geometries[lone[0]], -2 * BY)
    everything = np.zeros(len(geometries), dtype=int)
    result = displaced(geometries, base, False, (everything,))
    assert result.is_suspect[lone].tolist() == [True, False]
    assert not result.is_suspect[is_south & np.isfinite(result.by_m[:, 0])].any()
    alone = displaced(geometries[~is_south], base, False, (everything[~is_south],))
    assert not alone.is_suspect.any()  # that one is off is seen elsewhere


def test_a_displaced_method_puts_no_suspicion_on_the_others(base, layers):
    geometries, way = layers["outlines"].copy(), np.arange(len(layers["outlines"])) % 2
    geometries[way == 1] = moved(geometries[way == 1], BY)
    geometries[0] = moved(geometries[0], -2 * BY)
    result = displaced(geometries, base, False, (way,))
    assert np.isfinite(result.by_m[way == 1]).all()
    assert not result.is_suspect.any()


def test_addresses_displaced_by_less_than_half_a_house_are_found_by_its_middle(base, layers):
    by = np.array([-1.2, 0.9])
    by_m = found(moved(layers["addresses"], by), base)
    np.testing.assert_allclose(by_m, np.broadcast_to(by, by_m.shape), atol=0.2)


def trees(layers, seed=7):
    """Along the fences, half a metre to one and a half off them, and some anywhere."""
    random = np.random.default_rng(seed)
    fences = np.repeat(shapely.boundary(layers["outlines"]), 3)
    on_fence = shapely.get_coordinates(
        shapely.line_interpolate_point(fences, random.uniform(0, 1, len(fences)), normalized=True)
    )
    turn, off = random.uniform(0, 2 * np.pi, len(fences)), random.uniform(0.5, 1.5, len(fences))
    beside = on_fence + off[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return shapely.points(np.concatenate([beside, random.uniform(60, 700, (100, 2))]))


def test_trees_that_stand_freely_are_found_by_their_distances_from_fences(base, layers):
    assert np.isnan(found(trees(layers), base)).all()
    assert np.isnan(found(on_new_map(trees(layers)), base)).all()
    by_m = found(moved(trees(layers), -2 * BY), base)
    in_building = np.isnan(by_m[:, 0])
    assert in_building.mean() < 0.1  # of what stands in a building its centre tells
    np.testing.assert_allclose(by_m[~in_building], np.broadcast_to(-2 * BY, (int((~in_building).sum()), 2)), atol=1.1)


def test_an_avenue_is_not_displaced_though_all_of_it_would_stand_on_one_fence_elsewhere(base, layers):
    random, fence = np.random.default_rng(8), shapely.get_coordinates(layers["outlines"][5])[:2]
    along = fence[0] + np.linspace(0.05, 0.95, 60)[:, None] * (fence[1] - fence[0])
    across = np.array([[0.0, -1.0], [1.0, 0.0]]) @ (fence[1] - fence[0]) / np.linalg.norm(fence[1] - fence[0])
    avenue = along + random.normal(4.0, 0.3, (60, 1)) * across
    assert np.isnan(found(shapely.points(avenue), base)).all()


def test_what_stands_anywhere_is_not_displaced(base):
    random = np.random.default_rng(5)
    assert np.isnan(found(shapely.points(random.uniform(60, 700, (200, 2))), base)).all()
    corners = random.uniform(60, 700, (200, 1, 2)) + random.uniform(-30, 30, (200, 3, 2))
    assert np.isnan(found(shapely.polygons(corners), base)).all()


def test_few_features_and_none_are_not_displaced(base, layers):
    assert np.isnan(found(moved(layers["outlines"][:4], BY), base)).all()
    assert np.isfinite(found(moved(layers["outlines"][:5], BY), base)).all()
    assert len(displaced(np.array([], dtype=object), base, False, ()).by_m) == 0
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

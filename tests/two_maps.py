"""A little base map in two editions for tests: plots with a building each; the western part moved, the eastern not."""

from __future__ import annotations

import numpy as np
import shapely

from qa.base_maps import BaseMaps, Edition

SHIFT = np.array([2.2, -1.6])
UNMOVED_EAST_OF = 900.0
PLOTS = 20
PLOT_M = 60.0


class LittleField:
    """The true shift of the little map, as a shift field."""

    def __init__(self, uncertainty_m: float = 0.1) -> None:
        self._uncertainty_m = uncertainty_m

    def __call__(self, points):
        return points + np.where(points[:, :1] < UNMOVED_EAST_OF, SHIFT, 0.0)

    def uncertainty(self, points):
        return np.full(len(points), self._uncertainty_m)

    def piece(self, points):
        return np.zeros(len(points), dtype=int)

    def in_piece(self, points, piece):
        return self(points)

    def control_distance_m(self, points):
        return np.full(len(points), 20.0)

    @property
    def inverse(self):
        raise NotImplementedError


def plots(seed: int = 1):
    """Plots and buildings on the old map, ``(400,)`` each; corners irregular, so that nothing repeats."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(PLOTS + 1), np.arange(PLOTS + 1), indexing="ij"), axis=2) * PLOT_M
    corners = grid + random.uniform(-12, 12, grid.shape)
    rings = [
        [corners[i, j], corners[i + 1, j], corners[i + 1, j + 1], corners[i, j + 1]]
        for i in range(PLOTS)
        for j in range(PLOTS)
    ]
    areas = np.array([shapely.Polygon(ring) for ring in rings])
    centres = shapely.get_coordinates(shapely.centroid(areas)) + random.uniform(-5, 5, (len(areas), 2))
    sides, turns = random.uniform(5, 9, (len(areas), 2)), random.uniform(0, 90, len(areas))
    boxes = shapely.box(*(centres - sides).T, *(centres + sides).T)
    buildings = [shapely.affinity.rotate(box, turn) for box, turn in zip(boxes, turns, strict=True)]
    return areas, np.array(buildings)


def on_new_map(geometries):
    """The same geometries where the new map shows them."""
    return shapely.transform(geometries, LittleField())


def base_maps() -> BaseMaps:
    areas, buildings = plots()
    old = np.concatenate([shapely.boundary(areas), buildings])
    ids = np.array([f"osgb{number}" for number in range(len(old))], dtype=object)
    return BaseMaps.of(Edition.of(old, ids), Edition.of(on_new_map(old), ids))


def is_west(geometries):
    """Well inside the part that moved."""
    return shapely.bounds(geometries)[:, 2] < UNMOVED_EAST_OF - 150

"""How closely features lie on the lines of a base map: two distances per feature, and the classes they fall in.

A shape is described by the distances of its vertices to the nearest line (median and 80th percentile), a point by its
distance to the nearest line and to the nearest building's centre.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from scipy.special import erf

from qa.base_maps import Edition, Geometries
from transforms.complex_places import is_place
from transforms.contract import Points

CLASS_BOUNDS_M = np.array([0.015, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0])
"""Bounds of the distance classes, from the rounding of the files to well beyond any shift."""

CLASSES = len(CLASS_BOUNDS_M) + 1
OUTER_CLASSES = 2 * CLASSES
"""Classes of the second distance: each once for features whose middle lies in a building and once for all others."""

CELLS = CLASSES * OUTER_CLASSES
FARTHEST = (CLASSES - 1) * OUTER_CLASSES + CLASSES - 1
"""The class of what lies near nothing."""

NEIGHBOURS = (0.25, 0.5, 0.25)
"""What each class of a distance takes of the one below, of its own and of the one above, where they are smoothed."""

MOST_VERTICES = 64
_ALONG_M = 1.0
ALONG, LIES = 2, 4
"""Of the numbers of ``lie_of_class`` those from the first on are of shapes along lines; there are so many in all."""
_ROW_WEIGHT = 20.0


@dataclass(frozen=True)
class Vertices:
    """Some vertices of each feature, evenly taken: enough to tell what it was traced from.

    Parameters
    ----------
    points
        ``(m, 2)`` easting, northing in metres.
    feature
        ``(m,)`` row of the feature each belongs to, ascending.
    count
        Number of features.
    """

    points: Points
    feature: NDArray[np.int_]
    count: int

    @classmethod
    def of(cls, geometries: Geometries, most: int = MOST_VERTICES) -> Vertices:
        """At most ``most`` vertices of every geometry; null and empty ones have none."""
        points, feature = shapely.get_coordinates(geometries, return_index=True)
        chosen = evenly_chosen(feature, len(geometries), most) & is_place(points)
        return cls(points[chosen], feature[chosen], len(geometries))

    def take(self, rows: NDArray[np.bool_]) -> Vertices:
        """Those of ``rows`` ``(m,)``."""
        return Vertices(self.points[rows], self.feature[rows], self.count)

    def displaced(self, by: Points) -> Vertices:
        """The same vertices with each feature moved as a whole by its row of ``by`` ``(count, 2)``."""
        return Vertices(self.points + by[self.feature], self.feature, self.count)

    def quantile(self, values: NDArray[np.float64], share: float) -> NDArray[np.float64]:
        """A quantile of ``values`` ``(m,)`` for each feature, ``(count,)``; NaN for a feature without vertices."""
        order = np.lexsort((values, self.feature))
        of_feature = np.bincount(self.feature, minlength=self.count)
        first = np.cumsum(of_feature) - of_feature
        rank = np.minimum(np.ceil(share * of_feature).astype(int), of_feature) - 1
        result = np.full(self.count, np.nan)
        has = of_feature > 0
        result[has] = values[order[(first + rank)[has]]]
        return result

    def mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean of ``values`` ``(m,)`` for each feature, ``(count,)``; NaN for a feature without vertices."""
        total = np.bincount(self.feature, weights=values, minlength=self.count)
        of_feature = np.bincount(self.feature, minlength=self.count)
        return np.divide(total, of_feature, out=np.full(self.count, np.nan), where=of_feature > 0)

    def middle(self) -> Points:
        """The mean place ``(count, 2)`` of each feature's vertices; NaN for a feature without vertices."""
        return np.stack([self.mean(self.points[:, 0]), self.mean(self.points[:, 1])], axis=1)


def evenly_chosen(feature: NDArray[np.int_], count: int, most: int = MOST_VERTICES) -> NDArray[np.bool_]:
    """Which of the vertices ``(m,)`` to take so that each of ``count`` features has at most ``most``, evenly."""
    of_feature = np.bincount(feature, minlength=count)
    first = np.cumsum(of_feature) - of_feature
    place = np.arange(len(feature)) - first[feature]
    share = np.minimum(most / np.maximum(of_feature, 1), 1.0)[feature]
    return np.asarray(np.floor((place + 1) * share) > np.floor(place * share))


def evenly_placed(rows: NDArray[np.int_], places: Points, most: int) -> NDArray[np.int_]:
    """At most ``most`` of ``rows`` of the features at ``places`` ``(n, 2)``, evenly taken from west to east or south to
    north, in whatever order the features are delivered.
    """
    by_place = rows[np.lexsort(places[rows].T)]
    return by_place[:: max(1, -(-len(rows) // most))]


def coincidence_m(vertices: Vertices, edition: Edition, are_points: bool) -> NDArray[np.float64]:
    """The two distances ``(n, 2)`` in metres that describe how each feature lies on ``edition``; from lines beyond the
    last class it is infinite.

    Parameters
    ----------
    vertices
        The features' vertices.
    edition
        The edition of the base map they are compared with.
    are_points
        True for points (line and building centre), False for lines and areas (median and 80th percentile).
    """
    distance = edition.line_distance_m(vertices.points, within_m=CLASS_BOUNDS_M[-1])
    if are_points:
        centre = edition.centre_distance_m(vertices.points)
        return np.stack([vertices.quantile(distance, 0.5), vertices.quantile(centre, 0.5)], axis=1)
    return np.stack([vertices.quantile(distance, 0.5), vertices.quantile(distance, 0.8)], axis=1)


def distance_class(distances_m: NDArray[np.float64], in_building: NDArray[np.bool_]) -> NDArray[np.int_]:
    """One number ``(n,)`` for the pair of classes that ``(n, 2)`` distances fall in; NaN counts as far.

    ``in_building`` ``(n,)`` tells what lies about a building from what lies beside one: an address point is drawn into
    its building and a plot or a group of trees about it, and what was misplaced hardly ever lies about another.
    """
    each = np.searchsorted(CLASS_BOUNDS_M, np.nan_to_num(distances_m, nan=np.inf))
    return np.asarray(each[:, 0] * OUTER_CLASSES + each[:, 1] + CLASSES * in_building)


def inside_of_class(cell: NDArray[np.int_]) -> NDArray[np.int_]:
    """1 for the classes of features whose middle lies in a building, 0 for all others, ``(n,)``."""
    return np.asarray(cell % OUTER_CLASSES >= CLASSES).astype(int)


def lies_along(cell: NDArray[np.int_]) -> NDArray[np.bool_]:
    """Whether at least four fifths of a shape's vertices lie within a metre of lines, by its class, ``(n,)``."""
    return np.asarray(cell % CLASSES < np.searchsorted(CLASS_BOUNDS_M, _ALONG_M, side="right"))


def lie_of_class(cell: NDArray[np.int_], are_points: bool) -> NDArray[np.int_]:
    """How features lie by their class, ``(n,)``: 1 about a building, 0 elsewhere, and 2 more for shapes along lines."""
    return inside_of_class(cell) + ALONG * (lies_along(cell) & (not are_points))


def is_in_building(vertices: Vertices, edition: Edition) -> NDArray[np.bool_]:
    """Whether the middle of each feature lies in a building of ``edition``, ``(n,)``."""
    inside = np.zeros(vertices.count, dtype=bool)
    middle = vertices.middle()
    there = np.flatnonzero(np.isfinite(middle[:, 0]))
    inside[there] = edition.area_at(middle[there]) >= 0
    return inside


def product_of_margins(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The shares ``(CELLS,)`` that counts would have if their two distances had nothing to do with one another."""
    table = counts.reshape(CLASSES, OUTER_CLASSES) / counts.sum()
    return np.asarray(np.outer(table.sum(axis=1), table.sum(axis=0)).ravel())


def spread_to_neighbours(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The counts ``(CELLS,)`` if in each distance a quarter fell in the class below and a quarter in that above.

    Who draws 2 to 4 m from a line might as well have drawn 1 to 2 m from it.
    """
    table = counts.reshape(CLASSES, 2, CLASSES)
    for axis in (0, 2):
        table = correlate1d(table, NEIGHBOURS, axis=axis, mode="constant")
    return np.asarray(table.ravel())


def smoothed(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares ``(CELLS,)`` from few counts: a tenth comes from the margins and a hundredth from everywhere."""
    margins = product_of_margins(counts + 1.0 / CELLS)
    return np.asarray(0.89 * counts / max(counts.sum(), 1.0) + 0.1 * margins + 0.01 / CELLS)


def smoothed_rows(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares ``(k, CELLS)`` from counts of each row; a row with few of them takes the rest from all together."""
    both = smoothed(counts.sum(axis=0))
    weight = (counts.sum(axis=1) / (counts.sum(axis=1) + _ROW_WEIGHT))[:, None]
    return np.asarray(weight * np.stack([smoothed(row) for row in counts]) + (1.0 - weight) * both)


def traced_shares(anywhere: NDArray[np.float64], are_points: bool) -> NDArray[np.float64]:
    """The shares ``(CELLS,)`` of features traced along lines, by hands of three degrees of care.

    Half-normal distances with 0.01, 0.05 and 0.2 m; a point's distance to a building's centre, and how many lie about a
    building, are as ``anywhere``.
    """
    outer = anywhere.reshape(CLASSES, OUTER_CLASSES).sum(axis=0)
    if are_points:
        return np.asarray(np.outer(np.mean([_half_normal(sd) for sd in (0.01, 0.05, 0.2)], axis=0), outer).ravel())
    in_building = outer[CLASSES:].sum()
    tables = [
        np.outer(_half_normal(0.7 * sd), np.kron([1.0 - in_building, in_building], _half_normal(1.3 * sd)))
        for sd in (0.01, 0.05, 0.2)
    ]
    return np.asarray(np.mean(tables, axis=0).ravel())


def _half_normal(sd_m: float) -> NDArray[np.float64]:
    below = np.concatenate([[0.0], erf(CLASS_BOUNDS_M / (sd_m * np.sqrt(2.0))), [1.0]])
    return np.asarray(np.diff(below))

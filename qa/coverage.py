"""A coverage before and after a move: shared edges, hanging nodes, gaps and overlaps, and edges against exact images.

Whether neighbours still fit together is measured on the whole layer; what parted is named feature by feature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from transforms.contract import Points
from transforms.densify import Image
from transforms.nodes import NODE_TOLERANCE_M, PlaceIndex

Geometries = NDArray[np.object_]

LOOK_M = 2.0
"""How far apart an edge is compared with the exact image of the old edge [m]."""


@dataclass(frozen=True)
class Fit:
    """How well the polygons of a layer fit together; all areas in square metres.

    Parameters
    ----------
    overlap_m2
        ``(n,)`` area of each polygon that lies in others.
    gap_m2
        Area of the holes of the whole that are not holes of a polygon.
    """

    overlap_m2: NDArray[np.float64]
    gap_m2: float


def fit_of(polygons: Geometries) -> Fit:
    """Overlaps of each polygon with others, and the gaps enclosed by all.

    Parameters
    ----------
    polygons
        ``(n,)`` polygons or multipolygons; None, empty and other geometries take no part.
    """
    area = polygons.copy()
    area[shapely.get_dimensions(polygons) != 2] = None
    tree = shapely.STRtree(area)
    left, right = tree.query(area, predicate="intersects")
    pair = left != right
    left, right = left[pair], right[pair]
    shared = shapely.area(shapely.intersection(area[left], area[right]))
    return Fit(np.bincount(left, weights=shared, minlength=len(polygons)).astype(float), _enclosed_gaps(area))


def _enclosed_gaps(area: Geometries) -> float:
    whole = shapely.union_all(area[~shapely.is_missing(area)])
    parts = shapely.get_parts(whole)
    filled = shapely.polygons(shapely.get_exterior_ring(parts[shapely.get_type_id(parts) == 3]))
    return float(shapely.area(filled).sum() - shapely.area(whole))


def area_between(polygons: Geometries) -> float:
    """Overlap (each pair once) plus enclosed gaps of a layer [m2]; 0 for a perfect coverage."""
    fit = fit_of(polygons)
    return float(fit.overlap_m2.sum() / 2 + fit.gap_m2)


def hanging_nodes(geometries: Geometries, tolerance_m: float = NODE_TOLERANCE_M) -> Points:
    """The vertices ``(k, 2)`` that lie in the middle of a straight edge of their own or another feature.

    Parameters
    ----------
    geometries
        ``(n,)`` lines or polygons.
    tolerance_m
        How far from the edge a vertex still lies on it [m].
    """
    starts, ends = _segments(geometries)
    if len(starts) == 0:
        return np.empty((0, 2))
    lengths = np.abs(ends - starts).max(axis=1)
    index = PlaceIndex.of(np.concatenate([starts, ends]), float(np.clip(np.median(lengths), 0.5, 50.0)))
    _, _, places = index.on_segments(starts, ends, tolerance_m)
    return np.unique(places, axis=0)


def shared_edges(geometries: Geometries) -> int:
    """How many straight edges are drawn by more than one feature, or twice by one, whichever way."""
    starts, ends = _segments(geometries)
    turned = (starts[:, 0] > ends[:, 0]) | ((starts[:, 0] == ends[:, 0]) & (starts[:, 1] > ends[:, 1]))
    edges = np.where(turned[:, None], np.hstack([ends, starts]), np.hstack([starts, ends]))
    _, counts = np.unique(edges, axis=0, return_counts=True)
    return int((counts > 1).sum())


def edge_error_m(before: Geometries, after: Geometries, image: Image) -> float:
    """The largest distance [m] between the moved edges and the exact image of the old edges.

    Every old edge is looked at each ``LOOK_M``; the image of each look is compared with the moved geometry.

    Parameters
    ----------
    before, after
        ``(n,)`` the same features before and after.
    image
        The field.
    """
    looks = shapely.segmentize(_edges(before), LOOK_M)
    places, feature = shapely.get_coordinates(looks, return_index=True)
    edges = _edges(after)
    shapely.prepare(edges)
    return float(shapely.distance(shapely.points(image(places)), edges[feature]).max(initial=0.0))


def _edges(geometries: Geometries) -> Geometries:
    return np.where(shapely.get_dimensions(geometries) == 2, shapely.boundary(geometries), geometries)


def _segments(geometries: Geometries) -> tuple[Points, Points]:
    lines = shapely.get_parts(shapely.boundary(geometries[shapely.get_dimensions(geometries) == 2]))
    lines = np.concatenate([lines, shapely.get_parts(geometries[shapely.get_dimensions(geometries) == 1])])
    places, line = shapely.get_coordinates(lines, return_index=True)
    begins = np.flatnonzero(line[1:] == line[:-1])
    return places[begins], places[begins + 1]

"""Whether each feature is still the same kind of thing: valid, with its parts and holes, joined to its neighbours."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from qa.base_maps import Geometries
from qa.shape import CommonVertices
from transforms.complex_places import is_place

_MM = 1000.0


def is_valid(geometries: Geometries) -> NDArray[np.bool_]:
    """Whether each geometry is valid by OGC's rules, ``(n,)``; a missing one has nothing invalid."""
    return np.asarray(shapely.is_valid(geometries) | shapely.is_missing(geometries))


def undecided_area_ratio(geometries: Geometries) -> NDArray[np.float64]:
    """Share of the ground about which an invalid outline does not tell whether it lies inside, ``(n,)``; else 0.

    An outline that crosses itself runs round part of its ground the wrong way: its signed area (the shoelace formula)
    is then smaller than the area it covers.

    Examples
    --------
    >>> import shapely
    >>> bow_tie = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    >>> undecided_area_ratio(np.array([bow_tie, shapely.box(0, 0, 2, 2)])).tolist()
    [1.0, 0.0]
    """
    ratio = np.zeros(len(geometries))
    rows = np.flatnonzero(~is_valid(geometries) & (shapely.get_dimensions(geometries) == 2))
    covered = shapely.area(shapely.make_valid(geometries[rows]))
    signed = shapely.area(geometries[rows])
    ratio[rows] = 1.0 - np.divide(signed, covered, out=np.ones(len(rows)), where=covered > 0)
    return np.maximum(ratio, 0.0)


def part_count(geometries: Geometries) -> NDArray[np.int_]:
    """Number of parts, ``(n,)``; 0 for missing and empty geometries."""
    return np.asarray(np.where(shapely.is_empty(geometries), 0, shapely.get_num_geometries(geometries)))


def hole_count(geometries: Geometries) -> NDArray[np.int_]:
    """Number of holes in all parts together, ``(n,)``.

    Examples
    --------
    >>> import shapely
    >>> ring = shapely.box(0, 0, 9, 9).difference(shapely.box(3, 3, 6, 6))
    >>> hole_count(np.array([ring, None])).tolist()
    [1, 0]
    """
    parts, row = shapely.get_parts(geometries, return_index=True)
    holes = np.maximum(shapely.get_num_interior_rings(parts), 0)
    return np.bincount(row, weights=holes, minlength=len(geometries)).astype(int)


def vertex_count(geometries: Geometries) -> NDArray[np.int_]:
    """Number of vertices, ``(n,)``; closing ones count."""
    return np.asarray(shapely.get_num_coordinates(geometries))


def parted_pairs(vertices: CommonVertices, tolerance_m: float) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """Which features shared a vertex on the old map and no longer do.

    Parameters
    ----------
    vertices
        Old and new places of the vertices of a whole layer.
    tolerance_m
        How far apart the new places of a shared vertex may lie.

    Returns
    -------
    pairs : ndarray
        ``(k, 2)`` rows of the features, every pair once per vertex that parted.
    gap_m : ndarray
        ``(k,)`` how far the new places lie apart.
    """
    placed = np.flatnonzero(is_place(vertices.before))
    millimetres = np.round(vertices.before[placed] * _MM).astype(np.int64)
    order = np.lexsort((vertices.feature[placed], millimetres[:, 1], millimetres[:, 0]))
    same_place = (np.diff(millimetres[order], axis=0) == 0).all(axis=1)
    first, second = placed[order[:-1][same_place]], placed[order[1:][same_place]]
    other = vertices.feature[first] != vertices.feature[second]
    first, second = first[other], second[other]
    gap = np.linalg.norm(vertices.after[first] - vertices.after[second], axis=1)
    parted = gap > tolerance_m
    pairs = np.stack([vertices.feature[first], vertices.feature[second]], axis=1)[parted]
    return pairs, gap[parted]


def shared_edge_gap_m(pairs: NDArray[np.int_], gap_m: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The widest gap to any neighbour per feature, ``(count,)`` metres; 0 where nothing parted."""
    widest = np.zeros(count)
    for side in (0, 1):
        np.maximum.at(widest, pairs[:, side], gap_m)
    return widest

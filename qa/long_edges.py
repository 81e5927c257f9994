"""Places along long edges, before and after a move: a straight line can be wrong where it has no vertex."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from qa.base_maps import Geometries
from qa.shape import CommonVertices
from transforms.contract import Points

EVERY_M = 50.0
_MOST_PER_EDGE = 200


def places_along(vertices: CommonVertices, after: Geometries) -> tuple[Points, Points, NDArray[np.int_]]:
    """Places every 50 m along the edges, where they went, and their features.

    A place goes to the spot of the new outline that is nearest to where a straight edge would have it: vertices that
    were inserted in between are so taken into account.

    Parameters
    ----------
    vertices
        Old and new places of the vertices.
    after
        ``(n,)`` the new geometries.

    Returns
    -------
    before, after : ndarray
        ``(m, 2)`` old and new places.
    feature : ndarray
        ``(m,)`` rows of the features.
    """
    start = vertices.followers(1)
    length = np.linalg.norm(vertices.before[start + 1] - vertices.before[start], axis=1)
    known = np.isfinite(length) & np.isfinite(vertices.after[start] + vertices.after[start + 1]).all(axis=1)
    inner = np.where(known, np.minimum(np.nan_to_num(length) // EVERY_M, _MOST_PER_EDGE), 0).astype(int)
    edge = np.repeat(np.arange(len(start)), inner)
    number = np.arange(len(edge)) - np.repeat(np.cumsum(inner) - inner, inner) + 1
    share = (number / (inner[edge] + 1.0))[:, None]
    old, new = (
        places[start[edge]] * (1 - share) + places[start[edge] + 1] * share
        for places in (vertices.before, vertices.after)
    )
    feature = vertices.feature[start[edge]]
    return old, _nearest_on(after, new, feature), feature


def _nearest_on(geometries: Geometries, places: Points, feature: NDArray[np.int_]) -> Points:
    is_area = shapely.get_dimensions(geometries) == 2
    lines = np.where(is_area, shapely.boundary(geometries), geometries)
    reach = shapely.shortest_line(lines[feature], shapely.points(places))
    found = np.full_like(places, np.nan)
    there = ~shapely.is_missing(reach)
    found[there] = shapely.get_coordinates(reach[there])[::2]
    return found

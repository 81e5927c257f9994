"""Whether features lie beside both maps all alike: by the same distance in the same direction.

Coordinates that came through a wrong transformation are metres off, a whole layer or all that were captured in one way.
What is learned from the layer then is that its features lie metres beside their lines. So it is moved back on trial, by
whole metres in every direction, to see whether its vertices come to lie on lines, or its points in buildings, as they
do not where they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from qa.base_maps import BaseMaps, Edition, Geometries
from qa.coincidence import Vertices, evenly_placed
from transforms.complex_places import is_place
from transforms.contract import Points

Numbers = NDArray[np.float64]
Labels = NDArray[np.int_]

_REACH_M = 8.0
_ON_A_LINE_M = 0.6
_LOOKED_AT = 300
_ALONG = np.array([1 / 6, 1 / 2, 5 / 6])
"""Where along its outline a feature is looked at: a corner stays on a line when it is moved along one."""

_LEAST_FEATURES = 5
_LEAST_GAIN, _LEAST_STANDARD_ERRORS = 0.1, 5.0
"""What the share that lies on lines must gain, and how surely, for a displacement to be believed."""

_COLLECTION = shapely.GeometryType.GEOMETRYCOLLECTION

_AS_GOOD = 0.97
"""Places that fit nearly as well as the best; the displacement is their middle."""


def displaced_by_m(geometries: Geometries, base: BaseMaps, are_points: bool, groups: Sequence[Labels]) -> Points:
    """How far each feature is displaced along with its like, ``(n, 2)`` metres; NaN where it is not.

    Parameters
    ----------
    geometries
        ``(n,)`` geometries at their old places; None and empty allowed.
    base
        The old and the new map.
    are_points
        True for points, which are to lie in buildings; False for lines and areas, which are to lie on lines.
    groups
        Ways of dividing the features, ``(n,)`` labels each: what may be displaced alike.
    """
    vertices = Vertices.of(geometries) if are_points else _along(geometries)
    displaced, places = np.full((vertices.count, 2), np.nan), vertices.middle()
    rows = evenly_placed(np.flatnonzero(np.isfinite(places[:, 0])), places, _LOOKED_AT)
    if not len(rows):
        return displaced
    editions = base.before, base.after
    shares = [np.zeros((len(rows), len(_WHOLE_METRES))) for _ in editions]
    for share, edition in zip(shares, editions, strict=True):
        share[:, _NOT_AT_ALL] = _shares(vertices, rows, edition, are_points, np.zeros((1, 2)))[:, 0]
    fits = np.maximum(*(share[:, _NOT_AT_ALL] for share in shares)) == 1.0
    loose = np.flatnonzero(~fits | are_points)  # an outline that lies on lines is taken to fit nowhere else
    for share, edition in zip(shares, editions, strict=True):
        share[loose] = _shares(vertices, rows[loose], edition, are_points, _WHOLE_METRES)
    for labels in groups:
        for label in np.unique(labels[rows]):
            those = np.flatnonzero((labels[rows] == label) & np.isnan(displaced[rows, 0]))
            best = _best([share[those] for share in shares])
            if best is not None:
                edition, about = editions[best[0]], _WHOLE_METRES[best[1]]
                refine = _by_buildings if are_points else _by_lines
                displaced[labels == label] = refine(vertices, rows[those], edition, about)
    return displaced


def _along(geometries: Geometries) -> Vertices:
    """Places along the outline of each of ``(n,)`` lines and areas; other shapes, and what has no place, have none."""
    points, feature = shapely.get_coordinates(geometries, return_index=True)
    rows = np.setdiff1d(feature, feature[~is_place(points)])
    outlines = np.where(
        shapely.get_dimensions(geometries[rows]) == 2, shapely.boundary(geometries[rows]), geometries[rows]
    )
    is_line = (shapely.get_dimensions(outlines) == 1) & (shapely.get_type_id(outlines) != _COLLECTION)
    rows, outlines = rows[is_line], outlines[is_line]
    along, of_outline = shapely.get_coordinates(
        shapely.line_interpolate_point(outlines[:, None], _ALONG, normalized=True).ravel(), return_index=True
    )
    return Vertices(along, rows[of_outline // len(_ALONG)], len(geometries))


def _best(shares: list[Numbers]) -> tuple[int, int] | None:
    """Which edition, and which displacement from it, is to be believed, if any.

    ``shares`` has for each edition the share of each feature that lies as it should, ``(features, displacements)``.
    """
    if len(shares[0]) < _LEAST_FEATURES:
        return None
    means = np.stack([share.mean(axis=0) for share in shares])
    edition, best = np.unravel_index(means.argmax(), means.shape)
    gain = shares[edition][:, best] - shares[means[:, _NOT_AT_ALL].argmax()][:, _NOT_AT_ALL]
    standard_error = gain.std() / np.sqrt(len(gain))
    is_sure = gain.mean() > max(_LEAST_GAIN, _LEAST_STANDARD_ERRORS * standard_error)
    return (int(edition), int(best)) if is_sure else None


def _by_lines(vertices: Vertices, rows: Labels, edition: Edition, about: Points) -> Points:
    """The middle of the displacements about ``about`` that bring the vertices onto lines nearly as well as the best."""
    tried = about + _QUARTER_METRES
    share = _shares(vertices, rows, edition, False, tried).mean(axis=0)
    return np.asarray(tried[share >= _AS_GOOD * share.max()].mean(axis=0))


def _by_buildings(vertices: Vertices, rows: Labels, edition: Edition, about: Points) -> Points:
    """How far the points lie from the centres of the buildings that ``about`` brings them into, in the median."""
    points = vertices.points[np.isin(vertices.feature, rows)]
    building = edition.area_at(points - about)
    centres = shapely.get_coordinates(shapely.centroid(edition.areas.geometries[building[building >= 0]]))
    return np.asarray(np.median(points[building >= 0] - centres, axis=0))


def _shares(vertices: Vertices, rows: Labels, edition: Edition, are_points: bool, displacements: Points) -> Numbers:
    """The share of each row's vertices that lies where it should once moved back, ``(rows, displacements)``."""
    feature = np.full(vertices.count, -1)
    feature[rows] = np.arange(len(rows))
    of_row = feature[vertices.feature]
    points, of_row = vertices.points[of_row >= 0], of_row[of_row >= 0]
    tried = (points[None] - displacements[:, None]).reshape(-1, 2)
    if are_points:
        fits = edition.area_at(tried) >= 0
    else:
        fits = np.isfinite(edition.line_distance_m(tried, within_m=_ON_A_LINE_M))
    total = np.zeros((len(rows), len(displacements)))
    np.add.at(total, of_row, fits.reshape(len(displacements), -1).T.astype(float))
    return np.asarray(total / np.bincount(of_row, minlength=len(rows))[:, None])


def _lattice(reach_m: float, step_m: float) -> Points:
    """Displacements ``(m, 2)`` of up to ``reach_m`` in all directions."""
    along = np.arange(-reach_m, reach_m + 0.5 * step_m, step_m)
    every = np.stack(np.meshgrid(along, along), axis=2).reshape(-1, 2)
    return np.asarray(every[np.hypot(*every.T) <= reach_m])


_WHOLE_METRES, _QUARTER_METRES = _lattice(_REACH_M, 1.0), _lattice(1.25, 0.25)
_NOT_AT_ALL = int(np.hypot(*_WHOLE_METRES.T).argmin())

"""Whether features lie beside both maps all alike: by the same distance in the same direction.

Coordinates that came through a wrong transformation are metres off, a whole layer or all that were captured in one way;
what was drawn from a sheet of paper that was wrongly placed, or on a scale of its own, is so from place to place. What
is learned from the layer then is that its features lie metres beside their lines. So it is moved back on trial, by
whole metres in every direction, to see whether its vertices come to lie on lines, or its points in buildings, as they
do not where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from qa.base_maps import BaseMaps, Edition, Geometries
from qa.coincidence import Vertices, evenly_placed
from transforms.complex_places import is_place
from transforms.contract import Points

Numbers = NDArray[np.float64]
Labels = NDArray[np.int_]
LiesWell = Callable[[Edition, Points], NDArray[np.bool_]]
"""Which of ``(m, 2)`` places lie as they should on an edition, ``(m,)``."""

_REACH_M = 8.0
_ON_A_LINE_M, _AT_A_CENTRE_M = 0.6, 0.75
_LOOKED_AT = 3000
_SQUARES_M = 500.0, 1000.0, 2000.0, 4000.0
"""The sides of squares whose features are asked together, as drawn from one sheet of a plan: from small to large ones,
which tell of sparse layers.
"""
_ALONG = np.array([1 / 6, 1 / 2, 5 / 6])
"""Where along its outline a feature is looked at: a corner stays on a line when it is moved along one."""

_MUCH = 0.2
"""Where more of a layer than that is displaced from place to place, the rest has to show that it is not."""

_LEAST_FEATURES = 5
_LEAST_GAIN, _LEAST_STANDARD_ERRORS = 0.1, 4.0
"""What the share that lies on lines must gain, and how surely, for a displacement to be believed."""

_COLLECTION = shapely.GeometryType.GEOMETRYCOLLECTION

_AS_GOOD = 0.97
"""Places that fit nearly as well as the best; the displacement is their middle."""


@dataclass(frozen=True)
class Displaced:
    """What of ``n`` features lies beside both maps.

    Parameters
    ----------
    by_m
        ``(n, 2)`` how far each is displaced along with its like, east and north; NaN where it is not.
    is_suspect
        ``(n,)`` whether much of its layer is displaced from place to place, and nothing shows that it is not.
    """

    by_m: Points
    is_suspect: NDArray[np.bool_]


def displaced(geometries: Geometries, base: BaseMaps, are_points: bool, groups: Sequence[Labels]) -> Displaced:
    """Which features are displaced along with their like, and how far.

    Parameters
    ----------
    geometries
        ``(n,)`` geometries at their old places; None and empty allowed.
    base
        The old and the new map.
    are_points
        True for points, which are to lie in buildings or at their centres; False for the others, which are to lie on
        lines.
    groups
        Ways of dividing the features, ``(n,)`` labels each: what may be displaced alike wherever it lies.
    """
    vertices = Vertices.of(geometries) if are_points else _along(geometries)
    places, by_m, is_local = vertices.middle(), np.full((vertices.count, 2), np.nan), np.zeros(vertices.count, bool)
    rows = evenly_placed(np.flatnonzero(np.isfinite(places[:, 0])), places, _LOOKED_AT)
    alike = [(labels, False) for labels in groups] + [(_squares(places, side), True) for side in _SQUARES_M]
    refine = _by_buildings if are_points else _by_lines
    for lies_well in (_in_building, _at_centre) if are_points else (_on_line,):
        shares = _tried(vertices, rows, base, lies_well)
        for labels, local in alike:
            for label in np.unique(labels[rows]):
                looked_at = np.flatnonzero((labels[rows] == label) & np.isnan(by_m[rows, 0]))
                best = _best(shares[:, looked_at], None if local else places[rows[looked_at]])
                if best is not None:
                    edition, about = _editions(base)[best[0]], _WHOLE_METRES[best[1]]
                    those = (labels == label) & np.isnan(by_m[:, 0])
                    by_m[those], is_local[those] = refine(vertices, rows[looked_at], edition, about), local
    rest = np.isnan(by_m[:, 0])
    is_suspect = rest & (is_local.sum() > _MUCH * (is_local | rest).sum())
    if is_suspect.any():
        is_suspect &= ~_is_in_place(vertices, base, _at_centre if are_points else _on_line)
    return Displaced(by_m, is_suspect)


def _editions(base: BaseMaps) -> tuple[Edition, Edition]:
    return base.before, base.after


def _is_in_place(vertices: Vertices, base: BaseMaps, lies_well: LiesWell) -> NDArray[np.bool_]:
    """Which features lie well on either map, by themselves and all over, ``(n,)``."""
    before, after = (lies_well(edition, vertices.points).astype(float) for edition in _editions(base))
    return np.asarray(np.fmax(vertices.mean(before), vertices.mean(after)) == 1.0)


def _on_line(edition: Edition, points: Points) -> NDArray[np.bool_]:
    return np.isfinite(edition.line_distance_m(points, within_m=_ON_A_LINE_M))


def _in_building(edition: Edition, points: Points) -> NDArray[np.bool_]:
    return np.asarray(edition.area_at(points) >= 0)


def _at_centre(edition: Edition, points: Points) -> NDArray[np.bool_]:
    return np.asarray(edition.centre_distance_m(points) <= _AT_A_CENTRE_M)


def _tried(vertices: Vertices, rows: Labels, base: BaseMaps, lies_well: LiesWell) -> Numbers:
    """The share of each row's vertices that lies well on an edition when moved back by each of ``_WHOLE_METRES``,
    ``(2, rows, displacements)``.
    """
    shares = np.zeros((2, len(rows), len(_WHOLE_METRES)))
    for share, edition in zip(shares, _editions(base), strict=True):
        share[:, _NOT_AT_ALL] = _shares(vertices, rows, edition, lies_well, np.zeros((1, 2)))[:, 0]
    fits = shares[:, :, _NOT_AT_ALL].max(axis=0) == 1.0
    loose = np.flatnonzero(~fits | (lies_well is not _on_line))  # what lies on lines is taken to fit nowhere else
    for share, edition in zip(shares, _editions(base), strict=True):
        share[loose] = _shares(vertices, rows[loose], edition, lies_well, _WHOLE_METRES)
    return shares


def _squares(places: Points, side_m: float) -> Labels:
    """The number ``(n,)`` of the square that each of ``(n, 2)`` places lies in."""
    square = np.floor(np.nan_to_num(places) / side_m)
    return np.unique(square, axis=0, return_inverse=True)[1].ravel()


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


def _best(shares: Numbers, places: Points | None) -> tuple[int, int] | None:
    """Which edition, and which displacement from it, is to be believed, if any.

    ``shares`` has for each edition the share of each feature that lies as it should, ``(2, features, displacements)``.
    With ``places`` ``(features, 2)`` it is to be found all over them.
    """
    if shares.shape[1] < _LEAST_FEATURES:
        return None
    means = shares.mean(axis=1)
    edition, best = np.unravel_index(means.argmax(), means.shape)
    gain = shares[edition, :, best] - shares[means[:, _NOT_AT_ALL].argmax(), :, _NOT_AT_ALL]
    standard_error = gain.std() / np.sqrt(len(gain))
    is_sure = gain.mean() > max(_LEAST_GAIN, _LEAST_STANDARD_ERRORS * standard_error)
    is_sure = is_sure and (places is None or _is_all_over(gain, places))
    return (int(edition), int(best)) if is_sure else None


def _is_all_over(gain: Numbers, places: Points) -> bool:
    """Whether those in each quarter of the layer gain by a displacement nearly as they all do."""
    is_east, is_north = (places > np.median(places, axis=0)).T
    for quarter in (is_east & is_north, is_east & ~is_north, ~is_east & is_north, ~is_east & ~is_north):
        if quarter.sum() >= _LEAST_FEATURES:
            standard_error = gain[quarter].std() / np.sqrt(quarter.sum())
            if gain[quarter].mean() + 2.0 * standard_error < 0.5 * gain.mean():
                return False
    return True


def _by_lines(vertices: Vertices, rows: Labels, edition: Edition, about: Points) -> Points:
    """The middle of the displacements about ``about`` that bring the vertices onto lines nearly as well as the best."""
    tried = about + _QUARTER_METRES
    share = _shares(vertices, rows, edition, _on_line, tried).mean(axis=0)
    return np.asarray(tried[share >= _AS_GOOD * share.max()].mean(axis=0))


def _by_buildings(vertices: Vertices, rows: Labels, edition: Edition, about: Points) -> Points:
    """How far the points lie from the centres of the buildings that ``about`` brings them into, in the median; where it
    brings none into one, ``about``.
    """
    points = vertices.points[np.isin(vertices.feature, rows)]
    building = edition.area_at(points - about)
    if not (building >= 0).any():
        return about
    centres = shapely.get_coordinates(shapely.centroid(edition.areas.geometries[building[building >= 0]]))
    return np.asarray(np.median(points[building >= 0] - centres, axis=0))


def _shares(vertices: Vertices, rows: Labels, edition: Edition, lies_well: LiesWell, displacements: Points) -> Numbers:
    """The share of each row's vertices that lies well once moved back, ``(rows, displacements)``."""
    feature = np.full(vertices.count, -1)
    feature[rows] = np.arange(len(rows))
    of_row = feature[vertices.feature]
    points, of_row = vertices.points[of_row >= 0], of_row[of_row >= 0]
    tried = (points[None] - displacements[:, None]).reshape(-1, 2)
    fits = lies_well(edition, tried)
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

"""A base map of which one edition is at hand: the other is the same one, carried by the fitted shift.

Many councils have today's map and the control, but not the old map. Carried back, today's tells which of both a feature
was drawn on, and what followed its lines can follow them again. It does not tell how the map moved: only the control
does, which the shift has heard already, but at a building it says where that one went. Nor does it tell what was built
or pulled down meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from qa.base_maps import BaseMaps, CommonCorners, Edition
from qa.drawn_alike import Drawing
from qa.matching import Matches
from transforms.contract import Control, Points, ShiftField

KNOWN_WITHIN_M = 0.8
"""Where the shift is less certain than this (radial standard error) nothing is compared. Of 51,535 features of 23 made
boroughs 23 of those settled were wrong with 1.0, but 131 with 1.3 and 388 with 2.0."""

AT_A_BUILDING_M = 0.6
"""Control no further from a building is a corner of it, mapped a little off."""

_AT_LINES_M, _CLEARLY_M = 1.0, 0.5
"""Control this near to a line is at it, and is so with the one of its places that is nearer by this."""

_ASKED, _ASKED_WITHIN_M, _LEAST_OTHER = 10, 500.0, 5
"""A map is the other edition where half of the ten control points at lines about a place say so."""

_POINTS_AT_ONCE = 100_000
_NOISE_M = 0.35
"""Radial error of control where no two points lie at one building; ordinary control has 0.2 to 0.5 m."""


def with_other_edition(drawing: Drawing, shift: ShiftField, control: Control, *, is_new: bool) -> BaseMaps:
    """Both editions, as far as the shift is known.

    Parameters
    ----------
    drawing
        The edition at hand, drawn as ``drawn_alike`` has it.
    shift
        From the old map to the new one.
    control
        What the shift was fitted to.
    is_new
        Whether the edition at hand is the new map.
    """
    drawn, ids = _flat(drawing)
    places, feature = shapely.get_coordinates(drawn, return_index=True)
    carried = (shift.inverse if is_new else shift)(places)
    uncertainty_m = shift.uncertainty(carried if is_new else places)
    is_unknown = ~(uncertainty_m <= KNOWN_WITHIN_M) | _lies_where_other(places, AtLines.of(drawing, control), is_new)
    is_known = np.bincount(feature, weights=is_unknown, minlength=len(drawn)) == 0
    drawn, ids = drawn[is_known], ids[is_known]
    at_hand = Edition.of(drawn, ids)
    other = Edition.of(shapely.set_coordinates(drawn.copy(), carried[is_known[feature]]), ids)
    before, after = (other, at_hand) if is_new else (at_hand, other)
    matches = Matches.of_same(before.geometries, after.geometries)
    return BaseMaps(before, after, matches, _corners(before, control), is_lone=True)


@dataclass(frozen=True)
class AtLines:
    """Control at the lines of a map, which says what edition that is.

    Control is of corners of the map: on the old map its old places lie on lines, on the new map its new ones.

    Parameters
    ----------
    places
        ``(n, 2)`` where on the old map control lies, in metres, that is at a line with one of its places.
    with_old
        ``(n,)`` whether with its old one.
    """

    places: Points
    with_old: NDArray[np.bool_]

    @classmethod
    def of(cls, drawing: Drawing, control: Control) -> AtLines:
        """The control at the lines of ``drawing``."""
        lines = Edition.of(*_flat(drawing))
        away_m = [lines.line_distance_m(places, within_m=_AT_LINES_M) for places in (control.before, control.after)]
        was_m, is_m = np.minimum(away_m, _AT_LINES_M + _CLEARLY_M)
        tells = np.abs(was_m - is_m) >= _CLEARLY_M
        return cls(control.before[tells], (was_m < is_m)[tells])

    def __len__(self) -> int:
        return len(self.places)

    def say_other(self, *, is_new: bool) -> NDArray[np.bool_]:
        """Which of it say that the map, named as new or old, is the other one, ``(n,)``."""
        return self.with_old if is_new else ~self.with_old


def _lies_where_other(points: Points, at_lines: AtLines, is_new: bool) -> NDArray[np.bool_]:
    """Whether the map is the other edition about each of ``points`` ``(n, 2)``, as where tiles were not replaced."""
    is_other, says_other = np.zeros(len(points), dtype=bool), at_lines.say_other(is_new=is_new)
    if says_other.sum() < _LEAST_OTHER:
        return is_other
    tree, says_other = cKDTree(at_lines.places), np.append(says_other, False)
    for first in range(0, len(points), _POINTS_AT_ONCE):
        some = slice(first, first + _POINTS_AT_ONCE)
        _, near = tree.query(points[some], k=_ASKED, distance_upper_bound=_ASKED_WITHIN_M)
        is_other[some] = says_other[near].sum(axis=1) >= _LEAST_OTHER
    return is_other


def _flat(drawing: Drawing) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    shows = ~(shapely.is_missing(drawing.geometries) | shapely.is_empty(drawing.geometries))
    return shapely.force_2d(drawing.geometries[shows]), drawing.ids[shows]


def _corners(before: Edition, control: Control) -> CommonCorners:
    """The control as corners; by what it scatters at one building, it may be off at any."""
    building = np.full(len(control), -1)
    row, area = before.areas.query(shapely.points(control.before), predicate="dwithin", distance=AT_A_BUILDING_M)
    building[row] = area
    corners = CommonCorners.of(before, control.before, control.shift, building)
    count = np.bincount(building[building >= 0], minlength=len(corners.object_spread_m))
    many = count > 1
    square_m2, free = (count * corners.object_spread_m**2)[many].sum(), (count[many] - 1).sum()
    noise_m = np.sqrt(square_m2 / free) if free else _NOISE_M
    is_seen = np.isfinite(corners.object_spread_m)
    spread_m = np.where(is_seen, np.maximum(corners.object_spread_m, noise_m), np.nan)
    return replace(corners, object_spread_m=spread_m)

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
from qa.whole_maps import AT_A_LINE_M
from transforms.contract import Control, Points, ShiftField

KNOWN_WITHIN_M = 0.8
"""Where the shift is less certain than this (radial standard error) nothing is compared. Of 51,535 features of 23 made
boroughs 23 of those settled were wrong with 1.0, but 131 with 1.3 and 388 with 2.0."""

AT_A_BUILDING_M = 0.6
"""Control no further from a building is a corner of it, mapped a little off."""

MOST_AT_LINES = 0.7
"""Of good control 89 to 100 % lies at lines of its own edition, and 11 to 30 % at some of the other (7 boroughs)."""

_ABOUT_IT_M = 20.0
"""Without a line so near, the map does not reach as far as the control."""

_HARDLY_M = 0.3
_ASKED, _ASKED_WITHIN_M = 10, 500.0
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
    at_lines = AtLines.of(drawing, control, is_new=is_new)
    is_unknown = ~(uncertainty_m <= KNOWN_WITHIN_M) | at_lines.deny(places)
    is_known = np.bincount(feature, weights=is_unknown, minlength=len(drawn)) == 0
    drawn, ids = drawn[is_known], ids[is_known]
    at_hand = Edition.of(drawn, ids)
    other = Edition.of(shapely.set_coordinates(drawn.copy(), carried[is_known[feature]]), ids)
    before, after = (other, at_hand) if is_new else (at_hand, other)
    matches = Matches.of_same(before.geometries, after.geometries)
    return BaseMaps(before, after, matches, _corners(before, control), is_lone=True)


@dataclass(frozen=True)
class AtLines:
    """Which control lies at lines of the edition at hand: it is of corners of the map, on either with its place there.

    Asked is the control that has some line about it: a map may show a part of the place only.

    Parameters
    ----------
    places
        ``(n, 2)`` of the control on the old map, in metres.
    with_own
        ``(n,)`` whether it is at a line with its place on the map that this is said to be, and hardly nearer with the
        other.
    with_other
        ``(n,)`` the same the other way round.
    """

    places: Points
    with_own: NDArray[np.bool_]
    with_other: NDArray[np.bool_]

    @classmethod
    def of(cls, drawing: Drawing, control: Control, *, is_new: bool) -> AtLines:
        """The control at the lines of ``drawing``, which is said to be the new map or the old one."""
        lines = Edition.of(*_flat(drawing))
        old_m, new_m = (lines.line_distance_m(places, _ABOUT_IT_M) for places in (control.before, control.after))
        own_m, other_m = (new_m, old_m) if is_new else (old_m, new_m)
        asked = np.isfinite(own_m) & np.isfinite(other_m)
        own_m, other_m = own_m[asked], other_m[asked]
        return cls(
            control.before[asked],
            (own_m <= AT_A_LINE_M) & (own_m <= other_m + _HARDLY_M),
            (other_m <= AT_A_LINE_M) & (other_m <= own_m + _HARDLY_M),
        )

    def deny(self, points: Points) -> NDArray[np.bool_]:
        """Whether, of the control nearest to each of ``points`` ``(n, 2)``, too little lies at lines.

        There the map is the other edition, as where tiles were not replaced, or the control is wrong.
        """
        denied = np.zeros(len(points), dtype=bool)
        tree, found = cKDTree(self.places), np.append(np.ones(len(self.places)), 0.0)
        at_line = np.append(self.with_own, False)
        for first in range(0, len(points), _POINTS_AT_ONCE):
            some = slice(first, first + _POINTS_AT_ONCE)
            _, near = tree.query(points[some], k=_ASKED, distance_upper_bound=_ASKED_WITHIN_M)
            denied[some] = at_line[near].sum(axis=1) < MOST_AT_LINES * found[near].sum(axis=1)
        return denied


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

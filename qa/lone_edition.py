"""A base map of which one edition is at hand: the other is the same one, carried by the fitted shift.

Many councils have today's map and the control, but not the old map. Carried back, today's tells which of both a feature
was drawn on, and what followed its lines can follow them again. It does not tell how the map moved: only the control
does, which the shift has heard already, but at a building it says where that one went. Nor does it tell what was built
or pulled down meanwhile.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import shapely
from numpy.typing import NDArray

from qa.base_maps import BaseMaps, CommonCorners, Edition
from qa.drawn_alike import Drawing
from qa.matching import Matches
from transforms.contract import Control, ShiftField

KNOWN_WITHIN_M = 0.8
"""Where the shift is less certain than this (radial standard error) nothing is compared. Of 51,535 features of 23 made
boroughs 23 of those settled were wrong with 1.0, but 131 with 1.3 and 388 with 2.0."""

AT_A_BUILDING_M = 0.6
"""Control no further from a building is a corner of it, mapped a little off."""

_NEAR_M = 1.0
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
    is_known = np.bincount(feature, weights=~(uncertainty_m <= KNOWN_WITHIN_M), minlength=len(drawn)) == 0
    drawn, ids = drawn[is_known], ids[is_known]
    at_hand = Edition.of(drawn, ids)
    other = Edition.of(shapely.set_coordinates(drawn.copy(), carried[is_known[feature]]), ids)
    before, after = (other, at_hand) if is_new else (at_hand, other)
    matches = Matches.of_same(before.geometries, after.geometries)
    return BaseMaps(before, after, matches, _corners(before, control), is_lone=True)


def on_its_lines(drawing: Drawing, control: Control) -> tuple[int, int]:
    """How many control points lie nearer to its lines with their old places, and how many with their new ones.

    Control is of corners of the map: on the old map its old places lie on lines, on the new map its new ones. Asked is
    what moved by over a metre and lies within a metre of a line either way.
    """
    drawn, ids = _flat(drawing)
    lines, moved = Edition.of(drawn, ids), control.take(np.hypot(*control.shift.T) > _NEAR_M)
    was_m, is_m = (lines.line_distance_m(places, within_m=_NEAR_M) for places in (moved.before, moved.after))
    return int((was_m < is_m).sum()), int((is_m < was_m).sum())


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

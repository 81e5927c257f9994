"""Whether the points of a layer keep their place in their buildings, and where each building went.

In a resurveyed town every building moved on its own. A point that was put on the building as the old map drew it goes
with it; one that was put on the ground does not. The layer's own habit tells which: how far from the middle of their
buildings its points lie where building and shift agree.
"""

from __future__ import annotations

import numpy as np
import shapely

from qa.base_maps import BaseMaps
from qa.old_lines import Integers, OldLines
from transforms.contract import Points

AGREES_M, DISAGREES_M = 0.1, 0.25
"""Nearer than the first, building and shift go the same way; further apart than the second they do not."""

_FEWEST = 10
_CLEARLY = 0.5


def building_shift(points: Points, base: BaseMaps, lines: OldLines) -> tuple[Points, Integers]:
    """How the building about each point moved ``(n, 2)``, NaN for none; and its row in the old edition, -1 for none."""
    of_feature = _mean_shift(lines)
    area = base.before.area_at(points) if len(points) else np.empty(0, dtype=np.int64)
    rows = np.append(np.flatnonzero(lines.is_area), -1)  # the last row answers for -1
    building = rows[area]
    shift = np.where((building >= 0)[:, None], of_feature[building], np.nan)
    return shift, np.where(np.isfinite(shift[:, 0]), building, -1)


def keeps_place_in_buildings(
    points: Points, shift: Points, buildings_shift: Points, building: Integers, base: BaseMaps
) -> bool:
    """Whether points of a layer go with their buildings where these go elsewhere than the shift.

    Parameters
    ----------
    points
        ``(n, 2)`` on the old map.
    shift
        ``(n, 2)`` the fitted shift there.
    buildings_shift, building
        As ``building_shift`` gives them.
    base
        The base maps.
    """
    inside = np.flatnonzero(building >= 0)
    if not len(inside):
        return False
    middle = _middle(base, building[inside])
    gap = np.linalg.norm(buildings_shift[inside] - shift[inside], axis=1)
    was = np.linalg.norm(points[inside] - middle, axis=1)
    would_be = np.linalg.norm(points[inside] + shift[inside] - middle - buildings_shift[inside], axis=1)
    quiet, loud = gap <= AGREES_M, gap > DISAGREES_M
    if quiet.sum() < _FEWEST or loud.sum() < _FEWEST:
        return True
    habit = np.median(was[quiet])
    return bool(np.median(np.abs(would_be[loud] - habit)) >= _CLEARLY * np.median(np.abs(was[loud] - habit)))


def _middle(base: BaseMaps, building: Integers) -> Points:
    return shapely.get_coordinates(shapely.centroid(base.before.geometries[building]))


def _mean_shift(lines: OldLines) -> Points:
    """Mean shift of the corners of each feature ``(features, 2)``; NaN where it is not known."""
    count = np.bincount(lines.owner, minlength=len(lines.state))
    shift = lines.new_start - lines.start
    sums = [np.bincount(lines.owner, weights=axis, minlength=len(count)) for axis in shift.T]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack(sums, axis=1) / count[:, None]

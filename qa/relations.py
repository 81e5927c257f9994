"""What lies in what and on what: each feature against the old map before, and against the new map after the move.

The strongest evidence on a move there is: the base map shows where things went.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from qa.base_maps import BaseMaps
from qa.coincidence import Vertices
from qa.matching import ALTERED_RATIO
from transforms.contract import Points

NO_BUILDING, SAME_BUILDING, LEFT_BUILDING, OTHER_BUILDING, GONE_BUILDING = "none", "same", "left", "other", "gone"
"""What became of a point in a building: in none, the same, outside it, in another, or its building is gone."""


@dataclass(frozen=True)
class Disagreement:
    """How far moves differ from how the base map itself moved at the same places.

    Parameters
    ----------
    distance_m
        ``(n,)`` the worst vertex of a feature; NaN where the base map tells nothing.
    standard_error_m
        ``(n,)`` radial standard error of what the base map tells.
    told_ratio
        ``(n,)`` share of the vertices about which it tells anything; NaN for a feature without vertices.
    reach_m
        ``(n,)`` how far the corners that tell lie from a feature's vertices; 0 where every vertex is such a corner.
    within_ratio
        ``(n,)`` share of those vertices that lie within the corners that tell, and not to one side of them all.
    """

    distance_m: NDArray[np.float64]
    standard_error_m: NDArray[np.float64]
    told_ratio: NDArray[np.float64]
    reach_m: NDArray[np.float64]
    within_ratio: NDArray[np.float64]


def base_map_disagreement(before: Vertices, after: Points, base: BaseMaps, within_m: float = 200.0) -> Disagreement:
    """Compare the move of each feature with the corners that both editions of the base map show near it.

    Parameters
    ----------
    before
        Vertices at their old places.
    after
        ``(m, 2)`` where the same vertices went.
    base
        The two editions.
    within_m
        Corners further away say nothing.
    """
    observed = base.observed_shift(before.points)
    difference = np.linalg.norm(after - before.points - observed.shift, axis=1)
    tells = observed.distance_m <= within_m
    told = Vertices(before.points[tells], before.feature[tells], before.count)
    return Disagreement(
        told.quantile(difference[tells], 1.0),
        told.quantile(observed.standard_error_m[tells], 1.0),
        before.mean(tells.astype(float)),
        told.quantile(observed.distance_m[tells], 1.0),
        told.mean(observed.is_within[tells].astype(float)),
    )


def building_relation(before: Points, after: Points, base: BaseMaps) -> NDArray[np.str_]:
    """Whether points lie in the same building on the new map as on the old one, ``(n,)`` words.

    Which building is which its shape and its neighbours say (``qa/matching.py``), and only then its id. One without an
    id, or with one that the new map does not know, counts as the same as any: ids are re-issued. It is gone where the
    new map neither knows its id nor shows any building on its site.

    Parameters
    ----------
    before, after
        ``(n, 2)`` the old and the new places of the points.
    base
        The two editions.
    """
    was_in, is_in = base.before.area_at(before), base.after.area_at(after)
    was_inside, is_inside = was_in >= 0, is_in >= 0
    old_ids, new_ids = np.append(base.before.area_ids, "")[was_in], np.append(base.after.area_ids, "")[is_in]
    by_id = np.isin(old_ids, base.after.area_ids) & (old_ids != new_ids) & (old_ids != "")
    it_is = base.area_after[was_in]
    moved_house = is_inside & np.where(it_is >= 0, it_is != is_in, by_id)
    relation = np.where(is_inside, SAME_BUILDING, LEFT_BUILDING)
    relation = np.where(moved_house, OTHER_BUILDING, relation)
    left = np.flatnonzero(was_inside & ~is_inside & (old_ids != "") & ~np.isin(old_ids, base.after.area_ids))
    relation[left[_is_site_empty(before[left], after[left], base)]] = GONE_BUILDING
    return np.where(was_inside, relation, NO_BUILDING)


def _is_site_empty(before: Points, after: Points, base: BaseMaps) -> NDArray[np.bool_]:
    """Whether the building about each old place, moved as the place is, meets no building of the new map, ``(n,)``."""
    sites = base.before.areas.geometries[base.before.area_at(before)]
    points, building = shapely.get_coordinates(sites, return_index=True)
    moved = shapely.set_coordinates(sites.copy(), points + (after - before)[building])
    empty = np.ones(len(before), dtype=bool)
    empty[base.after.areas.query(moved, predicate="intersects")[0]] = False
    return empty


def building_offset_change_m(before: Points, after: Points, base: BaseMaps) -> NDArray[np.float64]:
    """By how much the place of points within their building changed, ``(n,)`` metres; NaN for those in none.

    The place is the offset from the building's centre. Needs no ids, and sees a building that moved on its own; a
    building that was altered (its area differs by more than 5 %) tells nothing.

    Parameters
    ----------
    before, after
        ``(n, 2)`` the old and the new places of the points.
    base
        The two editions.
    """
    old_area, new_area = base.before.area_at(before), base.after.area_at(after)
    change = np.full(len(before), np.nan)
    both = np.flatnonzero((old_area >= 0) & (new_area >= 0))
    old, new = base.before.areas.geometries[old_area[both]], base.after.areas.geometries[new_area[both]]
    offset_before = before[both] - shapely.get_coordinates(shapely.centroid(old))
    offset_after = after[both] - shapely.get_coordinates(shapely.centroid(new))
    unaltered = np.abs(shapely.area(new) / shapely.area(old) - 1.0) <= ALTERED_RATIO
    change[both] = np.where(unaltered, np.linalg.norm(offset_after - offset_before, axis=1), np.nan)
    return change


def line_distance_change_m(before: Points, after: Points, base: BaseMaps, near_m: float) -> NDArray[np.float64]:
    """By how much the distance of points to their nearest line changed, ``(n,)``; NaN if it was over ``near_m``."""
    old = base.before.line_distance_m(before)
    new = base.after.line_distance_m(after)
    near, change = old <= near_m, np.full(len(before), np.nan)
    change[near] = np.abs(new[near] - old[near])
    return change

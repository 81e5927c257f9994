"""Every measure of a layer's move, put together: old and new geometries in, one named number per feature out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from qa import completeness, relations, shape, topology
from qa.base_maps import BaseMaps, Geometries
from qa.coincidence import Vertices, evenly_chosen
from qa.control_near import control_disagreement_m
from qa.limits import Limits
from qa.long_edges import places_along
from transforms.complex_places import is_place
from transforms.contract import Control, Points

Measures = dict[str, NDArray[Any]]

_ON_A_LINE_M = 0.25
_BESIDE_A_LINE_M = 2.0
_SHOWN_WITHIN_M = 0.25


@dataclass(frozen=True)
class Move:
    """The move of one layer.

    Parameters
    ----------
    before, after
        ``(n,)`` geometries in two dimensions; None where there is none.
    moved
        ``(n,)`` whether a move is proposed.
    """

    before: Geometries
    after: Geometries
    moved: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.before)


def measure(
    move: Move, base: BaseMaps | None, control: Control, limits: Limits
) -> tuple[Measures, shape.CommonVertices]:
    """All measures of a layer, by name, each ``(n,)``; and the vertices they were taken from.

    Parameters
    ----------
    move
        The old and the new geometries.
    base
        The two editions of the base map, or None: then what depends on it is NaN.
    control
        The control that the fit used.
    limits
        The limits in force; some say what is measured (which corner is a right angle).
    """
    vertices = shape.CommonVertices.of(move.before, move.after)
    places = _places(move.before)
    measures = _shape(move, vertices, places, base, limits)
    measures |= _topology(move)
    measures |= {
        "control_disagreement_m": _where_placed(places, lambda points: control_disagreement_m(points, control)),
        "isolation_m": _where_placed(places, _isolation_m),
    }
    return measures | _relations(move, vertices, base), vertices


def _shape(
    move: Move, vertices: shape.CommonVertices, places: Points, base: BaseMaps | None, limits: Limits
) -> Measures:
    allowance = _Allowance.at(places, base, limits)
    changes = _changes(move.before, move.after, vertices, allowance, limits)
    if base is None:
        return changes
    rows = np.flatnonzero(move.moved & _is_beyond(changes, limits))
    shown = _as_the_map_shows(move.before[rows], base)
    again = shape.CommonVertices.of(shown, move.after[rows])
    for name, against_map in _changes(shown, move.after[rows], again, allowance.of(rows), limits).items():
        changes[name][rows] = np.fmin(changes[name][rows], against_map)
    return changes


@dataclass(frozen=True)
class _Allowance:
    """OS's limit on wrong distances at each feature: ``change_m`` over ``base_m``."""

    change_m: NDArray[np.float64]
    base_m: NDArray[np.float64]

    @classmethod
    def at(cls, places: Points, base: BaseMaps | None, limits: Limits) -> _Allowance:
        density = np.full(len(places), np.inf) if base is None else _where_placed(places, base.before.areas_per_ha)
        in_town = ~(density <= limits.town_buildings_per_ha)
        return cls(
            np.where(in_town, limits.distance_change_town_m, limits.distance_change_rural_m),
            np.where(in_town, limits.distance_base_town_m, limits.distance_base_rural_m),
        )

    def of(self, rows: NDArray[np.int_]) -> _Allowance:
        return _Allowance(self.change_m[rows], self.base_m[rows])


def _changes(
    before: Geometries, after: Geometries, vertices: shape.CommonVertices, allowance: _Allowance, limits: Limits
) -> Measures:
    return {
        "area_change_ratio": shape.area_change_ratio(before, after, limits.area_noise_m),
        "distance_change_ratio": shape.distance_change_ratio(vertices, allowance.change_m, allowance.base_m),
        "right_angle_change_deg": shape.right_angle_change_deg(vertices, limits.right_angle_deg),
    }


def _is_beyond(changes: Measures, limits: Limits) -> NDArray[np.bool_]:
    beyond = changes["area_change_ratio"] > limits.area_change_ratio
    beyond |= changes["distance_change_ratio"] > 1.0
    return np.asarray(beyond | (changes["right_angle_change_deg"] > limits.angle_change_deg))


def _as_the_map_shows(geometries: Geometries, base: BaseMaps) -> Geometries:
    """The geometries with every vertex moved as the base map itself moved there; None where it shows too little.

    A limit on wrong distances is a limit against the new map, not against the old one: where the map itself changed
    shape, to follow it is right.
    """
    points, feature = shapely.get_coordinates(geometries, return_index=True)
    observed = base.observed_shift(points)
    shows = observed.standard_error_m <= _SHOWN_WITHIN_M
    shown = geometries.copy()
    shown[np.unique(feature[~shows])] = None
    keep = np.isin(feature, np.flatnonzero(~shapely.is_missing(shown)))
    shapely.set_coordinates(shown, (points + observed.shift)[keep])
    return shown


def _topology(move: Move) -> Measures:
    return {
        "is_valid_before": topology.is_valid(move.before),
        "undecided_area_ratio": topology.undecided_area_ratio(move.before),
        "is_valid_after": topology.is_valid(move.after),
        "part_count_before": topology.part_count(move.before),
        "part_count_after": topology.part_count(move.after),
        "hole_count_before": topology.hole_count(move.before),
        "hole_count_after": topology.hole_count(move.after),
        "vertex_count_before": topology.vertex_count(move.before),
        "vertex_count_after": topology.vertex_count(move.after),
        "lost_geometry": completeness.lost_geometry(move.before, move.after),
        "changed_type": completeness.changed_type(move.before, move.after),
    }


def _relations(move: Move, common: shape.CommonVertices, base: BaseMaps | None) -> Measures:
    nothing = np.full(len(move), np.nan)
    measures: Measures = {
        "base_map_disagreement_m": nothing,
        "base_map_error_m": nothing,
        "base_map_told_ratio": nothing,
        "base_map_reach_m": nothing,
        "base_map_within_ratio": nothing,
        "new_map_distance_m": nothing,
        "line_distance_change_m": nothing.copy(),
        "building_offset_change_m": nothing.copy(),
        "building": np.full(len(move), relations.NO_BUILDING, dtype="<U5"),
    }
    if base is None:
        return measures
    _of_vertices(measures, move, common, base)
    _of_points(measures, move, base)
    return measures


def _of_vertices(measures: Measures, move: Move, common: shape.CommonVertices, base: BaseMaps) -> None:
    chosen = evenly_chosen(common.feature, common.count) & move.moved[common.feature]
    chosen &= np.isfinite(common.after).all(axis=1)
    before = Vertices(common.before[chosen], common.feature[chosen], common.count)
    after = common.after[chosen]
    disagreement = relations.base_map_disagreement(*_with_places_along(before, after, move, common), base)
    measures["base_map_disagreement_m"] = disagreement.distance_m
    measures["base_map_error_m"] = disagreement.standard_error_m
    measures["base_map_told_ratio"] = disagreement.told_ratio
    measures["base_map_reach_m"] = disagreement.reach_m
    measures["base_map_within_ratio"] = disagreement.within_ratio
    measures["new_map_distance_m"] = _new_map_distance_m(before, after, base)


def _with_places_along(
    before: Vertices, after: Points, move: Move, common: shape.CommonVertices
) -> tuple[Vertices, Points]:
    old, new, feature = places_along(common, move.after)
    kept = move.moved[feature] & np.isfinite(new).all(axis=1)
    points, owner = np.concatenate([before.points, old[kept]]), np.concatenate([before.feature, feature[kept]])
    return Vertices(points, owner, before.count), np.concatenate([after, new[kept]])


def _of_points(measures: Measures, move: Move, base: BaseMaps) -> None:
    points = np.flatnonzero(move.moved & (shapely.get_type_id(move.before) == 0))
    old, new = shapely.get_coordinates(move.before[points]), shapely.get_coordinates(move.after[points])
    building = relations.building_relation(old, new, base)
    measures["building"][points] = building
    measures["building_offset_change_m"][points] = relations.building_offset_change_m(old, new, base)
    beside = relations.line_distance_change_m(old, new, base, _BESIDE_A_LINE_M)
    # The walls of a building that is gone say nothing of the place.
    measures["line_distance_change_m"][points] = np.where(building == relations.GONE_BUILDING, np.nan, beside)


def _new_map_distance_m(before: Vertices, after: Points, base: BaseMaps) -> NDArray[np.float64]:
    """How far features that lay on the lines of the old map then lie from those of the new one; NaN for others."""
    was_on_lines = before.quantile(base.before.line_distance_m(before.points), 0.8) <= _ON_A_LINE_M
    distance = before.quantile(base.after.line_distance_m(after), 0.8)
    return np.where(was_on_lines, distance, np.nan)


def _places(geometries: Geometries) -> Points:
    west, south, east, north = shapely.bounds(geometries).T
    return np.stack([(west + east) / 2.0, (south + north) / 2.0], axis=1)


def _where_placed(places: Points, of: Any) -> NDArray[np.float64]:
    result = np.full(len(places), np.nan)
    placed = is_place(places)
    result[placed] = of(places[placed])
    return result


def _isolation_m(places: Points) -> NDArray[np.float64]:
    """Distance to the nearest other feature, ``(n,)``; 0 for a layer of one."""
    if len(places) < 2:
        return np.zeros(len(places))
    return np.asarray(cKDTree(places).query(places, k=2)[0][:, 1])

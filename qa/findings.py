"""Which measures of a feature lie beyond their limits: masks by reason code."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qa.limits import Limits
from qa.measures import Measures
from qa.relations import GONE_BUILDING, LEFT_BUILDING, OTHER_BUILDING

Masks = dict[str, NDArray[np.bool_]]


def findings_of(measures: Measures, moved: NDArray[np.bool_], limits: Limits) -> Masks:
    """What lies beyond its limit, by code of ``triage.REASONS``; each mask ``(n,)``.

    Parameters
    ----------
    measures
        The measures by name, with ``shift_m`` and ``control_distance_m`` of the shift.
    moved
        ``(n,)`` whether a move is proposed; what does not move has not changed.
    limits
        The limits in force.
    """
    of_the_move = _of_the_move(measures, limits)
    found = {code: mask & moved for code, mask in of_the_move.items()}
    return found | {
        "lost_geometry": measures["lost_geometry"],
        "type_changed": measures["changed_type"],
        "far_from_layer": measures["isolation_m"] > limits.isolation_m,
        "outline_crosses": measures["undecided_area_ratio"] > limits.area_change_ratio,
        "invalid_before": ~measures["is_valid_before"],
    }


def _of_the_move(measures: Measures, limits: Limits) -> Masks:
    return {
        "base_map_disagrees": _beyond(measures, "base_map_disagreement_m", limits.position_error_m),
        "off_the_new_map": _beyond(measures, "new_map_distance_m", limits.fit_to_new_map_m),
        "left_its_building": measures["building"] == LEFT_BUILDING,
        "changed_building": measures["building"] == OTHER_BUILDING,
        "building_gone": measures["building"] == GONE_BUILDING,
        "moved_within_building": _beyond(measures, "building_offset_change_m", limits.building_offset_m),
        "off_its_line": _beyond(measures, "line_distance_change_m", limits.position_error_m),
        "control_disagrees": _control_disagrees(measures, limits),
        "far_from_control": _beyond(measures, "control_distance_m", limits.control_distance_m),
        "long_shift": _beyond(measures, "shift_m", limits.shift_m),
        "area_changed": _beyond(measures, "area_change_ratio", limits.area_change_ratio),
        "distance_changed": _beyond(measures, "distance_change_ratio", 1.0),
        "right_angle_bent": _beyond(measures, "right_angle_change_deg", limits.angle_change_deg),
        "became_invalid": measures["is_valid_before"] & ~measures["is_valid_after"],
        "parts_changed": _differ(measures, "part_count") | _differ(measures, "hole_count"),
    }


def _control_disagrees(measures: Measures, limits: Limits) -> NDArray[np.bool_]:
    """Control about it disagrees, and the base map does not show all of it within half the position error."""
    out_m = measures["base_map_disagreement_m"] + measures["base_map_error_m"]
    is_shown = (measures["base_map_told_ratio"] == 1.0) & (out_m <= 0.5 * limits.position_error_m)
    return _beyond(measures, "control_disagreement_m", limits.control_disagreement_m) & ~is_shown


def _beyond(measures: Measures, name: str, limit: float) -> NDArray[np.bool_]:
    return np.asarray(measures[name] > limit)


def _differ(measures: Measures, name: str) -> NDArray[Any]:
    return np.asarray(measures[f"{name}_before"] != measures[f"{name}_after"])

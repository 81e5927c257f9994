"""The limits that decide verdicts, read from ``limits.yaml``; no rule lives here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from qa.risk import limit_for, measured_curve
from transforms.errors import SettingsError

LIMITS_FILE = Path(__file__).with_name("limits.yaml")


class Limit(NamedTuple):
    """One entry of ``limits.yaml``: the value, what it means and where it comes from."""

    value: float
    meaning: str
    source: str


@dataclass(frozen=True)
class Limits:
    """The limits in force, one number each; ``limits.yaml`` says what they mean."""

    position_error_m: float
    acceptable_wrong_ratio: float
    old_map_chance_ratio: float
    area_change_ratio: float
    area_noise_m: float
    distance_change_town_m: float
    distance_base_town_m: float
    distance_change_rural_m: float
    distance_base_rural_m: float
    town_buildings_per_ha: float
    angle_change_deg: float
    right_angle_deg: float
    straddling_m: float
    control_distance_m: float
    control_disagreement_m: float
    shift_m: float
    small_scale_denominator: float
    coarse_coordinate_m: float
    coincidence_m: float
    fit_to_new_map_m: float
    building_offset_m: float
    unmoved_map_m: float
    shared_edge_m: float
    isolation_m: float

    @property
    def wrong_chance_ratio(self) -> float:
        """The chance of being wrong above which a feature goes to an officer: it follows from the acceptable share.

        Where many features are sure a few very doubtful ones would be acceptable too; none is settled all the same
        whose chance is more than ten times that share.
        """
        return min(limit_for(self.acceptable_wrong_ratio, measured_curve()), 10.0 * self.acceptable_wrong_ratio)


@cache
def documented_limits() -> Mapping[str, Limit]:
    """Every limit by name, with its meaning and its source, in the order of the file."""
    content = yaml.safe_load(LIMITS_FILE.read_text(encoding="utf-8"))
    return {name: Limit(**entry) for name, entry in content.items()}


def limits_in_force(overrides: Mapping[str, float] | None = None) -> Limits:
    """The limits of the file, with ``overrides`` (``limits:`` in ``migration.yaml``) in their place.

    Raises
    ------
    SettingsError
        If an override names no limit or is not a positive, finite number.

    Examples
    --------
    >>> limits_in_force({"area_change_ratio": 0.05}).area_change_ratio
    0.05
    """
    values = {name: limit.value for name, limit in documented_limits().items()}
    for name, value in (overrides or {}).items():
        if name not in values:
            known = ", ".join(values)
            raise SettingsError(f"limits: {name} is not a limit. The limits are: {known} (see qa/limits.yaml).")
        if not 0 < value < math.inf:
            raise SettingsError(
                f"limits: {name} is {value!r}; a limit must be a positive number. Correct it in migration.yaml."
            )
        values[name] = value
    return Limits(**values)

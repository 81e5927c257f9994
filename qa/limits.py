"""The limits that decide verdicts, read from ``limits.yaml``; no rule lives here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qa.risk import limit_for, measured_curve
from transforms.errors import SettingsError

LIMITS_FILE = Path(__file__).with_name("limits.yaml")

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Limit(NamedTuple):
    """One entry of ``limits.yaml``: the value, what it means and where it comes from."""

    value: float
    meaning: str
    source: str


class Limits(BaseModel):
    """The limits in force, one number each; ``limits.yaml`` says what they mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    position_error_m: Positive
    acceptable_wrong_ratio: Positive
    old_map_chance_ratio: Positive
    area_change_ratio: Positive
    area_noise_m: Positive
    distance_change_town_m: Positive
    distance_base_town_m: Positive
    distance_change_rural_m: Positive
    distance_base_rural_m: Positive
    town_buildings_per_ha: Positive
    angle_change_deg: Positive
    right_angle_deg: Positive
    straddling_m: Positive
    control_distance_m: Positive
    control_disagreement_m: Positive
    shift_m: Positive
    small_scale_denominator: Positive
    coarse_coordinate_m: Positive
    coincidence_m: Positive
    fit_to_new_map_m: Positive
    building_offset_m: Positive
    unmoved_map_m: Positive
    shared_edge_m: Positive
    isolation_m: Positive

    @property
    def wrong_chance_ratio(self) -> float:
        """The chance of being wrong above which a feature goes to an officer: it follows from the acceptable share."""
        return limit_for(self.acceptable_wrong_ratio, measured_curve())


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
    try:
        return Limits(**(values | dict(overrides or {})))
    except ValidationError as error:
        raise SettingsError(_mistake(error)) from None


def _mistake(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    name = first["loc"][0]
    if first["type"] == "extra_forbidden":
        return f"limits: {name} is not a limit. The limits are: {', '.join(documented_limits())} (see qa/limits.yaml)."
    return f"limits: {name} is {first['input']!r}; a limit must be a positive number. Correct it in migration.yaml."

"""What the officers set: ``migration.yaml``, read strictly.

Unknown keys are refused, every number carries its unit in its name, and every mistake is one sentence that
names the file, the key, the value and the cure. Limits that decide verdicts are in ``qa/limits.yaml``;
``migration.yaml`` may override them one by one under ``limits:``, for all layers or for one.
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.choices import ExportFormat, Method, ReviewFormat, Strategy
from transforms.errors import SettingsError


def _inside_the_migration(path: Path) -> Path:
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("must lie inside the migration folder (no absolute path, no '..')")
    return path


InsidePath = Annotated[Path, AfterValidator(_inside_the_migration)]
"""A path relative to the migration folder that cannot leave it."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ControlSettings(_Strict):
    """Where the control points are and how long a shift may be."""

    files: list[InsidePath] = Field(
        default_factory=list, description="Control files or folders of them, inside the migration."
    )
    from_base_maps: bool = Field(
        True, description="Also take control from what both editions of the base map show, where they are given."
    )
    vintage: str = Field("", description="Date or issue of the delivery, kept with the hashes.")
    length_warn_m: float = Field(6.5, gt=0, description="A longer shift makes a control point suspect [m].")
    length_reject_m: float = Field(10.0, gt=0, description="A longer shift is rejected [m].")
    breaks: InsidePath | None = Field(None, description="A layer of known break lines; else they are found.")


class FitSettings(_Strict):
    """How the shift field is fitted."""

    method: Method = Field("auto", description="The method, or auto: chosen by spatially blocked hold-out.")


class BaseMap(_Strict):
    """One edition of the base map: what the council's layers were traced from."""

    file: InsidePath = Field(description="The base map file, or a folder of tiles or of OS MasterMap GML.")
    layers: list[str] = Field(default_factory=list, description="Its layers (MasterMap: features); empty means all.")


class BaseMaps(_Strict):
    """The old and the new edition of the base map, or one of them, and the day the council began to use the new one."""

    before: BaseMap | None = Field(None, description="The old map.")
    after: BaseMap | None = Field(None, description="The new map.")
    new_map_loaded_on: date | None = Field(None, description="Captures on or after this day were made on the new map.")
    tile_dates: InsidePath | None = Field(
        None, description="A CSV file of tile,date where that day differs; no date: the tile never changed."
    )

    @property
    def are_both_given(self) -> bool:
        """Whether the old and the new map are named: only then they show how the map moved."""
        return None not in (self.before, self.after)

    @property
    def lone(self) -> BaseMap | None:
        """The edition that is named where the other is not."""
        return None if self.are_both_given else self.before or self.after


class LayerSettings(_Strict):
    """One historic layer: where it is, how to read it and what its columns say."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$", description="Lower case, digits, underscore.")
    title: str = Field("", description="What people call it.")
    file: InsidePath = Field(description="The source file inside the migration folder.")
    source_layer: str | None = Field(None, description="The layer inside the file, where it holds several.")
    strategy: Strategy = Field("shift", description="What is done to it.")
    crs: Literal["EPSG:27700", "EPSG:4326", "EPSG:4258"] | None = Field(
        None,
        description="The officers' word on the coordinate system, where the file says none or a wrong one.",
    )
    reproject: bool = Field(False, description="Allow reprojecting to the National Grid (OSTN15 grid or not at all).")
    swap_axes: bool = Field(False, description="The file has northing before easting.")
    offset_easting_m: float = Field(0.0, description="Add this: lost 100 km digits.")
    offset_northing_m: float = Field(0.0, description="Add this: lost 100 km digits.")
    unit_m: float = Field(1.0, gt=0, description="Length of the file's unit; 0.001 for millimetres [m].")
    encoding: str | None = Field(None, description="Text encoding, where the file does not say.")
    easting_column: str | None = Field(None, description="CSV or Excel: the easting column.")
    northing_column: str | None = Field(None, description="CSV or Excel: the northing column.")
    wkt_column: str | None = Field(None, description="CSV or Excel: the WKT column.")
    id_column: str | None = Field(None, description="The reference officers know a feature by; need not be unique.")
    captured_column: str | None = Field(None, description="When a feature was captured.")
    captured_format: str | None = Field(None, description="strptime format of that column, e.g. %d/%m/%Y.")
    load_days: list[date] = Field(
        default_factory=list, description="Days of that column on which records were loaded, not captured."
    )
    method_column: str | None = Field(None, description="How a feature was captured.")
    ground_methods: list[str] = Field(
        default_factory=lambda: ["GPS", "GNSS", "Survey"],
        description="Methods that measure the ground itself: such features must not move.",
    )
    scale_column: str | None = Field(None, description="Scale of the source map, e.g. 2500 or 1:10 000.")
    shape: Literal["follow", "rigid"] = Field(
        "follow", description="follow: every vertex follows the field; rigid: shift and rotation per feature."
    )
    tolerance_m: float = Field(0.05, gt=0, description="How closely a straight edge follows the field [m].")
    review_formats: list[ReviewFormat] = Field(
        default_factory=list, description="Formats of the review package beside GeoPackage."
    )
    statutory: bool = Field(False, description="A second person signs it off before it is exported as final.")
    formats: list[ExportFormat] = Field(default_factory=list, description="Formats beside GeoPackage.")
    limits: dict[str, float] = Field(default_factory=dict, description="Overrides of limits for this layer only.")


class Settings(_Strict):
    """The whole of ``migration.yaml``."""

    title: str = Field(description="What this migration is called on pages and maps.")
    owner: str = Field("gis", description="The team that answers for it; lower case, one word.")
    control: ControlSettings = Field(default_factory=lambda: ControlSettings())
    fit: FitSettings = Field(default_factory=FitSettings)
    base_maps: BaseMaps = Field(default_factory=BaseMaps)
    layers: list[LayerSettings] = Field(min_length=1)
    limits: dict[str, float] = Field(default_factory=dict, description="Overrides of qa/limits.yaml by name.")

    @model_validator(mode="after")
    def _layer_names_are_unique(self) -> Settings:
        names = [layer.name for layer in self.layers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"layer name {twice[0]!r} is used twice; every layer needs a name of its own")
        return self

    @model_validator(mode="after")
    def _has_control(self) -> Settings:
        if not self.control.files and not self.derives_control:
            raise ValueError(
                "there is no control: name control.files, or both base_maps with control.from_base_maps: true"
            )
        return self

    @property
    def derives_control(self) -> bool:
        """Whether the base maps give control."""
        return self.control.from_base_maps and self.base_maps.are_both_given

    def layer(self, name: str) -> LayerSettings:
        """The settings of one layer.

        Raises
        ------
        SettingsError
            If the migration has no layer of that name.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        known = ", ".join(layer.name for layer in self.layers)
        raise SettingsError(f"This migration has no layer {name!r}. Its layers are: {known}.")

    def limits_of(self, layer: str) -> dict[str, float]:
        """The limits overridden for a layer: its own before those of the whole migration."""
        return self.limits | self.layer(layer).limits


def read_settings(path: Path) -> Settings:
    """Read ``migration.yaml``.

    Raises
    ------
    SettingsError
        If the file is missing, is not YAML or says something the settings do not allow.
    """
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        raise SettingsError(
            f"{path.parent} is not a migration folder: it has no migration.yaml. "
            "Start from a copy of data/demo/migration.yaml."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = re.sub(r"\s+", " ", str(error))
        raise SettingsError(f"{path} is not valid YAML ({reason}). Check the indentation there.") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path} is empty. Start from a copy of data/demo/migration.yaml.")
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        raise SettingsError(_first_mistake(path, error)) from None


def _first_mistake(path: Path, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the file"
    if first["type"] == "extra_forbidden":
        return f"{path}: {where} is not a setting. Check its spelling against README.md, Settings."
    more = f" ({error.error_count() - 1} more mistakes follow.)" if error.error_count() > 1 else ""
    message = first["msg"].removeprefix("Value error, ")
    return f"{path}: {where}: {message[0].lower()}{message[1:]}.{more}"

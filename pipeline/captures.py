"""What a layer's columns say of each feature's capture: dates, methods and scales as officers typed them."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.settings import LayerSettings, Settings
from pipeline.tile_dates import TileDates
from qa.captures import Evidence
from transforms.errors import SettingsError

_SCALE = re.compile(r"1\s*[:/]\s*(\d[\d ,]*)(k\b)?", re.IGNORECASE)
_BARE_NUMBER = re.compile(r"\s*(\d[\d ,]*)(?:\.0+)?\s*(k?)\s*", re.IGNORECASE)
_DATE_FORMATS = (
    *("%Y-%m-%d", "%d/%m/%Y", "%Y/%m/%d", "%d-%m-%Y", "%d.%m.%Y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%Y%m%d", "%Y"),
    *("%d/%m/%y", "%d-%m-%y", "%d.%m.%y", "%d-%b-%y", "%d %b %y"),
)
_CLOCK = re.compile(r"[T ]\d{1,2}:\d\d(:\d\d(\.\d+)?)?\s*([AP]M|Z|[+-]\d\d:?\d\d)?$", re.IGNORECASE)
_NO_DATES = np.array(
    ["0001-01-01", "1601-01-01", "1753-01-01", "1899-12-30", "1899-12-31", "1900-01-01", "1904-01-01", "1970-01-01"],
    dtype="datetime64[D]",
)
"""What databases and spreadsheets show for no date: the first day of their calendars."""


def read_evidence(
    columns: pa.Table | pa.RecordBatch,
    layer: LayerSettings,
    settings: Settings,
    tiles: TileDates | None = None,
    geometries: NDArray[np.object_] | None = None,
) -> Evidence:
    """The evidence that the columns of a staged layer hold.

    With ``tiles`` the day the new map came is looked up for each of ``geometries`` ``(n,)``.

    Raises
    ------
    SettingsError
        If ``migration.yaml`` names a column that the layer does not have.
    """
    method = _column(columns, layer.method_column, layer, "method_column")
    scale = _column(columns, layer.scale_column, layer, "scale_column")
    captured = _column(columns, layer.captured_column, layer, "captured_column")
    loaded = settings.base_maps.new_map_loaded_on
    day = None if loaded is None else np.datetime64(loaded, "D")
    first = last = unchanged = None
    if tiles is not None and geometries is not None:
        first, last, unchanged = tiles.about(geometries, np.datetime64("NaT", "D") if day is None else day)
    return Evidence(
        captured_on=None if captured is None else _captured_on(captured, layer, day if first is None else first),
        method=None
        if method is None
        else np.array(["" if value is None else str(value) for value in method], dtype=str),
        scale=_scales(scale, method),
        ground_methods=tuple(layer.ground_methods),
        new_map_loaded_on=day if first is None else first,
        new_map_complete_on=last,
        is_unchanged_tile=unchanged,
        is_to_stay=layer.strategy == "leave",
    )


def _column(columns: Any, name: str | None, layer: LayerSettings, key: str) -> list[Any] | None:
    if name is None:
        return None
    if name not in columns.schema.names:
        known = ", ".join(column for column in columns.schema.names if not column.startswith("pai_"))
        raise SettingsError(
            f"Layer {layer.name}: {key} is {name!r}, but its columns are: {known}. Correct it in migration.yaml."
        )
    return list(columns.column(name).to_pylist())


def _captured_on(
    values: list[Any], layer: LayerSettings, new_map_on: np.datetime64 | NDArray[np.datetime64] | None
) -> NDArray[np.datetime64]:
    """The dates, but not those that stand for none, nor those of a load since the new map came: what was loaded before
    was drawn before it, too.
    """
    dates = _dates(values, layer)
    is_load = np.isin(dates, np.array(layer.load_days, dtype="datetime64[D]"))
    if new_map_on is not None:
        is_load &= ~(dates < new_map_on)
    return np.where(is_load | np.isin(dates, _NO_DATES), np.datetime64("NaT", "D"), dates)


def unread_texts(values: list[Any], layer: LayerSettings) -> list[str]:
    """What stands in a layer's column of dates and is none, or one that is yet to come."""
    unread = np.isnat(_dates(values, layer))
    return [text for text in (_text(values[row]) for row in np.flatnonzero(unread)) if text]


def _dates(values: list[Any], layer: LayerSettings) -> NDArray[np.datetime64]:
    forms = (layer.captured_format,) if layer.captured_format else _DATE_FORMATS
    days = {value: _day(value, forms) for value in set(values)}
    dates = np.array([days[value] for value in values], dtype="datetime64[D]")
    return np.where(dates > np.datetime64("today", "D"), np.datetime64("NaT", "D"), dates)


def _text(value: Any) -> str:
    """What stands in a cell; of a number without decimals no decimals."""
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.15g}"
    return "" if value is None else str(value).strip()


def _day(value: Any, forms: tuple[str, ...]) -> np.datetime64:
    if isinstance(value, (datetime, date)):
        return np.datetime64(value.date() if isinstance(value, datetime) else value, "D")
    text = _text(value)
    for written in dict.fromkeys((text, _CLOCK.sub("", text))):
        for form in forms:
            try:
                return np.datetime64(datetime.strptime(written, form).date(), "D")
            except ValueError:
                continue
    return np.datetime64("NaT", "D")


def _scales(scale: list[Any] | None, method: list[Any] | None) -> NDArray[np.float64] | None:
    if scale is None and method is None:
        return None
    count = len(scale or method or [])
    said = [_denominator(value, _BARE_NUMBER) for value in scale] if scale is not None else [np.nan] * count
    told = [_denominator(value) for value in method] if method is not None else [np.nan] * count
    return np.fmax(np.array(said, dtype=float), np.array(told, dtype=float))


def _denominator(value: Any, bare: re.Pattern[str] | None = None) -> float:
    text = "" if value is None else str(value)
    found = _SCALE.search(text) or (bare.fullmatch(text) if bare else None)
    if found is None:
        return np.nan
    return float(re.sub(r"[ ,]", "", found[1])) * (1000.0 if found[2] else 1.0)

"""CSV, written as it came: the coordinates go back into the columns they were read from, everything else is untouched.

A coordinate that did not change keeps its text byte for byte; one that did is written to the millimetre.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from pipeline.formats.stream import GEOMETRY, Origin, origin_of
from pipeline.formats.text_coordinates import numbers_from_text, shapes_from_wkt
from pipeline.geometry.wkb_batch import WkbBatch
from pipeline.geometry.wkb_types import CURVES, type_codes
from transforms.errors import ExportError

_DECIMALS = 3


class _Columns(Protocol):
    names: list[str]

    def texts(self, batch: pa.RecordBatch) -> dict[str, list[str]]: ...

    def notes(self) -> list[str]: ...


def write_csv(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], shown: Path) -> list[str]:
    """Write CSV in UTF-8, with the separator, the byte order mark and the line ends of the CSV it came from.

    Raises
    ------
    ExportError
        If a geometry cannot be written as text (true curves), or is no point where the columns hold points.
    """
    origin = origin_of(schema)
    places = _places(origin, schema, shown)
    names = [name for name in schema.names if name != GEOMETRY]
    header = [*names, *(name for name in places.names if name not in names)]
    nulls = 0
    with path.open("w", encoding="utf-8-sig" if origin.has_bom else "utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=origin.delimiter, lineterminator="\r\n" if origin.has_crlf else "\n")
        writer.writerow(header)
        for batch in batches:
            texts = places.texts(batch)
            columns = [texts[name] if name in texts else _texts(batch, name) for name in header]
            nulls += sum(batch.column(i).null_count for i, name in enumerate(schema.names) if name in names)
            writer.writerows(zip(*columns, strict=True))
    notes = [f"{nulls} missing values are empty text: CSV knows no NULL."] if nulls else []
    return [*notes, *places.notes()]


def _places(origin: Origin, schema: pa.Schema, shown: Path) -> _Columns:
    taken = {name.lower() for name in schema.names}
    if origin.wkt_column in schema.names:
        return _Wkt(str(origin.wkt_column), origin.wkt_column, shown)
    if origin.easting_column in schema.names and origin.northing_column in schema.names:
        return _Pair((str(origin.easting_column), str(origin.northing_column)), origin, shown)
    if origin.geometry_type.startswith("Point"):
        pair = ("easting", "northing") if not taken & {"easting", "northing"} else ("pai_easting", "pai_northing")
        return _Pair(pair, None, shown)
    return _Wkt("wkt" if "wkt" not in taken else "pai_wkt", None, shown)


class _Pair:
    """Easting and northing, each in its column."""

    def __init__(self, names: tuple[str, str], origin: Origin | None, shown: Path) -> None:
        self.names = list(names)
        self._origin = origin
        self._shown = shown
        self._higher = 0

    def notes(self) -> list[str]:
        lost = f"{self._higher} points lose their heights (Z) and measures (M): CSV has columns for the place only."
        return [lost] if self._higher else []

    def texts(self, batch: pa.RecordBatch) -> dict[str, list[str]]:
        wkb = WkbBatch.of(batch.column(batch.schema.get_field_index(GEOMETRY)))
        if len(np.unique(wkb.feature)) != len(wkb.feature):
            raise ExportError(f"{self._shown} cannot hold this layer: not all its features are points. Use GeoPackage.")
        self._higher += int((wkb.runs.dimensions > 2).sum())
        place = np.full((len(batch), 2), np.nan)
        place[wkb.feature] = wkb.place
        return {name: self._column(batch, name, place[:, axis]) for axis, name in enumerate(self.names)}

    def _column(self, batch: pa.RecordBatch, name: str, values: np.ndarray) -> list[str]:
        if self._origin is None:
            return ["" if np.isnan(value) else f"{value:.{_DECIMALS}f}" for value in values.tolist()]
        before = batch.column(batch.schema.get_field_index(name))
        numbers = numbers_from_text(before, self._origin.decimal_comma)
        is_kept = (numbers == values) | np.isnan(values)
        texts = _texts(batch, name)
        for row in np.flatnonzero(~is_kept).tolist():
            texts[row] = _like(texts[row], float(values[row]))
        return texts


def _like(before: str, value: float) -> str:
    """``value`` to the millimetre, with a decimal comma where ``before`` has one."""
    text = f"{value:.{_DECIMALS}f}"
    return text.replace(".", ",") if "," in before and "." not in before else text


class _Wkt:
    """Any geometry as WKT in one column."""

    def __init__(self, name: str, read_from: str | None, shown: Path) -> None:
        self.names = [name]
        self._read_from = read_from
        self._shown = shown

    def notes(self) -> list[str]:
        return []

    def texts(self, batch: pa.RecordBatch) -> dict[str, list[str]]:
        geometry = batch.column(batch.schema.get_field_index(GEOMETRY))
        if self._read_from is None:
            return {self.names[0]: self._wkt(geometry)}
        before = batch.column(batch.schema.get_field_index(self._read_from))
        texts = _texts(batch, self._read_from)
        changed = np.flatnonzero(_differs(shapes_from_wkt(before), geometry))
        for row, text in zip(changed.tolist(), self._wkt(geometry.take(pa.array(changed))), strict=True):
            texts[row] = text
        return {self.names[0]: texts}

    def _wkt(self, geometry: pa.Array) -> list[str]:
        import shapely

        if np.isin(type_codes(geometry) % 1000, list(CURVES)).any():
            raise ExportError(f"{self._shown} cannot hold true curves as text. Use GeoPackage, which keeps them.")
        shapes = shapely.from_wkb(np.array([*geometry.to_pylist(), None], dtype=object)[:-1], on_invalid="ignore")
        lost = int((shapely.is_missing(shapes) & geometry.is_valid().to_numpy(zero_copy_only=False)).sum())
        if lost:
            raise ExportError(f"{self._shown}: {lost} broken geometries cannot be written as text. Use GeoPackage.")
        written = shapely.to_wkt(shapes, rounding_precision=_DECIMALS, trim=True, output_dimension=4)
        return [text or "" for text in np.atleast_1d(written).tolist()]


def _differs(before: pa.Array, now: pa.Array) -> list[bool]:
    return [old != new for old, new in zip(before.to_pylist(), now.to_pylist(), strict=True)]


def _texts(batch: pa.RecordBatch, name: str) -> list[str]:
    return [_text(value) for value in batch.column(batch.schema.get_field_index(name)).to_pylist()]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)

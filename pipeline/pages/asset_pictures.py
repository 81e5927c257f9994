"""What the asset pages of the Dagster UI show as pictures, read from the files of the stages.

Each returns None where there is nothing to draw yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from pipeline.breaks_file import read_breaks
from pipeline.field_file import read_field
from pipeline.fitted import Fitted
from pipeline.pages.charts import histogram
from pipeline.pages.dashboard import (
    REGIME_LOOKS,
    STATUS_LOOKS,
    VERDICT_LOOKS,
    WIDTH_IN,
    Look,
    class_map,
    control_map,
    days_chart,
    layers_chart,
    methods_chart,
    reliability_chart,
    risk_chart,
    shift_field_map,
    uncertainty_map,
)
from pipeline.pages.layer_pictures import field_arrows, read_control_places
from pipeline.pages.map_frame import Extent
from pipeline.pages.maps import extent_of
from pipeline.pages.outcome import Counts
from pipeline.pages.outlines import drawn_rows, read_outlines
from pipeline.pages.pictures import Picture
from pipeline.storage import Migration
from qa.limits import limits_in_force
from qa.risk import measured_curve
from transforms.contract import Points

_DRAWN = 6_000


def draw_control(migration: Migration) -> Picture | None:
    """The control by verdict, with the breaks by which it was judged."""
    control = read_control_places(migration)
    if not len(control.places):
        return None
    return control_map(control, _control_extent(migration), read_breaks(migration.control_breaks).lines)


def draw_field(migration: Migration) -> Picture | None:
    """The shift with its breaks."""
    fitted = _fitted(migration)
    if fitted is None:
        return None
    extent = _control_extent(migration)
    shifts, breaks = field_arrows(migration, extent)
    return shift_field_map(shifts, extent, breaks)


def draw_uncertainty(migration: Migration) -> Picture | None:
    """How sure the shift is, place by place."""
    fitted = _fitted(migration)
    if fitted is None:
        return None
    limit_m = limits_in_force(migration.settings.limits).position_error_m
    return uncertainty_map(fitted.field, _control_extent(migration), _breaks(fitted), limit_m)


def draw_methods(migration: Migration) -> Picture | None:
    """The methods compared."""
    fitted = _fitted(migration)
    return methods_chart(fitted.scores, fitted.method) if fitted and fitted.scores else None


def draw_reliability(migration: Migration) -> Picture | None:
    """Whether the stated errors hold."""
    fitted = _fitted(migration)
    if fitted is None or not fitted.within_95_share:
        return None
    return reliability_chart(fitted.holdout.get("reliability", ()), fitted.within_95_share)


def draw_regimes(migration: Migration, layer: str) -> Picture | None:
    """Which map each feature was drawn on."""
    return _by_column(migration, layer, migration.staged(layer), migration.shifted(layer), "regime", REGIME_LOOKS)


def draw_verdicts(migration: Migration, layer: str) -> Picture | None:
    """What was accepted, left, and given to officers."""
    return _by_column(migration, layer, migration.proposed(layer), migration.quality(layer), "verdict", VERDICT_LOOKS)


def draw_risk(migration: Migration, layer: str) -> Picture | None:
    """What the chances of being wrong are worth, and what they are in this layer."""
    table = pq.read_table(migration.quality(layer), columns=["wrong_chance_ratio", "verdict"])
    if not len(table):
        return None
    in_review = np.array(table["verdict"].to_pylist(), dtype=np.str_) == "review"
    limit = limits_in_force(migration.settings.limits_of(layer)).wrong_chance_ratio
    return risk_chart(table["wrong_chance_ratio"].to_numpy(), in_review, measured_curve(), limit)


def draw_outcome(migration: Migration, layer: str) -> Picture | None:
    """What moved, stays, was fixed, and is open."""
    corrected = migration.corrected(layer)
    return _by_column(migration, layer, corrected, corrected, "pai_status", STATUS_LOOKS)


def draw_histogram(values: NDArray[np.float64], label: str) -> Picture | None:
    """How a measure is spread; the axis is made for all but the last values, which are told in words."""
    return histogram(values, label, width_in=WIDTH_IN) if np.isfinite(values).any() else None


def draw_layers(counts: Mapping[str, Counts]) -> Picture | None:
    """How far each layer is."""
    return layers_chart(counts) if counts else None


def draw_board(migration: Migration, layers: Sequence[str]) -> Picture | None:
    """All layers in one map, by what became of each feature."""
    shapes, status = [np.empty(0, dtype=object)], [np.empty(0, dtype="<U7")]
    for layer in layers:
        told = pq.read_table(migration.corrected(layer), columns=["pai_status"])["pai_status"].to_pylist()
        rows = drawn_rows(len(told), max(1, _DRAWN // len(layers)))
        shapes.append(read_outlines(migration.corrected(layer), rows))
        status.append(np.array(told, dtype=np.str_)[rows])
    every = np.concatenate(shapes)
    shown = ~shapely.is_missing(every)
    if not shown.any():
        return None
    extent, _ = extent_of(every[shown])
    return class_map(every[shown], np.concatenate(status)[shown], STATUS_LOOKS, extent)


def draw_days(by_day: Mapping[str, Mapping[str, int] | int]) -> Picture | None:
    """Decisions day by day."""
    counts = {day: told if isinstance(told, int) else sum(told.values()) for day, told in by_day.items()}
    return days_chart(counts) if counts else None


def _by_column(
    migration: Migration, layer: str, shapes_in: Path, classes_in: Path, column: str, looks: Mapping[str, Look]
) -> Picture | None:
    classes = np.array(pq.read_table(classes_in, columns=[column])[column].to_pylist(), dtype=np.str_)
    rare = np.flatnonzero(classes != _commonest(classes))  # of what stands out as many as the map can bear
    rows = np.unique(np.concatenate([drawn_rows(len(classes), _DRAWN), rare[drawn_rows(len(rare), _DRAWN)]]))
    shapes = read_outlines(shapes_in, rows.astype(int))
    shown = ~shapely.is_missing(shapes)
    if not shown.any():
        return None
    extent, _ = extent_of(shapes[shown])
    return class_map(shapes[shown], classes[rows][shown], looks, extent, _breaks(_fitted(migration)))


def _commonest(classes: NDArray[np.str_]) -> str:
    names, counts = np.unique(classes, return_counts=True)
    return str(names[counts.argmax()]) if len(names) else ""


def _fitted(migration: Migration) -> Fitted | None:
    return read_field(migration.field_file) if migration.field_file.exists() else None


def _breaks(fitted: Fitted | None) -> list[Points]:
    return list(fitted.breaks.lines) if fitted else []


def _control_extent(migration: Migration) -> Extent:
    control = read_control_places(migration)
    used = control.places[control.verdict == "used"]
    extent, _ = extent_of(shapely.points(used if len(used) else control.places), margin=0.02)
    return extent

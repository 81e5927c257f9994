"""The pictures of one layer's evidence: which features they show, and from which files they come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from pipeline.field_file import read_field
from pipeline.pages.base_map_window import new_map_around, read_new_map
from pipeline.pages.charts import histogram
from pipeline.pages.map_data import MapData, map_data
from pipeline.pages.map_frame import Extent
from pipeline.pages.maps import (
    ControlPlaces,
    Features,
    Shifts,
    close_up,
    close_up_extent,
    extent_of,
    layer_map,
    shift_map,
)
from pipeline.pages.outcome import Outcome
from pipeline.pages.outlines import DRAWN_FEATURES, drawn_rows, read_outlines
from pipeline.pages.pictures import Picture
from pipeline.storage import Migration
from transforms.contract import Points

_ARROWS_ACROSS = 26
_NO_FEATURES = Features(np.empty(0, dtype=object), np.empty(0, dtype=object), np.empty(0, dtype="<U8"))


@dataclass(frozen=True)
class CloseUp:
    """A place seen near: its letter on the map, the row it shows, why it was chosen, and the picture."""

    letter: str
    row: int
    why: str
    picture: str


@dataclass(frozen=True)
class LayerPictures:
    """Pictures as data URIs; empty text where there is nothing to draw."""

    layer_map: str = ""
    close_ups: tuple[CloseUp, ...] = ()
    shift_map: str = ""
    shift_histogram: str = ""
    uncertainty_histogram: str = ""
    drawn: int = 0
    left_outside: int = 0
    without_shape: int = 0
    map: MapData | None = None
    has_ground: bool = False


def draw_layer(migration: Migration, outcome: Outcome) -> LayerPictures:
    """Draw everything the evidence page of a layer shows."""
    rows = _rows_to_draw(outcome)
    features = _features(migration, outcome, rows)
    shown = ~shapely.is_missing(features.before) & ~shapely.is_missing(features.after)
    if not shown.any():
        return LayerPictures(shift_map=_shift_picture(migration, features), without_shape=len(features))
    rows, features = rows[shown], Features(features.before[shown], features.after[shown], features.status[shown])
    extent, left_outside = extent_of(features.after)
    near = _close_ups(migration, outcome, rows, features)
    marks = [(one.letter, *_centre(features.after[np.searchsorted(rows, one.row)])) for one in near]
    return LayerPictures(
        layer_map=layer_map(features, extent, marks).uri,
        close_ups=tuple(near),
        shift_map=_shift_picture(migration, features),
        shift_histogram=_histogram(outcome.shift_m[outcome.displaced], "length of the shift [m]"),
        uncertainty_histogram=_histogram(outcome.uncertainty_m[outcome.displaced], "standard error [m]"),
        drawn=len(features),
        left_outside=left_outside,
        without_shape=int((~shown).sum()),
        **_interactive(migration, outcome, rows, features, extent),
    )


def _interactive(
    migration: Migration, outcome: Outcome, rows: NDArray[np.int_], features: Features, extent: Extent
) -> dict[str, Any]:
    reviewed = outcome.reviewed_rows()
    shifts, breaks = field_arrows(migration, extent)
    ground = new_map_around(migration, extent, _reviewed_first(features, np.isin(rows, reviewed)))
    content = map_data(
        outcome, rows, features, extent, reviewed=reviewed.tolist(), shifts=shifts, breaks=breaks, ground=ground
    )
    return {"map": content, "has_ground": bool(len(ground))}


def _reviewed_first(features: Features, reviewed: NDArray[np.bool_]) -> NDArray[np.object_]:
    return features.after[np.argsort(~reviewed, kind="stable")]


def _rows_to_draw(outcome: Outcome) -> NDArray[np.int_]:
    """Evenly chosen ones, and of what a person should see as many as the map can bear."""
    to_see = np.flatnonzero(np.isin(outcome.status, ("open", "fixed")))
    to_see = to_see[drawn_rows(len(to_see), DRAWN_FEATURES // 4)]
    return np.unique(np.concatenate([drawn_rows(len(outcome)), to_see, outcome.worst_rows(15)]))


def _features(migration: Migration, outcome: Outcome, rows: NDArray[np.int_]) -> Features:
    """The chosen rows; of open features ``after`` is the proposal, for that is what an officer decides on."""
    name = outcome.layer.name
    before = read_outlines(migration.staged(name), rows)
    after = read_outlines(migration.corrected(name), rows)
    is_open = outcome.status[rows] == "open"
    if is_open.any() and migration.proposed(name).exists():
        after[is_open] = read_outlines(migration.proposed(name), rows[is_open])
    return Features(before, after, outcome.status[rows])


def _close_ups(migration: Migration, outcome: Outcome, rows: NDArray[np.int_], features: Features) -> list[CloseUp]:
    typical = _typical(outcome, rows, features)
    chosen = [(row, "A typical feature: its shift is the median of the layer.") for row in typical]
    worst = [int(row) for row in outcome.worst_rows(15) if row in rows and row not in typical]
    chosen += [(row, "The feature to look at first: " + _why_worst(outcome, row)) for row in worst[:1]]
    return [
        CloseUp(letter, row, why, _near(migration, features, int(np.searchsorted(rows, row)), letter))
        for letter, (row, why) in zip("AB", chosen, strict=False)
    ]


def _why_worst(outcome: Outcome, row: int) -> str:
    if outcome.status[row] == "open":
        return "it waits for an officer; drawn is the place proposed."
    return "of those that moved it carries the greatest risk."


def _typical(outcome: Outcome, rows: NDArray[np.int_], features: Features) -> list[int]:
    """The moved feature of ordinary size whose shift is nearest the median; none where nothing moved."""
    moved = np.flatnonzero(outcome.displaced[rows] & np.isfinite(outcome.shift_m[rows]))
    if not len(moved):
        return []
    bounds = shapely.bounds(features.after[moved])
    size_m = (bounds[:, 2:] - bounds[:, :2]).max(axis=1)
    ordinary = moved[size_m <= np.median(size_m)]
    shift_m = outcome.shift_m[rows]
    return [int(rows[ordinary[np.argmin(np.abs(shift_m[ordinary] - np.median(shift_m[moved])))]])]


def _near(migration: Migration, features: Features, index: int, letter: str) -> str:
    extent = close_up_extent(features.before[index], features.after[index])
    return close_up(features, index, extent, letter, read_new_map(migration, extent)).uri


def _shift_picture(migration: Migration, features: Features) -> str:
    picture = draw_shift(migration, features)
    return picture.uri if picture else ""


def draw_shift(migration: Migration, features: Features | None = None, *, width_in: float = 7.0) -> Picture | None:
    """The map of the shift with its control and breaks, over ``features``; None where there is no control yet."""
    control = read_control_places(migration)
    if not len(control.places):
        return None
    extent, _ = extent_of(shapely.points(control.places[control.verdict == "used"]), margin=0.02)
    shifts, breaks = field_arrows(migration, extent)
    return shift_map(features or _NO_FEATURES, extent, shifts, control, breaks, width_in=width_in)


def read_control_places(migration: Migration) -> ControlPlaces:
    """The control points that could be read, with their verdicts; none where the control stage has not run."""
    if not migration.control_table.exists():
        return ControlPlaces()
    table = pq.read_table(migration.control_table, columns=["old_easting", "old_northing", "verdict"])
    places = np.column_stack([table["old_easting"].to_numpy(), table["old_northing"].to_numpy()]).astype(float)
    known = np.isfinite(places).all(axis=1)
    return ControlPlaces(places[known], np.array(table["verdict"].to_pylist(), dtype=np.str_)[known])


def field_arrows(migration: Migration, extent: Extent) -> tuple[Shifts, list[Points]]:
    """The fitted shift on a grid over ``extent``, and its breaks; nothing where no field is fitted yet."""
    if not migration.field_file.exists():
        return Shifts(), []
    fitted = read_field(migration.field_file)
    step = max(extent[2] - extent[0], extent[3] - extent[1]) / _ARROWS_ACROSS
    east, north = (np.arange(low + step / 2, high, step) for low, high in (extent[::2], extent[1::2]))
    places = np.stack(np.meshgrid(east, north), axis=-1).reshape(-1, 2)
    return Shifts(places, fitted.field(places) - places), list(fitted.breaks.lines)


def _histogram(values: NDArray[np.float64], label: str) -> str:
    return histogram(values, label).uri if np.isfinite(values).any() else ""


def _centre(shape: shapely.Geometry) -> tuple[float, float]:
    west, south, east, north = shape.bounds
    return (west + east) / 2, (south + north) / 2

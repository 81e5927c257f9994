"""What the interactive map of an evidence page carries: shapes before and after, in as few characters as do.

Coordinates are whole decimetres from the corner of the map, each vertex as the step from the one before; a feature
that moved as a block has its step once. A long layer is thinned and simplified until it fits the budget, and the page
says so. What was given to officers is kept before all else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.pages.map_frame import Extent
from pipeline.pages.maps import Features, Shifts
from pipeline.pages.outcome import STATUSES, Outcome
from pipeline.pages.outlines import drawn_rows
from pipeline.pages.pictures import COLOURS
from transforms.complex_places import FARTHEST_M
from transforms.contract import Points

UNIT_M = 0.1
MOST_FEATURES = 5_000
BUDGET_CHARACTERS = 900_000
GROUND_CHARACTERS = 250_000
"""For the lines of the new base map, which only help the eye."""

_TOLERANCES_M = (0.1, 0.5, 2.0, 8.0, 30.0)
_NO_SHAPE: list[list[int]] = []


@dataclass(frozen=True)
class MapData:
    """The map's content as JSON text that may stand in a page, and what was left out of it."""

    text: str
    drawn: int
    tolerance_m: float


def map_data(
    outcome: Outcome,
    rows: NDArray[np.int_],
    features: Features,
    extent: Extent,
    *,
    reviewed: Sequence[int] = (),
    shifts: Shifts | None = None,
    breaks: Iterable[Points] = (),
    ground: NDArray[np.object_] | None = None,
) -> MapData:
    """The map of a layer.

    Parameters
    ----------
    rows, features
        ``(n,)`` rows of the layer and their shapes, none of them missing.
    reviewed
        The rows that a person was asked about, in the order to be stepped through; those not drawn are passed over.
    ground
        Shapes of the new base map, to see what the features are to fit.
    """
    shifts = shifts or Shifts()
    frame = {
        "extent": [round(value, 1) for value in extent],
        "unit": UNIT_M,
        "statuses": {status: COLOURS[status] for status in STATUSES},
        "breaks": [_steps(_whole(line, extent)) for line in breaks if len(line) > 1],
        "arrows": _arrows(shifts, extent),
        "ground": _ground(ground, extent),
    }
    for limit in (MOST_FEATURES, MOST_FEATURES // 4, MOST_FEATURES // 20):
        chosen = _chosen(rows, features, reviewed, limit)
        is_drawn = set(rows[chosen].tolist())
        frame["reviewed"] = [int(row) for row in reviewed if row in is_drawn]
        for tolerance_m in _TOLERANCES_M:
            drawn = [_feature(outcome, int(rows[at]), features, at, extent, tolerance_m) for at in chosen]
            text = as_script_data(frame | {"features": drawn})
            if len(text) <= BUDGET_CHARACTERS + GROUND_CHARACTERS:
                return MapData(text, len(chosen), tolerance_m)
    return MapData(as_script_data(frame | {"reviewed": [], "features": []}), 0, 0.0)


def as_script_data(content: Any) -> str:
    """JSON that may stand inside a ``<script>`` element: no text in it can end the element or begin markup.

    Examples
    --------
    >>> as_script_data({"name": "</script>"})
    '{"name":"\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _chosen(rows: NDArray[np.int_], features: Features, reviewed: Sequence[int], limit: int) -> NDArray[np.int_]:
    """Positions of at most ``limit`` features: the reviewed ones first, then evenly through the rest."""
    asked = np.isin(rows, np.asarray(reviewed, dtype=int)) | np.isin(features.status, ("open", "fixed"))
    first, rest = np.flatnonzero(asked), np.flatnonzero(~asked)
    first = first[drawn_rows(len(first), limit)] if len(first) > limit else first
    room = limit - len(first)
    rest = rest[drawn_rows(len(rest), room)] if room > 0 else rest[:0]
    return np.sort(np.concatenate([first, rest]))


def _feature(outcome: Outcome, row: int, features: Features, at: int, extent: Extent, tolerance_m: float) -> list[Any]:
    """``[row, status, reference, shift, standard error, kind, before, after]``; lengths in whole centimetres."""
    before, after = features.before[at], features.after[at]
    status = STATUSES.index(str(features.status[at]))
    is_open = outcome.status[row] == "open"  # drawn where it is proposed, so told as proposed
    shift_m = outcome.proposed_m[row] if is_open else outcome.shift_m[row]
    error_m = outcome.proposed_uncertainty_m[row] if is_open else outcome.uncertainty_m[row]
    lengths = [_centimetres(shift_m), _centimetres(error_m)]
    old, new = _pair(before, after, extent, tolerance_m)
    return [row, status, str(outcome.references[row])[:60], *lengths, _kind(after), old, new]


def _pair(before: shapely.Geometry, after: shapely.Geometry, extent: Extent, tolerance_m: float) -> tuple[Any, Any]:
    """The shape before; and after: 0 where it stays, one step ``[east, north]`` where it moves as a block."""
    old, new = shapely.get_coordinates(before), shapely.get_coordinates(after)
    parts = _parts(before, extent, tolerance_m)
    if len(old) == len(new) and len(old):
        move = new - old
        if np.ptp(move, axis=0).max() <= UNIT_M:
            step = np.rint(np.median(move, axis=0) / UNIT_M).astype(int).tolist()
            return parts, step if any(step) else 0
    return parts, _parts(after, extent, tolerance_m)


def _parts(shape: shapely.Geometry, extent: Extent, tolerance_m: float) -> list[list[int]]:
    """Every ring, line or place of a shape, each as steps."""
    if shape is None or shape.is_empty:
        return _NO_SHAPE
    simple = shapely.simplify(shape, tolerance_m, preserve_topology=True)
    single = shapely.get_parts(shapely.get_parts(np.array([simple])))
    areas = shapely.get_type_id(single) == 3
    lines = [*shapely.get_rings(single[areas]), *single[~areas]]
    return [_steps(_whole(shapely.get_coordinates(line), extent)) for line in lines]


def _kind(shape: shapely.Geometry) -> int:
    """0 where only places are drawn, 1 for lines, 2 for areas."""
    return int(max(shapely.get_dimensions(shape), 0))


def _whole(places: Points, extent: Extent) -> NDArray[np.int_]:
    # What lies beyond any map is drawn to its rim.
    near = np.clip(np.asarray(places)[:, :2], -FARTHEST_M, FARTHEST_M)
    return np.rint((near - np.array(extent[:2])) / UNIT_M).astype(int)


def _steps(places: NDArray[np.int_]) -> list[int]:
    """The first place, then the step to each next one that differs, all in one flat list."""
    steps = np.diff(places, axis=0)
    steps = steps[(steps != 0).any(axis=1)]
    return [*places[0].tolist(), *steps.ravel().tolist()] if len(places) else []


def _arrows(shifts: Shifts, extent: Extent) -> list[list[int]]:
    """Start in decimetres from the corner, shift in centimetres."""
    known = np.isfinite(shifts.shift).all(axis=1)
    if not known.any():
        return []
    start, shift = _whole(shifts.places[known], extent), np.rint(100 * shifts.shift[known]).astype(int)
    return np.hstack([start, shift]).tolist()


def _ground(shapes: NDArray[np.object_] | None, extent: Extent) -> list[list[int]]:
    """As many shapes as the budget holds, in the order given."""
    lines: list[list[int]] = []
    used = 0
    for shape in shapes if shapes is not None else ():
        parts = [part for part in _parts(shape, extent, 0.2) if len(part) > 2]
        used += sum(4 * len(part) for part in parts)
        if used > GROUND_CHARACTERS:
            break
        lines.extend(parts)
    return lines


def _centimetres(length_m: float) -> int | None:
    return round(100 * float(length_m)) if np.isfinite(length_m) else None

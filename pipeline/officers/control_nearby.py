"""The control points near the open features, for officers to see what a proposal rests on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from pipeline.fingerprint import read_geometry
from pipeline.officers.review_file import ControlNearby, Offer

NEARBY_M = 150.0
"""How far round a feature officers see the control: about what a screen shows at 1:1250."""

_TEXTS = ("file", "code", "verdict", "reasons")
_NUMBERS = ("residual_m", "standardised_residual")
_ENDS = ("old_easting", "old_northing", "new_easting", "new_northing")


def read_control_nearby(control_table: Path, offers: Sequence[Offer]) -> ControlNearby:
    """The control points within ``NEARBY_M`` of an offered feature; none if there is no control table.

    Parameters
    ----------
    control_table
        The columns of ``check-control``.
    offers
        The open features.
    """
    if not control_table.exists():
        return _as_lines(pa.table({name: pa.array([], pa.float64()) for name in _ENDS}), np.empty((0, 4)))
    table = pq.read_table(control_table)
    ends = np.column_stack([_numbers(table, name) for name in _ENDS])
    near = _near(ends, offers)
    return _as_lines(table.take(pa.array(near)), ends[near])


def _near(ends: NDArray[np.float64], offers: Sequence[Offer]) -> NDArray[np.int_]:
    usable = np.flatnonzero(np.isfinite(ends).all(axis=1))
    shapes = [shape for offer in offers if (shape := read_geometry(offer.before)) is not None and not shape.is_empty]
    if not len(usable) or not shapes:
        return np.empty(0, dtype=int)
    tree = shapely.STRtree(shapely.points(ends[usable, :2]))
    found = tree.query(np.array(shapes), predicate="dwithin", distance=NEARBY_M)[1]
    return usable[np.unique(found)]


def _as_lines(table: pa.Table, ends: NDArray[np.float64]) -> ControlNearby:
    lines = shapely.to_wkb(shapely.linestrings(ends.reshape(-1, 2, 2))) if len(ends) else []
    columns: dict[str, Sequence[Any]] = {name: _texts(table, name) for name in _TEXTS}
    columns["row"] = _row_numbers(table)
    return ControlNearby(list(lines), columns | {name: _numbers(table, name).tolist() for name in _NUMBERS})


def _numbers(table: pa.Table, name: str) -> NDArray[np.float64]:
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    return np.asarray(table[name].cast(pa.float64()).to_numpy(), dtype=float)


def _row_numbers(table: pa.Table) -> list[int]:
    return [int(row or 0) for row in table["row"].to_pylist()] if "row" in table.column_names else [0] * table.num_rows


def _texts(table: pa.Table, name: str) -> list[str]:
    if name not in table.column_names:
        return [""] * table.num_rows
    return [";".join(value) if isinstance(value, list) else str(value or "") for value in table[name].to_pylist()]

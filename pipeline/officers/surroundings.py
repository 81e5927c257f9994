"""What officers see round the features they are offered: control, breaks, lines they drew, and two versions in
conflict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from pipeline.field_file import read_field
from pipeline.fingerprint import read_geometry
from pipeline.officers.control_answers import key_of_line, why_no_control
from pipeline.officers.control_decisions import StandingControl, point_keys
from pipeline.officers.decisions import Standing
from pipeline.officers.layer_rows import LayerRows
from pipeline.officers.package import Lines, Offer, Surroundings
from pipeline.officers.saved_review import SavedControl, SavedReview
from pipeline.storage import Migration
from transforms.errors import FieldError

NEARBY_M = 150.0
"""How far round a feature officers see the control: about what a screen shows at 1:1250."""

_TAKEN_IN = "Taken in: it is checked and used from the next fit on."
_TEXTS = ("file", "code", "verdict", "reasons")
_NUMBERS = ("residual_m", "standardised_residual")
_ENDS = ("old_easting", "old_northing", "new_easting", "new_northing")


def read_surroundings(
    migration: Migration,
    offers: Sequence[Offer],
    rows: LayerRows,
    stand: Standing,
    said: StandingControl,
    saved: SavedReview | None,
) -> Surroundings:
    """Everything that is shown beside the offered features.

    Parameters
    ----------
    migration
        Read only.
    offers, rows, stand
        The features and the decisions on them.
    said
        What stands of control.
    saved
        The file as it was saved, None for a first one: lines drawn in it are kept until they are control.
    """
    ends, table = _read_control(migration.control_table)
    keys = set(point_keys(ends[np.isfinite(ends).all(axis=1)]))
    return Surroundings(
        control=control_nearby(ends, table, offers, said),
        breaks=_breaks_nearby(migration.field_file, offers),
        drawn=_drawn(saved.drawn_control if saved else (), keys, said),
        versions=_versions(rows, stand),
    )


def control_nearby(ends: NDArray[np.float64], table: pa.Table, offers: Sequence[Offer], said: StandingControl) -> Lines:
    """The control points within ``NEARBY_M`` of an offered feature, with what officers said of them.

    Parameters
    ----------
    ends
        ``(n, 4)`` old and new easting and northing [m].
    table
        The columns of ``check-control``.
    offers
        The open features.
    said
        What stands of control.
    """
    near = _near(ends, offers)
    keys = point_keys(ends[near])
    words = [said.words.get(key) for key in keys]
    chosen = table.take(pa.array(near, pa.int64()))
    columns: dict[str, Sequence[Any]] = {name: _texts(chosen, name) for name in _TEXTS}
    columns["row"] = _row_numbers(chosen)
    columns |= {name: _numbers(chosen, name).tolist() for name in _NUMBERS}
    columns |= {
        name: [getattr(word, name) or None if word else None for word in words]
        for name in ("decision", "note", "officer", "decided_at")
    }
    columns["offer"] = [f"{key}@{said.lines.get(key, 0)}" for key in keys]
    return Lines(_as_lines(ends[near]), columns)


def _read_control(path: Path) -> tuple[NDArray[np.float64], pa.Table]:
    empty = {name: pa.array([], pa.float64()) for name in _ENDS}
    table = pq.read_table(path) if path.exists() else pa.table(empty)
    return np.column_stack([_numbers(table, name) for name in _ENDS]), table


def _near(ends: NDArray[np.float64], offers: Sequence[Offer]) -> NDArray[np.int_]:
    usable = np.flatnonzero(np.isfinite(ends).all(axis=1))
    shapes = _shapes(offers)
    if not len(usable) or not len(shapes):
        return np.empty(0, dtype=int)
    tree = shapely.STRtree(shapely.points(ends[usable, :2]))
    found = tree.query(shapes, predicate="dwithin", distance=NEARBY_M)[1]
    return usable[np.unique(found)]


def _shapes(offers: Sequence[Offer]) -> NDArray[Any]:
    read = (read_geometry(offer.before) for offer in offers)
    return np.array([shape for shape in read if shape is not None and not shape.is_empty], dtype=object)


def _breaks_nearby(field_file: Path, offers: Sequence[Offer]) -> Lines:
    shapes = _shapes(offers)
    if not field_file.exists() or not len(shapes):
        return Lines([], {})
    try:
        breaks = read_field(field_file).breaks
    except FieldError:
        return Lines([], {})
    lines = [shapely.linestrings(line) for line in breaks.lines]
    tree = shapely.STRtree(shapes)
    near = [
        number for number, line in enumerate(lines) if len(tree.query(line, predicate="dwithin", distance=NEARBY_M))
    ]
    half_width_m = [round(float(np.median(breaks.half_width_m[number])), 1) for number in near]
    return Lines([shapely.to_wkb(lines[number]) for number in near], {"half_width_m": half_width_m})


def _drawn(drawn: Iterable[SavedControl], keys: set[str], said: StandingControl) -> Lines:
    """What officers drew and is not control yet: to be mended, or waiting for the next fit."""
    taken = {each.point for each in said.added}
    kept: list[SavedControl] = []
    remarks: list[str] = []
    for row in drawn:
        why = why_no_control(row.geometry)
        key = "" if why else key_of_line(row.geometry)
        if why or key not in keys:
            kept.append(row)
            remarks.append(why or (_TAKEN_IN if key in taken else ""))
    columns: dict[str, Sequence[Any]] = {
        name: [getattr(row, name) or None for row in kept] for name in ("note", "officer", "decided_at")
    }
    return Lines([row.geometry for row in kept], columns | {"remark": [remark or None for remark in remarks]})


def _versions(rows: LayerRows, stand: Standing) -> Lines:
    both = [(row, each) for row, pair in sorted(stand.disagreeing.items()) for each in pair]
    columns: dict[str, Sequence[Any]] = {
        name: [getattr(each, name) or None for _, each in both]
        for name in ("officer", "decision", "note", "decided_at")
    }
    places = [rows.before(row) if each.decision in ("keep", "cannot_place") else each.wkb for row, each in both]
    return Lines(places, columns | {"id": [rows.reference(row) or f"row {row}" for row, _ in both]})


def _as_lines(ends: NDArray[np.float64]) -> list[bytes]:
    return list(shapely.to_wkb(shapely.linestrings(ends.reshape(-1, 2, 2)))) if len(ends) else []


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

"""What the proposals change for whoever asks: what lies in what, within buildings, and on which side of a line.

Each layer is compared with the base map and with the layers named before it in ``migration.yaml``, so every pair is
looked at once, whichever layer runs again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import shapely

from pipeline.files import whole_file
from pipeline.geometry.linear_copy import linear_copy
from pipeline.made_from import made_from, why_mixed
from pipeline.storage import Migration
from qa.answers import changed_answers, changed_sides
from qa.base_maps import BaseMaps, Geometries
from qa.old_lines import OldLines
from qa.relations import LEFT_BUILDING, OTHER_BUILDING, building_relation
from qa.shape import CommonVertices

BUILDINGS, LINES = "buildings of the base map", "lines of the base map"
"""What the base map is called in the list of changed answers."""

_TEXTS = ("other", "other_row", "before", "after")
_SCHEMA = pa.schema([("pai_row", pa.int64()), *((name, pa.string()) for name in _TEXTS)])


@dataclass(frozen=True)
class PairOutcome:
    """One pair of layers: how many features lay in one another before and after, and how many answers changed."""

    other: str
    before: int
    after: int
    changed: int


_Rows = list[dict[str, object]]


def list_consequences(
    migration: Migration, layer_name: str, base: BaseMaps | None, lines: OldLines | None
) -> tuple[PairOutcome, ...]:
    """Write every answer about a layer that its proposal changes, and return a line for each pair.

    ``consequences.parquet`` and the same as CSV, one row an answer: feature, other layer, its feature (or the id on the
    base map), before and after.
    """
    before, after = _read(migration, layer_name)
    outcomes: list[PairOutcome] = []
    rows: _Rows = []
    for outcome, found in _all(migration, layer_name, before, after, base, lines):
        outcomes.append(outcome)
        rows += found
    table = pa.Table.from_pylist(rows, _SCHEMA.with_metadata(made_from(migration, layer_name, "consequences")))
    with whole_file(migration.consequences(layer_name)) as beside:
        pq.write_table(table, beside)
    with whole_file(migration.consequences(layer_name).with_suffix(".csv")) as beside:
        pyarrow.csv.write_csv(table, beside)
    return tuple(outcomes)


def _all(
    migration: Migration,
    layer_name: str,
    before: Geometries,
    after: Geometries,
    base: BaseMaps | None,
    lines: OldLines | None,
) -> Iterator[tuple[PairOutcome, _Rows]]:
    for other in _layers_before(migration, layer_name):
        yield _between_layers(other, before, after, *_read(migration, other))
    if base is not None and lines is not None:
        yield _in_buildings(before, after, base)
        yield _beside_lines(before, after, base, lines)


def _layers_before(migration: Migration, layer_name: str) -> Iterator[str]:
    for layer in migration.settings.layers:
        if layer.name == layer_name:
            return
        if not why_mixed(migration, layer.name, "consequences"):
            yield layer.name


def _read(migration: Migration, layer_name: str) -> tuple[Geometries, Geometries]:
    column = "pai_geometry"
    paths = (migration.staged(layer_name), migration.proposed(layer_name))
    before, after = (linear_copy(pq.read_table(path, columns=[column])[column].to_pylist())[0] for path in paths)
    return before, after


def _between_layers(
    other: str, before: Geometries, after: Geometries, other_before: Geometries, other_after: Geometries
) -> tuple[PairOutcome, _Rows]:
    changes = changed_answers(before, after, other_before, other_after)
    rows = [
        _row(one, other, str(held), "inside" if was else "outside", "outside" if was else "inside")
        for one, held, was in zip(changes.one.tolist(), changes.other.tolist(), changes.was_in.tolist(), strict=True)
    ]
    return PairOutcome(other, changes.before, changes.after, len(rows)), rows


def _in_buildings(before: Geometries, after: Geometries, base: BaseMaps) -> tuple[PairOutcome, _Rows]:
    points = np.flatnonzero((shapely.get_type_id(before) == 0) & (shapely.get_type_id(after) == 0))
    points = points[~(shapely.is_empty(before[points]) | shapely.is_empty(after[points]))]
    old, new = shapely.get_coordinates(before[points]), shapely.get_coordinates(after[points])
    stayed = (old == new).all(axis=1) if len(points) else np.empty(0, bool)
    points, old, new = points[~stayed], old[~stayed], new[~stayed]
    relation = building_relation(old, new, base) if len(points) else np.empty(0, dtype="<U5")
    names = np.append(base.before.area_ids, "")
    building = base.before.area_at(old) if len(points) else np.empty(0, dtype=int)
    said = {LEFT_BUILDING: "outside", OTHER_BUILDING: "in another"}
    rows = [
        _row(int(points[k]), BUILDINGS, str(names[building[k]]), "inside", said[relation[k]])
        for k in np.flatnonzero(np.isin(relation, list(said)))
    ]
    inside = int((building >= 0).sum())
    return PairOutcome(BUILDINGS, inside, inside - int((relation == LEFT_BUILDING).sum()), len(rows)), rows


def _beside_lines(before: Geometries, after: Geometries, base: BaseMaps, lines: OldLines) -> tuple[PairOutcome, _Rows]:
    common = CommonVertices.of(before, after)
    moved = np.flatnonzero(np.isfinite(common.after[:, 0]) & (common.after != common.before).any(axis=1))
    place, segment = changed_sides(common.before[moved], common.after[moved], lines)
    pairs = np.unique(np.stack([common.feature[moved[place]], lines.owner[segment]], axis=1), axis=0)
    rows = [_row(int(one), LINES, str(base.before.ids[line] or ""), "one side", "other side") for one, line in pairs]
    return PairOutcome(LINES, len(moved), len(moved), len(rows)), rows


def _row(row: int, other: str, other_row: str, before: str, after: str) -> dict[str, object]:
    return {"pai_row": row, "other": other, "other_row": other_row, "before": before, "after": after}

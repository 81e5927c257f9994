"""``corrected.parquet``: where every feature of a layer lies in the end, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.files import whole_file
from pipeline.made_from import made_from
from pipeline.officers.layer_rows import LayerRows
from pipeline.officers.merge import Outcome, displacement_m
from pipeline.storage import Migration


def write_corrected(
    migration: Migration, layer: str, rows: LayerRows, outcomes: Sequence[Outcome], run_id: str
) -> None:
    """Write the corrected table of a layer, whole or not at all.

    A ``moved`` feature has its proposal's place, shift and standard error; a ``fixed`` one the officer's place, the
    distance between the middles, and no standard error; every other lies as found, with a shift of 0.
    """
    metadata = _geoparquet(rows.staged) | made_from(migration, layer, "review")
    table = _corrected(rows, outcomes, run_id).replace_schema_metadata(metadata)
    with whole_file(migration.corrected(layer)) as beside:
        pq.write_table(table, beside, compression="zstd")


def _corrected(rows: LayerRows, outcomes: Sequence[Outcome], run_id: str) -> pa.Table:
    status = np.array([outcome.status for outcome in outcomes], dtype=object)
    is_moved = status == "moved"
    shift_m = np.where(is_moved, rows.numbers("shifted", "shift_m"), 0.0)
    for row, outcome in enumerate(outcomes):
        if outcome.fix is not None:
            shift_m[row] = displacement_m(rows.before(row), outcome.fix)
    uncertainty_m = np.where(is_moved, rows.numbers("shifted", "uncertainty_m"), np.nan)
    return pa.table(
        {
            "pai_row": rows.staged["pai_row"],
            "pai_geometry": _geometries(rows, outcomes, is_moved),
            "pai_status": pa.array(status, pa.string()),
            "pai_reasons": pa.array([";".join(outcome.reasons) for outcome in outcomes], pa.string()),
            "pai_shift_m": pa.array(shift_m, pa.float64(), from_pandas=True),
            "pai_uncertainty_m": pa.array(uncertainty_m, pa.float64(), from_pandas=True),
            "pai_run": pa.array([run_id] * len(rows), pa.string()),
        }
    )


def _geometries(rows: LayerRows, outcomes: Sequence[Outcome], is_moved: NDArray[np.bool_]) -> pa.Array:
    before = rows.staged["pai_geometry"].combine_chunks().cast(pa.large_binary())
    proposal = rows.shifted["pai_geometry"].combine_chunks().cast(pa.large_binary())
    placed = pc.if_else(pa.array(is_moved), proposal, before)
    fixes = [outcome.fix for outcome in outcomes if outcome.fix is not None]
    is_fixed = pa.array([outcome.fix is not None for outcome in outcomes], pa.bool_())
    return pc.replace_with_mask(placed, is_fixed, pa.array(fixes, pa.large_binary()))


def _geoparquet(staged: pa.Table) -> dict[bytes, bytes]:
    described = (staged.schema.metadata or {}).get(b"geo")
    if described is None:
        return {}
    content = json.loads(described)
    column = content["columns"][content["primary_column"]]
    column.pop("bbox", None)  # it told where the features were
    column["geometry_types"] = []
    return {b"geo": json.dumps(content).encode()}

"""One corrected layer as a file: the columns of the source, the corrected geometry, the outcome."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.formats import write_batches
from pipeline.formats.stream import Written
from pipeline.pages.outcome import Outcome
from pipeline.storage import Migration

OUTCOME_COLUMNS = ("pai_status", "pai_reasons", "pai_shift_m", "pai_uncertainty_m", "pai_run")
"""What an export has beside the columns of the source."""

_BATCH_ROWS = 65_536


def file_names(outcome: Outcome, *, is_final: bool) -> list[str]:
    """What an export is called: a draft is one GeoPackage, a final one has every format asked for."""
    name = outcome.layer.name
    if not is_final:
        return [f"{name}.draft.gpkg"]
    return [f"{name}.{suffix}" for suffix in dict.fromkeys(["gpkg", *outcome.layer.formats])]


def write_layer(migration: Migration, outcome: Outcome, path: Path) -> Written:
    """Write the source columns, the corrected geometry and the outcome of a layer in the format of ``path``."""
    staged = pq.read_schema(migration.staged(outcome.layer.name))
    ours = pq.read_schema(migration.corrected(outcome.layer.name))
    fields = [column for column in staged if column.name != "pai_row"]
    schema = pa.schema([*fields, *(ours.field(name) for name in OUTCOME_COLUMNS)])
    return write_batches(path, schema, _joined(migration, outcome.layer.name, schema), layer=outcome.layer.name)


def _joined(migration: Migration, layer_name: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The source columns with the corrected geometry and the outcome, batch by batch, in source order.

    The two files have the same rows in the same order (``read_outcome`` refuses others), so they are walked in
    step and memory stays flat.
    """
    with (
        pq.ParquetFile(migration.staged(layer_name)) as staged,
        pq.ParquetFile(migration.corrected(layer_name)) as after,
    ):
        source = _slices(staged, [name for name in schema.names if name in staged.schema_arrow.names])
        outcome = _slices(after, ["pai_geometry", *OUTCOME_COLUMNS])
        for rows, result in zip(source, outcome, strict=True):
            columns = [
                (result if name in result.schema.names else rows).column(name).combine_chunks() for name in schema.names
            ]
            yield from pa.table(
                [column.cast(field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
            ).to_batches()


def _slices(file: pq.ParquetFile, columns: list[str]) -> Iterator[pa.Table]:
    """The file in slices of equal length, whatever its row groups."""
    held: list[pa.RecordBatch] = []
    for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
        held.append(batch)
        table = pa.Table.from_batches(held)
        while table.num_rows >= _BATCH_ROWS:
            yield table.slice(0, _BATCH_ROWS)
            table = table.slice(_BATCH_ROWS)
        held = table.to_batches()
    if held:
        yield pa.Table.from_batches(held)

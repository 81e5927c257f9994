"""Tables of a layer that a test wrote by hand, made to belong together as the stages' own do."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.made_from import Stage, made_from
from pipeline.storage import Migration


def belong_together(migration: Migration, layer: str) -> None:
    """Let each table of a layer that is there note the others as those that it was made from."""
    consequences = migration.consequences(layer)
    if migration.proposed(layer).exists() and not consequences.exists():
        pq.write_table(pa.table({"pai_row": pa.array([], pa.int64())}), consequences)
    tables: dict[Stage, Path] = {
        "shift": migration.shifted(layer),
        "reattach": migration.reattached(layer),
        "consequences": consequences,
        "quality": migration.quality(layer),
        "review": migration.corrected(layer),
    }
    for stage, path in tables.items():
        if path.exists():
            table = pq.read_table(path)
            noted = {**(table.schema.metadata or {}), **made_from(migration, layer, stage)}
            pq.write_table(table.replace_schema_metadata(noted), path)

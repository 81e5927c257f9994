"""A delivered layer as its settings read it: rows and columns as they are, the geometry in National Grid metres."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa

from pipeline.formats import LayerStream, open_batches
from pipeline.geometry.wkb_batch import WkbBatch
from pipeline.georeference import Georeference, understand
from pipeline.settings import LayerSettings
from pipeline.storage import Migration


def open_layer(path: Path, settings: LayerSettings) -> AbstractContextManager[LayerStream]:
    """Open a layer's stream as its settings say; see ``formats.open_batches``."""
    return open_batches(
        path,
        layer=settings.source_layer,
        encoding=settings.encoding,
        easting_column=settings.easting_column,
        northing_column=settings.northing_column,
        wkt_column=settings.wkt_column,
    )


def on_the_grid(geometry: pa.Array, grid: Georeference) -> pa.Array:
    """WKB in National Grid metres: the same array, unless the settings ask for a cure."""
    if grid.is_identity:
        return geometry
    wkb = WkbBatch.of(geometry)
    return wkb.with_places(grid.apply(wkb.place))


def delivered_batches(migration: Migration, settings: LayerSettings) -> Iterator[pa.RecordBatch]:
    """The rows of a layer, batch by batch, the geometry last; what other layers ask, who do not wait for its stages.

    Raises
    ------
    SourceError
        If the file cannot be read whole or its coordinates need a setting.
    """
    path = migration.source(settings.file)
    with open_layer(path, settings) as stream:
        grid = None
        for batch in stream.batches:
            *columns, geometry = batch.columns
            grid = grid or understand(stream.info.crs_wkt, WkbBatch.of(geometry).place, settings, name=str(path))
            yield pa.RecordBatch.from_arrays([*columns, on_the_grid(geometry, grid)], schema=batch.schema)

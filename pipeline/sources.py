"""The first stage: a delivered layer becomes a staged copy and a manifest of what was found in it.

The source is only read. The copy has every row and column as delivered, in order, and the geometry in National Grid
metres (the same bytes, unless the settings ask for a cure).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.delivered import on_the_grid, open_layer
from pipeline.files import sha256, write_json
from pipeline.formats import GEOMETRY, LayerStream, write_batches
from pipeline.formats.recognise import recognise
from pipeline.geometry.layer_census import LayerCensus
from pipeline.geometry.wkb_batch import WkbBatch
from pipeline.georeference import SAMPLE_VERTICES, Georeference, understand
from pipeline.own_columns import refuse_own_columns
from pipeline.settings import LayerSettings
from pipeline.storage import Migration
from transforms.contract import Points
from transforms.errors import SettingsError, SourceError

ROW = "pai_row"
_NAMED_COLUMNS = ("id_column", "captured_column", "method_column", "scale_column")


@dataclass(frozen=True)
class StagedLayer:
    """What was staged of one layer; the numbers become the asset's metadata.

    ``path`` is the staged copy and ``source`` the delivery. Counts are of features; ``extent`` is west, south, east,
    north [m], or None where nothing has coordinates.
    """

    layer: str
    path: Path
    source: Path
    driver: str
    encoding: str | None
    crs_found: str
    crs_understood: str
    cures: tuple[str, ...]
    findings: tuple[str, ...]
    features: int
    geometry_types: dict[str, int]
    null_geometries: int
    empty_geometries: int
    invalid_geometries: int
    curves: int
    unreadable_geometries: int
    bad_coordinates: int
    outside_great_britain: int
    repeated_ids: int
    extent: tuple[float, float, float, float] | None
    columns: dict[str, str]
    files: dict[str, str]


def stage_layer(migration: Migration, layer_name: str) -> StagedLayer:
    """Stage one delivered layer: ``staged.parquet`` and ``manifest.json``.

    Parameters
    ----------
    migration
        The migration.
    layer_name
        The layer's name in ``migration.yaml``.

    Returns
    -------
    StagedLayer
        What was found; the same as the manifest.

    Raises
    ------
    SourceError
        If the file cannot be read whole or its coordinates need a setting.
    SettingsError
        If the settings name a column that the source does not have.
    LedgerError
        If the source is one of our own exports.
    """
    settings = migration.settings.layer(layer_name)
    path = migration.source(settings.file)
    hashes = _hashes(path, settings)
    with open_layer(path, settings) as stream:
        refuse_unusable_columns(stream, settings)
        batches, sample = _peek(stream.batches)
        refuse_our_own(stream, batches[0] if batches else None)
        grid = understand(stream.info.crs_wkt, sample, settings, name=str(path))
        census = LayerCensus(settings.id_column)
        schema = _staged_schema(stream.schema)
        rows = _staged(chain(batches, stream.batches), schema, grid, census)
        write_batches(migration.staged(layer_name), schema, rows)
    _refuse_changed(path, hashes, settings)
    staged = _summary(migration.staged(layer_name), layer_name, stream, grid, census, hashes)
    write_json(migration.manifest(layer_name), _manifest(migration, settings, staged))
    return staged


def refuse_unusable_columns(stream: LayerStream, settings: LayerSettings) -> None:
    """Refuse settings that name columns the source does not have."""
    for key in _NAMED_COLUMNS:
        name = getattr(settings, key)
        if name is not None and name not in stream.schema.names:
            columns = ", ".join(field.name for field in stream.info.fields)
            raise SettingsError(
                f"migration.yaml, layer {settings.name}: {key} is {name!r}, but {stream.info.path.name} has no such "
                f"column. Its columns are: {columns}."
            )


def refuse_our_own(stream: LayerStream, first: pa.RecordBatch | None) -> None:
    """Refuse a source that carries our columns: shifted already."""
    names = [field.name for field in stream.info.fields]
    run = None
    if first is not None and "pai_run" in names:
        runs = pc.drop_null(first.column(names.index("pai_run")))
        run = str(runs[0].as_py()) if len(runs) else None
    refuse_own_columns(str(stream.info.path), names, run)


def _peek(batches: Iterator[pa.RecordBatch]) -> tuple[list[pa.RecordBatch], Points]:
    """The first batches, up to those with enough coordinates to judge the layer by, and these."""
    taken, places, count = [], [np.empty((0, 2))], 0
    for batch in batches:
        taken.append(batch)
        places.append(WkbBatch.of(batch.column(batch.num_columns - 1)).place)
        count += len(places[-1])
        if count >= SAMPLE_VERTICES:
            break
    return taken, np.concatenate(places)


def _staged_schema(found: pa.Schema) -> pa.Schema:
    geometry = found.get_field_index(GEOMETRY)
    return found.insert(geometry, pa.field(ROW, pa.int64(), nullable=False))


def _staged(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, grid: Georeference, census: LayerCensus
) -> Iterator[pa.RecordBatch]:
    first = 0
    for batch in batches:
        *columns, geometry = batch.columns
        rows = pa.array(np.arange(first, first + len(batch), dtype=np.int64))
        first += len(batch)
        geometry = on_the_grid(geometry, grid)
        census.add(batch, geometry)
        yield pa.RecordBatch.from_arrays([*columns, rows, geometry], schema=schema)


def _hashes(path: Path, settings: LayerSettings) -> dict[str, str]:
    source = recognise(path, member=settings.source_layer)
    return {str(file.relative_to(path.parent)): sha256(file) for file in source.files}


def _refuse_changed(path: Path, hashes: dict[str, str], settings: LayerSettings) -> None:
    if _hashes(path, settings) != hashes:
        raise SourceError(f"{path} changed while it was being read. Let whoever saves it finish, then run again.")


def _summary(
    staged_path: Path,
    layer_name: str,
    stream: LayerStream,
    grid: Georeference,
    census: LayerCensus,
    hashes: dict[str, str],
) -> StagedLayer:
    info = stream.info
    return StagedLayer(
        layer=layer_name,
        path=staged_path,
        source=info.path,
        driver=info.driver,
        encoding=info.encoding,
        crs_found=grid.crs_found,
        crs_understood=grid.crs_understood,
        cures=grid.cures,
        findings=(*info.findings, *grid.findings, *census.findings()),
        features=census.features,
        geometry_types=census.types.by_name(),
        null_geometries=census.types.codes[-1],
        empty_geometries=census.empty,
        invalid_geometries=census.invalid,
        curves=census.types.curves(),
        unreadable_geometries=census.unreadable,
        bad_coordinates=census.bad_coordinates,
        outside_great_britain=census.outside,
        repeated_ids=census.repeated_ids(),
        extent=census.extent(),
        columns={field.name: field.type for field in info.fields},
        files=hashes,
    )


def _manifest(migration: Migration, settings: LayerSettings, staged: StagedLayer) -> dict[str, Any]:
    content = {**vars(staged), "source": str(settings.file), "source_layer": settings.source_layer}
    del content["path"]  # the manifest says the same wherever the migration lies
    content["settings"] = settings.model_dump(mode="json")
    content["staged_sha256"] = sha256(migration.staged(staged.layer))
    return content

"""GeoParquet, read and written by Arrow itself (GDAL's own Parquet driver is not in every build)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.formats.recognise import Source
from pipeline.formats.stream import GEOMETRY, Field, LayerInfo, LayerStream, Origin, geometry_field, origin_of
from transforms.errors import SourceError

_GEO = b"geo"


@contextmanager
def open_parquet(source: Source, *, batch_rows: int) -> Iterator[LayerStream]:
    """Read a GeoParquet file; see ``formats.open_batches`` for the promise."""
    try:
        with pq.ParquetFile(source.path) as file:
            geo = _geo(source.path, file.schema_arrow)
            order, schema = _geometry_last(source.path, file.schema_arrow, geo)
            info = _info(source, file, geo, schema)
            yield LayerStream(info, schema, _batches(source, file, order, schema, batch_rows))
    except (pa.ArrowException, OSError) as error:
        raise _broken(source.path, error) from None


def _broken(path: Path, error: Exception) -> SourceError:
    reason = str(error).splitlines()[0].rstrip(". ")
    return SourceError(f"{path} cannot be read as GeoParquet ({reason}). Ask for the file again.")


def _geo(path: Path, schema: pa.Schema) -> dict[str, Any]:
    try:
        geo = json.loads((schema.metadata or {})[_GEO])
        column = geo["columns"][geo["primary_column"]]
        encoding = column["encoding"]
    except (KeyError, TypeError, ValueError):
        raise SourceError(
            f"{path} is Parquet but not GeoParquet (no 'geo' metadata). Save it as GeoParquet from QGIS or GeoPandas."
        ) from None
    if encoding != "WKB" or geo["primary_column"] not in schema.names:
        raise SourceError(f"{path} holds its geometry as {encoding}, which is not read. Save it with WKB geometry.")
    return dict(geo)


def _geometry_last(path: Path, found: pa.Schema, geo: dict[str, Any]) -> tuple[list[str], pa.Schema]:
    column = geo["primary_column"]
    others = [field for field in found if field.name != column]
    if GEOMETRY in [field.name for field in others]:
        raise SourceError(f"{path} has a column {GEOMETRY}, which is Post-PAI's own. Rename it in the source.")
    kept = found.field(column)
    origin = origin_of(found) if column == GEOMETRY else Origin(column, _declared_type(geo))
    order = [*(field.name for field in others), column]
    return order, pa.schema([*others, geometry_field(origin, kept.type)])


def _declared_type(geo: dict[str, Any]) -> str:
    types = geo["columns"][geo["primary_column"]].get("geometry_types") or []
    return str(types[0]) if len(types) == 1 else "Unknown"


def _info(source: Source, file: pq.ParquetFile, geo: dict[str, Any], schema: pa.Schema) -> LayerInfo:
    return LayerInfo(
        path=source.path,
        driver=source.driver,
        layer=source.path.stem,
        layers=(source.path.stem,),
        crs_wkt=_crs_wkt(source.path, geo["columns"][geo["primary_column"]]),
        encoding="UTF-8",
        geometry_type=origin_of(schema).geometry_type,
        geometry_column=geo["primary_column"],
        fields=tuple(Field(field.name, str(field.type)) for field in schema if field.name != GEOMETRY),
        feature_count=file.metadata.num_rows,
    )


def _crs_wkt(path: Path, column: dict[str, Any]) -> str | None:
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    crs = column.get("crs", "OGC:CRS84")
    try:
        return None if crs is None else str(CRS.from_user_input(crs).to_wkt())
    except CRSError:
        raise SourceError(f"{path} has a CRS that PROJ cannot read. Save it again with EPSG:27700.") from None


def _batches(
    source: Source, file: pq.ParquetFile, order: list[str], schema: pa.Schema, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    try:
        for batch in file.iter_batches(batch_size=batch_rows):
            yield pa.RecordBatch.from_arrays([batch.column(name) for name in order], schema=schema)
    except (pa.ArrowException, OSError) as error:
        raise _broken(source.path, error) from None


def write_parquet(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], crs: str) -> None:
    """Write GeoParquet 1.1 (zstd) with the geometry column ``pai_geometry``."""
    from pyproj import CRS

    column = {"encoding": "WKB", "geometry_types": [], "crs": CRS.from_user_input(crs).to_json_dict()}
    geo = {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
    complete = schema.with_metadata({**(schema.metadata or {}), _GEO: json.dumps(geo)})
    with pq.ParquetWriter(path, complete, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=complete))

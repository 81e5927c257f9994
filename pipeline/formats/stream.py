"""What a layer is while it streams from one file to another: its description and its batches.

Everything a writer needs beside the rows travels in the Arrow schema, so that it also survives the staged copy:
field widths and types as GDAL found them, which column is the feature id, where the geometry came from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa

GEOMETRY = "pai_geometry"
"""The column of WKB (ISO: Z, M, ZM and curves as found) or null; always the last one of what is read."""

OURS = "pai_"
"""Columns whose names begin so are Post-PAI's own."""

_ORIGIN_KEY = b"post_pai:origin"
_FEATURE_ID_KEY = b"post_pai:feature_id"


@dataclass(frozen=True)
class Field:
    """One column of a source: its name, its Arrow type as text, its width where the format has one (else 0)."""

    name: str
    type: str
    width: int = 0


@dataclass(frozen=True)
class Origin:
    """Where the geometry of a stream came from; kept with the geometry column of the schema.

    ``geometry_type`` is GDAL's word for the layer ("Polygon", "Unknown", "Point Z"); ``easting_column``,
    ``northing_column`` and ``wkt_column`` are set when the geometry was made from text columns; ``decimal_comma``
    says that a comma in them is a decimal point; ``delimiter``, ``has_bom`` and ``has_crlf`` are how a CSV was written.
    """

    column: str = ""
    geometry_type: str = "Unknown"
    easting_column: str | None = None
    northing_column: str | None = None
    wkt_column: str | None = None
    decimal_comma: bool = False
    delimiter: str = ","
    has_bom: bool = False
    has_crlf: bool = False


@dataclass(frozen=True)
class LayerInfo:
    """What a file says about one of its layers, before any feature is read.

    ``feature_count`` is None where the format does not declare one. ``crs_wkt`` is the CRS as found, None where
    the file has none. ``findings`` are sentences about what was understood on the way (an encoding taken for
    granted, columns renamed).
    """

    path: Path
    driver: str
    layer: str
    layers: tuple[str, ...]
    crs_wkt: str | None
    encoding: str | None
    geometry_type: str
    geometry_column: str
    fields: tuple[Field, ...]
    feature_count: int | None
    findings: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerStream:
    """A layer being read: its description, the schema of the batches, and the batches, to be used once.

    The schema holds the source columns as found and, last, ``pai_geometry``.
    """

    info: LayerInfo
    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


@dataclass(frozen=True)
class Written:
    """A layer as written: where, by which driver, how many features, how large, and what had to change."""

    path: Path
    driver: str
    features: int
    bytes: int
    notes: tuple[str, ...] = field(default=())


def geometry_field(origin: Origin, arrow_type: pa.DataType | None = None) -> pa.Field:
    """The Arrow field ``pai_geometry`` that remembers its origin."""
    metadata = {_ORIGIN_KEY: json.dumps(asdict(origin))}
    return pa.field(GEOMETRY, arrow_type or pa.binary(), metadata=metadata)


def origin_of(schema: pa.Schema) -> Origin:
    """Where the geometry of ``schema`` came from; the default where nobody said.

    Examples
    --------
    >>> origin_of(pa.schema([geometry_field(Origin(column="geom"))])).column
    'geom'
    """
    metadata = schema.field(GEOMETRY).metadata or {}
    return Origin(**json.loads(metadata[_ORIGIN_KEY])) if _ORIGIN_KEY in metadata else Origin()


def mark_feature_id(column: pa.Field, *, in_order: bool = True) -> pa.Field:
    """Say that ``column`` holds the ids the source format itself gives its features, and whether they ascend."""
    return column.with_metadata({**(column.metadata or {}), _FEATURE_ID_KEY: b"in order" if in_order else b"any"})


def feature_id_column(schema: pa.Schema, *, in_order: bool = False) -> str | None:
    """The column that holds the ids of the source format, if it has any (and they ascend, where that is asked)."""
    for column in schema:
        mark = (column.metadata or {}).get(_FEATURE_ID_KEY)
        if mark is not None and (mark == b"in order" or not in_order):
            return str(column.name)
    return None

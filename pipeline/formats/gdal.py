"""Layers that GDAL reads, as Arrow batches through pyogrio; nothing is written beside the source.

GDAL's habits that would lose or invent something are answered here: side files of GML, geometry in the middle of
the columns, dates without their zone, M values dropped, text in no encoding, and reads that end early without a word.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyogrio
import pyogrio.raw

from pipeline.formats import geometry_types as geometry_types  # pyogrio is taught the types it does not know
from pipeline.formats.cut_short import declared_features, refuse_cut_short
from pipeline.formats.dbf_widths import number_widths, remember_widths
from pipeline.formats.drawn import LABEL_ANGLE, LABEL_TEXT, STYLE, drawn, label_columns
from pipeline.formats.private_place import undisturbed
from pipeline.formats.recognise import Source
from pipeline.formats.stream import (
    GEOMETRY,
    Field,
    LayerInfo,
    LayerStream,
    Origin,
    geometry_field,
    mark_feature_id,
    origin_of,
)
from pipeline.formats.text_encoding import dbf_encoding, decode
from transforms.errors import SourceError

_WIDTH = b"GDAL:OGR:width"
_NO_FEATURE_ID = "OGC_FID"
_SQL_GEOMETRY = "_ogr_geometry_"
_SINGLE_LAYER = {"ESRI Shapefile", "MapInfo File", "GeoJSON", "FlatGeobuf", "DXF"}
_KEEPS_FEATURE_IDS = {"GPKG", "OpenFileGDB", "GeoJSON"}
_GEOJSON_ID = re.compile(rb'"Feature"\s*,\s*"id"\s*:\s*-?\d|"id"\s*:\s*-?\d+\s*,\s*"(type|properties|geometry)"')
_HEAD_BYTES = 1 << 16
_OPEN_OPTIONS: dict[str, dict[str, str]] = {
    "GPKG": {"IMMUTABLE": "YES"},
    "GML": {"DOWNLOAD_SCHEMA": "NO", "EMPTY_AS_NULL": "NO", "SKIP_RESOLVE_ELEMS": "ALL"},
    "GeoJSON": {"DATE_AS_STRING": "YES", "ARRAY_AS_STRING": "YES"},
}
_M_SHAPES = frozenset({11, 13, 15, 18, 21, 23, 25, 28, 31})
_NO_NEWS = (
    "Measured (M)",  # pyogrio's words about its own description; the batches do have M
    "Field with same name",  # GML's own name and description, met a second time; the values are all there
)

pyogrio.set_gdal_config_options(
    {
        "GDAL_PAM_ENABLED": "NO",
        "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",
        "OGR_SQLITE_SYNCHRONOUS": "OFF",  # a file is written beside and flushed before it takes its place
        "OGR_ARROW_MEM_LIMIT": str(256 << 20),  # bytes of a batch: memory stays flat where features are huge
        "OGR_FLATGEOBUF_STREAM_BASE_IMPL": "YES",  # its own stream corrupts the batch after a missing geometry
    }
)


@contextmanager
def open_gdal(source: Source, *, layer: str | None, encoding: str | None, batch_rows: int) -> Iterator[LayerStream]:
    """Read a layer of a recognised file; see ``formats.open_batches`` for the promise."""
    refuse_cut_short(source)
    findings: list[str] = []
    with ExitStack() as stack:
        name = stack.enter_context(undisturbed(source))
        layers = _layers(source, name)
        chosen = _chosen(source, layers, layer)
        encoding, remark = _text_encoding(source, encoding)
        findings += remark
        options = _options(source, encoding)
        counted = drawn(source)
        findings += counted.findings
        if counted.texts:
            options |= _with_style(source, name)
        open_it = pyogrio.raw.open_arrow(
            name,
            layer=None if counted.texts else chosen,
            use_pyarrow=True,
            return_fids=source.driver in _KEEPS_FEATURE_IDS,
            datetime_as_string=True,
            batch_size=batch_rows,
            **options,
        )
        meta, reader = _said_by_gdal(source, findings, lambda: stack.enter_context(open_it))
        columns = _Columns(reader.schema, meta, source)
        info = _info(source, name, layers, chosen, meta, columns.schema, encoding, findings)
        batches = _batches(source, info, reader, columns, encoding, findings)
        yield LayerStream(info, columns.schema, batches)


def _with_style(source: Source, name: str) -> dict[str, str]:
    """Options that ask for the style of each feature, which says what a text says."""
    layer = _said_by_gdal(source, [], lambda: pyogrio.list_layers(name))[0][0]
    return {"sql": f'SELECT *, {STYLE} FROM "{layer}"', "sql_dialect": "OGRSQL"}


class _Columns:
    """Source columns in their order and, last, the geometry; what GDAL made up is left out."""

    def __init__(self, found: pa.Schema, meta: dict[str, Any], source: Source) -> None:
        geometry = meta["geometry_name"] or "wkb_geometry"
        if geometry not in found.names:
            raise SourceError(
                f"{source.path} is a table without geometry. Give the layer that has the places, "
                "or a CSV with easting and northing columns."
            )
        twice = [name for name, count in Counter(found.names).items() if count > 1]
        if twice:
            raise SourceError(f"{source.path} has the column {twice[0]} twice. Rename one of them in the source.")
        self.geometry = found.get_field_index(geometry)
        self.style = found.get_field_index(STYLE) if found.names[-2:] == [STYLE, _SQL_GEOMETRY] else None
        kept = {name: name for i, name in enumerate(found.names) if name != geometry and i != self.style}
        if _NO_FEATURE_ID not in meta["fields"] and _NO_FEATURE_ID in kept:
            kept[_NO_FEATURE_ID] = _id_name(source, list(meta["fields"])) or ""
        self.kept = [found.get_field_index(name) for name, wanted in kept.items() if wanted]
        fields = [found.field(i).with_name(kept[found.names[i]]) for i in self.kept]
        own, is_keyed = set(meta["fields"]), source.driver != "GeoJSON"
        fields = [field if field.name in own else mark_feature_id(field, in_order=is_keyed) for field in fields]
        dbf = [file for file in source.files if file.suffix.lower() == ".dbf"]
        if source.driver == "ESRI Shapefile" and dbf:
            fields = remember_widths(fields, number_widths(dbf[0]))
        if self.style is not None:
            fields += _label_fields([field.name for field in fields])
        _refuse_clash(source.path, [field.name for field in fields])
        column = "" if self.style is not None else meta["geometry_name"]
        origin = Origin(column=column, geometry_type=meta["geometry_type"] or "Unknown")
        self.schema = pa.schema([*fields, geometry_field(origin, found.field(self.geometry).type)])

    def take(self, batch: pa.RecordBatch, encoding: str | None) -> pa.RecordBatch:
        arrays = [decode(batch.column(i), encoding) for i in self.kept]
        if self.style is not None:
            arrays += label_columns(decode(batch.column(self.style), encoding))
        return pa.RecordBatch.from_arrays([*arrays, _storage(batch.column(self.geometry))], schema=self.schema)


def _label_fields(taken: list[str]) -> list[pa.Field]:
    """The columns for the words and the angle of texts, under names that no column of the source has."""
    used = {name.lower() for name in taken}
    names = [f"{name}_2" if name in used else name for name in (LABEL_TEXT, LABEL_ANGLE)]
    return [pa.field(names[0], pa.string()), pa.field(names[1], pa.float64())]


def _id_name(source: Source, fields: list[str]) -> str | None:
    """The name for the numeric ids of GeoJSON features, where the file gives them; other made-up ids go."""
    if source.driver != "GeoJSON" or "id" in fields:
        return None
    with source.path.open("rb") as stream:
        return "id" if _GEOJSON_ID.search(stream.read(_HEAD_BYTES)) else None


def _storage(array: pa.Array) -> pa.Array:
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _refuse_clash(path: Path, names: list[str]) -> None:
    if GEOMETRY in names:
        raise SourceError(f"{path} has a column {GEOMETRY}, which is Post-PAI's own. Rename it in the source.")


def gdal_layers(source: Source) -> tuple[str, ...]:
    """The layers with geometry of a recognised file."""
    with undisturbed(source) as name:
        return tuple(_layers(source, name))


def _layers(source: Source, name: str) -> list[str]:
    if source.driver in _SINGLE_LAYER:
        return [Path(name.rstrip("}")).stem]
    found = _said_by_gdal(source, [], lambda: pyogrio.list_layers(name))
    spatial = [str(row[0]) for row in found if row[1] is not None]
    return spatial or [str(row[0]) for row in found]


def _chosen(source: Source, layers: list[str], layer: str | None) -> str | int:
    if source.driver in _SINGLE_LAYER:
        return 0
    if not layers:
        raise SourceError(f"{source.path} holds no layer. Check that it was saved whole and is the right file.")
    if layer is not None and layer not in layers:
        raise SourceError(f"{source.path} has no layer {layer!r}. Its layers are: {', '.join(layers)}.")
    if layer is None and len(layers) > 1:
        raise SourceError(
            f"{source.path} holds {len(layers)} layers ({', '.join(layers)}). "
            "Say which: source_layer in migration.yaml, or --layer on the command line."
        )
    return layer or layers[0]


def _text_encoding(source: Source, encoding: str | None) -> tuple[str | None, list[str]]:
    if encoding or source.driver != "ESRI Shapefile":
        return encoding, []
    return dbf_encoding(source)


def _options(source: Source, encoding: str | None) -> dict[str, str]:
    options = dict(_OPEN_OPTIONS.get(source.driver, {}))
    if source.driver == "ESRI Shapefile":
        if encoding:
            options["ENCODING"] = encoding
        if _has_m_shapes(source):
            options["ADJUST_GEOM_TYPE"] = "ALL_SHAPES"
    return options


def _has_m_shapes(source: Source) -> bool:
    if source.path.suffix.lower() != ".shp":
        return source.gdal_name.startswith("/vsizip/")
    with source.path.open("rb") as stream:
        return int.from_bytes(stream.read(36)[32:36], "little") in _M_SHAPES


def _info(
    source: Source,
    name: str,
    layers: list[str],
    chosen: str | int,
    meta: dict[str, Any],
    schema: pa.Schema,
    encoding: str | None,
    findings: list[str],
) -> LayerInfo:
    fields = tuple(
        Field(field.name, str(field.type), int((field.metadata or {}).get(_WIDTH, b"0")))
        for field in schema
        if field.name != GEOMETRY
    )
    return LayerInfo(
        path=source.path,
        driver=source.driver,
        layer=layers[0] if chosen == 0 else str(chosen),
        layers=tuple(layers),
        crs_wkt=meta["crs"],
        encoding=encoding or meta["encoding"],
        geometry_type=meta["geometry_type"] or "Unknown",
        geometry_column=origin_of(schema).column,
        fields=fields,
        feature_count=declared_features(source, name, chosen),
        findings=tuple(findings),
    )


def _batches(
    source: Source,
    info: LayerInfo,
    reader: pa.RecordBatchReader,
    columns: _Columns,
    encoding: str | None,
    findings: list[str],
) -> Iterator[pa.RecordBatch]:
    count = 0
    while True:
        batch = _said_by_gdal(source, findings, lambda: next(iter(reader), None))
        if batch is None:
            break
        count += len(batch)
        yield columns.take(batch, encoding)
    if info.feature_count is not None and count != info.feature_count:
        raise SourceError(
            f"{source.path} says it holds {info.feature_count} features but {count} can be read: "
            "it is damaged or was cut short. Copy all its files again."
        )


def _said_by_gdal(source: Source, findings: list[str], call: Callable[[], Any]) -> Any:
    """Run ``call``; warnings of GDAL become findings, its errors one sentence."""
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            result = call()
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, OSError, pa.ArrowException, ValueError) as e:
        reason = str(e).replace("\n", " ").rstrip(". ")
        raise SourceError(
            f"{source.path} cannot be read as {source.format.title} ({reason}). "
            "Open it in QGIS or MapInfo and save it again, or ask for the file again."
        ) from None
    except UnboundLocalError:  # pyogrio, where the text of a coordinate system is not UTF-8
        raise SourceError(
            f"{source.path} names its coordinate system in characters that cannot be read. Save it again from QGIS; "
            "of a Shapefile, take away the .prj file: without it the coordinates say what they are."
        ) from None
    findings += [text for text in dict.fromkeys(str(each.message) for each in said) if not text.startswith(_NO_NEWS)]
    return result

"""Vector files as streams of Arrow batches: the one door through which layers come in and go out.

    with open_batches(source) as stream:
        written = write_batches(target, stream.schema, stream.batches)

copies a layer of any format to any format in bounded memory. Every batch has the source columns unchanged and,
last, ``pai_geometry``: ISO WKB (Z, M and curves as found) or null. Callers may add columns of their own: they
extend ``stream.schema`` (which carries field widths, the feature id and the origin of the geometry as metadata)
and yield batches whose columns are in the order of the extended schema.

What each kind of file needs is in the modules beside this one: ``formats_recognise`` (which format a path is),
``formats_gdal`` (what GDAL reads), ``formats_table`` (CSV and Excel), ``formats_parquet``, ``formats_write``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from pipeline.formats.recognise import recognise
from pipeline.formats.stream import GEOMETRY, Field, LayerInfo, LayerStream, Origin, Written
from pipeline.formats.whole_layer import whole_layer
from transforms.errors import ExportError

__all__ = [
    "GEOMETRY",
    "Field",
    "LayerInfo",
    "LayerStream",
    "Origin",
    "Written",
    "inspect",
    "layer_names",
    "open_batches",
    "rows_at_once",
    "write_batches",
]

WRITTEN = (".gpkg", ".shp", ".tab", ".mif", ".geojson", ".parquet", ".fgb", ".csv", ".gml", ".gdb")
"""Suffixes of the formats that are written."""

BATCH_BYTES = 12 << 20
"""What a batch takes that is moved whole: long enough to keep two cores busy, and memory flat however dense a layer."""

FEWEST_ROWS, SAMPLE_ROWS, MOST_ROWS = 16, 256, 32_768
"""Bounds of such a batch, and how many features are looked at to size it."""

_SIDE_FILES = {
    ".shp": (".shx", ".dbf", ".prj", ".cpg", ".qix", ".sbn", ".sbx"),
    ".tab": (".dat", ".map", ".id", ".ind"),
    ".mif": (".mid",),
    ".gml": (".xsd", ".gfs"),
    ".gpkg": (".gpkg-wal", ".gpkg-shm", ".gpkg-journal"),
}


def inspect(path: Path, layer: str | None = None) -> LayerInfo:
    """What the file says about a layer, without reading its features.

    Parameters
    ----------
    path
        The file, the folder of a file geodatabase, or a zip of either.
    layer
        The layer's name; may be left out where the file has one.

    Raises
    ------
    SourceError
        If the file is missing, not one of the formats read, broken, or has several layers and none is named.
    """
    with open_batches(path, layer=layer) as stream:
        return stream.info


def layer_names(path: Path) -> tuple[str, ...]:
    """The layers with geometry that a file holds; its stem where its format holds one only.

    Raises
    ------
    SourceError
        If the file is missing, not one of the formats read, or broken.
    """
    source = recognise(path)
    if source.driver in ("Parquet", "CSV", "XLSX"):
        return (path.stem,)
    from pipeline.formats.gdal import gdal_layers

    return gdal_layers(source)


def rows_at_once(path: Path, layer: str | None = None) -> int:
    """How many features of a layer make a batch of about ``BATCH_BYTES``, judged by the first of them.

    Raises
    ------
    SourceError
        As ``open_batches``.
    """
    with open_batches(path, layer=layer, batch_rows=SAMPLE_ROWS) as stream:
        first = next(stream.batches, None)
    size = first.nbytes // max(len(first), 1) if first is not None else 0
    return min(max(BATCH_BYTES // max(size, 1), FEWEST_ROWS), MOST_ROWS)


@contextmanager
def open_batches(
    path: Path,
    *,
    layer: str | None = None,
    encoding: str | None = None,
    easting_column: str | None = None,
    northing_column: str | None = None,
    wkt_column: str | None = None,
    batch_rows: int = 65_536,
) -> Iterator[LayerStream]:
    """Read a layer as a stream of record batches; nothing is ever written in the folder of ``path``.

    Dates are ``date32``; dates with a time are ISO 8601 text with their zone, marked in the field's metadata so
    that they are written as such. Columns of CSV and Excel are text, unchanged. A row whose text holds no usable
    coordinates has a null geometry. The batches live only inside the ``with``.

    Parameters
    ----------
    path
        GeoPackage, Shapefile, MapInfo TAB or MIF, GeoJSON, GML, file geodatabase, GeoParquet, FlatGeobuf, DXF,
        CSV or Excel; Shapefile and file geodatabase also zipped.
    layer
        The layer (of Excel: the sheet); may be left out where there is one.
    encoding
        Text encoding, where the file does not say or says a wrong one.
    easting_column, northing_column, wkt_column
        CSV and Excel: the columns with the coordinates; found by their usual names where left out.
    batch_rows
        Most rows in a batch.

    Yields
    ------
    LayerStream
        The description, the schema and the batches.

    Raises
    ------
    SourceError
        If the file cannot be read, or (while the batches are taken) turns out to be shorter than it declares.
    """
    source = recognise(path, member=layer)
    if source.driver == "Parquet":
        from pipeline.formats.parquet import open_parquet

        opened = open_parquet(source, batch_rows=batch_rows)
    elif source.driver in ("CSV", "XLSX"):
        from pipeline.formats.table import Columns, open_table

        asked = Columns(easting_column, northing_column, wkt_column)
        opened = open_table(source, layer=layer, encoding=encoding, asked=asked, batch_rows=batch_rows)
    else:
        from pipeline.formats.gdal import open_gdal

        opened = open_gdal(source, layer=layer, encoding=encoding, batch_rows=batch_rows)
    with opened as stream:
        yield stream


def write_batches(
    path: Path,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    *,
    crs: str = "EPSG:27700",
    layer: str | None = None,
) -> Written:
    """Write a stream of batches in the format of ``path``'s suffix, whole or not at all.

    ``.gpkg``, ``.shp``, ``.tab``, ``.mif``, ``.geojson``, ``.parquet``, ``.fgb``, ``.csv``, ``.gml``, ``.gdb``.
    All files of the layer (``.shx``, ``.dbf``, ...) are written beside and then take their places together.

    Parameters
    ----------
    path
        The file to write; an existing one is replaced.
    schema
        The columns, among them ``pai_geometry``; take ``LayerStream.schema`` and append fields.
    batches
        Record batches with the columns of ``schema``, in that order.
    crs
        What the coordinates are.
    layer
        The layer's name; the file's stem where left out.

    Returns
    -------
    Written
        With a note for everything the format could not hold as it came: each names the thing and the count.

    Raises
    ------
    ExportError
        If the format cannot hold the layer, or the file cannot be written.
    """
    from pipeline.formats.write import TARGETS, Passage, write_gdal

    suffix = path.suffix.lower()
    passage = Passage(schema, batches)
    side_suffixes = _SIDE_FILES.get(suffix, ())
    with whole_layer(path, side_suffixes) as beside:
        if suffix == ".parquet":
            from pipeline.formats.parquet import write_parquet

            driver, notes = "Parquet", []
            write_parquet(beside, schema, passage, crs)
        elif suffix == ".csv":
            from pipeline.formats.csv_write import write_csv

            driver, notes = "CSV", write_csv(beside, schema, passage, path)
        elif suffix in TARGETS:
            driver = TARGETS[suffix].driver
            notes = write_gdal(beside, passage, crs=crs, layer=layer or path.stem, shown=path)
        else:
            raise ExportError(
                f"{path} has the suffix {suffix or '(none)'}, which is not written. Use one of: {', '.join(WRITTEN)}."
            )
        size = sum(each.stat().st_size for each in beside.parent.rglob("*") if each.is_file())
    return Written(path, driver, passage.features, size, tuple(notes))

"""Tables with coordinates in their columns: CSV and Excel. Every column is text and stays as it is, byte for byte."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from pipeline.formats.recognise import Source
from pipeline.formats.stream import Field, LayerInfo, LayerStream, Origin, geometry_field
from pipeline.formats.text_coordinates import points_from_text, shapes_from_wkt
from pipeline.formats.text_encoding import encoding_of
from transforms.errors import SourceError

_BLOCK_BYTES = 16 << 20
_HEADER_BYTES = 1 << 16
_DELIMITERS = ",;\t|"
_PAIRS = (
    ("easting", "northing"),
    ("eastings", "northings"),
    ("xcoordinate", "ycoordinate"),
    ("xcoord", "ycoord"),
    ("geox", "geoy"),
    ("osgbx", "osgby"),
    ("x", "y"),
    ("e", "n"),
    ("longitude", "latitude"),
    ("lon", "lat"),
    ("lng", "lat"),
)
_WKT = ("wkt", "wktgeometry", "geometrywkt", "geometry", "geom", "thegeom", "shape")


@dataclass(frozen=True)
class Columns:
    """The columns the settings name, where they do."""

    easting: str | None = None
    northing: str | None = None
    wkt: str | None = None


@contextmanager
def open_table(
    source: Source, *, layer: str | None, encoding: str | None, asked: Columns, batch_rows: int
) -> Iterator[LayerStream]:
    """Read CSV or Excel; see ``formats.open_batches`` for the promise."""
    if source.driver == "XLSX":
        opened = _open_sheet(source, layer, batch_rows)
    else:
        opened = _open_csv(source, encoding, batch_rows)
    with opened as table:
        origin, finding = _coordinates(source.path, table, asked)
        fields = [pa.field(name, pa.string()) for name in table.names]
        schema = pa.schema([*fields, geometry_field(origin)])
        info = LayerInfo(
            path=source.path,
            driver=source.driver,
            layer=table.layer,
            layers=table.layers,
            crs_wkt=None,
            encoding=table.encoding,
            geometry_type=origin.geometry_type,
            geometry_column="",
            fields=tuple(Field(name, "string") for name in table.names),
            feature_count=None,
            findings=(*table.findings, finding),
        )
        yield LayerStream(info, schema, _with_geometry(table.batches, schema, origin))


@dataclass(frozen=True)
class _Table:
    names: list[str]
    batches: Iterator[pa.RecordBatch]
    layer: str
    layers: tuple[str, ...]
    encoding: str | None = None
    origin: Origin = field(default_factory=Origin)
    findings: tuple[str, ...] = ()


def _with_geometry(batches: Iterator[pa.RecordBatch], schema: pa.Schema, origin: Origin) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield pa.RecordBatch.from_arrays([*batch.columns, _geometry(batch, origin)], schema=schema)


def _geometry(batch: pa.RecordBatch, origin: Origin) -> pa.Array:
    if origin.wkt_column is not None:
        return shapes_from_wkt(batch.column(origin.wkt_column))
    return points_from_text(
        batch.column(origin.easting_column), batch.column(origin.northing_column), origin.decimal_comma
    )


def _coordinates(path: Path, table: _Table, asked: Columns) -> tuple[Origin, str]:
    for each in (asked.easting, asked.northing, asked.wkt):
        if each is not None and each not in table.names:
            raise SourceError(f"{path} has no column {each!r}. Its columns are: {', '.join(table.names)}.")
    wkt, pair = (asked.wkt, None) if asked.wkt else _asked_or_usual(table.names, asked)
    if wkt is not None:
        return replace(table.origin, wkt_column=wkt), f"Geometry is read from column {wkt}."
    if pair is None:
        raise SourceError(
            f"{path} has no columns that are plainly coordinates (found: {', '.join(table.names)}). "
            "Name them: easting_column and northing_column, or wkt_column, in migration.yaml."
        )
    easting, northing = pair
    origin = replace(table.origin, geometry_type="Point", easting_column=easting, northing_column=northing)
    return origin, f"Easting is read from column {easting}, northing from column {northing}."


def _asked_or_usual(names: list[str], asked: Columns) -> tuple[str | None, tuple[str, str] | None]:
    """The WKT column or the pair of coordinate columns: those asked for, else those with usual names."""
    if asked.easting and asked.northing:
        return None, (asked.easting, asked.northing)
    plain = {re.sub(r"[^a-z]", "", name.lower()): name for name in reversed(names)}
    wkt = next((plain[name] for name in _WKT if name in plain), None)
    pair = next(((plain[e], plain[n]) for e, n in _PAIRS if e in plain and n in plain), None)
    says_wkt = wkt is not None and "wkt" in wkt.lower()
    return (wkt, None) if says_wkt or pair is None else (None, pair)


@contextmanager
def _open_csv(source: Source, encoding: str | None, batch_rows: int) -> Iterator[_Table]:
    path = source.path
    with path.open("rb") as stream:
        found = encoding or _csv_encoding(stream)
    findings = [] if encoding or found != "cp1252" else ["The text is not UTF-8; it is read as Windows-1252 (cp1252)."]
    names, delimiter, lines = _header(path, found)
    reader = _csv_reader(path, found, names, delimiter, lines)
    yield _Table(
        names=names,
        batches=_csv_batches(path, reader, batch_rows),
        layer=path.stem,
        layers=(path.stem,),
        encoding=found,
        origin=_written_as(path, delimiter),
        findings=tuple(findings),
    )


def _written_as(path: Path, delimiter: str) -> Origin:
    with path.open("rb") as stream:
        start = stream.read(_HEADER_BYTES)
    return Origin(
        decimal_comma=delimiter != ",",
        delimiter=delimiter,
        has_bom=start.startswith(b"\xef\xbb\xbf"),
        has_crlf=b"\r\n" in start,
    )


def _csv_encoding(stream: Any) -> str:
    start = stream.read(4)
    stream.seek(0)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    found = encoding_of(iter(lambda: stream.read(1 << 20), b""))
    return "utf-8" if found is None else found


def _header(path: Path, encoding: str) -> tuple[list[str], str, int]:
    try:
        with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as stream:
            first = stream.readline(_HEADER_BYTES)
            delimiter = max(_DELIMITERS, key=first.count)
            stream.seek(0)
            reader = csv.reader(stream, delimiter=delimiter)
            names = next(reader)
            lines = reader.line_num
    except (UnicodeError, LookupError, csv.Error, StopIteration) as error:
        raise SourceError(f"{path} cannot be read as text in {encoding} ({error}). Set encoding.") from None
    return _told_apart([name.strip() for name in names]), delimiter, lines


def _told_apart(names: list[str]) -> list[str]:
    """Names with a number where one occurs again (Arrow and GeoPackage need each once).

    Examples
    --------
    >>> _told_apart(["ref", "note", "note", ""])
    ['ref', 'note', 'note_2', 'column_4']
    """
    unique: list[str] = []
    for position, name in enumerate(names, 1):
        wanted, again = name or f"column_{position}", 1
        while wanted.lower() in [each.lower() for each in unique]:
            again += 1
            wanted = f"{name}_{again}"
        unique.append(wanted)
    return unique


def _csv_reader(path: Path, encoding: str, names: list[str], delimiter: str, lines: int) -> pacsv.CSVStreamingReader:
    try:
        return pacsv.open_csv(
            path,
            read_options=pacsv.ReadOptions(
                encoding=encoding, column_names=names, skip_rows=lines, block_size=_BLOCK_BYTES, use_threads=False
            ),
            parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(column_types={name: pa.string() for name in names}),
        )
    except (pa.ArrowException, OSError, UnicodeError, LookupError) as error:
        raise _bad_csv(path, error) from None


def _bad_csv(path: Path, error: Exception) -> SourceError:
    reason = str(error).splitlines()[0][:200].rstrip(". ")
    return SourceError(f"{path} is not a regular table ({reason}). Put that row right or save the file again.")


def _csv_batches(path: Path, reader: pacsv.CSVStreamingReader, batch_rows: int) -> Iterator[pa.RecordBatch]:
    try:
        for batch in reader:
            for start in range(0, len(batch), batch_rows):
                yield batch.slice(start, batch_rows)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise _bad_csv(path, error) from None


@contextmanager
def _open_sheet(source: Source, layer: str | None, batch_rows: int) -> Iterator[_Table]:
    from openpyxl import load_workbook

    try:
        book = load_workbook(source.path, read_only=True, data_only=True)
    except Exception as error:  # openpyxl raises whatever its XML and zip layers raise
        raise SourceError(f"{source.path} cannot be read as Excel ({error}). Save it again as .xlsx.") from None
    try:
        name = _sheet_name(source.path, book.sheetnames, layer)
        rows = book[name].iter_rows(values_only=True)
        names = _told_apart([_cell(value) or "" for value in next(rows, ())])
        yield _Table(names, _sheet_batches(rows, names, batch_rows), name, tuple(book.sheetnames))
    finally:
        book.close()


def _sheet_name(path: Path, sheets: list[str], layer: str | None) -> str:
    if layer is not None and layer not in sheets:
        raise SourceError(f"{path} has no sheet {layer!r}. Its sheets are: {', '.join(sheets)}.")
    if layer is None and len(sheets) > 1:
        raise SourceError(
            f"{path} holds {len(sheets)} sheets ({', '.join(sheets)}). "
            "Say which: source_layer in migration.yaml, or --layer on the command line."
        )
    return layer or sheets[0]


def _sheet_batches(rows: Iterator[tuple[Any, ...]], names: list[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
    schema = pa.schema([pa.field(name, pa.string()) for name in names])
    held: list[list[str | None]] = []
    for row in rows:
        held.append([_cell(value) for value in row[: len(names)]] + [None] * (len(names) - len(row)))
        if len(held) == batch_rows:
            yield _as_batch(held, schema)
            held = []
    if held:
        yield _as_batch(held, schema)


def _as_batch(rows: list[list[str | None]], schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array(column, pa.string()) for column in zip(*rows, strict=True)], schema=schema
    )


def _cell(value: Any) -> str | None:
    """A cell as the text an officer sees, without rounding."""
    if value is None:
        return None
    return value.isoformat() if hasattr(value, "isoformat") else str(value)

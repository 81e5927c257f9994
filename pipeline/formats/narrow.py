"""Formats narrower than a layer may be (Shapefile, MapInfo, file geodatabase): what is fitted in, named and counted.

Such a format wants to know before the first feature how wide the text is, whether numbers fit, and which kinds of
geometry will come. So the stream is first laid aside on disk while it is measured, and then written from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.formats.dbf_widths import as_it_was
from pipeline.formats.stream import GEOMETRY
from pipeline.geometry.wkb_batch import WkbBatch
from pipeline.geometry.wkb_types import TypeCount, type_codes, type_name
from transforms.errors import ExportError

WIDTH = b"GDAL:OGR:width"
_OGR_TYPE = b"GDAL:OGR:type"
_WIDEST_TEXT = 254
_KINDS = {1: "points", 2: "lines", 3: "polygons", 4: "multipoints", 5: "lines", 6: "polygons"}
_AS_LINEAR = {8: 2, 9: 2, 10: 3, 11: 5, 12: 6, 17: 3}
_INT32 = 1 << 31
_EXACT = 1 << 53
_COLLECTION = 7


@dataclass
class Measure:
    """What the columns of a stream hold: the longest text, the extremes of integers, the missing and the empty."""

    longest_text: Counter[str] = field(default_factory=Counter)
    too_long: int = 0
    null_text: int = 0
    empty_text: int = 0
    wide_integers: set[str] = field(default_factory=set)
    largest: dict[str, float] = field(default_factory=dict)
    is_windows_western: bool = True
    empty_geometry: int = 0
    null_numbers: int = 0
    inexact_integers: int = 0
    binary: set[str] = field(default_factory=set)

    def add(self, name: str, column: pa.Array) -> None:
        """Measure one more piece of the column ``name``."""
        if name != GEOMETRY and not pa.types.is_string(column.type):
            self.null_numbers += 0 if pa.types.is_date(column.type) else column.null_count
        if pa.types.is_string(column.type):
            self._add_text(name, column)
        elif pa.types.is_int64(column.type):
            extremes = pc.min_max(column).as_py().values()
            if any(value is not None and not -_INT32 <= value < _INT32 for value in extremes):
                self.wide_integers.add(name)
                exact = pc.and_(pc.greater_equal(column, -_EXACT), pc.less_equal(column, _EXACT))
                self.inexact_integers += pc.sum(pc.invert(exact)).as_py() or 0
        elif name != GEOMETRY and (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
            self.binary.add(name)
        elif pa.types.is_floating(column.type):
            largest = pc.max(pc.abs(column)).as_py() or 0.0
            is_finite = pc.all(pc.is_finite(column), min_count=0).as_py()
            self.largest[name] = max(self.largest.get(name, 0.0), largest if is_finite else np.inf)

    def _add_text(self, name: str, column: pa.Array) -> None:
        length = pc.binary_length(column)
        self.longest_text[name] = max(self.longest_text[name], pc.max(length).as_py() or 0)
        self.too_long += pc.sum(pc.greater(length, _WIDEST_TEXT)).as_py() or 0
        self.null_text += column.null_count
        self.empty_text += pc.sum(pc.equal(length, 0)).as_py() or 0
        if self.is_windows_western and not pc.all(pc.string_is_ascii(column), min_count=0).as_py():
            self.is_windows_western = _is_windows_western(column)


def _is_windows_western(column: pa.Array) -> bool:
    try:
        "".join(value for value in column.to_pylist() if value).encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class Spool:
    """A stream laid aside on disk, with its measure."""

    path: Path
    schema: pa.Schema
    measure: Measure
    types: TypeCount

    @classmethod
    def of(cls, path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Spool:
        """Lay ``batches`` aside in ``path``."""
        measure, types = Measure(), TypeCount()
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            for batch in batches:
                for name, column in zip(schema.names, batch.columns, strict=True):
                    measure.add(name, column)
                geometry = batch.column(schema.get_field_index(GEOMETRY))
                types.add(geometry)
                measure.empty_geometry += empty_geometries(geometry)
                writer.write_batch(batch)
        return cls(path, schema, measure, types)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The stream again, from its beginning."""
        with pa.OSFile(str(self.path), "rb") as source, pa.ipc.open_stream(source) as reader:
            yield from reader

    def kinds(self) -> Counter[str]:
        """How many features of each kind the format tells apart: points, multipoints, lines, polygons."""
        kinds: Counter[str] = Counter()
        for code, count in self.types.codes.items():
            if code >= 0:
                kinds[_kind(code) or ""] += count
        return kinds


def _kind(code: int) -> str | None:
    return _KINDS.get(_AS_LINEAR.get(code % 1000, code % 1000))


def refuse_kinds(spool: Spool, format_title: str, shown: Path) -> None:
    """Refuse geometries that the format has no place for.

    Raises
    ------
    ExportError
        With their type and number.
    """
    for code, count in spool.types.codes.items():
        if code >= 0 and _kind(code) is None:
            raise ExportError(
                f"{shown}: {count} features are of type {type_name(code)}, which a {format_title} cannot hold. "
                "Export this layer to GeoPackage."
            )


def refuse_collections(spool: Spool, shown: Path) -> None:
    """Refuse what MapInfo would take apart.

    Raises
    ------
    ExportError
        If the layer has geometry collections.
    """
    count = sum(count for code, count in spool.types.codes.items() if code >= 0 and code % 1000 == _COLLECTION)
    if count:
        raise ExportError(
            f"{shown}: {count} features are geometry collections, which a MapInfo table would hold as several features "
            "each. Export this layer to GeoPackage."
        )


def only_kind(spool: Spool, kind: str, *, with_nulls: bool) -> Iterator[pa.RecordBatch]:
    """The features of one kind, and those without geometry if asked."""
    at = spool.schema.get_field_index(GEOMETRY)
    for batch in spool.batches():
        codes = type_codes(batch.column(at))
        wanted = [with_nulls if code < 0 else _kind(int(code)) == kind for code in codes]
        if any(wanted):
            yield batch.filter(pa.array(wanted))


def geometry_notes(types: TypeCount, empty: int = 0, *, loses: str = "", levels: bool = False) -> list[str]:
    """What becomes of geometries in a format that ``loses`` some of "z", "m", "curves".

    ``empty`` counts the empty geometries of a format that cannot tell them from missing ones; ``levels`` says that
    the format gives all geometries the same dimensions.
    """
    there = sum(count for code, count in types.codes.items() if code >= 0)
    z = sum(count for code, count in types.codes.items() if code >= 1000 and code // 1000 != 2)
    m = sum(count for code, count in types.codes.items() if code >= 2000)
    counted = {
        f"{types.curves()} curves are written as lines of short segments.": types.curves() * ("curves" in loses),
        f"{z} features lose their heights (Z).": z * ("z" in loses.split()),
        f"{m} features lose their measures (M).": m * ("m" in loses.split()),
        f"{there - z} features without heights get heights (Z) of 0, as others have some.": (there - z)
        * (levels and z > 0),
        f"{there - m} features without measures get measures (M), as others have some.": (there - m)
        * (levels and m > 0),
        f"{empty} empty geometries become missing ones.": empty,
    }
    return [note for note, count in counted.items() if count]


@dataclass(frozen=True)
class Fitting:
    """How the columns are made to fit: a schema, and the batches in it."""

    schema: pa.Schema
    notes: tuple[str, ...]
    keeps_empty: bool = True

    def fit(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """``batches`` in the fitted schema."""
        for batch in batches:
            columns = [
                column if column.type == wanted.type else column.cast(wanted.type)
                for column, wanted in zip(batch.columns, self.schema, strict=True)
            ]
            if not self.keeps_empty:
                at = self.schema.get_field_index(GEOMETRY)
                columns[at] = _without_empty(columns[at])
            yield pa.RecordBatch.from_arrays(columns, schema=self.schema)


def _without_empty(geometry: pa.Array) -> pa.Array:
    return pc.if_else(pa.array(_is_drawn(geometry)), geometry, None)


def _is_drawn(geometry: pa.Array) -> np.ndarray:
    wkb = WkbBatch.of(geometry)
    drawn = np.zeros(len(geometry), dtype=bool)
    drawn[wkb.feature] = True
    return drawn | (wkb.runs.trouble != 0)


def empty_geometries(geometry: pa.Array) -> int:
    """How many geometries are there but draw nothing."""
    return int((~_is_drawn(geometry)).sum()) - geometry.null_count


def fit_mapinfo(spool: Spool) -> Fitting:
    """Columns for MapInfo: integers of 32 bits where they fit, else whole decimals; text up to 254."""
    measure = spool.measure
    fields = [_narrow_integer(each, measure) for each in spool.schema]
    notes = [
        f"{measure.null_text} missing texts are empty: MapInfo knows no NULL." if measure.null_text else "",
        f"{measure.null_numbers} missing numbers are 0: MapInfo knows no NULL." if measure.null_numbers else "",
        *_column_notes(measure),
        *geometry_notes(spool.types, measure.empty_geometry, loses="z m curves"),
    ]
    return Fitting(pa.schema(fields), tuple(note for note in notes if note), keeps_empty=False)


def fit_geodatabase(spool: Spool) -> Fitting:
    """Columns for a file geodatabase: integers of 32 bits where they fit, which readers of every age know."""
    wide = spool.measure.wide_integers
    fits = [pa.types.is_int64(each.type) and each.name not in wide for each in spool.schema]
    schema = pa.schema(
        [each.with_type(pa.int32()) if fit else each for each, fit in zip(spool.schema, fits, strict=True)]
    )
    notes = geometry_notes(spool.types, spool.measure.empty_geometry, levels=True)
    if recent := recent_columns(schema):
        notes.append(
            f"{', '.join(recent)}: dates without a time and whole numbers of more than 32 bits need ArcGIS Pro 3.2 or "
            "GDAL 3.9; older ones may show the layer empty."
        )
    return Fitting(schema, tuple(notes))


def recent_columns(schema: pa.Schema) -> list[str]:
    """Columns of types that file geodatabases have had since ArcGIS Pro 3.2."""
    return [each.name for each in schema if pa.types.is_int64(each.type) or pa.types.is_date(each.type)]


def _narrow_integer(column: pa.Field, measure: Measure) -> pa.Field:
    if not pa.types.is_int64(column.type):
        return column
    return column.with_type(pa.decimal128(19, 0) if column.name in measure.wide_integers else pa.int32())


def fit_shapefile(spool: Spool) -> Fitting:
    """Columns for a Shapefile: names of ten characters, text as wide as it is, date-times as text."""
    measure = spool.measure
    names = short_names([each.name for each in spool.schema if each.name != GEOMETRY])
    fields = [_dbf_field(each, names, measure) for each in spool.schema]
    renamed = [f"{name} -> {short}" for name, short in names.items() if name != short]
    notes = [
        f"Names longer than 10 characters are shortened: {', '.join(renamed)}." if renamed else "",
        f"{measure.empty_text} empty texts become missing: a Shapefile cannot tell them apart."
        if measure.empty_text
        else "",
        *_column_notes(measure),
        *geometry_notes(spool.types, measure.empty_geometry, loses="curves", levels=True),
    ]
    return Fitting(pa.schema(fields), tuple(note for note in notes if note))


def _dbf_field(column: pa.Field, names: dict[str, str], measure: Measure) -> pa.Field:
    if column.name == GEOMETRY:
        return column
    column = as_it_was(column, measure.largest.get(column.name, 0.0))
    metadata = {key: value for key, value in (column.metadata or {}).items() if key != _OGR_TYPE}
    if pa.types.is_string(column.type):
        declared = int(metadata.get(WIDTH, b"0"))
        width = min(_WIDEST_TEXT, max(declared, measure.longest_text[column.name], 1))
        metadata[WIDTH] = str(width).encode()
    return column.with_metadata(metadata or None).with_name(names[column.name])


def _column_notes(measure: Measure) -> list[str]:
    """What both a Shapefile and MapInfo do to columns that are too wide or of no type they know."""
    counted = {
        f"{measure.too_long} texts are cut to {_WIDEST_TEXT} bytes.": measure.too_long,
        f"{measure.inexact_integers} whole numbers beyond 15 digits lose their last ones.": measure.inexact_integers,
        f"Columns of bytes are written as hexadecimal text: {', '.join(sorted(measure.binary))}.": len(measure.binary),
    }
    return [note for note, count in counted.items() if count]


def short_names(names: list[str], limit: int = 10) -> dict[str, str]:
    """Each name cut to ``limit`` bytes of UTF-8 and told apart from the others, whatever its case.

    Examples
    --------
    >>> short_names(["uprn", "pai_uncertainty_m", "pai_uncertain"])
    {'uprn': 'uprn', 'pai_uncertainty_m': 'pai_uncert', 'pai_uncertain': 'pai_uncer2'}
    """
    short: dict[str, str] = {}
    for name in names:
        wanted, again = _first_bytes(name, limit), 1
        while wanted.lower() in {each.lower() for each in short.values()}:
            again += 1
            wanted = f"{_first_bytes(name, limit - len(str(again)))}{again}"
        short[name] = wanted
    return short


def _first_bytes(text: str, limit: int) -> str:
    return text.encode()[:limit].decode(errors="ignore")


def shape_type(spool: Spool, kind: str) -> str:
    """The Shapefile's own word for ``kind`` with the Z and M that its features have."""
    codes = np.array([code for code in spool.types.codes if code >= 0 and _kind(code) == kind])
    word = {"points": "POINT", "multipoints": "MULTIPOINT", "lines": "ARC", "polygons": "POLYGON"}[kind]
    has_z, has_m = bool(np.isin(codes // 1000, (1, 3)).any()), bool((codes >= 2000).any())
    return word + ("ZM" if has_z and has_m else "Z" if has_z else "M" if has_m else "")

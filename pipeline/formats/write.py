"""Layers written by GDAL from a stream of Arrow batches; what a format cannot hold is converted by name and counted."""

from __future__ import annotations

import re
import sqlite3
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyogrio
import pyogrio.raw

from pipeline.formats.geometry_types import declared_type
from pipeline.formats.narrow import (
    WIDTH,
    Spool,
    empty_geometries,
    fit_geodatabase,
    fit_mapinfo,
    fit_shapefile,
    geometry_notes,
    only_kind,
    recent_columns,
    refuse_collections,
    refuse_kinds,
    shape_type,
)
from pipeline.formats.stream import GEOMETRY, feature_id_column, origin_of
from pipeline.geometry.wkb_types import TypeCount
from transforms.errors import ExportError, PostPaiError

_PLAIN_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")

_GDAL_ERRORS = (
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    pyogrio.errors.FieldError,
    pyogrio.errors.FeatureError,
    pyogrio.errors.GeometryError,
    pa.ArrowException,
    OSError,
    RuntimeError,
    ValueError,
)


@dataclass(frozen=True)
class Target:
    """A format that is written: GDAL's driver and the options that make it whole and fast."""

    driver: str
    dataset_options: dict[str, str]
    layer_options: dict[str, str]


TARGETS = {
    ".gpkg": Target("GPKG", {}, {"SPATIAL_INDEX": "YES"}),
    ".shp": Target("ESRI Shapefile", {}, {"ENCODING": "UTF-8"}),
    ".tab": Target("MapInfo File", {"FORMAT": "TAB"}, {"BOUNDS": "0,0,2000000,2000000"}),
    ".mif": Target("MapInfo File", {"FORMAT": "MIF"}, {"BOUNDS": "0,0,2000000,2000000"}),
    ".geojson": Target("GeoJSON", {}, {"RFC7946": "NO", "COORDINATE_PRECISION": "9", "WRITE_NON_FINITE_VALUES": "NO"}),
    ".fgb": Target("FlatGeobuf", {}, {"SPATIAL_INDEX": "NO"}),
    ".gml": Target("GML", {"FORMAT": "GML3.2"}, {}),
    ".gdb": Target("OpenFileGDB", {}, {"TIME_IN_UTC": "NO"}),
}
"""Suffix -> how GDAL writes it."""


class Passage:
    """Batches on their way into GDAL: counted, their geometry types noted, and an error of their source kept.

    GDAL takes batches through a C interface that would turn an exception of ours into a number.
    """

    def __init__(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch], *, counts_empty: bool = False) -> None:
        self.counts_empty = counts_empty
        self.schema = _without_widths_of_floats(schema)
        self.features = 0
        self.types = TypeCount()
        self.empty = 0
        self.error: BaseException | None = None
        self._batches = batches

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._batches:
                self.features += len(batch)
                geometry = batch.column(self.schema.get_field_index(GEOMETRY))
                self.types.add(geometry)
                self.empty += empty_geometries(geometry) if self.counts_empty else 0
                yield pa.RecordBatch.from_arrays(batch.columns, schema=self.schema)
        except (Exception, KeyboardInterrupt) as error:
            self.error = error
            raise


def _without_widths_of_floats(schema: pa.Schema) -> pa.Schema:
    """A width without decimals would make GDAL write 2320.7 as 2321."""
    for at, column in enumerate(schema):
        if pa.types.is_floating(column.type) and column.metadata and WIDTH in column.metadata:
            rest = {key: value for key, value in column.metadata.items() if key != WIDTH}
            schema = schema.set(at, column.with_metadata(rest))
    return schema


def write_gdal(path: Path, passage: Passage, *, crs: str, layer: str, shown: Path) -> list[str]:
    """Write ``passage`` to ``path``; returns the notes.

    Parameters
    ----------
    path
        Where to write, a private place.
    passage
        The stream.
    crs, layer
        What the coordinates are, what the layer is called.
    shown
        The path the user knows, for messages.
    """
    suffix = path.suffix.lower()
    if suffix in _NARROW:
        with tempfile.TemporaryDirectory(dir=path.parent.parent, prefix=".post-pai-") as folder:
            spool = Spool.of(Path(folder) / "spool.arrow", passage.schema, iter(passage))
            return _NARROW[suffix](path, spool, crs, layer, shown)
    options = _kept_names(TARGETS[suffix], passage.schema)
    passage.counts_empty = suffix == ".gml"
    notes = _write(path, passage, crs, layer, shown, options)
    if suffix == ".gml":
        _refuse_some_heights(passage.types, shown)
    if suffix == ".gpkg":
        _declare_geometry_type(path, passage.types)
    return [*geometry_notes(passage.types, passage.empty, loses=_LOST.get(suffix, "")), *notes]


def _refuse_some_heights(types: TypeCount, shown: Path) -> None:
    """GML says once how many numbers a place has: what is written otherwise cannot be read."""
    high = [code // 1000 in (1, 3) for code in types.codes if code >= 0]
    if any(high) and not all(high):
        raise ExportError(f"{shown}: only some features have heights (Z), which GML cannot hold. Use GeoPackage.")


def _write(path: Path, passage: Passage, crs: str, layer: str, shown: Path, options: dict[str, str]) -> list[str]:
    target = TARGETS[path.suffix.lower()]
    notes: list[str] = []
    geometry_type = options.pop("GEOMETRY_TYPE", "Unknown")

    def write() -> None:
        pyogrio.raw.write_arrow(
            pa.RecordBatchReader.from_batches(passage.schema, passage),
            path,
            layer=layer,
            driver=target.driver,
            geometry_name=GEOMETRY,
            geometry_type=geometry_type,
            crs=crs,
            dataset_options=target.dataset_options,
            layer_options={**target.layer_options, **options},
        )

    _said_by_gdal(shown, passage, notes, write)
    return notes


def _write_mapinfo(path: Path, spool: Spool, crs: str, layer: str, shown: Path) -> list[str]:
    refuse_collections(spool, shown)
    fitting = fit_mapinfo(spool)
    encoding = {"ENCODING": "CP1252" if spool.measure.is_windows_western else "UTF-8"}
    passage = Passage(fitting.schema, fitting.fit(spool.batches()))
    notes = _write(path, passage, crs, layer, shown, encoding)
    _refuse_out_of_bounds(notes, shown)
    if not spool.measure.is_windows_western:
        notes.append("Some text is beyond Windows-1252: written as UTF-8, which MapInfo reads from version 15.2 on.")
    return [*fitting.notes, *notes]


def _refuse_out_of_bounds(notes: list[str], shown: Path) -> None:
    """MapInfo keeps integers inside table bounds: what lies outside would come back at a wrong place."""
    if any("predefined bounds" in note for note in notes):
        raise ExportError(
            f"{shown}: some coordinates lie outside (0, 0) to (2000000, 2000000), the bounds that give a MapInfo table "
            "1 mm. Check the layer's coordinates, or export to GeoPackage."
        )


def _write_shapefile(path: Path, spool: Spool, crs: str, layer: str, shown: Path) -> list[str]:
    """One Shapefile for each kind of geometry; the commonest, with the features that have none, keeps the name."""
    refuse_kinds(spool, "Shapefile", shown)
    fitting = fit_shapefile(spool)
    notes = list(fitting.notes)
    kinds = [kind for kind, _ in spool.kinds().most_common()] or ["points"]
    for kind in kinds:
        is_main = kind == kinds[0]
        part = path if is_main else path.with_name(f"{path.stem}_{kind}.shp")
        passage = Passage(fitting.schema, fitting.fit(only_kind(spool, kind, with_nulls=is_main)))
        notes += _write(part, passage, crs, part.stem, shown, {"SHPT": shape_type(spool, kind)})
        if not is_main:
            notes.append(f"{passage.features} {kind} are in {part.name}: a Shapefile holds one kind of geometry.")
    return notes


def _write_geodatabase(path: Path, spool: Spool, crs: str, layer: str, shown: Path) -> list[str]:
    refuse_kinds(spool, "file geodatabase layer", shown)
    kinds = spool.kinds()
    if len(kinds) > 1:
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        raise ExportError(
            f"{shown}: a file geodatabase layer holds one kind of geometry and these are {counts}. Use GeoPackage."
        )
    kind = next(iter(kinds), "points")
    geometry_type = _GEODATABASE_TYPES[kind] + (" Z" if "Z" in shape_type(spool, kind) else "")
    fitting = fit_geodatabase(spool)
    passage = Passage(fitting.schema, fitting.fit(spool.batches()))
    readers = "ARCGIS_PRO_3_2_OR_LATER" if recent_columns(fitting.schema) else "ALL"
    options = {"GEOMETRY_TYPE": geometry_type, "TARGET_ARCGIS_VERSION": readers}
    return [*fitting.notes, *_write(path, passage, crs, layer, shown, options)]


def _write_flatgeobuf(path: Path, spool: Spool, crs: str, layer: str, shown: Path) -> list[str]:
    """FlatGeobuf keeps the Z and M that its header announces, and no others."""
    passage = Passage(spool.schema, spool.batches())
    notes = geometry_notes(spool.types, spool.measure.empty_geometry, levels=True)
    dates = [each.name for each in spool.schema if pa.types.is_date(each.type)]
    notes += [f"Dates get a time of 0:00, as FlatGeobuf has no other: {', '.join(dates)}."] if dates else []
    return [*notes, *_write(path, passage, crs, layer, shown, {"GEOMETRY_TYPE": declared_type(spool.types)})]


_GEODATABASE_TYPES = {
    "points": "Point",
    "multipoints": "MultiPoint",
    "lines": "MultiLineString",
    "polygons": "MultiPolygon",
}
_LOST = {".geojson": "m curves", ".gml": "m"}
"""What formats that are written without a look ahead cannot hold."""

_NARROW: dict[str, Callable[[Path, Spool, str, str, Path], list[str]]] = {
    ".shp": _write_shapefile,
    ".tab": _write_mapinfo,
    ".mif": _write_mapinfo,
    ".gdb": _write_geodatabase,
    ".fgb": _write_flatgeobuf,
}


def _kept_names(target: Target, schema: pa.Schema) -> dict[str, str]:
    if target.driver == "GeoJSON":
        identifier = feature_id_column(schema)
        return {"ID_FIELD": identifier} if identifier else {}
    if target.driver != "GPKG":
        return {}
    column = origin_of(schema).column
    kept = {"GEOMETRY_NAME": column} if _PLAIN_NAME.match(column) else {}
    identifier = feature_id_column(schema, in_order=True)  # a GeoPackage is read in the order of its ids
    taken = {name.lower() for name in schema.names}
    unused = next(name for name in ("fid", "pai_fid", "pai_feature_id") if name not in taken)
    return {**kept, "FID": identifier or unused}


def _declare_geometry_type(path: Path, types: TypeCount) -> None:
    """State in the GeoPackage the one type that all features have; it was opened for any."""
    name, z, m = types.geopackage_declaration()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA synchronous = OFF")  # flushed before it takes its place
        connection.execute("UPDATE gpkg_geometry_columns SET geometry_type_name = ?, z = ?, m = ?", (name, z, m))
    connection.close()


def _said_by_gdal(shown: Path, passage: Passage, notes: list[str], call: Callable[[], None]) -> None:
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            call()
    except Exception as error:
        if isinstance(passage.error, PostPaiError):
            raise passage.error from None
        if passage.error is not None:
            raise passage.error from error
        if not isinstance(error, _GDAL_ERRORS):
            raise
        reason = re.sub(r"\S*\.part/", "", str(error)).replace("\n", " ").rstrip(". ")
        raise ExportError(
            f"{shown} cannot be written ({reason}). Export to GeoPackage, which holds everything."
        ) from None
    notes += dict.fromkeys(str(each.message) for each in said)

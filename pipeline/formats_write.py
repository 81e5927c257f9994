"""Layers written by GDAL from a stream of Arrow batches; what a format cannot hold is converted by name and counted."""

from __future__ import annotations

import re
import sqlite3
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyogrio
import pyogrio.raw

from pipeline.layer_stream import GEOMETRY, feature_id_column, origin_of
from pipeline.wkb_types import TypeCount
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
    ".tab": Target("MapInfo File", {"FORMAT": "TAB"}, {"BOUNDS": "0,0,2000000,2000000", "ENCODING": "UTF-8"}),
    ".mif": Target("MapInfo File", {"FORMAT": "MIF"}, {"BOUNDS": "0,0,2000000,2000000", "ENCODING": "UTF-8"}),
    ".geojson": Target("GeoJSON", {}, {"RFC7946": "NO", "COORDINATE_PRECISION": "9", "WRITE_NON_FINITE_VALUES": "NO"}),
    ".fgb": Target("FlatGeobuf", {}, {}),
    ".gml": Target("GML", {"FORMAT": "GML3.2"}, {}),
    ".gdb": Target("OpenFileGDB", {}, {}),
}
"""Suffix -> how GDAL writes it."""


class Passage:
    """Batches on their way into GDAL: counted, their geometry types noted, and an error of their source kept.

    GDAL takes batches through a C interface that would turn an exception of ours into a number.
    """

    def __init__(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        self.schema = schema
        self.features = 0
        self.types = TypeCount()
        self.error: BaseException | None = None
        self._batches = batches

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._batches:
                self.features += len(batch)
                self.types.add(batch.column(self.schema.get_field_index(GEOMETRY)))
                yield pa.RecordBatch.from_arrays(batch.columns, schema=self.schema)
        except BaseException as error:
            self.error = error
            raise


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
    target = TARGETS[path.suffix.lower()]
    notes: list[str] = []
    reader = pa.RecordBatchReader.from_batches(passage.schema, passage)
    options = {**target.layer_options, **_kept_names(target, passage.schema)}

    def write() -> None:
        pyogrio.raw.write_arrow(
            reader,
            path,
            layer=layer,
            driver=target.driver,
            geometry_name=GEOMETRY,
            geometry_type="Unknown",
            crs=crs,
            dataset_options=target.dataset_options,
            layer_options=options,
        )

    _said_by_gdal(shown, passage, notes, write)
    if target.driver == "GPKG":
        _declare_geometry_type(path, passage.types)
    return notes


def _kept_names(target: Target, schema: pa.Schema) -> dict[str, str]:
    if target.driver != "GPKG":
        return {}
    column = origin_of(schema).column
    kept = {"GEOMETRY_NAME": column} if _PLAIN_NAME.match(column) else {}
    identifier = feature_id_column(schema)
    taken = {name.lower() for name in schema.names}
    unused = next(name for name in ("fid", "pai_fid", "pai_feature_id") if name not in taken)
    return {**kept, "FID": identifier or unused}


def _declare_geometry_type(path: Path, types: TypeCount) -> None:
    """State in the GeoPackage the one type that all features have; it was opened for any."""
    name, z, m = types.geopackage_declaration()
    with sqlite3.connect(path) as connection:
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
        if not isinstance(
            error,
            (
                pyogrio.errors.DataSourceError,
                pyogrio.errors.FieldError,
                OSError,
                RuntimeError,
                ValueError,
                pa.ArrowException,
                pyogrio.errors.DataLayerError,
                pyogrio.errors.FeatureError,
                pyogrio.errors.GeometryError,
            ),
        ):
            raise
        reason = str(error).replace("\n", " ").rstrip(". ")
        raise ExportError(
            f"{shown} cannot be written ({reason}). Export to GeoPackage, which holds everything."
        ) from None
    notes += dict.fromkeys(str(each.message) for each in said)

"""Control drawn as a layer of two-point lines: the start is the old place, the end the new one.

Read record by record through fiona from a private copy, because some drivers write beside what they read.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fiona
import numpy as np
from fiona.errors import FionaError
from numpy.typing import NDArray

from transforms.errors import SourceError

# Named one by one: GDAL's virtual formats can read any file or address.
_DRIVERS = ["GPKG", "ESRI Shapefile", "MapInfo File", "GeoJSON", "GML", "FlatGeobuf", "OpenFileGDB"]
_SIGNATURES = (
    b"SQLite format 3\0",
    b"\x00\x00\x27\x0a",  # Shapefile
    b"!table",
    b"Version ",  # MapInfo MIF
    b"VERSION ",
    b"version ",
    b"{",
    b"[",
    b"<",
    b"fgb",
    b"PK\x03\x04",
)
_SIDE_FILES = frozenset(
    (
        ".dbf",
        ".shx",
        ".prj",
        ".cpg",
        ".sbn",
        ".sbx",
        ".qix",
        ".qpj",
        ".dat",
        ".map",
        ".id",
        ".ind",
        ".mid",
        ".xml",
        ".gfs",
        ".xsd",
        ".qml",
        ".sld",
        ".md",
        ".aux",
        ".gpkg-wal",
        ".gpkg-shm",
        ".gpkg-journal",
    )
)
_WITH_SIDE_FILES = frozenset((".shp", ".tab", ".mif"))


@dataclass(frozen=True)
class ControlLines:
    """A line layer's features: ``places`` ``(n, 4)`` [m] is NaN where a feature is not a two-point line."""

    places: NDArray[np.float64]
    code: list[str]
    identifier: list[str]
    accuracy_m: list[float]


def is_side_file(path: Path) -> bool:
    """Whether a file only accompanies another (``.dbf`` beside ``.shp``, ``.map`` beside ``.tab``)."""
    return path.suffix.lower() in _SIDE_FILES


def is_line_layer(path: Path) -> bool:
    """Whether a file's first bytes are those of a vector format."""
    if path.is_dir():
        return True
    with path.open("rb") as stream:
        start = stream.read(32).removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n \t")
    return start.startswith(_SIGNATURES)


def read_line_layer(path: Path) -> ControlLines:
    """Read the one line layer of a vector file.

    Raises
    ------
    SourceError
        If no driver reads the file, or it has no line layer, or several.
    """
    with open_line_layer(path) as features:
        return _control_of(list(features))


@contextmanager
def open_line_layer(path: Path) -> Iterator[Any]:
    """The features of the one line layer of a vector file; the file and its folder stay untouched.

    Raises
    ------
    SourceError
        If it does not exist, no driver reads it, or it has no line layer, or several.
    """
    if not path.exists():
        raise SourceError(f"{path} does not exist. Check the path.")
    with _private_copy(path) as copy:
        try:
            with fiona.open(copy, layer=_line_layer_name(copy, path), enabled_drivers=_DRIVERS) as features:
                yield features
        except (FionaError, OSError, ValueError) as error:
            raise SourceError(
                f"{path.name} cannot be read as a layer of lines: {error}. Open it in QGIS and save it as GeoPackage."
            ) from None


@contextmanager
def _private_copy(path: Path) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="post-pai-") as folder:
        if path.is_dir():
            shutil.copytree(path, Path(folder) / path.name)
        for part in _parts(path):
            shutil.copyfile(part, Path(folder) / part.name)
        is_zip = path.suffix.lower() == ".zip"
        yield f"zip://{folder}/{path.name}" if is_zip else f"{folder}/{path.name}"


def _parts(path: Path) -> list[Path]:
    if path.is_dir():
        return []
    if path.suffix.lower() not in _WITH_SIDE_FILES:
        return [path]
    return [part for part in path.parent.iterdir() if part.is_file() and part.stem.lower() == path.stem.lower()]


def _line_layer_name(copy: str, path: Path) -> str:
    names = [name for name in fiona.listlayers(copy) if _has_lines(copy, name)]
    if len(names) != 1:
        found = f"{len(names)} line layers ({', '.join(names)})" if names else "no line layer"
        raise SourceError(f"{path.name} has {found}. Save the lines as the only line layer of a file.")
    return str(names[0])


def _has_lines(copy: str, name: str) -> bool:
    with fiona.open(copy, layer=name, enabled_drivers=_DRIVERS) as features:
        kind = features.schema["geometry"]
        return "LineString" in kind or (kind == "Unknown" and any(_two_points(feature) for feature in features))


def _control_of(features: list[Any]) -> ControlLines:
    places = [_two_points(feature) or (np.nan,) * 4 for feature in features]
    return ControlLines(
        np.array(places, dtype=np.float64).reshape(-1, 4),
        [_property(feature, "code") for feature in features],
        [_property(feature, "id") for feature in features],
        [_accuracy(feature) for feature in features],
    )


def _two_points(feature: Any) -> tuple[float, float, float, float] | None:
    geometry = feature.geometry
    if geometry is None:
        return None
    parts = geometry.coordinates if geometry.type == "MultiLineString" else [geometry.coordinates]
    if geometry.type not in ("LineString", "MultiLineString") or len(parts) != 1 or len(parts[0]) != 2:
        return None
    (old_easting, old_northing, *_), (new_easting, new_northing, *_) = parts[0]
    return old_easting, old_northing, new_easting, new_northing


def _property(feature: Any, name: str) -> str:
    by_name = {key.lower(): value for key, value in feature.properties.items()}
    value = by_name.get(name)
    return "" if value is None else str(value)


def _accuracy(feature: Any) -> float:
    try:
        return float(_property(feature, "accuracy_m") or "nan")
    except ValueError:
        return float("nan")

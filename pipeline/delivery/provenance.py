"""What a result rests on: versions, hashes, settings and decisions. For the manifests and the evidence."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import pyogrio
import pyproj
import shapely

from pipeline.base_maps import base_map_hashes
from pipeline.files import read_json, sha256
from pipeline.logbook import read_lines
from pipeline.storage import Migration
from transforms.errors import SourceError

_LIBRARIES = ("numpy", "scipy", "shapely", "pyproj", "pyogrio", "fiona", "pyarrow", "dagster")


def versions() -> dict[str, str]:
    """The versions of this software, of Python and of the libraries that touch coordinates or files."""
    found = {"post-pai": _version("post-pai"), "python": platform.python_version()}
    found |= {name: _version(name) for name in _LIBRARIES}
    return found | {
        "GEOS": shapely.geos_version_string,
        "PROJ": pyproj.proj_version_str,
        "GDAL": ".".join(map(str, pyogrio.__gdal_version__)),
    }


def foundations(migration: Migration, layer_name: str) -> dict[str, Any]:
    """What the outcome of a layer rests on: the source as found; hashes of base maps, control, shift, settings."""
    source = read_json(migration.manifest(layer_name)) if migration.manifest(layer_name).exists() else {}
    return {
        "source": {"file": migration.settings.layer(layer_name).file.as_posix(), **source},
        "base_maps": _base_maps(migration),
        "control_sha256": hash_of(migration.control_table),
        "field_sha256": hash_of(migration.field_file),
        "settings_sha256": hash_of(migration.root / "migration.yaml"),
        "corrected_sha256": hash_of(migration.corrected(layer_name)),
    }


def _base_maps(migration: Migration) -> dict[str, str]:
    try:
        return base_map_hashes(migration)
    except SourceError:  # no longer there; verify says so
        return {}


def hash_of(path: Path) -> str | None:
    """The SHA-256 of a file; None where it is missing."""
    return sha256(path) if path.is_file() else None


def decisions_on(migration: Migration, layer_name: str) -> list[dict[str, Any]]:
    """The officers' decisions on a layer as logged, oldest first; shapes drawn by hand are left out."""
    lines = read_lines(migration.decisions_log)
    logged = (line for line in lines if line.get("layer") == layer_name and "kind" not in line)
    return [{key: value for key, value in line.items() if not _is_shape(key)} for line in logged]


def _is_shape(key: str) -> bool:
    return "geometry" in key or "wkb" in key


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"

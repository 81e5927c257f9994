"""Reading the two editions of the base map; what is asked of them is in ``qa/base_maps.py``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyogrio
import shapely

from pipeline.settings import BaseMap
from pipeline.storage import Migration
from qa.base_maps import BaseMaps, Edition
from transforms.errors import SourceError

ID_COLUMNS = ("toid", "fid", "gml_id")
"""Text columns that may hold the TOID, the likeliest first; case does not matter. A number is only a row number."""

_CURE = "Check base_maps in migration.yaml."


def read_base_maps(migration: Migration) -> BaseMaps | None:
    """The base maps of a migration, or None where the settings do not name both editions.

    Raises
    ------
    SourceError
        If a file the settings name cannot be read.
    """
    settings = migration.settings.base_maps
    if settings.before is None or settings.after is None:
        return None
    return _read(*(_edition(migration.source(each.file), each) for each in (settings.before, settings.after)))


def base_map_files(migration: Migration) -> list[Path]:
    """The files of the editions that the settings name, the old one first."""
    settings = migration.settings.base_maps
    return [migration.source(each.file) for each in (settings.before, settings.after) if each]


@dataclass(frozen=True)
class _EditionFile:
    """A base map file as it stands on the disk now: when it changes it is another one, and is read again."""

    path: Path
    layers: tuple[str, ...]
    changed_ns: int
    size_bytes: int


def _edition(path: Path, settings: BaseMap) -> _EditionFile:
    try:
        state = path.stat()
    except OSError as error:
        raise SourceError(f"Base map {path} cannot be read ({error.strerror}). {_CURE}") from None
    return _EditionFile(path, tuple(settings.layers), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1)
def _read(before: _EditionFile, after: _EditionFile) -> BaseMaps:
    """Kept for the next layer: a base map takes longer to read than most layers to judge."""
    return BaseMaps.of(_read_edition(before), _read_edition(after))


def _read_edition(file: _EditionFile) -> Edition:
    try:
        layers = file.layers or [name for name, _ in pyogrio.list_layers(file.path)]
        read = [_read_layer(file.path, layer) for layer in layers]
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError) as error:
        raise SourceError(f"Base map {file.path.name} cannot be read ({error}). {_CURE}") from None
    return Edition.of(np.concatenate([each[0] for each in read]), np.concatenate([each[1] for each in read]))


def _read_layer(path: Path, layer: str) -> tuple[np.ndarray, np.ndarray]:
    info = pyogrio.read_info(path, layer=layer)
    id_column = _id_column(
        name for name, dtype in zip(info["fields"], info["dtypes"], strict=True) if dtype == "object"
    )
    columns = [id_column] if id_column else []
    _, _, wkb, fields = pyogrio.raw.read(path, layer=layer, columns=columns)
    geometries = shapely.from_wkb(wkb, on_invalid="ignore")
    return geometries, fields[0].astype(object) if fields else np.full(len(geometries), None, dtype=object)


def _id_column(columns: Iterable[str]) -> str | None:
    by_name = {name.lower(): name for name in columns}
    return next((by_name[name] for name in ID_COLUMNS if name in by_name), None)

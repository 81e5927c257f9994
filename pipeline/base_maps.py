"""Reading the two editions of the base map; what is asked of them is in ``qa/base_maps.py``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyogrio
import shapely

from pipeline.control_input.derived import DERIVED_FILE
from pipeline.files import sha256, whole_file
from pipeline.georeference import fault_of_numbers
from pipeline.master_map import FEATURES, LAYER, is_master_map, write_master_map
from pipeline.settings import BaseMap
from pipeline.storage import Migration
from qa.base_maps import BaseMaps, Edition
from qa.drawn_alike import Drawing, drawn_alike
from qa.same_move import STILL_M, Doubted, contradiction, lie_elsewhere
from transforms.contract import Points
from transforms.errors import SettingsError, SourceError

ID_COLUMNS = ("toid", "fid", "gml_id")
"""Text columns that may hold the TOID, the likeliest first; case does not matter. A number is only a row number."""

CODE_COLUMNS = ("featcode", "feat_code", "feature_code", "featurecode", "code", "layer")
GROUP_COLUMNS = ("descriptive_group", "descriptivegroup", "descgroup", "theme")
"""Columns that may say what a feature is of, by a code and in words; the likeliest first, case does not matter."""

LEAST_IN_COMMON_RATIO = 0.01
"""Two editions of one place have most of their features in common."""

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
    return _read(*(_edition(migration, each) for each in (settings.before, settings.after)))


def refuse_other_move(base: BaseMaps, places: Points, shift: Points) -> None:
    """Refuse base maps that show another move than the control, ``shift`` ``(n, 2)`` at ``places`` ``(n, 2)`` [m].

    Raises
    ------
    SettingsError
        If they contradict it all over, or are of another place.
    """
    if lie_elsewhere(base, places):
        raise SettingsError(
            "No corner of the base maps lies within a kilometre of any control point. Name the base maps of this place "
            "under base_maps in migration.yaml, or its control files under control, and run again."
        )
    found = contradiction(base, places, shift)
    if found is None:
        return
    if found.is_opposite:
        what = "the opposite way, so before and after are exchanged in one of them"
    elif found.offset_m is not None and min(found.said_m, found.shown_m) > STILL_M:
        east, north = found.offset_m
        what = (
            f"{found.shown_m:.2f} m; the control has it {east:+.2f} m east and {north:+.2f} m north of that all over, "
            "so a map, or the control, came through a wrong transformation of coordinates"
        )
    else:
        what = f"{found.shown_m:.2f} m, so they are not the editions before and after that move"
    raise SettingsError(
        f"At {found.places:,} places the map moved {found.said_m:.2f} m by the control (the median) and by the base "
        f"maps {what}. Correct base_maps in migration.yaml, or leave out the control files that are wrong, and run "
        "again."
    )


def doubted_base_maps(migration: Migration, base: BaseMaps) -> Doubted | None:
    """Where the delivered control contradicts base maps that are the same, but for what officers called wrong; None
    before any control was checked.
    """
    if not migration.control_table.is_file():
        return None
    table = pq.read_table(migration.control_table)
    is_wrong = pc.match_substring(table["reasons"], "officer_rejected")
    table = table.filter(pc.and_not(pc.not_equal(table["file"], DERIVED_FILE), is_wrong))
    columns = ("old_easting", "old_northing", "new_easting", "new_northing")
    places = np.column_stack([table[name].to_numpy().astype(float) for name in columns])
    places = places[np.isfinite(places).all(axis=1)]
    return Doubted.of(base, places[:, :2], places[:, 2:] - places[:, :2])


def base_map_files(migration: Migration) -> list[Path]:
    """The files of the editions that the settings name, the old one first; all chunks where one comes in chunks.

    Raises
    ------
    SourceError
        If one does not exist.
    """
    settings = migration.settings.base_maps
    return [
        file for each in (settings.before, settings.after) if each for file in _delivered(migration.source(each.file))
    ]


def base_map_hashes(migration: Migration) -> dict[str, str]:
    """The SHA-256 of every file of the editions that the settings name, by its path in the migration folder.

    Raises
    ------
    SourceError
        If an edition does not exist.
    """
    files = [file for path in base_map_files(migration) for file in ([path] if path.is_file() else _of_folder(path))]
    states = [(file, file.stat()) for file in files]
    return {
        file.relative_to(migration.root).as_posix(): _sha256(file, state.st_mtime_ns, state.st_size)
        for file, state in states
    }


@lru_cache(maxsize=4096)
def _sha256(path: Path, changed_ns: int, size_bytes: int) -> str:
    """Kept for the next layer, while the file stays as it is."""
    return sha256(path)


def _of_folder(geodatabase: Path) -> list[Path]:
    return sorted(file for file in geodatabase.iterdir() if file.is_file() and file.suffix != ".lock")


def readable_base_map(migration: Migration, settings: BaseMap) -> Path:
    """The file of an edition that GDAL can search: the delivery itself, or what was made of its MasterMap chunks.

    Raises
    ------
    SourceError
        If the delivery does not exist or a chunk of it is damaged.
    """
    return _edition(migration, settings).path


@dataclass(frozen=True)
class _EditionFile:
    """A base map file as it stands on the disk now: when it changes it is another one, and is read again."""

    path: Path
    layers: tuple[str, ...]
    changed_ns: int
    size_bytes: int


def _edition(migration: Migration, settings: BaseMap) -> _EditionFile:
    files = _delivered(migration.source(settings.file))
    if is_master_map(files[0]):
        return _state(_from_master_map(migration, settings, files), (LAYER,))
    if len(files) > 1:
        raise SourceError(
            f"Base map {settings.file} is a folder, and {files[0].name} in it is no MasterMap GML. Name the file "
            f"itself. {_CURE}"
        )
    return _state(files[0], tuple(settings.layers))


def _delivered(path: Path) -> list[Path]:
    """The files that ``path`` names: itself, or all of a folder in name order."""
    is_folder = path.is_dir() and path.suffix.lower() != ".gdb"
    found = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    files = found if is_folder else [path]
    if not files:
        raise SourceError(f"Base map folder {path} is empty. {_CURE}")
    if not files[0].exists():
        raise SourceError(f"Base map {path} cannot be read (no such file). {_CURE}")
    return files


def _state(path: Path, layers: tuple[str, ...]) -> _EditionFile:
    try:
        state = path.stat()
    except OSError as error:
        raise SourceError(f"Base map {path} cannot be read ({error.strerror}). {_CURE}") from None
    return _EditionFile(path, layers, state.st_mtime_ns, state.st_size)


def _from_master_map(migration: Migration, settings: BaseMap, files: list[Path]) -> Path:
    """The GeoPackage made of MasterMap chunks; made again only when a chunk or the choice of features changes."""
    unknown = [name for name in settings.layers if name not in FEATURES]
    if unknown:
        raise SourceError(f"Base map {settings.file} has no {unknown[0]}; it has {', '.join(FEATURES)}. {_CURE}")
    states = [(file.as_posix(), file.stat().st_mtime_ns, file.stat().st_size) for file in files]
    digest = hashlib.sha256(repr((states, settings.layers)).encode()).hexdigest()[:16]
    made = migration.made_base_map(digest)
    if not made.exists():
        with whole_file(made) as beside:
            write_master_map(files, beside, settings.layers or FEATURES)
    return made


@lru_cache(maxsize=1)
def _read(before: _EditionFile, after: _EditionFile) -> BaseMaps:
    """Kept for the next layer: a base map takes longer to read than most layers to judge."""
    drawings = drawn_alike(_read_edition(before), _read_edition(after))
    base = BaseMaps.of(*(Edition.of(each.geometries, each.ids) for each in drawings))
    fewest = min(len(base.before.geometries), len(base.after.geometries))
    if len(base.matches) < LEAST_IN_COMMON_RATIO * fewest:
        raise SourceError(
            f"Base maps {before.path.name} and {after.path.name} have next to nothing in common: {len(base.matches):,} "
            f"of {fewest:,} features. Name two editions of one map, both as EPSG:27700. {_CURE}"
        )
    return base


def _read_edition(file: _EditionFile) -> Drawing:
    try:
        layers = file.layers or [name for name, _ in pyogrio.list_layers(file.path)]
        read = [_read_layer(file.path, layer) for layer in layers]
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError) as error:
        raise SourceError(f"Base map {file.path.name} cannot be read ({error}). {_CURE}") from None
    drawing = Drawing(*(np.concatenate(column) for column in zip(*read, strict=True)))
    fault = fault_of_numbers(shapely.bounds(drawing.geometries)[:, :2])
    if fault is not None:
        raise SourceError(
            f"Base map {file.path.name} {fault}. Save it as EPSG:27700 (out of degrees with OSTN15). {_CURE}"
        )
    return drawing


def _read_layer(path: Path, layer: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Geometries, ids and kinds of a layer, ``(n,)`` each."""
    info = pyogrio.read_info(path, layer=layer)
    texts = [name for name, dtype in zip(info["fields"], info["dtypes"], strict=True) if dtype == "object"]
    id_column = _first_of(ID_COLUMNS, texts)
    kinds = [_first_of(names, info["fields"]) for names in (CODE_COLUMNS, GROUP_COLUMNS)]
    columns = [name for name in (id_column, *kinds) if name]
    meta, _, wkb, fields = pyogrio.raw.read(path, layer=layer, columns=columns)
    geometries = shapely.from_wkb(wkb, on_invalid="ignore")
    values = dict(zip(meta["fields"], fields, strict=True))
    ids = values[id_column].astype(object) if id_column else np.full(len(geometries), None, dtype=object)
    kind = np.full(len(geometries), layer)
    for name in filter(None, kinds):
        kind = np.char.add(np.char.add(kind, " "), values[name].astype(str))
    return geometries, ids, kind


def _first_of(names: Iterable[str], columns: Iterable[str]) -> str | None:
    by_name = {name.lower(): name for name in columns}
    return next((by_name[name] for name in names if name in by_name), None)

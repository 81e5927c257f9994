"""The two editions of the base map, read and weighed against the control.

What is asked of them is in ``qa/base_maps.py``, how they are delivered in ``map_file.py``.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely

from pipeline.control_input.derived import DERIVED_FILE
from pipeline.files import sha256
from pipeline.georeference import fault_of_numbers
from pipeline.map_file import CURE, MapFile, delivered_files, map_file
from pipeline.storage import Migration
from qa.base_maps import BaseMaps, Edition
from qa.drawn_alike import Drawing, drawn_alike
from qa.same_move import STILL_M, Doubted, contradiction, lie_elsewhere
from transforms.contract import Points
from transforms.errors import SettingsError, SourceError

LEAST_IN_COMMON_RATIO = 0.01
"""Two editions of one place have most of their features in common."""


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
    return _read(*(map_file(migration, each) for each in (settings.before, settings.after)))


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
    maps = migration.settings.base_maps
    return [file for each in (maps.before, maps.after) if each for file in delivered_files(migration.source(each.file))]


def base_map_hashes(migration: Migration) -> dict[str, str]:
    """The SHA-256 of every file of the editions that the settings name, by its path in the migration folder.

    Raises
    ------
    SourceError
        If an edition does not exist.
    """
    states = [(file, file.stat()) for file in base_map_files(migration)]
    return {
        file.relative_to(migration.root).as_posix(): _sha256(file, state.st_mtime_ns, state.st_size)
        for file, state in states
    }


@lru_cache(maxsize=4096)
def _sha256(path: Path, changed_ns: int, size_bytes: int) -> str:
    """Kept for the next layer, while the file stays as it is."""
    return sha256(path)


@lru_cache(maxsize=1)
def _read(before: MapFile, after: MapFile) -> BaseMaps:
    """Kept for the next layer: a base map takes longer to read than most layers to judge."""
    drawings = drawn_alike(_read_edition(before), _read_edition(after))
    base = BaseMaps.of(*(Edition.of(each.geometries, each.ids) for each in drawings))
    fewest = min(len(base.before.geometries), len(base.after.geometries))
    if len(base.matches) < LEAST_IN_COMMON_RATIO * fewest:
        raise SourceError(
            f"Base maps {before.name} and {after.name} have next to nothing in common: {len(base.matches):,} "
            f"of {fewest:,} features. Name two editions of one map, both as EPSG:27700. {CURE}"
        )
    return base.in_common


def _read_edition(file: MapFile) -> Drawing:
    drawing = file.read()
    fault = fault_of_numbers(shapely.bounds(drawing.geometries)[:, :2])
    if fault is not None:
        raise SourceError(f"Base map {file.name} {fault}. Save it as EPSG:27700 (out of degrees with OSTN15). {CURE}")
    return drawing

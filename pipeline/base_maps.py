"""The two editions of the base map, read and weighed against the control.

What is asked of them is in ``qa/base_maps.py``, what where one alone is at hand in ``qa/lone_edition.py``, how they are
delivered in ``map_file.py``, and what cannot be right in ``base_map_faults.py``.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.base_map_faults import (
    refuse_not_on_its_lines,
    refuse_nothing_in_common,
    refuse_nothing_known,
    refuse_numbers,
)
from pipeline.control_input.derived import DERIVED_FILE
from pipeline.field_file import read_field
from pipeline.files import sha256
from pipeline.fitted import Fitted
from pipeline.map_file import MapFile, delivered_files, map_file
from pipeline.storage import Migration
from pipeline.used_control import used_control
from qa.base_maps import BaseMaps, Edition
from qa.drawn_alike import Drawing, drawn_alike
from qa.lone_edition import with_other_edition
from qa.same_move import Doubted
from qa.whole_maps import WholeMaps
from transforms.contract import Control, Points


def read_editions(migration: Migration) -> BaseMaps | None:
    """Both editions as they were delivered, or None where the settings do not name both.

    Raises
    ------
    SourceError
        If a file the settings name cannot be read.
    """
    settings = migration.settings.base_maps
    if settings.before is None or settings.after is None:
        return None
    return _read(map_file(migration, settings.before), map_file(migration, settings.after))


def read_base_maps(migration: Migration) -> BaseMaps | None:
    """What layers are compared with: both editions, or the one that the settings name and what the fitted shift makes
    of it; None where they name none.

    Raises
    ------
    SourceError
        If a file the settings name cannot be read, or shows nothing where there is control.
    SettingsError
        If one edition is named, and the control lies on the other one, or on neither.
    FieldError
        If one edition is named and no shift is fitted.
    """
    settings = migration.settings.base_maps
    if settings.lone is None:
        return read_editions(migration)
    file, fitted = map_file(migration, settings.lone), read_field(migration.field_file)
    return _read_lone(file, fitted, migration.control_table, is_new=settings.before is None)


def refuse_other_edition(migration: Migration, control: Control) -> None:
    """Refuse the one edition that the settings name where the control lies on the other one, or on neither.

    Raises
    ------
    SourceError
        If the file cannot be read.
    SettingsError
        If it does.
    """
    settings = migration.settings.base_maps
    if settings.lone is not None:
        file = map_file(migration, settings.lone)
        refuse_not_on_its_lines(file.name, _read_edition(file), control, is_new=settings.before is None)


def doubted_base_maps(migration: Migration, base: BaseMaps) -> Doubted:
    """Where the delivered control contradicts base maps that are the same."""
    before, after = _delivered_control(migration)
    return Doubted.of(base, before, after - before)


def whole_base_maps(migration: Migration, base: BaseMaps) -> WholeMaps:
    """Where the base maps show all there is, as far as the delivered control tells."""
    return WholeMaps.of(base, *_delivered_control(migration))


def _delivered_control(migration: Migration) -> tuple[Points, Points]:
    """Old and new places ``(n, 2)`` of the control that was neither taken from the base maps nor called wrong by an
    officer; none before any was checked.
    """
    if not migration.control_table.is_file():
        return np.empty((0, 2)), np.empty((0, 2))
    table = pq.read_table(migration.control_table)
    is_wrong = pc.match_substring(table["reasons"], "officer_rejected")
    table = table.filter(pc.and_not(pc.not_equal(table["file"], DERIVED_FILE), is_wrong))
    columns = ("old_easting", "old_northing", "new_easting", "new_northing")
    places = np.column_stack([table[name].to_numpy().astype(float) for name in columns])
    places = places[np.isfinite(places).all(axis=1)]
    return places[:, :2], places[:, 2:]


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
    refuse_nothing_in_common(before.name, after.name, base)
    return base.in_common


@lru_cache(maxsize=1)
def _read_lone(file: MapFile, fitted: Fitted, control_table: Path, *, is_new: bool) -> BaseMaps:
    """Kept for the next layer."""
    drawing, control = _read_edition(file), used_control(control_table)
    refuse_not_on_its_lines(file.name, drawing, control, is_new=is_new)
    base = with_other_edition(drawn_alike(drawing, drawing)[0], fitted.field, control, is_new=is_new)
    refuse_nothing_known(file.name, base)
    return base


def _read_edition(file: MapFile) -> Drawing:
    drawing = file.read()
    refuse_numbers(file.name, drawing)
    return drawing

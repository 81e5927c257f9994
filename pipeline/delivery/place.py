"""Putting an export in place: files appear together, and what they do not replace is withdrawn, never lost."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.files import read_json
from pipeline.storage import Migration
from transforms.errors import ExportError

PART_KINDS = ("points", "multipoints", "lines", "polygons")
"""A Shapefile of a layer of several kinds of geometry has parts, named ``<layer>_<kind>.shp``."""


def manifest_path(migration: Migration, layer_name: str) -> Path:
    """What was exported of a layer, from what, by what (JSON)."""
    return migration.exports_dir / f"{layer_name}.manifest.json"


@contextmanager
def folder_beside(migration: Migration, layer_name: str) -> Iterator[Path]:
    """A hidden folder on the same disk; those of runs that died are removed first."""
    for left_behind in migration.exports_dir.glob(f".{layer_name}.*.part"):
        shutil.rmtree(left_behind, ignore_errors=True)
    folder = migration.exports_dir / f".{layer_name}.{uuid.uuid4().hex[:8]}.part"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise ExportError(
            f"{migration.exports_dir} cannot be written ({error.strerror}). Ask for the right to write there."
        ) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def withdraw(migration: Migration, layer_name: str, keep: set[str]) -> Path | None:
    """Move earlier final files that ``keep`` does not replace out of sight; returns where they went."""
    outdated = [path for path in _final_files(migration, layer_name) if path.name not in keep]
    if not outdated:
        return None
    manifest = manifest_path(migration, layer_name)
    run = read_json(manifest)["exported_by_run"] if manifest.exists() else "unknown-run"
    folder = _folder_without(migration.exports_dir / "withdrawn" / f"{layer_name}-{run}", outdated)
    folder.mkdir(parents=True, exist_ok=True)
    if manifest.exists():
        shutil.copyfile(manifest, folder / manifest.name)
    for path in outdated:
        _move(path, folder / path.name)
    return folder


def put_in_place(migration: Migration, layer_name: str, beside: Path) -> tuple[Path, ...]:
    """Move the files of ``beside`` to ``exports/`` and remove a draft that they replace; returns where they are."""
    # Without its manifest an export does not count: a crash between two renames leaves none that looks whole.
    manifest_path(migration, layer_name).unlink(missing_ok=True)
    files = [_move(path, migration.exports_dir / path.name) for path in sorted(beside.iterdir())]
    for draft in migration.exports_dir.glob(f"{layer_name}.draft.*"):
        if draft not in files:
            draft.unlink()
    return tuple(files)


def all_withdrawn(migration: Migration, layer_name: str) -> list[str]:
    """Folders, relative to ``exports/``, of what was withdrawn of a layer so far."""
    folders = sorted((migration.exports_dir / "withdrawn").glob(f"{layer_name}-*"))
    return [folder.relative_to(migration.exports_dir).as_posix() for folder in folders]


def refuse_other_layers_files(migration: Migration, layer_name: str, beside: Path) -> None:
    """Refuse to write a file that bears the name of another layer of the migration."""
    taken = sorted({_stem(path) for path in beside.iterdir()} & _other_layers(migration, layer_name))
    if taken:
        raise ExportError(
            f"Layer {layer_name} has several kinds of geometry, so a part of its Shapefile would be {taken[0]}.shp, "
            f"which is the name of layer {taken[0]}. Give one of the two another name in migration.yaml."
        )


def _final_files(migration: Migration, layer_name: str) -> list[Path]:
    """By their names, not by the manifest, which may be missing after a crash."""
    stems = {layer_name, *(f"{layer_name}_{kind}" for kind in PART_KINDS)} - _other_layers(migration, layer_name)
    not_final = (f"{layer_name}.draft.", f"{layer_name}.manifest.")
    files = (path for path in sorted(migration.exports_dir.iterdir()) if path.is_file())
    return [path for path in files if _stem(path) in stems and not path.name.startswith(not_final)]


def _other_layers(migration: Migration, layer_name: str) -> set[str]:
    return {layer.name for layer in migration.settings.layers} - {layer_name}


def _stem(path: Path) -> str:
    return path.name.partition(".")[0]


def _move(path: Path, target: Path) -> Path:
    try:
        return path.replace(target)
    except PermissionError as error:
        raise ExportError(
            f"{target} cannot be put in place ({error.strerror}). Close it in QGIS or MapInfo, or ask who has it open, "
            "then run again."
        ) from None


def _folder_without(folder: Path, files: list[Path]) -> Path:
    """``folder``, or the first of ``folder-2``, ``folder-3`` ... that holds none of ``files`` yet."""
    number, candidate = 1, folder
    while any((candidate / path.name).exists() for path in files):
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate

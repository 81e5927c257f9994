"""Putting an export in place: files appear together, and what they do not replace is withdrawn, never lost."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.delivery.manifest import manifest_path, read_manifest
from pipeline.storage import Migration
from transforms.errors import ExportError

PART_KINDS = ("points", "multipoints", "lines", "polygons")
"""A Shapefile of a layer of several kinds of geometry has parts, named ``<layer>_<kind>.shp``."""


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


def put_in_place(migration: Migration, layer_name: str, beside: Path) -> tuple[tuple[Path, ...], Path | None]:
    """Move the files of ``beside`` to ``exports/``, all of them or none.

    A draft or an earlier export of the same name makes room; earlier final files that are not replaced are withdrawn.

    Returns
    -------
    tuple
        Where the files are, and the folder of what was withdrawn.

    Raises
    ------
    ExportError
        If a file that must make room is open in another program; everything is then as it was.
    """
    new = sorted(beside.iterdir())
    targets = [migration.exports_dir / path.name for path in new]
    drafts = [path for path in migration.exports_dir.glob(f"{layer_name}.draft.*") if path not in targets]
    outdated = [path for path in _final_files(migration, layer_name) if path not in targets]
    withdrawn = _folder_of_withdrawn(migration, layer_name, outdated) if outdated else None
    aside = beside / "aside"
    # Without its manifest an export does not count: a crash between two renames leaves none that looks whole.
    leaving = [(path, withdrawn or aside) for path in [*outdated, manifest_path(migration, layer_name)]]
    _move_all([*leaving, *((path, aside) for path in [*targets, *drafts])])
    return tuple(_move(path, target) for path, target in zip(new, targets, strict=True)), withdrawn


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


def _folder_of_withdrawn(migration: Migration, layer_name: str, outdated: list[Path]) -> Path:
    """Where files that are withdrawn go, with their manifest."""
    manifest = read_manifest(manifest_path(migration, layer_name))
    run = manifest["exported_by_run"] if manifest else "unknown-run"
    return _folder_without(migration.exports_dir / "withdrawn" / f"{layer_name}-{run}", outdated)


def _move_all(moves: Sequence[tuple[Path, Path]]) -> None:
    """Move each file that is there into its folder; if one is held open, all that were moved go back."""
    moved: list[tuple[Path, Path]] = []
    try:
        for path, folder in moves:
            if path.exists():
                folder.mkdir(parents=True, exist_ok=True)
                moved.append((path, _move(path, folder / path.name)))
    except ExportError:
        for path, target in reversed(moved):
            target.replace(path)
        for folder in {folder for _, folder in moves if folder.exists() and not any(folder.iterdir())}:
            folder.rmdir()
        raise


def _move(path: Path, target: Path) -> Path:
    try:
        return path.replace(target)
    except PermissionError as error:
        raise ExportError(
            f"{path} cannot be moved ({error.strerror}). Close it in QGIS or MapInfo, or ask who has it open, then run "
            "again."
        ) from None


def _folder_without(folder: Path, files: list[Path]) -> Path:
    """``folder``, or the first of ``folder-2``, ``folder-3`` ... that holds none of ``files`` yet."""
    number, candidate = 1, folder
    while any((candidate / path.name).exists() for path in files):
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate

"""All files of a layer take their places together, or none does: written in a folder of their own, then renamed."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transforms.errors import ExportError


@contextmanager
def whole_layer(path: Path, side_suffixes: tuple[str, ...] = ()) -> Iterator[Path]:
    """Give a path of the same name in a private folder beside; on success all that is there moves to ``path``'s place.

    Parameters
    ----------
    path
        The layer's main file (or folder, for a file geodatabase).
    side_suffixes
        Side files of the format; old ones beside ``path`` that were not written anew are removed, as they would
        describe a layer that is no longer there.

    Raises
    ------
    ExportError
        If another program holds a file open or the folder cannot be written.
    """
    private = path.parent / f".{path.stem}.{uuid.uuid4().hex[:8]}.part"
    try:
        private.mkdir(parents=True)
        yield private / path.name
        _take_places(private, path, side_suffixes)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise ExportError(
            f"{path} cannot be written ({error.strerror}). Close it in QGIS or MapInfo, or choose another folder."
        ) from None
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _take_places(private: Path, path: Path, side_suffixes: tuple[str, ...]) -> None:
    written = sorted(private.iterdir(), key=lambda each: each.name == path.name)
    for each in written:
        _flush(each)
    if len(written) > 1 or path.is_dir():
        _remove(path)  # without its main file a half-replaced layer cannot be opened and mistaken for a whole one
    for suffix in side_suffixes:
        for old in (path.with_suffix(suffix), path.with_suffix(suffix.upper())):
            if old != path:
                _remove(old)
    for each in written:
        each.replace(path.parent / each.name)


def _flush(each: Path) -> None:
    for file in [each] if each.is_file() else [inner for inner in each.rglob("*") if inner.is_file()]:
        with file.open("r+b") as stream:
            os.fsync(stream.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

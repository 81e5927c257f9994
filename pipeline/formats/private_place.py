"""Where a source is opened so that nothing is written beside it and nothing of it is missed.

Two formats need a place of their own: GML, because GDAL writes a schema file (``.gfs``) next to it, and a GeoPackage in
write-ahead mode, because SQLite writes beside it as soon as it is read and because its newest edits may lie in a
second file.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.formats.recognise import Source

_SQLITE_READ_VERSION_BYTE = 19
_WRITE_AHEAD = 2


@contextmanager
def undisturbed(source: Source) -> Iterator[str]:
    """The name by which GDAL may open ``source``: its own, or that of a private link or copy for as long as needed."""
    if source.gdal_name != str(source.path):
        yield source.gdal_name  # inside a zip nothing can be written
    elif source.driver == "GML":
        with _private_folder() as folder:
            yield str(_place(source, folder, _link))
    elif source.driver == "GPKG" and _is_write_ahead(source.path):
        with _private_folder() as folder:
            yield str(_place(source, folder, shutil.copyfile))
    else:
        yield source.gdal_name


@contextmanager
def _private_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="post-pai-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _place(source: Source, folder: Path, put: object) -> Path:
    for file in source.files:
        put(file, folder / file.name)  # type: ignore[operator]
    return folder / source.path.name


def _link(file: Path, place: Path) -> None:
    try:
        place.symlink_to(file.resolve())
    except OSError:  # Windows without the right to make links
        shutil.copyfile(file, place)


def _is_write_ahead(path: Path) -> bool:
    with path.open("rb") as stream:
        header = stream.read(_SQLITE_READ_VERSION_BYTE + 1)
    return len(header) > _SQLITE_READ_VERSION_BYTE and header[_SQLITE_READ_VERSION_BYTE] == _WRITE_AHEAD

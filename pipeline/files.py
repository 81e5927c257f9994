"""How a file is written, whole or not at all, and what tells its bytes from others."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transforms.errors import ExportError, VerifyError

_CHUNK_BYTES = 1 << 20


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; on success it takes the place of ``path``, else it is removed.

    Keeps the suffix, because GDAL chooses by it.

    Raises
    ------
    ExportError
        If another program holds ``path`` open (Windows) or the folder cannot be written.
    """
    _make_folder_of(path)
    beside = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.part{path.suffix}")
    try:
        yield beside
        _flush_to_disk(beside)
        beside.replace(path)
    except PermissionError as error:
        raise _no_permission(path, error) from None
    finally:
        beside.unlink(missing_ok=True)


def remove_half_written(folder: Path) -> None:
    """Remove what a killed process began to write anywhere below ``folder`` and nobody will finish."""
    for left_behind in list(folder.rglob(".*.part*")):
        if left_behind.is_dir():
            shutil.rmtree(left_behind, ignore_errors=True)
        else:
            left_behind.unlink(missing_ok=True)


def _make_folder_of(path: Path) -> None:
    if path.is_dir():
        raise ExportError(f"{path} is a folder, so no file can be written there. Give the name of a file.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except PermissionError as error:
        raise _no_permission(path, error) from None
    except (FileExistsError, NotADirectoryError):
        raise ExportError(
            f"{path} cannot be written, because part of its path is a file and no folder. Give another place."
        ) from None


def _no_permission(path: Path, error: PermissionError) -> ExportError:
    return ExportError(
        f"{path} cannot be written ({error.strerror}). Close it in QGIS or MapInfo, or ask who has it open, "
        "then run again."
    )


def _flush_to_disk(path: Path) -> None:
    with path.open("r+b") as stream:
        os.fsync(stream.fileno())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as JSON, whole or not at all: a line for each member, and for each element of a list in it."""
    lines = ",\n".join(f"{_as_json(str(name))}: {_laid_out(member)}" for name, member in content.items())
    with whole_file(path) as beside:
        beside.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def _laid_out(member: Any) -> str:
    if not (isinstance(member, list | tuple) and member):
        return _as_json(member)
    return "[\n  " + ",\n  ".join(map(_as_json, member)) + "\n]"


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def read_json(path: Path) -> Any:
    """Read a JSON file written by ``write_json``.

    Raises
    ------
    VerifyError
        If it is not what was written.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise VerifyError(
            f"{path} cannot be read: it was changed or damaged. Put it back as it was, or delete it and run again."
        ) from None


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()

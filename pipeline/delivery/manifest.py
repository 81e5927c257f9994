"""The manifest of a layer's export: what lies there, from what, by what. Its hash is in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.files import read_json, sha256, whole_file, write_json
from pipeline.ledger import record_manifest
from pipeline.storage import Migration
from transforms.errors import VerifyError


class _File(BaseModel):
    name: str
    sha256: str


class _PutBack(BaseModel):
    to: str
    officer: str
    when: str


class _LogHead(BaseModel):
    lines: int
    digest: str


class _Decision(BaseModel):
    decision: str
    pai_row: int
    officer: str


class _Source(BaseModel):
    files: dict[str, str] = {}


class _Manifest(BaseModel):
    """What is asked of a manifest again; the rest is for people and machines that come later."""

    exported_by_run: str
    corrected_sha256: str | None
    files: list[_File]
    counts: dict[str, int]
    source: _Source
    put_back: _PutBack | None = None
    decisions_log: _LogHead | None = None
    decisions: list[_Decision] = []


def manifest_path(migration: Migration, layer_name: str) -> Path:
    """What was exported of a layer, from what, by what (JSON)."""
    return migration.exports_dir / f"{layer_name}.manifest.json"


def read_manifest(path: Path) -> dict[str, Any] | None:
    """Read a manifest; None if there is none.

    Raises
    ------
    VerifyError
        If it is not what an export wrote.
    """
    try:
        content: dict[str, Any] = read_json(path)
        _Manifest.model_validate(content)
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise VerifyError(
            f"{path} was changed or damaged: {'.'.join(map(str, error.errors()[0]['loc']))} is not what an export "
            "writes there. Put it back as it was, or delete it and run again."
        ) from None
    return content


def write_manifest(migration: Migration, layer_name: str, manifest: Mapping[str, Any]) -> None:
    """Write what is in place and what was withdrawn, last of all; the ledger knows its hash before it appears."""
    with whole_file(manifest_path(migration, layer_name)) as beside:
        write_json(beside, {**manifest, "withdrawn": _all_withdrawn(migration, layer_name)})
        record_manifest(migration, layer_name, sha256(beside), str(manifest["exported_by_run"]))


def _all_withdrawn(migration: Migration, layer_name: str) -> list[str]:
    """Folders, relative to ``exports/``, of what was withdrawn of a layer so far."""
    folders = sorted((migration.exports_dir / "withdrawn").glob(f"{layer_name}-*"))
    return [folder.relative_to(migration.exports_dir).as_posix() for folder in folders]

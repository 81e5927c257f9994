"""Where everything of a migration lies, and how a file is written whole or not at all.

The only module that knows the names of the folders and files a migration has. Stages exchange nothing but
these files: each reads what the stage before wrote.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.settings import Settings, read_settings
from transforms.errors import ExportError

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Migration:
    """A migration folder and its settings; every path the stages use comes from here."""

    root: Path
    settings: Settings

    @classmethod
    def open(cls, root: Path) -> Migration:
        """Open the migration in folder ``root`` (its ``migration.yaml`` may be named); raises ``SettingsError``."""
        root = root.expanduser().resolve()
        if root.name == "migration.yaml":
            root = root.parent
        return cls(root, read_settings(root / "migration.yaml"))

    def source(self, relative: Path) -> Path:
        """The delivered file that the settings call ``relative``; read only."""
        return self.root / relative

    @property
    def build_dir(self) -> Path:
        """Everything generated; safe to delete."""
        return self.root / "build"

    @property
    def control_table(self) -> Path:
        """Every control point read, with verdict and reasons (Parquet)."""
        return self.build_dir / "control" / "control.parquet"

    @property
    def control_report(self) -> Path:
        """The same as CSV, as ``post-pai check-control`` writes it."""
        return self.build_dir / "control" / "control.csv"

    @property
    def control_manifest(self) -> Path:
        """The control files: name, form, hash, vintage, rows used and refused."""
        return self.build_dir / "control" / "manifest.json"

    def made_base_map(self, digest: str) -> Path:
        """What was made of a base map delivered in chunks; ``digest`` tells deliveries apart (GeoPackage)."""
        return self.build_dir / "base_maps" / f"{digest}.gpkg"

    @property
    def field_file(self) -> Path:
        """The fitted shift."""
        return self.build_dir / "fit" / "shift.field"

    @property
    def holdout_report(self) -> Path:
        """The hold-out table of the methods compared (CSV)."""
        return self.build_dir / "fit" / "holdout.csv"

    @property
    def pictures_dir(self) -> Path:
        """Pictures that the asset pages of the Dagster UI show."""
        return self.build_dir / "pictures"

    def layer_dir(self, layer: str) -> Path:
        """What the stages made of one layer."""
        return self.build_dir / "layers" / layer

    def staged(self, layer: str) -> Path:
        """The staged copy: all source columns, ``pai_row`` and ``pai_geometry`` (GeoParquet)."""
        return self.layer_dir(layer) / "staged.parquet"

    def manifest(self, layer: str) -> Path:
        """What was found in the source file (JSON)."""
        return self.layer_dir(layer) / "manifest.json"

    def shifted(self, layer: str) -> Path:
        """The proposal: where each feature would go, with the measures of the move (GeoParquet)."""
        return self.layer_dir(layer) / "shifted.parquet"

    def reattached(self, layer: str) -> Path:
        """The proposal attached again to the lines of the map that it followed (GeoParquet)."""
        return self.layer_dir(layer) / "reattached.parquet"

    def consequences(self, layer: str) -> Path:
        """Every answer about the layer that its proposal changes (Parquet, and CSV beside it)."""
        return self.layer_dir(layer) / "consequences.parquet"

    def proposed(self, layer: str) -> Path:
        """The proposal that is judged, offered and exported: re-attached where the layer asks for it."""
        is_reattached = self.settings.layer(layer).strategy == "shift_and_reattach"
        return self.reattached(layer) if is_reattached else self.shifted(layer)

    def quality(self, layer: str) -> Path:
        """One row of measures, verdict, reasons and risk per feature (Parquet)."""
        return self.layer_dir(layer) / "quality.parquet"

    def corrected(self, layer: str) -> Path:
        """The outcome with the officers' decisions merged (GeoParquet)."""
        return self.layer_dir(layer) / "corrected.parquet"

    @property
    def review_dir(self) -> Path:
        """What officers open and save."""
        return self.root / "review"

    def review(self, layer: str) -> Path:
        """The review GeoPackage of one layer."""
        return self.review_dir / f"{layer}.gpkg"

    def review_in(self, layer: str, kind: str) -> Path:
        """The review package of one layer for other software: ``kind`` is ``tab`` or ``shp``."""
        return self.review_dir / kind / f"{layer}.{kind}"

    @property
    def added_control(self) -> Path:
        """The control points that officers drew, as the check reads them (CSV)."""
        return self.build_dir / "control" / "added_by_officers.csv"

    def state_dir(self, layer: str) -> Path:
        """Every state of a layer's export, to be put back by ``post-pai rollback``; never deleted."""
        return self.exports_dir / "states" / layer

    @property
    def decisions_dir(self) -> Path:
        """Append-only; never deleted, never rewritten."""
        return self.root / "decisions"

    @property
    def decisions_log(self) -> Path:
        """One line per decision: who, when, what, on which feature (JSON lines)."""
        return self.decisions_dir / "decisions.jsonl"

    @property
    def ledger(self) -> Path:
        """One line per shifted delivery: input hash, layer, control (JSON lines)."""
        return self.decisions_dir / "ledger.jsonl"

    @property
    def exports_dir(self) -> Path:
        """Corrected layers, the shift itself, the evidence."""
        return self.root / "exports"

    def evidence(self, layer: str) -> Path:
        """The evidence page of one layer (HTML)."""
        return self.exports_dir / "evidence" / f"{layer}.html"


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


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as JSON, whole or not at all."""
    with whole_file(path) as beside:
        beside.write_text(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file written by ``write_json``."""
    return json.loads(path.read_text(encoding="utf-8"))


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()

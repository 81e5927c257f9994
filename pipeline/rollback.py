"""Putting an export back to any earlier state, the original included; logged, and itself undone the same way."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.delivery.layer_files import file_names, write_layer
from pipeline.delivery.manifest import manifest_path, read_manifest, write_manifest
from pipeline.delivery.place import folder_beside, put_in_place
from pipeline.delivery.provenance import foundations, versions
from pipeline.delivery.read_back import check_export
from pipeline.delivery.states import (
    LATEST,
    ORIGINAL,
    chosen_state,
    keep_state,
    kept_states,
    state_called,
    unpack_state,
    why_held,
    why_unfinished,
)
from pipeline.files import sha256
from pipeline.ledger import record_put_back
from pipeline.locks import alone_with
from pipeline.pages.outcome import read_outcome
from pipeline.storage import Migration
from transforms.errors import ExportError


@dataclass(frozen=True)
class PutBack:
    """What was put in place of what."""

    layer: str
    to: str
    files: tuple[Path, ...]
    withdrawn: Path | None

    @property
    def sentence(self) -> str:
        """The outcome in one line."""
        stays = (
            "" if self.to == LATEST else f" It stays so until post-pai rollback MIGRATION {self.layer} --to {LATEST}."
        )
        names = ", ".join(path.name for path in self.files)
        return f"Layer {self.layer} is back at {state_called(self.to)}: {names}.{stays}"


def list_states(migration: Migration, layer: str) -> str:
    """The states a layer can be put back to, as a table.

    Raises
    ------
    LogError
        If the ledger is damaged.
    """
    migration.settings.layer(layer)
    rows: list[tuple[str, ...]] = [("run", "kept", "state", "moved", "unmoved", "fixed", "open", "sha256")]
    rows.append((ORIGINAL, "", "the source as delivered", "", "", "", "", ""))
    for state in kept_states(migration, layer):
        counts = [str(state.counts[name]) for name in ("moved", "unmoved", "fixed", "open")]
        rows.append((state.run, state.when[:16].replace("T", " "), state.state, *counts, state.sha256[:12]))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    said = [why_held(migration, layer), why_unfinished(migration, layer)]
    return "\n".join([*table, *filter(None, said)]) + "\n"


def put_back(
    migration: Migration, layer: str, to: str, officer: str = "", note: str = "", now: datetime | None = None
) -> PutBack:
    """Put an earlier state of a layer's export in place, whole or not at all; what lies there is withdrawn, not lost.

    Parameters
    ----------
    to
        A run, ``original`` or ``latest``.
    officer, note
        Who does it, and why: for the ledger.

    Raises
    ------
    ExportError
        If there is no such state, it is not what was kept, or a file is open in another program.
    BusyError
        If a run is at work on the layer.
    """
    now = now or datetime.now(UTC)
    migration.settings.layer(layer)
    with alone_with(migration, layer, wait_s=0.0), folder_beside(migration, layer) as beside:
        if to == ORIGINAL:
            manifest = _original(migration, layer, beside)
        else:
            state = chosen_state(migration, layer, to)
            manifest, to = unpack_state(migration, layer, state, beside), to if to == LATEST else state.run
        who = {"to": to, "officer": officer.strip() or "unknown", "note": note}
        # Before the files appear: a run that comes between must know that they are meant to stay.
        record_put_back(
            migration, layer, who | {"files": {file["name"]: file["sha256"] for file in manifest["files"]}}, now
        )
        _keep_present(migration, layer)
        files, withdrawn = put_in_place(migration, layer, beside)
        write_manifest(migration, layer, manifest | {"put_back": who | {"when": now.isoformat(timespec="seconds")}})
    return PutBack(layer, to, files, withdrawn)


def _keep_present(migration: Migration, layer: str) -> None:
    """Keep what lies there now, if it is from before states were kept: it would be lost."""
    manifest = read_manifest(manifest_path(migration, layer))
    if manifest is None:
        return
    run = manifest.get("kept_as", manifest["exported_by_run"])
    files = [migration.exports_dir / file["name"] for file in manifest["files"]]
    if (
        run == ORIGINAL
        or any(run == state.run for state in kept_states(migration, layer))
        or not all(file.exists() for file in files)
    ):
        return
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            shutil.copyfile(file, Path(folder) / file.name)
        keep_state(migration, layer, Path(folder), manifest, content=f"from before states were kept: {run}")


@dataclass(frozen=True)
class _AsDelivered(Migration):
    """The migration with an outcome, in ``outcomes``, in which nothing of the layer moved."""

    outcomes: Path = Path()

    def corrected(self, layer: str) -> Path:
        return self.outcomes / f"{layer}.parquet"


def _original(migration: Migration, layer: str, beside: Path) -> dict[str, Any]:
    if not migration.staged(layer).exists():
        raise ExportError(f"Layer {layer} has not been read yet ({migration.staged(layer)} is missing). Run it first.")
    with tempfile.TemporaryDirectory() as folder:
        delivered = _AsDelivered(migration.root, migration.settings, Path(folder))
        _write_unmoved(migration.staged(layer), delivered.corrected(layer))
        outcome = read_outcome(delivered, layer)
        written = [write_layer(delivered, outcome, beside / name) for name in file_names(outcome, is_final=True)]
        checked = [check_export(delivered, outcome, one.path, exactly=one.path.suffix == ".gpkg") for one in written]
    return {
        "layer": layer,
        "title": outcome.title,
        "state": ORIGINAL,
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "exported_by_run": ORIGINAL,
        "counts": {"in": outcome.counts.total, **asdict(outcome.counts)},
        "files": [{"name": path.name, "sha256": sha256(path)} for path in sorted(beside.iterdir())],
        "attributes_sha256": checked[0].attributes_sha256,
        **foundations(migration, layer),
        "versions": versions(),
    }


def _write_unmoved(staged: Path, path: Path) -> None:
    source = pq.read_table(staged, columns=["pai_row", "pai_geometry"])
    count = source.num_rows
    table = pa.table(
        {
            "pai_row": source["pai_row"],
            "pai_geometry": source["pai_geometry"].cast(pa.large_binary()),
            "pai_status": ["unmoved"] * count,
            "pai_reasons": ["put_back"] * count,
            "pai_shift_m": [0.0] * count,
            "pai_uncertainty_m": pa.nulls(count, pa.float64()),
            "pai_run": [ORIGINAL] * count,
        }
    )
    pq.write_table(table, path)

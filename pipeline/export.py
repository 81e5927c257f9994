"""The last stage: corrected layers and the shift itself, as files that leave the house.

A layer with open features leaves as ``<layer>.draft.gpkg`` and nothing else; when the last one is decided the
draft goes and the final files come. Everything is written in a folder beside, read back and compared with what
came in, and only then put in place. An earlier final file that this export does not replace would look current
beside it and may have been handed out already: it is neither left nor lost, but moved to ``exports/withdrawn/``
together with its manifest.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.delivery.place import (
    all_withdrawn,
    folder_beside,
    manifest_path,
    put_in_place,
    refuse_other_layers_files,
    withdraw,
)
from pipeline.delivery.provenance import decisions_on, foundations, versions
from pipeline.delivery.read_back import Checked, check_export
from pipeline.exchange import export_field
from pipeline.field_file import read_field
from pipeline.fingerprint import layer_hash
from pipeline.formats import write_batches
from pipeline.formats.stream import Written
from pipeline.ledger import record_export
from pipeline.pages.evidence import write_evidence
from pipeline.pages.outcome import Counts, Outcome, read_outcome
from pipeline.storage import Migration, sha256, whole_file, write_json
from transforms.errors import FieldError

OUTCOME_COLUMNS = ("pai_status", "pai_reasons", "pai_shift_m", "pai_uncertainty_m", "pai_run")
"""What an export has beside the columns of the source."""

EXCHANGE_FORMS = (".json", ".tif", ".gsb")
"""The forms of the shift that PROJ, GDAL and QGIS apply."""

_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class ExportedLayer:
    """What left: the files, the counts, and what was withdrawn because it is no longer current."""

    layer: str
    state: str
    counts: Counts
    files: tuple[Path, ...]
    bytes: int
    notes: tuple[str, ...]
    manifest: Path
    evidence: Path
    withdrawn: Path | None


@dataclass(frozen=True)
class ExportedShift:
    """The fitted shift as it left: its files, and a sentence for each form that says how true it is."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def export_layer(migration: Migration, layer_name: str, run_id: str) -> ExportedLayer:
    """Write the corrected layer in every format asked for, its manifest and its evidence page.

    Parameters
    ----------
    run_id
        Kept in the manifest as the run that exported; the run that decided each feature is in ``pai_run``.

    Raises
    ------
    ExportError
        If the review stage has not run, a format cannot hold the layer, what was written does not read back as
        what came in, or a file to be replaced is open in another program. The earlier export then stays.
    """
    outcome = read_outcome(migration, layer_name)
    with folder_beside(migration, layer_name) as beside:
        written = [_write(migration, outcome, beside / name) for name in _file_names(outcome)]
        checked = [check_export(migration, outcome, one.path, exactly=one.path.suffix == ".gpkg") for one in written]
        refuse_other_layers_files(migration, layer_name, beside)
        content = _manifest(migration, outcome, run_id, written, checked[0], beside)
        # Before the files appear: what has left the house must be known when it comes back as a source.
        record_export(
            migration,
            layer_name,
            geometry_digest=_geometry_digest(migration, layer_name),
            files={file["name"]: file["sha256"] for file in content["files"]},
            run_id=run_id,
        )
        withdrawn = withdraw(migration, layer_name, keep={path.name for path in beside.iterdir()})
        files = put_in_place(migration, layer_name, beside)
    content["withdrawn"] = all_withdrawn(migration, layer_name)
    write_json(manifest_path(migration, layer_name), content)
    page = write_evidence(migration, layer_name)
    return ExportedLayer(
        layer=layer_name,
        state=content["state"],
        counts=outcome.counts,
        files=files,
        bytes=sum(path.stat().st_size for path in files),
        notes=tuple(note for one in written for note in one.notes),
        manifest=manifest_path(migration, layer_name),
        evidence=page,
        withdrawn=withdrawn,
    )


def export_shift(migration: Migration) -> ExportedShift:
    """Write the fitted shift and its exchange forms to ``exports/shift/``.

    A form that cannot be made (a grid has its limits) is missing and its note says why; the fitted shift itself
    is always there.
    """
    target = migration.exports_dir / "shift" / "shift.field"
    with whole_file(target) as beside:
        shutil.copyfile(migration.field_file, beside)
    field, files, notes = read_field(migration.field_file), [target], []
    for suffix in EXCHANGE_FORMS:
        try:
            notes.append(export_field(field, target.with_suffix(suffix)).sentence)
            files.append(target.with_suffix(suffix))
        except FieldError as error:
            target.with_suffix(suffix).unlink(missing_ok=True)
            notes.append(str(error))
    record = {"files": {path.name: sha256(path) for path in files}, "notes": notes, "versions": versions()}
    write_json(target.with_name("shift.manifest.json"), record)
    return ExportedShift(tuple(files), tuple(notes))


def _file_names(outcome: Outcome) -> list[str]:
    name = outcome.layer.name
    if outcome.counts.open:
        return [f"{name}.draft.gpkg"]
    return [f"{name}.{suffix}" for suffix in dict.fromkeys(["gpkg", *outcome.layer.formats])]


def _write(migration: Migration, outcome: Outcome, path: Path) -> Written:
    staged = pq.read_schema(migration.staged(outcome.layer.name))
    ours = pq.read_schema(migration.corrected(outcome.layer.name))
    fields = [column for column in staged if column.name != "pai_row"]
    schema = pa.schema([*fields, *(ours.field(name) for name in OUTCOME_COLUMNS)])
    return write_batches(path, schema, _joined(migration, outcome.layer.name, schema), layer=outcome.layer.name)


def _joined(migration: Migration, layer_name: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The source columns with the corrected geometry and the outcome, batch by batch, in source order.

    The two files have the same rows in the same order (``read_outcome`` refuses others), so they are walked in
    step and memory stays flat.
    """
    with (
        pq.ParquetFile(migration.staged(layer_name)) as staged,
        pq.ParquetFile(migration.corrected(layer_name)) as after,
    ):
        source = _slices(staged, [name for name in schema.names if name in staged.schema_arrow.names])
        outcome = _slices(after, ["pai_geometry", *OUTCOME_COLUMNS])
        for rows, result in zip(source, outcome, strict=True):
            columns = [
                (result if name in result.schema.names else rows).column(name).combine_chunks() for name in schema.names
            ]
            yield from pa.table(
                [column.cast(field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
            ).to_batches()


def _slices(file: pq.ParquetFile, columns: list[str]) -> Iterator[pa.Table]:
    """The file in slices of equal length, whatever its row groups."""
    held: list[pa.RecordBatch] = []
    for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
        held.append(batch)
        table = pa.Table.from_batches(held)
        while table.num_rows >= _BATCH_ROWS:
            yield table.slice(0, _BATCH_ROWS)
            table = table.slice(_BATCH_ROWS)
        held = table.to_batches()
    if held:
        yield pa.Table.from_batches(held)


def _geometry_digest(migration: Migration, layer_name: str) -> str:
    with pq.ParquetFile(migration.corrected(layer_name)) as file:
        batches = file.iter_batches(columns=["pai_geometry"])
        return layer_hash(wkb for batch in batches for wkb in batch.column(0).to_pylist())


def _manifest(
    migration: Migration, outcome: Outcome, run_id: str, written: list[Written], checked: Checked, beside: Path
) -> dict[str, Any]:
    name = outcome.layer.name
    return {
        "layer": name,
        "title": outcome.title,
        "state": "draft" if outcome.counts.open else "final",
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "exported_by_run": run_id,
        "decided_by_run": outcome.run,
        "counts": {"in": outcome.counts.total, **asdict(outcome.counts)},
        "files": [{"name": path.name, "sha256": sha256(path)} for path in sorted(beside.iterdir())],
        "written": [
            {"name": one.path.name, "driver": one.driver, "features": one.features, "notes": one.notes}
            for one in written
        ],
        "attributes_sha256": checked.attributes_sha256,
        **foundations(migration, name),
        "settings": outcome.layer.model_dump(mode="json"),
        "limits_overridden": migration.settings.limits,
        "decisions": decisions_on(migration, name),
        "versions": versions(),
    }

"""The last stage: corrected layers and the shift itself, as files that leave the house.

A layer with open features, or without the second signature it needs, leaves as ``<layer>.draft.gpkg`` and nothing
else; when the last one is decided the draft goes and the final files come. Everything is written in a folder beside,
read back and compared with what came in, and only then put in place. An earlier final file that this export does not
replace would look current beside it and may have been handed out already: it is neither left nor lost, but moved to
``exports/withdrawn/`` together with its manifest. Every state is kept, to be put back by ``post-pai rollback``;
while an earlier one is in place, a run keeps the new one and touches nothing.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.delivery.layer_files import file_names, write_layer
from pipeline.delivery.manifest import manifest_path, read_manifest, write_manifest
from pipeline.delivery.place import folder_beside, put_in_place, refuse_other_layers_files
from pipeline.delivery.provenance import decisions_on, foundations, versions
from pipeline.delivery.read_back import Checked, check_export
from pipeline.delivery.states import content_digest, keep_state, why_held, why_unfinished
from pipeline.exchange import export_field
from pipeline.field_file import read_field
from pipeline.files import sha256, whole_file, write_json
from pipeline.fingerprint import layer_hash
from pipeline.formats.stream import Written
from pipeline.ledger import record_export
from pipeline.logbook import read_head
from pipeline.made_from import why_mixed
from pipeline.officers.outdated import why_outdated
from pipeline.officers.sign_off import sign_off_state
from pipeline.pages.evidence import write_evidence
from pipeline.pages.outcome import Counts, Outcome, read_outcome
from pipeline.storage import Migration
from transforms.errors import ExportError, FieldError

EXCHANGE_FORMS = (".json", ".tif", ".gsb")
"""The forms of the shift that PROJ, GDAL and QGIS apply."""


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
    held: str = ""
    """Why the newest outcome is not in place as final though nothing is open; empty if it is."""


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
        If the review stage has not run on what the stages before made last, a format cannot hold the layer, what was
        written does not read back as what came in, or a file to be replaced is open in another program. The earlier
        export then stays.
    """
    if mixed := why_mixed(migration, layer_name, "review"):
        raise ExportError(mixed)
    outcome = read_outcome(migration, layer_name)
    approval = sign_off_state(migration, layer_name)
    is_final = not outcome.counts.open and approval.allows_final
    with folder_beside(migration, layer_name) as beside:
        written, checked = _written(migration, outcome, beside, is_final=is_final)
        content = _manifest(migration, outcome, run_id, written, checked, beside)
        content |= {"state": "final" if is_final else "draft", "sign_off": approval.as_record()}
        # Before the files appear: what has left the house must be known when it comes back as a source.
        record_export(
            migration,
            layer_name,
            geometry_digest=_geometry_digest(migration, layer_name),
            files={file["name"]: file["sha256"] for file in content["files"]},
            run_id=run_id,
        )
        digest = content_digest(migration, layer_name, is_final=is_final)
        content["kept_as"] = keep_state(migration, layer_name, beside, content, digest)
        held, unfinished = why_held(migration, layer_name), why_unfinished(migration, layer_name)
        if held:
            files, withdrawn = _in_place(migration, layer_name), None
        else:
            files, withdrawn = put_in_place(migration, layer_name, beside)
            write_manifest(migration, layer_name, content)
    page = write_evidence(migration, layer_name)
    return ExportedLayer(
        layer=layer_name,
        state="put back" if held else content["state"],
        counts=outcome.counts,
        files=files,
        bytes=sum(path.stat().st_size for path in files),
        notes=tuple(filter(None, [*(note for one in written for note in one.notes), unfinished])),
        held="" if outcome.counts.open and not held else held or approval.sentence,
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


def _written(migration: Migration, outcome: Outcome, beside: Path, *, is_final: bool) -> tuple[list[Written], Checked]:
    """Write every format into ``beside`` and read it back; what was found of the GeoPackage, which comes first."""
    names = file_names(outcome, is_final=is_final)
    written = [write_layer(migration, outcome, beside / name) for name in names]
    checked = [check_export(migration, outcome, one.path, exactly=one.path.suffix == ".gpkg") for one in written]
    refuse_other_layers_files(migration, outcome.layer.name, beside)
    return written, checked[0]


def _in_place(migration: Migration, layer_name: str) -> tuple[Path, ...]:
    manifest = read_manifest(manifest_path(migration, layer_name))
    names = [file["name"] for file in manifest["files"]] if manifest else []
    return tuple(path for name in names if (path := migration.exports_dir / name).exists())


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
        "limits_overridden": migration.settings.limits_of(name),
        "decisions": decisions_on(migration, name),
        "decisions_log": asdict(read_head(migration.decisions_log)),
        "versions": versions(),
        "outdated": why_outdated(migration, name),
    }

"""What a person reads on the asset pages of the Dagster UI: a stage's summary as metadata.

Order is the order on the page, so pictures come first. Numbers are rounded (the UI does not), carry their unit in
the key, and become a plot over layers and over time. Markdown over 1,000 characters would hide behind a link.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike

from pipeline.control import ControlSummary
from pipeline.control_input.verdicts import CONTROL_REASONS
from pipeline.dates import date_wrong_ratio, disproved_dates, is_dated
from pipeline.export import ExportedLayer, ExportedShift
from pipeline.files import whole_file
from pipeline.fit import FitSummary
from pipeline.officers.progress import review_progress
from pipeline.orchestration.columns import COLUMNS
from pipeline.pages import asset_pictures as pictures
from pipeline.pages.board import Board
from pipeline.pages.outcome import Counts
from pipeline.pages.pictures import Picture, inline_bar_svg
from pipeline.pages.reasons import sentence
from pipeline.quality import QualitySummary
from pipeline.reattach import ReattachSummary
from pipeline.review import Reviewed
from pipeline.shift import ShiftSummary
from pipeline.sources import StagedLayer
from pipeline.storage import Migration

Metadata = dict[str, Any]

_MOST_ROWS = 12


def of_source(migration: Migration, layer: str, staged: StagedLayer) -> Metadata:
    """The delivery: what it is, what was understood, what is odd about it."""
    types = [{"type": name, "features": count} for name, count in staged.geometry_types.items()]
    return {
        "findings": _bullets([*staged.findings, *staged.cures]),
        "types": _table(types),
        "driver": staged.driver,
        "crs_found": staged.crs_found,
        "crs_used": staged.crs_understood,
        "features": staged.features,
        "no_geometry": staged.null_geometries,
        "invalid": staged.invalid_geometries,
        "repeated_ids": staged.repeated_ids,
        **_table_file(migration, migration.staged(layer)),
    }


def of_control(migration: Migration, summary: ControlSummary) -> Metadata:
    """The control: how much is good, and why the rest is not."""
    return {
        "map": _shown(migration, "control", pictures.draw_control(migration)),
        "why_not_used": _reason_table(summary.reasons, CONTROL_REASONS),
        "read": summary.read,
        "used": summary.used,
        "suspect": summary.suspect,
        "rejected": summary.rejected,
        "rejected_pct": _percent(summary.rejected / max(summary.read, 1)),
        "pieces": summary.pieces,
        "shift_rms_m": _metres(summary.shift_rms_m),
        "worst": _worst_control(migration),
        "unreadable": _bullets(summary.unreadable_files),
        "report": _place(migration, migration.control_report),
    }


def of_fit(migration: Migration, summary: FitSummary) -> Metadata:
    """The field: where it goes, how sure it is, whether that is honest, and which method won by how much."""
    within = {f"{name}_95_pct": _percent(value) for name, value in summary.within_95_share.items()}
    return {
        "shift": _shown(migration, "field", pictures.draw_field(migration)),
        "uncertainty": _shown(migration, "uncertainty", pictures.draw_uncertainty(migration)),
        "calibration": _shown(migration, "reliability", pictures.draw_reliability(migration)),
        "methods": _shown(migration, "methods", pictures.draw_methods(migration)),
        "chosen": dg.MetadataValue.md(summary.sentence),
        "rms_m": _metres(summary.holdout_rms_m),
        "p95_m": _metres(summary.holdout_p95_m),
        **within,
        "pieces": summary.pieces,
        "control": summary.control_count,
        "folds": summary.folds,
        "file": _place(migration, migration.field_file),
    }


def of_shift_export(exported: ExportedShift) -> Metadata:
    """The forms of the shift that left, and how true each is."""
    return {"notes": _bullets(exported.notes), "files": _bullets(path.name for path in exported.files)}


def of_shift(migration: Migration, layer: str, summary: ShiftSummary) -> Metadata:
    """The proposal: how many features move, how far."""
    displaced = ["displaced_easting_m", "displaced_northing_m"]
    table = pq.read_table(migration.shifted(layer), columns=["moved", "shift_m", *displaced])
    moved = table["moved"].to_numpy().astype(bool)
    shift_m = table["shift_m"].to_numpy()[moved]
    regimes = [{"drawn on": name.replace("_", " "), "features": count} for name, count in summary.regimes.items()]
    return {
        "map": _shown(migration, f"{layer}.regimes", pictures.draw_regimes(migration, layer)),
        "how_far": _shown(
            migration, f"{layer}.shift", pictures.draw_histogram(shift_m, "length of the shift proposed [m]")
        ),
        "regimes": _table(regimes),
        "kept_back": _reason_table(summary.blocked),
        "displaced": _displaced(table.select(displaced)),
        "moved": int(moved.sum()),
        "not_moved": int((~moved).sum()),
        "mean_shift_m": _metres(_mean(shift_m)),
        "p95_shift_m": _metres(float(np.quantile(shift_m, 0.95)) if len(shift_m) else 0.0),
        "max_shift_m": _metres(np.max(shift_m, initial=0.0)),
        "vertices_added": summary.vertices_added,
        **_about_dates(migration, layer),
        **_table_file(migration, migration.shifted(layer)),
    }


def _displaced(table: pa.Table) -> dg.TableMetadataValue | str:
    """By how much features lie beside both maps along with others, and how many."""
    places = np.stack([np.round(column.to_numpy(), 2) for column in table.columns], axis=1)
    by_m, features = np.unique(places[np.isfinite(places[:, 0])], axis=0, return_counts=True)
    most = np.argsort(-features, kind="stable")[:_MOST_ROWS]
    rows = zip(by_m[most].tolist(), features[most].tolist(), strict=True)
    return _table([{"east_m": east_m, "north_m": north_m, "features": count} for (east_m, north_m), count in rows])


def _about_dates(migration: Migration, layer: str) -> Metadata:
    if not is_dated(migration.settings.layer(layer)):
        return {}
    disproved = [{"date": date, "features": count} for date, count in disproved_dates(migration, layer).items()]
    return {
        "dates_wrong_pct": _percent(date_wrong_ratio(migration, layer)),
        "dates_disproved": _table(disproved[:_MOST_ROWS]),
    }


def of_reattach(migration: Migration, layer: str, summary: ReattachSummary) -> Metadata:
    """How much of what followed the old map follows the new one again."""
    return {
        "left_as_shifted": _reason_table(summary.reasons),
        "what_lies_in_what": _table([asdict(pair) for pair in summary.pairs]),
        "changed_answers": sum(pair.changed for pair in summary.pairs),
        "attached_features": summary.attached_features,
        "followed_m": round(summary.followed_m, 1),
        "attached_m": round(summary.attached_m, 1),
        "attached_pct": _percent(summary.attached_m / summary.followed_m if summary.followed_m else 1.0),
        "traced_within_m": _metres(summary.tolerance_m),
        "never_attached": summary.never_attached,
        **_table_file(migration, migration.proposed(layer)),
    }


def of_quality(migration: Migration, layer: str, summary: QualitySummary) -> Metadata:
    """The verdicts, and what makes features doubtful."""
    automatic = max(summary.accepted + summary.left, 1)
    return {
        "map": _shown(migration, f"{layer}.verdicts", pictures.draw_verdicts(migration, layer)),
        "risk": _shown(migration, f"{layer}.risk", pictures.draw_risk(migration, layer)),
        "reasons": _reason_table(summary.reasons),
        "accepted": summary.accepted,
        "left": summary.left,
        "to_review": summary.to_review,
        "automatic_pct": _percent(summary.automatic_ratio),
        "expected_wrong": round(summary.expected_wrong, 2),
        "wrong_per_1000": round(1000 * summary.expected_wrong / automatic, 2),
        **_table_file(migration, migration.quality(layer)),
    }


def of_review(migration: Migration, layer: str, reviewed: Reviewed) -> Metadata:
    """What is done, what is open, by whom, how long the rest will take, and the file to open in QGIS."""
    counts = Counts(reviewed.moved, reviewed.unmoved, reviewed.fixed, reviewed.open)
    progress = review_progress(migration, layer)
    findings = [*reviewed.findings, *([reviewed.outdated] if reviewed.outdated else [])]
    return {
        "progress": dg.MetadataValue.md(inline_bar_svg(counts)),
        "open_in_qgis": _place(migration, migration.review(layer)),
        "map": _shown(migration, f"{layer}.outcome", pictures.draw_outcome(migration, layer)),
        "days": _shown(migration, f"{layer}.days", pictures.draw_days(progress.by_day)),
        "officers": _table([{"officer": who, "decisions": count} for who, count in progress.by_officer.items()]),
        "findings": _bullets(findings),
        "open": reviewed.open,
        "moved": reviewed.moved,
        "unmoved": reviewed.unmoved,
        "fixed": reviewed.fixed,
        "decided": sum(progress.decided.values()),
        "hours_left": progress.hours_left,
        "forecast": progress.basis,
        "new_decisions": reviewed.decisions_taken,
        "disagreements": reviewed.disagreements,
        **_table_file(migration, migration.corrected(layer)),
    }


def of_export(migration: Migration, exported: ExportedLayer) -> Metadata:
    """What left, and the page that answers for it."""
    return {
        "progress": dg.MetadataValue.md(inline_bar_svg(exported.counts)),
        "state": exported.state,
        "evidence": dg.MetadataValue.md(f"[Evidence page](/qa/{exported.evidence.name})"),
        "map": _shown(migration, f"{exported.layer}.outcome", pictures.draw_outcome(migration, exported.layer)),
        "files": _bullets(_relative(migration, path) for path in exported.files),
        "notes": _bullets(exported.notes),
        **{name: getattr(exported.counts, name) for name in ("moved", "unmoved", "fixed", "open")},
        "dagster/row_count": exported.counts.total,
        "dagster/size_bytes": exported.bytes,
    }


def of_board(migration: Migration, board: Board) -> Metadata:
    """The whole migration at a glance."""
    counts = {line.layer: line.counts for line in board.lines if line.counts}
    return {
        "progress": dg.MetadataValue.md(f"{inline_bar_svg(board.total)}\n\n{board.sentence}"),
        "layers": dg.MetadataValue.md(board.markdown()),
        "shares": _shown(migration, "layers", pictures.draw_layers(counts)),
        "map": _shown(migration, "board", pictures.draw_board(migration, list(counts))),
        "days": _shown(migration, "days", pictures.draw_days(board.by_day)),
        "officers": _table([{"officer": who, "decisions": count} for who, count in board.by_officer.items()]),
        "full_page": dg.MetadataValue.md(f"[The board as a page, to print or send](/qa/{board.page.name})"),
        "open": board.total.open,
        "fixed": board.total.fixed,
        "moved": board.total.moved,
        "unmoved": board.total.unmoved,
        "automatic_pct": _percent(board.automatic_share),
        "expected_wrong": round(board.expected_wrong, 2),
        "hours_left": board.hours_left,
        "layers_final": board.layers_done,
    }


def _table_file(migration: Migration, path: Path) -> Metadata:
    """The stage's table. Its schema comes last: as a section of the page it would push the pictures below the fold."""
    schema = pq.read_schema(path)
    columns = [dg.TableColumn(field.name, str(field.type), COLUMNS.get(field.name)) for field in schema]
    return {
        "columns": dg.TableSchemaMetadataValue(dg.TableSchema(columns)),
        "table": _place(migration, path),
        "dagster/row_count": pq.read_metadata(path).num_rows,
        "dagster/size_bytes": path.stat().st_size,
    }


def _shown(migration: Migration, name: str, picture: Picture | None) -> dg.MarkdownMetadataValue | str:
    """A picture of any size, shown in place: the launcher serves it from the UI's own address."""
    if picture is None:
        return "nothing to draw yet"
    suffix = {"image/svg+xml": ".svg", "image/png": ".png"}[picture.media_type]
    path = migration.pictures_dir / f"{name}{suffix}"
    with whole_file(path) as beside:
        beside.write_bytes(picture.content)
    version = hashlib.sha256(picture.content).hexdigest()[:8]  # a browser keeps pictures; a new one has a new address
    return dg.MetadataValue.md(f"![{name.replace('_', ' ')}](/qa/pictures/{path.name}?v={version})")


def _place(migration: Migration, path: Path) -> dg.PathMetadataValue:
    """A file of the migration, by its place in the folder: a whole path would be wider than its cell."""
    return dg.MetadataValue.path(_relative(migration, path))


def _relative(migration: Migration, path: Path) -> str:
    return path.relative_to(migration.root).as_posix() if path.is_relative_to(migration.root) else str(path)


def _worst_control(migration: Migration) -> dg.TableMetadataValue | str:
    columns = ["file", "row", "verdict", "residual_m"]
    table = pq.read_table(migration.control_table, columns=columns)
    residual = np.nan_to_num(table["residual_m"].to_numpy(), nan=-1.0)
    worst = table.take(np.argsort(-residual, kind="stable")[:_MOST_ROWS]).to_pylist()
    return _table([{**row, "residual_m": _metres(row["residual_m"])} for row in worst])


def _reason_table(counts: Mapping[str, int], sentences: Mapping[str, str] | None = None) -> dg.TableMetadataValue | str:
    most = sorted(counts.items(), key=lambda item: -item[1])[:_MOST_ROWS]
    return _table([{"count": count, "reason": (sentences or {}).get(code) or sentence(code)} for code, count in most])


def _table(rows: list[dict[str, Any]]) -> dg.TableMetadataValue | str:
    if not rows:
        return "none"
    kinds = {bool: "bool", int: "int", float: "float"}
    columns = [dg.TableColumn(name, kinds.get(type(value), "string")) for name, value in rows[0].items()]
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows], dg.TableSchema(columns))


def _bullets(lines: Iterable[str]) -> dg.MarkdownMetadataValue | str:
    text = "\n".join(f"- {line}" for line in lines)
    return dg.MetadataValue.md(text) if text else "none"


def _mean(values: ArrayLike) -> float:
    numbers = np.asarray(values, dtype=float)
    return float(numbers.mean()) if len(numbers) else 0.0


def _metres(length: float | None) -> float:
    return round(float(length), 3) if length is not None and np.isfinite(length) else 0.0


def _percent(ratio: float) -> float:
    return round(100 * ratio, 1) if np.isfinite(ratio) else 100.0

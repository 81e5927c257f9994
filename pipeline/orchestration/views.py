"""What a person reads on the asset pages of the Dagster UI: a stage's summary as metadata.

Order is the order on the page, so pictures come first. Numbers are rounded (the UI does not), carry their unit in
the key, and become a plot over layers and over time. Markdown over 1,000 characters would hide behind a link.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import ArrayLike

from pipeline.control import ControlSummary
from pipeline.control_input.verdicts import CONTROL_REASONS
from pipeline.export import ExportedLayer, ExportedShift
from pipeline.fit import FitSummary
from pipeline.pages.board import Board, board_map
from pipeline.pages.layer_pictures import draw_shift
from pipeline.pages.outcome import Counts
from pipeline.pages.pictures import Picture, inline_bar_svg, inline_histogram_svg
from pipeline.pages.reasons import sentence
from pipeline.quality import QualitySummary
from pipeline.reattach import ReattachSummary
from pipeline.review import Reviewed
from pipeline.shift import ShiftSummary
from pipeline.sources import StagedLayer
from pipeline.storage import Migration, whole_file

Metadata = dict[str, Any]

_MOST_ROWS = 15
_MAP_IN = 4.4
"""Width of a map [in]: the UI cuts off what is wider than the value's cell, some 430 pixels."""


def of_source(migration: Migration, layer: str, staged: StagedLayer) -> Metadata:
    """The delivery: what it is, what was understood, what is odd about it."""
    return {
        "findings": _bullets([*staged.findings, *staged.cures]),
        "driver": staged.driver,
        "crs_found": staged.crs_found,
        "crs_understood": staged.crs_understood,
        "geometry_types": staged.geometry_types,
        "null_geometries": staged.null_geometries,
        "invalid_geometries": staged.invalid_geometries,
        "repeated_ids": staged.repeated_ids,
        "manifest": dg.MetadataValue.path(migration.manifest(layer)),
        **_table_file(migration.staged(layer)),
    }


def of_control(migration: Migration, summary: ControlSummary) -> Metadata:
    """The control: how much is good, and why the rest is not."""
    return {
        "map": _served_picture(migration, "control", draw_shift(migration, width_in=_MAP_IN)),
        "reasons": _reason_table(summary.reasons, CONTROL_REASONS),
        "control_points": summary.read,
        "used": summary.used,
        "suspect": summary.suspect,
        "rejected": summary.rejected,
        "pieces_between_breaks": summary.pieces,
        "shift_rms_m": _metres(summary.shift_rms_m),
        "worst_control": _worst_control(migration),
        "unreadable_files": _bullets(summary.unreadable_files),
        "report": dg.MetadataValue.path(migration.control_report),
    }


def of_fit(migration: Migration, summary: FitSummary) -> Metadata:
    """The field: which method won, by how much, and whether its uncertainty is honest."""
    scores = [
        {
            "method": score.method,
            "rms_m": _metres(score.rms_m),
            "covered_share": _share(score.covered_share),
            "within_95_share": _share(score.within_95_share),
            "refused": score.refusal,
        }
        for score in summary.scores
    ]
    return {
        "chosen": dg.MetadataValue.md(summary.sentence),
        "map": _served_picture(migration, "shift", draw_shift(migration, width_in=_MAP_IN)),
        "hold_out": _table(scores),
        "holdout_rms_m": _metres(summary.holdout_rms_m),
        "within_95_share": {name: _share(value) for name, value in summary.within_95_share.items()},
        "pieces_between_breaks": summary.pieces,
        "control_points": summary.control_count,
        "field_file": dg.MetadataValue.path(migration.field_file),
    }


def of_shift_export(exported: ExportedShift) -> Metadata:
    """The forms of the shift that left, and how true each is."""
    return {"notes": _bullets(exported.notes), "files": _bullets(str(path) for path in exported.files)}


def of_shift(migration: Migration, layer: str, summary: ShiftSummary) -> Metadata:
    """The proposal: how many features move, how far."""
    table = pq.read_table(migration.shifted(layer), columns=["moved", "shift_m", "uncertainty_m"])
    moved = table["moved"].to_numpy().astype(bool)
    shift_m = table["shift_m"].to_numpy()[moved]
    return {
        "shift": dg.MetadataValue.md(inline_histogram_svg(shift_m, "length of the shift [m]")),
        "moved": int(moved.sum()),
        "not_moved": int((~moved).sum()),
        "blocked": _reason_table(summary.blocked),
        "regimes": summary.regimes,
        "mean_shift_m": _metres(_mean(shift_m)),
        "max_shift_m": _metres(np.max(shift_m, initial=0.0)),
        "vertices_added": summary.vertices_added,
        **_table_file(migration.shifted(layer)),
    }


def of_reattach(migration: Migration, layer: str, summary: ReattachSummary) -> Metadata:
    """How much of what followed the old map follows the new one again."""
    return {
        "left_as_shifted": _reason_table(summary.reasons),
        "attached_features": summary.attached_features,
        "followed_m": round(summary.followed_m, 1),
        "attached_m": round(summary.attached_m, 1),
        "attached_pct": _percent(summary.attached_m / summary.followed_m if summary.followed_m else 1.0),
        "tracing_tolerance_m": _metres(summary.tolerance_m),
        "never_attached": summary.never_attached,
        **_table_file(migration.proposed(layer)),
    }


def of_quality(migration: Migration, layer: str, summary: QualitySummary) -> Metadata:
    """The verdicts, and what makes features doubtful."""
    return {
        "reasons": _reason_table(summary.reasons),
        "accepted": summary.accepted,
        "left": summary.left,
        "to_review": summary.to_review,
        "automatic_pct": _percent(summary.automatic_ratio),
        "expected_wrong": round(summary.expected_wrong, 2),
        **_table_file(migration.quality(layer)),
    }


def of_review(migration: Migration, layer: str, reviewed: Reviewed) -> Metadata:
    """What is done, what is open, and the file to open in QGIS."""
    counts = Counts(reviewed.moved, reviewed.unmoved, reviewed.fixed, reviewed.open)
    return {
        "progress": dg.MetadataValue.md(inline_bar_svg(counts)),
        "review_file": dg.MetadataValue.path(migration.review(layer)),
        "findings": _bullets(reviewed.findings),
        "open": reviewed.open,
        "moved": reviewed.moved,
        "unmoved": reviewed.unmoved,
        "fixed": reviewed.fixed,
        "decisions_taken": reviewed.decisions_taken,
        **_table_file(migration.corrected(layer)),
    }


def of_export(migration: Migration, exported: ExportedLayer) -> Metadata:
    """What left, and the page that answers for it."""
    return {
        "progress": dg.MetadataValue.md(inline_bar_svg(exported.counts)),
        "state": exported.state,
        "evidence": dg.MetadataValue.md(f"[Evidence page](/qa/{exported.evidence.name})"),
        "evidence_file": dg.MetadataValue.path(exported.evidence),
        "files": _bullets(str(path) for path in exported.files),
        "notes": _bullets(exported.notes),
        "dagster/row_count": exported.counts.total,
        "dagster/size_bytes": exported.bytes,
    }


def of_board(migration: Migration, board: Board) -> Metadata:
    """The whole migration at a glance."""
    return {
        "progress": dg.MetadataValue.md(inline_bar_svg(board.total)),
        "layers": dg.MetadataValue.md(board.markdown()),
        "map": _served_picture(migration, "board", board_map(migration)),
        "full_page": dg.MetadataValue.md(f"[The board](/qa/{board.page.name})"),
        "layers_done": board.layers_done,
        **{name: getattr(board.total, name) for name in ("moved", "unmoved", "fixed", "open")},
    }


def _table_file(path: Path) -> Metadata:
    schema = pq.read_schema(path)
    columns = [dg.TableColumn(field.name, str(field.type)) for field in schema]
    return {
        "dagster/column_schema": dg.TableSchema(columns),
        "dagster/row_count": pq.read_metadata(path).num_rows,
        "dagster/size_bytes": path.stat().st_size,
        "dagster/uri": path.as_uri(),
    }


def _served_picture(migration: Migration, name: str, picture: Picture | None) -> dg.MarkdownMetadataValue | str:
    """A picture of any size, shown in place: the launcher serves it from the UI's own address."""
    if picture is None:
        return "none"
    suffix = {"image/svg+xml": ".svg", "image/png": ".png"}[picture.media_type]
    path = migration.evidence("any").with_name(f"{name}{suffix}")
    with whole_file(path) as beside:
        beside.write_bytes(picture.content)
    return dg.MetadataValue.md(f"![{name}](/qa/{path.name})")


def _worst_control(migration: Migration) -> dg.TableMetadataValue | str:
    columns = ["file", "row", "verdict", "reasons", "residual_m"]
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
    return round(float(length), 3) if length is not None and np.isfinite(length) else -0.0


def _share(ratio: float) -> float:
    return round(float(ratio), 3) if np.isfinite(ratio) else 0.0


def _percent(ratio: float) -> float:
    return round(100 * ratio, 1) if np.isfinite(ratio) else 100.0

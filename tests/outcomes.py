"""A small migration whose stage files are written by hand, so that what goes out can be tested alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from stage_tables import belong_together

from pipeline.storage import Migration

SETTINGS = """\
title: Test borough
control: {files: [sources/control]}
layers:
  - {name: parks, title: Parks & greens, file: sources/parks.gpkg, id_column: ref, formats: [geojson, shp]}
  - {name: trees, title: Trees, file: sources/trees.gpkg}
"""
SHIFT = np.array([1.5, -2.0])


def make_migration(root: Path) -> Migration:
    """A migration folder with settings and control, but no stage run yet."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "migration.yaml").write_text(SETTINGS, encoding="utf-8")
    migration = Migration.open(root)
    _write_control(migration)
    return migration


def plots(count: int, *, side: float = 30.0) -> np.ndarray:
    """``(count,)`` square plots on a street grid."""
    columns = max(1, int(np.ceil(np.sqrt(count))))
    east = 350_000 + 45.0 * (np.arange(count) % columns)
    north = 160_000 + 45.0 * (np.arange(count) // columns)
    return shapely.box(east, north, east + side, north + side)


def write_layer(
    migration: Migration,
    layer: str,
    *,
    shapes: np.ndarray | None = None,
    status: list[str] | None = None,
    run: str = "run-1",
) -> None:
    """The stage files of one layer: 200 plots, of which most moved, unless told otherwise."""
    shapes = plots(200) if shapes is None else shapes
    count = len(shapes)
    status = status or _default_status(count)
    moved = np.isin(np.array(status, dtype="<U7"), ("moved", "fixed"))
    after = np.where(moved, shapely.transform(shapes, lambda xy: xy + SHIFT), shapes) if count else shapes
    _write_staged(migration, layer, shapes)
    _write_shifted(migration, layer, shapely.transform(shapes, lambda xy: xy + SHIFT) if count else shapes)
    _write_quality(migration, layer, status)
    _write_corrected(migration, layer, after, status, run)
    migration.manifest(layer).write_text(
        json.dumps({"files": {f"{layer}.gpkg": "0" * 64}, "driver": "GPKG"}), encoding="utf-8"
    )
    belong_together(migration, layer)


def _default_status(count: int) -> list[str]:
    return [
        "open" if row % 50 == 7 else "unmoved" if row % 10 == 3 else "fixed" if row % 25 == 4 else "moved"
        for row in range(count)
    ]


def _write(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def _wkb(shapes: np.ndarray) -> pa.Array:
    return pa.array(shapely.to_wkb(shapes).tolist() if len(shapes) else [], pa.binary())


def _write_staged(migration: Migration, layer: str, shapes: np.ndarray) -> None:
    count = len(shapes)
    columns = {
        "ref": pa.array([None if row % 31 == 5 else f"A/{row:04d}" for row in range(count)], pa.string()),
        "note": pa.array(["" if row % 3 else f"café <b>{row}</b>" for row in range(count)], pa.string()),
        "big": pa.array([2**60 + row for row in range(count)], pa.int64()),
        "size": pa.array([row / 7 for row in range(count)], pa.float64()),
        "pai_row": pa.array(range(count), pa.int64()),
        "pai_geometry": _wkb(shapes),
    }
    _write(migration.staged(layer), pa.table(columns))


def _write_corrected(migration: Migration, layer: str, after: np.ndarray, status: list[str], run: str) -> None:
    reasons = {"open": "outside_control;area_changed", "fixed": "officer_fixed", "unmoved": "coincides_with_new_map"}
    moved = np.isin(status, ("moved", "fixed"))
    columns = {
        "pai_row": pa.array(range(len(status)), pa.int64()),
        "pai_geometry": _wkb(after),
        "pai_status": pa.array(status, pa.string()),
        "pai_reasons": pa.array([reasons.get(word, "") for word in status], pa.string()),
        "pai_shift_m": pa.array([2.5 if yes else 0.0 for yes in moved], pa.float64()),
        "pai_uncertainty_m": pa.array([0.1 + row % 7 / 50 for row in range(len(status))], pa.float64()),
        "pai_run": pa.array([run] * len(status), pa.string()),
    }
    _write(migration.corrected(layer), pa.table(columns))


def _write_shifted(migration: Migration, layer: str, proposal: np.ndarray) -> None:
    rows = pa.array(range(len(proposal)), pa.int64())
    _write(migration.shifted(layer), pa.table({"pai_row": rows, "pai_geometry": _wkb(proposal)}))


def _write_quality(migration: Migration, layer: str, status: list[str]) -> None:
    verdicts = {"moved": "accept", "unmoved": "leave", "fixed": "review", "open": "review"}
    columns = {
        "pai_row": pa.array(range(len(status)), pa.int64()),
        "verdict": pa.array([verdicts[word] for word in status], pa.string()),
        "doubt": pa.array(["control" if word == "open" else "" for word in status], pa.string()),
        "risk": pa.array([row % 13 / 13 for row in range(len(status))], pa.float64()),
    }
    _write(migration.quality(layer), pa.table(columns))


def _write_control(migration: Migration) -> None:
    random = np.random.default_rng(0)
    before = random.uniform((349_900, 159_900), (350_800, 160_800), (300, 2))
    after = before + SHIFT + random.normal(0, 0.2, (300, 2))
    columns = dict(
        zip(("old_easting", "old_northing", "new_easting", "new_northing"), [*before.T, *after.T], strict=True)
    )
    verdict = np.where(np.arange(300) % 40 == 0, "rejected", "used")
    _write(migration.control_table, pa.table(columns | {"verdict": verdict}))

"""A small migration as the stages before ``review`` leave it, and an officer who edits its review file."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from shapely.affinity import translate
from stage_tables import belong_together

from pipeline.fingerprint import read_geometry
from pipeline.settings import ControlSettings, LayerSettings, Settings
from pipeline.storage import Migration

LAYER = "trees"
SHIFT_M = (1.0, -2.0)


def square(easting: float, northing: float = 160_000.0, side: float = 10.0) -> shapely.Geometry:
    return shapely.box(easting, northing, easting + side, northing + side)


def moved(geometry: shapely.Geometry, shift_m: tuple[float, float] = SHIFT_M) -> shapely.Geometry:
    return translate(geometry, *shift_m)


def make_migration(root: Path, layers: Sequence[str] = (LAYER,)) -> Migration:
    settings = Settings(
        title="Test",
        control=ControlSettings(files=[Path("sources/control.csv")]),
        layers=[LayerSettings(name=name, file=Path(f"sources/{name}.gpkg"), id_column="ref") for name in layers],
    )
    return Migration(root, settings)


def write_stages(
    migration: Migration,
    before: Sequence[shapely.Geometry | bytes | None],
    verdicts: Sequence[str],
    *,
    proposals: Sequence[shapely.Geometry | bytes | None] | None = None,
    layer: str = LAYER,
    references: Sequence[str] | None = None,
    risks: Sequence[float] | None = None,
    shift_m: tuple[float, float] = SHIFT_M,
) -> None:
    """Write staged, shifted, quality and the control table; by default everything is proposed to move by a shift."""
    count = len(before)
    rows = pa.array(range(count), pa.int64())
    if proposals is None:
        proposals = [moved(shape, shift_m) if isinstance(shape, shapely.Geometry) else shape for shape in before]
    old, new = [_wkb(shape) for shape in before], [_wkb(shape) for shape in proposals]
    references = references or [f"T{row}" for row in range(count)]
    _write(migration.staged(layer), ref=references, pai_row=rows, pai_geometry=pa.array(old, pa.binary()))
    _write(
        migration.shifted(layer),
        pai_row=rows,
        pai_geometry=pa.array(new, pa.binary()),
        moved=[one != other for one, other in zip(old, new, strict=True)],
        shift_m=[2.236] * count,
        uncertainty_m=[0.2] * count,
    )
    _write(
        migration.quality(layer),
        pai_row=rows,
        verdict=list(verdicts),
        reasons=pa.array([["outside_control"] if word == "review" else [] for word in verdicts], pa.list_(pa.string())),
        doubt=pa.array(["control" if word == "review" else "" for word in verdicts], pa.string()),
        risk=pa.array(risks if risks is not None else [0.5] * count, pa.float64()),
    )
    _write(
        migration.control_table,
        file=["a.csv", "a.csv"],
        row=[1, 2],
        old_easting=[400_005.0, 450_000.0],
        old_northing=[160_005.0, 160_000.0],
        new_easting=[400_006.0, 450_001.0],
        new_northing=[160_003.0, 159_998.0],
        code=["0030", ""],
        verdict=["used", "used"],
        reasons=["", ""],
        residual_m=[0.1, 0.1],
        standardised_residual=[0.5, 0.5],
    )
    belong_together(migration, layer)


def save(migration: Migration, row: int, layer: str = LAYER, **changes: Any) -> None:
    """What QGIS does when an officer saves: change columns, or ``geometry``, of one feature in place."""
    save_in(migration.review(layer), row, layer, **changes)


def copy_for(migration: Migration, name: str) -> Path:
    """An officer takes a copy of the review file home."""
    path = migration.review_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(migration.review(LAYER), path))


def save_in(path: Path, row: int, layer: str = LAYER, **changes: Any) -> None:
    """The same in a copy."""
    if "geometry" in changes:
        changes["geom"] = gpkg_blob(changes.pop("geometry"))
    assigned = ", ".join(f'"{column}" = ?' for column in changes)
    execute_in(path, f'UPDATE "{layer}" SET {assigned} WHERE pai_row = {row}', tuple(changes.values()))


def execute(migration: Migration, statement: str, values: tuple[Any, ...] = (), layer: str = LAYER) -> list[Any]:
    return execute_in(migration.review(layer), statement, values)


def execute_in(path: Path, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection, connection:
        _drop_triggers(connection)
        return connection.execute(statement, values).fetchall()


def offered(migration: Migration, layer: str = LAYER) -> list[int]:
    return [row[0] for row in execute(migration, f'SELECT pai_row FROM "{layer}" ORDER BY fid', layer=layer)]


def outcomes(migration: Migration, layer: str = LAYER) -> list[tuple[str, list[str]]]:
    table = pq.read_table(migration.corrected(layer))
    reasons = [text.split(";") for text in table["pai_reasons"].to_pylist()]
    return list(zip(table["pai_status"].to_pylist(), reasons, strict=True))


def places(migration: Migration, layer: str = LAYER) -> list[shapely.Geometry | None]:
    return [read_geometry(wkb) for wkb in pq.read_table(migration.corrected(layer))["pai_geometry"].to_pylist()]


def gpkg_blob(shape: shapely.Geometry | bytes | None) -> bytes | None:
    wkb = _wkb(shape)
    return None if wkb is None else b"GP\x00\x01" + (27700).to_bytes(4, "little") + wkb


def _drop_triggers(connection: sqlite3.Connection) -> None:
    # The triggers of the spatial index call functions that only GDAL brings along.
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f'DROP TRIGGER "{name}"')


def _wkb(shape: shapely.Geometry | bytes | None) -> bytes | None:
    return shapely.to_wkb(shape) if isinstance(shape, shapely.Geometry) else shape


def _write(path: Path, **columns: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)

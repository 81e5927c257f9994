"""Reading an export back before it counts: features, coordinate system, statuses and attributes."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.delivery.digest import TableDigest
from pipeline.formats import open_batches
from pipeline.formats.stream import OURS, LayerStream
from pipeline.georeference import says_national_grid
from pipeline.pages.outcome import Outcome
from pipeline.storage import Migration
from transforms.errors import ExportError


@dataclass(frozen=True)
class Checked:
    """What was found on reading back."""

    features: int
    attributes_sha256: str


def check_export(migration: Migration, outcome: Outcome, path: Path, *, exactly: bool) -> Checked:
    """Compare a written file with what came in.

    Parameters
    ----------
    exactly
        Also compare every attribute value; False for formats that cannot hold them all as they came
        (the writer's notes then say what changed).

    Raises
    ------
    ExportError
        If features, coordinate system, statuses or attributes differ.
    """
    columns = _source_columns(migration, outcome.layer.name) if exactly else []
    found, statuses = TableDigest(columns), Counter[str]()
    for part in parts_of(path):
        _read_back(part, columns, found, statuses)
    _check_counts(path, outcome, found.rows, statuses)
    if exactly:
        _check_attributes(path, _source_digest(migration, outcome.layer.name, columns), found)
    return Checked(found.rows, found.hexdigest())


def parts_of(path: Path) -> list[Path]:
    """The files a layer was written to: a Shapefile holds one kind of geometry, so a mixed layer makes several."""
    return [path, *sorted(path.parent.glob(f"{path.stem}_*{path.suffix}"))]


def _read_back(path: Path, columns: list[str], found: TableDigest, statuses: Counter[str]) -> None:
    with open_batches(path) as stream:
        _check_crs(path, stream)
        _check_columns(path, stream, columns)
        for batch in stream.batches:
            found.update(batch)
            statuses.update(batch.column("pai_status").to_pylist())


def _source_columns(migration: Migration, layer_name: str) -> list[str]:
    return [name for name in pq.read_schema(migration.staged(layer_name)).names if not name.startswith(OURS)]


def _source_digest(migration: Migration, layer_name: str, columns: list[str]) -> TableDigest:
    digest = TableDigest(columns)
    with pq.ParquetFile(migration.staged(layer_name)) as file:
        for batch in file.iter_batches(columns=columns):
            digest.update(batch)
    return digest


def _check_crs(path: Path, stream: LayerStream) -> None:
    if not says_national_grid(stream.info.crs_wkt):
        raise ExportError(
            f"{path.name}: the coordinate system does not read back as the National Grid (EPSG:27700). "
            "Nothing was exported; please report this file."
        )


def _check_columns(path: Path, stream: LayerStream, columns: list[str]) -> None:
    missing = [name for name in [*columns, "pai_status"] if name not in stream.schema.names]
    if missing:
        raise ExportError(f"{path.name}: column {missing[0]} is missing on reading back. Nothing was exported.")


def _check_counts(path: Path, outcome: Outcome, features: int, statuses: Counter[str]) -> None:
    wanted = {name: number for name, number in asdict(outcome.counts).items() if number}
    if features != len(outcome) or dict(statuses) != wanted:
        raise ExportError(
            f"{path.name}: {features} features read back of {len(outcome)} ({dict(statuses)} instead of {wanted}). "
            "Nothing was exported; check the space on the disk and run again."
        )


def _check_attributes(path: Path, wanted: TableDigest, found: TableDigest) -> None:
    after = found.column_digests()
    changed = [name for name, digest in wanted.column_digests().items() if after[name] != digest]
    if changed:
        raise ExportError(
            f"{path.name}: column {changed[0]} does not read back as it came. Nothing was exported; please report it."
        )

"""Geometry for pictures: chosen rows of a stage file, as shapes that can be drawn.

A picture forgives what data may not: curves that cannot be drawn, nulls and empty shapes are passed over here.
Memory stays flat however long the layer is, because only the chosen rows are kept.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

DRAWN_FEATURES = 20_000
"""More than this only blackens a map; of larger layers every k-th feature is drawn, and the caption says so."""


def drawn_rows(count: int, limit: int = DRAWN_FEATURES) -> NDArray[np.int_]:
    """Rows to draw of a layer of ``count`` features, evenly through it.

    Examples
    --------
    >>> drawn_rows(5, limit=2)
    array([0, 3])
    """
    step = max(1, -(-count // limit))
    return np.arange(0, count, step)


def read_outlines(path: Path, rows: NDArray[np.int_]) -> NDArray[np.object_]:
    """The geometries of ``rows`` (ascending), ``(len(rows),)`` shapely objects; None where nothing can be drawn."""
    outlines: list[NDArray[np.object_]] = [np.empty(0, dtype=object)]
    first = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["pai_geometry"]):
            inside = rows[(rows >= first) & (rows < first + len(batch))] - first
            outlines.append(drawable(batch.column(0).take(pa.array(inside, type=pa.int64())).to_pylist()))
            first += len(batch)
    return np.concatenate(outlines)


def drawable(wkb: list[bytes | None]) -> NDArray[np.object_]:
    """Shapes from WKB; None for null, empty, broken or infinite ones."""
    try:
        shapes = shapely.from_wkb(np.array([*wkb, None], dtype=object)[:-1], on_invalid="ignore")
    except NotImplementedError:  # one curve is enough for GEOS to refuse the whole array
        shapes = np.array([*(_shape(value) for value in wkb), None], dtype=object)[:-1]
    bounds = shapely.bounds(shapes)
    shapes[~np.isfinite(bounds).all(axis=1)] = None
    return shapes


def _shape(wkb: bytes | None) -> shapely.Geometry | None:
    try:
        return shapely.from_wkb(wkb, on_invalid="ignore")
    except NotImplementedError:
        return None

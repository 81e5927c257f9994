"""The new base map inside a small window, to draw beneath a close-up: a feature moved rightly lies on its lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray

from pipeline.map_file import map_file
from pipeline.master_map import LAYER
from pipeline.pages.map_frame import Extent
from pipeline.pages.outlines import drawable
from pipeline.storage import Migration
from transforms.errors import SourceError

NEAR_M = 40.0
MOST_READ = 100_000
"""Features of a base map that a page may read at once; of a larger map only the surroundings of a few are shown."""

_WINDOWS = 40


def new_map_around(migration: Migration, extent: Extent, shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Shapes of the new base map near ``shapes``, those near the first of them first."""
    if not len(shapes) or migration.settings.base_maps.after is None:
        return np.empty(0, dtype=object)
    boxes = shapely.box(*(shapely.bounds(shapes) + np.array([-1, -1, 1, 1]) * NEAR_M).T)
    if _count(migration) <= MOST_READ:
        read = read_new_map(migration, extent)
    else:
        windows = [read_new_map(migration, tuple(shapely.bounds(box))) for box in boxes[:_WINDOWS]]
        read = np.concatenate(windows)
    read = read[~shapely.is_missing(read)]
    _, near = shapely.STRtree(read).query(boxes, predicate="intersects")
    _, first = np.unique(near, return_index=True)
    return np.asarray(read[near[np.sort(first)]])


def _count(migration: Migration) -> int:
    try:
        path = _new_map(migration)
        return int(pyogrio.read_info(path, layer=LAYER)["features"]) if path else 0
    except (SourceError, pyogrio.errors.DataSourceError):
        return 0


def _new_map(migration: Migration) -> Path | None:
    settings = migration.settings.base_maps.after
    return map_file(migration, settings).path if settings else None


def read_new_map(migration: Migration, extent: Extent) -> NDArray[np.object_]:
    """Shapes of the new base map that touch ``extent``; none where the settings name no map or it cannot be read.

    A page must not fail for want of a background: that the base map is readable is the quality stage's business.
    """
    try:
        path = _new_map(migration)
        read = pyogrio.raw.read(path, layer=LAYER, columns=[], bbox=extent)[2] if path else []
    except (SourceError, pyogrio.errors.DataSourceError, ValueError):
        return np.empty(0, dtype=object)
    return drawable(list(read))

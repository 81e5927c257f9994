"""The shift as a triangulation that PROJ 7.2 and later apply with ``+proj=tinshift``.

Form: PROJ RFC 6. Every grid cell known at its four corners becomes two triangles.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pipeline.exchange.grid import Grid
from pipeline.exchange.path import quoted_path

MOST_NODES = 60_000
"""PROJ before 9.3 refuses a file over 10 MB."""

_CRS = "EPSG:27700"


def write_tinshift(grid: Grid, path: Path) -> None:
    """Write vertices (old and new place, millimetres kept) and triangles."""
    known = grid.known.ravel()
    number = np.cumsum(known) - 1
    before = grid.nodes[known]
    after = before + grid.shift.reshape(2, -1).T[known]
    content = {
        "file_type": "triangulation_file",
        "format_version": "1.0",
        "description": "Old Ordnance Survey map to the new one; easting, northing in metres",
        "input_crs": _CRS,
        "output_crs": _CRS,
        "transformed_components": ["horizontal"],
        "vertices_columns": ["source_x", "source_y", "target_x", "target_y"],
        "triangles_columns": ["idx_vertex1", "idx_vertex2", "idx_vertex3"],
        "vertices": np.hstack([before, after]).round(4).tolist(),
        "triangles": number[_triangles(grid)].tolist(),
    }
    path.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")


def tinshift_operation(path: Path) -> str:
    """The PROJ operation that applies the triangulation to National Grid metres."""
    return f"+proj=tinshift +file={quoted_path(path)}"


def _triangles(grid: Grid) -> np.ndarray:
    """Node numbers ``(t, 3)`` of two triangles for each cell known at its corners."""
    node = np.arange(grid.error_m.size).reshape(grid.error_m.shape)
    known = grid.known
    whole = known[:-1, :-1] & known[1:, :-1] & known[:-1, 1:] & known[1:, 1:]
    south_west, south_east = node[:-1, :-1][whole], node[:-1, 1:][whole]
    north_west, north_east = node[1:, :-1][whole], node[1:, 1:][whole]
    lower = np.stack([south_west, south_east, north_east], axis=1)
    upper = np.stack([south_west, north_east, north_west], axis=1)
    return np.concatenate([lower, upper])

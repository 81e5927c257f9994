"""Break lines that the officers know, read from a layer of lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.control_input.lines import open_line_layer
from transforms.errors import SourceError


def read_break_lines(path: Path) -> list[NDArray[np.float64]]:
    """The break lines of a vector file's one line layer, each ``(k, 2)`` easting, northing [m].

    Raises
    ------
    SourceError
        If the file cannot be read or holds no line.
    """
    with open_line_layer(path) as features:
        geometries = [feature.geometry for feature in features if feature.geometry is not None]
    lines = [
        np.array([place[:2] for place in part], dtype=np.float64)
        for geometry in geometries
        for part in (geometry.coordinates if geometry.type == "MultiLineString" else [geometry.coordinates])
        if len(part) >= 2
    ]
    if not lines:
        raise SourceError(
            f"Break layer {path.name} holds no line. Draw the known breaks, or leave control: breaks: out."
        )
    return lines

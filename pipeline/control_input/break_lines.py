"""Break lines that the officers know, read from a layer of lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.control_input.lines import open_line_layer
from qa.breaks import usable_rows
from transforms.breaks import Breaks
from transforms.contract import Control
from transforms.errors import SourceError


def known_breaks(path: Path, control: Control) -> Breaks:
    """The breaks that a layer of lines gives, over the land that the control covers.

    A row with a lost digit is no land: it would coarsen the raster by which the lines close off pieces.

    Raises
    ------
    SourceError
        As ``read_break_lines``.
    """
    usable = usable_rows(control)
    places = control.before[usable if usable.any() else np.isfinite(control.before).all(axis=1)]
    return Breaks.from_lines(read_break_lines(path), (*places.min(axis=0).tolist(), *places.max(axis=0).tolist()))


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

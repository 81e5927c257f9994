"""The breaks by which control was judged, as a file: the fit keeps to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.files import whole_file
from transforms.breaks import Breaks


def write_breaks(path: Path, breaks: Breaks) -> None:
    """Write the breaks to ``path``, whole or not at all.

    Raises
    ------
    ExportError
        If ``path`` cannot be written.
    """
    with whole_file(path) as beside, beside.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **breaks.to_arrays())


def read_breaks(path: Path) -> Breaks:
    """Read what ``write_breaks`` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return Breaks.from_arrays(arrays)

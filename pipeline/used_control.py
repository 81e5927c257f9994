"""The control that the shift was fitted to, for the stages after the fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.contract import Control

_PLACES = ("old_easting", "old_northing", "new_easting", "new_northing")


def used_control(control_table: Path) -> Control:
    """The control points of ``control.parquet`` whose verdict is ``used``: their places."""
    table = pq.read_table(control_table, columns=[*_PLACES, "verdict"])
    table = table.filter(pc.equal(table["verdict"], "used"))
    places = np.column_stack([table[name].to_numpy().astype(float) for name in _PLACES])
    return Control(places[:, :2], places[:, 2:])

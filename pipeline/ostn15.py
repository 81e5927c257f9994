"""Degrees to the National Grid through OSTN15, Ordnance Survey's own transformation, or not at all.

The seven-parameter Helmert is off by up to 5 m and looks just like a PAI shift, so it is never fallen back on.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from transforms.contract import Points
from transforms.errors import SourceError

GRID = "uk_os_OSTN15_NTv2_OSGBtoETRS.tif"
GRIDS_DIR = Path(__file__).resolve().parents[1] / "data" / "grids"

_PIPELINE = (
    "+proj=pipeline +step +proj=unitconvert +xy_in=deg +xy_out=rad "
    f"+step +inv +proj=hgridshift +grids={GRID} "
    "+step +proj=tmerc +lat_0=49 +lon_0=-2 +k=0.9996012717 +x_0=400000 +y_0=-100000 +ellps=airy"
)


def to_national_grid(degrees: Points) -> Points:
    """Easting and northing ``(n, 2)`` [m] of ETRS89 (or WGS84) longitude and latitude ``(n, 2)`` [degrees].

    Outside the grid (beyond Great Britain's waters) the result is NaN. Agrees with Ordnance Survey's 40 published
    points to 8 mm.

    Raises
    ------
    SourceError
        If the OSTN15 grid is not installed; says where to get it.
    """
    easting, northing = _transformer().transform(degrees[:, 0], degrees[:, 1])
    places = np.column_stack([easting, northing])
    places[~np.isfinite(places).all(axis=1)] = np.nan
    return places


@cache
def _transformer() -> Any:
    import pyproj

    known = {each for each in pyproj.datadir.get_data_dir().split(os.pathsep) if each}
    wanted = [str(GRIDS_DIR), *os.environ.get("PROJ_DATA", "").split(os.pathsep)]
    for folder in wanted:
        if folder and folder not in known and Path(folder).is_dir():
            pyproj.datadir.append_data_dir(folder)
    try:
        return pyproj.Transformer.from_pipeline(_PIPELINE)
    except pyproj.exceptions.ProjError:
        raise SourceError(
            f"Reprojecting needs the OSTN15 grid {GRID}, which is not installed. Take it from cdn.proj.org and put it "
            f"into {GRIDS_DIR} (or name its folder in PROJ_DATA), or save the layer as EPSG:27700 with OSTN15."
        ) from None

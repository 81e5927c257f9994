"""The shift as a GeoTIFF grid that PROJ 9.4 and later apply with ``+proj=gridshift``.

Form: PROJ's specification "Geodetic TIFF grids", type HORIZONTAL_OFFSET in a projected reference system.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import Affine

from pipeline.exchange.grid import Grid
from pipeline.exchange.path import quoted_path

MOST_NODES = 2_000_000
BANDS = ("easting_offset", "northing_offset", "easting_offset_accuracy", "northing_offset_accuracy")


def write_geotiff(grid: Grid, path: Path) -> None:
    """Write offsets and their accuracy [m], one standard error for each axis; NaN where nothing is known."""
    axis_error = grid.error_m / np.sqrt(2.0)
    bands = np.stack([grid.shift[0], grid.shift[1], axis_error, axis_error]).astype(np.float32)
    rows, columns = grid.error_m.shape
    half = grid.spacing_m / 2
    north_west = grid.origin + grid.spacing_m * np.array([0, rows - 1]) + [-half, half]
    transform = Affine(grid.spacing_m, 0, north_west[0], 0, -grid.spacing_m, north_west[1])
    profile = {"driver": "GTiff", "count": len(BANDS), "dtype": "float32", "compress": "deflate", "predictor": 3}
    with rasterio.open(
        path, "w", **profile, width=columns, height=rows, crs="EPSG:27700", transform=transform, nodata=np.nan
    ) as target:
        target.write(bands[:, ::-1])
        target.update_tags(
            AREA_OR_POINT="Point",
            TYPE="HORIZONTAL_OFFSET",
            target_crs_epsg_code="27700",
            interpolation_method="bilinear",
        )
        for number, name in enumerate(BANDS, start=1):
            target.set_band_description(number, name)
            target.set_band_unit(number, "metre")
            target.update_tags(number, positive_value="east" if number % 2 else "north")


def geotiff_operation(path: Path) -> str:
    """The PROJ operation that applies the grid to National Grid metres."""
    return f"+proj=gridshift +grids={quoted_path(path)} +no_z_transform"

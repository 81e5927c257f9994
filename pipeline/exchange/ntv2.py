"""The shift as an NTv2 grid, for software that knows no other.

NTv2 shifts latitude and longitude. The old and the new place are both taken back to OSGB36 latitude and longitude by
the exact inverse of the National Grid's projection: no datum change is involved, and applying the grid between the
two projections gives the shift again. Source of the form: NTv2 Developer's Guide, Geodetic Survey of Canada (1997).
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from pipeline.exchange.grid import Grid
from pipeline.exchange.path import quoted_path
from transforms.contract import Points, ShiftField
from transforms.errors import FieldError

MOST_NODES = 1_000_000
NATIONAL_GRID = "+proj=tmerc +lat_0=49 +lon_0=-2 +k=0.9996012717 +x_0=400000 +y_0=-100000 +ellps=airy +units=m +no_defs"
METRES_PER_SECOND = 30.9
UNKNOWN_ACCURACY = -1.0


def write_ntv2(field: ShiftField, grid: Grid, path: Path) -> None:
    """Write the shift in seconds of arc; nodes outside the field get none, with accuracy -1.

    Raises
    ------
    FieldError
        If the field lies outside the National Grid, where latitude and longitude mean nothing.
    """
    to_degrees = Transformer.from_pipeline(
        f"+proj=pipeline +step +inv {NATIONAL_GRID} +step +proj=unitconvert +xy_in=rad +xy_out=deg"
    )
    longitude, latitude = _axes(grid, to_degrees)
    degrees = np.stack(np.meshgrid(longitude, latitude), axis=-1).reshape(-1, 2)
    places = np.stack(to_degrees.transform(degrees[:, 0], degrees[:, 1], direction="INVERSE"), axis=1)
    moved = np.stack(to_degrees.transform(*field(places).T), axis=1)
    seconds = 3600.0 * (moved - degrees)
    # NTv2 counts longitude westward.
    values = np.column_stack([seconds[:, 1], -seconds[:, 0], *_accuracy_seconds(field, places, degrees)])
    known = np.isfinite(seconds).all(axis=1)
    values[~known] = [0.0, 0.0, UNKNOWN_ACCURACY, UNKNOWN_ACCURACY]
    nodes = values.reshape(len(latitude), len(longitude), 4)[:, ::-1].astype("<f4")
    path.write_bytes(_header(latitude, longitude) + nodes.tobytes() + b"END     " + struct.pack("<d", 0.0))


def ntv2_operation(path: Path) -> str:
    """The PROJ operation that applies the grid to National Grid metres."""
    shift = f"+proj=hgridshift +grids={quoted_path(path)}"
    return f"+proj=pipeline +step +inv {NATIONAL_GRID} +step {shift} +step {NATIONAL_GRID}"


def _axes(grid: Grid, to_degrees: Transformer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitudes and latitudes of the nodes in degrees, rising, about ``spacing_m`` apart."""
    places = grid.nodes[grid.known.ravel()]
    longitude, latitude = to_degrees.transform(*places.T)
    back = np.stack(to_degrees.transform(longitude, latitude, direction="INVERSE"), axis=1)
    if not np.allclose(back, places, rtol=0, atol=1e-3):
        raise FieldError(
            "NTv2 needs places of the National Grid (EPSG:27700); the fitted shift lies outside it. "
            "Export .json or .tif instead."
        )
    northward = grid.spacing_m / METRES_PER_SECOND
    return _rising(longitude, northward / np.cos(np.radians(latitude.mean()))), _rising(latitude, northward)


def _rising(degrees: NDArray[np.float64], step_seconds: float) -> NDArray[np.float64]:
    # Steps of a whole thousandth of a second, from a whole second: the header must give the same nodes.
    step = max(round(step_seconds, 3), 0.001)
    low = np.floor(degrees.min() * 3600.0)
    count = int(np.ceil((degrees.max() * 3600.0 - low) / step)) + 1
    return (low + step * np.arange(count)) / 3600.0


def _accuracy_seconds(
    field: ShiftField, places: Points, degrees: Points
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Standard error in latitude and in longitude, in metres as the form asks for, half the variance each."""
    axis_error = field.uncertainty(places) / np.sqrt(2.0)
    return axis_error, axis_error


def _header(latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> bytes:
    south, north = latitude[[0, -1]] * 3600.0
    west, east = -longitude[[0, -1]] * 3600.0
    day = datetime.now(UTC).strftime("%Y%m%d").encode()
    records = [
        *(("NUM_OREC", 11), ("NUM_SREC", 11), ("NUM_FILE", 1), ("GS_TYPE ", b"SECONDS "), ("VERSION ", b"POST-PAI")),
        *(("SYSTEM_F", b"OSGB OLD"), ("SYSTEM_T", b"OSGB NEW")),
        *(("MAJOR_F ", 6377563.396), ("MINOR_F ", 6356256.909237285)),
        *(("MAJOR_T ", 6377563.396), ("MINOR_T ", 6356256.909237285)),
        *(("SUB_NAME", b"SHIFT   "), ("PARENT  ", b"NONE    "), ("CREATED ", day), ("UPDATED ", day)),
        *(("S_LAT   ", south), ("N_LAT   ", north), ("E_LONG  ", east), ("W_LONG  ", west)),
        *(("LAT_INC ", (north - south) / (len(latitude) - 1)), ("LONG_INC", (west - east) / (len(longitude) - 1))),
        ("GS_COUNT", len(latitude) * len(longitude)),
    ]
    return b"".join(_record(name, value) for name, value in records)


def _record(name: str, value: int | float | bytes) -> bytes:
    if isinstance(value, bytes):
        return name.encode() + value
    return name.encode() + (struct.pack("<i4x", value) if isinstance(value, int) else struct.pack("<d", float(value)))

"""Since when the council's map of each tile is the new one: the optional table of tiles and days."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.control_input.tile_names import tile_extent
from pipeline.storage import Migration
from transforms.errors import SettingsError

Days = NDArray[np.datetime64]

NEVER = np.datetime64("9999-12-31", "D")
"""The day of a tile that never changed: every capture there is from before it."""


@dataclass(frozen=True)
class TileDates:
    """Rectangles of the National Grid with the day their new map came.

    Parameters
    ----------
    extents
        ``(t, 4)`` least easting, least northing, greatest easting, greatest northing [m].
    days
        ``(t,)`` datetime64[D]; ``NEVER`` for a tile that never changed.
    """

    extents: NDArray[np.float64]
    days: Days

    def about(self, geometries: NDArray[np.object_], default: np.datetime64) -> tuple[Days, Days, NDArray[np.bool_]]:
        """The first and the last of the days of the tiles that each feature touches, and whether none ever changed.

        ``default`` is the day where no tile of the table lies. Where small tiles lie in a large one of the table, the
        smallest counts.

        Parameters
        ----------
        geometries
            ``(n,)``; None and empty ones are given ``default``.
        default
            The day elsewhere; NaT where nobody knows.
        """
        bounds = shapely.bounds(geometries)
        corners = np.stack([bounds[:, [east, north]] for east in (0, 2) for north in (1, 3)], axis=1)
        days = self._at(corners.reshape(-1, 2), default).reshape(-1, 4)
        return days.min(axis=1), days.max(axis=1), (days == NEVER).all(axis=1)

    def _at(self, places: NDArray[np.float64], default: np.datetime64) -> Days:
        days = np.full(len(places), default, dtype="datetime64[D]")
        side = self.extents[:, 2] - self.extents[:, 0]
        easting, northing = places.T
        for tile in np.argsort(-side, kind="stable"):
            west, south, east, north = self.extents[tile]
            days[(west <= easting) & (easting < east) & (south <= northing) & (northing < north)] = self.days[tile]
        return days


def read_tile_dates(migration: Migration) -> TileDates | None:
    """The table of tiles that the settings name; None if they name none.

    A CSV file with the columns ``tile`` (500 m, 1 km, 5 km or 10 km: SK0472SE, SK0474, SK07SW, SK07) and ``date``
    (2005-06-01 or 01/06/2005). Without a date the tile never changed: urban 1:1250 and upland 1:10 000 mapping.

    Raises
    ------
    SettingsError
        If the file is missing, has other columns, a row cannot be understood, or two rows contradict each other.
    """
    file = migration.settings.base_maps.tile_dates
    if file is None:
        return None
    path = migration.source(file)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"base_maps: tile_dates {path} cannot be read ({error}). Correct migration.yaml.") from None
    if not rows or not {"tile", "date"} <= set(rows[0]):
        raise SettingsError(f"base_maps: tile_dates {path} needs the columns tile and date and at least one row.")
    read = [_row(path, number, row) for number, row in enumerate(rows, start=2)]
    day_of = dict(read)
    for number, (extent, day) in enumerate(read, start=2):
        if day != day_of[extent]:
            raise SettingsError(f"{path} line {number}: a later line gives the same tile another day. Delete one.")
    return TileDates(np.array([extent for extent, _ in read]), np.array([day for _, day in read]))


def _row(path: Path, number: int, row: dict[str, str]) -> tuple[tuple[float, float, float, float], np.datetime64]:
    extent = tile_extent(row["tile"] or "")
    if extent is None:
        raise SettingsError(f"{path} line {number}: {row['tile']!r} is no tile name such as SK0474 or SK07SW.")
    return extent, _day(path, number, (row["date"] or "").strip())


def _day(path: Path, number: int, text: str) -> np.datetime64:
    if not text:
        return NEVER
    for form in ("%Y-%m-%d", "%d/%m/%Y"):
        try:
            return np.datetime64(datetime.strptime(text, form).date(), "D")
        except ValueError:
            continue
    raise SettingsError(f"{path} line {number}: {text!r} is no date such as 2005-06-01 or 01/06/2005.")

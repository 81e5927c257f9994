"""A raster over polylines: how far the nearest line is, roughly and fast, and which areas the lines close off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy
from numpy.typing import NDArray

from .bilinear import Cells
from .complex_places import is_place, length
from .contract import Points

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]

CELLS = 2000
"""Cells along the longer side of the raster: about 10 m for a borough."""

FINEST_CELL_M = 2.0


@dataclass(frozen=True)
class LineRaster:
    """A grid over the lines.

    Parameters
    ----------
    origin
        ``(2,)`` south-west corner, metres.
    cell_m
        Side of a cell.
    dense, line
        ``(d, 2)`` and ``(d,)`` places along the lines, closer than the cells, and the line of each.
    dense_in
        ``(rows, columns)`` one of these places in each cell that a line passes through, else -1; rows run north.
    """

    origin: Points
    cell_m: float
    dense: Points
    line: Ints
    dense_in: NDArray[np.int32]

    @classmethod
    def around(cls, lines: Sequence[Points], extent: Floats, margin: int) -> LineRaster:
        """A raster over ``extent`` (lowest easting, northing, then highest) and ``margin`` cells beyond it."""
        low, high = extent[:2], extent[2:]
        cell_m = max(float((high - low).max()) / CELLS, FINEST_CELL_M)
        origin = low - margin * cell_m
        columns, rows = np.ceil((high - low) / cell_m).astype(int) + 2 * margin + 1
        of_each = [places_along([line], cell_m / 4.0) for line in lines]
        dense = np.concatenate(of_each)
        within = ((dense >= origin) & (dense < origin + cell_m * np.array([columns, rows]))).all(axis=1)
        dense_in = np.full((rows, columns), -1, dtype=np.int32)
        dense_in[_cells(dense[within], origin, cell_m, dense_in.shape)] = np.flatnonzero(within)
        return cls(origin, cell_m, dense, np.repeat(np.arange(len(lines)), [len(each) for each in of_each]), dense_in)

    @cached_property
    def on_line(self) -> NDArray[np.bool_]:
        """Cells that a line passes through."""
        return self.dense_in >= 0

    @cached_property
    def _nearest_dense(self) -> NDArray[np.int32]:
        """The place on a line that lies in the nearest cell on one, ``(rows, columns)``."""
        row, column = scipy.ndimage.distance_transform_edt(~self.on_line, return_distances=False, return_indices=True)
        return self.dense_in[row, column]

    @cached_property
    def _distance_of_centre(self) -> Floats:
        """Distance in metres from each cell's centre to a line: too long by a fraction of a cell beside one."""
        away = self.centres(np.argwhere(np.ones_like(self.on_line))) - self.dense[self._nearest_dense.ravel()]
        return length(away).reshape(self.on_line.shape)

    def distance_m(self, points: Points) -> Floats:
        """Distance in metres from each point to the nearest line, to a fraction of a cell."""
        row_and_column = ((points - self.origin) / self.cell_m - 0.5)[:, ::-1].T
        cells = Cells.at(row_and_column, self.on_line.shape)
        distance = cells.look_up(self._distance_of_centre)
        outside = np.flatnonzero(~cells.inside)
        distance[outside] = length(points[outside] - self.dense[self.dense_near(points[outside])])
        return distance

    def at_least_m(self, points: Points) -> Floats:
        """A distance in metres that no point is nearer to a line than; infinite for what is no place."""
        bound = self._distance_of_centre[self.cells(points)] - self.cell_m
        return np.where(is_place(points), bound, np.inf)

    def dense_near(self, points: Points) -> NDArray[np.int32]:
        """The place along a line, a row of ``dense``, that is nearest to the cell of each point."""
        return self._nearest_dense[self.cells(points)]

    @cached_property
    def near_line(self) -> NDArray[np.bool_]:
        """Cells on a line and those that touch one."""
        return scipy.ndimage.binary_dilation(self.on_line, np.ones((3, 3)))

    @cached_property
    def areas(self) -> NDArray[np.int32]:
        """Areas that the lines close off, numbered from 1; 0 near the lines."""
        return scipy.ndimage.label(~self.near_line)[0]

    def cells(self, points: Points) -> tuple[Ints, Ints]:
        """Row and column of each point's cell, the nearest one for points outside."""
        return _cells(points, self.origin, self.cell_m, self.on_line.shape)

    def centres(self, cell: Ints) -> Points:
        """The middles of cells given by row and column."""
        return self.origin + (cell[:, ::-1] + 0.5) * self.cell_m


def places_along(lines: Sequence[Points], step_m: float) -> Points:
    """Points along all lines, at most ``step_m`` apart."""
    start = np.concatenate([line[:-1] for line in lines])
    whole = np.concatenate([line[1:] for line in lines]) - start
    parts = np.ceil(np.hypot(*whole.T) / step_m).astype(int) + 1
    step = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    share = step / np.maximum(np.repeat(parts, parts) - 1, 1)
    return np.repeat(start, parts, axis=0) + share[:, None] * np.repeat(whole, parts, axis=0)


def _cells(points: Points, origin: Points, cell_m: float, shape: tuple[int, ...]) -> tuple[Ints, Ints]:
    place = np.clip((points - origin) / cell_m, 0.0, np.array(shape[::-1]) - 1.0)
    inside = np.where(np.isnan(place), 0.0, place).astype(np.int64)
    return inside[:, 1], inside[:, 0]

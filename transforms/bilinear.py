"""Looking up a regular grid between its nodes, by the million.

Where a place lies in the grid is worked out once, for every quantity that is looked up there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """The cells of a grid that places lie in.

    Parameters
    ----------
    corner
        ``(n,)`` number of the south-west node of each cell, counted along the rows of the grid.
    east, north
        ``(n,)`` how far on in the cell, 0 to 1.
    inside
        ``(n,)`` whether the place lies in the grid at all.
    columns
        Nodes in a row.
    """

    corner: NDArray[np.int32]
    east: Floats
    north: Floats
    inside: NDArray[np.bool_]
    columns: int

    @classmethod
    def at(cls, place: Floats, shape: tuple[int, ...]) -> Self:
        """The cells of a grid of ``shape`` (at least 2 by 2) at ``place`` ``(2, n)``: row and column, with fractions.

        Examples
        --------
        >>> grid = np.array([[0.0, 1.0], [10.0, 11.0]])
        >>> Cells.at(np.array([[0.5, 1.0, 2.0], [0.5, 1.0, 0.0]]), grid.shape).look_up(grid)
        array([ 5.5, 11. ,  nan])
        """
        rows, columns = shape
        north, east = place
        inside = (north >= 0) & (north <= rows - 1) & (east >= 0) & (east <= columns - 1)
        if not inside.all():
            north, east = np.where(inside, place, 0.0)
        row = np.minimum(north.astype(np.int32), rows - 2)
        column = np.minimum(east.astype(np.int32), columns - 2)
        return cls(row * np.int32(columns) + column, east - column, north - row, inside, columns)

    def look_up(self, grid: Floats) -> Floats:
        """The values ``(n,)`` of ``grid``, bilinear between its nodes; NaN outside, or where a corner is NaN."""
        nodes = grid.ravel()
        south = self._along_row(nodes, self.corner)
        value = self._along_row(nodes, self.corner + np.int32(self.columns))
        value -= south
        value *= self.north
        value += south
        value[~self.inside] = np.nan
        return value

    def _along_row(self, nodes: Floats, west: NDArray[np.int32]) -> Floats:
        here = nodes.take(west)
        step = nodes.take(west + np.int32(1))
        step -= here
        step *= self.east
        step += here
        return step

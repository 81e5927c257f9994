"""A field as a table: shift and standard error on a regular grid, looked up by bilinear interpolation.

The cost of a place does not depend on control, and the look-up is the same arithmetic for every row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from .bilinear import Cells
from .contract import Points

Floats = NDArray[np.float64]

Source = Callable[[Points], tuple[Points, NDArray[np.float64]]]
"""Places -> shift ``(n, 2)`` [m] and radial standard error ``(n,)`` [m] there."""

MOST_NODES = 200_000
FEWEST_CELLS = 16
SAMPLES = 60
MOST_PLACES = 0.9
ROWS_AT_ONCE = 1 << 14
"""Rows whose coordinates, results and temporaries stay in the processor's cache."""


@dataclass(frozen=True)
class Table:
    """Shift and standard error at the nodes of a grid.

    Parameters
    ----------
    origin
        ``(2,)`` easting, northing in metres of node (0, 0).
    spacing_m
        Distance in metres between nodes, both ways.
    shift
        ``(2, rows, columns)`` new minus old in metres; rows run north, NaN where nothing is known.
    error_m
        ``(rows, columns)`` radial standard error in metres.
    deviation_m
        Difference in metres from the tabulated function between the nodes, at nine places of ten.
    """

    origin: NDArray[np.float64]
    spacing_m: float
    shift: NDArray[np.float64]
    error_m: NDArray[np.float64]
    deviation_m: float

    @classmethod
    def of(
        cls,
        source: Source,
        covers: Callable[[Points], NDArray[np.bool_]],
        extent: NDArray[np.float64],
        tolerance_m: float,
    ) -> Table:
        """Tabulate ``source`` where ``covers`` says so, finely enough for ``tolerance_m``.

        Parameters
        ----------
        source
            The function of place to tabulate.
        covers
            Which places are to be covered.
        extent
            Lowest easting, northing and highest easting, northing ``(4,)`` in metres.
        tolerance_m
            Largest deviation of the bilinear surface from ``source``; ``deviation_m`` says what was reached,
            since the number of nodes is bounded.
        """
        sample = _sample(covers, extent)
        spacing_m, deviation_m = _fine_enough(source, sample, extent, tolerance_m)
        origin = extent[:2] - 2 * spacing_m
        columns, rows = (np.ceil((extent[2:] - origin) / spacing_m).astype(int) + 3).tolist()
        nodes = _nodes(origin, spacing_m, rows, columns)
        # A cell is covered when a corner is, and then all four must be known.
        wanted = scipy.ndimage.binary_dilation(covers(nodes).reshape(rows, columns), np.ones((3, 3)))
        at = np.flatnonzero(wanted)
        shift, error_m = np.full((2, rows * columns), np.nan), np.full(rows * columns, np.nan)
        values, error_m[at] = source(nodes[at])
        shift[:, at] = values.T
        return cls(origin, spacing_m, shift.reshape(2, rows, columns), error_m.reshape(rows, columns), deviation_m)

    def shift_at(self, points: Points) -> Points:
        """New minus old ``(n, 2)`` in metres; NaN outside the table."""
        shift = np.empty(points.shape)
        for rows, cells in self._cells(points):
            shift[rows, 0] = cells.look_up(self.shift[0])
            shift[rows, 1] = cells.look_up(self.shift[1])
        return shift

    def error_at(self, points: Points) -> NDArray[np.float64]:
        """Radial standard error ``(n,)`` in metres; NaN outside the table."""
        error_m = np.empty(len(points))
        for rows, cells in self._cells(points):
            error_m[rows] = cells.look_up(self.error_m)
        return error_m

    def covers(self, points: Points) -> NDArray[np.bool_]:
        """Which points lie in cells known at all four corners, ``(n,)``."""
        return np.isfinite(self.error_at(points))

    def straight_length_m(self, tolerance_m: float) -> float:
        """Length of a segment up to which its image stays within ``tolerance_m`` of the chord of its ends' images.

        So short a segment lies in two by two cells; its image strays by no more than a quarter of the segment's length
        times what the strain differs by among them.
        """
        return min(self.spacing_m, 4.0 * tolerance_m / max(self._strain_difference, 1e-12))

    @cached_property
    def _strain_difference(self) -> float:
        """The most that the change of shift per metre differs by within two by two cells, over all of them."""
        square = np.zeros(1)
        for axis, window in ((1, (2, 3)), (2, (3, 2))):
            strain = sliding_window_view(np.diff(self.shift, axis=axis) / self.spacing_m, window, axis=(1, 2))
            range_m = np.fmax.reduce(strain, axis=(3, 4)) - np.fmin.reduce(strain, axis=(3, 4))
            square = square + (range_m**2).sum(axis=0)
        return float(np.sqrt(np.fmax.reduce(square, axis=None, initial=0.0)))

    def refined(self, most_spacing_m: float) -> Table:
        """The same surface on nodes at most ``most_spacing_m`` apart, as far as the number of nodes is bounded."""
        rows, columns = self.error_m.shape
        affordable = np.sqrt(MOST_NODES / (rows * columns))
        parts = int(min(np.ceil(self.spacing_m / max(most_spacing_m, 1e-9)), max(affordable, 1.0)))
        if parts < 2:
            return self
        east, north, error_m = (_between(grid, parts) for grid in (*self.shift, self.error_m))
        return replace(self, spacing_m=self.spacing_m / parts, shift=np.stack([east, north]), error_m=error_m)

    def restated(self, stated: Callable[[Points, Points, Floats], Floats]) -> Table:
        """The same shift with other standard errors at its nodes.

        Parameters
        ----------
        stated
            Nodes ``(n, 2)``, their shift ``(n, 2)`` and standard error ``(n,)`` -> new standard error ``(n,)``.
        """
        rows, columns = self.error_m.shape
        nodes = _nodes(self.origin, self.spacing_m, rows, columns)
        error_m = stated(nodes, self.shift.reshape(2, -1).T, self.error_m.ravel())
        return replace(self, error_m=error_m.reshape(rows, columns))

    def _cells(self, points: Points) -> Iterator[tuple[slice, Cells]]:
        """Slices of ``points`` with the cells they lie in."""
        for start in range(0, len(points), ROWS_AT_ONCE):
            part = slice(start, min(start + ROWS_AT_ONCE, len(points)))
            column, row = ((points[part] - self.origin) / self.spacing_m).T
            yield part, Cells.at(np.stack([row, column]), self.error_m.shape)


def _between(grid: Floats, parts: int) -> Floats:
    """``grid`` with ``parts`` steps to each of its cells, bilinear; NaN where a corner that counts is NaN."""
    rows, columns = ((np.arange((count - 1) * parts + 1) / parts) for count in grid.shape)
    place = np.stack(np.meshgrid(rows, columns, indexing="ij")).reshape(2, -1)
    known = np.isfinite(grid)
    # An unknown corner must count for nothing on the edge across from it, where its weight is 0.
    cells = Cells.at(place, grid.shape)
    weight = cells.look_up(known.astype(float))
    value = cells.look_up(np.where(known, grid, 0.0))
    return np.where(weight > 1.0 - 1e-9, value, np.nan).reshape(len(rows), len(columns))


def _nodes(origin: NDArray[np.float64], spacing_m: float, rows: int, columns: int) -> Points:
    north, east = np.mgrid[:rows, :columns]
    return origin + spacing_m * np.stack([east.ravel(), north.ravel()], axis=1).astype(float)


def _sample(covers: Callable[[Points], NDArray[np.bool_]], extent: NDArray[np.float64]) -> Points:
    """Places spread evenly over what is covered; the same whenever the extent is."""
    # Here, because scipy.stats takes half a second to load and a table that is only read needs none of it.
    from scipy.stats import qmc

    spread = qmc.Halton(2, scramble=False).random(20 * SAMPLES)
    places = extent[:2] + spread * (extent[2:] - extent[:2])
    return places[covers(places)][:SAMPLES]


def _fine_enough(
    source: Source, sample: Points, extent: NDArray[np.float64], tolerance_m: float
) -> tuple[float, float]:
    """The node spacing [m] at which bilinear cells keep the tolerance at the sample, and the deviation then."""
    sides = extent[2:] - extent[:2]
    finest = float(np.sqrt(sides.prod() / MOST_NODES))
    spacing_m = max(float(sides.max()) / FEWEST_CELLS, finest)
    while True:
        deviation_m = _bend(source, sample, spacing_m)
        if deviation_m <= tolerance_m or spacing_m <= finest:
            return spacing_m, deviation_m
        # A smooth bend falls with the square of the spacing; kinks fall slower and take another turn.
        spacing_m = max(spacing_m * min(0.9 * np.sqrt(tolerance_m / deviation_m), 0.7), finest)


def _bend(source: Source, sample: Points, spacing_m: float) -> float:
    """Distance [m] between ``source`` at the middle of a cell and the mean of the cell's corners, at most places.

    A tenth of the places may stray more: a kink or a seam is not worth a finer grid everywhere.
    """
    if len(sample) == 0:
        return 0.0
    corners = 0.5 * spacing_m * np.array([[0, 0], [-1, -1], [-1, 1], [1, -1], [1, 1]])
    shift = source((sample + corners[:, None]).reshape(-1, 2))[0].reshape(5, -1, 2)
    gap = shift[0] - shift[1:].mean(axis=0)
    finite = np.isfinite(gap).all(axis=1)
    return float(np.quantile(np.hypot(*gap[finite].T), MOST_PLACES)) if finite.any() else 0.0

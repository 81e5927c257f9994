"""The shift and its variance given control and a covariance: universal kriging in moving neighbourhoods.

Small control is used whole, hence exactly. Large control is first averaged within cells much smaller than
the correlation's length, then used by tiles: each tile sees its nearest ``NEIGHBOURS`` means, so that no
matrix grows with the amount of control.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.spatial import cKDTree

from .contract import Control, Points
from .covariance import LEAST_NOISE_RATIO, Covariance, trend_design
from .support import mean_spacing_m
from .trend import Frame

MOST_WHOLE = 1200
"""Control up to here is used whole."""

NEIGHBOURS = 300
"""Control of one neighbourhood beyond that."""

TILE_SPACINGS = 6.0
"""Side of a tile in spacings: about a tenth of a neighbourhood, whose rim is then five spacings away."""

ROWS_AT_ONCE = 4096

CELL_LENGTHS = np.geomspace(0.1, 0.001, 21)
"""Sides of averaging cells tried, in correlation lengths."""

CELL_ERROR_RATIO = 0.1
"""Largest variance by which the mean of a cell may miss the shift at its middle, over that of its control's noise."""

_PLACES_IN_CELL = 6


@dataclass(frozen=True)
class Posterior:
    """Prediction of the shift from ``before``, ``shift`` and the noise of each.

    Parameters
    ----------
    before, shift
        ``(n, 2)`` control places and their shift in metres.
    noise_ratio
        ``(n,)`` noise variance over the covariance's.
    covariance
        The covariance of the shift about its trend.
    """

    before: Points
    shift: Points
    noise_ratio: NDArray[np.float64]
    covariance: Covariance

    @classmethod
    def given(cls, control: Control, covariance: Covariance) -> Posterior:
        """The posterior given ``control``; large control is averaged in cells first."""
        noise = np.maximum(covariance.noise(control.code), LEAST_NOISE_RATIO)
        whole = cls(control.before, control.shift, noise, covariance)
        return whole if len(control) <= MOST_WHOLE else whole._averaged(whole._cell_m())

    def at(self, points: Points) -> tuple[Points, NDArray[np.float64]]:
        """Shift ``(n, 2)`` [m] and radial standard error ``(n,)`` [m] of the field (without noise)."""
        shift, relative = np.empty(points.shape), np.empty(len(points))
        for rows, neighbourhood in self._neighbourhoods(points):
            shift[rows], relative[rows] = neighbourhood.at(points[rows])
        return shift, np.sqrt(self.covariance.variance_m2.sum() * relative)

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.before)

    @cached_property
    def _tile_m(self) -> float:
        return TILE_SPACINGS * mean_spacing_m(self.before)

    @cached_property
    def _whole(self) -> _Neighbourhood:
        return self._neighbourhood(np.arange(len(self.before)))

    def _neighbourhood(self, rows: NDArray[np.int_]) -> _Neighbourhood:
        return _Neighbourhood.of(self.before[rows], self.shift[rows], self.noise_ratio[rows], self.covariance)

    def _neighbourhoods(self, points: Points) -> Iterator[tuple[NDArray[np.int_], _Neighbourhood]]:
        """Rows of ``points`` that share a neighbourhood, with it; a bounded number of rows at a time."""
        if len(self.before) <= MOST_WHOLE:
            yield from ((rows, self._whole) for rows in _portions(np.arange(len(points))))
            return
        for tile, centre in _tiles(points, self._tile_m):
            near = self._neighbourhood(self._tree.query(centre, NEIGHBOURS)[1])
            yield from ((rows, near) for rows in _portions(tile))

    def _cell_m(self) -> float:
        """Side of the largest cells [m] whose means stand for the shift at their middles as well as noise lets them."""
        sides = CELL_LENGTHS * self.covariance.length_m
        control_in_cell = np.maximum((sides / mean_spacing_m(self.before)) ** 2, 1.0)
        noise_of_mean = np.median(self.noise_ratio) / control_in_cell
        fine_enough = [_error_of_mean(self.covariance, side_m) for side_m in sides] <= CELL_ERROR_RATIO * noise_of_mean
        return float(sides[np.argmax(fine_enough)] if fine_enough.any() else sides[-1])

    def _averaged(self, side_m: float) -> Posterior:
        """The posterior from the means of control within cells, each weighted by its precision."""
        column_row = np.floor((self.before - self.before.min(axis=0)) / side_m).astype(np.int64)
        cell = np.unique(column_row[:, 0] * (column_row[:, 1].max() + 1) + column_row[:, 1], return_inverse=True)[1]
        weight = 1.0 / self.noise_ratio
        total = np.asarray(np.bincount(cell, weight), dtype=float)
        before, shift = (_weighted_means(values, weight, cell, total) for values in (self.before, self.shift))
        return Posterior(before, shift, 1.0 / total, self.covariance)


def _error_of_mean(covariance: Covariance, side_m: float) -> float:
    """Variance of the mean shift of a square cell about the shift at its middle, over the covariance's."""
    along = side_m * ((np.arange(_PLACES_IN_CELL) + 0.5) / _PLACES_IN_CELL - 0.5)
    places = np.stack(np.meshgrid(along, along), axis=2).reshape(-1, 2)
    from_middle = covariance.correlation(places, np.zeros((1, 2)))
    return float(1.0 + covariance.correlation(places, places).mean() - 2.0 * from_middle.mean())


def _portions(rows: NDArray[np.int_]) -> list[NDArray[np.int_]]:
    return np.array_split(rows, -(-len(rows) // ROWS_AT_ONCE)) if len(rows) else []


def _weighted_means(
    values: Points, weight: NDArray[np.float64], cell: NDArray[np.int_], total: NDArray[np.float64]
) -> Points:
    # About the mean, since sums of National Grid coordinates times weights lose digits.
    middle = values.mean(axis=0)
    centred = values - middle
    return np.stack([np.bincount(cell, weight * column) / total for column in centred.T], axis=1) + middle


def _tiles(points: Points, side_m: float) -> Iterator[tuple[NDArray[np.int_], Points]]:
    """Rows of ``points`` by square tile, with the tile's centre."""
    if len(points) == 0:
        return
    low = points.min(axis=0)
    column_row = np.floor((points - low) / side_m).astype(np.int64)
    key = column_row[:, 0] * (column_row[:, 1].max() + 1) + column_row[:, 1]
    order = np.argsort(key, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
        yield rows, low + (column_row[rows[0]] + 0.5) * side_m


@dataclass(frozen=True)
class _Neighbourhood:
    """Control of one neighbourhood, solved once for all places that use it."""

    before: Points
    covariance: Covariance
    frame: Frame
    root: NDArray[np.float64]
    trend: NDArray[np.float64]
    trend_root: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def of(
        cls, before: Points, shift: Points, noise_ratio: NDArray[np.float64], covariance: Covariance
    ) -> _Neighbourhood:
        """Solve for the trend's coefficients and the weights of the residual.

        Source: Rasmussen and Williams (2006), equations 2.41 and 2.42.
        """
        frame = Frame.of(before)
        matrix = covariance.correlation(before, before)
        matrix[np.diag_indices_from(matrix)] += noise_ratio
        root = cholesky(matrix, lower=True, check_finite=False)
        design = trend_design(frame(before))
        trend = cho_solve((root, True), design, check_finite=False)
        trend_root = cholesky(design.T @ trend, lower=True)
        coefficients = cho_solve((trend_root, True), trend.T @ shift)
        weights = cho_solve((root, True), shift - design @ coefficients, check_finite=False)
        return cls(before, covariance, frame, root, trend, trend_root, coefficients, weights)

    def at(self, points: Points) -> tuple[Points, NDArray[np.float64]]:
        """Shift ``(n, 2)`` [m] and its variance ``(n,)`` over the covariance's."""
        near = self.covariance.correlation(self.before, points)
        unit = self.frame(points)
        design = np.column_stack([np.ones(len(points)), unit])[:, : self.trend.shape[1]]
        shift = design @ self.coefficients + near.T @ self.weights
        known = solve_triangular(self.root, near, lower=True, check_finite=False)
        untold = solve_triangular(self.trend_root, (design - near.T @ self.trend).T, lower=True)
        variance = 1.0 - (known**2).sum(axis=0) + (untold**2).sum(axis=0)
        return shift, np.maximum(variance, 0.0)

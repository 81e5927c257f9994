"""The shift field sampled on one regular grid: what every exchange form is made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.contract import Points, ShiftField
from transforms.errors import FieldError
from transforms.tabulated import Tabulated


@dataclass(frozen=True)
class Grid:
    """Shift and standard error at the nodes of a square grid in the National Grid.

    Parameters
    ----------
    origin
        ``(2,)`` easting, northing in metres of the south-west node.
    spacing_m
        Distance in metres between nodes.
    shift
        ``(2, rows, columns)`` metres, rows running north; NaN where the field covers nothing.
    error_m
        ``(rows, columns)`` radial standard error in metres.
    """

    origin: NDArray[np.float64]
    spacing_m: float
    shift: NDArray[np.float64]
    error_m: NDArray[np.float64]

    @property
    def nodes(self) -> Points:
        """``(rows * columns, 2)`` easting, northing of the nodes, row by row."""
        return node_places(self.origin, self.spacing_m, self.error_m.shape)

    @property
    def known(self) -> NDArray[np.bool_]:
        """``(rows, columns)`` nodes at which the field speaks."""
        return np.asarray(np.isfinite(self.shift[0]))


def sample_grid(field: ShiftField, pieces: tuple[Tabulated | None, ...], most_nodes: int) -> Grid:
    """Sample a field as finely as its own tables, or as finely as ``most_nodes`` allow.

    Parameters
    ----------
    field
        The field to sample.
    pieces
        Its tables.
    most_nodes
        Largest number of nodes.

    Raises
    ------
    FieldError
        If the field covers nothing.
    """
    tables = [piece.table for piece in pieces if piece is not None]
    shapes = [np.array(table.error_m.shape[::-1]) for table in tables]
    low = np.min([table.origin for table in tables], axis=0)
    high = np.max(
        [table.origin + table.spacing_m * (shape - 1) for table, shape in zip(tables, shapes, strict=True)], axis=0
    )
    coarsest = float(np.sqrt((high - low).prod() / most_nodes))
    spacing_m = max(min(table.spacing_m for table in tables), coarsest)
    columns, rows = (np.ceil((high - low) / spacing_m - 1e-6).astype(int) + 1).tolist()
    places = node_places(low, spacing_m, (rows, columns))
    shift = (field(places) - places).T.reshape(2, rows, columns)
    if not np.isfinite(shift).any():
        raise FieldError("The fitted shift covers no place at all: there is nothing to export. Fit it anew.")
    return Grid(low, spacing_m, shift, field.uncertainty(places).reshape(rows, columns))


def node_places(origin: NDArray[np.float64], spacing_m: float, shape: tuple[int, int]) -> Points:
    """Easting, northing ``(rows * columns, 2)`` of the nodes of a grid, row by row from the south-west."""
    north, east = np.mgrid[: shape[0], : shape[1]]
    return origin + spacing_m * np.stack([east.ravel(), north.ravel()], axis=1)

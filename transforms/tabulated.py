"""Any smooth field as a table: what is stored in a file and evaluated by the million."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .contract import Points
from .one_piece import OnePiece, as_points
from .support import Support
from .table import Table

TOLERANCE_M = 0.005
"""Largest deviation of the table from the field it stands for: a fiftieth of the best control's noise."""


@dataclass(frozen=True)
class Tabulated(OnePiece):
    """A field evaluated by look-up; covers the cells of its table that touch what the field covers."""

    table: Table
    support: Support
    noise_m: float

    @classmethod
    def of(cls, field: OnePiece, tolerance_m: float = TOLERANCE_M) -> Tabulated:
        """``field`` as a table that follows it within ``tolerance_m`` (``table.deviation_m`` says how well).

        Parameters
        ----------
        field
            A field without breaks.
        tolerance_m
            Largest wanted deviation in metres.
        """
        if isinstance(field, Tabulated):
            return field

        def source(points: Points) -> tuple[Points, NDArray[np.float64]]:
            return field.shift_at(points), field.error_at(points)

        table = Table.of(source, field.covers, field.support.extent(), tolerance_m)
        return cls(table, field.support, field.noise_m)

    def __call__(self, points: Points) -> Points:
        """The new places of ``points``, ``(n, 2)`` metres; NaN outside the table."""
        points = as_points(points)
        moved = self.table.shift_at(points)
        moved += points
        return moved

    def uncertainty(self, points: Points) -> NDArray[np.float64]:
        """Radial standard error ``(n,)`` in metres; NaN outside the table."""
        return self.table.error_at(as_points(points))

    def covers(self, points: Points) -> NDArray[np.bool_]:
        """Which points the table covers, ``(n,)``."""
        return self.table.covers(points)

    def shift_at(self, points: Points) -> Points:
        """New minus old ``(n, 2)`` in metres; NaN outside the table."""
        return self.table.shift_at(points)

    def error_at(self, points: Points) -> NDArray[np.float64]:
        """Radial standard error ``(n,)`` in metres; NaN outside the table."""
        return self.table.error_at(points)

    def scaled(self, factor: float) -> Self:
        """The same field with standard errors ``factor`` times as large (its calibration)."""
        table = replace(self.table, error_m=self.table.error_m * factor)
        return replace(self, table=table, noise_m=self.noise_m * factor)

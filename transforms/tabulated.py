"""Any smooth field as a table: what is stored in a file and evaluated by the million."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .contract import Points
from .one_piece import OnePiece, as_points
from .support import Support, mean_spacing_m
from .table import Table
from .voids import Voids

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

    def straight_length_m(self, tolerance_m: float) -> float:
        """Length of a segment [m] up to which its image is as good as straight."""
        return self.table.straight_length_m(tolerance_m)

    def restated(self, factor_at: Callable[[Points], NDArray[np.float64]], noise_factor: float, voids: Voids) -> Self:
        """The same field with calibrated standard errors, which own up to the whole shift within voids.

        Parameters
        ----------
        factor_at
            Places -> factor ``(n,)`` on the field's standard error.
        noise_factor
            Factor on the noise of control.
        voids
            Where the land may not have moved.
        """

        def stated(nodes: Points, shift: Points, error_m: NDArray[np.float64]) -> NDArray[np.float64]:
            unmoved_m2 = voids.chance_at(nodes) * (shift**2).sum(axis=1)
            return np.sqrt((factor_at(nodes) * error_m) ** 2 + unmoved_m2)

        table = self.table.refined(mean_spacing_m(self.support.before)).restated(stated)
        return replace(self, table=table, noise_m=self.noise_m * noise_factor)

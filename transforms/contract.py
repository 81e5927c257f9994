"""What a shift field is: the shared words and the laws every transform keeps.

A transform is a frozen value. ``Affine.fit(control)`` gives a field; ``field(points)`` gives the new places.

The laws, run as one test suite over every transform (``tests/test_transforms_laws.py``):

1. ``n = 0`` is allowed and gives ``(0, 2)``.
2. The input array is never written to.
3. Rows are independent: a point's image does not depend on the other rows of the call, to the last bit.
4. The result does not depend on where the origin of the coordinates lies (to 1 mm over Great Britain).
5. A transform that calls itself exact reproduces its control.
6. Outside what it covers the image is NaN, never a guess.
7. ``field.inverse(field(points))`` returns to ``points`` within 1 mm.

Nothing here reads files, knows Dagster or imports shapely.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""``(n, 2)`` array of easting, northing in metres, EPSG:27700."""

NO_PIECE = -1
"""The piece number of a place that the field does not cover."""


@dataclass(frozen=True)
class Control:
    """Control points: places on the old map and the same places on the new map.

    Parameters
    ----------
    before, after
        ``(n, 2)`` easting, northing in metres on the old and the new map.
    code
        ``(n,)`` text, the Land-Line feature code; empty where unknown.
    accuracy_m
        ``(n,)`` stated radial standard error in metres; NaN where unknown.

    Examples
    --------
    >>> control = Control(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]]))
    >>> control.shift
    array([[3., 4.]])
    >>> len(control)
    1
    """

    before: Points
    after: Points
    code: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, dtype="<U8"))
    accuracy_m: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        count = len(self.before)
        object.__setattr__(self, "before", np.asarray(self.before, dtype=float).reshape(count, 2))
        object.__setattr__(self, "after", np.asarray(self.after, dtype=float).reshape(count, 2))
        if len(self.code) != count:
            object.__setattr__(self, "code", np.full(count, "", dtype="<U8"))
        if len(self.accuracy_m) != count:
            object.__setattr__(self, "accuracy_m", np.full(count, np.nan))

    def __len__(self) -> int:
        return len(self.before)

    @cached_property
    def shift(self) -> Points:
        """New minus old, ``(n, 2)`` in metres."""
        return self.after - self.before

    def take(self, rows: NDArray[np.int_] | NDArray[np.bool_]) -> Control:
        """The control points at ``rows`` (indices or a mask), in that order."""
        return Control(self.before[rows], self.after[rows], self.code[rows], self.accuracy_m[rows])


@runtime_checkable
class ShiftField(Protocol):
    """A fitted shift: moves places from the old map to the new one and says how sure it is."""

    def __call__(self, points: Points) -> Points:
        """The new places of ``points``, ``(n, 2)`` metres; NaN outside what the field covers."""
        ...

    def uncertainty(self, points: Points) -> NDArray[np.float64]:
        """Radial standard error ``(n,)`` in metres; 1.73 times it is the 95 % radius; NaN outside."""
        ...

    def piece(self, points: Points) -> NDArray[np.int_]:
        """Which smooth piece between breaks each point lies in, ``(n,)``; ``NO_PIECE`` outside.

        A field without breaks has the one piece 0.
        """
        ...

    def in_piece(self, points: Points, piece: NDArray[np.int_]) -> Points:
        """The new places if each point moved with the given piece, ``(n, 2)``; for features on a break."""
        ...

    def control_distance_m(self, points: Points) -> NDArray[np.float64]:
        """Distance ``(n,)`` in metres to the nearest control point that the fit used."""
        ...

    @property
    def inverse(self) -> ShiftField:
        """The field from the new map back to the old one."""
        ...

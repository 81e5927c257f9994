"""Places as complex numbers, easting + i northing: fetched, compared and multiplied in one step instead of two."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .contract import Points

ComplexPlaces = NDArray[np.complex128]
"""``(n,)`` easting + i northing [m]."""


def as_complex(places: Points) -> ComplexPlaces:
    """``(n, 2)`` -> ``(n,)``, the same memory where it is contiguous.

    Examples
    --------
    >>> as_complex(np.array([[3.0, 4.0]]))
    array([3.+4.j])
    """
    return np.ascontiguousarray(places, dtype=np.float64).view(np.complex128).ravel()


def as_points(places: ComplexPlaces) -> Points:
    """``(n,)`` -> ``(n, 2)``, the same memory where it is contiguous."""
    return np.ascontiguousarray(places).view(np.float64).reshape(-1, 2)


def length(vectors: Points) -> NDArray[np.float64]:
    """Length ``(n,)`` of vectors ``(n, 2)``, to the last bit the same wherever one stands; faster than ``hypot``."""
    whole = as_complex(vectors)
    return np.sqrt(whole.real**2 + whole.imag**2)


FARTHEST_M = 1e7
"""A quarter of the way round the earth: whatever has a larger coordinate is no place on any map of Britain."""


def is_place(places: Points) -> NDArray[np.bool_]:
    """Whether both numbers of each place ``(n, 2)`` are finite and could lie on a map, ``(n,)``.

    Examples
    --------
    >>> is_place(np.array([[4e5, 3e5], [np.nan, 3e5], [4e5, -np.inf], [1e300, 3e5]]))
    array([ True, False, False, False])
    """
    inside = np.abs(places) < FARTHEST_M
    return np.asarray(inside[:, 0] & inside[:, 1])

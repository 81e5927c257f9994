"""Each place once: so that a place shared by many features is moved once, to the same last bit, and costs once.

By a scatter into a table instead of a sort: linear, and in the order of the places.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .complex_places import as_complex
from .contract import Points

Integers = NDArray[np.int64]


def distinct_rows(places: Points) -> tuple[Integers, Integers]:
    """Rows that stand for all places, and for each place the number of the row that stands for it.

    Two equal places may now and then both stand for themselves (when a third one takes their seat in the table);
    never do different places share a row.

    Parameters
    ----------
    places
        ``(n, 2)``; NaN is equal to nothing.

    Returns
    -------
    rows, number
        ``places[rows][number]`` equals ``places``.

    Examples
    --------
    >>> places = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])
    >>> rows, number = distinct_rows(places)
    >>> len(rows), bool((places[rows][number] == places).all())
    (2, True)
    """
    stand_in = stand_ins(places)
    stands = stand_in == np.arange(len(places), dtype=np.int32)
    return np.flatnonzero(stands), (np.cumsum(stands) - 1)[stand_in]


def stand_ins(places: Points) -> NDArray[np.int32]:
    """For each place ``(n, 2)`` the row that stands for it, ``(n,)``: its own, or one with an equal place."""
    each = np.arange(len(places), dtype=np.int32)
    seat = _seats(places)
    table = np.zeros(_table_size(len(places)), dtype=np.int32)
    table[seat] = each
    stand_in = table[seat]
    whole = as_complex(places)
    return np.where(whole[stand_in] == whole, stand_in, each)


def _seats(places: Points) -> Integers:
    """A number below the size of the table for each place ``(n, 2)``; equal for equal places."""
    bits = np.ascontiguousarray(places).view(np.uint64)
    mixed = bits[:, 0] * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= bits[:, 1] * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(64 - _table_bits(len(places)))).astype(np.int64)


def _table_bits(count: int) -> int:
    return max(4, int(count).bit_length() + 1)


def _table_size(count: int) -> int:
    return 1 << _table_bits(count)

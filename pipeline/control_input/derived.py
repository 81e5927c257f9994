"""Control from the two editions of the base map: corners of objects that are the same and unaltered in both.

It is checked like all other control, under the file name ``base maps`` and the code ``derived``.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.control_input.files import ControlRows
from qa.base_maps import BaseMaps
from qa.control_faults import SAME_PLACE_M
from qa.matching import LONGEST_SHIFT_M
from qa.same_move import STILL_M, Doubted

DERIVED_FILE = "base maps"
DERIVED_CODE = "derived"

SPACING_M = 40.0
"""One corner for each square of this side: the corners of a building or a hedge move together and are one witness."""

CLOSE_SPACING_M = 10.0
UNEVEN_M = 0.3
"""Where corners within a square moved by more than this differently, one is kept for each small square instead."""

READING_ERROR_M = 0.01
"""Coordinates of both editions are on the centimetre; radial."""


def derive_control(base: BaseMaps, delivered: NDArray[np.float64]) -> ControlRows:
    """Control points from matched features of the base map, thinned to about one for each 40 m square.

    An area (a building) gives one corner at the most: it moved as a whole and is one witness. Where the delivered
    control says that the map moved although both editions are the same, they give none.

    Parameters
    ----------
    base
        Both editions, with the features that are the same in them and their corners.
    delivered
        ``(k, 4)`` old and new places of other control. Two links from one old place would only contradict.
    """
    matches, taken = base.matches, delivered[:, :2]
    before, after = matches.corner_before, matches.corner_after
    is_area = shapely.get_dimensions(base.before.geometries[matches.old]) == 2
    length_m = np.hypot(*(after - before).T)
    is_doubted = (length_m <= STILL_M) & Doubted.of(base, taken, delivered[:, 2:] - taken).at(before)
    is_likely = length_m <= LONGEST_SHIFT_M
    is_first = np.append(True, np.diff(matches.corner_pair) != 0)[: len(before)]
    is_witness = is_likely & ~is_doubted & (is_first | ~is_area[matches.corner_pair]) & _is_free(before, taken)
    rows = np.flatnonzero(is_witness)
    chosen = rows[_thinned(before[rows], (after - before)[rows])]
    count = len(chosen)
    return ControlRows(
        form="base_maps",
        row=np.arange(1, count + 1, dtype=np.int32),
        places=np.hstack([before[chosen], after[chosen]]),
        code=np.full(count, DERIVED_CODE),
        identifier=np.full(count, ""),
        accuracy_m=np.full(count, READING_ERROR_M),
        reason=np.full(count, "", dtype="<U24"),
    )


def _is_free(places: NDArray[np.float64], taken: NDArray[np.float64]) -> NDArray[np.bool_]:
    taken = taken[np.isfinite(taken).all(axis=1)]
    if not len(taken) or not len(places):
        return np.ones(len(places), dtype=bool)
    return np.asarray(cKDTree(taken).query(places, distance_upper_bound=SAME_PLACE_M)[0] > SAME_PLACE_M)


def _thinned(places: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.int_]:
    """Rows of the first corner in each square; of each small square where the square's corners moved differently."""
    square = _number_of(np.floor(places / SPACING_M))
    count = int(square.max(initial=-1)) + 1
    total = np.stack([np.bincount(square, shift[:, k], count) for k in (0, 1)], axis=1)
    mean = total / np.maximum(np.bincount(square, minlength=count), 1)[:, None]
    off = np.hypot(*(shift - mean[square]).T)
    is_uneven = np.bincount(square, off > UNEVEN_M, count) > 0
    small = _number_of(np.floor(places / CLOSE_SPACING_M))
    group = np.where(is_uneven[square], count + small, square)
    return np.sort(np.unique(group, return_index=True)[1])


def _number_of(squares: NDArray[np.float64]) -> NDArray[np.int_]:
    return np.asarray(np.unique(squares, axis=0, return_inverse=True)[1]).ravel()

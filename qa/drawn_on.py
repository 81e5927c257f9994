"""Which map features were drawn on, told by many of them together: what is said of them may be wrong all at once.

A column that is called the date of capture may hold the day the records were loaded, the list of layers to shift may
name one that was drawn on the new map, and part of a layer may have been shifted years ago, tile by tile. Then all that
is said of them says the wrong map, and whatever is learned from them follows. But one tree some metres from a hedge may
have been drawn on either map; four hundred trees were not. On the map they were drawn on they lie as somebody drew
them, on the other as if each had been pushed off by the shift. Both ways round are tried, and their likelihoods
compared.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from qa.coincidence import CLASSES, OUTER_CLASSES, inside_of_class
from transforms.contract import Points

Classes = NDArray[np.int_]
Numbers = NDArray[np.float64]

_LEAST_FEATURES = 5
"""Fewer tell nothing together."""

_NEIGHBOURS = 20, 100
"""So many of the nearest are asked together: few where each tells much, many where each tells little."""

_ASKED_AT_ONCE = 20_000

_MOST_FEATURES = 100.0
"""More count as no more: no group lies on either map quite as the model has it."""

_MOST_EACH = 2.0
"""No feature speaks louder than this; what it shows of itself is weighed elsewhere."""

_DISPROVED_FROM = 5.0
"""Log odds against what is said from which it is not believed: of 150 right groups hardly one is doubted."""

_CELLS = 2 * CLASSES
_EACH = 0.5
"""What each cell counts before anything is seen."""


def log_odds_of_old(before: Classes, after: Classes, pushed_before: Classes, pushed_after: Classes) -> Numbers:
    """What each feature adds to the log odds that it and its like were drawn on the old map rather than on the new one.

    Parameters
    ----------
    before, after
        ``(n,)`` distance class of each feature on the old and on the new map.
    pushed_before, pushed_after
        ``(m,)`` the same of such features when displaced by the length of the shift in random directions.

    Examples
    --------
    >>> traced, metres_off = np.zeros(50, dtype=int), np.full(50, 8 * OUTER_CLASSES)
    >>> bool((log_odds_of_old(traced, metres_off, metres_off, metres_off) > 1).all())
    True
    """
    if_old = _log_of_others(before) + _log_of(pushed_before, after)
    if_new = _log_of_others(after) + _log_of(pushed_after, before)
    return np.clip(if_old - if_new, -_MOST_EACH, _MOST_EACH)


def log_odds_of_a_push(classes: Classes, right: Classes, pushed: Classes) -> Numbers:
    """What each feature adds to the log odds that it and its like lie beside the map rather than on it.

    Parameters
    ----------
    classes
        ``(n,)`` distance class of each feature on the only map there is of its place.
    right, pushed
        ``(m,)`` the same of others of the layer, on the map they were drawn on, and when displaced from there by the
        length of the shift in random directions.
    """
    return np.clip(_log_of(pushed, classes) - _log_of(right, classes), -_MOST_EACH, _MOST_EACH)


def is_disproved(against: Numbers, batch: NDArray[np.int_], places: Points) -> NDArray[np.bool_]:
    """Whether what is said of each feature's origin is disproved by those of its batch, or by those near it, ``(n,)``.

    Parameters
    ----------
    against
        ``(n,)`` log odds of each feature against what is said of it; the same is said of all.
    batch
        ``(n,)`` number of the batch each came in.
    places
        ``(n, 2)`` easting, northing in metres.
    """
    if len(against) < _LEAST_FEATURES:
        return np.zeros(len(against), dtype=bool)
    many = np.bincount(batch)
    together = np.bincount(batch, weights=against) * np.minimum(1.0, _MOST_FEATURES / np.maximum(many, 1))
    by_batch = (together > _DISPROVED_FROM) & (many >= _LEAST_FEATURES)
    disproved, tree = by_batch[batch], KDTree(places)
    against = np.where(disproved, 0.0, against)  # what a wrong day explains speaks against no neighbour
    for first in range(0, len(places), _ASKED_AT_ONCE):
        rows = slice(first, first + _ASKED_AT_ONCE)
        _, near = tree.query(places[rows], k=min(_NEIGHBOURS[-1] + 1, len(places)))
        of_nearest = np.cumsum(against[near], axis=1) - against[rows, None]
        for count in _NEIGHBOURS:
            disproved[rows] |= of_nearest[:, min(count, near.shape[1] - 1)] > _DISPROVED_FROM
    return np.asarray(disproved)


def _cell(classes: Classes) -> Classes:
    """The nearest line and whether about a building: few cells, so that few features fill them."""
    return np.asarray(classes // OUTER_CLASSES * 2 + inside_of_class(classes))


def _log_of_others(classes: Classes) -> Numbers:
    """Log share of each feature's cell among the others."""
    cell = _cell(classes)
    others = np.bincount(cell, minlength=_CELLS)[cell] - 1
    return np.asarray(np.log((others + _EACH) / (len(cell) - 1 + _EACH * _CELLS)))


def _log_of(others: Classes, classes: Classes) -> Numbers:
    """Log share of each feature's cell among those of others."""
    expected = np.bincount(_cell(others), minlength=_CELLS) + _EACH
    return np.asarray(np.log(expected / expected.sum())[_cell(classes)])

"""Whether the base maps speak of the same move as the control.

Editions named in the wrong order, or twice the same, are maps all the same. Where two equal editions agree nothing
seems to have moved, and every verdict that is taken by them is wrong; the control knows better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qa.base_maps import BaseMaps
from transforms.contract import Points

_MOVED_M = 0.5
"""Where neither says that the map moved this far, nothing is compared."""

_SEEN_WITHIN_M = 200.0
_LEAST_PLACES = 20
_MOST_DIFFERENCE, _OPPOSITE_FROM = 0.6, 1.5
"""The difference of two moves in units of the longer one: a tenth at most as a rule, 1 where one says that nothing
moved, 2 where they are opposites.
"""


@dataclass(frozen=True)
class Contradiction:
    """What is said of a move and what the base maps show of it, in the median of the places that moved by either.

    ``is_opposite`` tells whether the one is the other the other way round.
    """

    places: int
    said_m: float
    shown_m: float
    is_opposite: bool


def contradiction(base: BaseMaps, places: Points, shift: Points) -> Contradiction | None:
    """How the base maps contradict what is said of the move all over, or None where they do not.

    Parameters
    ----------
    base
        Both editions of the base map.
    places
        ``(n, 2)`` on the old map, easting and northing in metres.
    shift
        ``(n, 2)`` metres, what is said of the move there; NaN where nothing is.
    """
    observed = base.observed_shift(places)
    said_m, shown_m = np.hypot(*shift.T), np.hypot(*observed.shift.T)
    longer = np.maximum(said_m, shown_m)
    moved = (longer > _MOVED_M) & (observed.distance_m <= _SEEN_WITHIN_M)
    if moved.sum() < _LEAST_PLACES:
        return None
    difference = float(np.median(np.hypot(*(shift - observed.shift)[moved].T) / longer[moved]))
    if difference <= _MOST_DIFFERENCE:
        return None
    medians = float(np.median(said_m[moved])), float(np.median(shown_m[moved]))
    return Contradiction(int(moved.sum()), *medians, difference > _OPPOSITE_FROM)

"""Whether the base maps speak of the same move as the control.

Editions named in the wrong order, or twice the same, are maps all the same. Where two equal editions agree nothing
seems to have moved, and every verdict that is taken by them is wrong; the control knows better. One of them, or the
control, may have come through a wrong transformation of coordinates: then they differ by the same all over. And an
edition may hold parts of the other: tiles that were replaced as new ones came.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from qa.base_maps import SEEN_WITHIN_M, BaseMaps
from transforms.contract import Points

STILL_M = 0.1
"""Editions that differ by no more are the same."""

MOVED_M = 0.5
"""What is said to move further is said to have moved; where neither says so, nothing is compared."""

_ELSEWHERE_M = 1000.0
_LEAST_PLACES = 20
_MOST_DIFFERENCE, _OPPOSITE_FROM = 0.6, 1.5
"""The difference of two moves in units of the longer one: a tenth at most as a rule, 1 where one says that nothing
moved, 2 where they are opposites.
"""

_MOST_OFFSET_M, _LEAST_OFFSET_SHARE = 0.3, 0.8
"""The median of the differences, some centimetres as a rule, and the share of places that it explains."""

_AT_A_CORNER_M = 5.0
"""Beside the edge of land that did not move, the corners further off may lie on the other side of it."""

_NEAREST, _NEAREST_WITHIN_M, _LEAST_AGAINST = 10, 1000.0, 3


@dataclass(frozen=True)
class Contradiction:
    """What is said of a move and what the base maps show of it, in the median of the places that moved by either.

    ``is_opposite`` tells whether the one is the other the other way round; ``offset_m`` by how much, east and north, it
    is said to be more than is shown where that is the same all over.
    """

    places: int
    said_m: float
    shown_m: float
    is_opposite: bool
    offset_m: tuple[float, float] | None


def show_no_move(base: BaseMaps) -> bool:
    """Whether the base maps have corners in common, and not one in a hundred of them moved."""
    return base.corners is not None and bool(np.quantile(np.hypot(*base.corners.shift.T), 0.99) <= STILL_M)


def lie_elsewhere(base: BaseMaps, places: Points) -> bool:
    """Whether no corner of the base maps lies within a kilometre of any of ``places`` ``(n, 2)`` [m]."""
    return base.corners is not None and not (base.corners.tree.query(places)[0] <= _ELSEWHERE_M).any()


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
    moved = (longer > MOVED_M) & (observed.distance_m <= SEEN_WITHIN_M)
    if moved.sum() < _LEAST_PLACES:
        return None
    differences = (shift - observed.shift)[moved]
    difference, offset_m = float(np.median(np.hypot(*differences.T) / longer[moved])), _offset_m(differences)
    if difference <= _MOST_DIFFERENCE and offset_m is None:
        return None
    medians = float(np.median(said_m[moved])), float(np.median(shown_m[moved]))
    return Contradiction(int(moved.sum()), *medians, difference > _OPPOSITE_FROM, offset_m)


def _offset_m(differences: Points) -> tuple[float, float] | None:
    """What all of ``(n, 2)`` differences have in common, east and north in metres; None where that is little."""
    east, north = offset = np.median(differences, axis=0)
    is_explained = np.hypot(*(differences - offset).T) < np.hypot(*differences.T)
    is_common = np.hypot(east, north) > _MOST_OFFSET_M and is_explained.mean() > _LEAST_OFFSET_SHARE
    return (float(east), float(north)) if is_common else None


@dataclass(frozen=True)
class Doubted:
    """Where both editions are the same, but the control near by says that the map moved.

    Parameters
    ----------
    tree
        The places of the control that the base maps can be compared with.
    is_for, is_against
        ``(n,)`` whether the base maps show there that nothing moved, and it says the same, or the contrary.
    """

    tree: cKDTree
    is_for: NDArray[np.bool_]
    is_against: NDArray[np.bool_]

    @classmethod
    def of(cls, base: BaseMaps, places: Points, shift: Points) -> Doubted:
        """By control of ``shift`` ``(n, 2)`` at ``places`` ``(n, 2)``, metres, that was not taken from the maps."""
        said_m, shown_m, compared = np.hypot(*shift.T), np.full(len(places), np.nan), np.zeros(len(places), dtype=bool)
        if base.corners is not None:
            distance_m, corner = base.corners.tree.query(places)
            compared = distance_m <= _AT_A_CORNER_M
            shown_m[compared] = np.hypot(*base.corners.shift[corner[compared]].T)
        is_still = shown_m <= STILL_M
        is_for, is_against = is_still & (said_m <= MOVED_M), is_still & (said_m > MOVED_M)
        return cls(cKDTree(places[compared]), is_for[compared], is_against[compared])

    def at(self, points: Points) -> NDArray[np.bool_]:
        """Whether, of the control nearest to each of ``points`` ``(n, 2)``, more is against the maps than for them.

        Control where the map moved by both tells nothing of places where it did not.
        """
        if not self.is_against.any() or not len(points):
            return np.zeros(len(points), dtype=bool)
        _, near = self.tree.query(points, k=_NEAREST, distance_upper_bound=_NEAREST_WITHIN_M)
        agree, against = (np.append(which, False)[near].sum(axis=1) for which in (self.is_for, self.is_against))
        return np.asarray((against >= _LEAST_AGAINST) & (against > agree))

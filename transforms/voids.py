"""Voids: land where control ought to stand by the hundred and none does.

Maps of 1:1250 and of the uplands did not move, and no control was made there; no control does not mean that
control is missing. Nothing inside a void tells whether its land moved with the land around, so a field that
crosses one owns up to the whole shift as its error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy
from numpy.typing import NDArray

from .complex_places import is_place
from .contract import Points
from .support import count_places, mean_spacing_m, query_threads

Floats = NDArray[np.float64]

LEAST_PLACES = 100
"""Fewer places show no density that a void could be measured by."""

RIM_NEIGHBOURS = 16
"""Control that tells the density beside a void: enough to see past the corners of one building."""

LEAST_SPACINGS = 2.0
"""Radius in mean spacings up to which no void is looked for: the field reaches that far everywhere."""

CROSSED_SPACINGS, DOUBTED_SPACINGS = 4.0, 6.0
"""Radii in spacings of the control beside it: a void up to the first is a strip without links, where some 50 are
missing; from the second, where over a hundred are, land that did not move explains it as well."""

EVEN_CHANCE = 0.5


@dataclass(frozen=True)
class Voids:
    """Discs empty of control that are too large for the density beside them.

    Parameters
    ----------
    centre
        ``(m, 2)`` easting, northing in metres.
    radius_m
        ``(m,)`` metres.
    chance
        ``(m,)`` chance that the land of the disc did not move, ascending.
    """

    centre: Points
    radius_m: Floats
    chance: Floats

    @classmethod
    def of(cls, before: Points) -> Self:
        """The voids among control at ``before``; none beyond its hull.

        Parameters
        ----------
        before
            ``(n, 2)`` control places in metres, of all pieces.
        """
        nothing = cls(np.empty((0, 2)), np.empty(0), np.empty(0))
        if count_places(before) < LEAST_PLACES:
            return nothing
        try:
            centre, radius_m = _empty_discs(before, LEAST_SPACINGS * mean_spacing_m(before))
        except scipy.spatial.QhullError:
            return nothing
        if len(centre) == 0:
            return nothing
        chance = _spread(centre, radius_m, _unmoved_chance(radius_m / _spacing_beside(before, centre)))
        order = np.argsort(chance, kind="stable")[(chance == 0.0).sum() :]
        return cls(centre[order], radius_m[order], chance[order])

    def chance_at(self, points: Points) -> Floats:
        """Chance ``(n,)`` that the land at each point did not move: that of the doubtfullest disc it lies in."""
        chance = np.zeros(len(points))
        finite = np.flatnonzero(is_place(points))
        if len(self.centre) == 0 or len(finite) == 0:
            return chance
        tree = scipy.spatial.cKDTree(points[finite])
        for centre, radius_m, doubt in zip(self.centre, self.radius_m, self.chance, strict=True):
            chance[finite[tree.query_ball_point(centre, radius_m)]] = doubt
        return chance


def _empty_discs(before: Points, least_m: float) -> tuple[Points, Floats]:
    """Centres and radii of the circles through three control points that hold none, centred within the hull."""
    middle = before.mean(axis=0)
    net = scipy.spatial.Delaunay(before - middle)
    first, second, third = net.points[net.simplices].transpose(1, 0, 2)
    to_second, to_third = second - first, third - first
    twice_area = 2.0 * (to_second[:, 0] * to_third[:, 1] - to_second[:, 1] * to_third[:, 0])
    squares = np.stack([(to_second**2).sum(axis=1), (to_third**2).sum(axis=1)])
    with np.errstate(divide="ignore", invalid="ignore"):
        east = (to_third[:, 1] * squares[0] - to_second[:, 1] * squares[1]) / twice_area
        north = (to_second[:, 0] * squares[1] - to_third[:, 0] * squares[0]) / twice_area
    radius_m = np.hypot(east, north)
    large = np.flatnonzero(np.isfinite(radius_m) & (radius_m > least_m))
    centre = first[large] + np.stack([east[large], north[large]], axis=1)
    inside = net.find_simplex(centre) >= 0
    return centre[inside] + middle, radius_m[large][inside]


def _spacing_beside(before: Points, centre: Points) -> Floats:
    """Spacing ``(m,)`` in metres of the control nearest to each centre, as its own neighbours show it."""
    tree = scipy.spatial.cKDTree(before)
    beside = tree.query(centre, RIM_NEIGHBOURS, workers=query_threads(len(centre)))[1]
    rows, place = np.unique(beside, return_inverse=True)
    farthest = tree.query(before[rows], [RIM_NEIGHBOURS + 1], workers=query_threads(len(rows)))[0][:, 0]
    # In a uniform scatter the m-th neighbour lies at the root of m / (pi density).
    spacing_m = farthest * np.sqrt(np.pi / RIM_NEIGHBOURS)
    return np.median(spacing_m[place.reshape(beside.shape)], axis=1)


def _unmoved_chance(spacings: Floats) -> Floats:
    rising = (spacings - CROSSED_SPACINGS) / (DOUBTED_SPACINGS - CROSSED_SPACINGS)
    return EVEN_CHANCE * np.clip(rising, 0.0, 1.0)


def _spread(centre: Points, radius_m: Floats, chance: Floats) -> Floats:
    """The chance ``(m,)`` with that of larger discs about a disc's centre: the corners of a void are part of it."""
    tree, spread = scipy.spatial.cKDTree(centre), chance.copy()
    for disc in np.argsort(-radius_m, kind="stable"):
        if spread[disc] > 0.0:
            within = np.array(tree.query_ball_point(centre[disc], radius_m[disc]))
            spread[within] = np.maximum(spread[within], spread[disc])
    return spread

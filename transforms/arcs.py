"""Circular arcs under a shift field: whether the image of an arc is an arc, and vertices where it is not.

An arc is given by three places: start, one between, end. Where start and end coincide it is the circle whose
diameter joins start and middle. Three places on a line draw that line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .contract import Points
from .densify import Image

LOOKS = 32
"""How many places of an arc are compared with the arc through the moved three places."""

_ARC_SHARE = 0.5
"""Share of the tolerance for the sag of a chord; the rest is for the bend of the field between looks."""

_MOST_CHORDS = 4096


@dataclass(frozen=True)
class Arcs:
    """Arcs as circles: centre, radius, the angle where each begins and how far it turns (signed) [rad].

    ``radius_m`` is infinite and the angles hold nothing where the three places lie on a line.
    """

    start: Points
    end: Points
    centre: Points
    radius_m: NDArray[np.float64]
    begin: NDArray[np.float64]
    turn: NDArray[np.float64]

    @classmethod
    def through(cls, start: Points, middle: Points, end: Points) -> Arcs:
        """The arcs through three places each, ``(n, 2)``."""
        closed = (start == end).all(axis=1)
        centre = _circumcentre(start, middle, end)
        centre[closed] = 0.5 * (start + middle)[closed]
        radius_m = np.hypot(*(start - centre).T)
        begin, between, finish = (np.arctan2(*(place - centre).T[::-1]) for place in (start, middle, end))
        turn = np.mod(finish - begin, 2 * np.pi)
        against = np.mod(between - begin, 2 * np.pi) > turn
        turn = np.where(closed, 2 * np.pi, np.where(against, turn - 2 * np.pi, turn))
        return cls(start, end, centre, np.where(np.isfinite(radius_m), radius_m, np.inf), begin, turn)

    def at(self, arc: NDArray[np.int_], fraction: NDArray[np.float64]) -> Points:
        """Places ``(k, 2)`` on arcs ``arc``, at fractions of their turn."""
        angle = self.begin[arc] + fraction * self.turn[arc]
        with np.errstate(invalid="ignore"):
            on_circle = self.centre[arc] + self.radius_m[arc, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        on_line = self.start[arc] + fraction[:, None] * (self.end - self.start)[arc]
        return np.where(np.isinf(self.radius_m[arc])[:, None], on_line, on_circle)


def stays_arc(
    image: Image, places: tuple[Points, Points, Points], moved: tuple[Points, Points, Points], tolerance_m: float
) -> NDArray[np.bool_]:
    """Whether the image of each arc lies within ``tolerance_m`` of the arc through its three moved places, ``(n,)``.

    Parameters
    ----------
    image
        The field.
    places, moved
        Start, middle and end of every arc, ``(n, 2)`` each, before and after.
    tolerance_m
        Largest distance [m]; a NaN image counts as too far.
    """
    count = len(places[0])
    arc = np.repeat(np.arange(count), LOOKS)
    fraction = np.tile((np.arange(LOOKS) + 0.5) / LOOKS, count)
    old, new = Arcs.through(*places), Arcs.through(*moved)
    exact = image(old.at(arc, fraction))
    with np.errstate(invalid="ignore"):
        to_centre = np.abs(np.hypot(*(exact - new.centre[arc]).T) - new.radius_m[arc])
    to_line = _distance_to_line(exact, moved[0][arc], moved[2][arc])
    gap = np.where(np.isinf(new.radius_m[arc]), to_line, to_centre)
    return np.asarray((gap <= tolerance_m).reshape(count, LOOKS).all(axis=1))


def chords(
    start: Points, middle: Points, end: Points, tolerance_m: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], Points]:
    """Vertices that draw arcs as lines within half of ``tolerance_m``.

    Returns
    -------
    arc, half, place
        Per vertex: its arc; where along the arc, 0-1 before the middle place and 1-2 after it; the place ``(k, 2)``.
        The three given places themselves are not among them. Sorted along each arc.
    """
    turned = _is_turned(start, end)
    flip = turned[:, None]
    arcs = Arcs.through(np.where(flip, end, start), middle, np.where(flip, start, end))
    whole = np.mod(np.arctan2(*(middle - arcs.centre).T[::-1]) - arcs.begin, 2 * np.pi)
    share = np.where(arcs.turn > 0, whole, 2 * np.pi - whole) / np.abs(arcs.turn)
    share = np.where(np.isinf(arcs.radius_m), 0.5, share)
    sag = np.clip(_ARC_SHARE * tolerance_m / arcs.radius_m, 1e-9, 1.0)
    number = np.ceil(np.abs(arcs.turn) / (2 * np.arccos(1.0 - sag))).clip(2, _MOST_CHORDS)
    number = np.where(np.isinf(arcs.radius_m), 2, number).astype(np.int64)
    arc = np.repeat(np.arange(len(start)), number - 1)
    fraction = (np.arange(len(arc)) - np.repeat(np.cumsum(number - 1) - (number - 1), number - 1) + 1) / number[arc]
    # The middle place is a vertex already.
    apart = np.abs(fraction - share[arc]) > 1e-6
    arc, fraction = arc[apart], fraction[apart]
    place = arcs.at(arc, fraction)
    half = np.where(fraction < share[arc], fraction / share[arc], 1 + (fraction - share[arc]) / (1 - share[arc]))
    half = np.where(turned[arc], 2.0 - half, half)
    order = np.lexsort((half, arc))
    return arc[order], half[order], place[order]


def _is_turned(start: Points, end: Points) -> NDArray[np.bool_]:
    return (start[:, 0] > end[:, 0]) | ((start[:, 0] == end[:, 0]) & (start[:, 1] > end[:, 1]))


def _circumcentre(a: Points, b: Points, c: Points) -> Points:
    """Centre of the circle through three places; infinite where they lie on a line."""
    p, q = b - a, c - a
    cross = 2 * (p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0])
    pp, qq = (p**2).sum(axis=1), (q**2).sum(axis=1)
    # Flatter than a micrometre over a kilometre is a line: the radius would have no digits left.
    flat = np.abs(cross) <= 1e-9 * (pp + qq)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = a + np.stack([q[:, 1] * pp - p[:, 1] * qq, p[:, 0] * qq - q[:, 0] * pp], axis=1) / cross[:, None]
    return np.where(flat[:, None], np.inf, centre)


def _distance_to_line(place: Points, a: Points, b: Points) -> NDArray[np.float64]:
    along = b - a
    length = np.hypot(*along.T)
    cross = np.abs(along[:, 0] * (place - a)[:, 1] - along[:, 1] * (place - a)[:, 0])
    return np.where(length > 0, cross / np.where(length > 0, length, 1.0), np.hypot(*(place - a).T))

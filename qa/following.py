"""What each edge of a layer followed on the old base map.

An edge is cut wherever a vertex of the map lies on it; a piece between two cuts then follows a *segment* of the map, if
both its ends lie on that segment. So chains over several lines, across junctions, and with vertices that only one side
has come out by themselves, and a fence beside a kerb is never taken for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from qa.old_lines import Integers, Numbers, OldLines
from transforms.contract import Points
from transforms.nodes import PlaceIndex

LEAST_TOLERANCE_M = 0.03
"""Nearer than this a vertex lies on a line: three steps of MapInfo's default rounding."""

TOLERANCES_M = np.array([0.03, 0.05, 0.1, 0.2, 0.3])
"""The care with which layers are traced; the largest is far below the 2 m between a kerb and a fence."""

_TRACED_RATIO = 0.975
_TELLING_PIECE = 4.0
_CELL_M = 20.0
_DISPLACED_M = np.array([[17.0, 11.0], [-13.0, 19.0], [-19.0, -13.0], [11.0, -17.0]])


@dataclass(frozen=True)
class Edges:
    """The straight edges of the features that may be attached.

    Parameters
    ----------
    place
        ``(p, 2)`` every place once [m], in ascending order of easting and northing.
    start, end
        ``(e,)`` rows of ``place``.
    feature
        ``(e,)`` the feature that draws the edge.
    """

    place: Points
    start: Integers
    end: Integers
    feature: Integers

    def length_m(self, features: int) -> Numbers:
        """The length of all edges of each of ``features``, ``(features,)``; infinite for one without edges."""
        length = np.linalg.norm(self.place[self.end] - self.place[self.start], axis=1)
        total = np.bincount(self.feature, weights=length, minlength=features)
        return np.where(total > 0, total, np.inf)


@dataclass(frozen=True)
class Following:
    """Which segments of the old map the pieces of edges followed.

    Parameters
    ----------
    place
        ``(q, 2)`` the places of the edges, and after them the cuts [m].
    edge, share
        ``(c,)`` the edge each cut lies on, and how far along from ``start``.
    cut
        ``(c,)`` its row of ``place``.
    piece_start, piece_end, piece_edge
        ``(n,)`` ends of the pieces (rows of ``place``), and the edge each is part of.
    piece, segment
        ``(k,)`` pairs: this piece followed that segment of the old map.
    tolerance_m
        How near to a line a vertex counted as lying on it.
    """

    place: Points
    edge: Integers
    share: Numbers
    cut: Integers
    piece_start: Integers
    piece_end: Integers
    piece_edge: Integers
    piece: Integers
    segment: Integers
    tolerance_m: float

    @property
    def piece_length_m(self) -> Numbers:
        """``(n,)`` metres."""
        return cast("Numbers", np.linalg.norm(self.place[self.piece_end] - self.place[self.piece_start], axis=1))


def follow(edges: Edges, lines: OldLines, tolerance_m: float) -> Following:
    """Learn what each edge followed.

    Parameters
    ----------
    edges
        The edges at their old places.
    lines
        The old base map.
    tolerance_m
        How near to a line a vertex lies on it; ``learn_tolerance_m`` tells.
    """
    edge, share, on_map = _cuts(edges, lines, tolerance_m)
    place, cut = _with_cuts(edges, edge, share, on_map)
    start, end, piece_edge = _pieces(edges, edge, share, cut)
    piece, segment = _on_one_segment(place, start, end, lines, tolerance_m)
    return Following(place, edge, share, cut, start, end, piece_edge, piece, segment, tolerance_m)


def learn_tolerance_m(places: Points, lines: OldLines) -> float:
    """How closely a layer was traced: most of what lies nearer to lines than by chance lies within it.

    Parameters
    ----------
    places
        ``(n, 2)`` vertices of the layer on the old map.
    lines
        The old base map.
    """
    near = _near(places, lines) - np.mean([_near(places + by, lines) for by in _DISPLACED_M], axis=0)
    if near[-1] <= 0:
        return LEAST_TOLERANCE_M
    enough = near >= _TRACED_RATIO * near[-1]
    return float(TOLERANCES_M[np.argmax(enough)])


def _near(places: Points, lines: OldLines) -> Numbers:
    """How many of the places lie within each of ``TOLERANCES_M`` of a line."""
    point, segment = lines.within(places, TOLERANCES_M[-1])
    foot, _ = lines.foot(places[point], segment)
    distance = np.full(len(places), np.inf)
    np.minimum.at(distance, point, np.linalg.norm(foot - places[point], axis=1))
    return cast("Numbers", (distance[:, None] <= TOLERANCES_M).sum(axis=0).astype(float))


def _cuts(edges: Edges, lines: OldLines, tolerance_m: float) -> tuple[Integers, Numbers, Points]:
    """The map's vertices on the inside of edges: edge, how far along it, and the vertex."""
    vertices = np.concatenate([lines.start, lines.end])
    if not len(vertices) or not len(edges.start):
        return np.empty(0, np.int64), np.empty(0), np.empty((0, 2))
    index = PlaceIndex.of(vertices, _CELL_M)
    # From the lower to the higher place, whichever way it is drawn: neighbours get the same to the last bit.
    low, high = np.minimum(edges.start, edges.end), np.maximum(edges.start, edges.end)
    edge, share, on_map = index.on_segments(edges.place[low], edges.place[high], tolerance_m)
    return edge, np.where(edges.start[edge] > edges.end[edge], 1.0 - share, share), on_map


def _with_cuts(edges: Edges, edge: Integers, share: Numbers, on_map: Points) -> tuple[Points, Integers]:
    """All places, and the row of each cut: the map's vertex itself, or beside one further off the place on the edge."""
    low, high = np.minimum(edges.start, edges.end)[edge], np.maximum(edges.start, edges.end)[edge]
    upward = np.where(edges.start[edge] > edges.end[edge], 1.0 - share, share)[:, None]
    on_edge = edges.place[low] + upward * (edges.place[high] - edges.place[low])
    is_on = np.linalg.norm(on_edge - on_map, axis=1) <= LEAST_TOLERANCE_M
    cuts = np.where(is_on[:, None], on_map, on_edge)
    once, number = np.unique(cuts, axis=0, return_inverse=True)
    return np.concatenate([edges.place, once.reshape(-1, 2)]), len(edges.place) + number.ravel()


def _pieces(edges: Edges, edge: Integers, share: Numbers, cut: Integers) -> tuple[Integers, Integers, Integers]:
    number = np.arange(len(edges.start))
    of_edge = np.concatenate([number, edge, number])
    along = np.concatenate([np.zeros(len(number)), share, np.ones(len(number))])
    place = np.concatenate([edges.start, cut, edges.end])
    order = np.lexsort((along, of_edge))
    of_edge, place = of_edge[order], place[order]
    first = np.flatnonzero((of_edge[:-1] == of_edge[1:]) & (place[:-1] != place[1:]))
    return place[first], place[first + 1], of_edge[first]


def _on_one_segment(
    place: Points, start: Integers, end: Integers, lines: OldLines, tolerance_m: float
) -> tuple[Integers, Integers]:
    """Every pair of a piece and a segment that both its ends lie on."""
    used = np.unique(np.concatenate([start, end]))
    point, segment = lines.within(place[used], tolerance_m + 1e-9)
    point = used[point]
    order = np.lexsort((segment, point))
    point, segment = point[order], segment[order]
    telling = np.flatnonzero(np.linalg.norm(place[end] - place[start], axis=1) > _TELLING_PIECE * tolerance_m)
    low, high = np.searchsorted(point, [start[telling], start[telling] + 1])
    piece = np.repeat(telling, high - low)
    row = np.arange(len(piece)) + np.repeat(low - (np.cumsum(high - low) - (high - low)), high - low)
    key = point * len(lines) + segment
    wanted = end[piece] * len(lines) + segment[row]
    at = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
    both = key[at] == wanted if len(key) else np.empty(0, bool)
    return piece[both], segment[row[both]]

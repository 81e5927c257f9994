"""Where the places of a layer go on the new map: with what they followed on the old one, at the same offset.

Three rules, each a function of the place alone, so that neighbours go on sharing what they share:

1. A place on a line of the old map goes where that very place of that very line went, if the shift finds it possible.
2. A place in a building (a point) goes with the building.
3. Any other place moves with the shift and a smooth share of how far the map's lines about it differ from the shift:
   the nearest count by far the most (a tree keeps its metre from the hedge), far ones hardly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from qa.base_maps import BaseMaps
from qa.following import LEAST_TOLERANCE_M, Edges, Following
from qa.in_buildings import building_shift, keeps_place_in_buildings
from qa.old_lines import CHANGED, GONE, SAME, Integers, Numbers, OldLines
from transforms.contract import Points, ShiftField

Masks = NDArray[np.bool_]

SURELY = 3.0
"""Of a circular normal error only one in 8,000 exceeds three radial standard errors."""

LEAST_ALLOWANCE_M = 1.0
"""In a resurveyed town each building has an error of its own of up to a metre, which no control shows."""

STRAIGHT_M = 0.01
"""A cut nearer than this to the straight line between its neighbours need not become a vertex."""

TELLING_M = 1.0
"""A shorter stretch along a line that is gone may be chance."""

BESIDE_M = 4.0
"""Lines as near as this are looked at all along, further ones at their vertices."""

REACH_M = 60.0
_NEAREST = 8
_SOFT_M = 0.2
_SHIFT_COUNTS_AS_M = 40.0
"""The shift itself has the say of a line so far away."""


@dataclass(frozen=True)
class Attachment:
    """Where each place goes, and what became of the edges.

    Parameters
    ----------
    image
        ``(q, 2)`` where each place of ``Following.place`` goes on the new map [m].
    owner
        ``(q,)`` the feature of the old map it is attached to (row of the old edition), -1 for none.
    piece_follows
        ``(n,)`` whether a piece is attached at both its ends to what it followed.
    cut_needed
        ``(c,)`` which cuts must become vertices.
    length_m
        Of each outcome the length ``(features,)`` in metres: ``followed``, ``attached``, ``gone``, ``changed``,
        ``disagrees``.
    """

    image: Points
    owner: Integers
    piece_follows: Masks
    cut_needed: Masks
    length_m: dict[str, Numbers]


def attach(
    edges: Edges, following: Following, lines: OldLines, base: BaseMaps, field: ShiftField, features: int
) -> Attachment:
    """Decide where every place goes.

    Parameters
    ----------
    edges, following
        The edges and what they followed.
    lines
        The old base map and where it went.
    base
        The base maps, for what lies in a building.
    field
        The fitted shift.
    features
        How many features there are.
    """
    shifted = field(following.place)
    candidates = _Candidates.of(following, lines, field, shifted)
    chosen = candidates.chosen(edges, following, lines, features)
    image = _free_images(following.place, chosen < 0, lines, field, shifted)
    at = np.flatnonzero(chosen >= 0)
    image[at] = candidates.image[chosen[at]]
    owner = np.full(len(image), -1, dtype=np.int64)
    owner[at] = lines.owner[candidates.segment[chosen[at]]]
    _put_in_buildings(image, owner, edges, following.place, lines, base, field, shifted)
    follows, length_m = _outcome(edges, following, lines, owner, features)
    needed = _needed_cuts(edges, following, image, follows)
    return Attachment(image, owner, follows, needed, length_m)


def _put_in_buildings(
    image: Points,
    owner: Integers,
    edges: Edges,
    place: Points,
    lines: OldLines,
    base: BaseMaps,
    field: ShiftField,
    shifted: Points,
) -> None:
    """Let points that lie in buildings, and have the habit of it, go with them."""
    alone = np.ones(len(place), dtype=bool)
    alone[len(edges.place) :] = alone[edges.start] = alone[edges.end] = False
    points = np.flatnonzero(alone & np.isfinite(shifted[:, 0]))
    by_map, building = building_shift(place[points], base, lines)
    by_shift = shifted[points] - place[points]
    if not keeps_place_in_buildings(place[points], by_shift, by_map, building, base):
        return
    goes = np.linalg.norm(by_map - by_shift, axis=1) <= _allowance_m(field, place[points])
    at = points[goes]
    image[at], owner[at] = place[at] + by_map[goes], building[goes]


@dataclass(frozen=True)
class _Candidates:
    """Pairs of a place and a segment with an image that it lies on, and where the pair would put it."""

    place: Integers
    segment: Integers
    distance_m: Numbers
    image: Points
    is_possible: Masks

    @classmethod
    def of(cls, following: Following, lines: OldLines, field: ShiftField, shifted: Points) -> _Candidates:
        place, segment = lines.within(following.place, following.tolerance_m + 1e-9)
        known = lines.has_image[segment]
        place, segment = place[known], segment[known]
        where = following.place[place]
        foot, share = lines.foot(where, segment)
        distance_m = np.linalg.norm(where - foot, axis=1)
        offset = np.where((distance_m > LEAST_TOLERANCE_M)[:, None], where - foot, 0.0)
        image = lines.image(segment, share) + offset
        allowance_m = _allowance_m(field, following.place)[place]
        is_possible = np.linalg.norm(image - shifted[place], axis=1) <= allowance_m
        return cls(place, segment, distance_m, image, is_possible)

    def chosen(self, edges: Edges, following: Following, lines: OldLines, features: int) -> Integers:
        """The candidate each place takes, ``(q,)``; -1 for none.

        What the edges at a place followed has the say, the more of it each feature followed the more; where no edge
        followed anything, the nearest line has it.
        """
        count = len(lines.state)
        votes = _votes(edges, following, lines, features)
        key = self.place * count + lines.owner[self.segment]
        at = np.minimum(np.searchsorted(votes[0], key), max(len(votes[0]) - 1, 0))
        told = votes[0][at] == key if len(votes[0]) else np.zeros(len(key), dtype=bool)
        weight = np.where(told, votes[1][at], 0.0) if len(votes[0]) else np.zeros(len(key))
        weight = weight * (1.0 - 0.5 * self.distance_m / following.tolerance_m)
        usable = self.is_possible & (told | (self.distance_m <= LEAST_TOLERANCE_M))
        row = np.flatnonzero(usable)
        order = row[np.lexsort((self.segment[row], self.distance_m[row], -weight[row], self.place[row]))]
        first = np.r_[True, self.place[order][1:] != self.place[order][:-1]] if len(order) else np.empty(0, bool)
        result = np.full(len(following.place), -1, dtype=np.int64)
        result[self.place[order[first]]] = order[first]
        return result


def _votes(edges: Edges, following: Following, lines: OldLines, features: int) -> tuple[Integers, Numbers]:
    """For each place and feature of the map that an edge there followed, a sorted key and the length followed."""
    count = len(lines.state)
    pair = np.unique(following.piece * count + lines.owner[following.segment])
    piece, owner = pair // count, pair % count
    feature = edges.feature[following.piece_edge[piece]]
    _, group = np.unique(feature * count + owner, return_inverse=True)
    support = np.bincount(group, weights=following.piece_length_m[piece])[group] if len(group) else np.empty(0)
    place = np.concatenate([following.piece_start[piece], following.piece_end[piece]])
    key, group = np.unique(place * count + np.tile(owner, 2), return_inverse=True)
    return key, np.bincount(group, weights=np.tile(support, 2), minlength=len(key)).astype(float)


def _allowance_m(field: ShiftField, places: Points) -> Numbers:
    uncertainty = np.nan_to_num(field.uncertainty(places), nan=0.0)
    return cast("Numbers", np.maximum(SURELY * uncertainty, LEAST_ALLOWANCE_M))


def _outcome(
    edges: Edges, following: Following, lines: OldLines, owner: Integers, features: int
) -> tuple[Masks, dict[str, Numbers]]:
    pieces = len(following.piece_start)
    best = np.full(pieces, np.iinfo(np.int64).max)
    np.minimum.at(best, following.piece, lines.state[lines.owner[following.segment]])
    followed = best <= GONE
    attached = (best == SAME) & (owner[following.piece_start] >= 0) & (owner[following.piece_end] >= 0)
    masks = {
        "followed": followed,
        "attached": attached,
        "gone": best == GONE,
        "changed": best == CHANGED,
        "disagrees": (best == SAME) & ~attached,
    }
    feature, length_m = edges.feature[following.piece_edge], following.piece_length_m
    return attached, {
        name: np.bincount(feature[mask], weights=length_m[mask], minlength=features).astype(float)
        for name, mask in masks.items()
    }


def _needed_cuts(edges: Edges, following: Following, image: Points, follows: Masks) -> Masks:
    """All useful cuts of an edge that would otherwise leave the line, or that leaves the line itself; else none."""
    beside = np.zeros(len(following.place), dtype=bool)
    beside[following.piece_start[follows]] = beside[following.piece_end[follows]] = True
    start, end = image[edges.start[following.edge]], image[edges.end[following.edge]]
    off = np.linalg.norm(image[following.cut] - start - following.share[:, None] * (end - start), axis=1) > STRAIGHT_M
    some = np.bincount(following.piece_edge[follows], minlength=len(edges.start)) > 0
    part = np.bincount(following.piece_edge[~follows], minlength=len(edges.start)) > 0
    leaves = (some & part)[following.edge]
    crooked = np.bincount(following.edge[(off | leaves) & beside[following.cut]], minlength=len(edges.start)) > 0
    return crooked[following.edge] & beside[following.cut]


def _free_images(places: Points, is_free: Masks, lines: OldLines, field: ShiftField, shifted: Points) -> Points:
    image = shifted.copy()
    free = np.flatnonzero(is_free & np.isfinite(shifted[:, 0]))
    if len(free):
        image[free] += smooth_correction(places[free], lines, field)
    return image


def smooth_correction(places: Points, lines: OldLines, field: ShiftField) -> Points:
    """How far the map's lines about places differ from the shift, ``(n, 2)`` metres.

    The mean of the differences at the nearest lines, weighted with the inverse fourth power of their distance; the
    shift itself counts as a line 40 m away, so it fades out. Lines across a break have no say.
    """
    if not lines.has_free_image.any():
        return np.zeros_like(places)
    place, foot, new = _lines_about(places, lines)
    shifted = field(foot)
    difference = new - shifted
    good = np.linalg.norm(difference, axis=1) <= _allowance_m(field, foot)
    good &= field.piece(foot) == field.piece(places)[place]
    place, foot, difference = place[good], foot[good], difference[good]
    square = ((places[place] - foot) ** 2).sum(axis=1) + _SOFT_M**2
    weight = 1.0 / square**2
    total = np.bincount(place, weights=weight, minlength=len(places)) + 1.0 / _SHIFT_COUNTS_AS_M**4
    sums = [np.bincount(place, weights=weight * axis, minlength=len(places)) for axis in difference.T]
    return cast("Points", np.stack(sums, axis=1) / total[:, None])


def _lines_about(places: Points, lines: OldLines) -> tuple[Integers, Points, Points]:
    """Pairs of a place and a place of the map near it: row, where it was, where it went."""
    near, segment = lines.within(places, BESIDE_M)
    has_image = lines.has_free_image
    known = has_image[segment]
    near, segment = near[known], segment[known]
    foot, share = lines.foot(places[near], segment)
    old, new = lines.start[has_image], lines.new_start[has_image]
    count = min(_NEAREST, len(old))
    distance, vertex = cKDTree(old).query(places, k=count, distance_upper_bound=REACH_M)
    distance, vertex = distance.reshape(len(places), count), vertex.reshape(len(places), count)
    # Nearer vertices are feet of lines looked at already.
    place, column = np.nonzero(np.isfinite(distance) & (distance > BESIDE_M))
    vertex = vertex[place, column]
    return (
        np.concatenate([near, place]),
        np.concatenate([foot, old[vertex]]),
        np.concatenate([lines.image(segment, share), new[vertex]]),
    )

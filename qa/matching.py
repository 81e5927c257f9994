"""Which feature of the old base map is which feature of the new one: by id, else by shape and neighbourhood.

Every likely pair proposes a shift. A pair is believed by how many features about it propose the same shift: so an id
that was given to another object is found out, and features without ids are matched, also where nothing is known of the
shift beforehand and across the breaks between old sheets (each side has neighbours enough of its own).
Geometries in, row numbers out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from transforms.contract import Points

Geometries = NDArray[np.object_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int_]
Mask = NDArray[np.bool_]

LONGEST_SHIFT_M = 10.0
"""No corner of the map moved further; features further apart are not the same."""

SAME_SHAPE_M = 0.5
"""Corners of one object differ by no more between editions once its shift is taken out (RMS)."""

ALTERED_RATIO = 0.05
"""An object whose area (a line: length) differs by more between the editions was altered: its corners tell no shift."""

FORWARD = np.array([0.8776, 0.4794])
"""A direction that few walls are square to: seen along it two corners of an outline are seldom level."""

NEIGHBOURHOOD_M = 200.0
AGREEING_M = 0.8
"""Features within the neighbourhood whose shifts differ by no more speak for one another."""

LEAST_SUPPORT = 3
"""So many neighbours must propose the shift of a pair that only its shape speaks for."""

CLEAR_LEAD = 1.5
"""A pair must have this many times the support of the next candidate of either feature."""

BORNE_OUT_SHARE = 0.9
"""So much of an object's corners must move as known corners near them."""

ROUNDS = 3
"""Each round reaches a neighbourhood further from what was matched by then."""

ID_HEAD_START = 3.0
"""An id counts as much as this many times the support it has."""


@dataclass(frozen=True)
class Matches:
    """Pairs of features that are one object in both editions.

    Parameters
    ----------
    old, new
        ``(m,)`` rows of the old and of the new edition; each row occurs once at the most.
    by_id
        ``(m,)`` whether the id says so; else shape and neighbourhood.
    is_altered
        ``(m,)`` whether the object was extended or redrawn in between: it is the same, its corners are not.
    corner_before, corner_after
        ``(c, 2)`` metres, corresponding corners of the objects that were not altered.
    corner_pair
        ``(c,)`` which pair each corner belongs to, ascending.
    """

    old: Ints
    new: Ints
    by_id: Mask
    is_altered: Mask
    corner_before: Points
    corner_after: Points
    corner_pair: Ints

    def __len__(self) -> int:
        return len(self.old)


@dataclass(frozen=True)
class _Pairs:
    """Candidates: rows, how they came to be one, the shift each proposes (median of its corners).

    ``is_alike``: as many corners and about the same size. ``is_altered``: the corners do not correspond.
    """

    old: Ints
    new: Ints
    by_id: Mask
    is_alike: Mask
    is_altered: Mask
    shift: Points

    def __len__(self) -> int:
        return len(self.old)

    def take(self, rows: Ints | Mask) -> _Pairs:
        return _Pairs(*(getattr(self, each.name)[rows] for each in fields(self)))

    def and_also(self, more: _Pairs) -> _Pairs:
        return _Pairs(*(np.concatenate([getattr(self, e.name), getattr(more, e.name)]) for e in fields(self)))


def match_features(
    before: Geometries, after: Geometries, before_ids: NDArray[np.object_], after_ids: NDArray[np.object_]
) -> Matches:
    """Match the features of two editions of a base map.

    Parameters
    ----------
    before, after
        ``(n,)`` and ``(k,)`` geometries without null or empty ones, in metres.
    before_ids, after_ids
        ``(n,)`` and ``(k,)`` ids; None or empty where unknown. An id that occurs twice in an edition tells nothing.
    """
    old, new = _Shapes.of(before), _Shapes.of(after)
    pairs = _candidates(old, new, before_ids, after_ids)
    chosen = _believed(pairs, old.middle)
    for _ in range(ROUNDS):
        chosen = _grown(chosen, pairs, old, new)
    return _with_corners(chosen, old, new)


@dataclass(frozen=True)
class _Shapes:
    """An edition as arrays: corners in canonical order, and what tells objects apart at a glance."""

    corners: Points
    first: Ints
    count: Ints
    is_area: Mask
    middle: Points
    size: Floats

    @classmethod
    def of(cls, geometries: Geometries) -> _Shapes:
        corners, owner = _canonical_corners(geometries)
        count = np.bincount(owner, minlength=len(geometries))
        is_area = shapely.get_dimensions(geometries) == 2
        total = np.stack([np.bincount(owner, corners[:, k], len(geometries)) for k in (0, 1)], axis=1)
        size = np.where(is_area, shapely.area(geometries), shapely.length(geometries))
        return cls(corners, np.cumsum(count) - count, count, is_area, total / np.maximum(count, 1)[:, None], size)

    def __len__(self) -> int:
        return len(self.count)

    def corners_of(self, rows: Ints) -> tuple[Points, Ints]:
        """The corners of ``rows`` one after another, and which of ``rows`` each belongs to."""
        count = self.count[rows]
        pair = np.repeat(np.arange(len(rows)), count)
        place = np.arange(len(pair)) - np.repeat(np.cumsum(count) - count, count)
        return self.corners[np.repeat(self.first[rows], count) + place], pair


def _canonical_corners(geometries: Geometries) -> tuple[Points, Ints]:
    """All corners, each ring once round from its corner furthest back along ``FORWARD``, each line forward too.

    So the corners of an object come in the same order in both editions, wherever its outline was begun. Returns them
    with the row of the geometry that each belongs to, ascending.
    """
    parts, part_owner = shapely.get_parts(geometries, return_index=True)
    is_area, is_line = (shapely.get_dimensions(parts) == dimension for dimension in (2, 1))
    rings, ring_part = shapely.get_rings(shapely.orient_polygons(parts[is_area]), return_index=True)
    strings = np.concatenate([rings, parts[is_line]])
    string_owner = np.concatenate([part_owner[is_area][ring_part], part_owner[is_line]])
    order = np.argsort(string_owner, kind="stable")
    corners, string = shapely.get_coordinates(strings[order], return_index=True)
    is_ring = (order < len(rings))[string]
    closes = is_ring & np.append(np.diff(string) != 0, True)[: len(string)]
    corners, string, is_ring = corners[~closes], string[~closes], is_ring[~closes]
    return corners[_canonical_order(corners, string, is_ring)], string_owner[order][string]


def _canonical_order(corners: Points, string: Ints, is_ring: Mask) -> Ints:
    count = np.bincount(string)
    first = np.cumsum(count) - count
    place = np.arange(len(string)) - first[string]
    forward = corners @ FORWARD
    furthest_back = np.lexsort((forward, string))[first[string]] - first[string]
    last = first[string] + count[string] - 1
    is_backward = ~is_ring & (forward[first[string]] > forward[last])
    place = np.where(is_ring, (place - furthest_back) % count[string], np.where(is_backward, -place, place))
    return np.lexsort((place, string))


def _candidates(old: _Shapes, new: _Shapes, old_ids: NDArray[np.object_], new_ids: NDArray[np.object_]) -> _Pairs:
    by_id = _pairs_with_the_same_id(old_ids, new_ids)
    by_id = tuple(rows[old.is_area[by_id[0]] == new.is_area[by_id[1]]] for rows in by_id)
    near = _pairs_alike(old, new)
    said = np.isin(near[0] * len(new) + near[1], by_id[0] * len(new) + by_id[1])
    rows_old = np.concatenate([by_id[0], near[0][~said]])
    rows_new = np.concatenate([by_id[1], near[1][~said]])
    is_by_id = np.arange(len(rows_old)) < len(by_id[0])
    is_alike = (old.count[rows_old] == new.count[rows_new]) & (
        np.abs(old.size[rows_old] - new.size[rows_new]) <= ALTERED_RATIO * old.size[rows_old]
    )
    shift, is_same = _proposed_shift(old, new, rows_old, rows_new, is_alike)
    pairs = _Pairs(rows_old, rows_new, is_by_id, is_alike, ~is_same, shift)
    return pairs.take(np.hypot(*shift.T) <= LONGEST_SHIFT_M)


def _pairs_with_the_same_id(old: NDArray[np.object_], new: NDArray[np.object_]) -> tuple[Ints, Ints]:
    old_ids, old_row = _rows_of_unique_ids(old)
    new_ids, new_row = _rows_of_unique_ids(new)
    _, in_old, in_new = np.intersect1d(old_ids, new_ids, assume_unique=True, return_indices=True)
    return old_row[in_old], new_row[in_new]


def _rows_of_unique_ids(ids: NDArray[np.object_]) -> tuple[NDArray[np.str_], Ints]:
    known = np.flatnonzero([bool(value) for value in ids])
    text, first, count = np.unique(ids[known].astype(str), return_index=True, return_counts=True)
    return text[count == 1], known[first[count == 1]]


def _pairs_alike(old: _Shapes, new: _Shapes) -> tuple[Ints, Ints]:
    """Pairs with as many corners, about the same size and middles no further apart than the map moved."""
    found_old, found_new = [], []
    for is_area in (True, False):
        for count in np.unique(old.count[old.is_area == is_area]):
            mine = np.flatnonzero((old.count == count) & (old.is_area == is_area))
            theirs = np.flatnonzero((new.count == count) & (new.is_area == is_area))
            if len(theirs) == 0:
                continue
            near = cKDTree(old.middle[mine]).sparse_distance_matrix(
                cKDTree(new.middle[theirs]), LONGEST_SHIFT_M, output_type="coo_matrix"
            )
            one, two = mine[near.row], theirs[near.col]
            alike = np.abs(old.size[one] - new.size[two]) <= ALTERED_RATIO * old.size[one]
            found_old.append(one[alike])
            found_new.append(two[alike])
    nothing = np.empty(0, dtype=int)
    return np.concatenate([nothing, *found_old]), np.concatenate([nothing, *found_new])


def _proposed_shift(old: _Shapes, new: _Shapes, one: Ints, two: Ints, is_alike: Mask) -> tuple[Points, Mask]:
    """The median shift of the corners of each pair, and whether its corners correspond one to one.

    They do where the outline kept its shape; where a break crosses an object only its neighbours can tell (``_grown``).
    """
    shift = new.middle[two] - old.middle[one]
    rows = np.flatnonzero(is_alike)
    before, pair = old.corners_of(one[rows])
    each = new.corners_of(two[rows])[0] - before
    count = np.bincount(pair, minlength=len(rows))
    shift[rows] = _median_by_pair(each, pair, count)
    rms = np.sqrt(np.bincount(pair, ((each - shift[rows][pair]) ** 2).sum(axis=1), len(rows)) / np.maximum(count, 1))
    is_same = np.zeros(len(one), dtype=bool)
    is_same[rows] = rms <= SAME_SHAPE_M
    return shift, is_same


def _median_by_pair(values: Points, pair: Ints, count: Ints) -> Points:
    """The median of each column of ``values`` for each pair; ``pair`` ascends and every pair has values."""
    first = np.cumsum(count) - count
    middle = np.empty((len(count), 2))
    for axis in (0, 1):
        ordered = values[np.lexsort((values[:, axis], pair)), axis]
        middle[:, axis] = (ordered[first + (count - 1) // 2] + ordered[first + count // 2]) / 2.0
    return middle


def _believed(pairs: _Pairs, old_middle: Points) -> _Pairs:
    """Of all candidates those that their neighbourhood bears out, each feature once."""
    pairs = pairs.take(~pairs.is_altered | pairs.by_id)
    support = _support(pairs, old_middle[pairs.old])
    enough = (support >= LEAST_SUPPORT) | pairs.by_id
    pairs, support = pairs.take(enough), support[enough]
    return pairs.take(_is_clear(pairs, (support + 1.0) * np.where(pairs.by_id, ID_HEAD_START, 1.0)))


def _is_clear(pairs: _Pairs, weight: Floats) -> Mask:
    """Pairs that outweigh every other candidate of their two features."""
    return (_lead(pairs.old, weight) >= CLEAR_LEAD) & (_lead(pairs.new, weight) >= CLEAR_LEAD)


def _grown(chosen: _Pairs, pairs: _Pairs, old: _Shapes, new: _Shapes) -> _Pairs:
    """The chosen pairs and those each corner of which moves as a corner near it that is known already.

    So what a break crosses is matched too: each side of it has neighbours of its own.
    """
    known = _with_corners(chosen, old, new)
    if not len(known.corner_before):
        return chosen
    tree = cKDTree(_scaled(known.corner_before, known.corner_after - known.corner_before))
    free = ~(np.isin(pairs.old, chosen.old) | np.isin(pairs.new, chosen.new))
    more = pairs.take(free & pairs.is_alike)
    borne_out = _share_borne_out(tree, more, old, new) >= BORNE_OUT_SHARE
    more = more.take(borne_out)
    more = more.take(_is_clear(more, np.ones(len(more))))
    unsure = np.flatnonzero(chosen.is_altered & chosen.is_alike)
    unaltered = unsure[_share_borne_out(tree, chosen.take(unsure), old, new) >= BORNE_OUT_SHARE]
    is_altered = chosen.is_altered.copy()
    is_altered[unaltered] = False
    return replace(chosen, is_altered=is_altered).and_also(replace(more, is_altered=np.zeros(len(more), dtype=bool)))


def _share_borne_out(tree: cKDTree, pairs: _Pairs, old: _Shapes, new: _Shapes) -> Floats:
    before, pair = old.corners_of(pairs.old)
    scaled = _scaled(before, new.corners_of(pairs.new)[0] - before)
    is_near = np.isfinite(tree.query(scaled, distance_upper_bound=1.0)[0]) if len(scaled) else np.empty(0)
    return np.bincount(pair, is_near, len(pairs)) / np.maximum(np.bincount(pair, minlength=len(pairs)), 1)


def _scaled(places: Points, shift: Points) -> NDArray[np.float64]:
    """Places and shifts in one space, in which neighbours that agree are less than 1 apart."""
    return np.hstack([places / NEIGHBOURHOOD_M, shift / AGREEING_M])


def _support(pairs: _Pairs, places: Points) -> Floats:
    """How many other pairs near each propose the same shift, ``(m,)``."""
    scaled = _scaled(places, pairs.shift)
    voices = ~pairs.is_altered
    if not voices.any():
        return np.zeros(len(places))
    count = cKDTree(scaled[voices]).query_ball_point(scaled, 1.0, return_length=True)
    return np.asarray(count, dtype=float) - voices


def _lead(feature: Ints, weight: Floats) -> Floats:
    """Each candidate's weight over that of the best other candidate of the same feature; infinite without one."""
    order = np.lexsort((-weight, feature))
    rank_first = np.append(True, np.diff(feature[order]) != 0)[: len(order)]
    start = np.maximum.accumulate(np.where(rank_first, np.arange(len(order)), 0))
    top, second = weight[order][start], np.zeros(len(order))
    following = np.minimum(start + 1, len(order) - 1)
    has_second = (following > start) & (feature[order][following] == feature[order])
    second[has_second] = weight[order][following[has_second]]
    other = np.where(rank_first, second, top)
    lead = np.empty(len(order))
    lead[order] = np.divide(weight[order], other, out=np.full(len(order), np.inf), where=other > 0)
    return lead


def _with_corners(pairs: _Pairs, old: _Shapes, new: _Shapes) -> Matches:
    same = np.flatnonzero(~pairs.is_altered)
    before, owner = old.corners_of(pairs.old[same])
    after, _ = new.corners_of(pairs.new[same])
    return Matches(pairs.old, pairs.new, pairs.by_id, pairs.is_altered, before, after, same[owner])

"""Which thing of the old map is which thing of the new one: by id where it can be believed, by shape and neighbours.

Identifiers are missing, re-issued and exchanged, so an identifier is evidence and no proof. Shapes that could be the
same (``qa/candidates.py``) propose a shift each; neighbours move alike, so the proposals that many neighbours share
are the true ones: each pair is weighed by how far its neighbours' best pairs agree with it, a few times over
(relaxation labelling; Rosenfeld, Hummel and Zucker 1976). Nothing needs to be known of the shift beforehand, and it
may jump. What is left over is compared once laid over the new map by its neighbours' shift: it was altered, or is gone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from qa.candidates import SHAPE_NOISE_M, SHAPE_NOISE_RATIO, Candidates, candidates
from qa.outlines import RING, Outlines
from qa.remains import altered_pairs
from transforms.contract import Points

Geometries = NDArray[np.object_]
Ints = NDArray[np.int_]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

LONGEST_SHIFT_M = 10.0
"""No corner of the map moved further; features further apart are not the same."""

ALTERED_RATIO = 0.05
"""An object whose area (a line: length) differs by more between the editions was altered."""

NEIGHBOURS = np.array([1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 64])
"""Which neighbours have a say, counted from the nearest: a few beyond the terrace, whose houses all look alike."""

AGREEMENT_M = 0.3
"""Neighbours whose shifts differ by this agree half."""

LEAST_SUPPORT = 0.12
"""Share of the neighbours' agreement below which a pair is a coincidence."""

CLEAR_SHARE = 0.6
"""A pair must hold so much of the weight of all pairs of either of its things; else which is which cannot be told."""

SAME_ID_FAVOUR = 5.0
"""How much likelier a pair is when its two things carry the same identifier."""

ROUNDS = 3
ROUNDING_M = 0.01
"""Coordinates of both editions are on the centimetre; radial."""

_MOST_PAIRS = 20_000
_NO_SUPPORT = 0.01
_FEW = 10


@dataclass(frozen=True)
class Matches:
    """Pairs of features that are one object in both editions.

    Parameters
    ----------
    old, new
        ``(m,)`` rows of the old and of the new edition, ascending by ``old``; each row occurs once at the most.
    by_id
        ``(m,)`` whether the two carry the same id; else shape and neighbourhood say so.
    is_altered
        ``(m,)`` whether the object was extended or redrawn in between: it is the same, its corners are not.
    corner_before, corner_after
        ``(c, 2)`` metres, corresponding corners of the objects that were not altered.
    corner_pair
        ``(c,)`` which pair each corner belongs to, ascending.
    corner_accuracy_m
        ``(c,)`` radial standard error in metres of the shift that a corner shows: rounding, and how far the outline is
        bent.
    """

    old: Ints
    new: Ints
    by_id: Mask
    is_altered: Mask
    corner_before: Points
    corner_after: Points
    corner_pair: Ints
    corner_accuracy_m: Floats

    def __len__(self) -> int:
        return len(self.old)

    @classmethod
    def of_same(cls, before: Geometries, after: Geometries) -> Matches:
        """Of ``(n,)`` geometries and the same ones elsewhere, vertex by vertex."""
        places, feature = shapely.get_coordinates(before, return_index=True)
        rows, none = np.arange(len(before)), np.zeros(len(before), dtype=bool)
        exact = np.zeros(len(places))
        return cls(rows, rows, none, none, places, shapely.get_coordinates(after), feature, exact)


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
    was, now = Outlines.of(before), Outlines.of(after)
    same_id = _NameSakes.of(before_ids, after_ids)
    chosen, support = _chosen(was, now, same_id)
    is_believed, unaltered = _believed(was, now, chosen, support, same_id.are(chosen.old, chosen.new))
    unaltered[unaltered] = ~_has_lone_vertex(was, now, chosen.take(unaltered))
    settled = is_believed | np.isnan(support)
    rest_old, rest_new = _without(len(was), chosen.old[settled]), _without(len(now), chosen.new[settled])
    chosen, unaltered = chosen.take(is_believed), unaltered[is_believed]
    shift = _surrounding_shift(was.centre[rest_old], was.centre[chosen.old[unaltered]], chosen.shift[unaltered])
    if not unaltered.any():
        rest_old = rest_old[:0]  # nothing is known of the shift, so nothing can be laid over the new map
    one, two = altered_pairs(
        before[rest_old], after[rest_new], shift[: len(rest_old)], same_id.within(rest_old, rest_new)
    )
    old, new = np.concatenate([chosen.old, rest_old[one]]), np.concatenate([chosen.new, rest_new[two]])
    order = np.argsort(old, kind="stable")
    pair_of_chosen = np.argsort(order)[: len(chosen)][unaltered]
    same = chosen.take(unaltered)
    corner_before, corner_after, owner = _ordered_vertices(was, now, same)
    return Matches(
        old[order],
        new[order],
        same_id.are(old, new)[order],
        np.concatenate([~unaltered, np.ones(len(one), dtype=bool)])[order],
        corner_before,
        corner_after,
        pair_of_chosen[owner],
        _corner_accuracy_m(was, same)[owner],
    )


@dataclass(frozen=True)
class _NameSakes:
    """For each old row the new row that carries the same identifier, -1 for none: ``(n,)``."""

    new: Ints

    @classmethod
    def of(cls, old_ids: NDArray[np.object_], new_ids: NDArray[np.object_]) -> _NameSakes:
        found = np.full(len(old_ids), -1)
        old_row, new_row = _rows_with_the_same_id(old_ids, new_ids)
        found[old_row] = new_row
        return cls(found)

    def are(self, old: Ints, new: Ints) -> Mask:
        return np.asarray(self.new[old] == new)

    def within(self, old: Ints, new: Ints) -> tuple[Ints, Ints]:
        """The pairs of one identifier among ``old`` and ``new`` rows, as positions in those arrays."""
        _, position, there = np.intersect1d(self.new[old], new, return_indices=True)
        return position, there


def _rows_with_the_same_id(old: NDArray[np.object_], new: NDArray[np.object_]) -> tuple[Ints, Ints]:
    """Rows of two lists of identifiers that carry the same one; an identifier that is not unique names nothing."""
    old_ids, old_row = _rows_of_unique_ids(old)
    new_ids, new_row = _rows_of_unique_ids(new)
    _, in_old, in_new = np.intersect1d(old_ids, new_ids, assume_unique=True, return_indices=True)
    return old_row[in_old], new_row[in_new]


def _rows_of_unique_ids(ids: NDArray[np.object_]) -> tuple[NDArray[np.str_], Ints]:
    known = np.flatnonzero([bool(value) for value in ids])
    text, first, count = np.unique(ids[known].astype(str), return_index=True, return_counts=True)
    return text[count == 1], known[first[count == 1]]


def _without(count: int, taken: Ints) -> Ints:
    left = np.ones(count, dtype=bool)
    left[taken] = False
    return np.flatnonzero(left)


def _chosen(was: Outlines, now: Outlines, same_id: _NameSakes) -> tuple[Candidates, Floats]:
    """Of each thing the pair that is the best for both sides; and its support, NaN where another is as likely."""
    pairs = candidates(was, now, LONGEST_SHIFT_M)
    if not len(pairs):
        return pairs, np.empty(0)
    prior = pairs.likeness * np.where(same_id.are(pairs.old, pairs.new), SAME_ID_FAVOUR, 1.0)
    neighbours = _neighbours(was.centre)
    weight = _share(pairs.old, prior, len(was))
    for _ in range(ROUNDS):
        support = _support(pairs, weight, neighbours, len(was))
        score = prior * (support + _NO_SUPPORT) ** 2
        weight = _share(pairs.old, score, len(was))
    rows = _mutual_best(pairs, score, len(was), len(now))
    is_clear = np.minimum(weight[rows], _share(pairs.new, score, len(now))[rows]) >= CLEAR_SHARE
    return pairs.take(rows), np.where(is_clear, support[rows], np.nan)


def _neighbours(centre: Points) -> NDArray[np.int32]:
    """``NEIGHBOURS`` of each place, ``(n, 16)``; n stands for none."""
    tree = cKDTree(centre)
    parts = np.array_split(centre, 1 + len(centre) // 100_000)
    return np.concatenate([tree.query(part, k=NEIGHBOURS + 1)[1].astype(np.int32) for part in parts])


def _support(pairs: Candidates, weight: Floats, neighbours: NDArray[np.int32], count: int) -> Floats:
    """How far the neighbours' pairs agree with each pair, ``(p,)``: mean over the neighbours that have any."""
    shifts, weights = _padded(pairs, weight, count)
    has_any = weights.max(axis=1) > 0
    support = np.empty(len(pairs))
    for part in np.array_split(np.arange(len(pairs)), 1 + len(pairs) // _MOST_PAIRS):
        there = neighbours[pairs.old[part]]
        apart = shifts[there] - pairs.shift[part].astype(np.float32)[:, None, None]
        agreement = weights[there] / (1.0 + (apart**2).sum(axis=3) / np.float32(AGREEMENT_M**2))
        support[part] = agreement.max(axis=2).sum(axis=1) / np.maximum(has_any[there].sum(axis=1), _FEW)
    return support


def _padded(pairs: Candidates, weight: Floats, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Shift and weight of each thing's pairs side by side, and one row more that stands for no thing."""
    of_old = np.bincount(pairs.old, minlength=count)
    slot = np.arange(len(pairs)) - (np.cumsum(of_old) - of_old)[pairs.old]
    shifts = np.zeros((count + 1, int(of_old.max()), 2), dtype=np.float32)
    weights = np.zeros(shifts.shape[:2], dtype=np.float32)
    shifts[pairs.old, slot], weights[pairs.old, slot] = pairs.shift, weight
    return shifts, weights


def _share(thing: Ints, score: Floats, count: int) -> Floats:
    """Each pair's score as a share of all pairs of the same ``thing`` ``(p,)``."""
    total = np.bincount(thing, weights=score, minlength=count)
    return np.asarray(score / np.maximum(total, 1e-12)[thing])


def _mutual_best(pairs: Candidates, score: Floats, old_count: int, new_count: int) -> Ints:
    """Pairs that are the best for both their things, and of what is left over again; in the order of old rows."""
    left, found = np.arange(len(pairs)), []
    for _ in range(ROUNDS):
        best_old, best_new = np.zeros(old_count), np.zeros(new_count)
        np.maximum.at(best_old, pairs.old[left], score[left])
        np.maximum.at(best_new, pairs.new[left], score[left])
        best = left[(score[left] >= best_old[pairs.old[left]]) & (score[left] >= best_new[pairs.new[left]])]
        best = best[np.unique(pairs.old[best], return_index=True)[1]]
        best = best[np.unique(pairs.new[best], return_index=True)[1]]
        found.append(best)
        is_free_old, is_free_new = np.ones(old_count, dtype=bool), np.ones(new_count, dtype=bool)
        is_free_old[pairs.old[best]], is_free_new[pairs.new[best]] = False, False
        left = left[is_free_old[pairs.old[left]] & is_free_new[pairs.new[left]]]
    rows = np.concatenate(found)
    return np.asarray(rows[np.argsort(pairs.old[rows], kind="stable")])


def _believed(
    was: Outlines, now: Outlines, chosen: Candidates, support: Floats, has_same_id: Mask
) -> tuple[Mask, Mask]:
    """Which pairs are the same thing, and of those which are unaltered.

    A pair is unaltered if its shape stayed, or is bent no more than the vertices of other things about it moved (a line
    across a break). Without its neighbours' support it counts only if it is unaltered, and carries the same id or is
    not far from where they went: a resurveyed building moved on its own.
    """
    noise_m = SHAPE_NOISE_M + SHAPE_NOISE_RATIO * was.radius_m[chosen.old]
    rigid = chosen.residual_m <= _RIGID * noise_m
    supported = (support >= LEAST_SUPPORT) | (rigid & has_same_id & ~np.isnan(support))
    sure = np.flatnonzero(rigid & supported)
    if not len(sure):
        return supported, rigid & supported
    bends_with_others = np.zeros(len(chosen), dtype=bool)
    unsure = np.flatnonzero(~(rigid & supported) & ~np.isnan(support))
    bends_with_others[unsure] = _bends_with(was, now, chosen.take(unsure), chosen.take(sure))
    around = _surrounding_shift(was.centre[chosen.old[unsure]], was.centre[chosen.old[sure]], chosen.shift[sure])
    is_own_way = np.zeros(len(chosen), dtype=bool)
    is_own_way[unsure] = np.linalg.norm(chosen.shift[unsure] - around, axis=1) <= OWN_WAY_M
    alone = rigid & is_own_way & (was.count[chosen.old] >= _TELLING_VERTICES)
    return supported | bends_with_others | alone, (rigid & supported) | bends_with_others | alone


OWN_WAY_M = 1.5
"""How far from its neighbours' shift a thing may go its own way and still be believed by its shape alone."""

LONE_VERTEX_M = 2.0
"""By how much a vertex that was redrawn moved unlike both its neighbours; rounding and breaks leave half of it."""

_RIGID = 3.0
_TELLING_VERTICES = 4
_NEAR_VERTICES = 12
_BENT_M = 0.5
_MOST_OF = 0.9


def _corner_accuracy_m(was: Outlines, pairs: Candidates) -> Floats:
    """What the corners of each pair scatter about its shift; of what a break bends, what such things usually do."""
    count = np.maximum(was.count[pairs.old], 2)
    usual_m = SHAPE_NOISE_M + SHAPE_NOISE_RATIO * was.radius_m[pairs.old]
    scatter_m = pairs.residual_m * np.sqrt(count / (count - 1.0))
    return np.hypot(ROUNDING_M, np.where(pairs.residual_m > _RIGID * usual_m, usual_m, scatter_m))


def _bends_with(was: Outlines, now: Outlines, pairs: Candidates, sure: Candidates) -> Mask:
    """Whether nearly all vertices of each pair moved like one of the nearest vertices of ``sure`` pairs."""
    before, after, _ = _ordered_vertices(was, now, sure)
    place, moved, owner = _ordered_vertices(was, now, pairs)
    near = cKDTree(before).query(place, k=np.arange(1, min(_NEAR_VERTICES, len(before)) + 1))[1]
    apart = np.linalg.norm((after - before)[near] - (moved - place)[:, None], axis=2).min(axis=1)
    good = np.bincount(owner, weights=apart <= _BENT_M, minlength=len(pairs))
    return np.asarray(good >= _MOST_OF * np.bincount(owner, minlength=len(pairs)))


def _has_lone_vertex(was: Outlines, now: Outlines, pairs: Candidates) -> Mask:
    """Whether a vertex of each pair moved unlike the one before it and unlike the one after it along the outline.

    A long line may bend a good deal and still be the same, at a break even sharply; but at a break a vertex moves with
    its neighbours on one side. One that moves with neither was redrawn.
    """
    before, after, owner = _ordered_vertices(was, now, pairs)
    shift, row = after - before, np.arange(len(owner))
    first = np.searchsorted(owner, owner)
    last = np.searchsorted(owner, owner, side="right") - 1
    is_ring = now.kind[pairs.new][owner] == RING
    neighbours = (
        np.where(row > first, row - 1, np.where(is_ring, last, row)),
        np.where(row < last, row + 1, np.where(is_ring, first, row)),
    )
    apart = [np.linalg.norm(shift - shift[other], axis=1) for other in neighbours]
    return np.bincount(owner, weights=np.minimum(*apart) > LONE_VERTEX_M, minlength=len(pairs)) > 0


def _ordered_vertices(was: Outlines, now: Outlines, pairs: Candidates) -> tuple[Points, Points, Ints]:
    """Each vertex of the old shapes, its place on the new map, and which pair it belongs to."""
    row, owner = was.all_vertices(pairs.old)
    count = was.count[pairs.old][owner]
    within = row - was.first[pairs.old][owner]
    step = np.where(pairs.is_reversed, -1, 1)[owner]
    there = (pairs.start[owner] + step * within) % count
    return was.points[row], now.points[now.first[pairs.new][owner] + there], owner


def _surrounding_shift(places: Points, known: Points, shift: Points) -> Points:
    """Median shift of the nearest known ones about each place, ``(n, 2)``; zero where none is known."""
    if not len(known):
        return np.zeros_like(places)
    near = cKDTree(known).query(places, k=np.arange(1, min(5, len(known)) + 1))[1]
    return np.asarray(np.median(shift[near], axis=1))

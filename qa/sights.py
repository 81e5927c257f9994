"""What the two maps show of features that are alike, and which map each of them was drawn on by that.

How the features lie on both editions is told by classes of distance. What those say is learned from the layer itself
(``origin.py``), beginning with what is to be expected: for that the layer is displaced in random directions, by the
length of the shift and by what misplaced features are off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from qa.base_maps import SEEN_WITHIN_M, BaseMaps, Edition, Geometries
from qa.coincidence import (
    ALONG,
    CELLS,
    FARTHEST,
    LIES,
    Vertices,
    coincidence_m,
    distance_class,
    evenly_placed,
    is_in_building,
    lie_of_class,
    smoothed,
    smoothed_rows,
    traced_shares,
)
from qa.drawn_on import is_disproved, log_odds_of_a_push, log_odds_of_old
from qa.limits import Limits
from qa.origin import (
    DATED_AFTER,
    NEW,
    NOT_AFTER,
    NOT_BEFORE,
    OLD,
    SAYS_NEW,
    SAYS_OLD,
    Expected,
    Origins,
    Signs,
    origin_chances,
)
from qa.same_move import MOVED_M
from transforms.contract import Points, ShiftField
from transforms.one_piece import CIRCULAR_95

TELLING_SHIFT_M = 0.3
"""Maps that lie this far apart can be told from one another."""

SIMULATED_FEATURES, SIMULATED_FOR_DATES = 8000, 2000
"""With a quarter of them it is luck which of the doubtful are settled, with four times as many no less so; but for what
is only to tell how many dates are wrong few are enough.
"""
_FEW_FEATURES = 200
"""A layer of fewer is not displaced more often: its features are soon looked at."""
_LEAST_TO_LEARN_FROM = 20
_PUSHED = 2000
"""So many are displaced to learn which map features were drawn on that say the same."""
_MISPLACED_POINT_BY_M, _MISPLACED_SHAPE_BY_M = (10.0, 30.0), (2.0, 30.0)
"""How far what is misplaced lies from its place, small distances as likely as large ones.

A point a few metres off still marks its tree or its house; an outline a few metres off is a wrong boundary. But where a
layer never says how it was captured, its points too may come from a map of 1:10 000, a few metres off.
"""


_UNSEEN_FACTOR = 2.0
"""Where the maps do not show all there is, as many again mark what is gone or moved on its own: nobody can see it."""


@dataclass(frozen=True)
class Alike:
    """Features of one kind (points, or lines and areas) of one layer: they are judged by one another."""

    geometries: Geometries
    dated: NDArray[np.int_]
    batch: NDArray[np.int_]
    method: NDArray[np.str_]
    says_how: bool
    date_prior: NDArray[np.float64]
    base: BaseMaps | None
    are_points: bool
    is_unchanged: NDArray[np.bool_]
    is_whole: NDArray[np.bool_]
    misplaced_ratio: float

    @property
    def misplaced_by_m(self) -> tuple[float, float]:
        """How far what is misplaced among them lies from its place."""
        return _MISPLACED_POINT_BY_M if self.are_points and self.says_how else _MISPLACED_SHAPE_BY_M


@dataclass(frozen=True)
class Sights:
    """What the two maps show of features that are alike, and the origins that follow."""

    apart: _Apart
    signs: Signs
    origins: Origins


def sights(layer: Alike, field: ShiftField, limits: Limits, simulated: int) -> Sights:
    """What the maps show of ``layer``.

    Parameters
    ----------
    layer
        The features.
    field
        The fitted shift, which tells how far the maps lie apart where the base maps do not.
    limits
        The limits in force.
    simulated
        About so many displaced features are looked at, to learn what is to be expected.
    """
    apart, signs = _seen(layer, field, limits)
    expected = None if layer.base is None else _expected(layer, layer.base.before, apart, signs, simulated)
    return Sights(apart, signs, origin_chances(signs, expected))


def lies_beside(layer: Alike, seen: Sights) -> NDArray[np.bool_]:
    """Whether features where the two maps agree lie, together, as those elsewhere lie on the wrong map, ``(n,)``.

    Then the map did move there, and one edition holds part of the other.
    """
    beside, middle = np.zeros(len(layer.dated), dtype=bool), seen.apart.telling.middle()
    there = np.isfinite(middle[:, 0])
    still = np.flatnonzero(seen.apart.is_still & there)
    told = evenly_placed(np.flatnonzero(seen.signs.is_told_apart & ~seen.apart.is_still & there), middle, _PUSHED)
    if layer.base is None or not len(still) or len(told) < _LEAST_TO_LEARN_FROM:
        return beside
    is_old = seen.origins.chances[told, OLD] >= seen.origins.chances[told, NEW]
    right = np.where(is_old, seen.signs.on_before[told], seen.signs.on_after[told])
    pushed = np.where(is_old, *(each.reshape(-1, len(told)) for each in _pushed(layer, layer.base, seen.apart, told)))
    against = log_odds_of_a_push(seen.signs.on_before[still], right, pushed.ravel())
    each_alone = np.arange(len(still))  # neighbours are asked: land that truly did not move may lie elsewhere
    beside[still[is_disproved(against, each_alone, middle[still])]] = True
    return beside


def lie_on_old_map(
    geometries: Geometries, group: NDArray[np.int_], base: BaseMaps, field: ShiftField, limits: Limits
) -> NDArray[np.bool_]:
    """Whether features that are to lie on the new map lie on the old one, together with their group or those near.

    Parameters
    ----------
    geometries
        ``(n,)`` geometries; None and empty ones do not.
    group
        ``(n,)`` number of the group of each, such as its method.
    base
        The old and the new map.
    field
        The fitted shift, which tells how far the maps lie apart where the base maps do not.
    limits
        The limits in force.
    """
    on_old, is_point = np.zeros(len(geometries), dtype=bool), shapely.get_dimensions(geometries) == 0
    for are_points, rows in ((True, np.flatnonzero(is_point)), (False, np.flatnonzero(~is_point))):
        said, unsaid = np.full(len(rows), DATED_AFTER), np.full(len(rows), "")
        nowhere = np.zeros(len(rows), dtype=bool)
        said_of_all = unsaid, True, np.empty(0), base, are_points, nowhere, nowhere, 0.0
        layer = Alike(geometries[rows], said, group[rows], *said_of_all)
        on_old[rows] = _seen(layer, field, limits)[1].dated != said
    return on_old


def _seen(layer: Alike, field: ShiftField, limits: Limits) -> tuple[_Apart, Signs]:
    apart = _apart(Vertices.of(layer.geometries), layer.base, field, limits)
    editions = (None, None) if layer.base is None else (layer.base.before, layer.base.after)
    before, after = (_classes(layer, apart.telling, edition) for edition in editions)
    _, method = np.unique(np.append("", layer.method), return_inverse=True)
    is_told_apart = ~(apart.farthest_m < TELLING_SHIFT_M)
    is_shown = apart.is_shown | ((before != FARTHEST) & (after != FARTHEST))
    if layer.are_points:
        is_shown &= layer.base is not None and layer.base.show_buildings
    dated = _believed(layer, apart, before, after, is_told_apart & is_shown)
    is_whole = layer.is_whole & is_shown
    misplaced = layer.misplaced_ratio * np.where(is_whole, 1.0, _UNSEEN_FACTOR)
    of_layer = layer.date_prior, is_shown, layer.are_points, misplaced, is_whole
    return apart, Signs(before, after, is_told_apart, dated, method[1:], *of_layer)


@dataclass(frozen=True)
class _Apart:
    """How far apart the maps lie at each feature ``(n,)`` [m], NaN where unknown: at half of it, and at the most.

    ``is_still`` says whether they agree all over it, and ``is_denied`` whether the shift, less its 95 % radius, says
    that the map moved somewhere that they agree: what agrees may lie across a break, and nothing nearer be on both.
    ``telling`` are its vertices where they surely differ (all of them where they do so nowhere): on land that never
    moved a feature lies on both maps, whichever it was drawn on. ``is_shown`` says whether the maps have anything in
    common all round some of it.
    """

    usual_m: NDArray[np.float64]
    farthest_m: NDArray[np.float64]
    is_still: NDArray[np.bool_]
    is_denied: NDArray[np.bool_]
    telling: Vertices
    is_shown: NDArray[np.bool_]

    @property
    def shift_m(self) -> NDArray[np.float64]:
        """How far to displace each feature as the map was shifted, ``(n,)``."""
        known = np.isfinite(self.usual_m)
        return np.where(known, self.usual_m, np.median(self.usual_m[known]) if known.any() else 2.5)


def _apart(vertices: Vertices, base: BaseMaps | None, field: ShiftField, limits: Limits) -> _Apart:
    shift_m = np.linalg.norm(field(vertices.points) - vertices.points, axis=1)
    surely_m, is_still, is_denied, is_shown = shift_m, *np.zeros((3, vertices.count), dtype=bool)
    if base is not None:
        observed = base.observed_shift(vertices.points)
        length = np.linalg.norm(observed.shift, axis=1)
        seen = observed.distance_m <= SEEN_WITHIN_M
        still = seen & (length + observed.spread_m <= limits.unmoved_map_m)
        is_still = vertices.mean(still.astype(float)) == 1.0
        denied = np.zeros(len(still), dtype=bool)
        denied[still] = shift_m[still] - CIRCULAR_95 * field.uncertainty(vertices.points[still]) > MOVED_M
        is_denied = vertices.mean(denied.astype(float)) > 0.0
        around = base.surround(vertices.points) if base.is_lone else seen & observed.is_within
        is_shown = vertices.mean(around.astype(float)) > 0.0
        surely_m = np.where(seen, length - observed.spread_m, shift_m)
        shift_m = np.where(seen, length, shift_m)
    differ = ~(surely_m < TELLING_SHIFT_M)
    telling = vertices.take(differ | (vertices.mean(differ.astype(float)) == 0.0)[vertices.feature])
    usual_m, farthest_m = (vertices.quantile(shift_m, share) for share in (0.5, 0.9))
    return _Apart(usual_m, farthest_m, is_still, is_denied, telling, is_shown)


def _believed(
    layer: Alike, apart: _Apart, before: NDArray[np.int_], after: NDArray[np.int_], is_asked: NDArray[np.bool_]
) -> NDArray[np.int_]:
    """What is said of each capture ``(n,)``, but not where those that say the same lie, together, on the other map."""
    believed, middle = layer.dated.copy(), apart.telling.middle()
    is_asked = is_asked & np.isfinite(middle[:, 0])
    for kinds, instead, is_of_old in ((SAYS_OLD, NOT_BEFORE, True), (SAYS_NEW, NOT_AFTER, False)):
        rows = np.flatnonzero(is_asked & np.isin(layer.dated, kinds))
        if layer.base is None or not len(rows):
            continue
        pushed = _pushed(layer, layer.base, apart, evenly_placed(rows, middle, _PUSHED))
        for_old = log_odds_of_old(before[rows], after[rows], *pushed)
        disproved = is_disproved(-for_old if is_of_old else for_old, layer.batch[rows], middle[rows])
        believed[rows[disproved]] = instead
    return believed


def _pushed(
    layer: Alike, base: BaseMaps, apart: _Apart, rows: NDArray[np.int_]
) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """The classes on the old and on the new map of features when displaced by the length of the shift, about
    ``_PUSHED`` of each.
    """
    random = _InAnyOrder(np.random.default_rng(1), apart.telling.middle())
    vertices = apart.telling.take(np.isin(apart.telling.feature, rows))
    pushed = [
        vertices.displaced(apart.shift_m[:, None] * random.directions())
        for _ in range(max(1, _PUSHED // max(len(rows), _FEW_FEATURES)))
    ]
    before, after = (
        np.concatenate([_classes(layer, each, edition)[rows] for each in pushed])
        for edition in (base.before, base.after)
    )
    return before, after


def _expected(layer: Alike, edition: Edition, apart: _Apart, signs: Signs, simulated: int) -> Expected:
    """The classes to expect on the right map, on the wrong one, and of a misplaced feature, by displacing the layer on
    the old map, ``edition``; about ``simulated`` displaced features are looked at.
    """
    shown, drawn = signs.is_shown, signs.on_before
    random = _InAnyOrder(np.random.default_rng(0), apart.telling.middle())
    vertices, near = apart.telling, apart.shift_m[:, None]
    rounds = max(1, simulated // max(vertices.count, _FEW_FEATURES))
    least, most = np.log(layer.misplaced_by_m)
    lies = ALONG if layer.are_points else LIES
    anywhere, wrong, again = np.zeros(CELLS), np.zeros((lies, CELLS)), np.zeros((lies, CELLS))
    for _ in range(rounds):
        far = np.exp(random.uniform(least, most))
        misplaced = vertices.displaced(far[:, None] * random.directions())
        seen = _classes(layer, misplaced, edition)
        anywhere += np.bincount(seen[shown], minlength=CELLS)
        for start, begun, cells in ((misplaced, seen, again), (vertices, drawn, wrong)):
            displaced = start.displaced(near * random.directions())
            found = lie_of_class(begun, layer.are_points), _classes(layer, displaced, edition)
            np.add.at(cells, tuple(each[shown] for each in found), 1.0)
    anywhere = smoothed(anywhere)
    right = 0.5 * traced_shares(anywhere, layer.are_points) + 0.5 * anywhere
    return Expected(right, smoothed_rows(wrong), anywhere, smoothed_rows(again))


def _classes(layer: Alike, vertices: Vertices, edition: Edition | None) -> NDArray[np.int_]:
    """The distance class of each feature on a map, ``(n,)``; where there is none, that of the farthest.

    What lies in a building is told from other things only where both maps show buildings.
    """
    in_building = np.zeros(vertices.count, dtype=bool)
    if layer.base is None or edition is None:
        return distance_class(np.full((vertices.count, 2), np.inf), in_building)
    if layer.base.show_buildings:
        in_building = is_in_building(vertices, edition)
    return distance_class(coincidence_m(vertices, edition, layer.are_points), in_building)


class _InAnyOrder:
    """Random numbers for features at ``places`` ``(n, 2)``: each has the same, in whatever order they are delivered."""

    def __init__(self, random: np.random.Generator, places: Points) -> None:
        self._random, self._rank = random, np.argsort(np.lexsort(places.T))

    def uniform(self, least: float, most: float) -> NDArray[np.float64]:
        return self._random.uniform(least, most, len(self._rank))[self._rank]

    def directions(self) -> Points:
        """Unit vectors ``(n, 2)``."""
        angle = self.uniform(0, 2 * np.pi)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)

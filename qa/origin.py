"""Which map a feature was drawn on: chances from how it lies on both maps, from its date and from its method.

Every feature has one of three origins: the old map, the new map, or neither (misplaced, or drawn from something else).
What "lies on the map it was drawn on" looks like differs between layers - traced outlines, a point in each building,
trees a metre from a hedge - so it is learned from the layer itself: distance classes are counted on the right map and
on the wrong one, with each feature weighted by the chance of its origin, and the chances are computed again from the
counts (expectation-maximisation; Dempster, Laird and Rubin 1977). A feature never votes for itself. What is found
depends on where it begins, so it begins twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qa.coincidence import ALONG, CELLS, CLASSES, NEIGHBOURS, lie_of_class, product_of_margins, spread_to_neighbours

OLD, NEW, NEITHER = 0, 1, 2

DATED_BEFORE, DATED_AFTER, UNDATED, LISTED, MAYBE_GROUND, NOTHING_SAID, NOT_BEFORE, NOT_AFTER = range(8)
"""What is known of the capture.

LISTED: no feature of the layer is dated, but its owners listed it for shifting. MAYBE_GROUND: dated before the new
map, but its method is not said and nothing tells it from the layer's ground surveys. NOTHING_SAID:
neither date nor method; kept apart from the other undated ones, which may differ in origin. NOT_BEFORE, NOT_AFTER:
dated or listed so, but all that are lie, together, as if drawn on the other map (``drawn_on.py``).
"""

SAYS_OLD, SAYS_NEW = (DATED_BEFORE, LISTED, MAYBE_GROUND), (DATED_AFTER,)

_ROUNDS = 12
_START_WEIGHT = 10.0
_MARGIN_WEIGHT = 10.0
_NEIGHBOUR_WEIGHT = 40.0
"""What smooths the shares, each as so many features: the expected, the two distances apart, the classes next to it."""

_LEAST_CHANCE = 1e-6

_CLEARLY = 5.0
"""By so much must the logarithm of a likelihood be higher."""

USUAL_WRONG_RATIO = 0.02
"""A date is wrong about once in fifty, where nothing better is known."""

VOUCHED_WRONG_RATIO = 0.002
"""What somebody vouches for, a method that is named or a whole layer that is to stay, is wrong about once in five
hundred.
"""

_DATE_WEIGHT = 100.0
"""So many features of a layer say as much of its dates as what is expected beforehand."""

TELLING_ODDS = 20.0
"""Odds of one map against the other from which the place of a feature alone tells its origin."""

_TELLING_RATIO = 1 / 3
"""Where fewer features of a layer tell it so, they alone speak for its dates and methods if the dates of other layers
are wrong more often than usual: all others count as drawn on the map of their dates because these are believed.
"""

MISPLACED_RATIO = 0.01
"""About one record in a hundred is misplaced, or fewer where a layer shows it."""

_MISPLACED_WEIGHT = 100.0
"""So many features of a layer say as much of how many are misplaced as what is expected beforehand."""


@dataclass(frozen=True)
class Signs:
    """What is known of each feature.

    Parameters
    ----------
    on_before, on_after
        ``(n,)`` distance class on the old and on the new map.
    is_told_apart
        ``(n,)`` True where the maps differ enough to tell them apart.
    dated
        ``(n,)`` one of the kinds above, ``DATED_BEFORE`` to ``NOT_AFTER``.
    method
        ``(n,)`` number of the capture method's name, from 1; 0 where it is not said, which tells nothing.
    date_prior
        ``(kinds, 2)`` as of ``date_prior``.
    is_shown
        ``(n,)`` whether the maps show anything there; elsewhere the place of a feature says and teaches nothing. To
        points maps without buildings show nothing: a house may have moved where the fences about it did not.
    are_points
        Whether they are points, or lines and areas.
    misplaced_ratio
        ``(n,)`` share of such features that is to be expected to be misplaced.
    is_whole
        ``(n,)`` whether the maps show all there is at each: elsewhere what lies on lines does not speak for the rest.
    """

    on_before: NDArray[np.int_]
    on_after: NDArray[np.int_]
    is_told_apart: NDArray[np.bool_]
    dated: NDArray[np.int_]
    method: NDArray[np.int_]
    date_prior: NDArray[np.float64]
    is_shown: NDArray[np.bool_]
    are_points: bool
    misplaced_ratio: NDArray[np.float64]
    is_whole: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.on_before)


@dataclass(frozen=True)
class Expected:
    """Shares of the distance classes before anything is learned.

    Parameters
    ----------
    right_map
        ``(cells,)`` on the map a feature was drawn on.
    wrong_map
        ``(lies, cells)`` on the other map, by how a feature lies on the right one (``coincidence.lie_of_class``): what
        lies about a building there often lies about one here too.
    anywhere
        ``(cells,)`` of a misplaced feature on one map.
    anywhere_again
        ``(lies, cells)`` of a misplaced feature on the other map, by how it lies on the first.
    """

    right_map: NDArray[np.float64]
    wrong_map: NDArray[np.float64]
    anywhere: NDArray[np.float64]
    anywhere_again: NDArray[np.float64]


@dataclass(frozen=True)
class Origins:
    """The outcome.

    Parameters
    ----------
    chances
        ``(n, 3)`` chance of old map, new map, neither; rows add up to 1.
    place_odds
        ``(n,)`` odds of old map against new map from the place alone; 1 where it tells nothing.
    log_likelihood
        How well they explain all that is known of the features.
    """

    chances: NDArray[np.float64]
    place_odds: NDArray[np.float64]
    log_likelihood: float


def date_prior(wrong_ratio: float, ground_ratio: float = 0.0) -> NDArray[np.float64]:
    """Pseudo-counts ``(kinds, 2)`` of old map and new map for each kind of ``Signs.dated``, before anything is learned.

    Parameters
    ----------
    wrong_ratio
        Share of the dates that is to be expected to be wrong.
    ground_ratio
        Share of the features of ``MAYBE_GROUND`` that is to be expected to be measured on the ground.
    """
    right, wrong = _DATE_WEIGHT * (1.0 - wrong_ratio), _DATE_WEIGHT * wrong_ratio
    listed = _DATE_WEIGHT * (1.0 - USUAL_WRONG_RATIO), _DATE_WEIGHT * USUAL_WRONG_RATIO
    prior = np.full((NOT_AFTER + 1, 2), 2.0)
    prior[DATED_BEFORE] = prior[MAYBE_GROUND] = right, wrong
    prior[DATED_AFTER] = wrong, right
    prior[LISTED] = listed
    prior[NOT_BEFORE], prior[NOT_AFTER] = (2.0, 8.0), (8.0, 2.0)
    prior[MAYBE_GROUND] += ground_ratio * right * np.array([-1.0, 1.0])
    return prior


def origin_chances(signs: Signs, expected: Expected | None) -> Origins:
    """The chance of each origin of each feature.

    Parameters
    ----------
    signs
        What is known of each feature.
    expected
        The classes to expect; None where there is no base map, then date and method alone decide.
    """
    origins = _likeliest(signs, expected, speaks=np.ones(len(signs), dtype=bool))
    if expected is None or not _are_dates_doubtful(signs):
        return origins
    tells = np.abs(np.log(origins.place_odds)) > np.log(TELLING_ODDS)
    if np.sum(tells & signs.is_told_apart) > _TELLING_RATIO * np.sum(signs.is_told_apart):
        return origins
    return _likeliest(signs, expected, speaks=tells)


def _likeliest(signs: Signs, expected: Expected | None, speaks: NDArray[np.bool_]) -> Origins:
    """What is found begun from the dates, or from the places if that is clearly likelier.

    Begun from the dates, much of a layer that was shifted before, not quite to its place, may bear them out: that is
    how one lies on the old map then.
    """
    by_date = np.exp(_log_of_said(_date_shares(signs.date_prior, signs.dated), signs.misplaced_ratio))
    by_place = np.where((signs.is_told_apart & signs.is_shown)[:, None], _of_the_nearer(signs), by_date)
    usual, other = (_maximised(signs, expected, speaks, begun) for begun in (by_date, by_place))
    return other if other.log_likelihood > usual.log_likelihood + _CLEARLY else usual


def _of_the_nearer(signs: Signs) -> NDArray[np.float64]:
    """Chances ``(n, 3)`` to begin with: a shape was drawn on the map whose lines are the nearer ones, a point on the
    one whose house has the nearer middle.
    """
    nearer = np.sign(signs.on_after % CLASSES - signs.on_before % CLASSES)  # 1: on the old map
    old = np.array([0.02, 0.49, 0.96])[nearer + 1]
    return np.column_stack([old, 1.0 - MISPLACED_RATIO - old, np.full(len(signs), MISPLACED_RATIO)])


def _maximised(
    signs: Signs, expected: Expected | None, speaks: NDArray[np.bool_], chances: NDArray[np.float64]
) -> Origins:
    """The likeliest near ``chances`` ``(n, 3)``; features that speak ``(n,)`` teach what dates and methods say."""
    place = np.zeros_like(chances)
    for _ in range(_ROUNDS):
        if expected is not None:
            place = _log_of_place(signs, chances, expected)
        counts = signs.date_prior.copy()
        np.add.at(counts, signs.dated[speaks], chances[speaks, :2])
        said = _date_shares(counts, signs.dated) * _method_shares(signs.method, chances, speaks)
        logs = _log_of_said(said, _misplaced_shares(chances[:, NEITHER], signs)) + place
        chances = _normalised(logs)
    odds = np.exp(np.clip(place[:, OLD] - place[:, NEW], -50, 50))
    return Origins(chances, odds, float(np.logaddexp.reduce(logs, axis=1).sum()))


def _are_dates_doubtful(signs: Signs) -> bool:
    """Whether more dates than usual are wrong in the other layers."""
    expected = signs.date_prior[DATED_BEFORE]
    return bool(expected[NEW] > USUAL_WRONG_RATIO * expected.sum())


def _misplaced_shares(chance: NDArray[np.float64], signs: Signs) -> NDArray[np.float64]:
    """The share of the misplaced for each feature, from the chance ``(n,)`` that each of the others is one.

    Where the maps do not show all there is it is what is expected beforehand: nobody could have seen what is misplaced,
    and what lies on no line may do so because it is not shown. Elsewhere traced outlines and points in houses show how
    few of them are misplaced. What stands freely shows no more of it than that it lies like anything anywhere, and
    would count itself misplaced: so a layer never raises the share.
    """
    expected, whole = signs.misplaced_ratio, signs.is_whole
    others = chance[whole].sum() - chance
    learned = (_MISPLACED_WEIGHT * expected + others) / (_MISPLACED_WEIGHT + whole.sum() - 1)
    return np.where(whole, np.minimum(learned, expected), expected)


def _log_of_said(either: NDArray[np.float64], misplaced: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each origin, from shares ``(n, 2)`` of the maps by what is said and the share of the misplaced ``(n,)``, of
    which dates and methods say nothing.
    """
    return np.log(np.column_stack([either * (1.0 - misplaced)[:, None], either.sum(axis=1) * misplaced]))


def _date_shares(counts: NDArray[np.float64], dated: NDArray[np.int_]) -> NDArray[np.float64]:
    return np.asarray((counts / counts.sum(axis=1, keepdims=True))[dated])


def _method_shares(
    method: NDArray[np.int_], chances: NDArray[np.float64], speaks: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Share ``(n, 2)`` of the others of either map that have the method of each; 1 where none is said."""
    names, votes = int(method.max(initial=-1)) + 1, chances[:, :2] * speaks[:, None]
    counts = np.stack([np.bincount(method, weights=votes[:, k], minlength=names) for k in (OLD, NEW)], axis=1)
    others = counts[method] - votes
    shares = (others + 0.5) / (counts.sum(axis=0) - votes + 0.5 * max(names, 1))
    return np.where((method == 0)[:, None], 1.0, shares)


def _log_of_place(signs: Signs, chances: NDArray[np.float64], expected: Expected) -> NDArray[np.float64]:
    apart, shown = signs.is_told_apart, signs.is_shown
    old, new = chances[:, OLD] * (apart & shown), chances[:, NEW] * (apart & shown)
    before, after = signs.on_before, signs.on_after
    lie_before, lie_after = (lie_of_class(each, signs.are_points) for each in (before, after))
    right = _Counts(expected.right_map, signs, chances[:, OLD] * shown, new)
    on_right_before, on_right_after = right.log_share_before(), right.log_share_after()
    on_wrong_before, on_wrong_after = np.zeros(len(signs)), np.zeros(len(signs))
    for lie, share in enumerate(expected.wrong_map):
        # What keeps to no line of its map comes to lie along one of the other by chance alone: it teaches nothing, or
        # what was shifted before, not quite to its place, would teach that this is how one lies on the wrong map.
        teaches = signs.are_points or lie >= ALONG
        wrong = _Counts(share, signs, teaches * new * (lie_after == lie), teaches * old * (lie_before == lie))
        on_wrong_before = np.where(lie_after == lie, wrong.log_share_before(), on_wrong_before)
        on_wrong_after = np.where(lie_before == lie, wrong.log_share_after(), on_wrong_after)
    anywhere = np.log(np.maximum(expected.anywhere, _LEAST_CHANCE))
    anywhere_again = np.log(np.maximum(expected.anywhere_again, _LEAST_CHANCE))
    if_old = on_right_before + np.where(apart, on_wrong_after, 0.0)
    if_new = np.where(apart, on_right_after + on_wrong_before, on_right_before)
    if_neither = anywhere[before] + np.where(apart, anywhere_again[lie_before, after], 0.0)
    return np.where(shown[:, None], np.column_stack([if_old, if_new, if_neither]), 0.0)


class _Counts:
    """Smoothed shares of the classes, where a feature's own weight is taken out before it is looked up."""

    def __init__(
        self,
        start: NDArray[np.float64],
        signs: Signs,
        weight_before: NDArray[np.float64],
        weight_after: NDArray[np.float64],
    ) -> None:
        self._signs, self._before, self._after = signs, weight_before, weight_after
        self._own = np.where(signs.on_before == signs.on_after, weight_before + weight_after, 0.0)
        self._counts = np.bincount(signs.on_before, weights=weight_before, minlength=CELLS)
        self._counts += np.bincount(signs.on_after, weights=weight_after, minlength=CELLS)
        expected = self._counts + _START_WEIGHT * start
        self._smooth = _START_WEIGHT * start + _MARGIN_WEIGHT * product_of_margins(expected)
        self._smooth += _NEIGHBOUR_WEIGHT * spread_to_neighbours(expected) / expected.sum()
        self._in_smooth = _NEIGHBOUR_WEIGHT * NEIGHBOURS[1] ** 2 / expected.sum()

    def log_share_before(self) -> NDArray[np.float64]:
        return self._log_share(self._signs.on_before, np.maximum(self._before, self._own))

    def log_share_after(self) -> NDArray[np.float64]:
        return self._log_share(self._signs.on_after, np.maximum(self._after, self._own))

    def _log_share(self, cell: NDArray[np.int_], own: NDArray[np.float64]) -> NDArray[np.float64]:
        total = self._counts.sum() + _START_WEIGHT + _MARGIN_WEIGHT + _NEIGHBOUR_WEIGHT
        share = (self._counts[cell] + self._smooth[cell] - own * (1.0 + self._in_smooth)) / (total - own)
        return np.asarray(np.log(np.maximum(share, _LEAST_CHANCE)))


def _normalised(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    chances = np.exp(logs - logs.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(chances / chances.sum(axis=1, keepdims=True))

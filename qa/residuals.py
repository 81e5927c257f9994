"""Leave-one-out residuals of control: each point against its neighbours of the same piece, itself left out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qa.control_faults import place_number
from qa.kindred import kindred
from qa.neighbours import RAYLEIGH_MEDIAN, levelled, local_planes, local_scale, nearest_others, usual_scale
from transforms.breaks import Breaks
from transforms.contract import Control, Points
from transforms.covariance import Covariance, estimate_covariance
from transforms.posterior import Posterior

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]
Mask = NDArray[np.bool_]

NEIGHBOURS = 24
"""A plane has six coefficients; two dozen neighbours outvote several bad ones and the noise of the rest."""

CANDIDATES = 48
BESIDE = 16
ALIKE = 40
STRENGTH = 80
"""A local scale is drawn to the usual one by this many points: the median of a few dozen is itself in doubt, and
where it comes out small good control looks bad."""

LEAST_NEIGHBOURS = 4
LEAST_OF_CODE = 50
OUTLIER = 4.0
"""Standardised residual from which a point no longer speaks for its neighbours."""

DOUBT = 2.5
"""Standardised residual from which a point's own kind is asked as well."""

SAMPLE = 200
CLEARLY_BETTER = 0.8
"""Only a net whose bends planes miss is judged by a smooth surface as well: where noise hides them it knows no more."""

BLOCKS, BLOCK = 4, 200
CLEARINGS = 3
"""Rounds in which outliers that a smooth surface explains come to speak for those beside them."""

LEAST_KINDRED = 3.0
"""Fewer neighbours than this that move alike are a cluster, not a piece of land."""


@dataclass(frozen=True)
class Residuals:
    """How far each control point is from what its neighbours say.

    Parameters
    ----------
    vector
        ``(n, 2)`` metres, the point's own shift less its neighbours'; NaN where it cannot be judged.
    standardised
        ``(n,)`` length over its standard deviation per axis: median 1.18 where control is only noisy.
    """

    vector: Points
    standardised: Floats

    @property
    def length_m(self) -> Floats:
        """Length ``(n,)`` of the residual in metres."""
        return np.hypot(*self.vector.T)


def leave_one_out(control: Control, trusted: Mask, breaks: Breaks, rounds: int = 2) -> Residuals:
    """Residual of every point against trusted neighbours in its own piece.

    Where a break runs between the nearest neighbours the piece across it is asked as well and the better
    agreement counts: a point a few metres from a break must not be blamed for where the line was drawn.

    Parameters
    ----------
    control
        Control points.
    trusted
        ``(n,)`` rows that may speak for their neighbours; the others are judged all the same where finite.
    breaks
        Neighbours across a break are not asked.
    """
    finite = np.flatnonzero(np.isfinite(control.before).all(axis=1) & np.isfinite(control.shift).all(axis=1))
    result = Residuals(np.full((len(control), 2), np.nan), np.full(len(control), np.nan))
    if len(finite) <= LEAST_NEIGHBOURS:
        return result
    kept, weight = control.take(finite), trusted[finite].astype(float)
    kept = replace(kept, after=kept.before + levelled(kept.before, kept.shift, weight))
    own = breaks.piece(kept.before)
    nearest = nearest_others(kept.before, CANDIDATES)
    inner = _iterated(kept, weight, own, nearest, rounds)
    result.vector[finite], result.standardised[finite] = inner.vector, inner.standardised
    return result


def _iterated(control: Control, weight: Floats, own: Ints, nearest: Ints, rounds: int) -> Residuals:
    place = place_number(control.before)
    speaking = np.where(weight[nearest] > 0, nearest, -1)
    speaking[place[nearest] == place[:, None]] = -1
    everyone = np.arange(len(own))
    rows = _of_piece(speaking, own, own)
    for _ in range(rounds):
        residual, leverage = _against(control, weight, everyone, rows)
        noise_m = _noise(control, residual / np.sqrt(1.0 + leverage)[:, None], nearest)
        standardised = np.hypot(*residual.T) / (noise_m * np.sqrt(1.0 + leverage))
        trusted = weight * ~(standardised > OUTLIER)
        if (trusted == weight).all():
            break
        weight = trusted
    across = _piece_beside(own, nearest[:, :BESIDE])
    edge = np.flatnonzero((across != own) & (standardised > DOUBT))
    beyond, leverage = _against(control, weight, edge, _of_piece(speaking[edge], own, across[edge]))
    first = _kinder(Residuals(residual, standardised), edge, beyond, noise_m[edge] * np.sqrt(1.0 + leverage))
    second = _second_opinion(control, first, noise_m, speaking)
    return _third_opinion(control, second, noise_m, speaking, own)


def _piece_beside(own: Ints, nearest: Ints) -> Ints:
    """The other piece that most of the nearest points of other pieces lie in, ``(n,)``; the own one if too few do."""
    beside = np.where(nearest >= 0, own[nearest], -1)
    foreign = np.sort(np.where(beside == own[:, None], -1, beside), axis=1)[:, ::-1]
    commonest = foreign[:, LEAST_NEIGHBOURS // 2]
    enough = (foreign == commonest[:, None]).sum(axis=1) >= LEAST_NEIGHBOURS
    return np.where(enough & (commonest >= 0), commonest, own)


def _kinder(first: Residuals, rows: Ints, residual: Points, spread_m: Floats) -> Residuals:
    """The residuals with those at ``rows`` replaced where the others are smaller for their spread."""
    measure = np.hypot(*residual.T) / spread_m
    better = measure < first.standardised[rows]
    vector, standardised = first.vector.copy(), first.standardised.copy()
    vector[rows[better]], standardised[rows[better]] = residual[better], measure[better]
    return Residuals(vector, standardised)


def _second_opinion(control: Control, first: Residuals, noise_m: Floats, speaking: Ints) -> Residuals:
    """Residuals of doubted points against those neighbours, of whatever piece, that move most as they do.

    Doubted neighbours speak too: on a strip that belongs to no piece all are doubted.
    """
    doubted = np.flatnonzero(first.standardised > DOUBT)
    second = kindred(control, doubted, speaking[doubted], noise_m[doubted])
    spread_m = noise_m[doubted] * np.sqrt(1.0 + second.leverage)
    held = second.support >= LEAST_KINDRED
    return _kinder(first, doubted[held], second.residual[held], spread_m[held])


def _third_opinion(control: Control, second: Residuals, noise_m: Floats, speaking: Ints, own: Ints) -> Residuals:
    """The residuals of outliers against a surface that bends, where that predicts control better than planes do.

    Whoever it clears speaks for the others from then on.
    """
    third = second
    agrees = second.standardised <= OUTLIER
    doubted, sound = np.flatnonzero(second.standardised > OUTLIER), np.flatnonzero(agrees)
    if not len(doubted) or len(sound) <= NEIGHBOURS:
        return second
    covariance = _covariance(control, np.flatnonzero(np.isfinite(second.standardised)), own)
    asked = np.random.default_rng(0).choice(sound, min(len(sound), SAMPLE), replace=False)
    bent, _ = _against_smooth(control, asked, _near_and_sound(speaking, own, agrees, asked), covariance)
    if not np.nanmedian(np.hypot(*bent.T)) < CLEARLY_BETTER * np.median(second.length_m[asked]):
        return second
    for _ in range(CLEARINGS):
        near = _near_and_sound(speaking, own, third.standardised <= OUTLIER, doubted)
        residual, error_m = _against_smooth(control, doubted, near, covariance)
        third = _kinder(third, doubted, residual, np.hypot(noise_m[doubted], error_m))
        doubted = doubted[third.standardised[doubted] > OUTLIER]
    return third


def _covariance(control: Control, known: Ints, own: Ints) -> Covariance:
    """How the shift bends, from the control about a few places, each in one piece; outliers too, for they may be it."""
    middles = np.random.default_rng(0).choice(known, min(len(known), BLOCKS), replace=False)
    blocks = []
    for middle in middles:
        piece = known[own[known] == own[middle]]
        distance = np.hypot(*(control.before[piece] - control.before[middle]).T)
        blocks.append(control.take(piece[np.argsort(distance, kind="stable")[:BLOCK]]))
    return estimate_covariance(blocks)


def _near_and_sound(speaking: Ints, own: Ints, agrees: Mask, asked: Ints) -> Ints:
    """The rows that speak about the ``asked`` ones, lie in the same piece and agree with their neighbours; else -1."""
    near = speaking[asked]
    return np.where((near >= 0) & (own[near] == own[asked, None]) & agrees[near], near, -1)


def _against_smooth(control: Control, asked: Ints, rows: Ints, covariance: Covariance) -> tuple[Points, Floats]:
    """Residuals ``(m, 2)`` [m] against the smooth surface through the neighbours, and its error per axis ``(m,)`` [m].

    NaN where fewer than ``NEIGHBOURS`` speak.
    """
    residual, error_m = np.full((len(asked), 2), np.nan), np.full(len(asked), np.nan)
    for i, row in enumerate(asked):
        near = rows[i][rows[i] >= 0]
        if len(near) >= NEIGHBOURS:
            shift, error = Posterior.given(control.take(near), covariance).at(control.before[[row]])
            residual[i], error_m[i] = control.shift[row] - shift[0], error[0] / np.sqrt(2.0)
    return residual, error_m


def _against(control: Control, weight: Floats, asked: Ints, rows: Ints) -> tuple[Points, Floats]:
    planes = local_planes(control.before[asked], rows, control.before, control.shift, weight)
    residual = control.shift[asked] - planes.shift
    residual[(np.where(rows >= 0, weight[rows], 0.0) > 0).sum(axis=1) < LEAST_NEIGHBOURS] = np.nan
    return residual, planes.leverage


def _of_piece(rows: Ints, own: Ints, wanted: Ints) -> Ints:
    """The first ``NEIGHBOURS`` of each row that lie in the ``wanted`` piece, ``(m, NEIGHBOURS)``; else -1."""
    allowed = (rows >= 0) & (own[rows] == wanted[:, None])
    rank = np.cumsum(allowed, axis=1) - 1
    chosen = np.full((len(rows), NEIGHBOURS), -1)
    row, column = np.nonzero(allowed & (rank < NEIGHBOURS))
    chosen[row, rank[row, column]] = rows[row, column]
    return chosen


def _noise(control: Control, residual: Points, nearest: Ints) -> Floats:
    """Noise per axis of each point: that of its neighbourhood, times what its Land-Line code makes of it.

    Neighbours of the same code then have the last word: in a town surveyed anew the buildings scatter, the
    roads between them do not.
    """
    length = np.hypot(*residual.T)
    usual = usual_scale(length)
    by_code = _scale_by_code(control.code, length, usual) / usual
    noise_m = local_scale(length / by_code, nearest, usual, STRENGTH) * by_code
    for value in np.unique(control.code):
        those = np.flatnonzero(control.code == value)
        if LEAST_OF_CODE <= len(those) < len(length):
            alike = nearest_others(control.before[those], ALIKE)
            noise_m[those] = local_scale(length[those], alike, noise_m[those], STRENGTH)
    return noise_m


def _scale_by_code(code: NDArray[np.str_], length: Floats, usual: float) -> Floats:
    scale = np.full(len(length), usual)
    for value in np.unique(code):
        those = code == value
        known = length[those & np.isfinite(length)]
        if len(known) >= LEAST_OF_CODE:
            scale[those] = max(float(np.median(known)) / RAYLEIGH_MEDIAN, 1e-3)
    return scale

"""How alike the shift is at two places: a Matern covariance and the noise of control, found by likelihood.

Estimation belongs here; using the covariance to predict belongs in ``posterior.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.spatial.distance import cdist, pdist, squareform

from .contract import Control, Points
from .support import mean_spacing_m
from .trend import Frame

SMOOTHNESSES = (0.5, 1.5, 2.5)
"""Matern smoothness tried, the roughest first: once, twice and thrice as smooth; half-integers have closed forms."""

NOT_TOLD_APART = 3.0
"""Log-likelihood by which one covariance passes another before a test at 95 % tells them apart (two figures free)."""

BLOCK_SIZE = 400
MOST_SEEN = 2400
"""Control up to here is all looked at, in compact blocks."""

BLOCKS_DRAWN = 10
"""Of more control so many blocks: with six, one unlucky draw in ten or so shows no range of the land."""

MOST_POLISHED = 1000
"""Control up to here is also looked at whole, which tells more than its parts."""

LEAST_VARIANCE_M2 = 1e-8
"""0.1 mm: control that a trend fits exactly still gets a covariance that can be inverted."""

LEAST_NOISE_RATIO = 1e-6
COMMON_CLASS_SHARE = 0.05


@dataclass(frozen=True)
class Covariance:
    """A Matern covariance with noise, one amplitude for each axis.

    Parameters
    ----------
    length_m
        Range of the correlation in metres.
    smoothness
        Matern smoothness: 0.5, 1.5 or 2.5.
    variance_m2
        ``(2,)`` variance of the shift about its trend in easting and northing [m²].
    noise_ratio
        Variance of a control point's own error over ``variance_m2``.
    noise_of_class
        Noise variance of a Land-Line code over that of control at large; 1 for codes not named.
    log_likelihood
        Restricted log-likelihood of the blocks it was estimated from.
    """

    length_m: float
    smoothness: float
    variance_m2: NDArray[np.float64]
    noise_ratio: float
    noise_of_class: dict[str, float] = field(default_factory=dict)
    log_likelihood: float = float("nan")

    @property
    def noise_m(self) -> float:
        """Radial standard error in metres of one control point."""
        return float(np.sqrt(self.noise_ratio * self.variance_m2.sum()))

    def noise(self, code: NDArray[np.str_]) -> NDArray[np.float64]:
        """Noise variance ``(n,)`` of control of the given codes, over ``variance_m2``."""
        ratio = np.full(len(code), self.noise_ratio)
        for name, factor in self.noise_of_class.items():
            ratio[code == name] *= factor
        return ratio

    def correlation(self, some: Points, others: Points) -> NDArray[np.float64]:
        """Correlation ``(n, m)`` of the shift between places."""
        return matern(cdist(some, others) / self.length_m, self.smoothness)


def matern(scaled: NDArray[np.float64], smoothness: float) -> NDArray[np.float64]:
    """The Matern correlation at distances given in lengths.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), equations 4.16 and 4.17.

    Raises
    ------
    ValueError
        If ``smoothness`` is not 0.5, 1.5 or 2.5.

    Examples
    --------
    >>> matern(np.array([0.0, 1.0]), 0.5).round(4)
    array([1.    , 0.3679])
    """
    reach = np.sqrt(2.0 * smoothness) * scaled
    if smoothness == 0.5:
        return np.exp(-reach)
    if smoothness == 1.5:
        return (1.0 + reach) * np.exp(-reach)
    if smoothness == 2.5:
        return (1.0 + reach + reach**2 / 3.0) * np.exp(-reach)
    raise ValueError(f"Matern smoothness {smoothness} is none of {SMOOTHNESSES}.")


def trend_design(unit: Points) -> NDArray[np.float64]:
    """Trend of a block in its unit frame ``(n, 1 or 3)``: linear where control spreads, constant elsewhere."""
    linear = np.column_stack([np.ones(len(unit)), unit])
    spread = len(unit) >= 6 and np.linalg.cond(linear) < 1e3
    return linear if spread else linear[:, :1]


@dataclass(frozen=True)
class _Block:
    """Control near together, its mutual distances and trend."""

    apart_m: NDArray[np.float64]
    trend: NDArray[np.float64]
    shift: Points
    code: NDArray[np.str_]

    @classmethod
    def of(cls, control: Control) -> _Block:
        frame = Frame.of(control.before)
        trend = trend_design(frame(control.before))
        return cls(pdist(control.before), trend, control.shift, control.code)


def estimate_covariance(pieces: Sequence[Control], seed: int = 0) -> Covariance:
    """Estimate one covariance from the control of several smooth pieces.

    Restricted maximum likelihood on blocks of neighbouring control, each with a trend of its own, so that the
    work is bounded however much control there is. The amplitudes are profiled out.

    Parameters
    ----------
    pieces
        Control of each piece between breaks; one for a field without breaks.
    seed
        Chooses the blocks where there are more than are needed.

    Returns
    -------
    Covariance
        The roughest that the likelihood does not tell from the most likely: a smoother one is surer of itself.
    """
    blocks = [_Block.of(block) for block in _chosen_blocks(pieces, seed)]
    extent = max(float(block.apart_m.max(initial=0.0)) for block in blocks)
    spacing = float(np.median([_spacing(block) for block in blocks]))
    bounds = (max(spacing / 2, extent * 1e-3, 1e-3), max(10 * extent, 1.0))
    likely = [_most_likely(blocks, smoothness, bounds) for smoothness in SMOOTHNESSES]
    if sum(len(piece) for piece in pieces) <= MOST_POLISHED:
        blocks = [_Block.of(piece) for piece in pieces]
        likely = [_polished(blocks, covariance, bounds) for covariance in likely]
    least = max(covariance.log_likelihood for covariance in likely) - NOT_TOLD_APART
    return _with_classes(blocks, next(covariance for covariance in likely if covariance.log_likelihood >= least))


def _spacing(block: _Block) -> float:
    if len(block.shift) < 2:
        return 0.0
    others = squareform(block.apart_m)
    np.fill_diagonal(others, np.inf)
    return float(np.median(others.min(axis=1)))


def _chosen_blocks(pieces: Sequence[Control], seed: int) -> list[Control]:
    """Blocks of at most ``BLOCK_SIZE``, each from one piece.

    Where there is more control than ``MOST_SEEN``, half of the blocks are compact and show noise and the short range;
    the others are thinned from a whole piece and show the long range. Both are of control that stands apart.
    """
    rng = np.random.default_rng(seed)
    sizes = np.array([len(piece) for piece in pieces], dtype=float)
    if sizes.sum() <= MOST_SEEN:
        return [piece.take(rows) for piece in pieces for rows in _compact_rows(piece.before)]
    pieces = [_apart(piece, rng) for piece in pieces]
    drawn = [pieces[k] for k in rng.choice(len(pieces), BLOCKS_DRAWN, p=sizes / sizes.sum())]
    compact = [_compact_block(piece, rng) for piece in drawn[::2]]
    return compact + [piece.take(np.sort(rng.permutation(len(piece))[:BLOCK_SIZE])) for piece in drawn[1::2]]


def _apart(piece: Control, rng: np.random.Generator) -> Control:
    """One control point of each square as wide as their mean spacing.

    Corners of one building moved together, each building of a resurveyed town by itself: a block in which they stand
    by fours would show a range of ten metres and hide that of the land.
    """
    side_m = max(mean_spacing_m(piece.before), 1e-6)
    order = rng.permutation(len(piece))
    column_row = np.floor((piece.before[order] - piece.before.min(axis=0)) / side_m).astype(np.int64)
    first = np.unique(column_row, axis=0, return_index=True)[1]
    return piece.take(np.sort(order[first]))


def _compact_block(piece: Control, rng: np.random.Generator) -> Control:
    distance = np.hypot(*(piece.before - piece.before[rng.integers(len(piece))]).T)
    return piece.take(np.argsort(distance, kind="stable")[:BLOCK_SIZE])


def _compact_rows(points: Points) -> list[NDArray[np.int_]]:
    """Rows of ``points`` halved along the longer side until no part holds more than ``BLOCK_SIZE``."""
    parts, done = [np.arange(len(points))], []
    while parts:
        rows = parts.pop()
        if len(rows) <= BLOCK_SIZE:
            done.append(rows)
            continue
        axis = int(np.argmax(np.ptp(points[rows], axis=0)))
        ordered = rows[np.argsort(points[rows, axis], kind="stable")]
        parts += [ordered[: len(rows) // 2], ordered[len(rows) // 2 :]]
    return [rows for rows in done if len(rows)]


def _most_likely(blocks: Sequence[_Block], smoothness: float, bounds: tuple[float, float]) -> Covariance:
    """The most likely length and noise, searched from the best of a coarse net."""
    low, high = np.log(bounds)
    starts = [(length, noise) for length in np.linspace(low, high, 7)[1:-1] for noise in (-6.0, -2.0, 1.0)]
    start = max(starts, key=lambda pair: _at(blocks, smoothness, np.array(pair)).log_likelihood)
    return _climbed(blocks, smoothness, start, bounds, steps=60)


def _polished(blocks: Sequence[_Block], covariance: Covariance, bounds: tuple[float, float]) -> Covariance:
    """The covariance found on parts, taken on to the most likely for the whole."""
    start = (float(np.log(covariance.length_m)), float(np.log(covariance.noise_ratio)))
    return _climbed(blocks, covariance.smoothness, start, bounds, steps=30)


def _climbed(
    blocks: Sequence[_Block],
    smoothness: float,
    start: tuple[float, float],
    bounds: tuple[float, float],
    steps: int,
) -> Covariance:
    limits = [tuple(np.log(bounds)), (np.log(LEAST_NOISE_RATIO), np.log(1e4))]
    found = minimize(
        lambda parameters: -_at(blocks, smoothness, parameters).log_likelihood,
        np.clip(start, *np.transpose(limits)),
        method="Nelder-Mead",
        bounds=limits,
        options={"xatol": 0.03, "fatol": 0.05, "maxfev": steps},
    )
    return _at(blocks, smoothness, found.x)


def _at(blocks: Sequence[_Block], smoothness: float, parameters: NDArray[np.float64]) -> Covariance:
    length_m, noise_ratio = np.exp(parameters).tolist()
    return _profiled(blocks, Covariance(length_m, smoothness, np.ones(2), noise_ratio))


def _profiled(blocks: Sequence[_Block], covariance: Covariance) -> Covariance:
    """The covariance with its most likely amplitudes, and the restricted log-likelihood it then has.

    Source: Rasmussen and Williams (2006), equation 2.45, with the constant terms left out.
    """
    squares, log_determinant, freedom = np.zeros(2), 0.0, 0
    for block in blocks:
        whitened = _Whitened.of(block, covariance)
        squares += whitened.squares
        log_determinant += whitened.log_determinant
        freedom += len(block.shift) - block.trend.shape[1]
    variance = np.maximum(squares / max(freedom, 1), LEAST_VARIANCE_M2)
    fit = float((freedom * np.log(variance) + squares / variance).sum())
    return replace(covariance, variance_m2=variance, log_likelihood=-0.5 * fit - 2.0 * log_determinant)


@dataclass(frozen=True)
class _Whitened:
    """A block divided by the root of its covariance."""

    root: NDArray[np.float64]
    trend: NDArray[np.float64]
    trend_root: NDArray[np.float64]
    squares: NDArray[np.float64]
    log_determinant: float

    @classmethod
    def of(cls, block: _Block, covariance: Covariance) -> _Whitened:
        # Half of the matrix is enough, and its exponentials are what estimation spends its time on.
        matrix = squareform(matern(block.apart_m / covariance.length_m, covariance.smoothness))
        matrix[np.diag_indices_from(matrix)] = 1.0 + np.maximum(covariance.noise(block.code), LEAST_NOISE_RATIO)
        root = cholesky(matrix, lower=True, check_finite=False)
        both = solve_triangular(root, np.hstack([block.trend, block.shift]), lower=True, check_finite=False)
        trend, shift = both[:, :-2], both[:, -2:]
        trend_root = cholesky(trend.T @ trend, lower=True)
        explained = solve_triangular(trend_root, trend.T @ shift, lower=True)
        squares = (shift**2).sum(axis=0) - (explained**2).sum(axis=0)
        log_determinant = float(np.log(np.diag(root)).sum() + np.log(np.diag(trend_root)).sum())
        return cls(root, trend, trend_root, np.maximum(squares, 0.0), log_determinant)


def _with_classes(blocks: Sequence[_Block], covariance: Covariance) -> Covariance:
    """The covariance with a noise for each common class of control, where the evidence pays for them.

    The noise of a class is what its leave-one-out residuals leave after the uncertainty of the field; kept
    when the likelihood rises by more than the Bayesian information criterion asks for.
    """
    codes = np.concatenate([block.code for block in blocks])
    names, counts = np.unique(codes, return_counts=True)
    common = [str(name) for name in names[counts >= max(COMMON_CLASS_SHARE * len(codes), 30)]]
    if len(common) < 2:
        return covariance
    refined = covariance
    for _ in range(3):
        refined = _profiled(blocks, replace(refined, noise_of_class=_class_noise(blocks, refined, common)))
    penalty = 0.5 * len(common) * np.log(2 * len(codes))
    return refined if refined.log_likelihood > covariance.log_likelihood + penalty else covariance


def _class_noise(blocks: Sequence[_Block], covariance: Covariance, common: list[str]) -> dict[str, float]:
    excess = [_noise_evidence(block, covariance) for block in blocks]
    codes, evidence = np.concatenate([block.code for block in blocks]), np.concatenate(excess)
    noise_ratio = max(covariance.noise_ratio, LEAST_NOISE_RATIO)
    return {name: float(max(evidence[codes == name].mean() / noise_ratio, 0.05)) for name in common}


def _noise_evidence(block: _Block, covariance: Covariance) -> NDArray[np.float64]:
    """What each leave-one-out residual says of its point's own noise ratio, ``(n,)``.

    Source: Dubrule (1983), Cross validation of kriging in a unique neighborhood: the residual is
    ``(P y)_i / P_ii`` and its variance ``1 / P_ii``, with ``P`` the covariance's inverse free of the trend.
    """
    whitened = _Whitened.of(block, covariance)
    inverse = cho_solve((whitened.root, True), np.eye(len(block.shift)))
    weighted = solve_triangular(whitened.trend_root, (inverse @ block.trend).T, lower=True)
    projected = inverse - weighted.T @ weighted
    loose = np.maximum(np.diag(projected), 1e-12)
    residual = (projected @ block.shift) / loose[:, None]
    squared = (residual**2 / covariance.variance_m2).mean(axis=1)
    return squared - (1.0 / loose - covariance.noise(block.code))

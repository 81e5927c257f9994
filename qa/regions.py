"""Regions within which the shift is smooth, found from the control alone.

Neighbouring control points are joined, most convincing pair first, for as long as one smooth surface explains
two regions better than two surfaces do (Bayesian evidence of a quadratic surface under a prior that is itself
learnt from the regions). Points are then handed to whichever adjacent region explains them best, and the
joining is tried again. Only the grouping lives here; where exactly the lines between the groups run is the
matter of ``qa.break_lines``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from transforms.contract import Points

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]

TERMS = 6
"""A quadratic surface: 1, e, n, e², en, n² in kilometres."""

EDGE_COST = 1.0
"""Nats that each pair of neighbours in different regions costs: a ragged border must earn its length."""

TAIL = 4.0
"""Degrees of freedom of the t distribution by which a point chooses its region; bad control then only mutters."""

OUTLIER = 16.0
"""Squared standardised misfit from which a point no longer shapes its region's surface."""


@dataclass(frozen=True)
class Surfaces:
    """Sums from which the best quadratic surface of every region follows; they add when regions join."""

    normal: Floats
    moment: Floats
    power: Floats

    def take(self, rows: Ints | NDArray[np.bool_]) -> Surfaces:
        """The sums of the regions at ``rows``."""
        return Surfaces(self.normal[rows], self.moment[rows], self.power[rows])

    def __add__(self, other: Surfaces) -> Surfaces:
        return Surfaces(self.normal + other.normal, self.moment + other.moment, self.power + other.power)


@dataclass(frozen=True)
class Sites:
    """Control points as the search for regions sees them.

    Parameters
    ----------
    terms
        ``(n, 6)`` the surface's terms at each point, in kilometres about the middle of the control.
    shift
        ``(n, 2)`` metres.
    noise_m
        ``(n,)`` noise per axis.
    edges
        ``(m, 2)`` rows of neighbouring points.
    weight
        ``(n,)`` inverse variance; nearly 0 for points that no longer shape a surface.
    """

    terms: Floats
    shift: Points
    noise_m: Floats
    edges: Ints
    weight: Floats


def quadratic_terms(points: Points, middle: Points) -> Floats:
    """The six terms of a quadratic surface at ``points``, ``(n, 6)``, kilometres about ``middle``."""
    east, north = ((points - middle) / 1000.0).T
    return np.stack([np.ones_like(east), east, north, east**2, east * north, north**2], axis=1)


def sum_surfaces(sites: Sites, label: Ints, count: int) -> Surfaces:
    """The sums of each of ``count`` regions."""
    gather = sparse.csr_matrix((np.ones(len(label)), (label, np.arange(len(label)))), (count, len(label)))
    weighted = sites.terms * sites.weight[:, None]
    normal = gather @ (weighted[:, :, None] * sites.terms[:, None]).reshape(len(label), -1)
    moment = gather @ (weighted[:, :, None] * sites.shift[:, None]).reshape(len(label), -1)
    power = gather @ (sites.weight * (sites.shift**2).sum(axis=1))
    return Surfaces(normal.reshape(-1, TERMS, TERMS), moment.reshape(-1, TERMS, 2), power)


def _recentring(centre: Floats) -> Floats:
    """Matrices ``(n, 6, 6)`` that turn terms about the common middle into terms about each centre."""
    east, north = centre.T
    matrix = np.tile(np.eye(TERMS), (len(centre), 1, 1))
    matrix[:, 1, 0], matrix[:, 2, 0] = -east, -north
    matrix[:, 3, 0], matrix[:, 3, 1] = east**2, -2 * east
    matrix[:, 4, 0], matrix[:, 4, 1], matrix[:, 4, 2] = east * north, -north, -east
    matrix[:, 5, 0], matrix[:, 5, 2] = north**2, -2 * north
    return matrix


def _centred(surfaces: Surfaces, prior: Floats) -> tuple[Floats, Floats, Floats]:
    centre = surfaces.normal[:, 0, 1:3] / np.maximum(surfaces.normal[:, 0, :1], 1e-12)
    matrix = _recentring(centre)
    normal = matrix @ surfaces.normal @ np.swapaxes(matrix, 1, 2)
    scaled = np.eye(TERMS) + prior[:, None] * normal * prior[None, :]
    return matrix, scaled, prior[None, :, None] * (matrix @ surfaces.moment)


def evidence(surfaces: Surfaces, prior: Floats) -> Floats:
    """Log evidence ``(n,)`` of each region as one quadratic surface, less the terms that joining leaves alone.

    ``-(c - b'(A + P)^-1 b) / 2 - log|I + P^-1 A|`` over both axes, with the prior about the region's own centre.
    """
    _, scaled, moment = _centred(surfaces, prior)
    factor = np.linalg.cholesky(scaled)
    white = np.linalg.solve(factor, moment)
    logs = np.log(np.einsum("nii->ni", factor)).sum(axis=1)
    return -0.5 * (surfaces.power - (white**2).sum(axis=(1, 2))) - 2.0 * logs


@dataclass(frozen=True)
class Fits:
    """Each region's surface about the common middle: coefficients, their covariance, and both about its centre."""

    coefficients: Floats
    covariance: Floats
    own_coefficients: Floats
    own_covariance: Floats


def fit_surfaces(surfaces: Surfaces, prior: Floats) -> Fits:
    """The posterior surface of each region."""
    matrix, scaled, moment = _centred(surfaces, prior)
    covariance = prior[:, None] * np.linalg.inv(scaled) * prior[None, :]
    own = covariance @ (moment / prior[None, :, None])
    back = np.swapaxes(matrix, 1, 2)
    return Fits(back @ own, back @ covariance @ matrix, own, covariance)


def log_likelihood(sites: Sites, fits: Fits, row: Ints, region: Ints) -> tuple[Floats, Floats]:
    """How well each region explains each point (t-tailed), and the squared standardised misfit."""
    terms = sites.terms[row]
    mean = np.einsum("ni,nic->nc", terms, fits.coefficients[region])
    variance = np.einsum("ni,nij,nj->n", terms, fits.covariance[region], terms) + sites.noise_m[row] ** 2
    misfit = ((sites.shift[row] - mean) ** 2).sum(axis=1) / variance
    return t_log_density(misfit, variance), misfit


def t_log_density(misfit: Floats, variance: Floats) -> Floats:
    """Log density of a bivariate t with ``TAIL`` degrees of freedom, up to a constant."""
    return -np.log(variance) - (TAIL + 2.0) / 2.0 * np.log1p(misfit / TAIL)


def _unique_pairs(pairs: Ints, count: int) -> tuple[Ints, Ints, Ints]:
    ordered = np.sort(pairs, axis=1)
    key, first, inverse = np.unique(ordered[:, 0] * count + ordered[:, 1], return_index=True, return_inverse=True)
    return np.stack([key // count, key % count], axis=1), first, inverse


def _matching(pairs: Ints, gain: Floats, count: int) -> Ints:
    """Pairs that are each other's best, no region twice."""
    best = np.full(count, -np.inf)
    np.maximum.at(best, pairs[:, 0], gain)
    np.maximum.at(best, pairs[:, 1], gain)
    mutual = (gain > 0) & (gain >= best[pairs[:, 0]]) & (gain >= best[pairs[:, 1]])
    chosen = pairs[mutual]
    chosen = chosen[np.unique(chosen[:, 0], return_index=True)[1]]
    chosen = chosen[np.unique(chosen[:, 1], return_index=True)[1]]
    return chosen[~np.isin(chosen[:, 0], chosen[:, 1])]


def join_regions(sites: Sites, label: Ints, prior: Floats) -> Ints:
    """Join neighbouring regions while one surface explains them better than two; the new labels ``(n,)``."""
    label = np.unique(label, return_inverse=True)[1]
    count = int(label.max()) + 1
    sums = sum_surfaces(sites, label, count)
    alone = evidence(sums, prior)
    between = label[sites.edges]
    between = between[between[:, 0] != between[:, 1]]
    pairs, _, inverse = _unique_pairs(between, count)
    border = np.bincount(inverse, np.full(len(between), EDGE_COST), minlength=len(pairs))
    gain = np.full(len(pairs), np.nan)
    parent = np.arange(count)
    while len(pairs):
        new = np.isnan(gain)
        one, two = pairs[new].T
        gain[new] = evidence(sums.take(one) + sums.take(two), prior) - alone[one] - alone[two]
        chosen = _matching(pairs, gain + border, count)
        if not len(chosen):
            break
        keep, gone = chosen.T
        parent[gone] = keep
        for mine in (sums.normal, sums.moment, sums.power):
            mine[keep] += mine[gone]
        alone[keep] = evidence(sums.take(keep), prior)
        gain[np.isin(pairs, chosen).any(axis=1)] = np.nan
        pairs = parent[pairs]
        apart = pairs[:, 0] != pairs[:, 1]
        pairs, first, inverse = _unique_pairs(pairs[apart], count)
        border = np.bincount(inverse, border[apart], minlength=len(pairs))
        gain = gain[apart][first]
    return _roots(parent)[label]


def _roots(parent: Ints) -> Ints:
    while np.any(parent != parent[parent]):
        parent = parent[parent]
    return np.unique(parent, return_inverse=True)[1]


def hand_over(sites: Sites, label: Ints, prior: Floats, rng: np.random.Generator, sweeps: int = 6) -> Ints:
    """Give each point to the adjacent region that explains it best, its neighbours having a say.

    A random part of the points moves in each sweep: all at once would let two neighbours swap for ever.
    """
    count = len(label)
    beside = _adjacency(sites.edges, count)
    for sweep in range(sweeps):
        label = np.unique(label, return_inverse=True)[1]
        fits = fit_surfaces(sum_surfaces(sites, label, label.max() + 1), prior)
        votes = (beside @ _indicator(label) + 1e-9 * _indicator(label)).tocoo()
        score = log_likelihood(sites, fits, votes.row, votes.col)[0] + EDGE_COST * votes.data
        order = np.lexsort((score, votes.row))
        last = np.append(np.diff(votes.row[order]) > 0, True)
        moves = rng.random(count) < (0.6 if sweep < sweeps - 1 else 1.0)
        label = np.where(moves, votes.col[order][last], label)
    return label


def _indicator(label: Ints) -> sparse.csr_matrix:
    return sparse.csr_matrix((np.ones(len(label)), (np.arange(len(label)), label)))


def _adjacency(edges: Ints, count: int) -> sparse.csr_matrix:
    one_way = sparse.csr_matrix((np.ones(len(edges)), edges.T), (count, count))
    return one_way + one_way.T


def connected(edges: Ints, label: Ints) -> Ints:
    """Labels ``(n,)`` such that each region is one connected part of the neighbour graph."""
    same = edges[label[edges[:, 0]] == label[edges[:, 1]]]
    return connected_components(_adjacency(same, len(label)), directed=False)[1]


def find_regions(sites: Sites, prior: Floats, rounds: int = 4, seed: int = 0) -> tuple[Ints, NDArray[np.bool_], Floats]:
    """Group control points into regions of one smooth shift.

    Parameters
    ----------
    sites
        The control points, their noise and their neighbours.
    prior
        ``(6,)`` first guess of the standard deviations of a region's coefficients (metres, kilometres).

    Returns
    -------
    label
        ``(n,)`` region of each point.
    agrees
        ``(n,)`` whether the point agrees with its region.
    prior
        ``(6,)`` the prior learnt from the regions.
    """
    rng = np.random.default_rng(seed)
    whole = sites.weight
    label = join_regions(sites, np.arange(len(whole)), prior)
    agrees = np.ones(len(whole), dtype=bool)
    for _ in range(rounds):
        label = hand_over(sites, label, prior, rng)
        fits = fit_surfaces(sum_surfaces(sites, label, label.max() + 1), prior)
        agrees = log_likelihood(sites, fits, np.arange(len(label)), label)[1] < OUTLIER
        sites = replace(sites, weight=np.where(agrees, whole, 1e-6 * whole))
        label = connected(sites.edges, join_regions(sites, label, prior))
        prior = _learnt_prior(sites, label, agrees, prior)
    return label, agrees, prior


def _learnt_prior(sites: Sites, label: Ints, agrees: NDArray[np.bool_], prior: Floats) -> Floats:
    """Empirical Bayes: the mean square of the regions' slopes and curvatures, larger regions weighing more."""
    size = np.bincount(label, agrees.astype(float))
    large = size >= 2 * TERMS
    if large.sum() < 3:
        return prior
    fits = fit_surfaces(sum_surfaces(sites, label, len(size)).take(large), prior)
    square = (fits.own_coefficients**2).mean(axis=2) + np.einsum("nii->ni", fits.own_covariance)
    mean = np.average(square, axis=0, weights=size[large])
    slope, curvature = np.sqrt(mean[1:3].mean()), np.sqrt(mean[3:].mean())
    return np.array([prior[0], slope, slope, curvature, curvature, curvature])

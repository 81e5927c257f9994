"""Regions within which the shift is smooth, found from the control alone.

Neighbouring control points are joined, most convincing pair first, for as long as one smooth surface explains
two regions better than two surfaces do (``qa.surfaces``, under a prior that is itself learnt from the regions).
Points are then handed to whichever adjacent region explains them best, and the joining is tried again. A small jump
does not show between two points and is joined across: at last each region is split wherever a straight line pays.
Only the grouping lives here; where exactly the lines between the groups run is the matter of ``qa.break_lines``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from qa.surfaces import TERMS, Sites, evidence, fit_surfaces, log_likelihood, point_surfaces, sum_surfaces

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]
Mask = NDArray[np.bool_]

EDGE_COST = 1.0
"""Nats that each pair of neighbours in different regions costs: a ragged border must earn its length."""

OUTLIER = 16.0
"""Squared standardised misfit from which a point no longer shapes its region's surface."""

SPLIT_COST = 15.0
"""Nats that a split must earn: the log of the some five hundred lines tried, and as much again for being wrong."""

SPLIT_ROUNDS = 3
DIRECTIONS = 12
OFFSETS = 40
"""Lines tried across a region: in so many directions, and at most so many of each."""

LEAST_SIDE = 24
"""Control that a split leaves on either side: twice a surface's coefficients."""


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


def split_regions(sites: Sites, label: Ints, prior: Floats) -> Ints:
    """Split each region by straight lines while two surfaces explain it better than one; the new labels ``(n,)``."""
    label = label.copy()
    order = np.argsort(label, kind="stable")
    asked = np.split(order, np.cumsum(np.bincount(label))[:-1])
    while asked:
        rows = asked.pop()
        beyond = _best_split(sites, rows, prior)
        if beyond.any():
            label[rows[beyond]] = label.max() + 1
            asked += [rows[beyond], rows[~beyond]]
    return label


def _best_split(sites: Sites, rows: Ints, prior: Floats) -> Mask:
    """Which points of a region lie beyond the line that explains it best, ``(n,)``; none where no line pays."""
    best, beyond = SPLIT_COST, np.zeros(len(rows), dtype=bool)
    if len(rows) < 2 * LEAST_SIDE:
        return beyond
    ends = np.unique(np.linspace(LEAST_SIDE, len(rows) - LEAST_SIDE, OFFSETS).astype(int))
    each = point_surfaces(sites, rows)
    whole = each.running(np.array([len(rows)]))
    alone = evidence(whole, prior)
    east, north = sites.terms[rows, 1:3].T
    for angle in np.arange(DIRECTIONS) * np.pi / DIRECTIONS:
        order = np.argsort(east * np.cos(angle) + north * np.sin(angle), kind="stable")
        first = each.take(order).running(ends)
        gain = evidence(first, prior) + evidence(whole - first, prior) - alone
        if gain.max() > best:
            best = float(gain.max())
            beyond = np.zeros(len(rows), dtype=bool)
            beyond[order[ends[gain.argmax()] :]] = True
    return beyond


def connected(edges: Ints, label: Ints) -> Ints:
    """Labels ``(n,)`` such that each region is one connected part of the neighbour graph."""
    same = edges[label[edges[:, 0]] == label[edges[:, 1]]]
    return connected_components(_adjacency(same, len(label)), directed=False)[1]


def find_regions(sites: Sites, prior: Floats, rounds: int = 4, seed: int = 0) -> tuple[Ints, Mask, Floats]:
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
        agrees = _agrees(sites, label, prior)
        sites = replace(sites, weight=np.where(agrees, whole, 1e-6 * whole))
        label = connected(sites.edges, join_regions(sites, label, prior))
        prior = _learnt_prior(sites, label, agrees, prior)
    for _ in range(SPLIT_ROUNDS):
        split = split_regions(sites, label, prior)
        if split.max() == label.max():
            break
        label = connected(sites.edges, hand_over(sites, split, prior, rng))
        agrees = _agrees(sites, label, prior)
        sites = replace(sites, weight=np.where(agrees, whole, 1e-6 * whole))
    return label, agrees, prior


def _agrees(sites: Sites, label: Ints, prior: Floats) -> Mask:
    fits = fit_surfaces(sum_surfaces(sites, label, label.max() + 1), prior)
    return np.asarray(log_likelihood(sites, fits, np.arange(len(label)), label)[1] < OUTLIER)


def _learnt_prior(sites: Sites, label: Ints, agrees: Mask, prior: Floats) -> Floats:
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

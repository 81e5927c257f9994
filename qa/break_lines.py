"""Pulling ragged borders into the long, nearly straight lines that old sheet edges are.

A border may lie anywhere between the control points of its two sides. Of all such courses the likeliest is
sought: control pushes the line to its own side, the harder the more clearly its shift tells the sides apart,
and stiffness keeps the line straight. Junctions are free to move but stay joined.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import SuperLU, splu, spsolve

from qa.borders import Borders, Feet, feet
from transforms.contract import Points

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]

STIFFNESS_MODULUS = 700.0
"""Bending stiffness in spacings of control times nats: a bow of a fifth of a spacing over ten spacings, about
20 m over a kilometre, costs about one nat, what one vague control point says."""

KINK = 2.0
"""Nats of bending at one node from which the line rather breaks there than bends: sheets have corners."""

LARGEST_EVIDENCE = 8.0
"""Nats a single control point may bring: one bad link never bends a line by itself."""

FIRM = 0.5
"""Softness below which the line may have kinks; before, the ragged first course must not freeze into them."""

REACH = 6.0
"""Softnesses beyond which control no longer pushes: its pull has fallen to a 400th."""

SOFTNESS_STEPS = (1.0, 0.6, 0.4, 0.25, 0.15)
"""The line's softness in spacings of control, from coarse to fine."""


@dataclass(frozen=True)
class Evidence:
    """What each control point says of the regions near it.

    Parameters
    ----------
    points
        ``(n, 2)`` metres.
    label
        ``(n,)`` region of each.
    score
        ``(n, regions)`` sparse log likelihood plus ``offset`` of the regions asked about; 0 where not asked.
    """

    points: Points
    label: Ints
    score: sparse.csr_matrix

    def near(self, borders: Borders, reach_m: float) -> Evidence:
        """The evidence of the control within ``reach_m`` of a border."""
        stand = feet(borders, self.points, candidates=1)
        rows = stand.row[np.abs(stand.offset_m) < reach_m]
        return Evidence(self.points[rows], self.label[rows], self.score[rows])

    def for_left(self, stand: Feet, borders: Borders) -> Floats:
        """Log odds that the point belongs left of the chain rather than right."""
        if not len(stand.row):
            return np.empty(0)  # of no rows at all scipy would give a sparse matrix
        left, right = borders.left[stand.chain], borders.right[stand.chain]
        odds = np.asarray(self.score[stand.row, left] - self.score[stand.row, right]).ravel()
        return np.clip(odds, -LARGEST_EVIDENCE, LARGEST_EVIDENCE)


def straighten(borders: Borders, evidence: Evidence, rounds: int = 6) -> Borders:
    """The likeliest stiff course of every border.

    Parameters
    ----------
    borders
        First course, from ``trace_borders``.
    evidence
        What the control near the borders says.
    rounds
        Newton steps at each softness.
    """
    for softness in SOFTNESS_STEPS:
        softness_m = softness * borders.step_m
        heard = evidence.near(borders, REACH * softness_m + borders.step_m)
        for _ in range(rounds):
            borders = _step(borders, heard, softness_m, may_kink=softness < FIRM)
    return borders


def _step(borders: Borders, evidence: Evidence, softness_m: float, may_kink: bool) -> Borders:
    stand = _beside(borders, evidence, softness_m)
    slope, curvature = _pressure(stand, evidence.for_left(stand, borders), softness_m)
    lever = _levers(borders, stand)
    stiffness = _stiffness(borders, may_kink)
    system = stiffness + lever.T @ sparse.diags(curvature) @ lever
    system = system + _hold(borders)
    downhill = -(stiffness @ borders.nodes.ravel() + lever.T @ slope)
    move = spsolve(system.tocsc(), downhill).reshape(-1, 2)
    length = np.maximum(np.hypot(*move.T), 1e-9)[:, None]
    return replace(borders, nodes=borders.nodes + move * np.minimum(1.0, 0.5 * borders.step_m / length))


def _beside(borders: Borders, evidence: Evidence, softness_m: float) -> Feet:
    """The control near each chain that belongs to one of its sides."""
    stand = feet(borders, evidence.points)
    label = evidence.label[stand.row]
    beside = (label == borders.left[stand.chain]) | (label == borders.right[stand.chain])
    return stand.take(beside & (np.abs(stand.offset_m) < REACH * softness_m))


def _pressure(stand: Feet, odds: Floats, softness_m: float) -> tuple[Floats, Floats]:
    """First and (bounding) second derivative of each point's cost by its offset.

    The cost is ``-log(p L + (1 - p) R)`` with ``p = 1 / (1 + exp(-offset / softness))``.
    """
    by_place = _logistic(stand.offset_m / softness_m)
    by_both = _logistic(stand.offset_m / softness_m + odds)
    slope = (by_place - by_both) / softness_m
    curvature = np.minimum(1.0, np.abs(odds)) / (4.0 * softness_m**2)
    return slope, curvature


def _logistic(value: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * value))


def _levers(borders: Borders, stand: Feet) -> sparse.csr_matrix:
    """Change of each offset when the two nodes of its segment move, ``(rows, 2 nodes)``."""
    along = borders.nodes[stand.end] - borders.nodes[stand.start]
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
    normal /= np.maximum(np.hypot(*along.T), 1e-6)[:, None]
    nodes = np.stack([stand.start, stand.start, stand.end, stand.end], axis=1)
    columns = 2 * nodes + np.array([0, 1, 0, 1])
    weights = np.concatenate([-(1.0 - stand.share)[:, None] * normal, -stand.share[:, None] * normal], axis=1)
    rows = np.repeat(np.arange(len(along)), 4)
    return sparse.csr_matrix((weights.ravel(), (rows, columns.ravel())), (len(along), borders.nodes.size))


def _stiffness(borders: Borders, may_kink: bool) -> sparse.csr_matrix:
    """Bending energy ``B / 2 * integral of curvature²`` as a matrix over all coordinates, and a slight tension."""
    step, count = borders.step_m, len(borders.nodes)
    triples = np.concatenate([_triples(chain) for chain in borders.chains])
    before = np.hypot(*(borders.nodes[triples[:, 1]] - borders.nodes[triples[:, 0]]).T)
    after = np.hypot(*(borders.nodes[triples[:, 2]] - borders.nodes[triples[:, 1]]).T)
    before, after = np.maximum(before, step / 4), np.maximum(after, step / 4)
    bend = _rows(triples, np.stack([1 / before, -1 / before - 1 / after, 1 / after], axis=1), count)
    rigidity = 2.0 * STIFFNESS_MODULUS * step / (before + after)
    spent = 0.5 * rigidity * ((bend @ borders.nodes) ** 2).sum(axis=1)
    if may_kink:
        rigidity = rigidity / (1.0 + spent / KINK)
    energy = bend.T @ sparse.diags(rigidity) @ bend
    links = np.concatenate([np.stack([chain[:-1], chain[1:]], axis=1) for chain in borders.chains])
    stretch = _rows(links, np.tile([-1.0, 1.0], (len(links), 1)), count)
    energy = energy + (1e-3 / step**2) * (stretch.T @ stretch)
    return sparse.kron(energy, sparse.identity(2), format="csr")


def _hold(borders: Borders) -> sparse.dia_matrix:
    """Keeps nodes that nothing holds where they are, and loose ends, outside all control, from creeping inwards."""
    ends = np.concatenate([chain[[0, -1]] for chain in borders.chains])
    uses = np.bincount(ends, minlength=len(borders.nodes))
    weight = np.where(uses == 1, 1e3, 1e-3) / borders.step_m**2
    return sparse.diags(np.repeat(weight, 2))


def _rows(nodes: Ints, weights: Floats, count: int) -> sparse.csr_matrix:
    rows = np.repeat(np.arange(len(nodes)), nodes.shape[1])
    return sparse.csr_matrix((weights.ravel(), (rows, nodes.ravel())), (len(nodes), count))


def _triples(chain: Ints) -> Ints:
    """Neighbouring nodes by threes, across the seam where the chain is closed."""
    inner = np.stack([chain[:-2], chain[1:-1], chain[2:]], axis=1)
    if chain[0] != chain[-1]:
        return inner
    return np.concatenate([inner, [[chain[-2], chain[0], chain[1]]]])


def line_errors_m(borders: Borders, evidence: Evidence) -> tuple[Floats, ...]:
    """Standard error in metres of the place of each line, across it, at each of its nodes: ``(k,)`` for each.

    The inverse of the energy's curvature at the likeliest course (Laplace's approximation).
    """
    softness_m = SOFTNESS_STEPS[-1] * borders.step_m
    stand = _beside(borders, evidence, softness_m)
    odds = evidence.for_left(stand, borders)
    by_place, by_both = (_logistic(stand.offset_m / softness_m + extra) for extra in (0.0, odds))
    curvature = np.maximum(by_place * (1 - by_place) - by_both * (1 - by_both), 0.0) / softness_m**2
    lever = _levers(borders, stand)
    system = _stiffness(borders, may_kink=True) + lever.T @ sparse.diags(curvature) @ lever
    factors = splu((system + _hold(borders)).tocsc())
    return tuple(_errors_across(chain, borders, factors) for chain in borders.chains)


def _errors_across(chain: Ints, borders: Borders, factors: SuperLU) -> Floats:
    """Standard error at each node of a chain, none below that at its middle: how stiff lines are is a guess."""
    along = np.gradient(borders.nodes[chain], axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.maximum(np.hypot(*along.T), 1e-6)[:, None]
    pull = np.zeros((borders.nodes.size, len(chain)))
    for axis in (0, 1):
        pull[2 * chain + axis, np.arange(len(chain))] = normal[:, axis]
    error_m = np.sqrt((pull * factors.solve(pull)).sum(axis=0))
    return np.asarray(np.maximum(error_m, error_m[len(chain) // 2]))

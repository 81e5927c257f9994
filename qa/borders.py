"""Borders between labelled control points, as a graph of chains that meet at junctions.

Only the topology and a first, ragged course come from here: each border runs through the middles of the
triangulation's edges that join two labels. ``qa.break_lines`` pulls it straight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components, depth_first_order
from scipy.spatial import Delaunay, cKDTree

from transforms.contract import Points

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]

LEAST_LOOP_NODES = 6


@dataclass(frozen=True)
class Borders:
    """A graph of borders: nodes, and chains of nodes between junctions.

    Parameters
    ----------
    nodes
        ``(n, 2)`` easting, northing in metres; junctions first, shared by the chains that meet there.
    chains
        Rows of ``nodes`` in order; a closed chain ends on the node it began with.
    left, right
        ``(m,)`` the label on either side of each chain.
    step_m
        Distance between neighbouring nodes.
    """

    nodes: Points
    chains: tuple[Ints, ...]
    left: Ints
    right: Ints
    step_m: float

    def lines(self) -> tuple[Points, ...]:
        """The polyline of every chain."""
        return tuple(self.nodes[chain] for chain in self.chains)


@dataclass(frozen=True)
class _CutEdges:
    """Edges of the triangulation that join two labels.

    Parameters
    ----------
    ends
        ``(k, 2)`` the two sites of each.
    triangle, edge
        Which triangle meets which cut edge, one row per meeting, sorted by triangle.
    meetings
        Number of cut edges of each triangle: 0, 2 or 3.
    """

    ends: Ints
    triangle: Ints
    edge: Ints
    meetings: Ints


def _cut_edges(triangles: Ints, label: Ints) -> _CutEdges:
    sides = np.sort(np.concatenate([triangles[:, [1, 2]], triangles[:, [2, 0]], triangles[:, [0, 1]]]), axis=1)
    cut = label[sides[:, 0]] != label[sides[:, 1]]
    triangle = np.tile(np.arange(len(triangles)), 3)[cut]
    ends, edge = np.unique(sides[cut], axis=0, return_inverse=True)
    order = np.argsort(triangle, kind="stable")
    meetings = np.bincount(triangle, minlength=len(triangles))
    return _CutEdges(ends, triangle[order], edge.ravel()[order], meetings)


def trace_borders(sites: Points, label: Ints, step_m: float) -> Borders:
    """The borders between labels as chains with nodes about ``step_m`` apart.

    Parameters
    ----------
    sites
        ``(n, 2)`` places in metres, no two the same.
    label
        ``(n,)`` region of each.
    step_m
        Wanted distance between nodes in metres.
    """
    triangles = Delaunay(sites - sites.mean(axis=0)).simplices
    cut = _cut_edges(triangles, label)
    junctions = np.flatnonzero(cut.meetings == 3)
    junction_of = np.full(len(triangles), -1)
    junction_of[junctions] = np.arange(len(junctions))
    at_junction = cut.meetings[cut.triangle] == 3
    ends_at = _junctions_of_edges(cut.edge[at_junction], junction_of[cut.triangle[at_junction]], len(cut.ends))
    middles = sites[cut.ends].mean(axis=1)
    nodes = list(sites[triangles[junctions]].mean(axis=1))
    chains, pairs = [], []
    for order, closed in _walks(cut.edge[~at_junction].reshape(-1, 2), len(cut.ends)):
        stops = (-1, -1) if closed else _stops(ends_at, order)
        course = _resampled(middles[order], stops, closed, nodes, step_m)
        chains.append(_numbered(course, stops, closed, nodes))
        pairs.append(np.sort(label[cut.ends[order[0]]]))
    left, right = np.array(pairs, dtype=int).reshape(-1, 2).T
    drawn = Borders(np.array(nodes).reshape(-1, 2), tuple(chains), left, right, step_m)
    return _oriented(drawn, sites, label)


def _junctions_of_edges(edge: Ints, junction: Ints, count: int) -> Ints:
    """Up to two junctions that each cut edge touches, ``(count, 2)``; -1 for none."""
    touches = np.full((count, 2), -1)
    order = np.argsort(edge, kind="stable")
    edge, junction = edge[order], junction[order]
    again = np.append(False, edge[1:] == edge[:-1])[: len(edge)]
    touches[edge[~again], 0] = junction[~again]
    touches[edge[again], 1] = junction[again]
    return touches


def _stops(ends_at: Ints, order: Ints) -> tuple[int, int]:
    if len(order) == 1:
        return int(ends_at[order[0], 0]), int(ends_at[order[0], 1])
    return int(ends_at[order[0], 0]), int(ends_at[order[-1], 0])


def _walks(links: Ints, count: int) -> list[tuple[Ints, bool]]:
    """Each connected run of cut edges, in walking order, and whether it closes on itself."""
    one_way = sparse.csr_matrix((np.ones(len(links)), links.T), (count, count))
    graph = one_way + one_way.T
    runs, run = connected_components(graph, directed=False)
    degree = np.diff(graph.indptr)
    members = np.split(np.argsort(run, kind="stable"), np.cumsum(np.bincount(run, minlength=runs))[:-1])
    walks = []
    for member in members if count else []:
        ends = member[degree[member] < 2]
        start = ends[0] if len(ends) else member[0]
        order = depth_first_order(graph, start, directed=False, return_predecessors=False)
        walks.append((order, len(ends) == 0))
    return walks


def _resampled(course: Points, stops: tuple[int, int], closed: bool, nodes: list[Points], step_m: float) -> Points:
    first = [nodes[stops[0]]] if stops[0] >= 0 else []
    last = [course[0]] if closed else [nodes[stops[1]]] if stops[1] >= 0 else []
    whole = np.concatenate([np.reshape(first, (-1, 2)), course, np.reshape(last, (-1, 2))])
    along = np.append(0.0, np.cumsum(np.hypot(*np.diff(whole, axis=0).T)))
    least = LEAST_LOOP_NODES if closed else 2
    places = np.linspace(0.0, along[-1], max(least, round(along[-1] / step_m) + 1))
    return np.stack([np.interp(places, along, axis) for axis in whole.T], axis=1)


def _numbered(course: Points, stops: tuple[int, int], closed: bool, nodes: list[Points]) -> Ints:
    first = len(nodes)
    own = course[int(stops[0] >= 0) : len(course) - int(stops[1] >= 0 or closed)]
    nodes.extend(own)
    numbers = list(range(first, first + len(own)))
    head = [stops[0]] if stops[0] >= 0 else []
    tail = [first] if closed else [stops[1]] if stops[1] >= 0 else []
    return np.array(head + numbers + tail, dtype=int)


@dataclass(frozen=True)
class Feet:
    """Where points stand against the chains near them, one row per point and chain.

    Parameters
    ----------
    row, chain
        Which point, which chain.
    start, end
        The nodes of the nearest segment of that chain.
    share
        How far along the segment the foot lies, 0 to 1.
    offset_m
        Distance in metres from the chain, positive to its left.
    """

    row: Ints
    chain: Ints
    start: Ints
    end: Ints
    share: Floats
    offset_m: Floats

    def take(self, kept: NDArray[np.bool_]) -> Feet:
        """The rows that are ``kept``."""
        return Feet(*(column[kept] for column in vars(self).values()))


def feet(borders: Borders, points: Points, candidates: int = 12) -> Feet:
    """The foot of each point on each of the few chains nearest to it."""
    start = np.concatenate([chain[:-1] for chain in borders.chains])
    end = np.concatenate([chain[1:] for chain in borders.chains])
    chain = np.repeat(np.arange(len(borders.chains)), [len(nodes) - 1 for nodes in borders.chains])
    share = (np.arange(4) + 0.5) / 4
    begin, along = borders.nodes[start], borders.nodes[end] - borders.nodes[start]
    samples = (begin[:, None] + share[None, :, None] * along[:, None]).reshape(-1, 2)
    have = min(candidates, len(samples))
    segment = cKDTree(samples).query(points, np.arange(1, have + 1), workers=-1)[1].ravel() // 4
    row = np.repeat(np.arange(len(points)), have)
    offset, direction = points[row] - begin[segment], along[segment]
    length = np.maximum(np.hypot(*direction.T), 1e-6)
    place = np.clip((offset * direction).sum(axis=1) / length**2, 0.0, 1.0)
    distance = np.hypot(*(offset - place[:, None] * direction).T)
    side = np.sign(direction[:, 0] * offset[:, 1] - direction[:, 1] * offset[:, 0])
    order = np.lexsort((distance, chain[segment], row))
    key = row[order] * len(borders.chains) + chain[segment[order]]
    nearest = order[np.append(True, np.diff(key) > 0)] if len(order) else order
    chosen = segment[nearest]
    return Feet(row[nearest], chain[chosen], start[chosen], end[chosen], place[nearest], (side * distance)[nearest])


def _oriented(borders: Borders, sites: Points, label: Ints) -> Borders:
    """Name the sides of each chain by what most of the sites beside it are."""
    if not borders.chains:
        return borders
    stand = feet(borders, sites)
    is_left, is_right = (label[stand.row] == side[stand.chain] for side in (borders.left, borders.right))
    vote = np.sign(stand.offset_m) * (is_left.astype(float) - is_right) / (np.abs(stand.offset_m) + 1.0)
    turned = np.bincount(stand.chain, vote, minlength=len(borders.chains)) < 0
    left = np.where(turned, borders.right, borders.left)
    right = np.where(turned, borders.left, borders.right)
    return Borders(borders.nodes, borders.chains, left, right, borders.step_m)

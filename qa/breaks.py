"""Finding breaks: the lines across which the shift jumps, from control alone.

Regions of one smooth shift are found first (``qa.regions``); neighbouring regions whose shifts meet smoothly
are welded (``qa.smoothness``); the borders that are left are pulled straight (``qa.break_lines``) and measured.
Nothing here is set for one net: noise, spacing, slopes and smoothness are learnt from the control.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import Delaunay, QhullError, cKDTree

from qa.borders import Borders, trace_borders
from qa.break_lines import Evidence, line_errors_m, straighten
from qa.local_surfaces import RegionControl
from qa.neighbours import (
    RAYLEIGH_MEDIAN,
    local_planes,
    local_scale,
    nearest_others,
    share_side_m,
    usual_scale,
)
from qa.regions import find_regions
from qa.smoothness import Smoothness
from qa.surfaces import Sites, quadratic_terms
from transforms.breaks import Breaks
from transforms.contract import Control, Points

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]
Mask = NDArray[np.bool_]

LEAST_CONTROL = 24
"""Below this no line can be told from bad control: two sides of a dozen points, twice a quadratic's terms."""

MOST_CONTROL = 50_000
"""Control searched for breaks; for a borough of 400 km² that is one point in 90 m."""

LEAST_REGION = 6
"""A smaller group is no piece of land but a cluster for the officer."""

LEAST_LAND = 5
"""Shares of the net below which a region is no land that a line could be drawn about: a few houses that moved alike."""

LOOSE_CHANCE = 0.001
"""Below this chance the control of a small region is no smooth shift."""

WILD_SPREADS = 10.0
"""Shifts this many robust spreads from the median are no shifts (a lost digit) and would stretch the map."""

BENDING_M = 0.1
"""What a quadratic surface leaves undescribed of a smooth shift [m]: control truer than this shows no jump by it."""

LEAST_JUMP_M = 0.3
"""A smaller jump is no break: smoothed over it leaves 0.15 m on either side, and a line through land that is one costs
more: what lies across it is for a person."""

SPOTS = 8
"""Places along a border at which joining is weighed."""


def find_breaks(control: Control, seed: int = 0) -> Breaks:
    """Find the lines across which the shift jumps.

    Bad control need not be removed first; the few points that agree with no region are set aside.

    Parameters
    ----------
    control
        Control points; rows that are not finite are passed over.
    seed
        Seeds the order in which points are handed between regions.

    Returns
    -------
    Breaks
        None where there is too little control or the shift is smooth throughout.
    """
    usable = usable_rows(control)
    if usable.sum() < LEAST_CONTROL:
        return Breaks.none()
    kept = control.take(thinned(np.flatnonzero(usable), seed))
    try:
        edges = neighbour_edges(kept.before)
    except QhullError:
        return Breaks.none()
    regions = _regions(kept, edges, seed)
    if len(np.unique(regions.label)) < 2:
        return Breaks.none()
    return _drawn(regions)


def thinned(rows: Ints, seed: int) -> Ints:
    """At most ``MOST_CONTROL`` of the rows, drawn evenly: lines are miles long and need no more."""
    if len(rows) <= MOST_CONTROL:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, MOST_CONTROL, replace=False))


def usable_rows(control: Control) -> Mask:
    """Rows ``(n,)`` that are finite, not wild, and the first at their place."""
    usable = np.asarray(np.isfinite(np.hstack([control.before, control.shift])).all(axis=1))
    if usable.any():
        usable[usable] = ~_is_wild(control.shift[usable])
        _, first = np.unique(control.before[usable], axis=0, return_index=True)
        usable[np.delete(np.flatnonzero(usable), first)] = False
    return usable


def _is_wild(shift: Points) -> Mask:
    off = np.hypot(*(shift - np.median(shift, axis=0)).T)
    return off > WILD_SPREADS * max(float(np.median(off)) / RAYLEIGH_MEDIAN, 0.1)


def neighbour_edges(points: Points) -> Ints:
    """Rows ``(m, 2)`` of points that are neighbours in the Delaunay triangulation."""
    starts, neighbours = Delaunay(points - points.mean(axis=0)).vertex_neighbor_vertices
    edges = np.stack([np.repeat(np.arange(len(points)), np.diff(starts)), neighbours], axis=1)
    return edges[edges[:, 0] < edges[:, 1]]


def _regions(control: Control, edges: Ints, seed: int) -> RegionControl:
    """The control that agrees with a region, labelled by welded region."""
    points, shift = control.before, control.shift
    noise_m, slope = _noise_and_slope(points, shift)
    spread = float(np.sqrt((shift**2).sum(axis=1).mean() / 2.0))
    sites = Sites(quadratic_terms(points, points.mean(axis=0)), shift, noise_m, edges, noise_m**-2)
    label, agrees, prior = find_regions(sites, np.array([max(spread, 0.1), *[slope] * 5]), seed=seed)
    agrees &= np.bincount(label, agrees)[label] >= LEAST_REGION
    agrees &= _land(points, label, agrees)[label] >= LEAST_LAND
    if not agrees.any():
        return RegionControl(points, shift, noise_m, np.zeros(len(points), int), prior)
    found = np.unique(label[agrees], return_inverse=True)[1]
    ragged = _without_loose(RegionControl(points[agrees], shift[agrees], noise_m[agrees], found, prior))
    return replace(ragged, label=_weld(ragged)[ragged.label])


def _land(points: Points, label: Ints, agrees: Mask) -> Ints:
    """In how many cells, each as large as one control point's share of the net, each region has control that agrees."""
    cell = np.floor((points - points.min(axis=0)) / share_side_m(points)).astype(np.int64)
    taken = np.unique(np.column_stack([label, cell])[agrees], axis=0)
    return np.bincount(taken[:, 0], minlength=int(label.max()) + 1)


def _without_loose(regions: RegionControl) -> RegionControl:
    """The regions without those of few points, scattered, that a surface was bent through: to be one it must be smooth.

    Through as few as a dozen points a quadratic fits anything.
    """
    size = np.bincount(regions.label)
    small = np.flatnonzero(size < LEAST_CONTROL)
    if len(small) in (0, len(size)):
        return regions
    rows = regions.nearest(np.zeros((len(small), 2)), small, count=LEAST_CONTROL)
    loose = small[Smoothness.learn(regions).chance(regions, rows) < LOOSE_CHANCE]
    kept = ~np.isin(regions.label, loose)
    label = np.unique(regions.label[kept], return_inverse=True)[1]
    return RegionControl(regions.points[kept], regions.shift[kept], regions.noise_m[kept], label, regions.prior)


def _noise_and_slope(points: Points, shift: Points) -> tuple[Floats, float]:
    """Noise per axis of each point, and the usual slope of the shift in metres per kilometre."""
    near = nearest_others(points, 40)
    planes = local_planes(points, near[:, :16], points, shift, np.ones(len(points)))
    residual = np.hypot(*(shift - planes.shift).T) / np.sqrt(1.0 + planes.leverage)
    steepness = np.hypot(planes.gradient[..., 0], planes.gradient[..., 1])
    slope = 1000.0 * float(np.median(steepness)) / RAYLEIGH_MEDIAN
    return np.maximum(local_scale(residual, near, usual_scale(residual)), BENDING_M), max(slope, 1e-3)


def _weld(regions: RegionControl) -> Ints:
    """Number of the welded region of each region: those whose shifts meet smoothly become one.

    The best pair is welded first; what it then meets, it meets along the borders of both.
    """
    pairs, gain, spots = _meeting_gains(regions)
    group = np.arange(int(regions.label.max()) + 1)
    while len(pairs):
        best = np.argmax(gain / spots)
        if gain[best] <= 0:
            break
        kept, gone = pairs[best]
        group[group == gone] = kept
        pairs = np.sort(np.where(pairs == gone, kept, pairs), axis=1)
        apart = pairs[:, 0] != pairs[:, 1]
        pairs, pair = np.unique(pairs[apart], axis=0, return_inverse=True)
        gain, spots = (_summed(each[apart], pair.ravel(), len(pairs)) for each in (gain, spots))
    return np.unique(group, return_inverse=True)[1]


def _meeting_gains(regions: RegionControl) -> tuple[Ints, Floats, Floats]:
    """Pairs of regions that meet, the log evidence that the shift is smooth where they do, and at how many places.

    Regions meet where neighbours lie nearer than the shift is alike: across a void nothing is known.
    """
    smoothness = Smoothness.learn(regions)
    edges = neighbour_edges(regions.points)
    ends = np.sort(regions.label[edges], axis=1)
    near = np.hypot(*(regions.points[edges[:, 0]] - regions.points[edges[:, 1]]).T) < smoothness.length_m
    cut = np.flatnonzero((ends[:, 0] != ends[:, 1]) & near)
    pairs, pair = np.unique(ends[cut], axis=0, return_inverse=True)
    middle = regions.points[edges[cut]].mean(axis=1)
    spots = _spread_out(middle, pair.ravel())
    met = pair.ravel()[spots]
    gain = smoothness.joining_gain(regions, middle[spots], *pairs[met].T)
    (left, _), (right, _) = (regions.predict(middle[spots], side) for side in pairs[met].T)
    gain = np.where(np.hypot(*(left - right).T) < LEAST_JUMP_M, np.maximum(gain, 1.0), gain)
    return pairs, _summed(gain, met, len(pairs)), _summed(np.ones(len(met)), met, len(pairs))


def _summed(values: Floats, group: Ints, count: int) -> Floats:
    return np.bincount(group, values, minlength=count).astype(float)


def _spread_out(middle: Points, pair: Ints) -> Ints:
    """Up to ``SPOTS`` rows of each pair, evenly along the border (sorted by easting plus northing)."""
    order = np.lexsort((middle.sum(axis=1), pair))
    size = np.bincount(pair)
    rank = np.arange(len(pair)) - np.repeat(np.cumsum(size) - size, size)
    whole = size[pair[order]]
    share = np.minimum(SPOTS, whole)
    return order[(rank * share) // whole != ((rank - 1) * share) // whole]


def _drawn(regions: RegionControl) -> Breaks:
    """The borders between regions as straightened, measured lines."""
    step_m = share_side_m(regions.points)
    ring, ring_label = _ring(regions, step_m)
    sites, label = np.concatenate([regions.points, ring]), np.concatenate([regions.label, ring_label])
    ragged = trace_borders(sites, label, step_m)
    evidence = Evidence(regions.points, regions.label, _scores(regions))
    straight = straighten(ragged, evidence)
    half_width_m = tuple(2.0 * error_m for error_m in line_errors_m(straight, evidence))
    jump_m = _jumps(straight, regions)
    count = int(regions.label.max()) + 1
    return Breaks(straight.lines(), straight.left, straight.right, jump_m, half_width_m, count)


def _ring(regions: RegionControl, step_m: float) -> tuple[Points, Ints]:
    """Sites around all control, labelled as the control nearest to them: borders run on to the edge."""
    low = regions.points.min(axis=0) - 3.0 * step_m
    high = regions.points.max(axis=0) + 3.0 * step_m
    east, north = (np.linspace(low[k], high[k], int((high - low)[k] / step_m) + 2) for k in (0, 1))
    sides = [np.stack([east, np.full(len(east), edge)], axis=1) for edge in (low[1], high[1])]
    sides += [np.stack([np.full(len(north) - 2, edge), north[1:-1]], axis=1) for edge in (low[0], high[0])]
    ring = np.concatenate(sides)
    return ring, regions.label[nearest_control(regions.points, ring)]


def nearest_control(points: Points, places: Points) -> Ints:
    """Row ``(m,)`` of the control point nearest to each place."""
    return cKDTree(points).query(places)[1]


def _scores(regions: RegionControl) -> sparse.csr_matrix:
    """How well each point fits its own region and those within three neighbours of it, ``(n, regions)``."""
    edges, count = neighbour_edges(regions.points), len(regions.points)
    one_way = sparse.csr_matrix((np.ones(len(edges)), edges.T), (count, count))
    member = sparse.csr_matrix((np.ones(count), (np.arange(count), regions.label)))
    reached = member
    for _ in range(3):
        reached = (reached + one_way @ reached + one_way.T @ reached).sign()
    several = np.diff(reached.indptr) > 1
    asked = sparse.diags(several.astype(float)) @ reached
    asked.eliminate_zeros()
    asked = asked.tocoo()
    return sparse.csr_matrix((regions.score(asked.row, asked.col), (asked.row, asked.col)), asked.shape)


def _jumps(borders: Borders, regions: RegionControl) -> Floats:
    """Mean length in metres of the jump across each line."""
    chain = np.repeat(np.arange(len(borders.chains)), [len(nodes) for nodes in borders.chains])
    places = borders.nodes[np.concatenate(borders.chains)]
    left, _ = regions.predict(places, borders.left[chain])
    right, _ = regions.predict(places, borders.right[chain])
    return np.bincount(chain, np.hypot(*(left - right).T)) / np.bincount(chain)

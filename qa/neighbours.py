"""What a control point's neighbours say its shift should be: robust local planes, each point left out of its own.

Only the prediction and its scale live here; what follows from a disagreement is decided in ``qa.control``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from transforms.contract import Points

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]

RAYLEIGH_MEDIAN = 1.1774
"""Median length of a circular normal error of one metre an axis."""

SLOPE_PULL = 0.02

LEANING = 0.5
"""A net leans as a whole where one plane leaves less than this of the spread of its shift."""

BATCH = 10_000
"""Rows solved at once, so that memory stays flat at borough size."""

WORKERS = 2


@dataclass(frozen=True)
class LocalPlanes:
    """The shift at each place as its neighbours see it, the place itself left out.

    Parameters
    ----------
    shift
        ``(n, 2)`` predicted shift in metres; NaN where there are no neighbours.
    leverage
        ``(n,)`` variance of the prediction in units of the noise variance.
    gradient
        ``(n, 2, 2)`` change of shift per metre: first easting or northing, then the axis of the shift.
    """

    shift: Points
    leverage: Floats
    gradient: Floats


def local_planes(places: Points, rows: Ints, points: Points, shift: Points, weight: Floats) -> LocalPlanes:
    """Fit a robust plane to the given neighbours of each place.

    Weights fall with distance and, by iteration, with disagreement (a redescending t-like weight), so a
    few bad neighbours or the far side of a break do not bend the plane.

    Parameters
    ----------
    places
        ``(m, 2)`` easting, northing in metres.
    rows
        ``(m, k)`` rows of ``points`` to use; -1 where there are fewer.
    points, shift
        ``(n, 2)`` control points and their shift in metres.
    weight
        ``(n,)`` prior weight of each control point; 0 leaves it out.
    """

    def batch(start: int) -> tuple[Points, Floats, Floats]:
        end = start + BATCH
        return _planes(places[start:end], rows[start:end], points, shift, weight)

    with ThreadPoolExecutor(WORKERS) as executor:
        parts = list(executor.map(batch, range(0, max(len(places), 1), BATCH)))
    return LocalPlanes(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _planes(places: Points, rows: Ints, points: Points, shift: Points, weight: Floats) -> tuple[Points, Floats, Floats]:
    present = np.where(rows >= 0, weight[rows], 0.0)
    offset = points[rows] - places[:, None]
    distance = np.where(present > 0, np.hypot(*np.moveaxis(offset, 2, 0)), 0.0)
    reach = np.maximum(distance.max(axis=1, initial=0.0), 1e-3)[:, None]
    nearness = present * np.exp(-2.0 * (distance / reach) ** 2)
    design = np.concatenate([np.ones((*rows.shape, 1)), offset / reach[:, :, None]], axis=2)
    coefficients, leverage = _robust_solve(design, shift[rows], nearness)
    coefficients[present.sum(axis=1) == 0] = np.nan
    return coefficients[:, 0], leverage, coefficients[:, 1:] / reach[:, :, None]


def _robust_solve(design: Floats, target: Floats, nearness: Floats, rounds: int = 5) -> tuple[Floats, Floats]:
    weight = nearness
    for _ in range(rounds):
        inverse, coefficients = weighted_solve(design, target, weight, SLOPE_PULL)
        miss = np.linalg.norm(target - design @ coefficients, axis=2)
        miss = np.where(nearness > 0, miss, np.nan)
        scale = _row_median(miss) / RAYLEIGH_MEDIAN
        weight = nearness / (1.0 + np.nan_to_num(miss / (2.0 * scale[:, None])) ** 2) ** 2
    spread = np.einsum("ni,nki,nk->nk", inverse[:, 0], design, weight)
    return coefficients, np.asarray((spread**2).sum(axis=1))


def _row_median(miss: Floats) -> Floats:
    ordered = np.sort(miss, axis=1)
    middle = np.maximum(np.isfinite(miss).sum(axis=1) - 1, 0) // 2
    median = ordered[np.arange(len(miss)), middle]
    return np.maximum(np.nan_to_num(median), 1e-3)


def weighted_solve(design: Floats, target: Floats, weight: Floats, slope_pull: float) -> tuple[Floats, Floats]:
    """Inverse normal matrices ``(n, 3, 3)`` and coefficients ``(n, 3, 2)`` of weighted planes.

    The slopes are drawn to level by ``slope_pull`` times the weight, which keeps collinear and tiny
    neighbourhoods solvable.
    """
    weighted = design * weight[:, :, None]
    normal = np.swapaxes(design, 1, 2) @ weighted
    total = weight.sum(axis=1)[:, None]
    normal[:, [1, 2], [1, 2]] += slope_pull * total
    normal[:, [0, 1, 2], [0, 1, 2]] += 1e-9 * np.minimum(total, 1.0) + 1e-18
    inverse = np.asarray(np.linalg.inv(normal), dtype=np.float64)
    return inverse, inverse @ (np.swapaxes(weighted, 1, 2) @ target)


def share_side_m(points: Points) -> float:
    """Side in metres of the square that is one control point's share of the land within their bounds."""
    return float(np.sqrt(np.prod(np.ptp(points, axis=0)) / len(points)))


def levelled(points: Points, shift: Points, weight: Floats, rounds: int = 10) -> Points:
    """``shift`` ``(n, 2)`` less one robust plane through all of it, where that is most of the shift; else as it is.

    A net laid out in another projection leans by tens of metres from end to end, and planes drawn to level miss it.
    """
    middle = points.mean(axis=0)
    design = np.column_stack([np.ones(len(points)), (points - middle) / max(float(np.abs(points - middle).max()), 1.0)])
    heard = weight
    for _ in range(rounds):
        root = np.sqrt(heard)[:, None]
        rest = shift - design @ np.linalg.lstsq(root * design, root * shift, rcond=None)[0]
        miss = np.hypot(*rest.T)
        heard = weight / (1.0 + (miss / max(2.0 * float(np.median(miss)), 1e-3)) ** 2) ** 2
    spread = np.median(np.hypot(*(shift - np.median(shift, axis=0)).T))
    return np.asarray(rest) if np.median(miss) < LEANING * spread else shift


def nearest_others(points: Points, count: int) -> Ints:
    """Rows ``(n, count)`` of the nearest other points, nearest first; -1 where there are fewer."""
    rows = np.full((len(points), count), -1)
    have = min(count + 1, len(points))
    if have < 2:
        return rows
    found = cKDTree(points).query(points, have, workers=-1)[1]
    # Of points at one place the tree may name a twin first: take the row itself out wherever it stands.
    own = found == np.arange(len(points))[:, None]
    own[~own.any(axis=1), -1] = True
    rows[:, : have - 1] = found[~own].reshape(len(points), have - 1)
    return rows


def local_scale(residual: Floats, rows: Ints, usual_m: float | Floats, strength: int = 20) -> Floats:
    """Noise per axis ``(n,)`` in metres: robust, local, drawn towards ``usual_m`` by ``strength`` points."""
    near = np.where(rows >= 0, residual[rows], np.nan)
    count = np.isfinite(near).sum(axis=1)
    local = _row_median(near) / RAYLEIGH_MEDIAN
    return np.sqrt((count * local**2 + strength * usual_m**2) / (count + strength))


def usual_scale(residual: Floats) -> float:
    """Noise per axis in metres over all residual lengths, by their median."""
    finite = residual[np.isfinite(residual)]
    return max(float(np.median(finite)) / RAYLEIGH_MEDIAN, 1e-3) if len(finite) else 1e-3

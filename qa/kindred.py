"""What those neighbours say of a control point that agree with it, be they few.

A good point on a strip of land too small to be a piece of its own, or on the wrong side of a break as drawn,
disagrees with most of its neighbours but moves as some of them do; a single error moves as none does. So a
redescending plane is started from the point's own shift: it settles on the nearest opinion that neighbours hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qa.neighbours import weighted_solve
from transforms.contract import Control, Points

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]

ROUNDS = 15
WIDTH = 1.5
"""Neighbours this many noise widths from the opinion weigh exp(-1/2)."""

SLOPE_PULL = 0.3
"""The slopes of a few kindred are drawn to level by this share of their weight: they must not fit anything."""

CLOSEST = 8
LEAST_CLOSE = 0.5
"""Of the closest eight neighbours one at least must be something like it: far ones may agree by chance."""

BATCH = 20_000


@dataclass(frozen=True)
class Kindred:
    """The nearest opinion to each point's own.

    Parameters
    ----------
    residual
        ``(m, 2)`` metres, the point's own shift less that opinion.
    leverage
        ``(m,)`` variance of the opinion in units of the noise variance.
    support
        ``(m,)`` how many neighbours hold it; 0 where none of the closest does.
    """

    residual: Points
    leverage: Floats
    support: Floats


def kindred(control: Control, asked: Ints, near: Ints, noise_m: Floats) -> Kindred:
    """The opinion among the neighbours of each point that is nearest to the point's own shift.

    Parameters
    ----------
    control
        Control points.
    asked
        ``(m,)`` rows to ask about.
    near
        ``(m, k)`` rows that may speak; -1 where there are fewer.
    noise_m
        ``(m,)`` noise per axis of the points asked about.
    """
    starts = range(0, max(len(asked), 1), BATCH)
    parts = [_kindred(control, asked[i : i + BATCH], near[i : i + BATCH], noise_m[i : i + BATCH]) for i in starts]
    return Kindred(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _kindred(control: Control, asked: Ints, near: Ints, noise_m: Floats) -> tuple[Points, Floats, Floats]:
    offset = control.before[near] - control.before[asked][:, None]
    distance = np.where(near >= 0, np.hypot(*np.moveaxis(offset, 2, 0)), 0.0)
    reach = np.maximum(distance.max(axis=1, initial=0.0), 1e-3)[:, None]
    nearness = (near >= 0) * np.exp(-2.0 * (distance / reach) ** 2)
    design = np.concatenate([np.ones((*near.shape, 1)), offset / reach[:, :, None]], axis=2)
    target = control.shift[near] - control.shift[asked][:, None]
    opinion = np.zeros((len(asked), 3, 2))
    for _ in range(ROUNDS):
        likeness = _likeness(target - design @ opinion, noise_m)
        weight = nearness * (likeness + 1e-12)
        inverse, opinion = weighted_solve(design, target, weight, SLOPE_PULL)
    spread = np.einsum("ni,nki,nk->nk", inverse[:, 0], design, weight)
    held = (near >= 0) * likeness
    support = np.where(held[:, :CLOSEST].sum(axis=1) >= LEAST_CLOSE, held.sum(axis=1), 0.0)
    return -opinion[:, 0], np.asarray((spread**2).sum(axis=1)), support


def _likeness(miss: Floats, noise_m: Floats) -> Floats:
    """Weight between 0 and 1 of each neighbour by its distance from the opinion, ``(m, k)``."""
    return np.asarray(np.exp(-0.5 * (miss**2).sum(axis=2) / (WIDTH * noise_m[:, None]) ** 2))

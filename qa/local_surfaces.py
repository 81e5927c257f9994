"""Shift predicted at a place from one region's control near it: small quadratic surfaces under a learnt prior.

Used where regions meet: to ask how far the shift jumps there, and to which side a control point belongs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from qa.surfaces import Surfaces, quadratic_terms, t_log_density
from transforms.contract import Points

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]

NEIGHBOURS = 30
"""Enough for a quadratic's twelve coefficients, few enough to stay local."""

BATCH = 20_000


@dataclass(frozen=True)
class RegionControl:
    """Control points grouped by region, each group with a tree of its own.

    Parameters
    ----------
    points, shift
        ``(n, 2)`` metres.
    noise_m
        ``(n,)`` noise per axis.
    label
        ``(n,)`` region, counted from 0.
    prior
        ``(6,)`` standard deviations of a surface's coefficients.
    """

    points: Points
    shift: Points
    noise_m: Floats
    label: Ints
    prior: Floats

    def nearest(self, places: Points, region: Ints, count: int = NEIGHBOURS, own: Ints | None = None) -> Ints:
        """Rows ``(m, count)`` of the control of ``region`` nearest to each place; -1 where there are fewer.

        ``own`` is the row of the place itself, which is left out.
        """
        rows = np.full((len(places), count + 1), -1)
        order = np.argsort(self.label, kind="stable")
        members = np.split(order, np.cumsum(np.bincount(self.label))[:-1])
        asked = np.argsort(region, kind="stable")
        for number, ask in zip(*_groups(region[asked], asked), strict=True):
            member = members[number]
            have = min(count + 1, len(member))
            found = cKDTree(self.points[member]).query(places[ask], np.arange(1, have + 1))[1]
            rows[ask, :have] = member[found]
        if own is not None:
            rows = np.where(rows == own[:, None], -1, rows)
            rows = np.take_along_axis(rows, np.argsort(rows < 0, axis=1, kind="stable"), axis=1)
        return rows[:, :count]

    def surfaces(self, places: Points, rows: Ints) -> Surfaces:
        """The sums of a surface about each place over the control at ``rows``."""
        offsets = quadratic_terms((self.points[rows] - places[:, None]).reshape(-1, 2), np.zeros(2))
        terms = offsets.reshape(*rows.shape, offsets.shape[1])
        weight = np.where(rows >= 0, 1.0 / self.noise_m[rows] ** 2, 0.0)
        weighted = np.swapaxes(terms * weight[:, :, None], 1, 2)
        shift = self.shift[rows]
        power = (weight * (shift**2).sum(axis=2)).sum(axis=1)
        return Surfaces(weighted @ terms, weighted @ shift, power)

    def predict(self, places: Points, region: Ints, own: Ints | None = None) -> tuple[Points, Floats]:
        """Shift ``(m, 2)`` at each place by its region's control nearby, and its variance per axis ``(m,)``."""
        parts = [
            self._predict(places[i : i + BATCH], region[i : i + BATCH], None if own is None else own[i : i + BATCH])
            for i in range(0, max(len(places), 1), BATCH)
        ]
        shift, variance = (np.concatenate(column) for column in zip(*parts, strict=True))
        return shift, variance

    def _predict(self, places: Points, region: Ints, own: Ints | None) -> tuple[Points, Floats]:
        sums = self.surfaces(places, self.nearest(places, region, own=own))
        scaled = np.eye(len(self.prior)) + self.prior[:, None] * sums.normal * self.prior[None, :]
        inverse = np.linalg.inv(scaled)
        value = self.prior[0] * inverse[:, :1] @ (self.prior[:, None] * sums.moment)
        return value[:, 0], self.prior[0] ** 2 * inverse[:, 0, 0]

    def score(self, row: Ints, region: Ints) -> Floats:
        """How well the control of ``region`` near each point explains it, the point itself left out."""
        mean, variance = self.predict(self.points[row], region, own=row)
        total = variance + self.noise_m[row] ** 2
        misfit = ((self.shift[row] - mean) ** 2).sum(axis=1) / total
        return t_log_density(misfit, total)


def _groups(region: Ints, asked: Ints) -> tuple[list[int], list[Ints]]:
    """The asked-for regions and the rows that ask for each; both sorted."""
    starts = np.flatnonzero(np.append(True, np.diff(region) > 0)) if len(region) else np.empty(0, int)
    return [int(number) for number in region[starts]], np.split(asked, starts[1:]) if len(starts) else []

"""How smooth the shift is within regions, and whether it runs on as smoothly from one region into the next.

A Gaussian process describes what no single quadratic surface does: a shift that bends this way here and that way
there. How strongly and over what distance it bends is learnt from the control within regions, by likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from qa.local_surfaces import NEIGHBOURS, RegionControl
from qa.neighbours import share_side_m
from transforms.contract import Points

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]

LENGTHS = (2.0, 3.5, 6.0, 10.0, 18.0, 32.0)
"""Lengths tried, in spacings of control; below two a jump would pass for a steep place."""

AMPLITUDES = (1 / 27, 1 / 9, 1 / 3, 1.0)
"""Amplitudes tried, in spreads of the whole shift."""

PLACES = 150
"""Places within regions whose surroundings are asked; one for each of the control where there is less."""

AT_ONCE = 2_000


@dataclass(frozen=True)
class Smoothness:
    """Covariance of the shift at places ``d`` apart: ``level² + amplitude² exp(-d² / (2 length²))``.

    Parameters
    ----------
    level_m, amplitude_m
        Metres.
    length_m
        Metres.
    """

    level_m: float
    amplitude_m: float
    length_m: float

    @classmethod
    def learn(cls, regions: RegionControl, seed: int = 0) -> Smoothness:
        """The likeliest smoothness of the shift within regions, whatever happens between them."""
        count = len(regions.points)
        picked = np.random.default_rng(seed).choice(count, min(PLACES, count), replace=False)
        # As many as are asked where two regions meet: so both see as far.
        rows = regions.nearest(regions.points[picked], regions.label[picked], count=2 * NEIGHBOURS)
        level_m = float(regions.prior[0])
        spacing_m = share_side_m(regions.points)
        tried = [
            cls(level_m, share * level_m, spacings * spacing_m) for share, spacings in product(AMPLITUDES, LENGTHS)
        ]
        return max(tried, key=lambda smoothness: smoothness.evidence(regions, rows).sum())

    def evidence(self, regions: RegionControl, rows: Ints) -> Floats:
        """Log likelihood ``(m,)``, up to a constant, of the shift at ``rows`` ``(m, k)`` of control; -1 is no row."""
        square, log_determinant = self._whitened(regions, rows)
        return -0.5 * square - log_determinant

    def chance(self, regions: RegionControl, rows: Ints) -> Floats:
        """The chance ``(m,)`` that control at ``rows`` ``(m, k)`` strays as far as it does from a shift so smooth."""
        return np.asarray(chi2.sf(self._whitened(regions, rows)[0], 2 * (rows >= 0).sum(axis=1)))

    def _whitened(self, regions: RegionControl, rows: Ints) -> tuple[Floats, Floats]:
        """The squared length of the shift over the root of its covariance, and the log of that root's determinant."""
        known = rows >= 0
        east, north = np.moveaxis(regions.points[rows], -1, 0)
        square = (east[:, :, None] - east[:, None]) ** 2 + (north[:, :, None] - north[:, None]) ** 2
        covariance = self.amplitude_m**2 * np.exp(-0.5 * square / self.length_m**2) + self.level_m**2
        covariance *= known[:, :, None] & known[:, None]
        diagonal = np.einsum("nii->ni", covariance)
        diagonal += np.where(known, regions.noise_m[rows] ** 2, 1.0)
        factor = np.linalg.cholesky(covariance)
        white = np.linalg.solve(factor, np.where(known[..., None], regions.shift[rows], 0.0))
        return (white**2).sum(axis=(1, 2)), 2.0 * np.log(np.einsum("nii->ni", factor)).sum(axis=1)

    def joining_gain(self, regions: RegionControl, places: Points, one: Ints, two: Ints) -> Floats:
        """Log evidence ``(m,)`` that the shift is one smooth function about each place where two regions meet."""
        parts = [
            self._gain(regions, places[i : i + AT_ONCE], one[i : i + AT_ONCE], two[i : i + AT_ONCE])
            for i in range(0, max(len(places), 1), AT_ONCE)
        ]
        return np.concatenate(parts)

    def _gain(self, regions: RegionControl, places: Points, one: Ints, two: Ints) -> Floats:
        sides = [regions.nearest(places, region) for region in (one, two)]
        together = self.evidence(regions, np.concatenate(sides, axis=1))
        return together - self.evidence(regions, sides[0]) - self.evidence(regions, sides[1])

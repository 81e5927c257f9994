"""Smooth surfaces of the shift, one for each region of control, as sums that add when regions join.

A surface is quadratic, under a prior of its coefficients; its Bayesian evidence says how well it explains a region.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from transforms.contract import Points

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]

TERMS = 6
"""A quadratic surface: 1, e, n, e², en, n² in kilometres."""

TAIL = 4.0
"""Degrees of freedom of the t distribution by which a point chooses its region; bad control then only mutters."""


@dataclass(frozen=True)
class Surfaces:
    """Sums from which the best quadratic surface of every region follows; they add when regions join."""

    normal: Floats
    moment: Floats
    power: Floats

    def take(self, rows: Ints | NDArray[np.bool_]) -> Surfaces:
        """The sums of the regions at ``rows``."""
        return Surfaces(self.normal[rows], self.moment[rows], self.power[rows])

    def running(self, ends: Ints) -> Surfaces:
        """The sums of the first so many regions together, for each of ``ends``."""
        return Surfaces(*(np.cumsum(sums, axis=0)[ends - 1] for sums in (self.normal, self.moment, self.power)))

    def __add__(self, other: Surfaces) -> Surfaces:
        return Surfaces(self.normal + other.normal, self.moment + other.moment, self.power + other.power)

    def __sub__(self, other: Surfaces) -> Surfaces:
        return Surfaces(self.normal - other.normal, self.moment - other.moment, self.power - other.power)


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


def point_surfaces(sites: Sites, rows: Ints) -> Surfaces:
    """The sums of each point at ``rows`` alone."""
    terms, shift, weight = sites.terms[rows], sites.shift[rows], sites.weight[rows]
    weighted = terms * weight[:, None]
    return Surfaces(
        weighted[:, :, None] * terms[:, None],
        weighted[:, :, None] * shift[:, None],
        weight * (shift**2).sum(axis=1),
    )


def sum_surfaces(sites: Sites, label: Ints, count: int) -> Surfaces:
    """The sums of each of ``count`` regions."""
    gather = sparse.csr_matrix((np.ones(len(label)), (label, np.arange(len(label)))), (count, len(label)))
    each = point_surfaces(sites, np.arange(len(label)))
    normal, moment = (gather @ sums.reshape(len(label), -1) for sums in (each.normal, each.moment))
    return Surfaces(normal.reshape(-1, TERMS, TERMS), moment.reshape(-1, TERMS, 2), gather @ each.power)


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

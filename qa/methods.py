"""The methods by name, in order of preference, and the regions in which they compete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from qa.accuracy import Region
from transforms.affine import Affine
from transforms.collocation import Collocation, Kriging
from transforms.contract import Control
from transforms.covariance import Covariance
from transforms.errors import ControlError
from transforms.identity import Identity
from transforms.natural_neighbour import NaturalNeighbour
from transforms.one_piece import OnePiece
from transforms.polynomial import Polynomial
from transforms.similarity import Similarity
from transforms.tabulated import Tabulated
from transforms.thin_plate import ThinPlate
from transforms.triangulated import Triangulated

SmoothFit = Callable[[Control], OnePiece]
"""A method for one smooth piece: control -> field."""

OWN_COVARIANCE = 200
"""Of all control up to here each fit finds its own covariance; beyond, hold-out hardly changes its four figures,
and the pieces between breaks lend each other what a few points cannot tell."""

STIFF = ("identity", "similarity", "affine", "polynomial")
"""Methods whose field at a place depends on control far away."""

REGIONS = 4
REGION_SIZE = 500
FAR_SIZE = 2000
"""Control that stands for the rest of a piece when a stiff method is fitted."""


def exact_methods(covariance: Covariance | None, is_little: bool = False) -> dict[str, SmoothFit]:
    """The methods as functions that fit, evaluated exactly, in order of preference.

    Collocation stands before the rubber sheets: where chance cannot tell them apart, it knows its uncertainty. Where
    there is control enough to know its covariance it stands before all that move anything: none of them is simpler
    than an affine trend about which nothing is found, and the error of a bend left out hides in the noise of control.

    Parameters
    ----------
    covariance
        Covariance of all control, borrowed by collocation; None where there is too little control for one.
    is_little
        Whether there is so little control (``OWN_COVARIANCE``) that each fit must find its own.
    """
    simple: dict[str, SmoothFit] = {"similarity": Similarity.fit, "affine": Affine.fit, "polynomial": Polynomial.fit}
    collocation: dict[str, SmoothFit] = {
        "collocation": partial(Kriging.fit, covariance=None if is_little else covariance)
    }
    return {
        "identity": Identity.fit,
        **(simple | collocation if is_little else collocation | simple),
        "triangulated": Triangulated.fit,
        "natural-neighbour": NaturalNeighbour.fit,
        "thin-plate": ThinPlate.fit,
    }


def sound(method: SmoothFit, covariance: Covariance | None) -> SmoothFit:
    """A method that leaves pieces too small for it to collocation with the covariance of all control."""

    def fit(control: Control) -> OnePiece:
        try:
            return method(control)
        except ControlError:
            if covariance is None:
                raise
            return Kriging.fit(control, covariance)

    return fit


def regions(pieces: Sequence[Control], seed: int = 0) -> list[Region]:
    """The regions in which methods compete: all control where it is little, else some of each kind of land.

    Each region lies within one piece and holds at most ``REGION_SIZE`` neighbouring control points.

    Parameters
    ----------
    pieces
        The control of each piece.
    seed
        Draws the regions where there is more control than is needed.
    """
    if len(pieces) == 1 and len(pieces[0]) <= 2 * REGION_SIZE:
        return [Region(pieces[0], np.ones(len(pieces[0]), dtype=bool))]
    rng = np.random.default_rng(seed)
    sizes = np.array([len(piece) for piece in pieces], dtype=float)
    drawn = rng.choice(len(pieces), REGIONS, replace=True, p=sizes / sizes.sum())
    return [_region(pieces[number], rng) for number in drawn]


def _region(piece: Control, rng: np.random.Generator) -> Region:
    offset = piece.before - piece.before[rng.integers(len(piece))]
    order = np.argsort(np.hypot(*offset.T), kind="stable")
    near, far = order[:REGION_SIZE], order[REGION_SIZE:]
    thinned = rng.permutation(far)[:FAR_SIZE]
    rows = np.concatenate([near, thinned])
    return Region(piece.take(rows), np.arange(len(rows)) < len(near))


def tabulated(field: OnePiece) -> Tabulated:
    """A field as a table; collocation's two figures come from one solution."""
    if isinstance(field, Kriging):
        return Collocation.of_exact(field)
    return Tabulated.of(field)

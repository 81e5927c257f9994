"""How well a method of fitting predicts control it has not seen: spatially blocked hold-out.

Single control points left out flatter a method, since their neighbours stay. Here whole blocks of a few spacings
are left out together. What is scored is a *function that fits*, never a field that has seen its test.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from transforms.contract import Control, Points, ShiftField
from transforms.errors import ControlError
from transforms.one_piece import CIRCULAR_95
from transforms.support import mean_spacing_m


class FittedField(ShiftField, Protocol):
    """A shift field that also knows the noise of the control it was fitted to."""

    def noise_of(self, code: NDArray[np.str_]) -> NDArray[np.float64]:
        """Radial standard error ``(n,)`` in metres of control points of the given codes about the field."""
        ...


Fit = Callable[[Control], FittedField]
"""A method: control -> fitted field."""

FOLDS = 5
BLOCK_SPACINGS = 2.0
"""Side of a block in spacings: about four control points leave together."""

BEYOND_CHANCE = 2.0
"""Standard errors by which the best must pass a method that stands before it. Of several rivals the best passes one
by luck alone, and then a net where collocation is the better by far would now and again be fitted by a plane."""


@dataclass(frozen=True)
class HeldOut:
    """Control predicted by fields that were fitted without it.

    Parameters
    ----------
    error_m
        ``(n,)`` distance from the predicted to the observed new place; NaN where the field covered nothing.
    uncertainty_m
        ``(n,)`` radial standard error that the field stated for its place.
    noise_m
        ``(n,)`` radial standard error of the control itself.
    distance_m
        ``(n,)`` distance to the nearest control that was kept.
    block
        ``(n,)`` the block it left with.
    """

    error_m: NDArray[np.float64]
    uncertainty_m: NDArray[np.float64]
    noise_m: NDArray[np.float64]
    distance_m: NDArray[np.float64]
    block: NDArray[np.int_]

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int_]) -> HeldOut:
        """The control at ``rows``."""
        return HeldOut(
            self.error_m[rows], self.uncertainty_m[rows], self.noise_m[rows], self.distance_m[rows], self.block[rows]
        )

    @property
    def stated_m(self) -> NDArray[np.float64]:
        """Radial standard error ``(n,)`` stated for the prediction, noise of control included."""
        return np.hypot(self.uncertainty_m, self.noise_m)

    @property
    def covered(self) -> NDArray[np.bool_]:
        """Which control was predicted at all."""
        return np.isfinite(self.error_m)

    def within_95_share(self, rows: NDArray[np.bool_] | None = None) -> float:
        """Share of the covered control (at ``rows``) within the stated 95 % radius; NaN without any."""
        chosen = self.covered if rows is None else self.covered & rows
        if not chosen.any():
            return float("nan")
        return float((self.error_m[chosen] <= CIRCULAR_95 * self.stated_m[chosen]).mean())

    def rms_m(self, rows: NDArray[np.bool_] | None = None) -> float:
        """Root mean square error of the covered control (at ``rows``) in metres; NaN without any."""
        chosen = self.covered if rows is None else self.covered & rows
        return float(np.sqrt(np.mean(self.error_m[chosen] ** 2))) if chosen.any() else float("nan")


@dataclass(frozen=True)
class Score:
    """One row of the hold-out table.

    Parameters
    ----------
    method
        Name of the method.
    rms_m, median_m
        Error over the control that every method covered, in metres.
    covered_share
        Share of the held-out control that this method covered.
    within_95_share
        Share of it within the stated 95 % radius.
    tested
        Control points held out.
    refusal
        Why the method could not be fitted; empty when it could.
    """

    method: str
    rms_m: float
    median_m: float
    covered_share: float
    within_95_share: float
    tested: int
    refusal: str = ""


@dataclass(frozen=True)
class Contest:
    """The methods compared, in the order given, and the one to use."""

    scores: tuple[Score, ...]
    winner: str


def blocks(places: Points, seed: int = 0) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """The spatial block and the fold of each place.

    Parameters
    ----------
    places
        ``(n, 2)`` metres.
    seed
        Draws the folds.

    Returns
    -------
    block, fold
        ``(n,)`` each; a block lies in one fold, of ``FOLDS``.
    """
    side = max(BLOCK_SPACINGS * mean_spacing_m(places), 1e-6)
    cell = np.floor((places - places.min(axis=0)) / side).astype(np.int64)
    block = np.unique(cell[:, 0] * (cell[:, 1].max() + 1) + cell[:, 1], return_inverse=True)[1].ravel()
    order = np.random.default_rng(seed).permutation(block.max() + 1)
    return block, order[block] % FOLDS


def hold_out(
    fit: Fit,
    control: Control,
    block: NDArray[np.int_],
    fold: NDArray[np.int_],
    folds: Sequence[int] = tuple(range(FOLDS)),
) -> HeldOut:
    """Predict the control of each of ``folds`` from that of all others.

    Raises
    ------
    ControlError
        If the method refuses what is left.
    """
    error_m, uncertainty_m, noise_m, distance_m = np.full((4, len(control)), np.nan)
    for number in folds:
        test = np.flatnonzero(fold == number)
        if len(test) == 0:
            continue
        field, places = fit(control.take(fold != number)), control.before[test]
        error_m[test] = np.hypot(*(field(places) - control.after[test]).T)
        uncertainty_m[test] = field.uncertainty(places)
        noise_m[test] = field.noise_of(control.code[test])
        distance_m[test] = field.control_distance_m(places)
    tested = np.flatnonzero(np.isin(fold, folds))
    return HeldOut(error_m, uncertainty_m, noise_m, distance_m, block).take(tested)


@dataclass(frozen=True)
class Region:
    """Part of a piece in which methods compete.

    Parameters
    ----------
    control
        Control of the piece: all of it, or what stands for all.
    near
        ``(n,)`` whether each control point lies in the region. Only these are held out, and only these are
        seen by a local method; a stiff one is fitted to all, as it will be in use.
    """

    control: Control
    near: NDArray[np.bool_]


def compare(
    methods: Mapping[str, Fit], regions: Sequence[Region], stiff: Container[str] = (), seed: int = 0
) -> Contest:
    """Let methods compete on the same held-out control.

    Parameters
    ----------
    methods
        By name, in order of preference: of methods that chance cannot tell apart the first is chosen.
    regions
        Where they compete.
    stiff
        Names of the methods whose field at a place depends on control far away.
    seed
        Draws the folds.

    Raises
    ------
    ControlError
        If no method can be fitted.
    """
    tried = {name: _tried(fit, regions, name in stiff, seed) for name, fit in methods.items()}
    held_out = {name: result for name, result in tried.items() if isinstance(result, HeldOut)}
    if not held_out:
        raise ControlError(str(next(iter(tried.values()))))
    common = np.logical_and.reduce([result.covered for result in held_out.values()])
    scores = tuple(_score(name, result, common) for name, result in tried.items())
    return Contest(scores, _winner(held_out, common))


def _tried(fit: Fit, regions: Sequence[Region], is_stiff: bool, seed: int) -> HeldOut | str:
    try:
        return _joined([_held_out_region(fit, region, is_stiff, seed) for region in regions])
    except ControlError as error:
        return str(error)


def _held_out_region(fit: Fit, region: Region, is_stiff: bool, seed: int) -> HeldOut:
    near = region.control.take(region.near)
    block, fold = blocks(near.before, seed)
    if not is_stiff:
        return hold_out(fit, near, block, fold)
    far = region.control.take(~region.near)
    return hold_out(lambda kept: fit(_both(kept, far)), near, block, fold)


def _both(some: Control, others: Control) -> Control:
    columns = ("before", "after", "code", "accuracy_m")
    return Control(*(np.concatenate([getattr(some, name), getattr(others, name)]) for name in columns))


def _joined(results: Sequence[HeldOut]) -> HeldOut:
    offsets = np.cumsum([0, *(result.block.max() + 1 for result in results[:-1])])
    return HeldOut(
        np.concatenate([result.error_m for result in results]),
        np.concatenate([result.uncertainty_m for result in results]),
        np.concatenate([result.noise_m for result in results]),
        np.concatenate([result.distance_m for result in results]),
        np.concatenate([result.block + offset for result, offset in zip(results, offsets, strict=True)]),
    )


def _score(name: str, result: HeldOut | str, common: NDArray[np.bool_]) -> Score:
    if isinstance(result, str):
        nothing = float("nan")
        return Score(name, nothing, nothing, nothing, nothing, 0, result)
    median_m = float(np.median(result.error_m[common])) if common.any() else float("nan")
    covered_share = float(result.covered.mean())
    return Score(name, result.rms_m(common), median_m, covered_share, result.within_95_share(), len(common))


def _winner(held_out: Mapping[str, HeldOut], common: NDArray[np.bool_]) -> str:
    """The first method that is not worse than the best beyond chance, by the mean error.

    Not by its square: a town surveyed house by house, which no method follows, would decide for all the land.
    """
    if not common.any():
        return next(iter(held_out))
    best = min(held_out, key=lambda name: float(held_out[name].error_m[common].mean()))
    return next(name for name in held_out if not _is_worse(held_out[name], held_out[best], common))


def _is_worse(one: HeldOut, best: HeldOut, common: NDArray[np.bool_]) -> bool:
    """Whether ``one`` errs more than ``best`` beyond chance, block by block (neighbours err alike)."""
    excess = (one.error_m - best.error_m)[common]
    by_block = np.bincount(one.block[common], excess)[np.unique(one.block[common])]
    if len(by_block) < 2:
        return bool(by_block.sum() > 0)
    return bool(by_block.mean() > BEYOND_CHANCE * by_block.std(ddof=1) / np.sqrt(len(by_block)))

"""Kindred: a few neighbours that move as a doubted point does speak for it, but no chance does."""

from __future__ import annotations

import numpy as np

from qa.kindred import kindred
from qa.neighbours import nearest_others
from transforms.contract import Control

NOISE_M = 0.1


def strip_in_a_plain() -> tuple[Control, np.ndarray]:
    """A plain that moved alike, a strip along its edge that moved 2 m more, and one point in it that moved as none."""
    rng = np.random.default_rng(3)
    before = rng.uniform(0.0, 1000.0, (600, 2))
    in_strip = before[:, 0] < 40.0
    shift = np.where(in_strip, 3.0, 1.0)[:, None] + rng.normal(0.0, NOISE_M, before.shape)
    shift[np.hypot(*(before - 500.0).T).argmin()] += [2.0, -2.0]
    return Control(before, before + shift), in_strip


def test_a_strip_speaks_for_its_own() -> None:
    """Points of the strip agree with their own kind to within noise, though most of the plain says otherwise."""
    control, in_strip = strip_in_a_plain()
    asked = np.flatnonzero(in_strip)
    found = kindred(control, asked, nearest_others(control.before, 48)[asked], np.full(len(asked), NOISE_M))
    held = found.support >= 3.0
    assert held.mean() > 0.8
    assert np.hypot(*found.residual[held].T).max() < 5.0 * NOISE_M


def test_a_single_error_has_no_kin() -> None:
    """An error's nearest opinion is that of the plain, metres away from it."""
    control, _ = strip_in_a_plain()
    asked = np.array([np.hypot(*(control.before - 500.0).T).argmin()])
    found = kindred(control, asked, nearest_others(control.before, 48)[asked], np.array([NOISE_M]))
    assert np.hypot(*found.residual[0]) > 2.0


def test_nobody_asked_is_answered_with_nothing() -> None:
    """No rows in, no rows out."""
    control, _ = strip_in_a_plain()
    found = kindred(control, np.empty(0, int), np.empty((0, 48), int), np.empty(0))
    assert len(found.residual) == len(found.leverage) == len(found.support) == 0

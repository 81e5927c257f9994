"""Folds, area and shear of a field against maps whose Jacobian is known."""

from __future__ import annotations

import numpy as np
import pytest

from qa.distortion import distortion, folds
from transforms.affine import Affine
from transforms.contract import Control
from transforms.triangulated import Triangulated

BEFORE = np.array([[e, n] for e in range(0, 500, 100) for n in range(0, 500, 100)], dtype=float)
INSIDE = np.array([[130.0, 170.0], [260.0, 340.0]])


@pytest.mark.parametrize(
    ("matrix", "area_ratio", "shear"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], 1.0, 0.0),
        ([[1.01, 0.0], [0.0, 1.0]], 1.01, 0.01),
        ([[0.0, -1.0], [1.0, 0.0]], 1.0, 0.0),
        ([[2.0, 0.0], [0.0, 0.5]], 1.0, 3.0),
    ],
)
def test_known_jacobian(matrix, area_ratio, shear):
    """Identity, stretch, rotation and squeeze have the area ratio and shear that algebra gives."""
    field = Affine.fit(Control(BEFORE, BEFORE @ np.array(matrix).T))
    found = distortion(field, INSIDE)
    np.testing.assert_allclose(found.area_ratio, area_ratio, atol=1e-6)
    np.testing.assert_allclose(found.shear, shear, atol=1e-4)
    assert not found.is_folded.any()


def test_crossing_control_folds_the_map():
    """A control point thrown across its neighbours folds the triangles beside it, and only those."""
    after = BEFORE.copy()
    after[12] += [180.0, 0.0]
    field = Triangulated.fit(Control(BEFORE, after))
    places = np.stack(np.meshgrid(np.arange(15.0, 390.0, 25.0), np.arange(15.0, 390.0, 25.0)), axis=-1).reshape(-1, 2)
    folded = folds(field, places)
    assert len(folded) > 0
    assert (np.hypot(*(folded - BEFORE[12]).T) < 150.0).all()


def test_nothing_is_said_outside():
    """Outside the field nothing is known and nothing is called folded."""
    field = Affine.fit(Control(BEFORE, BEFORE + 1.0))
    found = distortion(field, np.array([[1e6, 1e6]]))
    assert np.isnan(found.area_ratio).all()
    assert not found.is_folded.any()

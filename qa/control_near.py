"""What the control points near each feature say to one another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from transforms.contract import Control, Points

_NEAREST = 10


def control_disagreement_m(points: Points, control: Control) -> NDArray[np.float64]:
    """How much the ten control points nearest to each place differ from one another, ``(n,)`` metres.

    Twice the median distance of their shifts from the median shift: two groups that differ by a jump show the jump.
    NaN with fewer than three control points.

    Parameters
    ----------
    points
        ``(n, 2)`` places.
    control
        The control that the fit used.
    """
    if len(control) < 3 or not len(points):
        return np.full(len(points), np.nan)
    _, nearest = cKDTree(control.before).query(points, k=min(_NEAREST, len(control)))
    shift = control.shift[nearest]
    residual = np.linalg.norm(shift - np.median(shift, axis=1, keepdims=True), axis=2)
    return np.asarray(2.0 * np.median(residual, axis=1))

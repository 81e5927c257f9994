"""How a shift field distorts the map: folds, area and shear. A folded field is a blocking fault."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.contract import Points, ShiftField

STEP_M = 1.0
"""Half the length over which slopes are taken: below any table's spacing, above the rounding of coordinates."""


@dataclass(frozen=True)
class Distortion:
    """What happens to a small square at each place.

    Parameters
    ----------
    area_ratio
        ``(n,)`` area after over area before; zero or less where the map is folded.
    shear
        ``(n,)`` largest relative change of a right angle's shape: long axis over short axis, less one.
    """

    area_ratio: NDArray[np.float64]
    shear: NDArray[np.float64]

    @property
    def is_folded(self) -> NDArray[np.bool_]:
        """``(n,)`` where the map is turned over or squeezed to nothing; False where nothing is known."""
        return self.area_ratio <= 0.0


def distortion(field: ShiftField, points: Points) -> Distortion:
    """Area ratio and shear of a field at ``points``, by central differences within the point's own piece.

    Parameters
    ----------
    field
        The shift field.
    points
        ``(n, 2)`` easting, northing in metres.

    Returns
    -------
    Distortion
        NaN where the field does not cover the point's surroundings.

    Notes
    -----
    With the Jacobian ``J``, the area ratio is ``det J`` and the axes of the ellipse that a small circle becomes
    are the singular values of ``J``.
    """
    piece = field.piece(points)
    along_east = _difference(field, points, piece, np.array([STEP_M, 0.0]))
    along_north = _difference(field, points, piece, np.array([0.0, STEP_M]))
    area_ratio = along_east[:, 0] * along_north[:, 1] - along_east[:, 1] * along_north[:, 0]
    square_sum = (along_east**2).sum(axis=1) + (along_north**2).sum(axis=1)
    apart = np.sqrt(np.maximum(square_sum**2 - 4.0 * area_ratio**2, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        shear = np.sqrt((square_sum + apart) / (square_sum - apart)) - 1.0
    return Distortion(area_ratio, shear)


def folds(field: ShiftField, points: Points) -> Points:
    """The places among ``points`` at which the field folds the map, ``(k, 2)``."""
    return points[distortion(field, points).is_folded]


def _difference(
    field: ShiftField, points: Points, piece: NDArray[np.int_], step: NDArray[np.float64]
) -> NDArray[np.float64]:
    ahead, behind = field.in_piece(points + step, piece), field.in_piece(points - step, piece)
    return (ahead - behind) / (2.0 * float(np.hypot(*step)))

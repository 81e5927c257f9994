"""Whether coordinates were rounded: all of a feature's are multiples of so many metres, as chance would not have it.

One point of whole metres in four lies on multiples of two by chance, so a feature is told with the others of its layer
or method: by how many more lie there than would by chance.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.stats import binom

from qa.base_maps import Geometries
from qa.coincidence import Vertices
from transforms.contract import Points

_STEPS_M = (0.001, 0.01, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 2.5, 5.0, 10.0, 20.0, 25.0, 50.0, 100.0)
"""What people and programs round to."""

_SAME_M = 1e-6
_NEARLY_ALL = 0.95
"""Numbers are taken to be written in the largest step of which so many of them are multiples."""

_VERTICES = 16
"""So many of a feature tell enough."""

_NUMBERS_OF_A_POINT, _NUMBERS_OF_A_SHAPE = 2, 4
"""So many numbers of a feature are independent of one another; a rectangle has no more than four."""

_LUCK = 1e-4
"""That many lie on a lattice by chance must be less likely than this."""

_USUAL_STEP_M, _USUAL_RATIO = 5.0, 0.01
"""From that step on one record in a hundred is taken to be rounded where a group shows no more."""

_OFF_FROM = 0.05
"""The chance of having been put off its place by rounding from which a feature counts as rounded."""


def is_rounded(
    geometries: Geometries, group: NDArray[np.int_], least_m: float, position_error_m: float
) -> NDArray[np.bool_]:
    """Whether the coordinates of each feature were rounded to multiples of ``least_m`` or more, ``(n,)``.

    The middles of squares of that size count as well. Where it may be chance, it counts by how likely a feature was put
    off its place.

    Parameters
    ----------
    geometries
        ``(n,)`` geometries; None and empty ones are not rounded.
    group
        ``(n,)`` number of the group each is told with, such as its method.
    least_m
        The smallest step that counts, in metres.
    position_error_m
        How far off is off its place.

    Examples
    --------
    >>> is_rounded(shapely.points([[358514.88, 161234.5], [358510, 161230]]), np.array([0, 0]), 5.0, 1.0).tolist()
    [False, True]
    """
    vertices, rounded = Vertices.of(geometries, _VERTICES), np.zeros(len(geometries), dtype=bool)
    is_point = shapely.get_dimensions(geometries) == 0
    groups = np.unique(np.stack([group, is_point], axis=1), axis=0, return_inverse=True)[1].ravel()
    for step in (*(step for step in reversed(_STEPS_M) if step > least_m), least_m):
        rest = ~rounded  # what was rounded to a larger step says nothing of this one
        off = max(0.0, 1.0 - np.pi * (position_error_m / step) ** 2)  # what of a square lies outside the circle
        for origin in (0.0, step / 2):
            is_multiple = _is_multiple(vertices.points - origin, step).all(axis=1)
            on_lattice = (vertices.mean(is_multiple.astype(float)) == 1.0) & rest
            for label in np.unique(groups[on_lattice]):
                those = (groups == label) & rest
                others = vertices.points[(those & ~on_lattice)[vertices.feature]]
                numbers = _NUMBERS_OF_A_POINT if is_point[those].any() else _NUMBERS_OF_A_SHAPE
                by_chance = (_written_in(others, step) / step) ** numbers
                if off * _chance(on_lattice[those], by_chance, step) > _OFF_FROM:
                    rounded |= those & on_lattice
    return rounded


def _chance(on_lattice: NDArray[np.bool_], by_chance: float, step: float) -> float:
    """How likely those of a group that lie on a lattice were rounded to its step, where so many would by chance."""
    at_least = _USUAL_RATIO if step >= _USUAL_STEP_M else 0.0
    is_luck = binom.sf(on_lattice.sum() - 1, len(on_lattice), by_chance) > _LUCK
    ratio = at_least if is_luck else max((on_lattice.mean() - by_chance) / (1.0 - by_chance), at_least)
    return float(ratio / (ratio + (1.0 - ratio) * by_chance))


def _written_in(points: Points, below_m: float) -> float:
    """The step, smaller than ``below_m``, in which coordinates ``(m, 2)`` are written; without any, a very small one.

    >>> _written_in(np.array([[358514.5, 161234.0]]), 5.0)
    0.5
    """
    steps = [step for step in _STEPS_M if step < below_m and len(points)]
    written = [step for step in steps if _is_multiple(points, step).mean() >= _NEARLY_ALL]
    return max(written, default=0.001 * below_m)


def _is_multiple(numbers: Points, step: float) -> NDArray[np.bool_]:
    return np.asarray(np.abs(numbers - step * np.round(numbers / step)) < _SAME_M)

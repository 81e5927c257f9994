"""Best-fitting shift and rotation of groups of places: right angles stay right angles.

The sums that the fit needs are kept per feature, relative to one of its own places (so that no digits are lost), and
added up to groups; nothing but a few numbers per feature is held.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .contract import Points

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Moments:
    """Sums over the places p of each member and their images q, both relative to ``reference``.

    Parameters
    ----------
    reference
        ``(n, 2)`` a place near the member [m].
    count
        ``(n,)`` places; 0 for a member that takes no part.
    before, after
        ``(n, 2)`` sum of p, sum of q.
    cross, dot, square
        ``(n,)`` sum of p x q, of p . q, and of p . p + q . q.
    """

    reference: Points
    count: NDArray[np.float64]
    before: Points
    after: Points
    cross: NDArray[np.float64]
    dot: NDArray[np.float64]
    square: NDArray[np.float64]

    @classmethod
    def of(cls, member: Integers, members: int, places: Points, images: Points) -> Moments:
        """The sums of ``members`` members from places ``(k, 2)`` sorted by ``member`` ``(k,)``."""
        reference = np.zeros((members, 2))
        reference[member[::-1]] = places[::-1]
        p, q = places - reference[member], images - reference[member]
        return cls(reference, *_sums(member, members, np.ones(len(p)), p, q, *_products(p, q)))

    @classmethod
    def joined(cls, parts: list[Moments]) -> Moments:
        """Members of several batches, one after the other."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def grouped(self, group: Integers, groups: int) -> Moments:
        """The sums of groups of members; ``group`` ``(n,)``."""
        reference = np.zeros((groups, 2))
        takes_part = np.flatnonzero(self.count > 0)[::-1]
        reference[group[takes_part]] = self.reference[takes_part]
        step = self.reference - reference[group]
        n = self.count[:, None]
        before, after = self.before + n * step, self.after + n * step
        shared = (step * (self.before + self.after)).sum(axis=1) + self.count * (step**2).sum(axis=1)
        cross = self.cross + _cross(step, self.after) + _cross(self.before, step)
        square = self.square + 2 * shared
        return Moments(reference, *_sums(group, groups, self.count, before, after, cross, self.dot + shared, square))

    def fit(self) -> Rigid:
        """The shift and rotation of least squares (Horn 1987, in the plane)."""
        n = np.maximum(self.count, 1.0)
        middle, image = self.before / n[:, None], self.after / n[:, None]
        cross = self.cross - n * _cross(middle, image)
        dot = self.dot - n * (middle * image).sum(axis=1)
        square = self.square - n * ((middle**2).sum(axis=1) + (image**2).sum(axis=1))
        # Rounding must not turn what is a single place.
        turns = np.hypot(cross, dot) > 1e-6 * n
        angle = np.where(turns, np.arctan2(cross, dot), 0.0)
        misfit = np.sqrt(np.maximum(square - 2 * np.hypot(cross, dot), 0.0) / n)
        return Rigid(self.reference + middle, self.reference + image, angle, np.where(turns, misfit, 0.0))


@dataclass(frozen=True)
class Rigid:
    """Motions: turn by ``angle`` [rad] about ``middle``, which goes to ``image``; ``misfit_m`` is the RMS left over."""

    middle: Points
    image: Points
    angle: NDArray[np.float64]
    misfit_m: NDArray[np.float64]

    def move(self, places: Points, group: Integers) -> Points:
        """The images ``(k, 2)`` of ``places`` ``(k, 2)``, each under the motion of its ``group`` ``(k,)``."""
        east, north = (places - self.middle[group]).T
        cos, sin = np.cos(self.angle)[group], np.sin(self.angle)[group]
        return self.image[group] + np.stack([cos * east - sin * north, sin * east + cos * north], axis=1)


def _products(p: Points, q: Points) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    return _cross(p, q), (p * q).sum(axis=1), (p**2).sum(axis=1) + (q**2).sum(axis=1)


def _cross(p: Points, q: Points) -> NDArray[np.float64]:
    return np.asarray(p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0])


def _sums(group: Integers, groups: int, *values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    def total(column: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(group, weights=column, minlength=groups).astype(float)

    return [total(v) if v.ndim == 1 else np.stack([total(v[:, 0]), total(v[:, 1])], axis=1) for v in values]

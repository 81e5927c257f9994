"""Where a straight segment needs vertices so that its image follows the shift field.

Only the field and the two ends of a segment decide, and they decide the same whichever way the segment is drawn:
so the same edge of two features, or of two layers, gets the same vertices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .contract import Points
from .one_piece import OnePiece, assumed_straight_m

SPACING_M = 25.0
"""How far apart a long segment is looked at first [m]: less than the 40 m between control points at their densest."""

MOST_FIRST_LOOKS = 4096
"""No map has an edge over 100 km; a wild coordinate must not fill the memory."""

BREAK_REACH_M = 0.5
"""Beside a break a field may bend within so little that looks ``SPACING_M`` apart pass it over."""

_FINEST_LOOK_M = 0.2
"""How closely a segment is looked at where it runs within reach of a break."""

_SEEN_SHARE = 0.25
"""Share of the tolerance within which the field between two looks counts as straight."""

_KEPT_SHARE = 0.7
"""Share of the tolerance within which looks between two kept vertices may lie; with the share above below 1."""


class Image(Protocol):
    """What moves places: a shift field, or one of its pieces."""

    def __call__(self, points: Points) -> Points:
        """New places of ``points``, ``(n, 2)``; NaN outside."""
        ...


@dataclass(frozen=True)
class Insertions:
    """Vertices to insert, sorted by segment and then along it.

    Parameters
    ----------
    segment
        ``(k,)`` which segment.
    fraction
        ``(k,)`` where along it, 0 at its start.
    before, after
        ``(k, 2)`` the place and its image [m]; a NaN image says that the field does not cover the segment.
    """

    segment: NDArray[np.int64]
    fraction: NDArray[np.float64]
    before: Points
    after: Points

    def __len__(self) -> int:
        return len(self.segment)


@dataclass(frozen=True)
class _Samples:
    """Looks at segments: places and images at fractions, sorted by segment and fraction once ``sorted()``."""

    segment: NDArray[np.int64]
    fraction: NDArray[np.float64]
    before: Points
    after: Points

    def __len__(self) -> int:
        return len(self.segment)

    def take(self, rows: NDArray[np.int_] | NDArray[np.bool_]) -> _Samples:
        return _Samples(self.segment[rows], self.fraction[rows], self.before[rows], self.after[rows])

    def sorted(self) -> _Samples:
        return self.take(np.lexsort((self.fraction, self.segment)))


def find_insertions(
    image: Image, starts: Points, ends: Points, start_images: Points, end_images: Points, *, tolerance_m: float
) -> Insertions:
    """Find where straight segments need vertices to stay within ``tolerance_m`` of their exact images.

    A segment is looked at every ``SPACING_M`` and halfway between; where the field is not straight between two
    looks, halves are looked at until it is, or until they are shorter than half the tolerance (a break). Of all
    looks only those are kept that a chord between kept ones would miss (Douglas and Peucker 1973, with the distance
    taken at equal fractions, so that stretching along the segment counts too).

    Parameters
    ----------
    image
        The field; NaN outside what it covers.
    starts, ends, start_images, end_images
        ``(n, 2)`` ends of the segments before and after, metres, all finite.
    tolerance_m
        Largest distance between the moved edge and the exact image of the old edge.

    Examples
    --------
    >>> def bend(points):
    ...     return points + np.stack([0 * points[:, 0], (points[:, 0] - 50) ** 2 / 25000], axis=1)
    >>> ends = np.array([[0.0, 0.0], [100.0, 0.0]])
    >>> find_insertions(bend, ends[:1], ends[1:], bend(ends[:1]), bend(ends[1:]), tolerance_m=0.05).fraction
    array([0.5])
    """
    beside = runs_beside_break(image, starts, ends)
    rows = np.flatnonzero(beside | is_long(image, ends - starts, tolerance_m))
    bends = _bends(image, starts[rows], ends[rows], start_images[rows], end_images[rows], tolerance_m)
    rows = rows[beside[rows] | bends]
    turned = _is_turned(starts[rows], ends[rows])
    ends_of = [np.where(turned[:, None], b[rows], a[rows]) for a, b in ((starts, ends), (ends, starts))]
    images = [
        np.where(turned[:, None], b[rows], a[rows]) for a, b in ((start_images, end_images), (end_images, start_images))
    ]
    samples = _looks(image, ends_of[0], ends_of[1], images[0], images[1], tolerance_m)
    kept = samples.take(_needed(samples, _KEPT_SHARE * tolerance_m))
    fraction = np.where(turned[kept.segment], 1.0 - kept.fraction, kept.fraction)
    order = np.lexsort((fraction, kept.segment))
    return Insertions(rows[kept.segment[order]], fraction[order], kept.before[order], kept.after[order])


def is_long(image: Image, chords: Points, tolerance_m: float) -> NDArray[np.bool_]:
    """Whether a segment is so long that ``find_insertions`` must ask the field between its ends, ``(n,)``.

    Parameters
    ----------
    image
        As for ``find_insertions``.
    chords
        ``(n, 2)`` from end to end of the segments, metres.
    tolerance_m
        As for ``find_insertions``.
    """
    straight_m = getattr(image, "straight_length_m", assumed_straight_m)(tolerance_m)
    return np.asarray(_square(chords) > straight_m**2)


def runs_beside_break(image: Image, starts: Points, ends: Points) -> NDArray[np.bool_]:
    """Whether segments ``(n, 2)`` come so near a break of the field that they must be looked at closely, ``(n,)``."""
    if not len(starts) or not _has_breaks(image):
        return np.zeros(len(starts), dtype=bool)
    return _is_beside(image, 0.5 * (starts + ends), np.hypot(*(ends - starts).T))


def _has_breaks(image: Image) -> bool:
    return hasattr(image, "is_beside_break") and not isinstance(image, OnePiece)


def _is_beside(image: Image, middle: Points, length_m: NDArray[np.float64]) -> NDArray[np.bool_]:
    if not _has_breaks(image):
        return np.zeros(len(middle), dtype=bool)
    return np.asarray(image.is_beside_break(middle, 0.5 * length_m + BREAK_REACH_M))  # type: ignore[attr-defined]


def _bends(
    image: Image, a: Points, b: Points, image_a: Points, image_b: Points, tolerance_m: float
) -> NDArray[np.bool_]:
    """Whether a segment is long, or bent in its middle (whose place is the same from either end, to the last bit)."""
    gap = image(0.5 * (a + b)) - 0.5 * (image_a + image_b)
    bent = ~(_square(gap) <= (_SEEN_SHARE * tolerance_m) ** 2)
    return bent | (_square(b - a) > SPACING_M**2)


def _square(vectors: Points) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):  # of what is no place the length is infinite
        return vectors[:, 0] ** 2 + vectors[:, 1] ** 2


def _is_turned(starts: Points, ends: Points) -> NDArray[np.bool_]:
    """Whether a segment runs against its canonical direction: eastward, due north where it has no easting."""
    return (starts[:, 0] > ends[:, 0]) | ((starts[:, 0] == ends[:, 0]) & (starts[:, 1] > ends[:, 1]))


def _looks(image: Image, a: Points, b: Points, image_a: Points, image_b: Points, tolerance_m: float) -> _Samples:
    """The ends of every segment and enough places between them to see how the field bends there."""
    length = np.hypot(*(b - a).T)
    each = np.arange(len(a))
    ends = _Samples(np.tile(each, 2), np.repeat([0.0, 1.0], len(a)), np.r_[a, b], np.r_[image_a, image_b])
    known = ends if len(a) == 0 else _first_looks(image, a, b, length, ends)
    found = [known]
    low, high = _intervals(known)
    while len(low):
        middle = _look(image, a, b, low.segment, 0.5 * (low.fraction + high.fraction))
        gap = np.hypot(*(middle.after - 0.5 * (low.after + high.after)).T)
        bent = ~(gap <= _SEEN_SHARE * tolerance_m)
        width = (high.fraction - low.fraction) * length[low.segment]
        asked, straight = bent.copy(), np.flatnonzero(~bent & (width > _FINEST_LOOK_M))
        asked[straight] = _is_beside(image, middle.before[straight], width[straight])
        low, middle, high, width = low.take(asked), middle.take(asked), high.take(asked), width[asked]
        found.append(middle)
        wide = (width > tolerance_m) & np.isfinite(middle.after[:, 0])
        low, middle, high = low.take(wide), middle.take(wide), high.take(wide)
        low, high = _joined([low, middle]), _joined([middle, high])
    return _joined(found).sorted()


def _first_looks(image: Image, a: Points, b: Points, length: NDArray[np.float64], ends: _Samples) -> _Samples:
    parts = np.clip(np.ceil(length / SPACING_M), 1, MOST_FIRST_LOOKS).astype(np.int64)
    segment = np.repeat(np.arange(len(a)), parts - 1)
    number = np.arange(len(segment)) - np.repeat(np.cumsum(parts - 1) - (parts - 1), parts - 1) + 1
    return _joined([ends, _look(image, a, b, segment, number / parts[segment])]).sorted()


def _look(image: Image, a: Points, b: Points, segment: NDArray[np.int64], fraction: NDArray[np.float64]) -> _Samples:
    before = a[segment] + fraction[:, None] * (b - a)[segment]
    return _Samples(segment, fraction, before, image(before))


def _intervals(samples: _Samples) -> tuple[_Samples, _Samples]:
    adjacent = samples.segment[1:] == samples.segment[:-1]
    return samples.take(np.flatnonzero(adjacent)), samples.take(np.flatnonzero(adjacent) + 1)


def _joined(parts: list[_Samples]) -> _Samples:
    return _Samples(
        np.concatenate([part.segment for part in parts]),
        np.concatenate([part.fraction for part in parts]),
        np.concatenate([part.before for part in parts]),
        np.concatenate([part.after for part in parts]),
    )


def _needed(samples: _Samples, tolerance_m: float) -> NDArray[np.bool_]:
    """Which samples between the ends of their segments a chord would miss by more than ``tolerance_m``."""
    needed = np.zeros(len(samples.segment), dtype=bool)
    uncovered = ~np.isfinite(samples.after[:, 0])
    first = (
        np.flatnonzero(np.r_[True, samples.segment[1:] != samples.segment[:-1]]) if len(needed) else np.empty(0, int)
    )
    last = np.r_[first[1:], len(needed)] - 1
    low, high = first[: len(last)], last
    while len(low := low[(inner := high - low > 1)]):
        high = high[inner]
        worst, gap = _worst(samples, low, high)
        missed = gap > tolerance_m
        low, worst, high = low[missed], worst[missed], high[missed]
        needed[worst] = True
        low, high = np.r_[low, worst], np.r_[worst, high]
    return needed | uncovered


def _worst(
    samples: _Samples, low: NDArray[np.int_], high: NDArray[np.int_]
) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """The sample strictly between ``low`` and ``high`` that lies farthest from their chord, and how far."""
    counts = high - low - 1
    begin = np.cumsum(counts) - counts
    chord = np.repeat(np.arange(len(low)), counts)
    row = np.arange(counts.sum()) - begin[chord] + low[chord] + 1
    low_row, high_row = low[chord], high[chord]
    span = samples.fraction[high_row] - samples.fraction[low_row]
    share = ((samples.fraction[row] - samples.fraction[low_row]) / span)[:, None]
    expected = samples.after[low_row] + share * (samples.after[high_row] - samples.after[low_row])
    gap = np.nan_to_num(np.hypot(*(samples.after[row] - expected).T), nan=0.0)
    farthest = np.maximum.reduceat(gap, begin)
    hits = np.flatnonzero(gap == farthest[chord])
    _, first_hit = np.unique(chord[hits], return_index=True)
    return row[hits[first_hit]], farthest

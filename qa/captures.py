"""What a layer's columns say of each feature's capture, in the terms that ``regime.py`` weighs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qa.limits import Limits
from qa.origin import (
    DATED_AFTER,
    DATED_BEFORE,
    LISTED,
    MAYBE_GROUND,
    MISPLACED_RATIO,
    NOTHING_SAID,
    UNDATED,
    USUAL_WRONG_RATIO,
    VOUCHED_WRONG_RATIO,
)

_UNSAID_RATIO = 1.0 / 3.0
"""For every three records that say they were measured on the ground there is one that does not."""

_LARGEST_GROUND_RATIO = 0.5

_OF_OS = re.compile(r"\b(?:ordnance|os) survey\w*")
"""Not a survey of the ground but a name on maps."""

_DAY_OF_MANY = 20
"""So many are not drawn in a day."""


@dataclass(frozen=True)
class Evidence:
    """What a layer's columns say of each feature's capture.

    Parameters
    ----------
    captured_on
        ``(n,)`` datetime64[D], NaT where unknown; None without such a column.
    method
        ``(n,)`` text, empty where unknown; None without such a column.
    scale
        ``(n,)`` denominators of the source map's scale, NaN where unknown; None without such a column.
    ground_methods
        Words a method begins a word with when the ground itself was measured; case does not matter.
    new_map_loaded_on
        Captures on or after this day were made on the new map; ``()`` or ``(n,)`` where it differs from tile to tile,
        NaT or None where nobody knows.
    new_map_complete_on
        ``(n,)`` the last such day of the tiles a feature touches, where it touches several; None: the same day.
    is_unchanged_tile
        ``(n,)`` whether a feature lies in tiles only that are said never to have changed; None: nothing is said.
    date_wrong_ratio
        Share of the dates that is to be expected to be wrong; see ``dates.py``.
    is_to_stay
        Whether the owners of the layer say that all of it rightly stays where it is, whatever its columns say.
    """

    captured_on: NDArray[np.datetime64] | None = None
    method: NDArray[np.str_] | None = None
    scale: NDArray[np.float64] | None = None
    ground_methods: Sequence[str] = field(default_factory=tuple)
    new_map_loaded_on: np.datetime64 | NDArray[np.datetime64] | None = None
    new_map_complete_on: NDArray[np.datetime64] | None = None
    is_unchanged_tile: NDArray[np.bool_] | None = None
    date_wrong_ratio: float = USUAL_WRONG_RATIO
    is_to_stay: bool = False

    def dated(self, count: int) -> NDArray[np.int_]:
        """Before the new map, after it, undated, or in a layer without dates: ``(count,)`` numbers of ``origin.py``."""
        if self.is_to_stay:
            return np.full(count, DATED_AFTER)
        if self.captured_on is None or self.new_map_loaded_on is None or np.isnat(self.captured_on).all():
            return np.full(count, LISTED)
        first = self.new_map_loaded_on
        last = first if self.new_map_complete_on is None else self.new_map_complete_on
        later, before = self.captured_on >= last, self.captured_on < first  # in between a date tells nothing
        said_before = np.where(self.maybe_ground(count), MAYBE_GROUND, DATED_BEFORE)
        unsaid = np.where(self.method_names(count) == "", NOTHING_SAID, UNDATED)
        return np.select([later, before], [DATED_AFTER, said_before], unsaid)

    def batch(self, count: int) -> NDArray[np.int_]:
        """The number ``(count,)`` of the batch of each: of a day that many are dated on, which may be that of a load,
        or of a year.
        """
        captured = np.full(count, "NaT", dtype="datetime64[D]") if self.captured_on is None else self.captured_on
        _, which, many = np.unique(captured, return_inverse=True, return_counts=True)
        period = np.where(many[which] >= _DAY_OF_MANY, captured, captured.astype("datetime64[Y]"))
        return np.unique(period, return_inverse=True)[1]

    def unchanged_tile(self, count: int) -> NDArray[np.bool_]:
        """Whether the map is said never to have changed at each feature, ``(count,)``."""
        return np.zeros(count, dtype=bool) if self.is_unchanged_tile is None else self.is_unchanged_tile

    def method_names(self, count: int) -> NDArray[np.str_]:
        """The methods in lower case, ``(count,)``, empty where unknown."""
        return np.full(count, "", dtype="<U1") if self.method is None else np.char.lower(np.char.strip(self.method))

    def method_numbers(self, count: int) -> NDArray[np.int_]:
        """The number ``(count,)`` of the method of each; where it is unknown, too, they count as of one."""
        return np.unique(self.method_names(count), return_inverse=True)[1]

    @property
    def said_wrong_ratio(self) -> float:
        """Share of the features that is to be expected to lie on the other map than is said of them."""
        return VOUCHED_WRONG_RATIO if self.is_to_stay else self.date_wrong_ratio

    @property
    def misplaced_ratio(self) -> float:
        """Share of the features that is to be expected to be misplaced."""
        return VOUCHED_WRONG_RATIO if self.is_to_stay else MISPLACED_RATIO

    @property
    def says_how(self) -> bool:
        """Whether the layer says of any feature by what method, or from what scale of map, it was captured."""
        by_method = self.method is not None and (np.char.strip(self.method) != "").any()
        return bool(by_method or (self.scale is not None and np.isfinite(self.scale).any()))

    def measured_on_ground(self, count: int) -> NDArray[np.bool_]:
        """Whether the method names a measurement of the ground, ``(count,)``."""
        if not self.ground_methods:
            return np.zeros(count, dtype=bool)
        words = re.compile(r"\b(?:" + "|".join(re.escape(word.lower()) for word in self.ground_methods) + ")")
        names, which = np.unique(self.method_names(count), return_inverse=True)
        return np.array([bool(words.search(_OF_OS.sub("", name))) for name in names], dtype=bool)[which]

    def maybe_ground(self, count: int) -> NDArray[np.bool_]:
        """Whether a feature may have been measured on the ground although its method is not said, ``(count,)``.

        Not what states the scale of a source map, unless the layer's own ground surveys state one too, nor what was
        captured before the first of them.
        """
        ground, maybe = self.measured_on_ground(count), self.method_names(count) == ""
        if not ground.any():
            return ground
        if self.scale is not None and np.isnan(self.scale[ground]).all():
            maybe &= np.isnan(self.scale)
        if self.captured_on is not None:
            maybe &= ~(self.captured_on < np.fmin.reduce(self.captured_on[ground]))
        return maybe

    def ground_ratio(self, count: int) -> float:
        """Share of the features of ``MAYBE_GROUND`` that is to be expected to be measured on the ground."""
        dated = self.dated(count)
        maybe = np.sum(dated == MAYBE_GROUND)
        said = np.sum(self.measured_on_ground(count) & (dated == DATED_BEFORE))
        return float(min(_UNSAID_RATIO * said / maybe, _LARGEST_GROUND_RATIO)) if maybe else 0.0

    def small_scale(self, count: int, limits: Limits) -> NDArray[np.bool_]:
        """Whether the source map was too small in scale, ``(count,)``."""
        if self.scale is None:
            return np.zeros(count, dtype=bool)
        return np.nan_to_num(self.scale, nan=0.0) >= limits.small_scale_denominator

"""How far dates of capture are to be believed: layers whose places show the map speak for those whose places do not.

A tree stands where it stands, and only its date tells the map it was drawn on. An outline shows it, and so whether its
date is right. Layers of one council were dated by the same people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from qa.origin import DATED_AFTER, DATED_BEFORE, NEITHER, NEW, OLD, TELLING_ODDS, USUAL_WRONG_RATIO, Origins, Signs

_USUAL_WEIGHT = 50.0
"""What is usual counts as so many dates."""

_MOST_WEIGHT = 100.0
"""A layer counts as no more dates than this, however many it has: the next layer need not be like it."""


@dataclass(frozen=True)
class DateRecord:
    """Dated features of a layer whose place alone tells the map: how many, and how many of them contradict it."""

    told: float
    contradicted: float

    @classmethod
    def of(cls, dated: NDArray[np.int_], signs: Signs, origins: Origins) -> Self:
        """The record of features that are alike, ``dated`` ``(n,)`` as their columns say; each counts as contradicted
        by the chance that it is.
        """
        is_dated = np.isin(dated, (DATED_BEFORE, DATED_AFTER))
        is_telling = (origins.place_odds > TELLING_ODDS) | (origins.place_odds < 1.0 / TELLING_ODDS)
        is_placed = origins.chances[:, NEITHER] < 0.5
        rows = np.flatnonzero(is_dated & is_telling & is_placed & signs.is_told_apart)
        said = np.where(dated[rows] == DATED_BEFORE, OLD, NEW)
        of_date, of_either = origins.chances[rows, said], origins.chances[rows][:, [OLD, NEW]].sum(axis=1)
        return cls(float(len(rows)), float((1.0 - of_date / of_either).sum()))

    @classmethod
    def together(cls, records: Sequence[DateRecord]) -> Self:
        """The record of several kinds of features of one layer."""
        return cls(sum(one.told for one in records), sum(one.contradicted for one in records))


def expected_wrong_ratio(others: Sequence[DateRecord]) -> float:
    """The share of wrong dates to be expected in a layer, by the records of the other layers.

    Parameters
    ----------
    others
        A record for each of them.

    Examples
    --------
    >>> round(expected_wrong_ratio([DateRecord(900.0, 9.0), DateRecord(0.0, 0.0)]), 4)
    0.0136
    """
    told = np.array([one.told for one in others if one.told > 0])
    wrong = np.array([one.contradicted for one in others if one.told > 0])
    weight = _MOST_WEIGHT * told / (told + _MOST_WEIGHT)
    return float((_USUAL_WEIGHT * USUAL_WRONG_RATIO + weight @ (wrong / told)) / (_USUAL_WEIGHT + weight.sum()))

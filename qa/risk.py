"""What the predicted chance of being wrong is worth: calibration against truth, and the limit that follows from it.

Predicting the chance is ``triage.py``'s; here is only what many such predictions say together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

BOUNDS = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Bounds of the bins: each about three times the one before, since what matters is small."""


class Bin(NamedTuple):
    """Features whose predicted chance of being wrong lies in ``low`` to ``high`` (the upper bound belongs to the bin).

    ``predicted`` is their mean chance, ``observed`` the share that was wrong (NaN where no truth is known).
    """

    low: float
    high: float
    features: int
    predicted: float
    observed: float


def calibration(chance: Numbers, wrong: NDArray[np.bool_] | None = None) -> list[Bin]:
    """Predicted chance against share wrong, in bins; bins without a feature are left out.

    Parameters
    ----------
    chance
        ``(n,)`` predicted chance of being wrong.
    wrong
        ``(n,)`` whether it was; None without truth.

    Examples
    --------
    >>> calibration(np.array([0.02, 0.02, 0.5]), np.array([False, True, True]))[0]
    Bin(low=0.01, high=0.03, features=2, predicted=0.02, observed=0.5)
    """
    which = np.searchsorted(BOUNDS[1:-1], chance, side="left")
    bins = []
    for number in np.unique(which):
        rows = which == number
        observed = float("nan") if wrong is None else float(wrong[rows].mean())
        predicted = round(float(chance[rows].mean()), 12)
        bins.append(Bin(BOUNDS[number], BOUNDS[number + 1], int(rows.sum()), predicted, observed))
    return bins


def limit_for(acceptable_ratio: float, chance: Numbers, wrong: NDArray[np.bool_]) -> float:
    """The largest limit on the chance at which no more than that share of what lies below it is wrong.

    Parameters
    ----------
    acceptable_ratio
        Share of wrong features among the accepted that is acceptable.
    chance, wrong
        ``(n,)`` of features whose truth is known.

    Examples
    --------
    >>> limit_for(0.25, np.array([0.01, 0.02, 0.03, 0.04, 0.05]), np.array([False, False, False, True, True]))
    0.04
    """
    order = np.argsort(chance, kind="stable")
    share = np.cumsum(wrong[order]) / np.arange(1, len(chance) + 1)
    good = np.flatnonzero(share <= acceptable_ratio)
    return float(chance[order][good[-1]]) if len(good) else 0.0


def expected_wrong(chance: Numbers, settled: NDArray[np.bool_]) -> float:
    """How many of the settled features are expected to be wrong: the sum of their chances."""
    return float(np.nan_to_num(chance[settled], nan=1.0).sum())

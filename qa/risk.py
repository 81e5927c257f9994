"""What the predicted chance of being wrong is worth: calibration against truth, and the limit that follows from it.

Predicting the chance is ``triage.py``'s; here is only what many such predictions say together.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

CURVE_FILE = Path(__file__).with_name("risk_curve.csv")
"""The calibration measured on worlds with known truth; ``benchmarks/chew_valley.py`` writes it."""

BOUNDS = (0.0, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Bounds of the bins: each about twice the one before, since what matters is small."""

_PRIOR_FEATURES = 100.0
_BOROUGH_FEATURES = 5000.0
"""What is settled in a small borough: there a wrong one or two more make a difference."""
_PARTS = 1000


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
    Bin(low=0.01, high=0.02, features=2, predicted=0.02, observed=0.5)
    """
    which = np.searchsorted(BOUNDS[1:-1], chance, side="left")
    bins = []
    for number in np.unique(which):
        rows = which == number
        observed = float("nan") if wrong is None else float(wrong[rows].mean())
        predicted = round(float(chance[rows].mean()), 12)
        bins.append(Bin(BOUNDS[number], BOUNDS[number + 1], int(rows.sum()), predicted, observed))
    return bins


@cache
def measured_curve() -> tuple[Bin, ...]:
    """The calibration in ``risk_curve.csv``, measured where the truth is known."""
    with CURVE_FILE.open(newline="", encoding="utf-8") as stream:
        return tuple(
            Bin(float(r["low"]), float(r["high"]), int(r["features"]), float(r["predicted"]), float(r["observed"]))
            for r in csv.DictReader(stream)
        )


def write_curve(bins: Sequence[Bin], path: Path = CURVE_FILE) -> None:
    """Write a calibration as the table that ``measured_curve`` reads."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(Bin._fields)
        writer.writerows((*one[:3], f"{one.predicted:.6f}", f"{one.observed:.6f}") for one in bins)


def limit_for(acceptable_ratio: float, curve: Sequence[Bin]) -> float:
    """The largest limit on the chance at which no more than that share of all that lies below it is to be wrong.

    Whole bins are added up from the least chance; of the first bin that would be too much, the part that is still
    acceptable is taken, on a logarithmic scale. The share that was wrong counts with the standard error of such a
    count, here and in the next borough, on top: it is to be acceptable there, and not only on average.

    Parameters
    ----------
    acceptable_ratio
        Share of wrong features among the accepted that is acceptable.
    curve
        A calibration with truth, in ascending order.

    Examples
    --------
    >>> curve = [Bin(0.0, 0.01, 980, 0.001, 0.0), Bin(0.01, 0.1, 20, 0.05, 0.1)]
    >>> [round(limit_for(ratio, curve), 4) for ratio in (0.001, 0.002)]
    [0.0148, 0.029]
    """
    features, wrong, limit = 0.0, 0.0, 0.0
    for one in curve:
        parts = np.linspace(0.0, 1.0, _PARTS + 1)
        features_then, wrong_then = features + parts * one.features, wrong + parts * one.features * one.observed
        share = wrong_then / np.maximum(features_then, 1.0)
        error = np.sqrt(share / np.maximum(features_then, 1.0) + share / _BOROUGH_FEATURES)
        part = parts[share + error <= acceptable_ratio].max(initial=0.0)
        if part < 1.0:
            low = max(one.low, one.high / 10.0)
            return float(low * (one.high / low) ** part)
        features, wrong, limit = features_then[-1], wrong_then[-1], one.high
    return limit


def expected_wrong(chance: Numbers, curve: Sequence[Bin]) -> float:
    """How many features are expected to be wrong: each counts what the like of it turned out to be in ``curve``.

    The share of a bin is drawn towards what was predicted by the weight of a hundred features, so that a bin of few
    says little.

    Parameters
    ----------
    chance
        ``(n,)`` predicted chances of the features that no person looks at; NaN counts as certain to be wrong.
    curve
        A calibration with truth.
    """
    which = np.searchsorted([one.high for one in curve[:-1]], chance, side="left")
    share = [
        (one.features * one.observed + _PRIOR_FEATURES * one.predicted) / (one.features + _PRIOR_FEATURES)
        for one in curve
    ]
    return float(np.where(np.isfinite(chance), np.append(share, 1.0)[which], 1.0).sum())

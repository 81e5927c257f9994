"""Where noise ends and error begins: a limit on standardised residuals learnt from their own distribution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FALSE_SHARE = 0.015
"""Expected share of false alarms among the alarms: half of the 3 % that are wanted at most, since noise reaches
farther than the law that is matched to its bulk."""

BULK = (0.5, 0.9)
"""Quantiles that noise alone is believed to make up."""

HEAVIEST = 0.8
"""A tail exponent below this would call every gross error noise."""

LEAST_COUNT = 50
USUAL_LIMIT = 4.0
"""Where too few points tell how heavy the tail is: 1 in 3,000 of a circular normal error lies beyond."""


def false_alarm_limit(standardised: NDArray[np.float64]) -> float:
    """The standardised residual beyond which at most ``FALSE_SHARE`` of the points are expected to be noise.

    The bulk is matched by a Weibull law, ``P(z > t) = exp(-(t / a)^c)`` (c = 2 for normal noise, less for
    heavier tails), and the limit is the least t at which the law expects no more than the wanted share of
    those that are found.

    Parameters
    ----------
    standardised
        ``(n,)`` residual lengths over the noise per axis.
    """
    if len(standardised) < LEAST_COUNT:
        return USUAL_LIMIT
    middle, upper = np.quantile(standardised, BULK)
    heights = np.log(-np.log(1.0 - np.array(BULK)))
    exponent = np.clip((heights[1] - heights[0]) / np.log(max(upper / max(middle, 1e-9), 1.01)), HEAVIEST, 2.0)
    scale = middle / np.log(2.0) ** (1.0 / exponent)
    ordered = np.sort(standardised)
    found = len(ordered) - np.arange(len(ordered))
    expected = len(ordered) * np.exp(-((ordered / scale) ** exponent))
    credible = np.flatnonzero((expected <= FALSE_SHARE * found) & (ordered > upper))
    if not len(credible):
        return float(np.nextafter(ordered[-1], np.inf))
    # The limit lies between residuals: as low as the law allows, but above the last that may be noise.
    first = credible[0]
    lowest = scale * np.log(len(ordered) / (FALSE_SHARE * found[first])) ** (1.0 / exponent)
    return float(min(max(lowest, ordered[first - 1]), ordered[first])) * (1.0 - 1e-9)

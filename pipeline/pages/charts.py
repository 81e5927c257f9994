"""Charts for the pages: how a measure is spread over the features of a layer."""

from __future__ import annotations

from io import BytesIO

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.pages.map_frame import STYLE
from pipeline.pages.pictures import AFTER, COLOURS, INK, Picture

_BINS = 36
_SHOWN = 0.995
"""Share of the values that the axis is made for."""


def histogram(values: NDArray[np.float64], label: str, *, width_in: float = 3.4) -> Picture:
    """A histogram of a measure that is never negative, as SVG, with a mark at the median.

    A few values far beyond the rest would squeeze all others into one bar: they are told in words.

    Parameters
    ----------
    values
        ``(n,)``; what is not a number is left out.
    label
        Under the axis: the measure and its unit.
    """
    numbers = values[np.isfinite(values)]
    right = 1.15 * float(np.quantile(numbers, _SHOWN)) or 1.0
    beyond = numbers[numbers > right]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width_in, 1.9), dpi=100)
        axes = figure.add_axes((0.11, 0.24, 0.86, 0.66))
        axes.hist(numbers, bins=_BINS, range=(0.0, right), color=AFTER, edgecolor="white", linewidth=0.4)
        axes.set_xlim(0.0, right)
        _mark(axes, float(np.median(numbers)), f"median {np.median(numbers):.2f}", ":")
        axes.set_xlabel(label, color=INK)
        if len(beyond):
            words = f"{len(beyond)} more, up to {beyond.max():.3g}"
            axes.annotate(words, (1, 0.9), xycoords="axes fraction", ha="right", size=7, color=COLOURS["open"])
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0)
        out = BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
        return Picture(out.getvalue(), "image/svg+xml")


def _mark(axes: mpl.axes.Axes, value: float, words: str, style: str) -> None:
    axes.axvline(value, color=INK, linewidth=0.9, linestyle=style)
    axes.annotate(words, (value, 1.02), xycoords=("data", "axes fraction"), ha="center", va="bottom", size=7)

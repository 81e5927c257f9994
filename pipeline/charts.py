"""Charts for the pages: how a measure is spread over the features of a layer."""

from __future__ import annotations

from io import BytesIO

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.maps import STYLE
from pipeline.pictures import AFTER, INK

_BINS = 36


def histogram(values: NDArray[np.float64], label: str, *, limit: float | None = None) -> bytes:
    """A histogram as SVG, with a line at ``limit`` and a mark at the median.

    Parameters
    ----------
    values
        ``(n,)``; what is not a number is left out.
    label
        Under the axis: the measure and its unit.
    """
    numbers = values[np.isfinite(values)]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.4, 1.9), dpi=100)
        axes = figure.add_axes((0.11, 0.24, 0.86, 0.66))
        axes.hist(numbers, bins=_BINS, color=AFTER, edgecolor="white", linewidth=0.4)
        axes.set_xlim(left=min(0.0, float(numbers.min())))
        if limit is not None and limit <= 2 * numbers.max():
            _mark(axes, limit, f"limit {limit:g}", "--")
        _mark(axes, float(np.median(numbers)), f"median {np.median(numbers):.2f}", ":")
        axes.set_xlabel(label, color=INK)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0)
        out = BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
        return out.getvalue()


def _mark(axes: mpl.axes.Axes, value: float, words: str, style: str) -> None:
    axes.axvline(value, color=INK, linewidth=0.9, linestyle=style)
    axes.annotate(words, (value, 1.02), xycoords=("data", "axes fraction"), ha="center", va="bottom", size=7)

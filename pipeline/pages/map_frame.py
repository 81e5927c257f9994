"""The frame of every map: its shape, scale bar, north arrow, and how it becomes a picture of bounded size."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import AbstractPathEffect, withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from pipeline.pages.pictures import BEFORE, INK, PALE, Picture

Extent = tuple[float, float, float, float]
"""Least easting, least northing, greatest easting, greatest northing [m]."""

STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "svg.fonttype": "path",
    "svg.hashsalt": "post-pai",
    "axes.edgecolor": PALE,
    "axes.linewidth": 0.8,
    "xtick.color": BEFORE,
    "ytick.color": BEFORE,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
}
HALO: list[AbstractPathEffect] = [withStroke(linewidth=2.5, foreground="white")]
"""Keeps what is written on a map legible without hiding what lies beneath."""

STRIP_IN = 0.27
"""Room for a scale bar and what it says [in]."""

_RASTER_DPI = 170
_LARGEST_BYTES = 450_000


def map_figure(
    extent: Extent, *, width_in: float, bare: bool = False, foot_in: float = 0.0, strip_in: float = STRIP_IN
) -> tuple[Figure, Axes]:
    """A figure with one map in it: with kilometres along its sides unless ``bare``, and room for a legend below.

    ``strip_in`` is the height of the strip along the map's foot in which its scale bar lies, on nothing that is shown.
    """
    left, bottom = (0.03, 0.03 + foot_in) if bare else (0.42, 0.28 + foot_in)
    map_in = width_in - left - 0.03
    west, south, east, north = _with_shape(extent)
    shape = (west, south - strip_in * (east - west) / map_in, east, north)
    height_in = map_in * (shape[3] - shape[1]) / (shape[2] - shape[0])
    figure = Figure(figsize=(width_in, height_in + bottom + 0.03), dpi=100)
    whole_in = height_in + bottom + 0.03
    axes = figure.add_axes((left / width_in, bottom / whole_in, map_in / width_in, height_in / whole_in))
    axes.set_xlim(shape[0], shape[2])
    axes.set_ylim(shape[1], shape[3])
    _kilometre_axes(axes, bare)
    return figure, axes


def _with_shape(extent: Extent, *, lowest: float = 0.5, highest: float = 1.15) -> Extent:
    """``extent`` grown about its middle until its height lies between ``lowest`` and ``highest`` of its width."""
    width, height = extent[2] - extent[0], extent[3] - extent[1]
    more_east, more_north = max(height / highest - width, 0.0) / 2, max(width * lowest - height, 0.0) / 2
    return extent[0] - more_east, extent[1] - more_north, extent[2] + more_east, extent[3] + more_north


def _kilometre_axes(axes: Axes, bare: bool) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda metres, _: f"{metres / 1000:.6g}"))
        axis.set_tick_params(length=2, color=PALE)
        if bare:
            axis.set_ticks([])


def draw_furniture(axes: Axes, extent: Extent) -> None:
    """The scale bar, in a strip of its own, and the north arrow."""
    share = STRIP_IN * axes.figure.dpi / axes.get_window_extent().height
    axes.add_patch(Rectangle((0, 0), 1, share, transform=axes.transAxes, color="white", linewidth=0, zorder=8))
    axes.spines[:].set_zorder(8.5)
    draw_scale_bar(axes, extent)
    north = axes.annotate(
        "N",
        (0.97, 0.985),
        (0.97, 0.915),
        xycoords="axes fraction",
        ha="center",
        va="center",
        size=8,
        color=INK,
        arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 0.9, "shrinkA": 1, "shrinkB": 0, "zorder": 9},
        zorder=9,
        path_effects=HALO,
    )
    if north.arrow_patch is not None:
        north.arrow_patch.set_path_effects(HALO)


def draw_scale_bar(axes: Axes, extent: Extent) -> None:
    """A bar of a round length, about a quarter of the map."""
    length_m = round_length((extent[2] - extent[0]) / 4)
    share = length_m / np.ptp(axes.get_xlim())
    bar = ([0.025, 0.025 + share], [0.025, 0.025])
    axes.plot(*bar, transform=axes.transAxes, color=INK, lw=2.2, solid_capstyle="butt", zorder=9, path_effects=HALO)
    words = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    axes.text(0.025, 0.035, words, transform=axes.transAxes, size=7.5, va="bottom", zorder=9, path_effects=HALO)


def round_length(length_m: float) -> float:
    """The longest of 1, 2, 5 times a power of ten within ``length_m``.

    Examples
    --------
    >>> round_length(37.0)
    20.0
    """
    power = 10.0 ** np.floor(np.log10(length_m))
    return float(max(step * power for step in (1, 2, 5) if step * power <= length_m))


def as_drawn(figure: Figure) -> Picture:
    """As SVG, which prints sharply; as PNG where that would be too large for a page."""
    out = BytesIO()
    figure.savefig(out, format="svg", dpi=_RASTER_DPI, metadata={"Date": None})
    if out.tell() <= _LARGEST_BYTES:
        return Picture(out.getvalue(), "image/svg+xml")
    figure.set_dpi(_RASTER_DPI)
    return as_png(figure, _LARGEST_BYTES)


def as_png(figure: Figure, limit_bytes: int) -> Picture:
    """As PNG, with as many colours as ``limit_bytes`` allow."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    for colours in (128, 32, 12, 6):
        out = BytesIO()
        picture.quantize(colours).save(out, "PNG", optimize=True)
        if out.tell() <= limit_bytes:
            break
    return Picture(out.getvalue(), "image/png")

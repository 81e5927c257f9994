"""The pictures on the asset pages of the Dagster UI: drawn for the 320 pixels that a value has there.

No text of a user's goes into a picture (it would be read as a formula); layers go by their names in the settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.pages.map_frame import STYLE, Extent, as_drawn, draw_furniture, map_figure
from pipeline.pages.maps import ControlPlaces, Shifts, draw_arrows, draw_shapes
from pipeline.pages.outcome import STATUSES, Counts
from pipeline.pages.pictures import AFTER, BREAK, COLOURS, INK, PALE, Picture
from qa.accuracy import Score
from qa.risk import Bin
from transforms.contract import Points, ShiftField
from transforms.one_piece import CIRCULAR_95

WIDTH_IN = 3.32
"""319 pixels in a browser: at a window of 1280 an asset page shows 324 of a value; what is wider is cut off."""

_CELLS_ACROSS = 140
_LEAST_CHANCE = 1e-5
_DAYS_SHOWN, _A_WEEK = 60, 6
"""Days at most, and how many after the first are shown at least."""

_LINE_IN, _LETTER_IN = 0.17, 0.055
"""A line of a legend is so high, a letter of 7 points about so wide."""


@dataclass(frozen=True)
class Look:
    """How one class of features is drawn: colour, and a sign beside it."""

    colour: str
    marker: str = "o"
    width: float = 1.0


STATUS_LOOKS = {
    "moved": Look(COLOURS["moved"], "o", 0.8),
    "unmoved": Look(COLOURS["unmoved"], ".", 0.7),
    "fixed": Look(COLOURS["fixed"], "s", 1.3),
    "open": Look(COLOURS["open"], "^", 1.3),
}
VERDICT_LOOKS = {
    "accept": STATUS_LOOKS["moved"],
    "leave": STATUS_LOOKS["unmoved"],
    "review": STATUS_LOOKS["open"],
}
REGIME_LOOKS = {
    "affected": Look(AFTER, "o", 0.8),
    "unaffected": Look(COLOURS["unmoved"], ".", 0.7),
    "already_new": Look(COLOURS["fixed"], "s", 1.0),
    "unknown": Look(COLOURS["open"], "^", 1.2),
    "straddling": Look("#8a3ea0", "D", 1.3),
}


def class_map(
    shapes: NDArray[np.object_],
    classes: NDArray[np.str_],
    looks: Mapping[str, Look],
    extent: Extent,
    breaks: Iterable[Points] = (),
) -> Picture:
    """Features by class, with a legend that counts them (those drawn)."""
    present = [name for name in looks if (classes == name).any()]
    with mpl.rc_context(STYLE):
        figure, axes = map_figure(extent, width_in=WIDTH_IN, bare=True, foot_in=_foot(present))
        _draw_breaks(axes, breaks, 0.5)
        for name in present:
            look = looks[name]
            draw_shapes(axes, shapes[classes == name], extent, look.colour, look.width, marker=look.marker)
        draw_furniture(axes, extent)
        _legend(figure, [_mark(name.replace("_", " "), looks[name].colour, looks[name].marker) for name in present])
        return as_drawn(figure)


def control_map(control: ControlPlaces, extent: Extent, breaks: Iterable[Points]) -> Picture:
    """Control by verdict: what was used, what is doubtful, what is wrong."""
    looks = {"used": ("#5b9bc8", ".", 1.5), "suspect": ("#b8860b", "+", 12), "rejected": (COLOURS["open"], "x", 12)}
    with mpl.rc_context(STYLE):
        figure, axes = map_figure(extent, width_in=WIDTH_IN, bare=True, foot_in=2 * _LINE_IN)
        _draw_breaks(axes, breaks, 0.8)
        for verdict, (colour, marker, size) in looks.items():
            east, north = control.places[control.verdict == verdict].T
            axes.scatter(east, north, s=size, marker=marker, color=colour, linewidth=0.8, rasterized=len(east) > 2000)
        draw_furniture(axes, extent)
        handles = [_mark(verdict, colour, marker) for verdict, (colour, marker, _) in looks.items()]
        _legend(figure, [*handles, _line("break", BREAK)])
        return as_drawn(figure)


def shift_field_map(shifts: Shifts, extent: Extent, breaks: Iterable[Points]) -> Picture:
    """The shift as arrows between the breaks; white where there is no control to speak for it."""
    with mpl.rc_context(STYLE):
        figure, axes = map_figure(extent, width_in=WIDTH_IN, bare=True, foot_in=_LINE_IN)
        _draw_breaks(axes, breaks, 1.0)
        draw_arrows(axes, shifts, extent)
        draw_furniture(axes, extent)
        _legend(figure, [_line("shift", AFTER), _line("break: the shift jumps", BREAK)])
        return as_drawn(figure)


def uncertainty_map(field: ShiftField, extent: Extent, breaks: Iterable[Points], limit_m: float) -> Picture:
    """The 95 % radius of the shift over the borough, against the limit; hatched where the field says nothing."""
    step = max(extent[2] - extent[0], extent[3] - extent[1]) / _CELLS_ACROSS
    east, north = (np.arange(low + step / 2, high, step) for low, high in (extent[::2], extent[1::2]))
    places = np.stack(np.meshgrid(east, north), axis=-1).reshape(-1, 2)
    radius_m = CIRCULAR_95 * field.uncertainty(places).reshape(len(north), len(east))
    with mpl.rc_context(STYLE):
        figure, axes = map_figure(extent, width_in=WIDTH_IN, bare=True, foot_in=0.5)
        axes.set_facecolor("#efefef")
        levels = np.array([0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0]) * limit_m
        colours = mpl.colormaps["viridis_r"].with_extremes(bad=(0, 0, 0, 0))
        norm = mpl.colors.BoundaryNorm(levels, colours.N, extend="max")
        drawn = axes.pcolormesh(east, north, radius_m, cmap=colours, norm=norm, rasterized=True)
        _draw_breaks(axes, breaks, 0.7)
        draw_furniture(axes, extent)
        height_in = figure.get_figheight()
        scale = figure.add_axes((0.04, 0.34 / height_in, 0.92, 0.09 / height_in))
        figure.colorbar(drawn, cax=scale, orientation="horizontal", ticks=levels[[0, 2, 4, 6, 8, 9]], format="%g")
        scale.tick_params(length=0, labelsize=7)
        words = f"95 % radius [m], against a limit of {limit_m:g} m; grey: no control"
        figure.text(0.5, 0.02 / height_in, words, ha="center", va="bottom", size=7)
        return as_drawn(figure)


def methods_chart(scores: Sequence[Score], chosen: str) -> Picture:
    """Every method's error on control it has not seen; the one chosen is filled."""
    told = [score for score in scores if np.isfinite(score.rms_m)][::-1]
    with mpl.rc_context(STYLE):
        figure, axes = _chart(0.22 * len(told) + 0.55, left_in=1.15)
        colours = [AFTER if score.method == chosen else PALE for score in told]
        bars = axes.barh([_named(score.method) for score in told], [score.rms_m for score in told], color=colours)
        axes.bar_label(bars, [f"{score.rms_m:.2f}" for score in told], padding=3, size=7)
        axes.set_xlim(0, 1.15 * max((score.rms_m for score in told), default=1.0))
        axes.set_xlabel("error at control not seen, RMS [m]")
        axes.xaxis.set_visible(True)
        return as_drawn(figure)


def reliability_chart(pairs: Sequence[tuple[float, float]], within_95: Mapping[str, float]) -> Picture:
    """Whether a stated chance holds: on the line it does, below it the field is too sure of itself."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, 2.1), dpi=100)
        left = figure.add_axes((0.13, 0.21, 0.36, 0.7))
        left.plot([0, 1], [0, 1], color=PALE, linewidth=1.2)
        left.plot(*zip(*pairs, strict=True), color=AFTER, marker="o", markersize=3, linewidth=1.2) if pairs else None
        left.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="stated share", ylabel="found within")
        right = figure.add_axes((0.7, 0.21, 0.26, 0.7))
        names = list(within_95)[::-1]
        right.axvspan(93, 97, color="#dcebf5", linewidth=0)
        shares = 100 * np.array([within_95[name] for name in names])
        right.plot(shares, np.arange(len(names)), "o", color=AFTER, markersize=4)
        right.set_yticks(np.arange(len(names)), [name.replace("_", " ") for name in names])
        right.set(xlim=(min(88.0, np.nanmin(shares, initial=100.0) - 1), 100.5))
        right.set_xlabel("within 95 % radius [%]", loc="right")
        right.set_ylim(-0.6, len(names) - 0.4)
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(length=0)
        return as_drawn(figure)


def risk_chart(
    chance: NDArray[np.float64], in_review: NDArray[np.bool_], curve: Sequence[Bin], limit_ratio: float
) -> Picture:
    """What the predicted chance of being wrong was worth where the truth is known, and what it is in this layer.

    Parameters
    ----------
    chance, in_review
        ``(n,)`` of the layer's features: the chance, and whether an officer looks at them.
    curve
        The calibration measured against truth.
    limit_ratio
        The chance from which an officer looks.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, 3.1), dpi=100)
        above, below = (figure.add_axes((0.225, foot, 0.715, 0.34)) for foot in (0.6, 0.19))
        _draw_curve(above, curve)
        bins = np.geomspace(_LEAST_CHANCE, 1.0, 25)
        shown = np.clip(np.nan_to_num(chance, nan=1.0), _LEAST_CHANCE, 1.0)
        parts = [shown[~in_review], shown[in_review]]
        below.hist(parts, bins=bins.tolist(), stacked=True, color=[COLOURS["moved"], COLOURS["open"]], linewidth=0)
        below.set(yscale="symlog", ylabel="features", xlabel="predicted chance of being wrong")
        for axes in (above, below):
            axes.set(xscale="log", xlim=(_LEAST_CHANCE, 1.0))
            axes.xaxis.set_major_formatter(_in_percent)
            axes.axvline(limit_ratio, color=INK, linewidth=0.9, linestyle=":")
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(which="both", length=0)
        above.tick_params(labelbottom=False)
        words = f"limit {limit_ratio:.1%}"
        above.annotate(words, (limit_ratio, 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom", size=7)
        _legend(figure, [_mark("settled", COLOURS["moved"], "s"), _mark("with an officer", COLOURS["open"], "s")])
        return as_drawn(figure)


def _draw_curve(axes: Axes, curve: Sequence[Bin]) -> None:
    """Observed against predicted; where none was wrong, open and on the foot."""
    predicted, observed = (np.array([getattr(one, name) for one in curve]) for name in ("predicted", "observed"))
    some = observed > 0
    axes.plot([_LEAST_CHANCE, 1], [_LEAST_CHANCE, 1], color=PALE, linewidth=1.2)
    axes.plot(predicted[some], observed[some], "o", color=AFTER, markersize=4)
    axes.plot(predicted[~some], np.full((~some).sum(), _LEAST_CHANCE), "o", mfc="white", mec=AFTER, markersize=4)
    axes.set(yscale="log", ylim=(0.7 * _LEAST_CHANCE, 1.4), ylabel="found wrong\n(open: none)")
    axes.yaxis.set_major_formatter(_in_percent)


def _in_percent(ratio: float, _: object = None) -> str:
    return f"{100 * ratio:g} %"


def layers_chart(counts: Mapping[str, Counts]) -> Picture:
    """One bar a layer, in shares of its features, with how many are open."""
    names = list(counts)[::-1]
    totals = np.array([max(counts[name].total, 1) for name in names])
    with mpl.rc_context(STYLE):
        figure, axes = _chart(0.24 * len(names) + 0.35, left_in=1.55, foot_in=0.22)
        start = np.zeros(len(names))
        for status in STATUSES:
            share = 100 * np.array([getattr(counts[name], status) for name in names]) / totals
            axes.barh(names, share, left=start, color=COLOURS[status], height=0.7, edgecolor="white", linewidth=0.6)
            start += share
        words = [f"{counts[name].open:,} open" for name in names]
        for at, word in enumerate(words):
            axes.annotate(word, (100, at), (3, 0), textcoords="offset points", va="center", size=7, color=INK)
        bars_in, words_in = WIDTH_IN * axes.get_position().width, _LETTER_IN * max(map(len, words), default=0)
        axes.set_xlim(0, 100 * bars_in / (bars_in - words_in))
        axes.xaxis.set_visible(False)
        _legend(figure, [_mark(status, COLOURS[status], "s") for status in STATUSES])
        return as_drawn(figure)


def days_chart(by_day: Mapping[str, int]) -> Picture:
    """Decisions on each day, and how many there were by then; days on which nobody decided are gaps."""
    days = np.array(list(by_day), dtype="datetime64[D]")[-_DAYS_SHOWN:]
    counts = np.array(list(by_day.values()))[-_DAYS_SHOWN:]
    since = (days - days[0]).astype(int)
    with mpl.rc_context(STYLE):
        figure, axes = _chart(1.6, left_in=0.4, foot_in=0.3, head_in=0.2)
        bars = axes.bar(since, counts, color=AFTER, width=0.8)
        axes.bar_label(bars, [f"{count:,}" for count in counts] if len(counts) <= 15 else None, padding=1, size=7)
        axes.set_xlim(-0.7, max(since[-1], _A_WEEK) + 0.7)
        axes.set_ylim(0, 1.2 * counts.max())
        last = int(since[-1])
        ticks = [0] if last < 2 else [0, last] if last < _A_WEEK else [0, last // 2, last]
        axes.set_xticks(ticks, [str(days[0] + tick) for tick in ticks])
        axes.get_xticklabels()[-1].set_horizontalalignment("right" if last >= _A_WEEK else "center")
        axes.get_xticklabels()[0].set_horizontalalignment("left")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_title("decisions a day", size=7.5, loc="left", color=INK, pad=2)
        return as_drawn(figure)


def _chart(height_in: float, *, left_in: float, foot_in: float = 0.36, head_in: float = 0.01) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=100)
    left, bottom = left_in / WIDTH_IN, foot_in / height_in
    axes = figure.add_axes((left, bottom, 0.98 - left, 1.0 - head_in / height_in - bottom))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure, axes


def _draw_breaks(axes: Axes, breaks: Iterable[Points], width: float) -> None:
    axes.add_collection(LineCollection(list(breaks), colors=BREAK, linewidths=width, zorder=4))


def _named(method: str) -> str:
    return "left alone" if method == "identity" else method


def _foot(names: Sequence[str]) -> float:
    return _LINE_IN * (1 if sum(len(name) + 5 for name in names) <= 48 else 2)


def _mark(name: str, colour: str, marker: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, linestyle="", markersize=5, label=name)


def _line(name: str, colour: str) -> Line2D:
    return Line2D([], [], color=colour, linewidth=1.3, label=name)


def _legend(figure: Figure, handles: list[Line2D]) -> None:
    if not handles:
        return
    columns = 3 if len(handles) == 5 else len(handles)
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=columns,
        frameon=False,
        fontsize=7.5,
        labelcolor=INK,
        borderpad=0.1,
        handletextpad=0.3,
        handlelength=1.4,
        columnspacing=1.4,
    )

"""Maps for the pages: the layer, two places seen close, the shift over the borough.

Drawn with matplotlib's own figures, never with pyplot's current one, which all of a process would share. Maps
come out as SVG whose crowded parts are rasterised, or as PNG, so their size is bounded however long the layer is.
No text of a user's goes into a picture: it would be read as a formula.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import matplotlib as mpl
import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from pipeline.geometry.middle import middle
from pipeline.pages.map_frame import (
    HALO,
    STYLE,
    Extent,
    as_drawn,
    draw_furniture,
    draw_scale_bar,
    map_figure,
    round_length,
)
from pipeline.pages.outcome import STATUSES
from pipeline.pages.pictures import AFTER, BEFORE, BREAK, COLOURS, INK, PALE, Picture
from transforms.complex_places import is_place
from transforms.contract import Points

MARKERS = {"moved": "o", "unmoved": ".", "fixed": "s", "open": "^"}
"""A second sign beside the colour of each status."""

_CROWDED_VERTICES = 8_000


@dataclass(frozen=True)
class Features:
    """What a map draws of a layer: ``(n,)`` shapes before and after (None: not drawable) and their statuses."""

    before: NDArray[np.object_]
    after: NDArray[np.object_]
    status: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.status)


@dataclass(frozen=True)
class Shifts:
    """Arrows of a shift map: where they start, ``(n, 2)`` [m], and the shift there, ``(n, 2)`` [m]."""

    places: Points = field(default_factory=lambda: np.empty((0, 2)))
    shift: Points = field(default_factory=lambda: np.empty((0, 2)))


@dataclass(frozen=True)
class ControlPlaces:
    """Control for the shift map: old places ``(n, 2)`` [m] and verdicts ``(n,)``."""

    places: Points = field(default_factory=lambda: np.empty((0, 2)))
    verdict: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, dtype="<U8"))


def extent_of(shapes: NDArray[np.object_], *, margin: float = 0.06) -> tuple[Extent, int]:
    """The extent that shows ``shapes``, and how many lie so far off that they are left outside it.

    A single row at (0, 0) would shrink the borough to a dot: what lies more than six times the spread of the
    rest from their middle is not allowed to stretch the map, but is counted.
    """
    bounds = shapely.bounds(shapes)
    bounds = bounds[~np.isnan(bounds).any(axis=1)]
    placed = is_place(bounds[:, :2]) & is_place(bounds[:, 2:])
    beyond, bounds = int((~placed).sum()), bounds[placed]
    if not len(bounds):
        return (0.0, 0.0, 1000.0, 1000.0), beyond
    centre = (bounds[:, :2] + bounds[:, 2:]) / 2
    middle = np.median(centre, axis=0)
    spread = np.quantile(np.abs(centre - middle), 0.9, axis=0).max()
    inside = (np.abs(centre - middle) <= max(6 * spread, 1000.0)).all(axis=1)
    low, high = bounds[inside, :2].min(axis=0), bounds[inside, 2:].max(axis=0)
    pad = max(margin * float((high - low).max()), 25.0)
    return (*map(float, low - pad), *map(float, high + pad)), beyond + int((~inside).sum())  # type: ignore[return-value]


def layer_map(features: Features, extent: Extent, marks: Sequence[tuple[str, float, float]] = ()) -> Picture:
    """The corrected layer coloured by status, with lettered marks where the close-ups are."""
    with mpl.rc_context(STYLE):
        figure, axes = map_figure(extent, width_in=7.0)
        _draw_by_status(axes, features, extent)
        for letter, easting, northing in marks:
            _draw_mark(axes, letter, easting, northing)
        draw_furniture(axes, extent)
        return as_drawn(figure)


def close_up(
    features: Features, row: int, extent: Extent, letter: str, new_map: NDArray[np.object_] | None = None
) -> Picture:
    """One place so near that a shift of two metres shows: old dashed in grey, new solid in colour.

    Parameters
    ----------
    new_map
        Shapes of the new base map, drawn as hairlines beneath.
    """
    with mpl.rc_context(STYLE):
        figure, axes = map_figure(extent, width_in=3.4, bare=True, strip_in=0.0)
        if new_map is not None:
            draw_shapes(axes, new_map, extent, INK, 0.45, alpha=0.6)
        others = _touching(features, extent, row)
        draw_shapes(axes, features.before[others], extent, BEFORE, 0.6, dashed=True, alpha=0.45)
        draw_shapes(axes, features.after[others], extent, AFTER, 0.7, alpha=0.4)
        draw_shapes(axes, features.before[[row]], extent, BEFORE, 1.3, dashed=True)
        draw_shapes(axes, features.after[[row]], extent, COLOURS[str(features.status[row])], 1.8, filled=True)
        _draw_move(axes, features.before[row], features.after[row], extent)
        axes.text(0.03, 0.97, letter, transform=axes.transAxes, va="top", weight="bold", size=12, color=INK)
        draw_scale_bar(axes, extent)
        return as_drawn(figure)


def shift_map(
    features: Features,
    extent: Extent,
    shifts: Shifts,
    control: ControlPlaces,
    breaks: Iterable[Points] = (),
    *,
    width_in: float = 7.0,
) -> Picture:
    """Arrows of the shift over the borough with the control it rests on and the breaks."""
    with mpl.rc_context(STYLE):
        figure, axes = map_figure(extent, width_in=width_in)
        draw_shapes(axes, features.after, extent, PALE, 0.5)
        _draw_control(axes, control)
        axes.add_collection(LineCollection(list(breaks), colors=BREAK, linewidths=0.9, zorder=4))
        draw_arrows(axes, shifts, extent)
        draw_furniture(axes, extent)
        return as_drawn(figure)


def close_up_extent(before: shapely.Geometry, after: shapely.Geometry) -> Extent:
    """A square window on the part of a feature that moved furthest, so sized that the move can be seen."""
    ends, shift_m = _greatest_move(before, after)
    middle = ends.mean(axis=0)
    size = max(np.ptp(shapely.get_coordinates(after), axis=0).max() * 1.4, 12.0)
    side = float(np.clip(size, 8 * shift_m, max(25 * shift_m, 45.0)))
    if size <= side:  # the whole feature fits: show it whole
        corners = np.array([before.bounds, after.bounds]).reshape(-1, 2)
        middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
    east, north = map(float, middle)
    return east - side / 2, north - side / 2, east + side / 2, north + side / 2


def _greatest_move(before: shapely.Geometry, after: shapely.Geometry) -> tuple[Points, float]:
    """Both ends ``(2, 2)`` of the longest vertex move, and its length; without equal vertices, of the centres."""
    old, new = shapely.get_coordinates(before), shapely.get_coordinates(after)
    if len(old) != len(new):
        old, new = (np.array(middle(shape).coords) for shape in (before, after))
    length = np.hypot(*(new - old).T)
    row = int(np.argmax(length))
    return np.array([old[row], new[row]]), float(length[row])


def _draw_by_status(axes: Axes, features: Features, extent: Extent) -> None:
    for status in ("unmoved", *(name for name in STATUSES if name != "unmoved")):
        chosen = features.after[features.status == status]
        width = 0.7 if status in ("unmoved", "moved") else 1.3
        draw_shapes(axes, chosen, extent, COLOURS[status], width, marker=MARKERS[status])


def draw_shapes(
    axes: Axes,
    shapes: NDArray[np.object_],
    extent: Extent,
    colour: str,
    width: float,
    *,
    dashed: bool = False,
    filled: bool = False,
    alpha: float = 1.0,
    marker: str = "o",
) -> None:
    """Lines and outlines as lines, places as ``marker``; a dashed look is hollow, what is crowded is rasterised."""
    shapes = _simplified(shapes, extent)
    lines, places = _lines_of(shapes), _places_of(shapes)
    crowded = sum(map(len, lines)) + len(places) > _CROWDED_VERTICES
    style = (0, (3.2, 2.2)) if dashed else "solid"
    axes.add_collection(
        LineCollection(lines, colors=colour, linewidths=width, linestyles=style, alpha=alpha, rasterized=crowded)
    )
    if filled:
        _fill(axes, shapes, colour)
    size = 9 * width * (0.5 if crowded else 1)
    face = "none" if dashed else colour
    axes.scatter(
        places[:, 0],
        places[:, 1],
        s=size,
        marker=marker,
        facecolor=face,
        edgecolor=colour,
        linewidth=0.7,
        alpha=alpha,
        rasterized=crowded,
    )


def _fill(axes: Axes, shapes: NDArray[np.object_], colour: str) -> None:
    for shape in shapely.get_parts(shapes):
        if shape.geom_type == "Polygon":
            axes.fill(*shapely.get_coordinates(shape.exterior).T, facecolor=colour, alpha=0.12, linewidth=0)


def _simplified(shapes: NDArray[np.object_], extent: Extent) -> NDArray[np.object_]:
    """Without the vertices that no pixel can show."""
    pixel_m = max(extent[2] - extent[0], extent[3] - extent[1]) / 2000
    shapes = shapes[~shapely.is_missing(shapes) & ~shapely.is_empty(shapes)]
    return shapely.simplify(shapes, pixel_m, preserve_topology=False) if pixel_m > 0.25 else shapes


def _lines_of(shapes: NDArray[np.object_]) -> list[Points]:
    parts = _simple_parts(shapes)
    areas = shapely.get_type_id(parts) == 3
    lines = np.concatenate([shapely.get_rings(parts[areas]), parts[np.isin(shapely.get_type_id(parts), (1, 2))]])
    coordinates, index = shapely.get_coordinates(lines, return_index=True)
    return np.split(coordinates, np.flatnonzero(np.diff(index)) + 1) if len(coordinates) else []


def _places_of(shapes: NDArray[np.object_]) -> Points:
    parts = _simple_parts(shapes)
    return shapely.get_coordinates(parts[shapely.get_type_id(parts) == 0])


def _simple_parts(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    return shapely.get_parts(shapely.get_parts(shapes))  # twice: a collection may hold multi-part shapes


def _draw_mark(axes: Axes, letter: str, easting: float, northing: float) -> None:
    axes.plot([easting], [northing], marker="s", ms=9, mfc="none", mec=INK, mew=1.1, zorder=6)
    axes.annotate(
        letter, (easting, northing), (8, 5), textcoords="offset points", weight="bold", size=9, zorder=7
    ).set_path_effects(HALO)


def _touching(features: Features, extent: Extent, row: int) -> NDArray[np.bool_]:
    window = shapely.box(*extent)
    near = shapely.intersects(shapely.envelope(features.before), window)
    near |= shapely.intersects(shapely.envelope(features.after), window)
    near[row] = False
    return np.asarray(near)


def _draw_move(axes: Axes, before: shapely.Geometry, after: shapely.Geometry, extent: Extent) -> None:
    (old, new), shift_m = _greatest_move(before, after)
    if shift_m < 0.005:
        return
    axes.annotate("", new, old, arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1.0, "shrinkA": 0, "shrinkB": 0})
    right, upper = new[0] > (extent[0] + extent[2]) / 2, new[1] > (extent[1] + extent[3]) / 2
    text = axes.annotate(
        f"{shift_m:.2f} m",
        new,
        (-7 if right else 7, -7 if upper else 7),
        textcoords="offset points",
        ha="right" if right else "left",
        va="top" if upper else "bottom",
        size=8,
        weight="bold",
        zorder=8,
    )
    text.set_path_effects(HALO)


def _draw_control(axes: Axes, control: ControlPlaces) -> None:
    crowded = len(control.verdict) > 2000
    used = control.places[control.verdict == "used"]
    axes.scatter(used[:, 0], used[:, 1], s=1.2, color="#8fb8d4", linewidth=0, rasterized=crowded, zorder=2)
    for verdict, marker in (("suspect", "+"), ("rejected", "x")):
        chosen = control.places[control.verdict == verdict]
        axes.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=9,
            marker=marker,
            color=COLOURS["open"],
            linewidth=0.7,
            rasterized=crowded,
            zorder=3,
        )


def draw_arrows(axes: Axes, shifts: Shifts, extent: Extent) -> None:
    """The shift as arrows, greatly enlarged, with a key that says by how much."""
    known = np.isfinite(shifts.shift).all(axis=1)
    if not known.any():
        return
    lengths = np.hypot(*shifts.shift[known].T)
    times = 0.045 * (extent[2] - extent[0]) / max(float(np.quantile(lengths, 0.95)), 0.01)
    arrows = axes.quiver(
        *shifts.places[known].T,
        *shifts.shift[known].T,
        angles="xy",
        scale_units="xy",
        scale=1 / times,
        color=AFTER,
        width=0.0019,
        headwidth=3.6,
        headlength=4.2,
        zorder=5,
    )
    key_m = round_length(float(lengths.max()))
    # Among arrows like it the key would not be told from them; what it hides are samples of a field.
    axes.add_patch(Rectangle((0.81, 0.004), 0.186, 0.055, transform=axes.transAxes, color="white", zorder=8))
    axes.quiverkey(arrows, 0.94, 0.032, key_m, f"shift {key_m:g} m", labelpos="W", coordinates="axes", zorder=9)

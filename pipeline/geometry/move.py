"""Moving a batch of geometries by a shift field, so that a map stays a map.

A feature moves whole or not at all. Shared places move alike because the shift is a function of place alone; shared
edges stay shared because hanging nodes are inserted first and every straight segment between two vertices is then
given the same further vertices whichever feature draws it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from pipeline.geometry.attached import Attached
from pipeline.geometry.linear_copy import linear_copy
from pipeline.geometry.wkb import Integers, Kind, Trouble
from pipeline.geometry.wkb_batch import Vertices, WkbBatch
from transforms.arcs import chords, stays_arc
from transforms.complex_places import is_place
from transforms.contract import Points, ShiftField
from transforms.densify import find_insertions, is_long, runs_beside_break
from transforms.distinct import distinct_rows
from transforms.one_piece import OnePiece

OUTSIDE_CONTROL = "outside_control"
STRADDLING = "straddling"
UNCERTAIN = "uncertain"
BECAME_INVALID = "became_invalid"
BAD_COORDINATES = "bad_coordinates"
GEOMETRY_TYPE = "geometry_type"
NO_GEOMETRY = "no_geometry"

Blocks = NDArray[np.str_]


class Rigidly(Protocol):
    """Moves whole features of a batch, where that fits the field."""

    def fits(self, feature: Integers) -> NDArray[np.bool_]:
        """Which features move rigidly; the others follow the field."""
        ...

    def image(self, feature: Integers, places: Points, followed: Points) -> Points:
        """The image of ``places`` of features, by their rigid motion or as ``followed``."""
        ...


_BLOCK_TYPE = "<U16"


@dataclass(frozen=True)
class HangingNodes:
    """Vertices of other features in the middle of straight segments, sorted by segment and along it.

    Parameters
    ----------
    segment
        ``(k,)`` number of the vertex that begins the segment, counted over the whole layer in reading order.
    fraction
        ``(k,)`` how far along the segment.
    place
        ``(k, 2)`` the vertex [m].
    """

    segment: Integers
    fraction: NDArray[np.float64]
    place: Points

    @classmethod
    def none(cls) -> HangingNodes:
        """No hanging nodes."""
        return cls(np.empty(0, np.int64), np.empty(0), np.empty((0, 2)))

    def between(self, first: int, after: int) -> HangingNodes:
        """Those on segments ``first`` to ``after - 1``, numbered from ``first``."""
        low, high = np.searchsorted(self.segment, [first, after])
        return HangingNodes(self.segment[low:high] - first, self.fraction[low:high], self.place[low:high])


@dataclass(frozen=True)
class MoveRules:
    """How geometries are moved.

    Parameters
    ----------
    tolerance_m
        Largest distance between a moved edge and the exact image of the old edge.
    straddling_limit_m
        How far the pieces a feature touches may disagree about it before a person decides.
    uncertainty_limit_m
        Largest radial standard error with which a feature moves; without limit unless given.
    """

    tolerance_m: float = 0.05
    straddling_limit_m: float = 0.5
    uncertainty_limit_m: float = np.inf


@dataclass(frozen=True)
class MovedBatch:
    """A batch after the move, with one entry per feature.

    Measures of features that were not moved tell what the move would have been, NaN where there is none.
    ``blocked_by`` is empty, or why a wanted feature stayed. ``shift_m`` is the length of the mean displacement
    of the vertices, ``uncertainty_m`` and ``control_distance_m`` are the largest over the vertices,
    ``break_distance_m`` the smallest; ``straddling_m`` is the largest distance between the images that the pieces
    of the field a feature touches give to one of its vertices (0 within one piece).
    """

    geometry: pa.Array
    moved: NDArray[np.bool_]
    blocked_by: Blocks
    shift_easting_m: NDArray[np.float64]
    shift_northing_m: NDArray[np.float64]
    uncertainty_m: NDArray[np.float64]
    control_distance_m: NDArray[np.float64]
    break_distance_m: NDArray[np.float64]
    straddling_m: NDArray[np.float64]
    vertices_added: Integers
    vertices: int
    curves_kept: Integers
    curves_densified: Integers

    @property
    def shift_m(self) -> NDArray[np.float64]:
        """Length of the mean displacement [m]."""
        return np.hypot(self.shift_easting_m, self.shift_northing_m)


def move_geometries(
    array: pa.Array,
    shift_field: ShiftField,
    *,
    rules: MoveRules,
    nodes: HangingNodes | None = None,
    wanted: NDArray[np.bool_] | None = None,
    with_distances: bool = True,
    rigid: Rigidly | None = None,
    attached: Attached | None = None,
) -> MovedBatch:
    """Move the geometries of one batch.

    Parameters
    ----------
    array
        ``(n,)`` WKB or null, as binary or large binary.
    shift_field
        The shift; NaN outside what it covers.
    rules
        Tolerance and limit.
    nodes
        Hanging nodes on the segments of this batch, numbered from its first vertex.
    wanted
        ``(n,)`` which features to move; all where left out. The others are only measured.
    with_distances
        Whether to measure the distances to control and to breaks.
    rigid
        Where given, it moves whole features instead of the field where that fits: straight edges stay straight.
    attached
        Where given, its places stand in the place of the field's, and its nodes in the place of ``nodes``.
    """
    batch = WkbBatch.of(array)
    wanted = np.ones(len(batch), dtype=bool) if wanted is None else wanted
    if attached is not None:
        nodes = HangingNodes(attached.segment, attached.fraction, attached.place)
    move = _Move(batch, shift_field, rules, nodes or HangingNodes.none(), rigid, attached)
    moved = wanted & (move.blocked_by == "")
    geometry = move.written(moved)
    torn = moved & _became_invalid(array, geometry, move.straddling_m > 0)
    if torn.any():
        move.block(torn, BECAME_INVALID)
        moved = moved & ~torn
        geometry = move.written(moved)
    return MovedBatch(
        geometry=geometry,
        moved=moved,
        blocked_by=np.where(wanted, move.blocked_by, ""),
        **move.displacement(),
        **move.distances(with_distances),
        uncertainty_m=move.uncertainty_m,
        straddling_m=move.straddling_m,
        vertices=len(batch.place),
        vertices_added=np.where(moved, move.added_per_feature(), 0),
        curves_kept=np.where(moved, move.arcs_per_feature(~move.straightened), 0),
        curves_densified=np.where(moved, move.arcs_per_feature(move.straightened), 0),
    )


def _became_invalid(before: pa.Array, after: pa.Array, asked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of the ``asked`` features were valid and are not: over a break that closes, an outline may cross itself."""
    result = np.zeros(len(before), dtype=bool)
    rows = np.flatnonzero(asked)
    was, now = (shapely.is_valid(linear_copy(array.take(rows).to_pylist())[0]) for array in (before, after))
    result[rows] = was & ~now
    return result


@dataclass
class _Added:
    """Vertices to insert, in drawing order, with their images."""

    base: Integers
    fraction: NDArray[np.float64]
    before: Points
    after: Points

    @classmethod
    def none(cls) -> _Added:
        return cls(np.empty(0, np.int64), np.empty(0), np.empty((0, 2)), np.empty((0, 2)))

    @classmethod
    def joined(cls, parts: list[_Added]) -> _Added:
        base, fraction, before, after = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("base", "fraction", "before", "after")
        )
        order = np.lexsort((fraction, base))
        return cls(base[order], fraction[order], before[order], after[order])

    def take(self, rows: NDArray[np.bool_]) -> _Added:
        return _Added(self.base[rows], self.fraction[rows], self.before[rows], self.after[rows])


@dataclass
class _Move:
    """The move of one batch, worked out before anything is written."""

    batch: WkbBatch
    shift_field: ShiftField
    rules: MoveRules
    nodes: HangingNodes
    rigid: Rigidly | None
    attached: Attached | None
    blocked_by: Blocks = field(init=False)
    image: Points = field(init=False)
    added: _Added = field(init=False)
    straightened: NDArray[np.bool_] = field(init=False)
    straddling_m: NDArray[np.float64] = field(init=False)
    uncertainty_m: NDArray[np.float64] = field(init=False)
    _once: Points = field(init=False)
    _number: Integers = field(init=False)

    def __post_init__(self) -> None:
        self.blocked_by = np.full(len(self.batch), "", dtype=_BLOCK_TYPE)
        self.straightened = np.zeros(len(self.batch.runs), dtype=bool)
        self.straddling_m = np.zeros(len(self.batch))
        self._block_what_has_no_place()
        rows, self._number = distinct_rows(self.batch.place)
        self._once = self.batch.place[rows]
        self.image = self._at_vertices(self.shift_field)
        self.block(self.batch.feature[np.isnan(self.image[:, 0])], OUTSIDE_CONTROL)
        if self.rigid is not None:
            self.image = self.rigid.image(self.batch.feature, self.batch.place, self.image)
        self.added = self._find_added()
        self.block(self.batch.feature[self.added.base[np.isnan(self.added.after[:, 0])]], OUTSIDE_CONTROL)
        self._measure_straddling()
        if self.attached is not None:
            self._attach(self.attached)
        self.uncertainty_m = self._largest(self._at_vertices(self.shift_field.uncertainty))
        self.block(self.uncertainty_m > self.rules.uncertainty_limit_m, UNCERTAIN)

    def block(self, features: NDArray[np.int_] | NDArray[np.bool_], reason: str) -> None:
        free = self.blocked_by[features] == ""
        self.blocked_by[features] = np.where(free, reason, self.blocked_by[features])

    def _block_what_has_no_place(self) -> None:
        batch = self.batch
        self.block(batch.runs.trouble == Trouble.TYPE, GEOMETRY_TYPE)
        self.block(batch.runs.trouble == Trouble.BROKEN, BAD_COORDINATES)
        self.block(batch.feature[~is_place(batch.place)], BAD_COORDINATES)
        self.block(np.bincount(batch.feature, minlength=len(batch)) == 0, NO_GEOMETRY)

    def _at_vertices(self, measure: Callable[[Points], NDArray[Any]]) -> NDArray[Any]:
        """``measure`` at every vertex, asked once for each place."""
        return measure(self._once).take(self._number, axis=0)

    # Vertices to insert.

    def _find_added(self) -> _Added:
        movable = self.blocked_by == ""
        if self.rigid is not None:
            movable &= ~self.rigid.fits(np.arange(len(self.batch)))
        hanging = self._hanging(movable)
        straight = self._along_segments(movable, hanging)
        return _Added.joined([hanging, straight, self._along_arcs(movable)])

    def _hanging(self, movable: NDArray[np.bool_]) -> _Added:
        nodes = self.nodes
        use = movable[self.batch.feature[nodes.segment]]
        place = nodes.place[use]
        return _Added(nodes.segment[use], nodes.fraction[use], place, self.shift_field(place))

    def _along_segments(self, movable: NDArray[np.bool_], hanging: _Added) -> _Added:
        """Vertices between neighbours, where hanging nodes count as neighbours already."""
        batch = self.batch
        plain = batch.is_segment & movable[batch.feature]
        plain[hanging.base] = False
        place, image = batch.place, self.image
        # Most segments are settled by their length alone, which is cheaper than to take them out first.
        plain[:-1] &= is_long(self.shift_field, np.diff(place, axis=0), self._tolerance) | runs_beside_break(
            self.shift_field, place[:-1], place[1:]
        )
        start = np.flatnonzero(plain)
        bent = find_insertions(
            self.shift_field,
            place[start],
            place[start + 1],
            image[start],
            image[start + 1],
            tolerance_m=self._tolerance,
        )
        added = _Added(start[bent.segment], bent.fraction, bent.before, bent.after)
        return _Added.joined([added, self._along_noded(hanging)]) if len(hanging.base) else added

    def _along_noded(self, hanging: _Added) -> _Added:
        """The same for the segments that hanging nodes divide."""
        noded = np.unique(hanging.base)
        begin = _Added(noded, np.zeros(len(noded)), self.batch.place[noded], self.image[noded])
        end = _Added(noded, np.ones(len(noded)), self.batch.place[noded + 1], self.image[noded + 1])
        chain = _Added.joined([begin, hanging, end])
        low = np.flatnonzero(chain.base[1:] == chain.base[:-1])
        low = low[np.isfinite(chain.after[low, 0]) & np.isfinite(chain.after[low + 1, 0])]
        high = low + 1
        bent = find_insertions(
            self.shift_field,
            chain.before[low],
            chain.before[high],
            chain.after[low],
            chain.after[high],
            tolerance_m=self._tolerance,
        )
        low, high = low[bent.segment], high[bent.segment]
        fraction = chain.fraction[low] + bent.fraction * (chain.fraction[high] - chain.fraction[low])
        return _Added(chain.base[low], fraction, bent.before, bent.after)

    @property
    def _tolerance(self) -> float:
        return self.rules.tolerance_m

    def _along_arcs(self, movable: NDArray[np.bool_]) -> _Added:
        """Vertices of arcs whose images are no arcs; marks their runs as straightened."""
        batch = self.batch
        runs = np.flatnonzero((batch.runs.kind == Kind.ARCS) & movable[batch.runs.feature] & (batch.runs.count >= 3))
        if not len(runs):
            return _Added.none()
        number = (batch.runs.count[runs] - 1) // 2
        run = np.repeat(runs, number)
        start = batch.first[run] + 2 * (np.arange(len(run)) - np.repeat(np.cumsum(number) - number, number))
        places = (batch.place[start], batch.place[start + 1], batch.place[start + 2])
        images = (self.image[start], self.image[start + 1], self.image[start + 2])
        self.straightened[run[~stays_arc(self.shift_field, places, images, self._tolerance)]] = True
        drawn = start[self.straightened[run]]
        arc, half, place = chords(batch.place[drawn], batch.place[drawn + 1], batch.place[drawn + 2], self._tolerance)
        second = half >= 1
        return _Added(drawn[arc] + second, half - second, place, self.shift_field(place))

    # What is attached to the map.

    def _attach(self, attached: Attached) -> None:
        """Put vertices and nodes where they are attached.

        Vertices that follow the bend of the shift are carried along between them, or left out on a line of the map.
        """
        vertices = np.arange(len(self.batch.place), dtype=float)
        known = np.concatenate([vertices, attached.segment + attached.fraction])
        straight = np.concatenate([attached.is_straight, attached.node_is_straight])
        by_shift = np.concatenate([self.image, self.shift_field(attached.place)])
        by_map = np.concatenate([attached.image, attached.node_image])
        change = np.where(np.isfinite(by_map[:, :1]), by_map - by_shift, 0.0)
        order = np.argsort(known, kind="stable")
        known, straight, change, by_map = known[order], straight[order], change[order], by_map[order]
        key = self.added.base + self.added.fraction
        at = np.searchsorted(known, key, side="right") - 1
        is_node = known[at] == key
        self.added.after += np.stack([np.interp(key, known, axis) for axis in change.T], axis=1)
        exact = is_node & np.isfinite(by_map[at, 0])
        self.added.after[exact] = by_map[at[exact]]
        self.image = np.where(np.isfinite(attached.image), attached.image, self.image)
        self.added = self.added.take(is_node | ~straight[at])

    # Pieces of the field.

    def _measure_straddling(self) -> None:
        if isinstance(self.shift_field, OnePiece):
            return
        batch = self.batch
        feature = np.concatenate([batch.feature, batch.feature[self.added.base]])
        piece = np.concatenate([self._at_vertices(self.shift_field.piece), self.shift_field.piece(self.added.before)])
        if not len(piece) or (piece == piece[0]).all():
            return
        touched = self._pieces_touched(feature, piece)
        if len(touched):
            self._disagree(touched)
        self.block(self.straddling_m > self.rules.straddling_limit_m, STRADDLING)

    def _pieces_touched(self, feature: Integers, piece: NDArray[np.int_]) -> Integers:
        """Pairs (feature, piece) ``(k, 2)`` of the features that may move and touch more than one piece."""
        free = (self.blocked_by == "")[feature] & (piece >= 0)
        span = int(piece.max(initial=0)) + 1
        pairs = np.stack(np.divmod(np.unique(feature[free] * span + piece[free]), span), axis=1)
        several = np.bincount(pairs[:, 0], minlength=len(self.batch)) > 1
        return pairs[several[pairs[:, 0]]]

    def _disagree(self, touched: Integers) -> None:
        """Set ``straddling_m`` from the images of every vertex under each piece that its feature touches."""
        batch = self.batch
        features, first = np.unique(touched[:, 0], return_index=True)
        counts = np.diff(np.append(first, len(touched)))
        vertex = np.flatnonzero(np.isin(batch.feature, features))
        place, row = batch.place[vertex], np.searchsorted(features, batch.feature[vertex])
        images = []
        for turn in range(int(counts.max())):
            piece = touched[first + np.minimum(turn, counts - 1), 1]
            images.append(self.shift_field.in_piece(place, piece[row]))
        for i, image in enumerate(images):
            for other in images[:i]:
                # A piece that says nothing about a vertex disagrees without limit.
                gap = np.nan_to_num(np.hypot(*(image - other).T), nan=np.inf)
                np.maximum.at(self.straddling_m, batch.feature[vertex], gap)

    # The outcome.

    def written(self, moved: NDArray[np.bool_]) -> pa.Array:
        """The WKB with the features ``moved`` at their new places."""
        batch = self.batch
        goes = moved[batch.feature]
        place = np.where(goes[:, None], self.image, batch.place)
        added = self.added.take(goes[self.added.base])
        straightened = self.straightened & moved[batch.runs.feature]
        if not len(added.base) and not straightened.any():
            return batch.with_places(place)
        base = np.concatenate([np.arange(len(place)), added.base])
        fraction = np.concatenate([np.zeros(len(place)), added.fraction])
        at = added.base + np.arange(len(added.base)) + 1
        order = np.ones(len(base), dtype=bool)
        order[at] = False
        arranged = [np.empty_like(column) for column in (base, fraction)] + [np.empty((len(base), 2))]
        for column, old, new in zip(
            arranged,
            (base[: len(place)], fraction[: len(place)], place),
            (added.base, added.fraction, added.after),
            strict=True,
        ):
            column[order], column[at] = old, new
        return batch.with_vertices(Vertices(*arranged), straightened)

    def displacement(self) -> dict[str, NDArray[np.float64]]:
        """The mean displacement of the vertices of every feature; NaN where a vertex has none."""
        shift = self.image - self.batch.place
        count = np.bincount(self.batch.feature, minlength=len(self.batch))
        with np.errstate(invalid="ignore", divide="ignore"):
            east, north = (
                np.bincount(self.batch.feature, weights=axis, minlength=len(self.batch)) / count for axis in shift.T
            )
        return {"shift_easting_m": east, "shift_northing_m": north}

    def distances(self, wanted: bool) -> dict[str, NDArray[np.float64]]:
        """The distances to control and to breaks per feature; NaN where they are not ``wanted``."""
        nothing = np.full(len(self.batch), np.nan)
        found = {"control_distance_m": nothing, "break_distance_m": nothing}
        break_distance_m: Callable[[Points], NDArray[np.float64]] | None
        break_distance_m = getattr(self.shift_field, "break_distance_m", None)
        if wanted:
            found["control_distance_m"] = self._largest(self._at_vertices(self.shift_field.control_distance_m))
        if wanted and break_distance_m is not None:
            found["break_distance_m"] = -self._largest(-self._at_vertices(break_distance_m))
        return found

    def _largest(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        largest = np.full(len(self.batch), np.nan)
        feature = self.batch.feature
        if len(feature):
            first = np.flatnonzero(np.r_[True, feature[1:] != feature[:-1]])
            largest[feature[first]] = np.maximum.reduceat(value, first)
        return largest

    def added_per_feature(self) -> Integers:
        """Vertices to insert in every feature."""
        return np.bincount(self.batch.feature[self.added.base], minlength=len(self.batch))

    def arcs_per_feature(self, runs: NDArray[np.bool_]) -> Integers:
        """Runs of arcs of every feature, of those marked."""
        chosen = runs & (self.batch.runs.kind == Kind.ARCS)
        return np.bincount(self.batch.runs.feature[chosen], minlength=len(self.batch))

"""Tiles that were true before: every link of theirs says that nothing moved, and their edge is a break.

A tile mapped anew before the improvement stays where it is while the land around it moves. No search is needed for
the line between: it is the edge of the tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from shapely import ops

from qa.breaks import find_breaks
from transforms.breaks import Breaks
from transforms.contract import Control, Points

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]

LEAST_LINKS = 10
UNMOVED_M = 0.011
"""Links are written to the centimetre."""

UNMOVED_SHARE = 0.9
"""Share of a tile's links that must not move; among the others may be errors."""

BESIDE = 8
"""Control beside an edge that tells how far the land there moved."""

OUTSIDE_M = 1.0


def unmoved_tiles(control: Control, tile_extent: Floats) -> Floats:
    """Extents ``(k, 4)`` of the tiles whose links say that they did not move.

    Parameters
    ----------
    control
        Control points.
    tile_extent
        ``(n, 4)`` extent in metres of the tile that each row's file is named after; NaN where there is none.
    """
    named = np.isfinite(tile_extent).all(axis=1)
    tiles, number = np.unique(tile_extent[named], axis=0, return_inverse=True)
    unmoved = np.hypot(*control.shift[named].T) <= UNMOVED_M
    links = np.bincount(number.ravel(), minlength=len(tiles))
    still = np.bincount(number.ravel(), unmoved, minlength=len(tiles))
    return np.asarray(tiles[(still >= LEAST_LINKS) & (still >= UNMOVED_SHARE * links)])


def find_breaks_about(control: Control, unmoved: Floats, seed: int = 0) -> Breaks:
    """The breaks that the control shows, and the edges of tiles that did not move.

    Parameters
    ----------
    control
        Control points.
    unmoved
        ``(k, 4)`` extents of tiles that did not move, metres.
    seed
        As for ``find_breaks``.
    """
    tiles = shapely.union_all(shapely.box(*unmoved.T))
    others = control.take(~shapely.intersects_xy(tiles, *control.before.T))
    if len(others) in (0, len(control)):
        return find_breaks(control, seed)
    return _set_apart(find_breaks(others, seed), tiles, others)


def _set_apart(breaks: Breaks, tiles: shapely.Geometry, others: Control) -> Breaks:
    """``breaks`` without what lies in ``tiles``, and with the edges of these, each a piece of its own."""
    kept = [(part, number) for number, line in enumerate(breaks.lines) for part in _outside(line, tiles)]
    whole = np.array([number for _, number in kept], dtype=int)
    edges = [(part, k) for k, tile in enumerate(shapely.get_parts(tiles)) for part in _edges(tile, breaks)]
    middles = np.array([ops.substring(line, 0.5, 0.5, normalized=True).coords[0] for line, _ in edges])
    jump_m = _moved_m(others, middles)
    return Breaks(
        tuple(part for part, _ in kept) + tuple(shapely.get_coordinates(line) for line, _ in edges),
        np.concatenate([breaks.left[whole], np.array([breaks.count + k for _, k in edges])]),
        np.concatenate([breaks.right[whole], breaks.piece(_just_outside(middles, tiles))]),
        np.concatenate([breaks.jump_m[whole], jump_m]),
        # Beside the edge a place of the old map may have been drawn on either.
        tuple(_half_width_m(breaks, number, part) for part, number in kept)
        + tuple(
            np.full(shapely.get_num_coordinates(line), jump) for (line, _), jump in zip(edges, jump_m, strict=True)
        ),
        breaks.count + len(shapely.get_parts(tiles)),
    )


def _half_width_m(breaks: Breaks, number: int, part: Points) -> Floats:
    """That of the nearest vertex of the line for each vertex of a part of it, ``(k,)``."""
    return breaks.half_width_m[number][cKDTree(breaks.lines[number]).query(part)[1]]


def _outside(line: Points, tiles: shapely.Geometry) -> Iterator[Points]:
    outside = shapely.difference(shapely.LineString(line), tiles)
    if not outside.is_empty:
        yield from (shapely.get_coordinates(part) for part in shapely.get_parts(outside))


def _edges(tile: shapely.Geometry, breaks: Breaks) -> Iterator[shapely.Geometry]:
    """The rings of a tile, the tile on their left, cut where a break meets them."""
    lines = shapely.MultiLineString([shapely.LineString(line) for line in breaks.lines])
    outline = shapely.orient_polygons(tile)
    for ring in (outline.exterior, *outline.interiors):
        met = shapely.get_coordinates(shapely.intersection(ring, lines))
        along = np.unique([0.0, ring.length, *shapely.line_locate_point(ring, shapely.points(met))])
        for begin, end in pairwise(along.tolist()):
            yield ops.substring(ring, begin, end)


def _just_outside(edge: Points, tiles: shapely.Geometry) -> Points:
    """For places on the edge of ``tiles`` the nearest ones a little outside."""
    around = shapely.buffer(tiles, OUTSIDE_M, join_style="mitre").boundary
    nearest = shapely.line_interpolate_point(around, shapely.line_locate_point(around, shapely.points(edge)))
    return np.asarray(shapely.get_coordinates(nearest))


def _moved_m(control: Control, places: Points) -> Floats:
    """How far the control nearest to each place moved, on the whole, ``(n,)`` [m]."""
    near = cKDTree(control.before).query(places, min(BESIDE, len(control)))[1].reshape(len(places), -1)
    return np.hypot(*np.median(control.shift[near], axis=1).T)

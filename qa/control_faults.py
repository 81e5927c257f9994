"""Faults of control that show without a fitted shift: lengths, files in the wrong place, repeats, swapped columns.

Each function answers for every row, ``(n,)`` of bool. What to do about it is decided in ``qa.control``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from transforms.contract import Control, Points

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]
Mask = NDArray[np.bool_]

SAME_PLACE_M = 0.011
"""Link files are written to the centimetre."""

EDGE_M = 100.0
"""A link that belongs to a tile may start this far outside it; OS left out what lay within 100 m of an edge."""

LEAST_FILE = 4
"""Rows a file needs to be judged as a whole."""

REVERSED_SHARE = 0.4
"""A swapped file fits its neighbours, once swapped back, at least this much better."""

AROUND = 8
KINDEST = 2
"""Of this many links of other files about a row, which one (counted from the best) says how well it fits as read."""

MOST_ASKED = 200
"""Rows of a file that are compared with its surroundings: a median over more says nothing new."""


def is_not_finite(control: Control) -> Mask:
    """Rows with a missing or infinite coordinate."""
    return np.asarray(~np.isfinite(np.hstack([control.before, control.after])).all(axis=1))


def length_m(control: Control) -> Floats:
    """Length of each link in metres; infinite for rows that are not finite."""
    return np.where(is_not_finite(control), np.inf, np.hypot(*control.shift.T))


def is_outside_tile(control: Control, file: Ints, tile_extent: Floats) -> Mask:
    """Rows whose old place lies outside the tile that their file is named after.

    A few rows must be well outside; where most of a file is outside its tile, all that are count.

    Parameters
    ----------
    file
        ``(n,)`` number of the file.
    tile_extent
        ``(n, 4)`` lowest easting, northing, highest easting, northing; NaN where the name tells no tile.
    """
    low, high = tile_extent[:, :2] - control.before, control.before - tile_extent[:, 2:]
    outside_m = np.nan_to_num(np.maximum(low, high).max(axis=1), nan=-1.0)
    mostly = _share(outside_m > EDGE_M, file) > 0.5
    return (outside_m > EDGE_M) | (mostly & (outside_m > 0))


def _share(mask: Mask, file: Ints) -> Floats:
    """Share of each row's file for which ``mask`` holds."""
    return (np.bincount(file, mask) / np.maximum(np.bincount(file), 1))[file]


def place_number(places: Points) -> Ints:
    """The same number for rows at the same place (to the centimetre), ``(n,)``."""
    rounded = np.round(np.nan_to_num(places) * 100.0).astype(np.int64)
    order = np.lexsort(rounded.T)
    steps = np.append(False, (np.diff(rounded[order], axis=0) != 0).any(axis=1))[: len(order)]
    number = np.empty(len(places), dtype=int)
    number[order] = np.cumsum(steps)
    return number


def repeats_earlier_row(control: Control) -> Mask:
    """Rows that say again what an earlier row said, as links at seams do."""
    number = place_number(np.hstack([control.before, control.after]))
    repeated = np.ones(len(control), dtype=bool)
    repeated[np.unique(number, return_index=True)[1]] = False
    return repeated


def is_in_repeated_file(control: Control, file: Ints) -> Mask:
    """Repeating rows of files of which every row repeats another file: a file delivered twice."""
    number = place_number(np.hstack([control.before, control.after]))
    pairs = np.unique(np.stack([number, file], axis=1), axis=0)
    elsewhere = (np.bincount(pairs[:, 0]) > 1)[number]
    whole = (_share(elsewhere, file) == 1.0) & (np.bincount(file)[file] >= LEAST_FILE)
    return whole & repeats_earlier_row(control)


def is_swapped_file(control: Control, file: Ints, judged: Mask) -> Mask:
    """Rows of files in which old and new are exchanged throughout.

    Such a file shifts against all its surroundings: turned round, it agrees with the control of the files
    about it. A file that did not move reads the same both ways and is never taken for swapped.

    Parameters
    ----------
    judged
        ``(n,)`` rows to consider, the others being bad already.
    """
    swapped = np.zeros(len(control), dtype=bool)
    asked = np.flatnonzero(np.bincount(file, judged) >= LEAST_FILE) if len(control) else np.empty(0, dtype=int)
    doubt = np.ones(len(control) and file.max() + 1)
    while len(asked):
        doubt[asked] = _reversal(control, file, np.flatnonzero(judged & ~swapped), asked)
        clearest = int(doubt.argmin())
        if doubt[clearest] >= REVERSED_SHARE:
            break
        # The clearest goes first: beside a file that is the wrong way round a good one looks reversed itself.
        swapped |= judged & (file == clearest)
        doubt[clearest] = 1.0
        asked = np.flatnonzero(doubt < 1.0)
    return swapped


def _reversal(control: Control, file: Ints, rows: Ints, asked: Ints) -> Floats:
    """How far each file is from its surroundings if turned round, over how far it is as read, ``(len(asked),)``."""
    tree = cKDTree(control.before[rows])
    order = rows[np.argsort(file[rows], kind="stable")]
    members = np.split(order, np.searchsorted(file[order], np.arange(1, file.max() + 1)))
    return np.array([_reversal_of_one(control, file, members[number], rows, tree) for number in asked])


def _reversal_of_one(control: Control, file: Ints, mine: Ints, rows: Ints, tree: cKDTree) -> float:
    mine = mine[:: -(-len(mine) // MOST_ASKED)]
    near = _links_around(control, file, mine, rows, tree)
    if near is None:
        return 1.0
    expected = control.shift[near]
    as_read = np.linalg.norm(control.shift[mine][:, None] - expected, axis=2)
    turned = np.hypot(*(control.shift[mine] + np.median(expected, axis=1)).T)
    # A strip of another sheet disagrees with most links about it, yet always with some it agrees.
    kindest = np.sort(as_read, axis=1)[:, KINDEST - 1]
    return float(np.median(turned) / max(np.median(kindest), 1e-9))


def _links_around(control: Control, file: Ints, mine: Ints, rows: Ints, tree: cKDTree) -> Ints | None:
    """Eight links or more of other files about each row of one file, ``(m, k)``; None where there are too few.

    Every other file says as much as another: a dense file that is the wrong way round must not outvote the rest.
    """
    places = control.before[mine]
    middle, reach = places.mean(axis=0), np.hypot(*np.ptp(places, axis=0))
    around = rows[tree.query_ball_point(middle, max(1.5 * reach, 500.0))]
    others = around[file[around] != file[mine[0]]]
    if len(others) < AROUND:
        return None
    others = others[np.argsort(file[others], kind="stable")]
    of_file = np.split(others, np.flatnonzero(np.diff(file[others])) + 1)
    each = max(KINDEST, -(-AROUND // len(of_file)))
    nearest = [_nearest(control, of_one, places, each) for of_one in of_file]
    distance = np.concatenate([found[0] for found in nearest], axis=1)
    link = np.concatenate([found[1] for found in nearest], axis=1)
    return np.take_along_axis(link, np.argsort(distance, axis=1)[:, :AROUND], axis=1)


def _nearest(control: Control, rows: Ints, places: Points, count: int) -> tuple[Floats, Ints]:
    """Distance and row of the ``count`` links nearest to each place, ``(m, <= count)`` both."""
    distance, link = cKDTree(control.before[rows]).query(places, np.arange(1, min(count, len(rows)) + 1))
    return distance, rows[link]


def crosses_another(control: Control, rows: Ints, reach_m: float) -> Mask:
    """Whether the link at each of ``rows`` crosses a link that starts within ``reach_m`` of it, ``(len(rows),)``."""
    crosses = np.zeros(len(rows), dtype=bool)
    usable = np.flatnonzero(length_m(control) <= reach_m)
    asked = np.flatnonzero(np.isin(rows, usable))
    if len(asked) == 0:
        return crosses
    tree = cKDTree(control.before[usable])
    near = tree.query_ball_point(control.before[rows[asked]], reach_m)
    one = np.repeat(asked, [len(found) for found in near])
    two = usable[np.concatenate([np.asarray(found, dtype=int) for found in near])]
    cut = _segments_cross(control, rows[one], two)
    crosses[one[cut]] = True
    return crosses


def _segments_cross(control: Control, one: Ints, two: Ints) -> Mask:
    a, b, c, d = control.before[one], control.after[one], control.before[two], control.after[two]
    return (_turn(a, b, c) * _turn(a, b, d) < 0) & (_turn(c, d, a) * _turn(c, d, b) < 0)


def _turn(start: Points, end: Points, place: Points) -> Floats:
    along, offset = end - start, place - start
    return along[:, 0] * offset[:, 1] - along[:, 1] * offset[:, 0]

"""Is each control point to be believed? A verdict and its reasons for every row.

Three things are kept apart: a single point that disagrees with all its neighbours is an error; a few that
disagree together are shown to the officer; a whole side that disagrees with the other side is a break
(``qa.breaks``) and no error at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from qa.control_faults import (
    SAME_PLACE_M,
    crosses_another,
    is_in_repeated_file,
    is_not_finite,
    is_outside_tile,
    is_swapped_file,
    length_m,
    place_number,
    repeats_earlier_row,
)
from qa.residuals import Residuals, leave_one_out
from qa.tails import false_alarm_limit
from qa.unmoved_tiles import find_breaks_about, unmoved_tiles
from transforms.breaks import Breaks
from transforms.contract import Control, Points

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]
Mask = NDArray[np.bool_]

REASONS: dict[str, str] = {
    "not_finite": "A coordinate is missing.",
    "too_long": "The link is longer than any shift of this map; a digit is probably lost or exchanged.",
    "long": "The link is longer than the map usually moved.",
    "content_of_another_tile": "The link lies outside the tile that its file is named after, or its file "
    "repeats another file.",
    "columns_swapped": "Old and new positions are exchanged throughout this file.",
    "two_targets": "Another link starts at the same old position and leads elsewhere.",
    "two_origins": "Another link leads to the same new position from elsewhere.",
    "gross_error": "The shift disagrees with all its neighbours.",
    "doubtful": "The shift disagrees with its neighbours by a little more than their noise explains.",
    "cluster": "A few neighbouring links agree with each other but not with those around them: an error of a "
    "few, or a small piece that moved differently.",
    "crosses": "The link crosses another link.",
    "repeated": "The same link is given by an earlier row; it counts once.",
    "too_few_neighbours": "Too few links are near to judge this one.",
}
"""Every reason code and the sentence an officer reads."""

LARGEST_CLUSTER = 5
"""More links than this that agree among themselves are a piece of land, not a cluster."""

CERTAIN = 1.25
"""A residual this many times the limit of doubt is rejected, not merely suspected."""

LEAST_PAIRS = 20
"""Pairs of different targets for one place that are reckoned with at least, where chance is asked how far apart the
farthest good pair lies."""


@dataclass(frozen=True)
class ControlJudgement:
    """What is thought of each control point.

    Parameters
    ----------
    verdict
        ``(n,)`` ``used``, ``suspect`` (left out until an officer decides) or ``rejected``.
    reasons
        For each row the codes of ``REASONS`` that apply, the gravest first; empty for most.
    residual_m
        ``(n,)`` length in metres of the leave-one-out residual; NaN where it cannot be judged.
    standardised_residual
        ``(n,)`` the same over the local noise per axis.
    breaks
        The breaks across which neighbours were not compared.
    """

    verdict: NDArray[np.str_]
    reasons: list[list[str]]
    residual_m: Floats
    standardised_residual: Floats
    breaks: Breaks


def judge_control(
    control: Control,
    *,
    file: NDArray[np.str_] | Ints,
    length_warn_m: float = 6.5,
    length_reject_m: float = 10.0,
    breaks: Breaks | None = None,
    tile_extent: Floats | None = None,
) -> ControlJudgement:
    """Judge every control point against its file, its neighbours and the breaks.

    Parameters
    ----------
    control
        All control points, of all files.
    file
        ``(n,)`` name or number of the file that each row came from.
    length_warn_m, length_reject_m
        Links longer than these in metres are named, and rejected. Other nets move further.
    breaks
        Lines the shift jumps across; found from the control where not given.
    tile_extent
        ``(n, 4)`` extent in metres of the tile that each row's file is named after; NaN where there is none.
    """
    number = np.unique(np.asarray(file), return_inverse=True)[1].ravel() if len(control) else np.empty(0, int)
    found = _file_faults(control, number, length_reject_m, tile_extent)
    trusted = ~np.logical_or.reduce(list(found.values()))
    found["repeated"] = trusted & repeats_earlier_row(control)
    if breaks is None:
        tiles = np.full((len(control), 4), np.nan) if tile_extent is None else tile_extent
        known = control.take(trusted)
        breaks = find_breaks_about(known, unmoved_tiles(known, tiles[trusted]))
    residuals = leave_one_out(control, trusted & ~found["repeated"], breaks)
    found |= _disagreements(control, residuals, trusted, length_warn_m, length_reject_m)
    verdict = _verdicts(found, len(control))
    codes = [code for code in REASONS if code in found]
    flags = np.stack([found[code] for code in codes], axis=1)
    reasons: list[list[str]] = [[] for _ in range(len(control))]
    for row, column in np.argwhere(flags).tolist():
        reasons[row].append(codes[column])
    return ControlJudgement(verdict, reasons, residuals.length_m, residuals.standardised, breaks)


REJECTING = ("not_finite", "too_long", "content_of_another_tile", "columns_swapped", "gross_error")
SUSPECTING = ("doubtful", "cluster")


def _verdicts(found: dict[str, Mask], count: int) -> NDArray[np.str_]:
    verdict = np.full(count, "used", dtype="<U8")
    unproven = found["long"] & found["too_few_neighbours"]
    verdict[np.logical_or.reduce([unproven, *(found[code] for code in SUSPECTING)])] = "suspect"
    verdict[np.logical_or.reduce([found[code] for code in REJECTING])] = "rejected"
    return verdict


def _file_faults(control: Control, file: Ints, length_reject_m: float, tile_extent: Floats | None) -> dict[str, Mask]:
    found = {"not_finite": is_not_finite(control)}
    found["too_long"] = ~found["not_finite"] & (length_m(control) > length_reject_m)
    foreign = is_in_repeated_file(control, file)
    if tile_extent is not None:
        foreign = is_outside_tile(control, file, tile_extent) | (foreign & np.isnan(tile_extent).any(axis=1))
    found["content_of_another_tile"] = foreign & ~found["not_finite"]
    sound = ~np.logical_or.reduce(list(found.values()))
    found["columns_swapped"] = is_swapped_file(control, file, sound)
    return found


def _disagreements(
    control: Control, residuals: Residuals, trusted: Mask, length_warn_m: float, length_reject_m: float
) -> dict[str, Mask]:
    """The faults that show only against the neighbours."""
    z = np.where(trusted, residuals.standardised, np.nan)
    limit = false_alarm_limit(z[np.isfinite(z)])
    two_targets = _loses_conflict(control.before, control.after, residuals, trusted)
    two_origins = _loses_conflict(control.after, control.before, residuals, trusted)
    off = (z > limit) | two_targets | two_origins
    clustered = off & _is_clustered(control.before, residuals.vector, off)
    certain = ((z > CERTAIN * limit) | two_targets | two_origins) & ~clustered
    rows = np.flatnonzero(off)
    crosses = np.zeros(len(control), dtype=bool)
    crosses[rows] = crosses_another(control, rows, length_reject_m)
    length = length_m(control)
    return {
        "two_targets": two_targets,
        "two_origins": two_origins,
        "gross_error": certain,
        "doubtful": off & ~certain & ~clustered,
        "cluster": clustered,
        "crosses": crosses,
        "long": trusted & (length > length_warn_m) & (length <= length_reject_m),
        "too_few_neighbours": trusted & np.isnan(residuals.standardised),
    }


def _loses_conflict(places: Points, targets: Points, residuals: Residuals, trusted: Mask) -> Mask:
    """Rows that share their place with another row, differ from it in target and fit their neighbours less well.

    Where no neighbour can tell, all but the first lose: of two contradicting links one at most is used.
    """
    loses = np.zeros(len(places), dtype=bool)
    rows = np.flatnonzero(trusted)
    number = place_number(places[rows])
    shared = np.bincount(number)[number] > 1 if len(rows) else np.empty(0, dtype=bool)
    rows, number = rows[shared], number[shared]
    order = np.lexsort((np.nan_to_num(residuals.length_m[rows], nan=np.inf), number))
    rows, number = rows[order], number[order]
    first = np.append(True, np.diff(number) > 0)[: len(rows)]
    best = np.maximum.accumulate(np.where(first, np.arange(len(rows)), 0))
    apart = np.hypot(*(targets[rows] - targets[rows[best]]).T)
    noise_m = np.nan_to_num(residuals.length_m[rows] / np.maximum(residuals.standardised[rows], 1e-9))
    pairs = max(int((apart > SAME_PLACE_M).sum()), LEAST_PAIRS)
    # Of so many good pairs about one is farther apart than this: links and base maps share thousands of places.
    farthest = np.sqrt(2.0 * np.log(pairs))
    loses[rows[~first & (apart > farthest * np.hypot(noise_m, noise_m[best]))]] = True
    return loses


def _is_clustered(points: Points, vector: Points, off: Mask) -> Mask:
    """Of the rows that are ``off``, those of which a near one is off in the same way."""
    clustered = np.zeros(len(points), dtype=bool)
    rows = np.flatnonzero(off & np.isfinite(vector).all(axis=1))
    everyone = np.flatnonzero(np.isfinite(points).all(axis=1))
    if len(rows) < 2 or len(everyone) <= LARGEST_CLUSTER:
        return clustered
    near = everyone[cKDTree(points[everyone]).query(points[rows], np.arange(2, LARGEST_CLUSTER + 2))[1]]
    alike = np.linalg.norm(vector[near] - vector[rows][:, None], axis=2)
    same = off[near] & (alike < 0.3 * np.linalg.norm(vector[rows], axis=1)[:, None])
    apart = np.hypot(*np.moveaxis(points[near] - points[rows][:, None], 2, 0)) > 0.011
    clustered[rows] = (same & apart).any(axis=1)
    return clustered

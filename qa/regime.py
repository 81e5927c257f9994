"""The regime of every feature: was it drawn on the old map, does it stay, is it already new, or can nobody tell.

What is known of a feature's capture (date, method, scale), how it lies on the old and on the new base map, and whether
the map moved there at all. The chances themselves are computed in ``origin.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import shapely
from numpy.typing import NDArray

from qa.base_maps import BaseMaps, Geometries
from qa.captures import Evidence
from qa.coincidence import Vertices, coincidence_m
from qa.dates import DateRecord
from qa.layer_offset import displaced
from qa.limits import Limits
from qa.origin import (
    DATED_AFTER,
    DATED_BEFORE,
    LISTED,
    MAYBE_GROUND,
    NEITHER,
    NEW,
    NOT_AFTER,
    NOT_BEFORE,
    NOTHING_SAID,
    OLD,
    TELLING_ODDS,
    UNDATED,
    VOUCHED_WRONG_RATIO,
    date_prior,
)
from qa.rounding import is_rounded
from qa.same_move import Doubted
from qa.sights import (
    SIMULATED_FEATURES,
    SIMULATED_FOR_DATES,
    TELLING_SHIFT_M,
    Alike,
    Sights,
    lie_on_old_map,
    lies_beside,
    sights,
)
from qa.whole_maps import WholeMaps
from transforms.complex_places import is_place
from transforms.contract import Points, ShiftField

AFFECTED, UNAFFECTED, ALREADY_NEW, UNKNOWN, STRADDLING = (
    "affected",
    "unaffected",
    "already_new",
    "unknown",
    "straddling",
)

REASONS = {
    "coincides_with_old_map": "It lies on the lines of the old map and not on those of the new one.",
    "coincides_with_new_map": "It lies on the lines of the new map and not on those of the old one.",
    "captured_before_new_map": "Its capture date is before the day the new map was loaded.",
    "layer_left": "The layer is to stay where it is, by its settings.",
    "left_contradicted": "The layer is to stay, by its settings, but it, or much of the layer, lies on the old map.",
    "captured_on_new_map": "Its capture date is on or after the day the new map was loaded.",
    "date_contradicted": "Its capture date says one map, but it lies on the lines of the other.",
    "dates_disproved": "What is dated like it lies, taken together, as if drawn on the other map than the date says.",
    "listing_disproved": "Nothing dates this layer, and taken together it lies as if drawn on the new map already.",
    "layer_habit": "Nothing dates it, but features of this layer captured in the same way were drawn on that map.",
    "listed_for_shifting": "Nothing dates this layer; it counts as drawn on the old map because it is listed.",
    "measured_on_ground": "It was measured on the ground, so it never followed the old map.",
    "method_contradicted": "It is said to be measured on the ground, but it, or its like together, lie on the old map.",
    "tile_contradicted": "Its tile is said never to have changed, but the two editions of the map differ there.",
    "still_contradicted": "The old and the new map agree here, but the control, or how features lie, says it moved.",
    "map_did_not_move": "The old and the new map agree here, so there is nothing to move.",
    "small_scale": "It was captured from a map of 1:10 000 or smaller, whose own error is as large as the shift.",
    "coarse_coordinates": "Its coordinates are rounded so coarsely that it may lie a metre off by that alone.",
    "maps_show_nothing": "The base maps show nothing there, or no buildings: nobody can see whether it lies rightly.",
    "origin_unknown": "Neither its date nor its place on the maps tells which map it was drawn on.",
    "displaced_together": "It lies beside its own map, as far and in the same direction as others of its layer.",
    "displaced_around": "Much of its layer lies beside both maps here and there; nothing shows that it does not.",
    "looks_misplaced": "It does not lie on either map as the other features of its layer do.",
    "no_geometry": "It has no geometry.",
}
"""Every reason this module gives, with the sentence an officer reads."""

_OF_A_DISPLACEMENT = frozenset({"dates_disproved", "listing_disproved", "method_contradicted", "still_contradicted"})
"""What lies beside both maps may lie a little nearer to the wrong one; that is no reason of its own."""

_OF_SETTINGS = {
    "captured_on_new_map": "layer_left",
    "date_contradicted": "left_contradicted",
    "dates_disproved": "left_contradicted",
}
"""Reasons that speak of a date, and their like where the settings say of a whole layer that it is to stay."""

_OFTEN_WRONG_RATIO = 0.05
"""Where more dates than that are wrong in other layers, much was shifted before, and surveys perhaps with the rest;
where more of a layer that is to stay lies on the old map, what is said of the rest is not believed either.
"""


@dataclass(frozen=True)
class Regimes:
    """The outcome for ``n`` features.

    Parameters
    ----------
    regime
        ``(n,)`` one of the five words.
    reasons
        A list of codes of ``REASONS`` per feature.
    wrong_chance_ratio
        ``(n,)`` the chance that the regime is wrong in a way that matters (0 where the map did not move).
    displaced_by_m
        ``(n, 2)`` how far it lies beside both maps along with others, easting and northing; NaN where it does not.
    """

    regime: NDArray[np.str_]
    reasons: list[list[str]]
    wrong_chance_ratio: NDArray[np.float64]
    displaced_by_m: Points

    def between(self, first: int, after: int) -> Regimes:
        """Those of the features ``first`` to ``after - 1``."""
        rows = slice(first, after)
        return Regimes(self.regime[rows], self.reasons[rows], self.wrong_chance_ratio[rows], self.displaced_by_m[rows])

    @classmethod
    def all_of(cls, count: int, regime: str, reasons: list[list[str]], wrong_chance_ratio: float) -> Self:
        """``count`` features of the same regime."""
        chance, nowhere = np.full(count, wrong_chance_ratio), np.full((count, 2), np.nan)
        return cls(np.full(count, regime, dtype="<U12"), reasons, chance, nowhere)


def classify(
    geometries: Geometries,
    evidence: Evidence,
    base: BaseMaps | None,
    field: ShiftField,
    limits: Limits,
    doubted: Doubted | None = None,
    whole: WholeMaps | None = None,
) -> Regimes:
    """Tell for every feature of a whole layer which regime it belongs to, and why.

    What lies on the old map is ``affected`` whatever its date says. The layer must be given whole: what its features
    have in common is learned from it.

    Parameters
    ----------
    geometries
        ``(n,)`` geometries at their old places; None and empty allowed.
    evidence
        What the columns say.
    base
        The old and the new map, or None: then dates and methods alone decide.
    field
        The fitted shift, which tells how far the maps lie apart where the base maps do not.
    limits
        The limits in force.
    doubted
        Where the control contradicts the base maps; None: nowhere.
    whole
        Where the base maps show all there is; None: everywhere.
    """
    regimes = _undecided(len(geometries))
    open_rows = _settle_by_columns(regimes, geometries, evidence, limits)
    for rows, layer in _kinds(geometries, evidence, base, open_rows, whole):
        _judge_alike(layer, field, limits, regimes, rows)
    _doubt_methods(geometries, evidence, base, field, limits, regimes)
    _doubt_displaced(geometries, evidence, base, regimes)
    if doubted is not None:
        _doubt_still(geometries, doubted, regimes)
    if evidence.is_to_stay:
        _doubt_settings(regimes)
    return regimes


def date_record(
    geometries: Geometries, evidence: Evidence, base: BaseMaps | None, field: ShiftField, limits: Limits
) -> DateRecord:
    """How the dates of a layer fare against its features' places, for the layers whose places tell nothing.

    Parameters
    ----------
    geometries, evidence, base, field, limits
        As for ``classify``; a few thousand features of a layer are enough.
    """
    open_rows = _settle_by_columns(_undecided(len(geometries)), geometries, evidence, limits)
    records = []
    for _, layer in _kinds(geometries, evidence, base, open_rows):
        seen = sights(layer, field, limits, SIMULATED_FOR_DATES)
        records.append(DateRecord.of(layer.dated, seen.signs, seen.origins))
    return DateRecord.together(records)


def _settle_by_columns(
    regimes: Regimes, geometries: Geometries, evidence: Evidence, limits: Limits
) -> NDArray[np.bool_]:
    """Settle what scale, coordinates and method alone decide, in place; the rows ``(n,)`` that stay open."""
    has_place = ~(shapely.is_missing(geometries) | shapely.is_empty(geometries))
    often_wrong = evidence.said_wrong_ratio > _OFTEN_WRONG_RATIO
    ground_doubt = evidence.said_wrong_ratio if often_wrong else VOUCHED_WRONG_RATIO
    open_rows = np.ones(len(geometries), dtype=bool)
    for settled, regime, reason, doubt in (
        (~has_place, UNAFFECTED, "no_geometry", 0.0),
        (evidence.small_scale(len(geometries), limits), UNKNOWN, "small_scale", 1.0),
        (_coarse(geometries, evidence, limits), UNKNOWN, "coarse_coordinates", 1.0),
        (evidence.measured_on_ground(len(geometries)), UNAFFECTED, "measured_on_ground", ground_doubt),
    ):
        _settle(regimes, settled & open_rows, regime, reason, doubt)
        open_rows &= ~settled
    return open_rows


def _kinds(
    geometries: Geometries,
    evidence: Evidence,
    base: BaseMaps | None,
    open_rows: NDArray[np.bool_],
    whole: WholeMaps | None = None,
) -> Iterator[tuple[NDArray[np.int_], Alike]]:
    """Points, and lines and areas, of the rows that are open."""
    count = len(geometries)
    dated, batch = evidence.dated(count), evidence.batch(count)
    method, unchanged = evidence.method_names(count), evidence.unchanged_tile(count)
    prior = date_prior(evidence.said_wrong_ratio, evidence.ground_ratio(count))
    is_point = shapely.get_dimensions(geometries) == 0
    is_whole = np.full(count, base is not None) if whole is None else whole.at(Vertices.of(geometries).middle())
    for are_points, kind in ((True, is_point), (False, ~is_point)):
        rows = np.flatnonzero(open_rows & kind)
        if len(rows):
            said = dated[rows], batch[rows], method[rows], evidence.says_how, prior
            seen = base, are_points, unchanged[rows], is_whole[rows]
            yield rows, Alike(geometries[rows], *said, *seen, evidence.misplaced_ratio)


def _doubt_methods(
    geometries: Geometries,
    evidence: Evidence,
    base: BaseMaps | None,
    field: ShiftField,
    limits: Limits,
    regimes: Regimes,
) -> None:
    """What is said to be measured on the ground but lies on the old map: a method as a whole, an outline by itself."""
    if base is None:
        return
    count, is_contradicted = len(geometries), np.zeros(len(geometries), dtype=bool)
    ground = np.flatnonzero(evidence.measured_on_ground(count) & (regimes.regime == UNAFFECTED))
    method = evidence.method_numbers(count)
    is_contradicted[ground] = lie_on_old_map(geometries[ground], method[ground], base, field, limits)
    outlines = ground[shapely.get_dimensions(geometries[ground]) > 0]
    vertices = Vertices.of(geometries[outlines])
    on_old, on_new = (coincidence_m(vertices, edition, False)[:, 1] for edition in (base.before, base.after))
    is_contradicted[outlines] |= (on_old <= limits.coincidence_m) & (on_new > TELLING_SHIFT_M)
    _settle(regimes, is_contradicted, UNKNOWN, "method_contradicted", 1.0)


def _doubt_still(geometries: Geometries, doubted: Doubted, regimes: Regimes) -> None:
    """Features where the maps agree that nothing moved, but the control does not."""
    points, feature = shapely.get_coordinates(geometries, return_index=True)
    is_doubted = np.isin(np.arange(len(geometries)), feature[is_place(points) & doubted.at(points)])
    is_still = np.array(["map_did_not_move" in codes for codes in regimes.reasons], dtype=bool)
    for row in np.flatnonzero(is_still & is_doubted):
        regimes.reasons[row].remove("map_did_not_move")
    _settle(regimes, is_still & is_doubted, UNKNOWN, "still_contradicted", 1.0)


def _doubt_settings(regimes: Regimes) -> None:
    """What the settings say of a whole layer was weighed as a date of each feature: put it in its own words, and where
    much of the layer lies on the old map do not believe it of what shows nothing itself.
    """
    said = regimes.reasons
    for row, codes in enumerate(said):
        is_of_new = "coincides_with_new_map" in codes
        theirs = [code for code in codes if not (is_of_new and code == "dates_disproved")]
        said[row] = list(dict.fromkeys(_OF_SETTINGS.get(code, code) for code in theirs))
    is_contradicted = np.array(["left_contradicted" in codes for codes in said], dtype=bool)
    if is_contradicted.sum() > _OFTEN_WRONG_RATIO * len(said):
        for row, codes in enumerate(said):
            if "layer_left" in codes and "coincides_with_new_map" not in codes:
                codes[codes.index("layer_left")] = "left_contradicted"
                is_contradicted[row] = True
    regimes.regime[is_contradicted], regimes.wrong_chance_ratio[is_contradicted] = UNKNOWN, 1.0


def _doubt_displaced(geometries: Geometries, evidence: Evidence, base: BaseMaps | None, regimes: Regimes) -> None:
    """Features that lie beside both maps along with their like, whatever was thought of them."""
    if base is None:
        return
    count = len(geometries)
    method, is_suspect = evidence.method_numbers(count), np.zeros(count, dtype=bool)
    is_point, batch = shapely.get_dimensions(geometries) == 0, evidence.batch(count)
    for are_points, rows in ((True, np.flatnonzero(is_point)), (False, np.flatnonzero(~is_point))):
        groups = np.zeros(len(rows), dtype=int), method[rows], batch[rows]
        found = displaced(geometries[rows], base, are_points, groups)
        regimes.displaced_by_m[rows], is_suspect[rows] = found.by_m, found.is_suspect
    has_place = ~(shapely.is_missing(geometries) | shapely.is_empty(geometries))
    regimes.displaced_by_m[~has_place] = np.nan
    for row in np.flatnonzero(np.isfinite(regimes.displaced_by_m[:, 0])):
        regimes.reasons[row] = [code for code in regimes.reasons[row] if code not in _OF_A_DISPLACEMENT]
    _settle(regimes, np.isfinite(regimes.displaced_by_m[:, 0]), UNKNOWN, "displaced_together", 1.0)
    _settle(regimes, is_suspect & has_place, UNKNOWN, "displaced_around", 1.0)


def _undecided(count: int) -> Regimes:
    return Regimes.all_of(count, UNKNOWN, [[] for _ in range(count)], 1.0)


def _settle(regimes: Regimes, rows: NDArray[np.bool_], regime: str, reason: str, doubt: float) -> None:
    regimes.regime[rows] = regime
    regimes.wrong_chance_ratio[rows] = doubt
    for row in np.flatnonzero(rows):
        regimes.reasons[row].append(reason)


def _coarse(geometries: Geometries, evidence: Evidence, limits: Limits) -> NDArray[np.bool_]:
    method = evidence.method_numbers(len(geometries))
    return is_rounded(geometries, method, limits.coarse_coordinate_m, limits.position_error_m)


def _judge_alike(layer: Alike, field: ShiftField, limits: Limits, regimes: Regimes, rows: NDArray[np.int_]) -> None:
    seen = sights(layer, field, limits, SIMULATED_FEATURES)
    is_contradicted = layer.is_unchanged & ~seen.apart.is_still & (seen.apart.usual_m > TELLING_SHIFT_M)
    is_contradicted &= layer.base is not None
    is_still = seen.apart.is_still | (layer.is_unchanged & ~is_contradicted)
    is_moved = lies_beside(layer, seen) | seen.apart.is_denied
    regime, doubt = _regimes_of(seen.origins.chances, seen.apart.farthest_m, is_still, limits)
    is_conflict = is_contradicted | is_moved
    regime, doubt = np.where(is_conflict, UNKNOWN, regime), np.where(is_conflict, 1.0, doubt)
    regimes.regime[rows], regimes.wrong_chance_ratio[rows] = regime, doubt
    reasons = _reasons_of(regime, is_still, seen, layer.dated)
    reasons |= {"tile_contradicted": is_contradicted, "still_contradicted": is_moved}
    reasons["maps_show_nothing"] = ~seen.signs.is_shown & (layer.base is not None)
    for code, mask in reasons.items():
        for row in rows[mask]:
            regimes.reasons[row].append(code)


def _regimes_of(
    chances: NDArray[np.float64], farthest_m: NDArray[np.float64], is_still: NDArray[np.bool_], limits: Limits
) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    is_old = chances[:, OLD] >= chances[:, NEW]
    likeliest = np.maximum(chances[:, OLD], chances[:, NEW])
    harmless = farthest_m < 0.5 * limits.position_error_m
    doubt = np.where(harmless | is_still, chances[:, NEITHER], 1.0 - likeliest)
    regime = np.where(is_old, AFFECTED, ALREADY_NEW)
    regime = np.where(doubt > 1.0 - limits.old_map_chance_ratio, UNKNOWN, np.where(is_still, UNAFFECTED, regime))
    return regime, doubt


def _reasons_of(
    regime: NDArray[np.str_], is_still: NDArray[np.bool_], seen: Sights, dated: NDArray[np.int_]
) -> dict[str, NDArray[np.bool_]]:
    origins, is_disproved = seen.origins, np.isin(seen.signs.dated, (NOT_BEFORE, NOT_AFTER))
    misplaced = (regime == UNKNOWN) & (origins.chances[:, NEITHER] > origins.chances[:, [OLD, NEW]].min(axis=1))
    placed = np.isin(regime, (AFFECTED, ALREADY_NEW))
    says_old, says_new = origins.place_odds > TELLING_ODDS, origins.place_odds < 1 / TELLING_ODDS
    old, new = placed & (regime == AFFECTED), placed & (regime == ALREADY_NEW)
    silent = ~(says_old & old) & ~(says_new & new)
    return {
        "coincides_with_old_map": old & says_old,
        "coincides_with_new_map": new & says_new,
        "captured_before_new_map": old & np.isin(dated, (DATED_BEFORE, MAYBE_GROUND)),
        "captured_on_new_map": new & (dated == DATED_AFTER),
        "date_contradicted": (old & (dated == DATED_AFTER)) | (new & np.isin(dated, (DATED_BEFORE, MAYBE_GROUND))),
        "dates_disproved": is_disproved & (dated != LISTED),
        "listing_disproved": is_disproved & (dated == LISTED),
        "layer_habit": placed & np.isin(dated, (UNDATED, NOTHING_SAID)) & silent,
        "listed_for_shifting": old & (dated == LISTED) & silent & ~is_disproved,
        "map_did_not_move": (regime == UNAFFECTED) & is_still,
        "looks_misplaced": misplaced,
        "origin_unknown": (regime == UNKNOWN) & ~misplaced,
    }

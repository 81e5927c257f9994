"""The outcomes of the asset checks of ``checklist.py`` after each stage.

Each shows its value and, where it has one, its limit, so that the UI plots them over layers and over time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.choices import MOVING_STRATEGIES
from pipeline.control import ControlSummary
from pipeline.dates import disproved_dates, unread_dates
from pipeline.export import ExportedLayer
from pipeline.fit import FitSummary
from pipeline.orchestration import checklist
from pipeline.orchestration.checklist import Check
from pipeline.pages.board import Board
from pipeline.quality import QualitySummary
from pipeline.reattach import ReattachSummary
from pipeline.review import Reviewed
from pipeline.sources import StagedLayer
from pipeline.storage import Migration
from qa.limits import limits_in_force
from qa.origin import USUAL_WRONG_RATIO
from qa.regime import ALREADY_NEW

_HONEST_FROM, _HONEST_TO = 0.93, 0.97
"""Of held-out control, this share should lie within the stated 95 % radius."""

_ATTACHED_SHARE = 0.9
"""Of the length that followed the old map, this share should follow the new one."""

_DISPROVED = frozenset({"dates_disproved", "left_contradicted", "listing_disproved", "method_contradicted"})

_ODD_SHARE = 0.05
"""Of a layer's features, these may lie, together, elsewhere than they should: some by chance."""

_ONE_DISPLACEMENT_M = 0.75
"""Displacements that are nearly all this near to their middle count as one."""

_MOST_SHOWN = 30
"""So many characters of a cell that cannot be read are shown."""

_SHORT_QUEUE = 20
"""So many features are soon looked at, however small the layer."""


def of_source(staged: StagedLayer) -> list[dg.AssetCheckResult]:
    """Checks on the staged copy."""
    rows = pq.read_metadata(staged.path).num_rows
    odd = staged.null_geometries + staged.invalid_geometries + staged.bad_coordinates + staged.outside_great_britain
    return [
        checklist.EVERY_FEATURE_STAGED.result(rows == staged.features, staged=rows, delivered=staged.features),
        checklist.GEOMETRIES_USABLE.result(odd == 0, unusable=odd, limit=0),
    ]


def of_control(summary: ControlSummary) -> list[dg.AssetCheckResult]:
    """Checks on the control."""
    rejected = summary.rejected / max(summary.read, 1)
    return [
        checklist.ENOUGH_CONTROL.result(summary.used >= 3, used=summary.used, least=3),
        checklist.MOST_CONTROL_GOOD.result(rejected < 0.1, rejected_share=round(rejected, 4), limit=0.1),
        checklist.FILES_READABLE.result(
            not summary.unreadable_files, unreadable=len(summary.unreadable_files), limit=0
        ),
    ]


def of_fit(migration: Migration, summary: FitSummary) -> list[dg.AssetCheckResult]:
    """Checks on the field."""
    limit_m = limits_in_force(migration.settings.limits).position_error_m
    within = summary.within_95_share.get("overall", float("nan"))
    return [
        checklist.FIELD_UNFOLDED.result(summary.folds == 0, folds=summary.folds, limit=0),
        checklist.UNCERTAINTY_HONEST.result(
            _HONEST_FROM <= within <= _HONEST_TO,
            within_95_share=round(within, 3),
            least=_HONEST_FROM,
            most=_HONEST_TO,
        ),
        checklist.FITS_HELD_OUT.result(
            summary.holdout_p95_m <= limit_m, holdout_p95_m=round(summary.holdout_p95_m, 3), limit_m=limit_m
        ),
    ]


def of_shift(migration: Migration, layer: str) -> list[dg.AssetCheckResult]:
    """Checks on the proposal."""
    staged = pq.read_table(migration.staged(layer), columns=["pai_row"])["pai_row"]
    columns = ["pai_row", "moved", "shift_m", "regime", "regime_reasons", "displaced_easting_m", "displaced_northing_m"]
    shifted = pq.read_table(migration.shifted(layer), columns=columns)
    moved_m = shifted["shift_m"].to_numpy()[shifted["moved"].to_numpy().astype(bool)]
    is_moving = migration.settings.layer(layer).strategy in MOVING_STRATEGIES
    longest_m = float(np.max(moved_m, initial=0.0))
    reasons, many = shifted["regime_reasons"].to_pylist(), max(len(shifted), 1)
    disproved, coarse, contradicted, unseen = (
        sum(not those.isdisjoint(codes) for codes in reasons) / many
        for those in (_DISPROVED, {"coarse_coordinates"}, {"still_contradicted"}, {"maps_show_nothing"})
    )
    shifted_before = _on_new_map(shifted) / many if is_moving else 0.0
    displaced = float(np.isfinite(shifted["displaced_easting_m"].to_numpy()).sum()) / many
    unread, maps = unread_dates(migration, layer), migration.settings.base_maps
    editions = [name for name, edition in (("before", maps.before), ("after", maps.after)) if edition]
    limit_m = limits_in_force(migration.settings.limits_of(layer)).shift_m
    return [
        checklist.FEATURES_KEPT.result(staged.equals(shifted["pai_row"]), staged=len(staged), shifted=len(shifted)),
        checklist.SHIFTS_USUAL.result(longest_m <= limit_m, longest_m=round(longest_m, 2), limit_m=limit_m),
        checklist.ORIGIN_SHOWN.result(bool(editions) or not is_moving, named=", ".join(editions) or "neither"),
        _few(checklist.ORIGIN_AS_SAID, "disproved_share", disproved, _days(migration, layer)),
        _few(checklist.NOT_SHIFTED_BEFORE, "on_new_map_share", shifted_before, limit=USUAL_WRONG_RATIO),
        _few(checklist.DATES_READ, "unread_share", sum(unread.values()) / many, _such(unread)),
        _few(checklist.LIES_ON_A_MAP, "displaced_share", displaced, _displacement(shifted)),
        _few(checklist.WRITTEN_FINELY, "coarse_share", coarse),
        _few(checklist.SHOWN_ON_MAPS, "unseen_share", unseen),
        _few(checklist.STILL_AS_CONTROL_SAYS, "contradicted_share", contradicted),
    ]


def _on_new_map(shifted: pa.Table) -> int:
    """How many are dated before the new map, but lie on it."""
    regimes, reasons = (shifted[name].to_pylist() for name in ("regime", "regime_reasons"))
    pairs = zip(regimes, reasons, strict=True)
    return sum(regime == ALREADY_NEW and "date_contradicted" in codes for regime, codes in pairs)


def _few(check: Check, key: str, share: float, what: str = "", limit: float = _ODD_SHARE) -> dg.AssetCheckResult:
    """The outcome of a check that a few of a layer's features may fail; ``what`` it found, in words."""
    numbers = {key: round(share, 4), "limit": limit}
    return check.result(share <= limit, **numbers, **_found(what))


def _found(what: str) -> dict[str, str]:
    return {checklist.FOUND: what} if what else {}


def _counts(by_name: Mapping[str, int]) -> str:
    return ", ".join(f"{count} by {name}" for name, count in by_name.items())


def _such(texts: Iterable[str]) -> str:
    """The first three."""
    return ", ".join(repr(text[:_MOST_SHOWN]) for text in islice(texts, 3))


def _days(migration: Migration, layer: str) -> str:
    """The dates that are not believed, the most frequent three."""
    dates = [f"{count} of {date}" for date, count in disproved_dates(migration, layer).items() if date]
    return ", ".join(dates[:3]) + (f" and {len(dates) - 3} more days" if len(dates) > 3 else "")


def _displacement(shifted: pa.Table) -> str:
    """How far the displaced features lie beside the maps: in the median, or where that is not nearly the same for all,
    from the nearest to the farthest.
    """
    by_m = np.stack([shifted[f"displaced_{axis}_m"].to_numpy() for axis in ("easting", "northing")], axis=1)
    by_m = by_m[np.isfinite(by_m[:, 0])]
    if not len(by_m):
        return ""
    east, north = middle = np.median(by_m, axis=0)
    if np.quantile(np.hypot(*(by_m - middle).T), 0.9) > _ONE_DISPLACEMENT_M:
        least, most = np.quantile(np.hypot(*by_m.T), [0.0, 1.0])
        return f"{least:.1f} to {most:.1f} m, from place to place in another direction"
    return f"{east:.2f} m east, {north:.2f} m north"


def of_reattach(migration: Migration, layer: str, summary: ReattachSummary) -> list[dg.AssetCheckResult]:
    """Checks on the re-attached proposal."""
    shifted = pq.read_table(migration.shifted(layer), columns=["pai_row"])["pai_row"]
    proposed = pq.read_table(migration.proposed(layer), columns=["pai_row"])["pai_row"]
    share = summary.attached_m / summary.followed_m if summary.followed_m else 1.0
    return [
        checklist.PROPOSAL_KEPT.result(shifted.equals(proposed), shifted=len(shifted), proposed=len(proposed)),
        checklist.ATTACHED_AGAIN.result(
            share >= _ATTACHED_SHARE, attached_share=round(share, 3), limit=_ATTACHED_SHARE
        ),
    ]


def of_quality(migration: Migration, summary: QualitySummary) -> list[dg.AssetCheckResult]:
    """Checks on the verdicts."""
    automatic = summary.accepted + summary.left
    most = max(limits_in_force(migration.settings.limits_of(summary.layer)).acceptable_wrong_ratio * automatic, 1.0)
    return [
        checklist.VERDICT_FOR_EACH.result(automatic + summary.to_review == summary.features, features=summary.features),
        checklist.FEW_EXPECTED_WRONG.result(
            summary.expected_wrong <= most, expected_wrong=round(summary.expected_wrong, 2), limit=round(most, 2)
        ),
    ]


def of_review(reviewed: Reviewed) -> list[dg.AssetCheckResult]:
    """Checks on the outcome with the officers' decisions."""
    settled = reviewed.moved + reviewed.unmoved + reviewed.fixed
    out = settled + reviewed.open
    most_open = max(settled, _SHORT_QUEUE)
    return [
        checklist.COUNTS_RECONCILE.result(out == reviewed.features, features=reviewed.features, accounted_for=out),
        checklist.ANSWERS_UNDERSTOOD.result(
            not reviewed.answers_refused and not reviewed.disagreements,
            refused=reviewed.answers_refused,
            officers_disagree=reviewed.disagreements,
        ),
        checklist.PROPOSALS_CURRENT.result(not reviewed.outdated, why=reviewed.outdated or "They are."),
        checklist.DRAWN_ON_NEW_MAP.result(not reviewed.on_old_map, **_found(_counts(reviewed.on_old_map))),
        checklist.MOST_SETTLED.result(reviewed.open <= most_open, open=reviewed.open, limit=most_open),
    ]


def of_export(exported: ExportedLayer) -> list[dg.AssetCheckResult]:
    """Checks on what left."""
    return [
        checklist.NOTHING_OPEN.result(exported.counts.open == 0, open=exported.counts.open, limit=0),
        checklist.SIGNED_OFF.result(not exported.held, why=exported.held or "Nothing holds it back."),
        checklist.HELD_BY_FORMATS.result(not exported.notes, notes=len(exported.notes), limit=0),
    ]


def of_board(board: Board) -> list[dg.AssetCheckResult]:
    """Checks on the migration as a whole."""
    old = sum(line.state in ("outdated", "blocked") for line in board.lines)
    return [checklist.LAYERS_CURRENT.result(old == 0, outdated_or_blocked=old, limit=0)]

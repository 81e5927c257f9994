"""The quality stage: measures, verdict, reasons and risk of every feature of one layer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from pipeline.base_maps import read_base_maps
from pipeline.choices import Strategy
from pipeline.files import whole_file
from pipeline.geometry.linear_copy import linear_copy
from pipeline.made_from import made_from, why_mixed
from pipeline.storage import Migration
from pipeline.used_control import used_control
from qa import triage
from qa.base_maps import SPEAKS_WITHIN_M, BaseMaps
from qa.completeness import require_the_same_rows
from qa.doubt import doubts
from qa.findings import Masks, findings_of
from qa.limits import Limits, limits_in_force
from qa.measures import Measures, Move, measure
from qa.regime import AFFECTED, STRADDLING, UNKNOWN, Regimes
from qa.relations import NO_BUILDING
from qa.risk import expected_wrong, measured_curve
from qa.shape import CommonVertices
from qa.topology import parted_pairs, shared_edge_gap_m
from transforms.errors import SourceError

_ANSWERED_BY_THE_MAP = ("base_map_disagrees", "control_disagrees", "distance_changed", "right_angle_bent")
"""Findings about the surroundings of a feature and about its shape, which do not count where it lies on its own lines
all round: the new map has that shape itself, across a break most of all. None of some thirty such features was wrong.
"""

_ABOUT_THE_SHIFT = ("shift_m", "uncertainty_m", "control_distance_m", "break_distance_m", "straddling_m")


@dataclass(frozen=True)
class QualitySummary:
    """How one layer came out.

    Parameters
    ----------
    layer
        The layer's name.
    features
        Rows judged; equals ``accepted + left + to_review``.
    accepted, left, to_review
        Rows by verdict: move without a person, rightly stay, go to an officer.
    reasons
        Rows by reason code, the most frequent first.
    expected_wrong
        How many of the accepted and left ones are expected to be wrong by more than the limit.
    """

    layer: str
    features: int
    accepted: int
    left: int
    to_review: int
    reasons: dict[str, int]
    expected_wrong: float

    @property
    def automatic_ratio(self) -> float:
        """Share of the features that need no person; NaN for an empty layer."""
        return (self.accepted + self.left) / self.features if self.features else float("nan")


def judge_layer(migration: Migration, layer_name: str) -> QualitySummary:
    """Measure the proposal of one layer, give every feature a verdict, and write ``quality.parquet``.

    Raises
    ------
    SourceError
        If a stage before has not run, or the tables that were left do not belong together.
    SettingsError
        If a limit is overridden that does not exist.
    """
    if mixed := why_mixed(migration, layer_name, "consequences"):
        raise SourceError(mixed)
    staged = pq.read_table(migration.staged(layer_name))
    shifted = pq.read_table(migration.proposed(layer_name))
    require_the_same_rows(staged["pai_row"].to_numpy(), shifted["pai_row"].to_numpy(), layer_name)
    proposal = _Proposal(migration, layer_name, staged, shifted)
    measures, vertices = proposal.measures()
    verdicts = _triage(proposal, measures)
    verdicts, measures["shared_edge_gap_m"] = _with_parted_neighbours(proposal, measures, vertices, verdicts)
    _write(migration, layer_name, staged, measures, verdicts, proposal.limits)
    return _summary(layer_name, verdicts)


class _Proposal:
    """What the stages before have made of a layer, as arrays."""

    def __init__(self, migration: Migration, layer_name: str, staged: pa.Table, shifted: pa.Table) -> None:
        self.settings = migration.settings.layer(layer_name)
        self.limits: Limits = limits_in_force(migration.settings.limits_of(layer_name))
        self.base: BaseMaps | None = read_base_maps(migration)
        self.control = used_control(migration.control_table)
        before, unread_before = linear_copy(staged["pai_geometry"].to_pylist())
        after, unread_after = linear_copy(shifted["pai_geometry"].to_pylist())
        self.unread = unread_before | unread_after
        self.move = Move(before, after, _booleans(shifted["moved"]))
        self.blocked_by = np.array([code or "" for code in shifted["blocked_by"].to_pylist()], dtype=str)
        self.about_the_shift = {name: _numbers(shifted, name) for name in _ABOUT_THE_SHIFT}
        self.regimes = _regimes(shifted)
        self.reattachment = _reattachment(shifted) | _changed_relations(migration, layer_name, len(shifted))
        placed = "is_placed_by_map" in shifted.column_names
        self.is_placed_by_map = _booleans(shifted["is_placed_by_map"]) if placed else np.zeros(len(shifted), dtype=bool)
        self.attached_m = np.nan_to_num(_numbers(shifted, "attached_m"))

    @property
    def placed_ratio(self) -> NDArray[np.float64]:
        """Share of the length of each feature's edges that the lines of the new map placed."""
        length_m = shapely.length(self.move.before)
        attached = np.divide(self.attached_m, length_m, out=np.zeros(len(self.move)), where=length_m > 0)
        return np.where(self.is_placed_by_map, 1.0, np.clip(attached, 0.0, 1.0))

    @property
    def lies_where_map_stayed(self) -> NDArray[np.bool_]:
        """Which features rightly stay, since the old and the new map agree there."""
        return np.array(["map_did_not_move" in codes for codes in self.regimes.reasons], dtype=bool)

    @property
    def is_one_edition(self) -> bool:
        """Whether one edition of the base map was delivered, so that only the control says how the map moved."""
        return self.base is not None and self.base.is_lone

    @property
    def strategy(self) -> Strategy:
        return self.settings.strategy

    def measures(self) -> tuple[Measures, CommonVertices]:
        measures, vertices = measure(self.move, self.base, self.control, self.limits)
        return self.about_the_shift | measures, vertices


def _triage(proposal: _Proposal, measures: Measures, more: Masks | None = None) -> triage.Verdicts:
    move, limits, regimes = proposal.move, proposal.limits, proposal.regimes
    position_doubt = _position_doubt(proposal, measures)
    out_m = np.fmax(np.fmax(measures["shift_m"], measures["base_map_disagreement_m"]), limits.position_error_m)
    findings = findings_of(measures, move.moved, limits)
    for code in _ANSWERED_BY_THE_MAP:
        findings[code] &= ~proposal.is_placed_by_map
    if proposal.is_one_edition:
        is_unseen = move.moved & ~proposal.is_placed_by_map & (measures["control_distance_m"] > SPEAKS_WITHIN_M)
        findings["far_from_control"] |= is_unseen
    findings |= _stage_findings(proposal) | (more or {})
    return triage.triage(
        regimes.regime, regimes.reasons, move.moved, regimes.wrong_chance_ratio, position_doubt, out_m, findings, limits
    )


def _position_doubt(proposal: _Proposal, measures: Measures) -> NDArray[np.float64]:
    """The chance of a wrong place; where the base map is silent about a part, the field answers for that part.

    It is silent too where a break may run between a vertex and the corners that speak for it: where they lie far off,
    or reach beyond a break and do not lie all round the vertex. And it is where a line that the feature followed was
    redrawn: the break may have bent that line, and the corners near by are of others. A building may have moved a
    little of its own: where only its neighbours speak for it, what they differ by is its doubt. What lay on its lines
    and was placed by those very lines is where the map shows it, whatever corners near by did: the chance is about the
    rest of it.
    """
    unseen = np.full(len(measures["uncertainty_m"]), np.nan)
    uncertainty_m, limit_m = measures["uncertainty_m"], proposal.limits.position_error_m
    seen = triage.position_wrong_chance(
        uncertainty_m, measures["base_map_disagreement_m"], measures["base_map_error_m"], limit_m
    )
    alone = triage.position_wrong_chance(uncertainty_m, unseen, unseen, limit_m)
    is_partial = measures["base_map_told_ratio"] < 1.0
    reach_m = measures["base_map_reach_m"]
    is_across = (reach_m > measures["break_distance_m"]) & (measures["base_map_within_ratio"] < 1.0)
    is_redrawn = proposal.reattachment.get("base_feature_changed", np.zeros(len(reach_m), dtype=bool))
    is_silent = is_partial | is_across | is_redrawn | (reach_m > SPEAKS_WITHIN_M)
    if proposal.is_one_edition:
        is_silent |= reach_m > 0.0
    chance = np.where(is_silent, np.maximum(seen, alone), seen)
    moved_alone = _moves_with_building(proposal.move, measures) & (reach_m > 0.0)
    of_neighbours_m = np.fmax(uncertainty_m, measures["base_map_error_m"])
    scattered = triage.position_wrong_chance(of_neighbours_m, unseen, unseen, limit_m)
    chance = np.where(moved_alone, np.maximum(chance, scattered), chance)
    return (1.0 - proposal.placed_ratio) * chance


def _moves_with_building(move: Move, measures: Measures) -> NDArray[np.bool_]:
    """Points in a building, and where most of a layer's points lie in buildings, those beside them too."""
    is_point = move.moved & (shapely.get_type_id(move.before) == 0)
    in_building = measures["building"] != NO_BUILDING
    return is_point if in_building.sum() > 0.5 * is_point.sum() else in_building


def _stage_findings(proposal: _Proposal) -> Masks:
    moved, blocked_by, regime = proposal.move.moved, proposal.blocked_by, proposal.regimes.regime
    would_move = np.isin(regime, (AFFECTED, UNKNOWN, STRADDLING))
    blocked = {code: (blocked_by == code) & would_move for code in set(blocked_by.tolist()) - {""}}
    if proposal.strategy == "check_only":
        return {"layer_check_only": would_move}
    stuck = (regime == AFFECTED) & ~moved & (blocked_by == "")
    return {**blocked, **proposal.reattachment, "not_moved": stuck, "unreadable_geometry": proposal.unread}


def _with_parted_neighbours(
    proposal: _Proposal, measures: Measures, vertices: CommonVertices, verdicts: triage.Verdicts
) -> tuple[triage.Verdicts, NDArray[np.float64]]:
    """Hand both sides of a parted edge to review where both would be final.

    Where one side is with an officer already, the other keeps its verdict: its own place is not in doubt, and the
    officer sees it beside the one to place. Where the new map shows the place of both, it is the map that parts them.
    """
    pairs, gap_m = parted_pairs(vertices, proposal.limits.shared_edge_m)
    gap = shared_edge_gap_m(pairs, gap_m, len(proposal.move))
    is_final = verdicts.verdict != triage.REVIEW
    is_shown = proposal.is_placed_by_map | proposal.lies_where_map_stayed
    unsure = pairs[is_final[pairs].all(axis=1) & ~is_shown[pairs].all(axis=1)]
    parted = np.zeros(len(proposal.move), dtype=bool)
    parted[unsure.ravel()] = True
    if not parted.any():
        return verdicts, gap
    return _triage(proposal, measures, {"shared_edge_parted": parted}), gap


def _regimes(shifted: pa.Table) -> Regimes:
    reasons = [list(codes or []) for codes in shifted["regime_reasons"].to_pylist()]
    regime = np.array(shifted["regime"].to_pylist(), dtype=str)
    displaced = [_numbers(shifted, f"displaced_{axis}_m") for axis in ("easting", "northing")]
    return Regimes(regime, reasons, _numbers(shifted, "wrong_chance_ratio"), np.stack(displaced, axis=1))


def _reattachment(proposed: pa.Table) -> Masks:
    """What the stage reattach says of each feature; nothing of a layer that is only shifted."""
    if "reattach_reasons" not in proposed.column_names:
        return {}
    reasons = [codes or [] for codes in proposed["reattach_reasons"].to_pylist()]
    return {
        code: np.array([code in codes for codes in reasons], dtype=bool)
        for code in {c for codes in reasons for c in codes}
    }


def _changed_relations(migration: Migration, layer_name: str, count: int) -> Masks:
    """Which features lie in other things than before, as the stage reattach has listed them."""
    changed = np.zeros(count, dtype=bool)
    changed[pq.read_table(migration.consequences(layer_name), columns=["pai_row"])["pai_row"].to_numpy()] = True
    return {"relation_changed": changed}


def _booleans(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.array([bool(value) for value in column.to_pylist()], dtype=bool)


def _numbers(table: pa.Table, name: str) -> NDArray[np.float64]:
    if name not in table.column_names:
        return np.full(len(table), np.nan)
    return np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=float)


def _write(
    migration: Migration,
    layer_name: str,
    staged: pa.Table,
    measures: Measures,
    verdicts: triage.Verdicts,
    limits: Limits,
) -> None:
    columns: dict[str, Any] = {"pai_row": staged["pai_row"]}
    columns |= {
        name: pa.array(values.tolist()) if values.dtype.kind == "U" else values for name, values in measures.items()
    }
    columns |= {
        "verdict": pa.array(verdicts.verdict.tolist(), pa.string()),
        "reasons": pa.array(verdicts.reasons, pa.list_(pa.string())),
        "wrong_chance_ratio": verdicts.wrong_chance_ratio,
        "doubt": pa.array(_doubts(measures, verdicts, limits).tolist(), pa.string()),
        "risk": verdicts.risk,
    }
    with whole_file(migration.quality(layer_name)) as beside:
        pq.write_table(pa.table(columns, metadata=made_from(migration, layer_name, "quality")), beside)


def _doubts(measures: Measures, verdicts: triage.Verdicts, limits: Limits) -> NDArray[Any]:
    agrees = measures["base_map_disagreement_m"] <= 0.5 * limits.position_error_m
    in_review = verdicts.verdict == triage.REVIEW
    return doubts(verdicts.reasons, in_review, verdicts.origin_doubt, verdicts.position_doubt, agrees)


def _summary(layer_name: str, verdicts: triage.Verdicts) -> QualitySummary:
    counts = Counter(verdicts.verdict.tolist())
    reasons = Counter(code for codes in verdicts.reasons for code in codes)
    final = verdicts.verdict != triage.REVIEW
    return QualitySummary(
        layer_name,
        len(verdicts.verdict),
        counts[triage.ACCEPT],
        counts[triage.LEAVE],
        counts[triage.REVIEW],
        dict(reasons.most_common()),
        expected_wrong(verdicts.wrong_chance_ratio[final], measured_curve()),
    )

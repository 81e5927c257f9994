"""The stage that proposes a move: every feature of a layer by its regime, whole or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline import ledger
from pipeline.base_map_faults import refuse_other_move
from pipeline.base_maps import doubted_base_maps, read_base_maps, whole_base_maps
from pipeline.captures import read_evidence
from pipeline.choices import MOVING_STRATEGIES
from pipeline.dates import date_wrong_ratio, is_dated
from pipeline.field_file import read_field
from pipeline.files import read_json, sha256
from pipeline.fingerprint import layer_hash
from pipeline.fitted import Fitted
from pipeline.formats import GEOMETRY, open_batches, rows_at_once, write_batches
from pipeline.geometry.layer_move import WORKERS, Tally, move_layer
from pipeline.geometry.layer_survey import survey_layer
from pipeline.geometry.linear_copy import linear_copy
from pipeline.geometry.move import (
    BAD_COORDINATES,
    BECAME_INVALID,
    GEOMETRY_TYPE,
    NO_GEOMETRY,
    OUTSIDE_CONTROL,
    STRADDLING,
    UNCERTAIN,
    MovedBatch,
    MoveRules,
)
from pipeline.geometry.neighbour_layers import neighbour_places
from pipeline.made_from import made_from
from pipeline.settings import LayerSettings
from pipeline.shift_file import ShiftedFile, shift_file
from pipeline.storage import Migration
from pipeline.tile_dates import read_tile_dates
from qa.coincidence import evenly_placed
from qa.limits import limits_in_force
from qa.regime import AFFECTED, UNKNOWN, Regimes, classify
from qa.regime import STRADDLING as REGIME_STRADDLING
from transforms.errors import SourceError

__all__ = ["SHIFT_REASONS", "ShiftSummary", "ShiftedFile", "shift_file", "shift_layer"]

SHIFT_REASONS = {
    OUTSIDE_CONTROL: "Part of it lies where there is no control, so its shift would be a guess.",
    STRADDLING: "It lies across a break, and its two ways of moving differ by more than the limit.",
    UNCERTAIN: "The chance that its new place is wrong by more than the limit is too large.",
    BECAME_INVALID: "It was valid and is not any more.",
    BAD_COORDINATES: "It has coordinates that are no place: not numbers, or beyond any map.",
    GEOMETRY_TYPE: "Its type of geometry cannot be moved.",
    NO_GEOMETRY: "It has no geometry.",
}
"""Why a feature stayed where it was, with the sentence an officer reads."""

MOVING_REGIMES = (AFFECTED, UNKNOWN)
"""For these a move is proposed; whether one of ``unknown`` origin takes it is an officer's answer."""

_CORNERS_COMPARED = 2000
"""At so many corners of the base maps it is looked whether they show the move that the field has."""

_COLUMNS = pa.schema(
    [
        pa.field("pai_row", pa.int64()),
        pa.field("moved", pa.bool_()),
        pa.field("regime", pa.string()),
        pa.field("regime_reasons", pa.list_(pa.string())),
        pa.field("blocked_by", pa.string()),
        *(
            pa.field(name, pa.float64())
            for name in (
                "wrong_chance_ratio",
                "displaced_easting_m",
                "displaced_northing_m",
                "shift_m",
                "shift_easting_m",
                "shift_northing_m",
                "uncertainty_m",
                "control_distance_m",
                "break_distance_m",
                "straddling_m",
            )
        ),
        *(pa.field(name, pa.int64()) for name in ("vertices_added", "curves_kept", "curves_densified")),
        pa.field(GEOMETRY, pa.binary()),
    ]
)


@dataclass(frozen=True)
class ShiftSummary:
    """What was proposed for one layer; the numbers become the asset's metadata.

    ``regimes`` and ``blocked`` count features; ``mean_shift_m`` and ``largest_shift_m`` are over the moved features,
    NaN without any.
    """

    layer: str
    features: int
    moved: int
    regimes: dict[str, int]
    blocked: dict[str, int]
    mean_shift_m: float
    largest_shift_m: float
    largest_uncertainty_m: float
    vertices: int
    vertices_added: int
    hanging_nodes: int
    curves_kept: int
    curves_densified: int

    @property
    def unmoved(self) -> int:
        """Features for which nothing is proposed."""
        return self.features - self.moved


def shift_layer(migration: Migration, layer_name: str, *, run_id: str = "") -> ShiftSummary:
    """Propose a move for every feature of a staged layer: ``shifted.parquet``.

    Parameters
    ----------
    migration
        The migration; the layer is staged and the field fitted.
    layer_name
        The layer's name in ``migration.yaml``.
    run_id
        What the ledger calls this run.

    Raises
    ------
    SourceError
        If the layer is not staged.
    SettingsError
        If a limit is overridden that does not exist, a column is named that the layer does not have, or the base maps
        show another move than the field.
    FieldError
        If the field file cannot be read.
    LedgerError
        If the source was shifted already.
    """
    settings = migration.settings.layer(layer_name)
    staged = _read_staged(migration, layer_name)
    fitted = read_field(migration.field_file)
    digests = _refuse_second_shift(migration, settings, staged)
    regimes = _regimes(migration, settings, staged, fitted)
    wanted = np.isin(regimes.regime, MOVING_REGIMES) & (settings.strategy in MOVING_STRATEGIES)
    summary = _write_proposal(migration, settings, fitted, regimes, wanted)
    ledger.record_shift(
        migration,
        layer_name,
        source_digest=digests["source_digest"],
        geometry_digest=digests["geometry_digest"],
        control_digest=fitted.control_sha256,
        field_digest=sha256(migration.field_file),
        run_id=run_id,
    )
    return summary


def _read_staged(migration: Migration, layer_name: str) -> pa.Table:
    path = migration.staged(layer_name)
    if not path.exists():
        raise SourceError(f"Layer {layer_name} cannot be shifted: {path} is missing. Run the stage sources first.")
    return pq.read_table(path)


def _refuse_second_shift(migration: Migration, settings: LayerSettings, staged: pa.Table) -> dict[str, str]:
    files = read_json(migration.manifest(settings.name))["files"]
    digests = {
        "source_digest": ledger.source_digest(files, settings.source_layer),
        "geometry_digest": layer_hash(staged[GEOMETRY].to_pylist()),
    }
    ledger.refuse_second_shift(migration, settings.name, **digests)
    return digests


def _regimes(migration: Migration, settings: LayerSettings, staged: pa.Table, fitted: Fitted) -> Regimes:
    geometries, _ = linear_copy(staged[GEOMETRY].to_pylist())
    evidence = read_evidence(staged, settings, migration.settings, read_tile_dates(migration), geometries)
    if is_dated(settings):
        evidence = replace(evidence, date_wrong_ratio=date_wrong_ratio(migration, settings.name))
    limits, base = limits_in_force(migration.settings.limits_of(settings.name)), read_base_maps(migration)
    doubted, whole = None, None if base is None else whole_base_maps(migration, base)
    if base is not None and base.corners is not None and not base.is_lone:
        corners = np.asarray(base.corners.tree.data)
        corners = corners[evenly_placed(np.arange(len(corners)), corners, _CORNERS_COMPARED)]
        refuse_other_move(base, corners, fitted.field(corners) - corners)
        doubted = doubted_base_maps(migration, base)
    return classify(geometries, evidence, base, fitted.field, limits, doubted, whole)


def _write_proposal(
    migration: Migration, settings: LayerSettings, fitted: Fitted, regimes: Regimes, wanted: NDArray[np.bool_]
) -> ShiftSummary:
    limits = limits_in_force(migration.settings.limits_of(settings.name))
    rules = MoveRules(settings.tolerance_m, limits.straddling_m)
    staged = migration.staged(settings.name)
    opener = partial(open_batches, staged, batch_rows=rows_at_once(staged))
    tally, lengths = Tally(), _Lengths()
    with ThreadPoolExecutor(WORKERS) as executor:
        others = neighbour_places(migration, settings.name) if wanted.any() else ()
        with survey_layer(opener, executor, others=others) as survey:
            moved = move_layer(
                survey, fitted.field, rules, settings.shape, executor, wanted=wanted, with_distances=True
            )
            schema = _COLUMNS.with_metadata(made_from(migration, settings.name, "shift"))
            write_batches(migration.shifted(settings.name), schema, _proposals(moved, regimes, tally, lengths))
    return _summary(settings.name, regimes, tally, lengths, survey.hanging_nodes)


class _Lengths:
    """Shift and uncertainty of the moved features, as they pass."""

    def __init__(self) -> None:
        self.moved, self.total_m, self.largest_m, self.largest_uncertainty_m = 0, 0.0, float("nan"), float("nan")

    def add(self, batch: MovedBatch) -> None:
        shift_m = batch.shift_m[batch.moved]
        self.moved += len(shift_m)
        self.total_m += float(shift_m.sum())
        self.largest_m = float(np.fmax.reduce(shift_m, initial=self.largest_m))
        self.largest_uncertainty_m = float(
            np.fmax.reduce(batch.uncertainty_m[batch.moved], initial=self.largest_uncertainty_m)
        )

    @property
    def mean_m(self) -> float:
        return self.total_m / self.moved if self.moved else float("nan")


def _proposals(
    moved: Iterator[tuple[pa.RecordBatch, MovedBatch]], regimes: Regimes, tally: Tally, lengths: _Lengths
) -> Iterator[pa.RecordBatch]:
    for batch, outcome in moved:
        first = tally.features
        tally.add(outcome)
        lengths.add(outcome)
        those = regimes.between(first, tally.features)
        _mark_straddling(those, outcome)
        yield _proposal(batch, outcome, those)


def _mark_straddling(regimes: Regimes, outcome: MovedBatch) -> None:
    """Change the regime, in place, of what was drawn on the old map and lies across a break."""
    regimes.regime[(regimes.regime == AFFECTED) & (outcome.blocked_by == STRADDLING)] = REGIME_STRADDLING


def _proposal(batch: pa.RecordBatch, outcome: MovedBatch, regimes: Regimes) -> pa.RecordBatch:
    numbers = {name: getattr(outcome, name) for name in _COLUMNS.names if hasattr(outcome, name)}
    columns = {
        **{name: pa.array(values, _COLUMNS.field(name).type) for name, values in numbers.items() if name not in _TEXT},
        "pai_row": batch.column(batch.schema.get_field_index("pai_row")),
        "regime": pa.array(regimes.regime.astype(object), pa.string()),
        "regime_reasons": pa.array(regimes.reasons, pa.list_(pa.string())),
        "wrong_chance_ratio": pa.array(regimes.wrong_chance_ratio),
        "displaced_easting_m": pa.array(regimes.displaced_by_m[:, 0]),
        "displaced_northing_m": pa.array(regimes.displaced_by_m[:, 1]),
        "blocked_by": pa.array(outcome.blocked_by.astype(object), pa.string()),
        GEOMETRY: outcome.geometry.cast(pa.binary()),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in _COLUMNS.names], schema=_COLUMNS)


_TEXT = ("blocked_by",)


def _summary(layer: str, regimes: Regimes, tally: Tally, lengths: _Lengths, hanging_nodes: int) -> ShiftSummary:
    return ShiftSummary(
        layer=layer,
        features=tally.features,
        moved=tally.moved,
        regimes=dict(Counter(regimes.regime.tolist())),
        blocked=dict(tally.blocked),
        mean_shift_m=lengths.mean_m,
        largest_shift_m=lengths.largest_m,
        largest_uncertainty_m=lengths.largest_uncertainty_m,
        vertices=tally.vertices,
        vertices_added=tally.vertices_added,
        hanging_nodes=hanging_nodes,
        curves_kept=tally.curves_kept,
        curves_densified=tally.curves_densified,
    )

"""The stage that attaches what moved to the new map again: to the very lines it followed on the old one.

And, with every proposal in its place, that lists what it changes for whoever asks (``consequences.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.base_maps import read_base_maps
from pipeline.consequences import PairOutcome, list_consequences
from pipeline.field_file import read_field
from pipeline.files import whole_file
from pipeline.formats import GEOMETRY, open_batches, rows_at_once
from pipeline.geometry.edges import LayerEdges, attachable
from pipeline.geometry.layer_move import WORKERS, move_layer
from pipeline.geometry.layer_survey import LayerSurvey, survey_layer
from pipeline.geometry.linear_copy import linear_copy
from pipeline.geometry.move import STRADDLING, MovedBatch, MoveRules
from pipeline.geometry.neighbour_layers import neighbour_places
from pipeline.geometry.wkb_batch import WkbBatch
from pipeline.made_from import made_from, why_mixed
from pipeline.officers.outdated import why_older_than_fit
from pipeline.settings import LayerSettings
from pipeline.storage import Migration
from qa.attachment import TELLING_M, Attachment, attach
from qa.base_maps import BaseMaps
from qa.following import follow, learn_tolerance_m
from qa.old_lines import OldLines
from qa.regime import AFFECTED
from qa.topology import is_valid
from transforms.errors import SettingsError, SourceError

_NEVER_ATTACHED = ("measured_on_ground", "small_scale", "coarse_coordinates")
"""What was never traced from the map, by reason of its regime."""

_WHOLE_RATIO = 0.999
"""Of the length of its edges, what must be attached for a feature to count as placed by the map, across breaks too."""

_ROWS_AT_ONCE = 50_000

_OUTCOMES = ("followed", "attached", "gone", "changed", "disagrees")


@dataclass(frozen=True)
class ReattachSummary:
    """What became of one layer; lengths in metres along the edges of what moved.

    ``tolerance_m`` is how closely the layer was found to be traced, NaN where nothing is re-attached; ``reasons``
    counts features by code; ``pairs`` says what lies in what; ``never_attached`` counts those that moved and cannot be
    attached (curved, GPS, 1:10 000).
    """

    layer: str
    features: int
    attached_features: int
    tolerance_m: float
    followed_m: float
    attached_m: float
    vertices_added: int
    never_attached: int
    reasons: dict[str, int]
    pairs: tuple[PairOutcome, ...]


def reattach_layer(migration: Migration, layer_name: str) -> ReattachSummary:
    """Attach the proposal of one layer to the new map: ``reattached.parquet``, where its strategy asks for it.

    Raises
    ------
    SourceError
        If the layer is not shifted, or was before the shift was fitted anew, or a base map cannot be read.
    SettingsError
        If the layer is to be re-attached and no new map is named.
    """
    settings = migration.settings.layer(layer_name)
    shifted = _read_shifted(migration, layer_name)
    base = read_base_maps(migration)
    summary = ReattachSummary(layer_name, len(shifted), 0, float("nan"), 0.0, 0.0, 0, 0, {}, ())
    if settings.strategy == "shift_and_reattach":
        summary = _attach_again(migration, settings, shifted, base)
    lines = None if base is None else _old_lines(base)
    return replace(summary, pairs=list_consequences(migration, layer_name, base, lines))


def _attach_again(
    migration: Migration, settings: LayerSettings, shifted: pa.Table, base: BaseMaps | None
) -> ReattachSummary:
    if base is None or migration.settings.base_maps.after is None:
        raise SettingsError(
            f"Layer {settings.name} cannot be re-attached: base_maps names no new map. Name it as after in "
            "migration.yaml, or set the layer's strategy to shift."
        )
    outcome = _reattached(migration, settings, shifted, base)
    table = _with_attachment(shifted, outcome)
    note = made_from(migration, settings.name, "reattach")
    table = table.replace_schema_metadata({**(shifted.schema.metadata or {}), **note})
    with whole_file(migration.reattached(settings.name)) as beside:
        pq.write_table(table, beside)
    return _summary(settings.name, shifted, table, outcome)


@lru_cache(maxsize=1)
def _old_lines(base: BaseMaps) -> OldLines:
    """Kept for the next layer, like the base maps themselves."""
    return OldLines.of(base)


@dataclass(frozen=True)
class _Outcome:
    """Geometry and measures of every feature of a layer."""

    wanted: NDArray[np.bool_]
    moved: NDArray[np.bool_]
    is_placed_by_map: NDArray[np.bool_]
    geometry: pa.ChunkedArray
    shift_easting_m: NDArray[np.float64]
    shift_northing_m: NDArray[np.float64]
    vertices_added: NDArray[np.int_]
    length_m: dict[str, NDArray[np.float64]]
    tolerance_m: float
    never_attached: int


def _read_shifted(migration: Migration, layer_name: str) -> pa.Table:
    if mixed := why_mixed(migration, layer_name, "shift") or why_older_than_fit(migration, layer_name):
        raise SourceError(mixed)
    return pq.read_table(migration.shifted(layer_name))


def _reattached(migration: Migration, settings: LayerSettings, shifted: pa.Table, base: BaseMaps) -> _Outcome:
    field, lines = read_field(migration.field_file).field, _old_lines(base)
    rules = MoveRules(settings.tolerance_m, np.inf)  # what straddles is taken only where the map places all of it
    staged = migration.staged(settings.name)
    opener = partial(open_batches, staged, batch_rows=rows_at_once(staged))
    moved = np.asarray(shifted["moved"].to_numpy(zero_copy_only=False), dtype=bool)
    straddles = np.array([code == STRADDLING for code in shifted["blocked_by"].to_pylist()], dtype=bool)
    with ThreadPoolExecutor(WORKERS) as executor:
        others = neighbour_places(migration, settings.name) if (moved | straddles).any() else ()
        with survey_layer(opener, executor, others=others) as survey:
            batch = WkbBatch.of(_whole_column(survey))
            wanted = attachable(batch, (moved | straddles) & ~_is_never_attached(shifted))
            drawn = LayerEdges.of(batch, survey.nodes, wanted)
            tolerance_m = learn_tolerance_m(drawn.edges.place, lines)
            following = follow(drawn.edges, lines, tolerance_m)
            attachment = attach(drawn.edges, following, lines, base, field, len(batch))
            attached = drawn.attached(following, attachment)
            batches = move_layer(survey, field, rules, settings.shape, executor, wanted=wanted, attached=attached)
            whole = attachment.length_m["attached"] >= _WHOLE_RATIO * drawn.edges.length_m(len(batch))
            return _unknotted(_collect(batches, wanted, moved, whole, attachment, tolerance_m), shifted)


def _whole_column(survey: LayerSurvey) -> pa.Array:
    with survey.batches() as batches:
        columns = [batch.column(batch.schema.get_field_index(GEOMETRY)) for batch, _ in batches]
    return pa.concat_arrays(columns) if columns else pa.array([], pa.binary())


def _is_never_attached(shifted: pa.Table) -> NDArray[np.bool_]:
    reasons = shifted["regime_reasons"].to_pylist()
    return np.array([any(code in _NEVER_ATTACHED for code in codes or ()) for codes in reasons], dtype=bool)


def _collect(
    batches: Iterator[tuple[pa.RecordBatch, MovedBatch]],
    wanted: NDArray[np.bool_],
    was_moved: NDArray[np.bool_],
    whole: NDArray[np.bool_],
    attachment: Attachment,
    tolerance_m: float,
) -> _Outcome:
    done = [outcome for _, outcome in batches]

    def column(name: str) -> NDArray[np.float64]:
        return np.concatenate([getattr(outcome, name) for outcome in done]) if done else np.empty(0)

    moved = column("moved").astype(bool)
    return _Outcome(
        wanted & (was_moved | whole),
        moved & (was_moved | whole),
        moved & whole,
        pa.chunked_array([outcome.geometry.cast(pa.binary()) for outcome in done], pa.binary()),
        column("shift_easting_m"),
        column("shift_northing_m"),
        column("vertices_added").astype(np.int64),
        attachment.length_m,
        tolerance_m,
        int((was_moved & ~wanted).sum()),
    )


def _unknotted(outcome: _Outcome, shifted: pa.Table) -> _Outcome:
    """The outcome without the features that are valid where the shift puts them and not where the map's lines do.

    A spike of a centimetre whose two sides take the vertices of one line crosses itself; it is only shifted.
    """
    kept = np.ones(len(outcome.moved), dtype=bool)
    for first in range(0, len(kept), _ROWS_AT_ONCE):
        rows = first + np.flatnonzero(outcome.moved[first : first + _ROWS_AT_ONCE])
        knotted = rows[~_is_valid_at(outcome.geometry, rows)]
        kept[knotted[_is_valid_at(shifted[GEOMETRY], knotted)]] = False
    masks = {name: getattr(outcome, name) & kept for name in ("wanted", "moved", "is_placed_by_map")}
    lengths = outcome.length_m | {"attached": np.where(kept, outcome.length_m["attached"], 0.0)}
    return replace(outcome, **masks, length_m=lengths)


def _is_valid_at(geometry: pa.ChunkedArray, rows: NDArray[np.int_]) -> NDArray[np.bool_]:
    return is_valid(linear_copy(geometry.take(pa.array(rows)).to_pylist())[0])


def _with_attachment(shifted: pa.Table, outcome: _Outcome) -> pa.Table:
    """The proposal with the attached features in their new places, and what became of each."""
    taken = pa.array(outcome.moved)
    columns = {name: shifted[name] for name in shifted.column_names}
    geometry = pa.compute.if_else(taken, outcome.geometry.combine_chunks(), shifted[GEOMETRY].combine_chunks())
    columns[GEOMETRY] = geometry
    for name in ("shift_easting_m", "shift_northing_m", "vertices_added"):
        was = shifted[name].to_numpy(zero_copy_only=False)
        columns[name] = pa.array(np.where(outcome.moved, getattr(outcome, name), was), shifted[name].type)
    shift = [np.asarray(columns[f"shift_{axis}_m"].to_numpy(zero_copy_only=False)) for axis in ("easting", "northing")]
    columns["shift_m"] = pa.array(np.hypot(*shift))
    columns |= _no_longer_straddling(shifted, outcome.is_placed_by_map)
    columns["is_attached"] = pa.array(outcome.moved & (outcome.length_m["attached"] > 0))
    columns |= {f"{name}_m": pa.array(outcome.length_m[name]) for name in _OUTCOMES}
    columns["reattach_reasons"] = pa.array(_reasons(outcome), pa.list_(pa.string()))
    return pa.table(columns)


def _no_longer_straddling(shifted: pa.Table, placed: NDArray[np.bool_]) -> dict[str, pa.Array]:
    """The columns of what was placed whole by the lines that it followed; of this, nothing straddles any more."""
    mask = pa.array(placed)
    return {
        "moved": pa.compute.or_(shifted["moved"], mask),
        "blocked_by": pa.compute.if_else(mask, None, shifted["blocked_by"]),
        "regime": pa.compute.if_else(mask, AFFECTED, shifted["regime"]),
        "is_placed_by_map": mask,
    }


def _reasons(outcome: _Outcome) -> list[list[str]]:
    masks = {
        "base_feature_gone": outcome.length_m["gone"] > TELLING_M,
        "base_feature_changed": outcome.length_m["changed"] > TELLING_M,
        "reattach_disagrees": (outcome.length_m["disagrees"] > TELLING_M) | (outcome.wanted & ~outcome.moved),
    }
    return [[code for code, mask in masks.items() if mask[row]] for row in range(len(outcome.wanted))]


def _summary(layer: str, shifted: pa.Table, table: pa.Table, outcome: _Outcome) -> ReattachSummary:
    codes = [code for reasons in table["reattach_reasons"].to_pylist() for code in reasons]
    return ReattachSummary(
        layer=layer,
        features=len(shifted),
        attached_features=int(np.sum(table["is_attached"].to_numpy(zero_copy_only=False))),
        tolerance_m=outcome.tolerance_m,
        followed_m=float(outcome.length_m["followed"].sum()),
        attached_m=float(outcome.length_m["attached"].sum()),
        vertices_added=int(outcome.vertices_added[outcome.moved].sum()),
        never_attached=outcome.never_attached,
        reasons={code: codes.count(code) for code in sorted(set(codes))},
        pairs=(),
    )

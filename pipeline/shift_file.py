"""``post-pai shift``: one layer from file to file, streaming, without a migration around it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.field_file import read_field
from pipeline.formats import GEOMETRY, LayerInfo, open_batches, rows_at_once, write_batches
from pipeline.geometry.layer_move import WORKERS, Shape, Tally, move_layer
from pipeline.geometry.layer_survey import LayerSurvey, survey_layer
from pipeline.geometry.move import NO_GEOMETRY, MovedBatch, MoveRules
from pipeline.geometry.touch import moved_beside_staying
from pipeline.georeference import understand
from pipeline.own_columns import refuse_own_columns
from pipeline.targets import refuse_source_as_target
from qa.limits import Limits, limits_in_force
from transforms.contract import Points

MOVED, UNMOVED, OPEN = "moved", "unmoved", "open"

_ADDED = (
    pa.field("pai_status", pa.string()),
    pa.field("pai_reasons", pa.string()),
    pa.field("pai_shift_m", pa.float64()),
    pa.field("pai_uncertainty_m", pa.float64()),
    pa.field("pai_run", pa.string()),
)


@dataclass(frozen=True)
class ShiftedFile:
    """What ``shift_file`` did: counts that add up, and what was noted on the way."""

    source: Path
    target: Path
    tally: Tally
    hanging_nodes: int
    notes: tuple[str, ...]

    @property
    def features(self) -> int:
        """Features of the source, all of them in the target."""
        return self.tally.features

    @property
    def moved(self) -> int:
        """Features at their new places."""
        return self.tally.moved

    @property
    def unmoved(self) -> int:
        """Features with no geometry to move."""
        return self.tally.blocked[NO_GEOMETRY]

    @property
    def open(self) -> int:
        """Features left where they were for a reason that a person must look at."""
        return self.features - self.moved - self.unmoved

    @property
    def sentence(self) -> str:
        """The outcome in a line, with what was noted in lines below."""
        why = ", ".join(f"{count} {code}" for code, count in sorted(self.tally.blocked.items()))
        counts = f"{self.moved} moved, {self.unmoved} unmoved, {self.open} open{f' ({why})' if why else ''}"
        return "\n".join([f"{self.target}: {self.features} features: {counts}.", *self.notes])


def shift_file(
    field_file: Path,
    source: Path,
    target: Path,
    *,
    layer: str | None = None,
    tolerance_m: float = 0.05,
    shape: Shape = "follow",
) -> ShiftedFile:
    """Shift one layer, any format to any format, in bounded memory.

    ``target`` has every feature of ``source`` once, in order, with its columns unchanged and ``pai_status``
    (``moved``; ``unmoved`` without geometry; ``open`` where a person must decide), ``pai_reasons`` (codes joined by
    ``;``), ``pai_shift_m``, ``pai_uncertainty_m`` and ``pai_run`` (the first 12 digits of the field file's SHA-256).
    No base map is known here: whatever lies inside control moves, unless its place would be too uncertain.

    Parameters
    ----------
    field_file
        A fitted shift.
    source, target
        The layer to shift and the file to write, whole or not at all; never the same.
    layer
        The layer inside ``source``, where it holds several.
    tolerance_m
        How closely a straight edge follows the field [m].
    shape
        ``rigid`` moves each feature, or group of touching features, by one shift and rotation.

    Raises
    ------
    FieldError
        If the field file cannot be read.
    SourceError
        If the layer cannot be read or is not in National Grid metres.
    LedgerError
        If the source was shifted already.
    ExportError
        If the target is the source, or cannot be written.
    """
    refuse_source_as_target(target, [source, field_file])
    shift_field = read_field(field_file).field
    run = hashlib.sha256(field_file.read_bytes()).hexdigest()[:12]
    rules = _rules(tolerance_m, limits_in_force())
    opener = partial(open_batches, source, layer=layer, batch_rows=rows_at_once(source, layer))
    with ExitStack() as stack:
        executor = stack.enter_context(ThreadPoolExecutor(WORKERS))
        survey = stack.enter_context(survey_layer(opener, executor, check=_refuse_own, understand=_understand))
        tally, went = Tally(), list[NDArray[np.bool_]]()
        moved = move_layer(survey, shift_field, rules, shape, executor)
        batches = _with_outcome(moved, tally, went, run)
        written = write_batches(target, _extended(survey), batches)
        parted = _parted(survey, went, executor)
    notes = (*survey.info.findings, *survey.findings, *written.notes, *parted)
    return ShiftedFile(source, target, tally, survey.hanging_nodes, notes)


def _rules(tolerance_m: float, limits: Limits) -> MoveRules:
    """What moves must lie within the position error with 95 %: nobody triages the file that goes out.

    A circular normal error exceeds ``e`` with the chance ``exp(-(e / u)^2)``, ``u`` its radial standard error.
    """
    uncertainty_limit_m = limits.position_error_m / math.sqrt(-math.log(0.05))
    return MoveRules(tolerance_m, limits.straddling_m, uncertainty_limit_m)


def _refuse_own(info: LayerInfo, schema: pa.Schema) -> None:
    refuse_own_columns(str(info.path), [name for name in schema.names if name != GEOMETRY])


def _understand(info: LayerInfo, places: Points) -> tuple[str, ...]:
    return understand(info.crs_wkt, places, name=str(info.path)).findings


def _extended(survey: LayerSurvey) -> pa.Schema:
    schema = survey.schema
    for column in _ADDED:
        schema = schema.append(column)
    return schema


def _with_outcome(
    moved: Iterator[tuple[pa.RecordBatch, MovedBatch]], tally: Tally, went: list[NDArray[np.bool_]], run: str
) -> Iterator[pa.RecordBatch]:
    for batch, outcome in moved:
        tally.add(outcome)
        went.append(outcome.moved)
        columns = [
            outcome.geometry if name == GEOMETRY else batch.column(i) for i, name in enumerate(batch.schema.names)
        ]
        added = _outcome_columns(outcome, run)
        names = [*batch.schema.names, *(column.name for column in _ADDED)]
        yield pa.RecordBatch.from_arrays([*columns, *added], names=names)


def _parted(survey: LayerSurvey, went: list[NDArray[np.bool_]], executor: Executor) -> tuple[str, ...]:
    """Said, because nobody looks at the neighbours here: in a migration the stage quality does."""
    count = moved_beside_staying(survey, np.concatenate([np.zeros(0, bool), *went]), executor)
    return (f"{count} moved features touch one that stays, and part from it: look at them together.",) if count else ()


def _outcome_columns(outcome: MovedBatch, run: str) -> list[pa.Array]:
    status = np.where(outcome.moved, MOVED, np.where(outcome.blocked_by == NO_GEOMETRY, UNMOVED, OPEN))
    shift_m = np.where(outcome.moved, outcome.shift_m, 0.0)
    return [
        pa.array(status.astype(object), pa.string()),
        pa.array(outcome.blocked_by.astype(object), pa.string()),
        pa.array(shift_m),
        pa.array(outcome.uncertainty_m, mask=~outcome.moved | np.isnan(outcome.uncertainty_m)),
        pa.array([run] * len(shift_m), pa.string()),
    ]

"""The second pass over a layer: every batch moved, on both cores, in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.formats import GEOMETRY
from pipeline.geometry.attached import Attached
from pipeline.geometry.in_order import in_order
from pipeline.geometry.layer_survey import LayerSurvey
from pipeline.geometry.move import HangingNodes, MovedBatch, MoveRules, move_geometries
from pipeline.geometry.rigid import find_groups
from transforms.contract import ShiftField

WORKERS = 2

Shape = Literal["follow", "rigid"]
"""``follow``: every vertex by its place. ``rigid``: one shift and rotation per feature or group of touching ones."""


@dataclass
class Tally:
    """What happened to the features of a layer, counted as they pass."""

    features: int = 0
    moved: int = 0
    vertices: int = 0
    vertices_added: int = 0
    curves_kept: int = 0
    curves_densified: int = 0
    blocked: Counter[str] = field(default_factory=Counter)

    def add(self, batch: MovedBatch) -> None:
        """Count one more batch."""
        self.features += len(batch.moved)
        self.moved += int(batch.moved.sum())
        self.vertices += batch.vertices
        self.vertices_added += int(batch.vertices_added.sum())
        self.curves_kept += int(batch.curves_kept.sum())
        self.curves_densified += int(batch.curves_densified.sum())
        codes, counts = np.unique(batch.blocked_by[batch.blocked_by != ""], return_counts=True)
        self.blocked.update(dict(zip(codes.tolist(), counts.tolist(), strict=True)))


def move_layer(
    survey: LayerSurvey,
    shift_field: ShiftField,
    rules: MoveRules,
    shape: Shape,
    executor: Executor,
    *,
    wanted: NDArray[np.bool_] | None = None,
    with_distances: bool = False,
    attached: Attached | None = None,
) -> Iterator[tuple[pa.RecordBatch, MovedBatch]]:
    """The batches of a surveyed layer, each with its move.

    Parameters
    ----------
    survey
        The first pass.
    shift_field, rules, shape
        How features move.
    executor
        Where.
    wanted
        ``(n,)`` which features of the whole layer to move; all where left out.
    with_distances
        Whether to measure the distances to control and breaks.
    attached
        Where vertices of the whole layer are attached to; only the shift moves them where left out.
    """
    groups = find_groups(survey, shift_field, executor) if shape == "rigid" else None

    def move(item: tuple[int, int, pa.RecordBatch, HangingNodes]) -> tuple[pa.RecordBatch, MovedBatch]:
        number, first, batch, nodes = item
        array = batch.column(batch.schema.get_field_index(GEOMETRY))
        asked = None if wanted is None else wanted[first : first + len(batch)]
        rigid = None if groups is None else groups.from_feature(first)
        its = None if attached is None else attached.between(*survey.first_vertex[number : number + 2])
        moved = move_geometries(
            array,
            shift_field,
            rules=rules,
            nodes=nodes,
            wanted=asked,
            with_distances=with_distances,
            rigid=rigid,
            attached=its,
        )
        return batch, moved

    with survey.batches() as batches:
        yield from in_order(executor, move, _numbered(batches))


def _numbered(
    batches: Iterator[tuple[pa.RecordBatch, HangingNodes]],
) -> Iterator[tuple[int, int, pa.RecordBatch, HangingNodes]]:
    """With the number of the batch and of its first feature."""
    first = 0
    for number, (batch, nodes) in enumerate(batches):
        yield number, first, batch, nodes
        first += len(batch)

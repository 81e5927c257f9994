"""The first pass over a layer: what its numbers are, and what its hanging nodes.

A layer of moderate size is kept for the second pass; a large one is opened and read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.formats import GEOMETRY, LayerInfo, LayerStream
from pipeline.geometry.hanging import LaidOut, NodeFinder
from pipeline.geometry.in_order import in_order
from pipeline.geometry.move import HangingNodes
from pipeline.geometry.wkb_batch import WkbBatch
from transforms.contract import Points

MOST_KEPT_BYTES = 192 << 20
SAMPLE_VERTICES = 100_000

Opener = Callable[[], AbstractContextManager[LayerStream]]
"""Opens the layer from its beginning; every pass reads the same batches."""


@dataclass
class LayerSurvey:
    """What the first pass found.

    ``first_vertex`` has the number of each batch's first vertex and, last, the number of vertices; ``findings`` what
    was understood of the places; ``nodes`` the hanging nodes.
    """

    info: LayerInfo
    schema: pa.Schema
    opener: Opener
    findings: Sequence[str]
    first_vertex: list[int]
    nodes: HangingNodes
    kept: list[pa.RecordBatch] | None

    @property
    def hanging_nodes(self) -> int:
        """How many vertices hang on edges without a vertex there."""
        return len(self.nodes.segment)

    @contextmanager
    def batches(self) -> Iterator[Iterator[tuple[pa.RecordBatch, HangingNodes]]]:
        """The batches of the layer once more, each with the hanging nodes on its segments."""
        if self.kept is not None:
            yield self._with_nodes(iter(self.kept))
            return
        with self.opener() as stream:
            yield self._with_nodes(stream.batches)

    def _with_nodes(self, batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, HangingNodes]]:
        for number, batch in enumerate(batches):
            yield batch, self.nodes.between(self.first_vertex[number], self.first_vertex[number + 1])


@contextmanager
def survey_layer(
    opener: Opener,
    executor: Executor,
    *,
    check: Callable[[LayerInfo, pa.Schema], None] = lambda info, schema: None,
    understand: Callable[[LayerInfo, Points], Sequence[str]] = lambda info, places: (),
    others: Iterable[Points] = (),
) -> Iterator[LayerSurvey]:
    """Read a layer once, and find its hanging nodes.

    Parameters
    ----------
    opener
        Opens the layer.
    executor
        Where batches are looked at while the next one is read.
    check
        Called before the first feature is read; may refuse the layer.
    understand
        Called with some of the places as they stand in the file, before hanging nodes are sought (in degrees all
        places would lie within one another's reach); may refuse them, returns findings.
    others
        Places of other layers that move with the same field: they may hang on this layer's edges too.
    """
    with opener() as stream, NodeFinder() as finder:
        check(stream.info, stream.schema)
        sample: list[Points] = []
        first_vertex, kept, kept_bytes = [0], [], 0
        for batch, laid_out, some in in_order(executor, _look, stream.batches):
            finder.add(laid_out)
            first_vertex.append(finder.vertices)
            if first_vertex[-2] < SAMPLE_VERTICES:
                sample.append(some)
            kept_bytes += batch.nbytes
            if kept_bytes <= MOST_KEPT_BYTES:
                kept.append(batch)
            else:
                kept.clear()
        findings = understand(stream.info, np.concatenate(sample) if sample else np.empty((0, 2)))
        for places in others:
            finder.add_places(places)
        nodes = finder.find(executor)
        whole = kept if kept_bytes <= MOST_KEPT_BYTES else None
        yield LayerSurvey(stream.info, stream.schema, opener, findings, first_vertex, nodes, whole)


def _look(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, LaidOut, Points]:
    """A batch with what it says about hanging nodes, and some of its places."""
    runs = WkbBatch.of(batch.column(batch.schema.get_field_index(GEOMETRY)))
    return batch, LaidOut.of(runs), runs.place[:SAMPLE_VERTICES].copy()

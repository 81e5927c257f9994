"""Which features of a layer touch: they share a vertex, or a vertex of one lies on an edge of the other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.formats import GEOMETRY
from pipeline.geometry.in_order import in_order
from pipeline.geometry.layer_survey import LayerSurvey
from pipeline.geometry.move import HangingNodes
from pipeline.geometry.wkb_batch import WkbBatch
from transforms.contract import Points

Named = tuple[NDArray[np.int64], NDArray[np.uint64]]


def touch_points(batch: WkbBatch, nodes: HangingNodes) -> Named:
    """The feature (row of the batch) and the name of every place where a feature of the batch may touch another.

    Parameters
    ----------
    batch
        The geometries.
    nodes
        The hanging nodes on their segments, numbered from the first vertex of the batch.

    Returns
    -------
    feature, name
        ``(k,)`` each; equal places have equal names.
    """
    places = np.concatenate([batch.place, nodes.place])
    return np.concatenate([batch.feature, batch.feature[nodes.segment]]), _names(places)


def _names(places: Points) -> NDArray[np.uint64]:
    """64 bits that tell places apart."""
    bits = np.ascontiguousarray(places).view(np.uint64)
    mixed = (bits[:, 0] ^ (bits[:, 0] >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ bits[:, 1] ^ (bits[:, 1] >> np.uint64(29))) * np.uint64(0xC2B2AE3D27D4EB4F)
    return np.asarray(mixed ^ (mixed >> np.uint64(32)))


def moved_beside_staying(survey: LayerSurvey, moved: NDArray[np.bool_], executor: Executor) -> int:
    """How many of the features that ``moved`` touch one that stayed, and so part from it.

    Parameters
    ----------
    survey
        The layer.
    moved
        ``(n,)`` for every feature of the layer.
    executor
        Where the layer is looked through.
    """
    if moved.all() or not moved.any():
        return 0
    staying = np.unique(np.concatenate([name[~goes] for goes, _, name in _each_batch(survey, moved, executor)]))
    if not len(staying):
        return 0
    return sum(
        len(np.unique(feature[goes & _are_among(name, staying)]))
        for goes, feature, name in _each_batch(survey, moved, executor)
    )


def _each_batch(
    survey: LayerSurvey, moved: NDArray[np.bool_], executor: Executor
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.uint64]]]:
    """Of every touch point of each batch: whether its feature moved, the feature, the name of the place."""

    def look(item: tuple[pa.RecordBatch, HangingNodes]) -> tuple[int, Named]:
        batch, nodes = item
        return len(batch), touch_points(WkbBatch.of(batch.column(batch.schema.get_field_index(GEOMETRY))), nodes)

    first = 0
    with survey.batches() as batches:
        for count, (feature, name) in in_order(executor, look, batches):
            yield moved[first + feature], feature, name
            first += count


def _are_among(names: NDArray[np.uint64], few: NDArray[np.uint64]) -> NDArray[np.bool_]:
    at = np.minimum(np.searchsorted(few, names), len(few) - 1)
    return np.asarray(few[at] == names)

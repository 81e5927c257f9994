"""The edges of a layer as arrays, from its vertices and hanging nodes; and new places back in that numbering."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.attached import Attached
from pipeline.geometry.move import HangingNodes
from pipeline.geometry.wkb import Integers, Kind
from pipeline.geometry.wkb_batch import WkbBatch
from qa.attachment import Attachment
from qa.following import Edges, Following
from transforms.contract import Points


@dataclass(frozen=True)
class LayerEdges:
    """The edges of a layer, and which vertices and nodes they run between.

    Parameters
    ----------
    edges
        The edges of the features that may be attached, between neighbouring vertices and hanging nodes.
    nodes
        The hanging nodes of the layer.
    vertex_place, node_place
        Row of ``edges.place`` of each vertex and node of the layer; -1 for those of other features.
    segment, low, high
        ``(e,)`` the segment each edge is part of, and from where to where along it.
    """

    edges: Edges
    nodes: HangingNodes
    vertex_place: Integers
    node_place: Integers
    segment: Integers
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, batch: WkbBatch, nodes: HangingNodes, wanted: NDArray[np.bool_]) -> LayerEdges:
        """The edges of the ``wanted`` features ``(n,)`` of a layer."""
        vertex = np.flatnonzero(wanted[batch.feature])
        node = np.flatnonzero(wanted[batch.feature[nodes.segment]])
        place, number = _once(np.concatenate([batch.place[vertex], nodes.place[node]]))
        vertex_place, node_place = np.full(len(batch.place), -1), np.full(len(nodes.segment), -1)
        vertex_place[vertex], node_place[node] = number[: len(vertex)], number[len(vertex) :]
        begins = vertex[batch.is_segment[vertex]]
        segment = np.concatenate([begins, nodes.segment[node], begins])
        along = np.concatenate([np.zeros(len(begins)), nodes.fraction[node], np.ones(len(begins))])
        at = np.concatenate([vertex_place[begins], node_place[node], vertex_place[begins + 1]])
        order = np.lexsort((along, segment))
        segment, along, at = segment[order], along[order], at[order]
        first = np.flatnonzero((segment[:-1] == segment[1:]) & (at[:-1] != at[1:]))
        edges = Edges(place, at[first], at[first + 1], batch.feature[segment[first]])
        return cls(edges, nodes, vertex_place, node_place, segment[first], along[first], along[first + 1])

    def attached(self, following: Following, attachment: Attachment) -> Attached:
        """The new places in the numbering of the layer."""
        nowhere = np.full((1, 2), np.nan)
        image = np.concatenate([attachment.image, nowhere])  # the last row answers for -1
        cut = np.flatnonzero(attachment.cut_needed)
        edge = following.edge[cut]
        share = self.low[edge] + following.share[cut] * (self.high - self.low)[edge]
        segment = np.concatenate([self.nodes.segment, self.segment[edge]])
        fraction = np.concatenate([self.nodes.fraction, share])
        place = np.concatenate([self.nodes.place, following.place[following.cut[cut]]])
        node_image = np.concatenate([image[self.node_place], attachment.image[following.cut[cut]]])
        order = np.lexsort((fraction, segment))
        segment, fraction = segment[order], fraction[order]
        straight = self._straight(following, attachment)
        return Attached(
            image[self.vertex_place],
            np.isin(np.arange(len(self.vertex_place)), straight),
            segment,
            fraction,
            place[order],
            node_image[order],
            np.isin(segment + fraction, straight),
        )

    def _straight(self, following: Following, attachment: Attachment) -> NDArray[np.float64]:
        """Where stretches begin that follow a line, as segment + fraction.

        A stretch runs from one vertex, node or needed cut to the next; it follows if its pieces do.
        """
        begins = np.concatenate([np.ones(len(self.segment), bool), attachment.cut_needed])
        edge = np.concatenate([np.arange(len(self.segment)), following.edge])
        share = np.concatenate([np.zeros(len(self.segment)), following.share])
        at = np.concatenate([self.edges.start, following.cut])
        order = np.lexsort((share, edge))
        begins, edge, share, at = begins[order], edge[order], share[order], at[order]
        follows = _follows_from(edge, at, following, attachment)
        stretch = np.cumsum(begins) - 1
        whole = np.bincount(stretch, weights=~follows) == 0 if len(stretch) else np.empty(0, bool)
        first = np.flatnonzero(begins)
        low, high = self.low[edge[first]], self.high[edge[first]]
        return np.asarray((self.segment[edge[first]] + low + share[first] * (high - low))[whole])


def _follows_from(edge: Integers, place: Integers, following: Following, attachment: Attachment) -> NDArray[np.bool_]:
    """Whether the piece of ``edge`` that begins at ``place`` follows, ``(n,)``; True where there is none."""
    count = len(following.place)
    key = following.piece_edge * count + following.piece_start
    order = np.argsort(key)
    wanted = edge * count + place
    at = np.minimum(np.searchsorted(key[order], wanted), max(len(key) - 1, 0))
    found = key[order][at] == wanted if len(key) else np.zeros(len(wanted), dtype=bool)
    return np.where(found, attachment.piece_follows[order][at], True) if len(key) else ~found


def attachable(batch: WkbBatch, moved: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of the ``moved`` features are drawn with straight edges throughout; curves are left as shifted."""
    curved = np.zeros(len(batch), dtype=bool)
    curved[batch.runs.feature[batch.runs.kind == Kind.ARCS]] = True
    return np.asarray(moved & ~curved)


def _once(places: Points) -> tuple[Points, Integers]:
    """Each place once, in ascending order, and the row of each of ``places`` among them."""
    if not len(places):
        return places, np.empty(0, np.int64)
    order = np.lexsort((places[:, 1], places[:, 0]))
    new = np.r_[True, (places[order][1:] != places[order][:-1]).any(axis=1)]
    number = np.empty(len(places), dtype=np.int64)
    number[order] = np.cumsum(new) - 1
    return places[order][new], number

"""Where re-attachment puts the vertices of a layer, in the numbering in which batches are moved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.wkb import Integers
from transforms.contract import Points


@dataclass(frozen=True)
class Attached:
    """New places for vertices and hanging nodes, and the edges that are straight between them.

    Parameters
    ----------
    image
        ``(vertices,)`` by 2: the new place of each vertex of the layer; NaN where only the shift moves it.
    is_straight
        ``(vertices,)`` whether the edge from a vertex to the next known place lies on one line of the map.
    segment, fraction, place
        ``(k,)``, ``(k,)``, ``(k, 2)`` hanging nodes as in ``HangingNodes``: those of the layer, and the map's vertices
        that an edge needs.
    node_image, node_is_straight
        ``(k, 2)``, ``(k,)`` the same for the nodes.
    """

    image: Points
    is_straight: NDArray[np.bool_]
    segment: Integers
    fraction: NDArray[np.float64]
    place: Points
    node_image: Points
    node_is_straight: NDArray[np.bool_]

    def between(self, first: int, after: int) -> Attached:
        """What belongs to vertices ``first`` to ``after - 1``, numbered from ``first``."""
        low, high = np.searchsorted(self.segment, [first, after])
        return Attached(
            self.image[first:after],
            self.is_straight[first:after],
            self.segment[low:high] - first,
            self.fraction[low:high],
            self.place[low:high],
            self.node_image[low:high],
            self.node_is_straight[low:high],
        )

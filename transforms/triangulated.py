"""The triangulated shift: linear in each Delaunay triangle of control; what rubber sheets do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from .complex_places import is_place
from .contract import Control, Points
from .exact import DistanceError, Exact
from .support import Support
from .trend import Frame

ON_EDGE = 1e-9
"""A barycentric weight this small means on the edge: two triangles then claim the place."""


@dataclass(frozen=True)
class Mesh:
    """The Delaunay triangles of control.

    Parameters
    ----------
    frame
        The unit frame that the triangles are kept in.
    delaunay
        The triangles.
    kept
        ``(m,)`` triangles that do not bridge land without control.
    """

    frame: Frame
    delaunay: Delaunay
    kept: NDArray[np.bool_]

    @classmethod
    def of(cls, support: Support) -> Mesh:
        """The triangles of the support's control; those longer than its reach on both sides are left out."""
        frame = Frame.of(support.before)
        delaunay = Delaunay(frame(support.before))
        corners = support.before[delaunay.simplices]
        longest = np.hypot(*np.moveaxis(corners - np.roll(corners, 1, axis=1), 2, 0)).max(axis=1)
        return cls(frame, delaunay, longest <= 2.0 * support.reach_m[delaunay.simplices].max(axis=1))

    def locate(self, points: Points) -> NDArray[np.int_]:
        """The triangle ``(n,)`` that each point lies in; -1 outside."""
        triangle = np.full(len(points), -1)
        finite = np.flatnonzero(is_place(points))
        triangle[finite] = self.delaunay.find_simplex(self.frame(points[finite]))
        return np.where(self.kept[triangle], triangle, -1)

    def corner_weights(
        self, points: Points, triangle: NDArray[np.int_]
    ) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
        """Corners ``(n, 3)`` by rising number and their barycentric weights ``(n, 3)``.

        On an edge or a corner the weights do not depend on which of its triangles was found, to the last bit.
        """
        unit = self.frame(points)
        matrix = self.delaunay.transform[triangle]
        offset = unit - matrix[:, 2]
        first = matrix[:, 0, 0] * offset[:, 0] + matrix[:, 0, 1] * offset[:, 1]
        second = matrix[:, 1, 0] * offset[:, 0] + matrix[:, 1, 1] * offset[:, 1]
        weights = np.stack([first, second, 1.0 - first - second], axis=1)
        corners = self.delaunay.simplices[triangle]
        order = np.argsort(corners, axis=1)
        corners, weights = np.take_along_axis(corners, order, 1), np.take_along_axis(weights, order, 1)
        rows = np.flatnonzero((np.abs(weights) < ON_EDGE).any(axis=1))
        weights[rows] = self._edge_weights(unit[rows], corners[rows], weights[rows])
        return corners, weights

    def _edge_weights(
        self, unit: Points, corners: NDArray[np.int_], weights: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Weights of places on an edge, from its two ends alone (the ends in the order of their numbers)."""
        on_edge = np.abs(weights) >= ON_EDGE
        ends = np.argsort(~on_edge, axis=1, kind="stable")[:, :2]
        start, end = (self.delaunay.points[np.take_along_axis(corners, ends, 1)[:, k]] for k in (0, 1))
        along = end - start
        square = along[:, 0] ** 2 + along[:, 1] ** 2
        share = ((unit - start)[:, 0] * along[:, 0] + (unit - start)[:, 1] * along[:, 1]) / square
        share = np.where(on_edge.sum(axis=1) == 1, 0.0, share)
        exact = np.zeros_like(weights)
        np.put_along_axis(exact, ends, np.stack([1.0 - share, share], axis=1), 1)
        return exact


@dataclass(frozen=True)
class Triangulated(Exact):
    """Linear interpolation in the Delaunay triangles of control.

    Examples
    --------
    >>> before = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [100.0, 100.0]])
    >>> after = before + np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> Triangulated.fit(Control(before, after))(np.array([[50.0, 25.0]])).round(6)
    array([[50.5 , 25.25]])
    """

    mesh: Mesh

    name = "triangulation"

    @classmethod
    def _built(cls, control: Control, error: DistanceError) -> Self:
        support = Support.around(control.before)
        return cls(control, support, error, Mesh.of(support))

    def covers(self, points: Points) -> NDArray[np.bool_]:
        """Which points lie in a triangle and near enough to control, ``(n,)``."""
        covered = self.support.covers(points)
        covered[covered] = self.mesh.locate(points[covered]) >= 0
        return covered

    def shift_at(self, points: Points) -> Points:
        """New minus old ``(n, 2)`` in metres; NaN outside the triangles."""
        shift = np.full(points.shape, np.nan)
        triangle = self.mesh.locate(points)
        rows = np.flatnonzero(triangle >= 0)
        corners, weights = self.mesh.corner_weights(points[rows], triangle[rows])
        at_corner = self.control.shift[corners]
        terms = [weights[:, [k]] * at_corner[:, k] for k in range(3)]
        shift[rows] = terms[0] + terms[1] + terms[2]
        return shift

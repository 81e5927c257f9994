"""The natural-neighbour shift: each place is a mean of the control around it, by the walls of its Voronoi cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .contract import Control, Points
from .exact import DistanceError, Exact
from .support import Support
from .triangulated import Mesh, Triangulated

ROWS_AT_ONCE = 20_000
COINCIDENT = 1e-9
"""In the unit frame: a tenth of a millimetre over a hundred kilometres."""


@dataclass(frozen=True)
class NaturalNeighbour(Exact):
    """Natural-neighbour interpolation with Laplace weights.

    Notes
    -----
    The weight of a neighbour is the length of the wall it would share with the place in the Voronoi diagram,
    over its distance (Belikov et al., 1997; also called non-Sibsonian). On the edge of the hull, where a wall
    has no end, the shift is the triangulation's.

    Examples
    --------
    >>> before = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [100.0, 100.0], [40.0, 60.0]])
    >>> NaturalNeighbour.fit(Control(before, before * 1.01))(np.array([[30.0, 20.0]])).round(6)
    array([[30.3, 20.2]])
    """

    triangulated: Triangulated
    circle: NDArray[np.float64]

    name = "natural-neighbour interpolation"

    @classmethod
    def _built(cls, control: Control, error: DistanceError) -> Self:
        support = Support.around(control.before)
        mesh = Mesh.of(support)
        corners = mesh.delaunay.points[mesh.delaunay.simplices]
        centre = _circumcentre(corners[:, 0], corners[:, 1], corners[:, 2])
        square = ((corners[:, 0] - centre) ** 2).sum(axis=1)
        triangulated = Triangulated(control, support, error, mesh)
        return cls(control, support, error, triangulated, np.column_stack([centre, square]))

    def covers(self, points: Points) -> NDArray[np.bool_]:
        """Which points lie in a triangle and near enough to control, ``(n,)``."""
        return self.triangulated.covers(points)

    def shift_at(self, points: Points) -> Points:
        """New minus old ``(n, 2)`` in metres; NaN outside the triangles."""
        parts = [self._shift_of(points[i : i + ROWS_AT_ONCE]) for i in range(0, len(points), ROWS_AT_ONCE)]
        return np.concatenate(parts) if parts else np.empty((0, 2))

    def _shift_of(self, points: Points) -> Points:
        shift = self.triangulated.shift_at(points)
        unit = self.triangulated.mesh.frame(points)
        triangle = self.triangulated.mesh.locate(points)
        row, start, end = _walls(
            *self._cavity(unit, triangle),
            self.triangulated.mesh.delaunay.neighbors,
            self.triangulated.mesh.delaunay.simplices,
        )
        row, neighbour, weight = self._laplace(unit, row, start, end)
        total = np.bincount(row, weight, minlength=len(points))
        sums = [np.bincount(row, weight * column[neighbour], minlength=len(points)) for column in self.control.shift.T]
        # A place in line with an edge has a corner at infinity: no mean, and the triangle answers.
        with np.errstate(invalid="ignore"):
            found = np.stack(sums, axis=1) / np.where(total > 0, total, np.nan)[:, None]
        usable = np.isfinite(found).all(axis=1) & ~self._is_at_control(points)
        return np.where(usable[:, None], found, shift)

    def _is_at_control(self, points: Points) -> NDArray[np.bool_]:
        return self.support.distance_m(points) < COINCIDENT * self.triangulated.mesh.frame.half_width_m

    def _cavity(self, unit: Points, triangle: NDArray[np.int_]) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
        """Pairs (row, triangle) of the triangles whose circumcircle holds the row's place, sorted."""
        count = len(self.circle)
        row = np.flatnonzero(triangle >= 0)
        found = front = row * count + triangle[row]
        while len(front):
            row = np.repeat(front, 3) // count
            there = self.triangulated.mesh.delaunay.neighbors[front % count].ravel()
            row, there = row[there >= 0], there[there >= 0]
            offset = unit[row] - self.circle[there, :2]
            inside = offset[:, 0] ** 2 + offset[:, 1] ** 2 < self.circle[there, 2]
            front = np.setdiff1d(row[inside] * count + there[inside], found)
            found = np.union1d(found, front)
        return np.divmod(found, count)

    def _laplace(
        self, unit: Points, row: NDArray[np.int_], start: NDArray[np.int_], end: NDArray[np.int_]
    ) -> tuple[NDArray[np.int_], NDArray[np.int_], NDArray[np.float64]]:
        """Rows, their neighbours and the Laplace weight of each."""
        places = self.triangulated.mesh.delaunay.points
        with np.errstate(divide="ignore", invalid="ignore"):
            corner = _circumcentre(unit[row], places[start], places[end])
            leaving, arriving = np.lexsort((start, row)), np.lexsort((end, row))
            wall = np.hypot(*(corner[leaving] - corner[arriving]).T)
            row, neighbour = row[leaving], start[leaving]
            return row, neighbour, wall / np.hypot(*(unit[row] - places[neighbour]).T)


def _walls(
    row: NDArray[np.int_], triangle: NDArray[np.int_], neighbours: NDArray[np.int_], corners: NDArray[np.int_]
) -> tuple[NDArray[np.int_], NDArray[np.int_], NDArray[np.int_]]:
    """The edges around each row's cavity: row, first and second control point, anticlockwise."""
    count = len(neighbours)
    beyond = neighbours[triangle]
    within = np.isin(row[:, None] * count + beyond, row * count + triangle) & (beyond >= 0)
    pair, side = np.nonzero(~within)
    start, end = corners[triangle[pair], (side + 1) % 3], corners[triangle[pair], (side + 2) % 3]
    return row[pair], start, end


def _circumcentre(first: Points, second: Points, third: Points) -> Points:
    # About the first corner: absolute coordinates would lose the digits that the area needs.
    one, two = second - first, third - first
    twice_area = 2.0 * (one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0])
    square_one, square_two = (one**2).sum(axis=1), (two**2).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # of three in a line it lies nowhere
        east = (two[:, 1] * square_one - one[:, 1] * square_two) / twice_area
        north = (one[:, 0] * square_two - two[:, 0] * square_one) / twice_area
    return first + np.stack([east, north], axis=1)

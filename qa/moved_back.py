"""How features lie when they are moved back on trial, by whole metres in every direction, and what that tells.

There are several ways of telling: outlines lie on lines, addresses in buildings, or at their centres. Trees stand where
they like; but where they are drawn many of them stand near a line, or off it by what a hedge is wide. Anywhere else
they stand at any distance, so their distances from lines differ most from chance where they belong.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import shapely
from numpy.typing import NDArray

from qa.base_maps import BaseMaps, Edition, Geometries
from qa.coincidence import Vertices
from transforms.complex_places import is_place
from transforms.contract import Points

Numbers = NDArray[np.float64]
Rows = NDArray[np.int_]

_ON_A_LINE_M, _AT_A_CENTRE_M = 0.6, 0.75

_ALONG = np.array([1 / 6, 1 / 2, 5 / 6])
"""Where along its outline a feature is looked at: a corner stays on a line when it is moved along one."""

_AS_GOOD = 0.97
"""Places that fit nearly as well as the best; the displacement is their middle."""

_DISTANCE_BOUNDS_M = np.array([0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0])
_CLASSES = len(_DISTANCE_BOUNDS_M) + 1
_EACH = 0.5
"""What each class counts before anything is seen."""

_LEAST_GAIN, _STANDARD_ERRORS = 0.1, 4.0
"""What the share of vertices that lies well must gain in the mean, and how surely."""

_LEAST_LOG_ODDS, _STANDARD_ERRORS_OF_BLOCKS = 25.0, 3.0
"""What the log odds must gain in all, and how surely: points that stand anywhere gained 17 at the most, by 2.8."""

_BLOCK_M, _LEAST_BLOCKS = 100.0, 10
"""What stands nearer together, as in an avenue, may all stand at the same distance from one line."""

_COLLECTION = shapely.GeometryType.GEOMETRYCOLLECTION


def _lattice(reach_m: float, step_m: float) -> Points:
    """Displacements ``(m, 2)`` of up to ``reach_m`` in all directions."""
    steps = np.arange(-reach_m, reach_m + 0.5 * step_m, step_m)
    every = np.stack(np.meshgrid(steps, steps), axis=2).reshape(-1, 2)
    return np.asarray(every[np.hypot(*every.T) <= reach_m])


WHOLE_METRES, _QUARTER_METRES = _lattice(8.0, 1.0), _lattice(1.25, 0.25)
NOT_AT_ALL = int(np.hypot(*WHOLE_METRES.T).argmin())
FAR = np.hypot(*WHOLE_METRES.T) > 1.5
"""Further than one draws beside a line, or beside the middle of a house, by not caring."""


class Way(ABC):
    """A way of telling whether features lie as they should: ``most`` of a layer are looked at, and of those that may be
    displaced alike at least ``least``.
    """

    most, least = 3000, 5

    def is_asked(self, vertices: Vertices, base: BaseMaps) -> NDArray[np.bool_]:
        """Which features it is a way for, ``(n,)``: those with a place."""
        return np.isfinite(vertices.middle()[:, 0])

    @abstractmethod
    def tried(self, vertices: Vertices, rows: Rows, base: BaseMaps) -> Numbers:
        """What is seen of ``rows`` on each edition, moved back by each of ``WHOLE_METRES``, ``(2, rows, tried)``."""

    @abstractmethod
    def score(self, tried: Numbers) -> Numbers:
        """How well each feature of a group lies, the more the better; shape as that of ``tried``."""

    @abstractmethod
    def is_sure(self, gain: Numbers, places: Points) -> bool:
        """Whether ``(n,)`` gains in score of features at ``(n, 2)`` places are no chance, though the largest."""

    @abstractmethod
    def refined(self, vertices: Vertices, rows: Rows, edition: Edition, about: Points) -> Points:
        """By how much ``rows`` are displaced ``(2,)``, more exactly than ``about``."""


class ByShare(Way):
    """By the share of its vertices that lies well, a feature's score."""

    @abstractmethod
    def lies_well(self, edition: Edition, points: Points) -> NDArray[np.bool_]:
        """Which of ``(m, 2)`` places lie as they should, ``(m,)``."""

    def tried(self, vertices: Vertices, rows: Rows, base: BaseMaps) -> Numbers:
        """The share of the vertices of each that lies well."""
        return np.stack([self.shares(vertices, rows, edition, WHOLE_METRES) for edition in editions(base)])

    def score(self, tried: Numbers) -> Numbers:
        """That share."""
        return tried

    def is_sure(self, gain: Numbers, places: Points) -> bool:
        """In the mean, by its standard error."""
        standard_error = gain.std() / np.sqrt(len(gain))
        return bool(gain.mean() > max(_LEAST_GAIN, _STANDARD_ERRORS * standard_error))

    def shares(self, vertices: Vertices, rows: Rows, edition: Edition, displacements: Points) -> Numbers:
        """The share of each row's vertices that lies well when moved back, ``(rows, displacements)``."""
        points, of_row = _of_rows(vertices, rows)
        lies_well = self.lies_well(edition, _moved_back(points, displacements)).reshape(len(displacements), -1)
        total = np.zeros((len(rows), len(displacements)))
        np.add.at(total, of_row, lies_well.T.astype(float))
        return np.asarray(total / np.bincount(of_row, minlength=len(rows))[:, None])

    def lie_well(self, vertices: Vertices, edition: Edition, by: Points | float = 0.0) -> NDArray[np.bool_]:
        """Which features, moved back ``by`` so much, lie well by themselves and all over, ``(n,)``."""
        return np.asarray(vertices.mean(self.lies_well(edition, vertices.points - by).astype(float)) == 1.0)


class _OnLines(ByShare):
    def lies_well(self, edition: Edition, points: Points) -> NDArray[np.bool_]:
        return np.isfinite(edition.line_distance_m(points, within_m=_ON_A_LINE_M))

    def tried(self, vertices: Vertices, rows: Rows, base: BaseMaps) -> Numbers:
        """What lies on lines is taken to lie well nowhere else."""
        shares = np.zeros((2, len(rows), len(WHOLE_METRES)))
        for share, edition in zip(shares, editions(base), strict=True):
            share[:, NOT_AT_ALL] = self.shares(vertices, rows, edition, np.zeros((1, 2)))[:, 0]
        loose = np.flatnonzero(shares[:, :, NOT_AT_ALL].max(axis=0) < 1.0)
        for share, edition in zip(shares, editions(base), strict=True):
            share[loose] = self.shares(vertices, rows[loose], edition, WHOLE_METRES)
        return shares

    def refined(self, vertices: Vertices, rows: Rows, edition: Edition, about: Points) -> Points:
        """The middle of the displacements that bring the vertices onto lines nearly as well as the best."""
        tried = about + _QUARTER_METRES
        share = self.shares(vertices, rows, edition, tried).mean(axis=0)
        return np.asarray(tried[share >= _AS_GOOD * share.max()].mean(axis=0))


class _InBuildings(ByShare):
    def lies_well(self, edition: Edition, points: Points) -> NDArray[np.bool_]:
        return np.asarray(edition.area_at(points) >= 0)

    def refined(self, vertices: Vertices, rows: Rows, edition: Edition, about: Points) -> Points:
        """How far the points lie from the centres of the buildings that ``about`` brings them into, in the median."""
        points, _ = _of_rows(vertices, rows)
        building = edition.area_at(points - about)
        if not (building >= 0).any():
            return about
        centres = shapely.get_coordinates(shapely.centroid(edition.areas.geometries[building[building >= 0]]))
        return np.asarray(np.median(points[building >= 0] - centres, axis=0))


class _AtCentres(_InBuildings):
    def lies_well(self, edition: Edition, points: Points) -> NDArray[np.bool_]:
        return np.asarray(edition.centre_distance_m(points) <= _AT_A_CENTRE_M)


class _ByDistances(Way):
    """By the distances of free points from lines: by the log odds that it is not chance, a feature's score."""

    most, least = 1000, 30

    def is_asked(self, vertices: Vertices, base: BaseMaps) -> NDArray[np.bool_]:
        """Those in no building: what lies at the centre of one is as far from its walls as it is wide."""
        in_building = np.maximum(*(edition.area_at(vertices.points) for edition in editions(base))) >= 0
        return ~(vertices.mean(in_building.astype(float)) > 0) & super().is_asked(vertices, base)

    def tried(self, vertices: Vertices, rows: Rows, base: BaseMaps) -> Numbers:
        """The class of the distance of each."""
        points, of_row = _of_rows(vertices, rows)
        points = points[np.unique(of_row, return_index=True)[1]]  # one of each is enough
        moved_back = _moved_back(points, WHOLE_METRES)
        farthest_m = _DISTANCE_BOUNDS_M[-1]
        classes = [
            np.searchsorted(_DISTANCE_BOUNDS_M, edition.line_distance_m(moved_back, within_m=farthest_m))
            for edition in editions(base)
        ]
        return np.stack([each.reshape(len(WHOLE_METRES), -1).T.astype(float) for each in classes])

    def score(self, tried: Numbers) -> Numbers:
        """Against the classes of the same features wherever they are moved; of each it is the others that tell."""
        many, score = tried.shape[1], np.zeros(tried.shape)
        is_of = [tried == number for number in range(_CLASSES)]
        counts = np.stack([each.sum(axis=1) for each in is_of])
        anywhere = np.log((counts.sum(axis=2) + _EACH) / (many * tried.shape[2] + _EACH * _CLASSES))
        here = np.log((np.maximum(counts - 1, 0) + _EACH) / (many - 1 + _EACH * _CLASSES))
        for each, odds in zip(is_of, here - anywhere[:, :, None], strict=True):
            score += each * odds[:, None, :]
        return score

    def is_sure(self, gain: Numbers, places: Points) -> bool:
        """By blocks: what stands together, as in an avenue, may all be as far from one line."""
        _, block = np.unique(np.floor(places / _BLOCK_M), axis=0, return_inverse=True)
        of_block = np.bincount(block.ravel(), weights=gain - gain.mean())
        standard_error = np.sqrt((of_block**2).sum())
        return len(of_block) >= _LEAST_BLOCKS and bool(
            gain.sum() > max(_LEAST_LOG_ODDS, _STANDARD_ERRORS_OF_BLOCKS * standard_error)
        )

    def refined(self, vertices: Vertices, rows: Rows, edition: Edition, about: Points) -> Points:
        return about


_ON_LINES, _AT_CENTRES = _OnLines(), _AtCentres()
SHAPE_WAYS: tuple[Way, ...] = (_ON_LINES,)
POINT_WAYS: tuple[Way, ...] = (_InBuildings(), _AT_CENTRES, _ByDistances())


def lie_well(vertices: Vertices, base: BaseMaps, are_points: bool) -> NDArray[np.bool_]:
    """Which features lie as they should on either map, by themselves and all over, ``(n,)``."""
    way = _AT_CENTRES if are_points else _ON_LINES
    return way.lie_well(vertices, base.before) | way.lie_well(vertices, base.after)


def editions(base: BaseMaps) -> tuple[Edition, Edition]:
    """The old and the new map."""
    return base.before, base.after


def along(geometries: Geometries) -> Vertices:
    """Places along the outline of each of ``(n,)`` lines and areas; other shapes, and what has no place, have none."""
    points, feature = shapely.get_coordinates(geometries, return_index=True)
    rows = np.setdiff1d(feature, feature[~is_place(points)])
    outlines = np.where(
        shapely.get_dimensions(geometries[rows]) == 2, shapely.boundary(geometries[rows]), geometries[rows]
    )
    is_line = (shapely.get_dimensions(outlines) == 1) & (shapely.get_type_id(outlines) != _COLLECTION)
    rows, outlines = rows[is_line], outlines[is_line]
    places, of_outline = shapely.get_coordinates(
        shapely.line_interpolate_point(outlines[:, None], _ALONG, normalized=True).ravel(), return_index=True
    )
    return Vertices(places, rows[of_outline // len(_ALONG)], len(geometries))


def _of_rows(vertices: Vertices, rows: Rows) -> tuple[Points, Rows]:
    """The vertices ``(m, 2)`` of some features, and which of ``rows`` each belongs to."""
    number = np.full(vertices.count, -1)
    number[rows] = np.arange(len(rows))
    of_row = number[vertices.feature]
    return vertices.points[of_row >= 0], of_row[of_row >= 0]


def _moved_back(points: Points, displacements: Points) -> Points:
    """All of ``(m, 2)`` points moved back by each displacement, one displacement after the other."""
    return np.asarray((points[None] - displacements[:, None]).reshape(-1, 2))

"""Two editions of a base map drawn alike: areas where one was drawn in lines alone, and lines cut up in one way.

Land-Line, which most councils traced from, was lines without ids; MasterMap, which followed it, shows each building as
an area. Compared as delivered every building would seem to have been built anew: each address would lie in one on the
new map and in none on the old one. Which enclosed faces are buildings the areas of the other edition say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from qa.matching import match_features

Geometries = NDArray[np.object_]
Ints = NDArray[np.int_]
Mask = NDArray[np.bool_]

AREAS_OF_OTHER_RATIO = 0.1
"""An edition with fewer areas than so many of the other's was drawn in lines."""

KIND_OF_BUILDINGS_RATIO = 0.8
"""Where so many of the faces that lines of one kind enclose are areas on the other map, the rest are buildings too:
they were pulled down or built in between."""

LARGEST_M2 = 10_000.0
"""Where neither edition has areas, a closed line about more than this is no building's outline."""

COMMON_IDS_RATIO = 0.1
"""With fewer ids in common than so many of either edition's lines, ids do not say which line is which."""

_USUAL_SIZE_RATIO = 0.99
_BUILDING = re.compile(r"building|\b10021\b", re.IGNORECASE)
"""What kinds of buildings are called; MasterMap's feature code of them is 10021."""


@dataclass(frozen=True)
class Drawing:
    """One edition as it was delivered.

    Parameters
    ----------
    geometries
        ``(n,)`` points, lines and areas in metres.
    ids
        ``(n,)`` ids, None where unknown.
    kinds
        ``(n,)`` what each feature is of: its layer, descriptive group and feature code, as the delivery names them.
    """

    geometries: Geometries
    ids: NDArray[np.object_]
    kinds: NDArray[np.str_]

    @property
    def areas(self) -> Geometries:
        """The areas, ``(a,)``."""
        return self.geometries[self._is_area]

    @property
    def lines(self) -> tuple[Geometries, NDArray[np.str_]]:
        """The lines one by one, ``(m,)``, and the kind of each."""
        is_line = self._is_line
        lines, row = shapely.get_parts(shapely.force_2d(self.geometries[is_line]), return_index=True)
        return lines, self.kinds[is_line][row]

    @property
    def line_ids(self) -> NDArray[np.object_]:
        """The ids of the lines, None where unknown."""
        return self.ids[self._is_line]

    @property
    def in_single_parts(self) -> Drawing:
        """The same with what has several parts as so many features, of which no id says which is which.

        Whoever dissolves a map by its feature code makes one feature of all buildings: it moved as none of them did.
        """
        parts, row = shapely.get_parts(self.geometries, return_index=True)
        ids = self.ids[row]
        ids[np.bincount(row, minlength=len(self.geometries))[row] > 1] = None
        return Drawing(parts, ids, self.kinds[row])

    @property
    def each_once(self) -> Drawing:
        """The same without what it holds twice, as where tiles that overlap were put together."""
        first = _first_of_each(self.geometries)
        return Drawing(self.geometries[first], self.ids[first], self.kinds[first])

    @property
    def with_land_as_lines(self) -> Drawing:
        """The same with only its buildings as areas, where their kind tells them from land: that is drawn in lines."""
        is_building = np.array([_BUILDING.search(kind) is not None for kind in self.kinds], dtype=bool)
        is_land = self._is_area & ~is_building
        if not (self._is_area & is_building).any() or not is_land.any():
            return self
        outlines = shapely.boundary(self.geometries[is_land])
        return self._with(outlines[~_run_along(outlines, self.lines[0])], in_place_of=is_land)

    @property
    def joined(self) -> Drawing:
        """The same with its lines as long as they run without a fork, however they were cut up."""
        chains = shapely.get_parts(shapely.line_merge(shapely.multilinestrings(self.lines[0])))
        return self._with(chains, in_place_of=self._is_line)

    @property
    def without_areas(self) -> Drawing:
        """The same without its areas."""
        return self._with(self.geometries[:0], in_place_of=self._is_area)

    @property
    def without_rings_about_areas(self) -> Drawing:
        """The same without closed lines round its areas: which of both another edition shows could not be told."""
        is_ring = shapely.is_closed(self.geometries)
        if not is_ring.any():
            return self
        is_ring[is_ring] = _run_along(self.geometries[is_ring], shapely.boundary(self.areas))
        return self._with(self.geometries[:0], in_place_of=is_ring)

    def closed_to(self, areas: Geometries) -> Drawing:
        """The same with ``areas`` in the place of the lines that are nothing but their outlines."""
        is_outline = self._is_line
        is_outline[is_outline] = _run_along(self.geometries[is_outline], shapely.boundary(areas))
        return self._with(areas, in_place_of=is_outline)

    @property
    def _is_area(self) -> Mask:
        return np.asarray(shapely.get_dimensions(self.geometries) == 2)

    @property
    def _is_line(self) -> Mask:
        return np.asarray(shapely.get_dimensions(self.geometries) == 1)

    def _with(self, others: Geometries, *, in_place_of: Mask) -> Drawing:
        rest = ~in_place_of
        return Drawing(
            np.concatenate([others, self.geometries[rest]]),
            np.concatenate([_no_ids(others), self.ids[rest]]),
            np.concatenate([np.full(len(others), ""), self.kinds[rest]]),
        )


def drawn_alike(before: Drawing, after: Drawing) -> tuple[Drawing, Drawing]:
    """Both editions so that they can be compared.

    Each feature is there once, in one part. Areas are buildings alone, where their kinds tell these from land; and
    buildings are areas, where one of the editions or both were drawn in lines. Buildings that one of them alone shows
    are left out. Lines are joined where no ids say which is which, for one edition may cut them up where the other does
    not.
    """
    before, after = (each.in_single_parts.each_once.with_land_as_lines for each in (before, after))
    is_known_by_id = _have_ids_in_common(before.line_ids, after.line_ids)
    before, after = _both_with_areas(before.without_rings_about_areas, after.without_rings_about_areas)
    return (before, after) if is_known_by_id else (before.joined, after.joined)


def _have_ids_in_common(before: NDArray[np.object_], after: NDArray[np.object_]) -> bool:
    one, two = ({str(value) for value in ids if value} for ids in (before, after))
    return len(one & two) >= max(1.0, COMMON_IDS_RATIO * min(len(before), len(after)))


def _both_with_areas(before: Drawing, after: Drawing) -> tuple[Drawing, Drawing]:
    was, now = before.areas, after.areas
    if not len(was) and not len(now):
        return before.closed_to(_small_rings(before)), after.closed_to(_small_rings(after))
    if _are_few(was, now):
        before = before.closed_to(_buildings(before, now))
    elif _are_few(now, was):
        after = after.closed_to(_buildings(after, was))
    was, now = before.areas, after.areas
    return (before.without_areas, after.without_areas) if _are_few(was, now) or _are_few(now, was) else (before, after)


def _are_few(areas: Geometries, others: Geometries) -> bool:
    return len(areas) < AREAS_OF_OTHER_RATIO * len(others)


def _small_rings(drawing: Drawing) -> Geometries:
    lines, _ = drawing.joined.lines
    rings = _enclosed(lines[shapely.is_closed(lines)])
    return rings[shapely.area(rings) <= LARGEST_M2]


def _buildings(drawing: Drawing, areas: Geometries) -> Geometries:
    """The faces that are one of ``areas`` on the other map, and those like them; no two over each other."""
    faces, kind = _faces(*drawing.lines)
    is_area = np.zeros(len(faces), dtype=bool)
    is_area[match_features(faces, areas, _no_ids(faces), _no_ids(areas)).old] = True
    if not is_area.any():
        return faces[:0]
    ratio = np.bincount(kind, weights=is_area) / np.maximum(np.bincount(kind), 1)
    size_m2 = shapely.area(faces)
    is_usual = size_m2 <= np.quantile(size_m2[is_area], _USUAL_SIZE_RATIO)
    rest = faces[~is_area & is_usual & (ratio[kind] >= KIND_OF_BUILDINGS_RATIO)]
    over = shapely.STRtree(rest).query(shapely.point_on_surface(faces[is_area]), predicate="intersects")[1]
    return np.concatenate([faces[is_area], np.delete(rest, over)])


def _faces(lines: Geometries, kinds: NDArray[np.str_]) -> tuple[Geometries, Ints]:
    """What the lines enclose, each face once; and the number of what encloses it, ``(f,)``.

    First closed lines and others by their kind, each for itself; and last all lines together.
    """
    names = np.char.add(kinds, np.where(shapely.is_closed(lines), " closed", ""))
    of_kind, count = np.unique(names, return_inverse=True, return_counts=True)[1:]
    groups = np.split(lines[np.argsort(of_kind, kind="stable")], np.cumsum(count)[:-1])
    faces = [_enclosed(group) for group in (*groups, lines)]
    number = np.repeat(np.arange(len(faces)), [len(each) for each in faces])
    every = np.concatenate(faces)
    first = _first_of_each(shapely.normalize(every))
    return every[first], number[first]


def _first_of_each(geometries: Geometries) -> Ints:
    """The rows of geometries that are not the same as one before them, ascending."""
    rows = {geometry: row for row, geometry in reversed(list(enumerate(shapely.to_wkb(geometries))))}
    return np.sort(np.fromiter(rows.values(), dtype=np.int_, count=len(rows)))


def _enclosed(lines: Geometries) -> Geometries:
    faces = shapely.get_parts(shapely.polygonize(lines))
    return faces[shapely.is_valid(faces)]


def _run_along(lines: Geometries, others: Geometries) -> Mask:
    """Which of ``lines`` ``(n,)`` are made of segments of ``others`` alone."""
    segments, owner = _segments(lines)
    number = np.unique(np.concatenate([segments, _segments(others)[0]]), axis=0, return_inverse=True)[1]
    is_of_others = np.isin(number[: len(segments)], number[len(segments) :])
    return np.bincount(owner, weights=~is_of_others, minlength=len(lines)) == 0


def _segments(lines: Geometries) -> tuple[NDArray[np.float64], Ints]:
    """Both ends of every segment, ``(m, 4)``, the western (southern) one first; and the row of its line."""
    parts, line = shapely.get_parts(lines, return_index=True)
    points, part = shapely.get_coordinates(parts, return_index=True)
    first = np.flatnonzero(part[:-1] == part[1:])
    one, two = points[first], points[first + 1]
    is_turned = (one[:, 0] > two[:, 0]) | ((one[:, 0] == two[:, 0]) & (one[:, 1] > two[:, 1]))
    return np.where(is_turned[:, None], np.hstack([two, one]), np.hstack([one, two])), line[part[first]]


def _no_ids(geometries: Geometries) -> NDArray[np.object_]:
    return np.full(len(geometries), None, dtype=object)

"""Whether features lie beside both maps all alike: by the same distance in the same direction.

Coordinates that came through a wrong transformation are metres off, a whole layer or all that were captured in one way;
what was drawn from a sheet of paper that was wrongly placed, or on a scale of its own, is so from place to place; and
here and there somebody may have shifted features by what the map moved in the mean. What is learned from the layer then
is that its features lie metres beside their lines. So it is moved back on trial (``moved_back.py``), to see whether its
features come to lie as they do not where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qa.base_maps import BaseMaps, Geometries
from qa.coincidence import Vertices, evenly_placed
from qa.moved_back import FAR, NOT_AT_ALL, POINT_WAYS, SHAPE_WAYS, WHOLE_METRES, ByShare, Way, along, editions, lie_well
from transforms.contract import Points

Numbers = NDArray[np.float64]
Labels = NDArray[np.int_]

_SQUARES_M = 500.0, 1000.0, 2000.0, 4000.0
"""The sides of squares whose features are asked together, as drawn from one sheet of a plan."""

_MUCH = 0.2
"""Where more of a layer than that is displaced from place to place, the rest has to show that it is not."""

_LEAST_IN_A_QUARTER = 5

_LEAST_GAIN_OF_STRAYS = 0.2
"""They were chosen for lying badly, and of some four hundred displacements the best is asked, so by chance more of
their vertices lie well: where nothing was displaced 0.15 more at the most, where a tenth of the layer was 0.23 to 0.42.
"""


@dataclass(frozen=True)
class Displaced:
    """What of ``n`` features lies beside both maps.

    Parameters
    ----------
    by_m
        ``(n, 2)`` how far each is displaced along with its like, east and north; NaN where it is not.
    is_suspect
        ``(n,)`` whether much of its layer is displaced from place to place, and nothing shows that it is not.
    """

    by_m: Points
    is_suspect: NDArray[np.bool_]


def displaced(geometries: Geometries, base: BaseMaps, are_points: bool, groups: Sequence[Labels]) -> Displaced:
    """Which features are displaced along with their like, and how far.

    Parameters
    ----------
    geometries
        ``(n,)`` geometries at their old places; None and empty allowed.
    base
        The old and the new map.
    are_points
        True for points, which are to lie in buildings or at their centres; False for the others, which are to lie on
        lines.
    groups
        Ways of dividing the features, ``(n,)`` labels each: what may be displaced alike wherever it lies.
    """
    vertices = Vertices.of(geometries) if are_points else along(geometries)
    places, by_m, is_local = vertices.middle(), np.full((vertices.count, 2), np.nan), np.zeros(vertices.count, bool)
    if not np.isfinite(places).any():
        return Displaced(by_m, is_local)
    lies_well = lie_well(vertices, base, are_points)
    alike = [(labels, False) for labels in groups] + [(labels, True) for labels in _neighbourhoods(places)]
    for way in POINT_WAYS if are_points else SHAPE_WAYS:
        is_asked = way.is_asked(vertices, base)
        goes_along = is_asked | np.isnan(places[:, 0])  # what cannot be asked goes with its group
        rows = evenly_placed(np.flatnonzero(is_asked & np.isnan(by_m[:, 0])), places, way.most)
        tried = way.tried(vertices, rows, base)
        for labels, local in alike:
            for label in np.unique(labels[rows]):
                looked_at = np.flatnonzero((labels[rows] == label) & np.isnan(by_m[rows, 0]))
                best = _best(way, tried[:, looked_at], places[rows[looked_at]], local)
                if best is not None:
                    edition, about = editions(base)[best[0]], WHOLE_METRES[best[1]]
                    those = (labels == label) & goes_along & np.isnan(by_m[:, 0])
                    by_m[those], is_local[those] = way.refined(vertices, rows[looked_at], edition, about), local
        if isinstance(way, ByShare):
            strays = np.flatnonzero(~lies_well[rows] & np.isnan(by_m[rows, 0]))
            by, comes_to_lie = _best_of_strays(way, vertices, base, rows[strays], tried[:, strays])
            by_m[(comes_to_lie | ~lies_well) & goes_along & np.isnan(by_m[:, 0])] = by
    rest = np.isnan(by_m[:, 0])
    is_suspect = rest & (is_local.sum() > _MUCH * (is_local | rest).sum()) & ~lies_well
    return Displaced(by_m, is_suspect)


def _neighbourhoods(places: Points) -> list[Labels]:
    """Ways of dividing ``(n, 2)`` places into neighbours, ``(n,)`` labels each, from small parts to large ones:
    squares, quarters, halves.
    """
    squares = [np.floor(np.nan_to_num(places) / side) for side in _SQUARES_M]
    labels = [np.unique(each, axis=0, return_inverse=True)[1].ravel() for each in squares]
    quarter = _quarter(places)
    return [*labels, quarter, quarter // 2, quarter % 2]


def _quarter(places: Points) -> Labels:
    """The quarter ``(n,)`` of the layer that each of ``(n, 2)`` places lies in: 0 or 1 in the west, 2 or 3 in the east,
    the odd ones in the north.
    """
    is_east, is_north = (places > np.nanmedian(places, axis=0)).T.astype(int)
    return np.asarray(2 * is_east + is_north)


def _best(way: Way, tried: Numbers, places: Points, local: bool) -> tuple[int, int] | None:
    """Which edition, and which displacement from it, is to be believed of those at ``places``, if any; unless it is a
    ``local`` one it is to be found all over them.
    """
    if len(places) < way.least:
        return None
    score = way.score(tried)
    means = score.mean(axis=1)
    edition, best = np.unravel_index(means.argmax(), means.shape)
    gain = score[edition, :, best] - score[means[:, NOT_AT_ALL].argmax(), :, NOT_AT_ALL]
    is_sure = way.is_sure(gain, places) and (local or _is_all_over(gain, places))
    return (int(edition), int(best)) if is_sure else None


def _best_of_strays(
    way: ByShare, vertices: Vertices, base: BaseMaps, rows: NDArray[np.int_], tried: Numbers
) -> tuple[Points, NDArray[np.bool_]]:
    """The same for ``rows``, which lie well on neither map: the displacement ``(2,)``, NaN if none is to be believed,
    and who ``(n,)`` comes to lie well on that edition by it: what was shifted as the map was there lies on the other.
    """
    none = np.full(2, np.nan), np.zeros(vertices.count, dtype=bool)
    if len(rows) < way.least:
        return none
    means, places = tried.mean(axis=1), vertices.middle()[rows]
    number, best = np.unravel_index(np.where(FAR, means, -np.inf).argmax(), means.shape)
    here, anywhere = tried[means[:, NOT_AT_ALL].argmax(), :, NOT_AT_ALL], tried[number].mean(axis=1)
    gain = tried[number, :, best] - np.maximum(here, anywhere)
    if gain.mean() < _LEAST_GAIN_OF_STRAYS or not way.is_sure(gain, places) or not _is_all_over(gain, places):
        return none
    edition, about = editions(base)[number], WHOLE_METRES[best]
    comes_to_lie = way.lie_well(vertices, edition, about) & ~way.lie_well(vertices, edition)
    return way.refined(vertices, rows, edition, about), comes_to_lie


def _is_all_over(gain: Numbers, places: Points) -> bool:
    """Whether those in each quarter of the layer gain by a displacement nearly as they all do."""
    quarter = _quarter(places)
    for gains in (gain[quarter == number] for number in range(4)):
        if len(gains) >= _LEAST_IN_A_QUARTER:
            standard_error = gains.std() / np.sqrt(len(gains))
            if gains.mean() + 2.0 * standard_error < 0.5 * gain.mean():
                return False
    return True

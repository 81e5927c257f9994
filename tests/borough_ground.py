"""The ground of the demo borough: roads, fields, plots and buildings of places that never were.

Everything is laid out straight and then bent by one smooth warp, so that what touches stays in touch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import shapely
from borough_shift import IDENTITY, SIDE_M, SOUTH, TOWN, URBAN, WEST
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial import Delaunay, distance_matrix
from shapely import LineString, Point, Polygon
from shapely.ops import linemerge, split

EXTENT = shapely.box(WEST, SOUTH, WEST + SIDE_M, SOUTH + SIDE_M)
_ROAD_HALF_WIDTH_M = 5.0
_NAMES = (
    "Marlbrook Town",
    "Ashcombe Magna",
    "Nether Wickle",
    "Thornley St Mary",
    "Puddlecote",
    "Great Harrowby",
    "Fenny Sallow",
    "Upper Tidmere",
    "Cold Oakley",
    "Withycroft",
)


@dataclass
class Place:
    """A settlement: ``radius`` [m] bounds its houses."""

    name: str
    middle: Point
    radius: float


@dataclass
class Plot:
    """A house, its plot and what is known of both."""

    plot: Polygon
    house: Polygon
    place: str
    street: str
    number: int


@dataclass
class Ground:
    """The borough as it is: one list per kind of thing."""

    places: list[Place]
    roads: list[LineString]
    hedges: list[LineString]
    fields: list[Polygon]
    plots: list[Plot]
    barns: list[Polygon]
    backlands: list[Polygon] = field(default_factory=list)

    def buildings(self) -> list[Polygon]:
        """Houses, then barns."""
        return [*(plot.house for plot in self.plots), *self.barns]

    def boundaries(self) -> list[LineString]:
        """Hedges, fences and walls, each once, from junction to junction."""
        plots = shapely.union_all([shapely.boundary(plot.plot) for plot in self.plots])
        built = shapely.union_all([plot.plot for plot in self.plots]).buffer(2)
        shapely.prepare(built)
        hedges = [
            part for line in self.hedges for part in _parts(line.difference(built) if built.intersects(line) else line)
        ]
        return [line for line in [*_parts(linemerge(plots)), *hedges] if line.length > 8]


def make_ground(rng: np.random.Generator) -> Ground:
    """Lay out the borough."""
    places = _make_places(rng)
    mains = _make_roads(places, rng)
    streets = [line for place in places for line in _streets(place, rng)]
    paper = shapely.union_all([*mains, *streets])
    edges = shapely.union_all([part.boundary for block in _blocks(paper) for part in _split_fields(block, places, rng)])
    warp = _Warp(rng.uniform(0, 2 * np.pi, 4))
    roads = [warp(line, 90.0) for line in _parts(linemerge(paper)) if line.length > 40]
    hedges = [warp(line, 80.0) for line in _parts(linemerge(edges))]
    fields = [part for part in _parts(shapely.polygonize(hedges)) if part.area > 800 and not _is_road(part)]
    ground = Ground(places, roads, hedges, fields, [], [])
    _build_houses(ground, rng)
    ground.barns = _make_barns(ground, rng)
    ground.backlands = _make_backlands(ground)
    return ground


def _is_road(part: Polygon) -> bool:
    return part.buffer(-_ROAD_HALF_WIDTH_M - 1).is_empty or len(part.interiors) > 3


@dataclass(frozen=True)
class _Warp:
    phase: np.ndarray

    def __call__(self, shape: shapely.Geometry, step_m: float) -> shapely.Geometry:
        dense = shapely.segmentize(shape, step_m)
        return shapely.set_precision(shapely.transform(dense, self._bend), 0.01, mode="pointwise")

    def _bend(self, places: np.ndarray) -> np.ndarray:
        east, north = (places - [WEST, SOUTH]).T
        a, b, c, d = self.phase
        bent_east = 24 * np.sin(north / 420 + a) + 7 * np.sin((east + north) / 150 + b)
        bent_north = 24 * np.sin(east / 460 + c) + 7 * np.sin((east - north) / 170 + d)
        return places + np.column_stack([bent_east, bent_north])


def _make_places(rng: np.random.Generator) -> list[Place]:
    places = [Place(_NAMES[0], URBAN.centroid, 430.0), Place(_NAMES[1], TOWN.centroid, 380.0)]
    places.append(Place(_NAMES[2], Point(WEST + 480, SOUTH + 520), 170.0))
    while len(places) < len(_NAMES):
        middle = Point(rng.uniform(500, SIDE_M - 500, 2) + np.array([WEST, SOUTH]))
        clear = all(middle.distance(other.middle) > 1_150 for other in places)
        if clear and middle.distance(IDENTITY) > 300:
            places.append(Place(_NAMES[len(places)], middle, float(rng.uniform(150, 230))))
    return places


def _make_roads(places: list[Place], rng: np.random.Generator) -> list[LineString]:
    middles = np.array([place.middle.coords[0] for place in places])
    pairs = _neighbours(middles, rng)
    roads = [_winding(middles[a], middles[b], rng) for a, b in pairs]
    for middle in middles[rng.permutation(len(middles))[:6]]:
        exit_place = shapely.get_coordinates(shapely.shortest_line(Point(middle), EXTENT.boundary))[1]
        roads.append(_winding(middle, exit_place + (exit_place - middle) * 0.02, rng))
    return _parts(shapely.union_all(roads).intersection(EXTENT))


def _neighbours(middles: np.ndarray, rng: np.random.Generator) -> list[tuple[int, int]]:
    distances = distance_matrix(middles, middles)
    tree = {tuple(sorted(pair)) for pair in np.argwhere(minimum_spanning_tree(distances).toarray() > 0).tolist()}
    near = {
        tuple(sorted((a, b)))
        for triangle in Delaunay(middles).simplices.tolist()
        for a, b in zip(triangle, triangle[1:] + triangle[:1], strict=True)
        if distances[a, b] < 2_600
    }
    return sorted(tree | {pair for pair in sorted(near) if rng.random() < 0.7})


def _winding(start: np.ndarray, end: np.ndarray, rng: np.random.Generator) -> LineString:
    across = np.array([start[1] - end[1], end[0] - start[0]])
    share = np.array([0.0, 0.3, 0.62, 1.0])[:, None]
    sway = np.array([0.0, *rng.normal(0, 0.045, 2), 0.0])[:, None]
    return LineString(start + share * (end - start) + sway * across)


def _streets(place: Place, rng: np.random.Generator) -> list[LineString]:
    """A grid of streets in the towns; a lane or two across the main road in a village."""
    angle = rng.uniform(0, 90)
    reach = place.radius * 0.95
    offsets = np.arange(-reach + 60, reach - 40, 118.0) if place.radius > 300 else rng.uniform(-40, 40, 1)
    lines = []
    for turn, step in ((angle, 1), (angle + 90, 2)):
        for offset in offsets[:: step if len(offsets) > 1 else 1]:
            half = np.sqrt(max(reach**2 - offset**2, 0))
            line = LineString([(-half, offset), (half, offset)])
            turned = shapely.affinity.rotate(line, turn, origin=(0, 0))
            lines.append(shapely.affinity.translate(turned, place.middle.x, place.middle.y))
    return lines


def _blocks(roads: shapely.Geometry) -> list[Polygon]:
    frame = shapely.union_all([roads, EXTENT.boundary])
    blocks = shapely.get_parts(shapely.polygonize(_parts(frame)))
    shrunk = shapely.buffer(blocks, -_ROAD_HALF_WIDTH_M, join_style="mitre")
    return [part for block in shrunk for part in _parts(block) if part.area > 800]


def _split_fields(block: Polygon, places: list[Place], rng: np.random.Generator) -> list[Polygon]:
    near = min(place.middle.distance(block.centroid) - place.radius for place in places)
    target = rng.lognormal(np.log(45_000 if near > 100 else 22_000), 0.45)
    if block.area < target:
        return [block]
    pieces = [part for part in _parts(split(block, _cut(block, rng))) if part.area > 500]
    if len(pieces) < 2:
        return [block]
    return [part for piece in pieces for part in _split_fields(piece, places, rng)]


def _cut(block: Polygon, rng: np.random.Generator) -> LineString:
    """A hedge across the long way of a field."""
    corners = shapely.get_coordinates(shapely.minimum_rotated_rectangle(block))
    sides = np.diff(corners[:3], axis=0)
    long, short = sides if np.hypot(*sides[0]) > np.hypot(*sides[1]) else sides[::-1]
    through = np.array(block.centroid.coords[0]) + long * rng.uniform(-0.12, 0.12)
    across = short + long * rng.normal(0, 0.1)
    return LineString([through - 1.2 * across, through + 1.2 * across])


def _build_houses(ground: Ground, rng: np.random.Generator) -> None:
    roads = shapely.union_all(ground.roads).buffer(_ROAD_HALF_WIDTH_M - 0.4)
    shapely.prepare(roads)
    taken: list[Polygon] = []
    for street, road in enumerate(ground.roads):
        number = 1
        for place, plot, house in _frontages(road, ground.places, rng):
            if shapely.intersects(roads, plot) or shapely.intersects(shapely.buffer(plot, -0.05), taken).any():
                continue
            taken.append(plot)
            ground.plots.append(Plot(plot, house, place.name, _street_name(street), number))
            number += 1


def _frontages(
    road: LineString, places: list[Place], rng: np.random.Generator
) -> Iterator[tuple[Place, Polygon, Polygon]]:
    for start, end in zip(road.coords[:-1], road.coords[1:], strict=True):
        segment = LineString([start, end])
        place = next((place for place in places if segment.centroid.distance(place.middle) < place.radius), None)
        if place is None or segment.length < 16:
            continue
        town = place.radius > 300
        width = segment.length / max(1, round(segment.length / rng.uniform(*((15, 20) if town else (20, 30)))))
        depth = float(rng.uniform(*((30, 38) if town else (36, 58))))
        for side in (1, -1):
            for along in np.arange(0, segment.length - width + 0.01, width):
                if rng.random() < (0.93 if town else 0.8):
                    yield place, *_plot_and_house(segment, side, along, width, depth, rng)


def _plot_and_house(
    segment: LineString, side: int, along: float, width: float, depth: float, rng: np.random.Generator
) -> tuple[Polygon, Polygon]:
    front, long, wide = rng.uniform(9, 14), rng.uniform(7, 10.5), min(width - 3, rng.uniform(7, 12))
    left = along + (width - wide) / 2
    corners = [(left, front), (left + wide, front), (left + wide, front + long), (left, front + long)]
    if rng.random() < 0.35:  # a back extension
        half = left + wide / 2
        corners = [*corners[:2], (left + wide, front + long + 3), (half, front + long + 3), (half, front + long)]
        corners.append((left, front + long))
    edge = _ROAD_HALF_WIDTH_M
    plot = [(along, edge), (along + width, edge), (along + width, edge + depth), (along, edge + depth)]
    return _beside(segment, side, plot), _beside(segment, side, corners)


def _beside(segment: LineString, side: int, corners: list[tuple[float, float]]) -> Polygon:
    start, end = np.array(segment.coords)
    along = (end - start) / segment.length
    out = side * np.array([-along[1], along[0]])
    return Polygon(np.round([start + a * along + b * out for a, b in corners], 2))


def _make_barns(ground: Ground, rng: np.random.Generator) -> list[Polygon]:
    """Two or three farm buildings in the corner of one field in fourteen."""
    built = shapely.union_all([plot.plot for plot in ground.plots]).buffer(20)
    barns = []
    for farm in ground.fields[::14]:
        middle = shapely.line_interpolate_point(farm.exterior, rng.uniform(0, farm.length))
        yard = shapely.centroid(shapely.intersection(middle.buffer(70), farm.buffer(-12)))
        if yard.is_empty or not farm.buffer(-35).intersects(yard.buffer(25)) or built.intersects(yard.buffer(40)):
            continue
        angle = rng.uniform(0, 90)
        for nudge in ((0, 0), (26, 4), (3, 24))[: rng.integers(2, 4)]:
            barn = shapely.box(-rng.uniform(5, 9), -rng.uniform(4, 6), rng.uniform(5, 9), rng.uniform(4, 6))
            barn = shapely.affinity.translate(barn, *nudge)
            barn = shapely.affinity.rotate(barn, angle, origin=(0, 0))
            barn = shapely.affinity.translate(barn, yard.x, yard.y)
            if farm.contains(barn):
                barns.append(shapely.set_precision(barn, 0.01, mode="pointwise"))
    return barns


def _make_backlands(ground: Ground) -> list[Polygon]:
    """Paddocks behind rows of plots: one straight fence to the neighbours' many, so their corners hang."""
    backlands: list[Polygon] = []
    taken = [*(plot.plot for plot in ground.plots), *shapely.buffer(ground.roads, 5)]
    for one, two in zip(ground.plots, ground.plots[1:], strict=False):
        back_one, back_two = np.array(one.plot.exterior.coords)[2:4], np.array(two.plot.exterior.coords)[2:4]
        if one.place != two.place or not np.allclose(back_one[0], back_two[1], atol=0.011):
            continue
        outwards = np.array(one.plot.exterior.coords)[3] - np.array(one.plot.exterior.coords)[0]
        far = 28 * outwards / np.hypot(*outwards)
        paddock = Polygon(np.round([back_one[1], back_two[0], back_two[0] + far, back_one[1] + far], 2))
        if not shapely.intersects(taken, paddock.buffer(-0.1)).any():
            backlands.append(paddock)
            taken.append(paddock)
    return backlands[::3]


def _street_name(number: int) -> str:
    first = ("Church", "Mill", "Tanyard", "Orchard", "Chapel", "Cross", "Hollow", "Pound", "Sallow", "Brook", "Fair")
    second = ("Lane", "Street", "Road", "Row", "Hill", "Close")
    return f"{first[number % len(first)]} {second[(number // len(first)) % len(second)]}"


def _parts(shape: shapely.Geometry) -> list:
    return list(shapely.get_parts(shape))

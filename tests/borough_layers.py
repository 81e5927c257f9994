"""The council's layers: what officers traced from the old map, and where each feature truly lies.

A layer is a list of ``Feature``; ``borough`` writes it in the format the council keeps it in.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
import shapely
from borough_ground import Ground, Plot
from borough_kind import KINDS, Kind
from borough_shift import Shift
from shapely import LineString, Point, Polygon

NEW_MAP_LOADED_ON = date(2005, 6, 1)
SPECIES = ("Quercus robur", "Tilia cordata", "Fagus sylvatica", "Fraxinus excelsior", "Acer campestre", "Taxus baccata")
PROPOSALS = (
    "Two storey side extension",
    "Change of use to café",
    "Erection of detached garage (façade in local stone)",
    "Conversion of barn to dwelling",
    "Replacement of windows – Grade II listed",
    "Works to trees in a conservation area",
)


@dataclass
class Feature:
    """One record: ``held`` is what the council has, ``truth`` what it should have; ``fate`` says why.

    ``fate`` is ``should_move``, ``must_not_move`` (captured on the new map, by GPS or where nothing moved) or
    ``cannot_be_known`` (from 1:10 000, invalid, null).
    """

    held: shapely.Geometry | None
    truth: shapely.Geometry | None
    fate: str
    properties: dict[str, Any] = field(default_factory=dict)
    wkb: bytes | None = None
    """What is written in place of ``held`` where shapely has no such shape: a true curve."""
    subclass: str = ""
    """How it was captured, for tables of what went wrong."""


@dataclass
class Council:
    """What tracing needs: the ground, the shift, the dice, and what kind of borough it is."""

    ground: Ground
    shift: Shift
    rng: np.random.Generator
    kind: Kind = KINDS["plain"]

    def old(self, truth: shapely.Geometry) -> shapely.Geometry:
        """``truth`` as the old map shows it, to 1 cm; heights stay."""
        return shapely.transform(truth, self._on_old_map, include_z=bool(shapely.has_z(truth)))

    def _on_old_map(self, places: np.ndarray) -> np.ndarray:
        flat = np.round(places[:, :2] - self.shift(places[:, :2]), 2)
        return np.column_stack([flat, places[:, 2:]])

    def capture(self, truth: shapely.Geometry, *, ground_share: float = 0.0) -> Feature:
        """Trace a feature, mostly before the new map came, with the columns that tell how."""
        feature = self._captured(truth, ground_share)
        if not self.kind.is_dated:
            feature.properties = _how(None, None, None)
            if feature.subclass in ("ground", "new", "small_scale") and truth.geom_type == "Point":
                feature.fate = "cannot_be_known"
        return feature

    def _captured(self, truth: shapely.Geometry, ground_share: float) -> Feature:
        kind, draw = self.kind, self.rng.random()
        ground_share *= kind.ground_factor
        if draw < ground_share:
            return self._on_the_ground(truth)
        if draw < ground_share + kind.new_ratio:
            return self._on_the_new_map(truth)
        if draw < ground_share + kind.new_ratio + kind.small_scale_ratio:
            rough = shapely.transform(truth, lambda places: places + self.rng.normal(0, 4, (1, 2)))
            how = _how(self._day(1985, 1998), "Digitised", "1:10 000")
            return Feature(rough, truth, "cannot_be_known", how, subclass="small_scale")
        return self._on_the_old_map(truth)

    def _on_the_ground(self, truth: shapely.Geometry) -> Feature:
        day = self._day(2000, 2009)
        if self.happens(self.kind.method_unsaid_ratio):
            return Feature(truth, truth, "cannot_be_known", _how(day, None, None), subclass="ground_unsaid")
        return Feature(truth, truth, "must_not_move", _how(day, "GPS", None), subclass="ground")

    def _on_the_new_map(self, truth: shapely.Geometry) -> Feature:
        if self.happens(self.kind.new_undated_ratio):
            known = "cannot_be_known" if truth.geom_type == "Point" else "must_not_move"
            return Feature(truth, truth, known, _how(None, None, None), subclass="new_undated")
        wrong = self.happens(self.kind.wrong_date_ratio)
        day = self._day(1994, 2004.5) if wrong else self._day(2005.5, 2010)
        how = _how(day, None if self.happens(self.kind.method_unsaid_ratio) else "Digitised", "1:2500")
        known = "cannot_be_known" if wrong and truth.geom_type == "Point" else "must_not_move"
        return Feature(truth, truth, known, how, subclass="date_wrong" if wrong else "new")

    def _on_the_old_map(self, truth: shapely.Geometry) -> Feature:
        held = self.old(truth)
        fate = "must_not_move" if shapely.equals_exact(held, truth, 0.011) else "should_move"
        day, subclass = self._day(1994, 2004.5) if self.rng.random() < 1.0 - self.kind.undated_ratio else None, "old"
        if day and self.happens(self.kind.wrong_date_ratio):
            day, subclass = self._day(2005.5, 2010), "date_wrong"
            fate = "cannot_be_known" if truth.geom_type == "Point" and fate == "should_move" else fate
        unsaid = not day or self.happens(self.kind.method_unsaid_ratio)
        how = _how(day, None if unsaid else "Digitised", "1:2500" if day else None)
        held, truth, spoilt = self._spoilt(held, truth)
        return Feature(held, truth, "cannot_be_known" if spoilt in _LOST else fate, how, subclass=spoilt or subclass)

    def _spoilt(
        self, held: shapely.Geometry, truth: shapely.Geometry
    ) -> tuple[shapely.Geometry, shapely.Geometry, str]:
        """The record and its truth after an accident of capture, and which."""
        if self.happens(self.kind.misplaced_ratio):
            angle, far = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(10, 30)
            by = far * np.array([np.cos(angle), np.sin(angle)])
            return shapely.transform(held, lambda places: np.round(places + by, 2)), truth, "misplaced"
        if truth.geom_type == "Point" and self.happens(self.kind.coarse_ratio):
            return shapely.transform(held, lambda places: np.round(places, -1)), truth, "coarse"
        if self.happens(self.kind.noisy_ratio) and truth.geom_type != "Point" and not shapely.has_z(truth):
            # The record is what the officer meant: its truth has the same noise.
            noise = self.rng.normal(0, self.kind.noise_m, shapely.get_coordinates(held).shape)
            noise[-1] = noise[0] if truth.geom_type == "Polygon" else noise[-1]
            wavering = [shapely.transform(shape, lambda places: np.round(places + noise, 2)) for shape in (held, truth)]
            return wavering[0], wavering[1], "noisy"
        return held, truth, ""

    def happens(self, ratio: float) -> bool:
        """Whether something of this chance happens; nothing is thrown for what never does."""
        return ratio > 0 and bool(self.rng.random() < ratio)

    def _day(self, start: float, end: float) -> date:
        return date(1970, 1, 1) + timedelta(days=int(365.2425 * (self.rng.uniform(start, end) - 1970)))


def _how(day: date | None, method: str | None, scale: str | None) -> dict[str, Any]:
    return {"CAPTURED": day.strftime("%d/%m/%Y") if day else None, "METHOD": method, "SRC_SCALE": scale}


_LOST = ("misplaced", "coarse")
"""Accidents after which nothing tells where the record belongs."""


Maker = Callable[[Council], list[Feature]]


def conservation_areas(council: Council) -> list[Feature]:
    """The heart of each settlement: the plots' outer edge."""
    features = []
    for number, place in enumerate(council.ground.places, start=1):
        core = [plot.plot for plot in council.ground.plots if plot.plot.distance(place.middle) < 0.6 * place.radius]
        if len(core) < 6:
            continue
        outline = shapely.union_all([shapely.buffer(plot, 8, join_style="mitre") for plot in core])
        outline = shapely.buffer(outline, -8, join_style="mitre").simplify(0.05)
        largest = max(shapely.get_parts(outline), key=shapely.area)
        feature = council.capture(Polygon(np.round(largest.exterior.coords, 2)))
        name = f"{place.name} Conservation Area"
        feature.properties = {"CA_REF": f"CA{number:02d}", "NAME": name} | feature.properties
        features.append(feature)
    return features


def tree_points(council: Council) -> list[Feature]:
    """Protected trees, most of them one metre from a hedge or fence, some measured by GPS."""
    features = []
    hedges = [line for line in council.ground.boundaries() if line.length > 20]
    for number in range(360):
        tree = _tree(council, hedges)
        feature = council.capture(Point(np.round(tree.coords[0], 2)), ground_share=0.08)
        order = {"ORDER_NO": f"TPO/{1952 + number // 8}/{number % 8 + 1:02d}", "TREE": f"T{number % 8 + 1}"}
        feature.properties = order | {"SPECIES": SPECIES[number % len(SPECIES)]} | feature.properties
        features.append(feature)
    return features


def _tree(council: Council, hedges: list[LineString]) -> Point:
    if council.happens(council.kind.free_tree_ratio):
        around = hedges[council.rng.integers(len(hedges))]
        middle = shapely.get_coordinates(shapely.line_interpolate_point(around, 0.5, normalized=True))[0]
        return Point(middle + council.rng.normal(0, 12, 2))
    chosen, side = hedges[council.rng.integers(len(hedges))], float(council.rng.choice([-1, 1]))
    if council.kind.free_tree_ratio:
        side *= council.rng.uniform(*council.kind.hedge_distance_m)
    hedge = chosen.parallel_offset(side)
    if hedge.is_empty:  # a closed hedge, narrower than that
        return _tree(council, hedges)
    return shapely.line_interpolate_point(hedge, council.rng.uniform(0, hedge.length))


def planning_applications(council: Council) -> list[Feature]:
    """Plots and paddocks: shared edges, hanging nodes, repeated references, broken and empty shapes."""
    plots = [plot.plot for plot in council.ground.plots if council.rng.random() < 0.5]
    parcels = [*plots, *council.ground.backlands, *council.ground.fields[::14]]
    features = [council.capture(parcel) for parcel in parcels]
    for number, feature in enumerate(features):
        reference = number - 1 if number % 37 == 5 else number
        what = {"APPREF": f"{1996 + reference % 9}/{reference:04d}/F", "PROPOSAL": PROPOSALS[number % len(PROPOSALS)]}
        feature.properties = what | feature.properties
    for number in (11, 203, 377):
        features[number].held = _bow_tie(features[number].held)
        features[number].fate = "cannot_be_known"
    for number in (42, 318):
        features[number].held, features[number].truth, features[number].fate = None, None, "cannot_be_known"
    return features


def _bow_tie(polygon: shapely.Geometry) -> Polygon:
    """The same ground with two corners taken in the wrong order."""
    west, south, east, north = polygon.bounds
    return Polygon([(west, south), (east, north), (east, south), (west, north)])


def rights_of_way(council: Council) -> list[Feature]:
    """Paths along hedges, and paths drawn straight across country with a vertex at each end."""
    features = []
    fields = council.ground.fields
    for number in range(64):
        edge = fields[council.rng.integers(len(fields))].exterior
        start = council.rng.uniform(0, edge.length * 0.5)
        if number % 4:
            path = shapely.ops.substring(edge, start, start + edge.length * 0.4)
            feature = council.capture(LineString(np.round(path.coords, 2)))
        else:
            feature = _straight_path(council, shapely.get_coordinates(council.old(Point(edge.coords[0])))[0])
        status = ("Footpath", "Bridleway", "Byway")[number % 3]
        feature.properties = {"PATH_NO": f"FP{number + 1 - (number % 9 == 4)}", "STATUS": status} | feature.properties
        features.append(feature)
    return features


def _straight_path(council: Council, start: np.ndarray) -> Feature:
    """Straight on the old map; on the ground it bends with the shift, every 5 m."""
    end = start + council.rng.choice([-1, 1], 2) * council.rng.uniform(150, 700, 2)
    middle = np.array([365_000.0, 261_000.0])
    end = np.where(np.abs(end - middle) > 2_950, 2 * start - end, end)
    held = LineString(np.round([start, end], 2))
    truth = council_ground(council, shapely.segmentize(held, 5.0))
    return Feature(held, truth, "should_move", _how(date(1999, 3, 12), "Digitised", "1:2500"))


def council_ground(council: Council, held: shapely.Geometry) -> shapely.Geometry:
    """The ground under a line drawn on the old map: the shift is known by ground place, so found by iteration."""

    def to_ground(places: np.ndarray) -> np.ndarray:
        ground = places
        for _ in range(12):
            ground = places + council.shift(ground)
        return ground

    return shapely.transform(held, to_ground)


def open_spaces(council: Council) -> list[Feature]:
    """Greens and grounds: with heights, with a measure, curved, null and broken ones among them."""
    features = []
    fields = [part for part in council.ground.fields if 4_000 < part.area < 30_000]
    for number, green in enumerate(fields[:: max(1, len(fields) // 48)][:48]):
        height = 60.0 + number
        shape = shapely.force_3d(green, height) if number % 4 == 1 else green
        feature = council.capture(shape, ground_share=0.05)
        feature.properties = {
            "SITE_ID": f"OS{number:03d}",
            "KIND": ("Green", "Play", "Sports")[number % 3],
        } | feature.properties
        features.append(feature)
    features[5].held = _measured(features[5].held)
    features[11] = _bandstand(council, features[11])
    features[7].held, features[7].truth, features[7].fate = None, None, "cannot_be_known"
    features[19].held, features[19].fate = _bow_tie(features[19].held), "cannot_be_known"
    return features


def _measured(polygon: shapely.Geometry) -> shapely.Geometry:
    """With a height and a measure at every vertex."""
    corners = shapely.get_coordinates(polygon)
    text = ", ".join(f"{east:.2f} {north:.2f} 61.5 {number}" for number, (east, north) in enumerate(corners))
    return shapely.from_wkt(f"POLYGON ZM (({text}))")


def _bandstand(council: Council, site: Feature) -> Feature:
    """A round green kept as a true curve."""
    middle = np.round(shapely.get_coordinates(shapely.point_on_surface(site.truth)), 2)
    old = np.round(middle - council.shift(middle), 2)
    how = _how(date(1997, 6, 2), "Digitised", "1:2500")
    named = {"SITE_ID": site.properties["SITE_ID"], "KIND": "Green"}
    circles = [Point(place[0]).buffer(18.0, quad_segs=32) for place in (old, middle)]
    return Feature(*circles, "should_move", named | how, wkb=_circle_wkb(old[0], 18.0))


def _circle_wkb(middle: np.ndarray, radius: float) -> bytes:
    """A circle as the well-known binary of a CURVEPOLYGON of one CIRCULARSTRING."""
    turn = np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [1, 0]])
    places = middle + radius * turn
    return struct.pack("<BII", 1, 10, 1) + struct.pack("<BII", 1, 8, len(places)) + places.astype("<f8").tobytes()


def pipeline_zones(council: Council) -> list[Feature]:
    """Long boxes drawn on the old map, four corners each: the shift bends between them."""
    features = []
    for number, (east, north, turn) in enumerate(
        ((363_300, 259_300, 12), (365_200, 261_500, -33), (364_400, 263_000, 4))
    ):
        box = shapely.affinity.rotate(shapely.box(east - 750, north - 15, east + 750, north + 15), turn)
        held = Polygon(np.round(box.exterior.coords, 2))
        truth = council_ground(council, shapely.segmentize(held, 5.0))
        zone = {"ZONE_ID": f"PZ{number + 1}", "OPERATOR": "Tidmere Gas"}
        features.append(Feature(held, truth, "should_move", zone | _how(date(2001, 9, 3), "Digitised", "1:2500")))
    return features


def gazetteer(council: Council) -> list[Feature]:
    """An address point in every house."""
    features = []
    for number, plot in enumerate(council.ground.plots):
        feature = council.capture(Point(np.round(plot.house.representative_point().coords[0], 2)))
        feature.properties = _address(number, plot) | feature.properties
        features.append(feature)
    return features


def _address(number: int, plot: Plot) -> dict[str, Any]:
    street = {"PAO": str(plot.number), "STREET": plot.street, "LOCALITY": plot.place}
    return {"UPRN": str(100_210_000_000 + 7 * number)} | street | {"RPC": 1}

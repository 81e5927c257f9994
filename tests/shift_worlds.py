"""Small shift fields, coverages and curves with known answers, for the tests of moving geometries."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import shapely


@dataclass(frozen=True)
class BendingField:
    """A smooth bend, a jump across one easting, and an end of the world in the east."""

    bend_m: float = 2.0
    wave_m: float = 500.0
    break_easting: float = np.inf
    jump_m: float = 0.3
    end_easting: float = np.inf

    def __call__(self, points):
        return self.in_piece(points, self.piece(points))

    def piece(self, points):
        return np.where(points[:, 0] > self.end_easting, -1, (points[:, 0] > self.break_easting).astype(int))

    def in_piece(self, points, piece):
        east = 1 + 0.3 * np.sin(points[:, 0] / self.wave_m)
        north = self.bend_m * np.cos(points[:, 1] / self.wave_m) + self.jump_m * (piece == 1)
        moved = points + np.stack([east, north], axis=1)
        moved[piece < 0] = np.nan
        return moved

    def is_beside_break(self, points, reach_m):
        return np.abs(points[:, 0] - self.break_easting) <= reach_m

    def uncertainty(self, points):
        return np.where(points[:, 0] > self.end_easting, np.nan, 0.1 + np.abs(points[:, 0]) / 1e6)

    def control_distance_m(self, points):
        return np.abs(points[:, 1])

    @property
    def inverse(self):
        raise NotImplementedError


@dataclass(frozen=True)
class TurningField(BendingField):
    """A rotation about the origin and a shift: the image of an arc is an arc."""

    angle: float = 1e-4

    def in_piece(self, points, piece):
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        # Axis by axis: the last bits of a matrix product depend on the other rows.
        east, north = points[:, 0], points[:, 1]
        return np.stack([cos * east - sin * north + 3.0, sin * east + cos * north - 2.0], axis=1)


def wkb_array(geometries) -> pa.Array:
    """Shapely geometries (None allowed) as ISO WKB."""
    values = [None if g is None else shapely.to_wkb(g, flavor="iso", output_dimension=4) for g in geometries]
    return pa.array(values, pa.binary())


def geometries_of(array: pa.Array) -> np.ndarray:
    """The other way round."""
    return shapely.from_wkb(np.array([*array.to_pylist(), None], dtype=object)[:-1], on_invalid="ignore")


def run_wkb(code: int, places, order: str = "<") -> bytes:
    """A line (2) or circular string (8) of any dimension, by hand."""
    places = np.asarray(places, dtype=float)
    head = (b"\x01" if order == "<" else b"\x00") + struct.pack(order + "II", code, len(places))
    return head + places.astype(order + "f8").tobytes()


def nest_wkb(code: int, *parts: bytes) -> bytes:
    """A geometry made of others."""
    return b"\x01" + struct.pack("<II", code, len(parts)) + b"".join(parts)


def places_of(wkb: bytes, dimensions: int = 2) -> np.ndarray:
    """The coordinates of a line or circular string."""
    return np.frombuffer(wkb, "<f8", offset=9).reshape(-1, dimensions)


def road_coverage(blocks: int = 2, cells: int = 4, size_m: float = 90.0, angle: float = 0.3) -> np.ndarray:
    """Cells beside straight roads; a road has no vertex where the cells have theirs: every corner there hangs.

    The whole is turned, so that hanging nodes lie on their edges only to rounding.
    """
    found = []
    for block in range(blocks):
        west = block * (cells + 0.2)
        found += [_cell(west + column, row) for column in range(cells) for row in range(cells)]
        if block:
            found.append([(west - 0.2, 0), (west, 0), (west, cells), (west - 0.2, cells), (west - 0.2, 0)])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.array([shapely.Polygon(np.array(ring) * size_m @ turn.T + [400_000.0, 300_000.0]) for ring in found])


def _cell(east: float, north: float) -> list[tuple[float, float]]:
    return [(east, north), (east + 1, north), (east + 1, north + 1), (east, north + 1), (east, north)]


def random_geometries(random: np.random.Generator, count: int = 8) -> np.ndarray:
    """Geometries of any kind and dimension, some empty, some null."""
    return np.array([_random_geometry(random) for _ in range(count)] + [None], dtype=object)[:-1]


def _random_geometry(random: np.random.Generator) -> shapely.Geometry | None:
    mark = random.choice(["", "Z ", "M ", "ZM "])
    kinds = random.choice(["POINT", "LINESTRING", "POLYGON"], random.integers(0, 4)).tolist()
    shape = random.choice(["one", "multi", "collection", "nested", "null"])
    if shape == "null":
        return None
    if not kinds:
        return shapely.from_wkt(f"{random.choice(['POINT', 'POLYGON', 'MULTILINESTRING'])} {mark}EMPTY")
    if shape == "one":
        return shapely.from_wkt(f"{kinds[0]} {mark}{_body(kinds[0], mark, random)}")
    if shape == "multi":
        bodies = ", ".join(_body(kinds[0], mark, random) for _ in kinds)
        return shapely.from_wkt(f"MULTI{kinds[0]} {mark}({bodies})")
    parts = ", ".join(f"{kind} {mark}{_body(kind, mark, random)}" for kind in kinds)
    inner = f"GEOMETRYCOLLECTION {mark}({parts})"
    return shapely.from_wkt(inner if shape == "collection" else f"GEOMETRYCOLLECTION {mark}({inner})")


def _body(kind: str, mark: str, random: np.random.Generator) -> str:
    rows = random.uniform(-3000, 3000, ({"POINT": 1, "LINESTRING": 4, "POLYGON": 5}[kind], 2 + len(mark.strip())))
    rows = np.concatenate([rows, rows[:1]]) if kind == "POLYGON" else rows
    text = "(" + ", ".join(" ".join(map(repr, row.tolist())) for row in rows) + ")"
    return f"({text})" if kind == "POLYGON" else text

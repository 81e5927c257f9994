"""The made shift of the demo borough: smooth inside an old sheet, jumping between sheets.

The ground is the new map. A place on the old map is the ground minus the shift there.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import shapely
from borough_kind import Kind
from numpy.typing import NDArray

Places = NDArray[np.float64]

WEST, SOUTH, SIDE_M = 362_000.0, 258_000.0, 6_000.0
URBAN = shapely.box(366_000, 262_000, 367_000, 263_000)
"""Mapped at 1:1250: never moved, and OS gave no control for it."""
IDENTITY = shapely.box(362_000, 258_000, 363_000, 259_000)
"""Resurveyed before: did not move, and its control says so."""
TOWN = shapely.Point(363_500, 261_100).buffer(450)
"""Resurveyed with the move: each building has a shift of its own."""
BLOCK_EDGE_NORTHING, STRIP_M = 260_000.0, 100.0
"""No control within the strip on either side of the block edge."""

_SHEETS = (5, 7)


@dataclass(frozen=True)
class Shift:
    """One throw of the dice: a constant and a slope per sheet over one wave common to all."""

    origin: Places
    angle: float
    phase: Places
    constant: Places
    slope: Places
    sheet_m: Places
    bend_m: float
    resurveyed: shapely.STRtree = field(default_factory=lambda: shapely.STRtree([]))
    """Buildings on the ground that each have a shift of their own on top: that of its row in ``own``."""
    own: Places = field(default_factory=lambda: np.empty((0, 2)))

    @classmethod
    def make(cls, rng: np.random.Generator, kind: Kind) -> Shift:
        """Sheets that lie askew of the grid, with bent edges; two neighbours hardly differ."""
        constant = np.array([1.7, -1.3]) + rng.normal(0, kind.step_m, (*_SHEETS, 2))
        constant[2, 3] = constant[2, 2] + 0.08
        sheet_m = np.array(kind.sheet_m)
        return cls(
            origin=np.array([WEST, SOUTH]) - sheet_m * (1 + rng.uniform(0.2, 0.8, 2)),
            angle=np.radians(rng.choice([-1, 1]) * rng.uniform(1.5, 2.5)),
            phase=rng.uniform(0, 2 * np.pi, 4),
            constant=constant,
            slope=rng.normal(0, 1.2e-4, (*_SHEETS, 2, 2)),
            sheet_m=sheet_m,
            bend_m=kind.bend_m,
        )

    def with_resurveyed(self, buildings: list[shapely.Polygon], rng: np.random.Generator, kind: Kind) -> Shift:
        """The same shift, and one of its own for each of ``buildings`` in the resurveyed town."""
        there = [each for each in buildings if TOWN.centroid.distance(each.centroid) < kind.resurveyed_radius_m]
        angle, size = rng.uniform(0, 2 * np.pi, len(there)), rng.uniform(*kind.building_shift_m, len(there))
        own = size[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
        return replace(self, resurveyed=shapely.STRtree(there), own=own)

    def sheet(self, ground: Places) -> NDArray[np.int_]:
        """The old sheet ``(n, 2)`` (column, row) that each place was drawn on."""
        return np.clip(np.floor(self._sheet_numbers(ground)), 0, np.array(_SHEETS) - 1).astype(int)

    def _sheet_numbers(self, ground: Places) -> Places:
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        along = (ground - self.origin) @ np.array([[cos, -sin], [sin, cos]])
        bend = self.bend_m * np.sin(along[:, ::-1] / np.array([520.0, 610.0]) + self.phase[:2])
        return (along + bend) / self.sheet_m

    def __call__(self, ground: Places, sheet: NDArray[np.int_] | None = None) -> Places:
        """The shift ``(n, 2)`` [m] at places on the ground; on a given sheet, where one is given."""
        sheet = self.sheet(ground) if sheet is None else np.broadcast_to(sheet, ground.shape)
        column, row = sheet.T
        middle = self.origin + (sheet + 0.5) * self.sheet_m
        tilt = np.einsum("nij,nj->ni", self.slope[column, row], ground - middle)
        wave = 0.5 * np.sin((ground - [WEST, SOUTH]) @ np.array([[1.1e-3, 4e-4], [-3e-4, 9e-4]]) + self.phase[2:])
        moved = self.constant[column, row] + tilt + wave
        place, building = self.resurveyed.query(shapely.points(ground), predicate="intersects")
        moved[place] += self.own[building]
        return np.where(is_unmoved(ground)[:, None], 0.0, moved)

    def sheet_edges(self) -> list[Places]:
        """The sheet edges inside the borough as lines ``(k, 2)`` on the ground, for looking at."""
        steps = np.linspace(0, SIDE_M, 601)
        east, north = np.meshgrid(WEST + steps, SOUTH + steps)
        numbers = self._sheet_numbers(np.column_stack([east.ravel(), north.ravel()])).reshape(601, 601, 2)
        return [line for axis in (0, 1) for line in _level_lines(numbers[..., axis], axis, steps)]


def is_unmoved(ground: Places) -> NDArray[np.bool_]:
    """Whether a place lies where the map did not move."""
    points = shapely.points(ground)
    return np.asarray(shapely.intersects(points, URBAN) | shapely.intersects(points, IDENTITY))


def _level_lines(numbers: NDArray[np.float64], axis: int, steps: NDArray[np.float64]) -> list[Places]:
    rows = numbers if axis == 0 else numbers.T
    levels = range(int(np.ceil(rows.min())), int(np.floor(rows.max())) + 1)
    return [line for level in levels if len(line := _level_line(rows, level, axis, steps)) > 1]


def _level_line(rows: NDArray[np.float64], level: int, axis: int, steps: NDArray[np.float64]) -> Places:
    across = np.array([np.interp(level, row, steps, left=np.nan, right=np.nan) for row in rows])
    places = np.column_stack([across, steps]) if axis == 0 else np.column_stack([steps, across])
    return places[~np.isnan(across)] + [WEST, SOUTH]

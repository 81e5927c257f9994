"""Speed and correctness of ``post-pai shift``, with peers in the same run.

    python benchmarks/shift.py            the table of the design goals, some minutes
    python benchmarks/shift.py --quick    a tenth of the size
    python benchmarks/shift.py --large    also two million polygons

Everything is made in a temporary folder; rows whose peer is not installed are left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyogrio
import shapely

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.field_file import read_field, write_field
from pipeline.fitted import Fitted, control_sha256
from qa.coverage import edge_error_m, fit_of
from transforms.breaks import Breaks
from transforms.contract import Control, Points
from transforms.tabulated import Tabulated
from transforms.triangulated import Triangulated

CORNER = np.array([400_000.0, 320_000.0])
CELL_M = 45.0
TOLERANCE_M = 0.05
COPY = "import sys, pyogrio.raw as r\nwith r.open_arrow(sys.argv[1], use_pyarrow=False) as (m, s):\n" + (
    "    r.write_arrow(s, sys.argv[2], layer='copy', driver='GPKG', geometry_name=m['geometry_name'] or 'wkb_geometry',"
    " geometry_type='Polygon', crs='EPSG:27700')\n"
)


@dataclass(frozen=True)
class Cost:
    """Wall time [s], peak memory [MiB] and processor time [s] of a whole process."""

    seconds: float
    peak_mib: float
    processor_seconds: float


def main() -> None:
    options = _options()
    scale = 0.1 if options.quick else 1.0
    with tempfile.TemporaryDirectory(prefix="post_pai_bench_", dir=options.folder) as folder:
        bench = _Bench(Path(folder), scale)
        bench.polygons()
        bench.points()
        bench.control_counts()
        bench.coverage()
        if options.large:
            bench.large()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the size")
    parser.add_argument("--large", action="store_true", help="also two million polygons")
    parser.add_argument("--folder", help="where to put the temporary files")
    return parser.parse_args()


class _Bench:
    def __init__(self, folder: Path, scale: float) -> None:
        self.folder, self.scale = folder, scale
        side = CELL_M * np.sqrt(200_000 * scale)
        self.extent = np.array([CORNER - 500.0, CORNER + side + 500.0])
        self.field = self.write_field("2000.field", 2000)

    def write_field(self, name: str, count: int) -> Path:
        path = self.folder / name
        control = smooth_control(count, self.extent)
        write_field(path, fitted(control))
        return path

    def polygons(self) -> None:
        source = self.folder / "polygons.gpkg"
        count, vertices = write_polygons(source, int(200_000 * self.scale))
        title(f"{count} polygons, {vertices} vertices, GeoPackage, 2000 control points, whole process")
        ours = self.shift(source)
        row("post-pai shift", ours)
        copied = run([sys.executable, "-c", COPY, str(source), self.out("copy.gpkg")])
        row("pyogrio Arrow read + write", copied, against=ours, goal="at most 3")
        if shutil.which("ogr2ogr"):
            plain = run(["ogr2ogr", self.out("plain.gpkg"), str(source)])
            row("ogr2ogr plain copy", plain, against=ours, goal="at most 1.0")
            plate = run(["ogr2ogr", "-tps", *self.gcps(500), self.out("tps.gpkg"), str(source)])
            row("ogr2ogr -tps, 500 control points", plate, against=ours, goal="at most 0.125")

    def gcps(self, count: int) -> list[str]:
        control = smooth_control(count, self.extent)
        numbers = np.hstack([control.before, control.after])
        return [word for line in numbers for word in ("-gcp", *(f"{number:.3f}" for number in line))]

    def points(self) -> None:
        source = self.folder / "addresses.csv"
        count = int(50_000 * self.scale)
        write_addresses(source, count, self.extent)
        title(f"{count} address points, CSV to GeoPackage, whole process (goal: under 4 s)")
        row("post-pai shift", self.shift(source))

    def control_counts(self) -> None:
        title("Seconds per million vertices against control points (goal: at most 1.5 times)")
        places = np.random.default_rng(4).uniform(*self.extent, (1_000_000, 2))
        # In strips, as the features of a layer lie in a file; places at random would time the processor's cache.
        places = places[np.lexsort((places[:, 0], places[:, 1] // 100))]
        for count in (100, 2000, 100_000):
            field = read_field(self.write_field(f"{count}.field", count)).field
            began = time.perf_counter()
            field(places), field.uncertainty(places)
            print(f"  {count:>8} control points {time.perf_counter() - began:8.3f} s")

    def coverage(self) -> None:
        source, target = self.folder / "coverage.gpkg", self.folder / "coverage_moved.gpkg"
        polygons = coverage_with_roads(int(20_000 * self.scale))
        write_layer(source, shapely.to_wkb(polygons))
        path = self.folder / "breaks.field"
        extent = (
            np.array([np.array(shapely.total_bounds(polygons)[:2]) - 300, shapely.total_bounds(polygons)[2:]]) + 0.0
        )
        extent[1] += 300
        write_field(path, fitted_with_breaks(extent))
        title(f"Coverage of {len(polygons)} polygons with hanging nodes and long segments, bending field with breaks")
        row("post-pai shift", run([*_POST_PAI, "shift", str(path), str(source), str(target)]))
        self.report_coverage(polygons, target, read_field(path).field)

    def report_coverage(self, before: np.ndarray, target: Path, field: object) -> None:
        _, _, wkb, columns = pyogrio.raw.read(target, columns=["pai_status"])
        after = shapely.from_wkb(wkb)
        moved = columns[0] == "moved"
        print(f"  moved                                   {moved.sum()} of {len(moved)}")
        print(f"  moved ones that became invalid          {(moved & ~shapely.is_valid(after)).sum():12d}   goal: 0")
        staying = field(shapely.get_coordinates(shapely.point_on_surface(before[~moved])))
        created = area_apart(after[moved], staying) - area_apart(before[moved], staying)
        worst = edge_error_m(before[moved], after[moved], field)
        added = shapely.get_num_coordinates(after).sum() / shapely.get_num_coordinates(before).sum() - 1
        print(f"  overlap and gap created  [m2 / feature] {abs(created) / len(before):12.2e}   goal: at most 1e-06")
        print(f"  farthest from the exact image       [m] {worst:12.4f}   goal: at most {TOLERANCE_M}")
        print(f"  vertices added                          {100 * added:11.2f} %   goal: below 5 %")

    def large(self) -> None:
        source = self.folder / "large.gpkg"
        self.extent = np.array([CORNER - 500.0, CORNER + CELL_M * np.sqrt(2_000_000) + 500.0])
        self.field = self.write_field("large.field", 2000)
        count, vertices = write_polygons(source, 2_000_000)
        title(f"{count} polygons, {vertices} vertices (goal: below 1536 MiB)")
        row("post-pai shift", self.shift(source))

    def shift(self, source: Path) -> Cost:
        return run([*_POST_PAI, "shift", str(self.field), str(source), self.out("shifted.gpkg")])

    def out(self, name: str) -> str:
        path = self.folder / name
        path.unlink(missing_ok=True)
        return str(path)


_POST_PAI = [sys.executable, "-c", "from pipeline.cli import main; main()"]

# A child's peak memory is never reported as less than its parent's: so a parent of a few megabytes starts it.
_WEIGH = """
import os, sys, time
began = time.perf_counter()
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
print(time.perf_counter() - began, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def run(command: list[str]) -> Cost:
    """Run a process and weigh it."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    weigh = [sys.executable, "-S", "-c", _WEIGH, *command]
    done = subprocess.run(weigh, capture_output=True, text=True, env=environment, check=False)
    *said, figures = done.stderr.splitlines()
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:4])} ... failed: {' '.join(said)}")
    return Cost(*(float(figure) for figure in figures.split()))


def area_apart(polygons: np.ndarray, holes: Points) -> float:
    """Overlaps and gaps [m2] without the gaps about ``holes``: there a feature waits for a person."""
    fit = fit_of(polygons)
    whole = shapely.get_parts(shapely.union_all(polygons))
    gaps = shapely.polygons(shapely.get_parts(shapely.get_rings(whole)))
    gaps = gaps[~np.isin(np.arange(len(gaps)), _exteriors(whole))]
    kept = ~shapely.intersects(gaps[:, None], shapely.points(holes)[None]).any(axis=1)
    return float(fit.overlap_m2.sum() / 2 + shapely.area(gaps[kept]).sum())


def _exteriors(polygons: np.ndarray) -> np.ndarray:
    """The number of each polygon's outer ring among all rings."""
    rings = 1 + shapely.get_num_interior_rings(polygons)
    return np.cumsum(rings) - rings


def title(text: str) -> None:
    print(f"\n{text}", flush=True)


def row(name: str, cost: Cost, *, against: Cost | None = None, goal: str = "") -> None:
    ratio = ""
    if against:
        processor = against.processor_seconds / cost.processor_seconds
        ratio = f"   ours / this = {against.seconds / cost.seconds:5.2f} (processor {processor:5.2f})   goal: {goal}"
    spent = f"{cost.seconds:8.2f} s {cost.processor_seconds:8.2f} s of processor {cost.peak_mib:8.0f} MiB"
    print(f"  {name:34}{spent}{ratio}", flush=True)


# Worlds.


def smooth_shift(places: Points) -> Points:
    """A shift of PAI's size that bends over kilometres."""
    east, north = (places - CORNER).T / 1000.0
    return np.stack([1.5 + np.sin(east / 1.7) + 0.4 * np.cos(north), -1.2 + 0.8 * np.cos(east / 2.3 - north)], axis=1)


def smooth_control(count: int, extent: Points) -> Control:
    places = np.random.default_rng(count).uniform(*extent, (count, 2))
    corners = np.array([[extent[i, 0], extent[j, 1]] for i in (0, 1) for j in (0, 1)])
    places = np.concatenate([places, corners])
    return Control(places, places + smooth_shift(places))


def fitted(control: Control) -> Fitted:
    return _as_fitted(control, (Tabulated.of(Triangulated.fit(control)),), Breaks.none())


def fitted_with_breaks(extent: Points) -> Fitted:
    """A bending field with two breaks across which the shift jumps by 0.3 m, neither parallel to the grid."""
    (west, south), (east, north) = extent
    lines = [
        np.array([[west + share * (east - west), south], [west + (share + 0.07) * (east - west), north]])
        for share in (0.3, 0.6)
    ]
    breaks = Breaks.from_lines(lines, (west, south, east, north))
    control = smooth_control(1500, extent)
    piece = breaks.piece(control.before)
    pieces = []
    for number in range(breaks.count):
        jump = np.array([0.3, 0.1]) * (number % 2)
        pieces.append(Tabulated.of(Triangulated.fit(Control(control.before, control.after + jump))))
    assert set(np.unique(piece)) <= set(range(breaks.count))
    return _as_fitted(control, tuple(pieces), breaks)


def _as_fitted(control: Control, pieces: tuple[Tabulated, ...], breaks: Breaks) -> Fitted:
    return Fitted(
        pieces=pieces,
        breaks=breaks,
        method="triangulated",
        control_sha256=control_sha256(control),
        control_count=len(control),
        scores=(),
        calibration={"noise": 1.0, "field": 1.0, "at_rim": 1.0},
        within_95_share={},
        holdout_rms_m=0.0,
        covariance={},
        settings={},
        version="benchmark",
    )


def write_polygons(path: Path, count: int) -> tuple[int, int]:
    """A coverage of cells with wavy shared edges, 20 vertices each, written in batches so that size does not matter."""
    columns = int(np.sqrt(count))
    rows_at_once = max(1, 50_000 // columns)
    layer = _cells(columns, rows_at_once)
    total = columns * columns
    schema = pa.schema([("ref", pa.string()), ("height", pa.float64()), ("geom", pa.binary())])
    batches = (
        pa.record_batch(
            [
                pa.array([f"P{number:07d}" for number in numbers]),
                pa.array(numbers / 7.0),
                pa.array(wkb, pa.binary()),
            ],
            schema=schema,
        )
        for numbers, wkb in layer
    )
    pyogrio.raw.write_arrow(
        pa.RecordBatchReader.from_batches(schema, batches),
        path,
        layer="polygons",
        driver="GPKG",
        geometry_name="geom",
        geometry_type="Polygon",
        crs="EPSG:27700",
    )
    return total, total * 21


def _cells(columns: int, rows_at_once: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for low in range(0, columns, rows_at_once):
        high = min(low + rows_at_once, columns)
        row, column = (axis.ravel() for axis in np.mgrid[low:high, 0:columns])
        rings = _wavy(_ring(column, row))
        yield row * columns + column, shapely.to_wkb(shapely.polygons(rings * CELL_M + CORNER))


_SIDE = np.arange(5) / 5.0
_UNIT_RING = np.concatenate(
    [
        np.stack([_SIDE, 0 * _SIDE], 1),
        np.stack([0 * _SIDE + 1, _SIDE], 1),
        np.stack([1 - _SIDE, 0 * _SIDE + 1], 1),
        np.stack([0 * _SIDE, 1 - _SIDE], 1),
        [[0.0, 0.0]],
    ]
)


def _ring(column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Rings on the lattice of fifths, so that neighbours have the same bits."""
    return np.round((np.stack([column, row], axis=1)[:, None] + _UNIT_RING) * 5).astype(np.int64)


def _wavy(fifths: np.ndarray) -> np.ndarray:
    east, north = fifths[..., 0], fifths[..., 1]
    wave = np.stack([np.sin(1.7 * east + 2.9 * north), np.cos(2.3 * east - 1.1 * north)], axis=-1)
    return fifths / 5.0 + 0.06 * wave


def coverage_with_roads(count: int) -> np.ndarray:
    """Cells with wavy edges between straight roads: the road polygons have no vertex where the cells have theirs.

    Blocks of 10 x 10 cells; between block columns a strip road, drawn with 2 vertices a side per 10 cells (450 m).
    The whole is turned, so that no edge is parallel to the grid and hanging nodes lie on edges only to rounding.
    """
    side = max(10, int(np.sqrt(count)) // 10 * 10)
    row, column = (axis.ravel() for axis in np.mgrid[0:side, 0:side])
    fifths = _ring(column, row)
    rings = _wavy(fifths)
    on_road = fifths[..., 0] % 50 == 0
    rings[on_road] = (fifths / 5.0)[on_road]
    rings[..., 0] += 0.2 * (column // 10)[:, None]
    west = np.arange(10, side, 10)
    strips = []
    for edge in west:
        for low in range(0, side, 10):
            left, right = edge + 0.2 * (edge // 10 - 1), edge + 0.2 * (edge // 10)
            strips.append([[left, low], [right, low], [right, low + 10], [left, low + 10], [left, low]])
    polygons = np.concatenate([shapely.polygons(rings), shapely.polygons(np.array(strips, dtype=float))])
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return shapely.transform(polygons, lambda places: (places * CELL_M) @ turn.T + CORNER + [3000.0, 0.0])


def write_layer(path: Path, wkb: np.ndarray) -> None:
    table = pa.table({"ref": [str(number) for number in range(len(wkb))], "geom": pa.array(wkb, pa.binary())})
    pyogrio.raw.write_arrow(
        table, path, layer=path.stem, driver="GPKG", geometry_name="geom", geometry_type="Polygon", crs="EPSG:27700"
    )


def write_addresses(path: Path, count: int, extent: Points) -> None:
    places = np.random.default_rng(5).uniform(extent[0] + 600, extent[1] - 600, (count, 2))
    lines = [f"{i},{i % 97} High Street,{e:.2f},{n:.2f}" for i, (e, n) in enumerate(places)]
    path.write_text("UPRN,ADDRESS,EASTING,NORTHING\n" + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

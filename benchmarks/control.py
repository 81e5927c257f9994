"""Control, breaks and the fitted shift as the command gives them, against truth and beside what people use.

``python benchmarks/control.py [NET...]`` writes each net as link files, checks and fits them as ``post-pai
check-control`` and ``post-pai fit`` do, moves the check points as ``post-pai points`` does, and prints which planted
faults were found and how far the moved points lie from their truth. ``--borough`` adds the time of 300,000 control
points, ``--list`` names the nets.
"""

from __future__ import annotations

import csv
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import cKDTree

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import shapely  # noqa: E402
from borough import make_borough  # noqa: E402
from borough_control import line_numbers, write_link_files  # noqa: E402
from borough_kind import KINDS  # noqa: E402
from borough_shift import SIDE_M, SOUTH, TOWN, URBAN, WEST  # noqa: E402

from pipeline.control import check_control_files  # noqa: E402
from pipeline.field_file import read_field  # noqa: E402
from pipeline.fit import fit_files  # noqa: E402
from pipeline.points import move_points  # noqa: E402
from transforms.contract import Control  # noqa: E402
from transforms.one_piece import CIRCULAR_95  # noqa: E402

CHEW_VALLEY = ROOT.parent / "shared" / "data" / "chew_valley"
FAR_M = 200.0


@dataclass(frozen=True)
class Net:
    """Link files with known faults, and check points whose true shift is known.

    ``fault`` gives for a file and line the kind of a harmful fault and its size [m]; ``where`` names the part of the
    world that a check point lies in.
    """

    files: list[Path]
    fault: dict[tuple[str, int], tuple[str, float]]
    check: Control
    where: np.ndarray


# -- nets ---------------------------------------------------------------------------------------------------


def chew_valley(folder: Path) -> Net:
    with (CHEW_VALLEY / "truth" / "faults.csv").open() as stream:
        faults = [row for row in csv.DictReader(stream) if int(row["row"]) and row["harm"] == "harmful"]
    fault = {(row["file"], int(row["row"])): (row["kind"], float(row["size_m"] or "nan")) for row in faults}
    with (CHEW_VALLEY / "truth" / "check_points.csv").open() as stream:
        table = list(csv.DictReader(stream))
    places = (np.array([[float(row[f"{age}_{axis}"]) for axis in "en"] for row in table]) for age in ("old", "new"))
    distance_m = np.array([float(row["dist_break_m"]) for row in table])
    where = _near_and_far(np.array([row["regime"] for row in table], dtype=object), distance_m)
    return Net(sorted((CHEW_VALLEY / "control").iterdir()), fault, Control(*places), where)


def borough(folder: Path, kind: str, seed: int) -> Net:
    """A borough of ``tests/borough.py``: six by six kilometres with a town, an unmoved urban area, a strip, faults."""
    made = make_borough(seed, KINDS[kind])
    content = write_link_files(made.links)
    numbers = line_numbers(made.links, content)
    sizes = [float(np.hypot(*np.subtract(link.after, link.true_after))) for link in made.links]
    fault = {
        number: (link.kind, size)
        for number, link, size in zip(numbers, made.links, sizes, strict=True)
        if link.harm == "harmful"
    }
    ground = np.random.default_rng([seed, 9]).uniform(50.0, SIDE_M - 50.0, (4000, 2)) + np.array([WEST, SOUTH])
    points = shapely.points(ground)
    edges = shapely.MultiLineString([shapely.LineString(line) for line in made.shift.sheet_edges()])
    where = np.full(len(ground), "rural", dtype=object)
    where[shapely.contains(TOWN, points)] = "town"
    beside = shapely.distance(URBAN, points) < FAR_M
    where[beside] = "zero_edge"
    where[shapely.contains(URBAN, points)] = "urban"
    where = _near_and_far(where, shapely.distance(edges, points))
    check = Control(ground - made.shift(ground), ground)
    return Net(_written(folder, content.items()), fault, check, where)


def sheets(folder: Path, density: float, noise_m: float, heavy: bool, sheet_m: float, jump_m: float, seed: int) -> Net:
    """A square of land with skewed sheets, a smooth shift in each, a jump at every edge, and planted errors."""
    rng = np.random.default_rng(seed)
    side_m = float(np.clip(np.sqrt(4000.0 / density) * 1000.0, 3.2 * sheet_m, 40_000.0))
    count = int(density * (side_m / 1000.0) ** 2)
    world = _Sheets(rng, sheet_m, jump_m, side_m)
    before = rng.uniform(0.0, side_m, (count, 2))
    noise = rng.laplace(0.0, noise_m / np.sqrt(2.0), (count, 2)) if heavy else rng.normal(0.0, noise_m, (count, 2))
    after = before + world.shift(before) + noise
    bad = rng.choice(count, max(count // 50, 20), replace=False)
    size_m, angle = rng.uniform(1.0, 4.0, len(bad)), rng.uniform(0.0, 2 * np.pi, len(bad))
    after[bad] += size_m[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    content, numbers = _link_files(before, after)
    fault = {numbers[row]: ("gross_error", size) for row, size in zip(bad.tolist(), size_m.tolist(), strict=True)}
    places = rng.uniform(0.05 * side_m, 0.95 * side_m, (3000, 2))
    where = _near_and_far(np.full(len(places), "rural", dtype=object), world.edge_distance_m(places))
    check = Control(places + ORIGIN, places + ORIGIN + world.shift(places))
    return Net(_written(folder, content.items()), fault, check, where)


ORIGIN = np.array([350_000.0, 150_000.0])


def _near_and_far(where: np.ndarray, break_distance_m: np.ndarray) -> np.ndarray:
    """Rural check points told apart by their distance from a break; elsewhere other things are harder than breaks."""
    where[where == "rural"] = np.where(break_distance_m[where == "rural"] > FAR_M, "rural far", "rural near")
    return where


def _link_files(before: np.ndarray, after: np.ndarray) -> tuple[dict[str, bytes], list[tuple[str, int]]]:
    """The content of a link file per square kilometre, and the file and line of each control point."""
    content: dict[str, list[str]] = {}
    numbers = []
    for old, new in zip(before + ORIGIN, after + ORIGIN, strict=True):
        east, north = (int(value // 1000) for value in old)
        lines = content.setdefault(f"ST{east % 100:02d}{north % 100:02d}.csv", [])
        lines.append(",".join(f"{value:010.2f}" for value in (*old, *new)) + ",0032")
        numbers.append((f"ST{east % 100:02d}{north % 100:02d}.csv", len(lines)))
    return {name: ("\n".join(lines) + "\n").encode() for name, lines in content.items()}, numbers


def _written(folder: Path, content: Iterable[tuple[str, bytes]]) -> list[Path]:
    for name, lines in content:
        (folder / name).write_bytes(lines)
    return sorted(folder.iterdir())


class _Sheets:
    """A skewed lattice of sheets, each with an affine shift and a slow swing common to all."""

    def __init__(self, rng: np.random.Generator, sheet_m: float, jump_m: float, side_m: float) -> None:
        angle = rng.uniform(-0.5, 0.5)
        self.turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / [
            sheet_m,
            0.7 * sheet_m,
        ]
        count = int(3 * side_m / sheet_m) + 8
        self.base = rng.normal(0.0, jump_m / 2.0, (count, count, 2))
        self.slope = rng.normal(0.0, 0.4e-3, (count, count, 2, 2)) * (jump_m > 0)
        self.phase = rng.uniform(0.0, 2 * np.pi, 4)
        self.half = count // 2
        self.sheet_m = sheet_m

    def place(self, points: np.ndarray) -> np.ndarray:
        flat = points @ self.turn
        return flat + 0.04 * np.sin(2.1 * flat[:, ::-1] + self.phase[:2])

    def shift(self, points: np.ndarray) -> np.ndarray:
        cell = np.floor(self.place(points)).astype(int) + self.half
        inner = (self.place(points) % 1.0 - 0.5) * self.sheet_m
        own = self.base[cell[:, 0], cell[:, 1]] + np.einsum("nij,nj->ni", self.slope[cell[:, 0], cell[:, 1]], inner)
        return own + 1.2 * np.sin(points / 2500.0 + self.phase[2:])

    def edge_distance_m(self, points: np.ndarray) -> np.ndarray:
        share = np.abs(self.place(points) % 1.0)
        nearest = np.minimum(share, 1.0 - share) * [self.sheet_m, 0.7 * self.sheet_m]
        return nearest.min(axis=1)


NETS: dict[str, Callable[[Path], Net]] = {
    "chew_valley": chew_valley,
    **{f"borough_{kind}": partial(borough, kind=kind, seed=31) for kind in ("plain", "rough", "steps")},
    "sheets_4_per_km2": partial(sheets, density=4, noise_m=0.2, heavy=False, sheet_m=8000, jump_m=3, seed=1),
    "sheets_30_per_km2": partial(sheets, density=30, noise_m=0.3, heavy=False, sheet_m=3000, jump_m=2, seed=2),
    "sheets_120_per_km2_heavy": partial(sheets, density=120, noise_m=0.25, heavy=True, sheet_m=1800, jump_m=2, seed=3),
    "sheets_700_per_km2": partial(sheets, density=700, noise_m=0.3, heavy=False, sheet_m=900, jump_m=1.5, seed=4),
    "smooth_30_per_km2": partial(sheets, density=30, noise_m=0.2, heavy=False, sheet_m=3000, jump_m=0, seed=5),
}

# -- ways to find bad control -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Report:
    """What ``check-control`` wrote, with the truth of each row beside it."""

    control: Control
    verdict: np.ndarray
    kind: np.ndarray
    size_m: np.ndarray

    @classmethod
    def of(cls, net: Net, report: Path) -> _Report:
        with report.open(encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        names = ("old_easting", "old_northing", "new_easting", "new_northing")
        places = np.array([[float(row[name] or "nan") for name in names] for row in rows])
        faults = [net.fault.get((Path(row["file"]).name, int(row["row"])), ("", np.nan)) for row in rows]
        kind, size_m = (np.array(column) for column in zip(*faults, strict=True))
        return cls(Control(places[:, :2], places[:, 2:]), np.array([row["verdict"] for row in rows]), kind, size_m)

    @property
    def is_bad(self) -> np.ndarray:
        return np.asarray(self.kind != "")

    def found_table(self) -> None:
        print(f"{'found [share]':28}{'>= 2 m':>8}{'1-2 m':>8}{'other':>8}{'precision':>11}")
        single = self.kind == "gross_error"
        large, small = single & (self.size_m >= 2.0), single & (self.size_m >= 1.0) & (self.size_m < 2.0)
        ways = {
            "ours, rejected or suspect": self.verdict != "used",
            "ours, rejected": self.verdict == "rejected",
            "neighbour vote": neighbour_vote(self.control),
            "affine, 5 MAD": affine_cut(self.control),
        }
        for name, found in ways.items():
            shares = [found[those].mean() if those.any() else np.nan for those in (large, small, self.is_bad & ~single)]
            alarms = (found & (single | ~self.is_bad)).sum()
            precision = (found & single).sum() / max(alarms, 1)
            print(f"{name:28}" + "".join(f"{share:8.3f}" for share in shares) + f"{precision:11.3f}")


def neighbour_vote(control: Control) -> np.ndarray:
    """Further than 4 MAD from the median shift of twelve neighbours."""
    near = cKDTree(control.before).query(control.before, 13)[1][:, 1:]
    off = np.hypot(*(control.shift - np.median(control.shift[near], axis=1)).T)
    return off > 4.0 * 1.4826 * np.median(off)


def affine_cut(control: Control) -> np.ndarray:
    """Further than 5 MAD from one affine through all."""
    design = np.column_stack([np.ones(len(control)), control.before - control.before.mean(axis=0)])
    sane = np.hypot(*control.shift.T) < 10.0
    fit = np.linalg.lstsq(design[sane], control.shift[sane], rcond=None)[0]
    off = np.hypot(*(control.shift - design @ fit).T)
    return off > 5.0 * 1.4826 * np.median(off)


# -- the shift --------------------------------------------------------------------------------------------


def tin(control: Control, places: np.ndarray) -> np.ndarray:
    _, first = np.unique(control.before, axis=0, return_index=True)
    middle = control.before.mean(axis=0)
    sheet = LinearNDInterpolator(control.before[first] - middle, control.shift[first])
    return places + sheet(places - middle)


def moved(field: Path, places: np.ndarray, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Places ``(n, 2)`` and uncertainty ``(n,)`` [m] as ``post-pai points`` writes them."""
    source, target = folder / "check.csv", folder / "moved.csv"
    np.savetxt(source, places, fmt="%.4f", delimiter=",", header="easting,northing", comments="")
    move_points(field, source, target)
    table = np.genfromtxt(target, delimiter=",", skip_header=1, usecols=(0, 1, 2))
    return table[:, :2], table[:, 2]


def error_table(net: Net, report: _Report, after: np.ndarray, uncertainty_m: np.ndarray) -> None:
    """RMS error per part of the world, over the check points that the way in question reaches."""
    parts = sorted(set(net.where), key=lambda part: ("rural" not in part, part))
    print(f"{'RMS error [m]':28}" + "".join(f"{part:>12}" for part in parts) + f"{'reached':>9}")
    good = report.control.take(~report.is_bad)
    ways = {
        "ours": after,
        "TIN of the good control": tin(good, net.check.before),
        "TIN of all control": tin(report.control, net.check.before),
    }
    errors = {name: np.hypot(*(found - net.check.after).T) for name, found in ways.items()}
    for name, error in errors.items():
        print(f"{name:28}" + "".join(f"{_rms(error[net.where == part]):12.3f}" for part in parts), end="")
        print(f"{np.isfinite(error).mean():9.3f}")
    ours, peer = errors["ours"], errors["TIN of the good control"]
    ratio = [_rms(ours[net.where == part]) / _rms(peer[net.where == part]) for part in parts]
    print(f"{'ours / TIN of the good':28}" + "".join(f"{value:12.2f}" for value in ratio))
    known = np.isfinite(errors["ours"]) & np.isfinite(uncertainty_m)
    within = errors["ours"] <= CIRCULAR_95 * uncertainty_m
    shares = [within[known & (net.where == part)] for part in parts]
    print(f"{'truth in 95 % radius [%]':28}" + "".join(f"{100 * s.mean() if len(s) else np.nan:12.1f}" for s in shares))


def _rms(error: np.ndarray) -> float:
    known = error[np.isfinite(error)]
    return float(np.sqrt(np.mean(known**2))) if len(known) else float("nan")


def run(name: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "control").mkdir()
        net = NETS[name](folder / "control")
        start = time.perf_counter()
        check_control_files(net.files, folder / "report.csv")
        report = _Report.of(net, folder / "report.csv")
        fit_files(net.files, folder / "shift.field")
        seconds = time.perf_counter() - start
        field = read_field(folder / "shift.field")
        print(f"\n{name}: {len(report.kind)} control points, {report.is_bad.sum()} bad;", end=" ")
        print(f"{field.breaks.count} pieces, {seconds:.0f} s")
        report.found_table()
        error_table(net, report, *moved(folder / "shift.field", net.check.before, folder))
        print(f"{'':28}" + "".join(f"{part:>12}" for part in field.within_95_share))
        shares = "".join(f"{100 * share:12.1f}" for share in field.within_95_share.values())
        print(f"{'held-out in 95 % radius [%]':28}{shares}")


def large_borough() -> None:
    """Check and fit of 300,000 control points with breaks, as the command does it."""
    side_m = 20_000.0
    rng = np.random.default_rng(6)
    world = _Sheets(rng, 2000.0, 2.0, side_m)
    before = rng.uniform(0.0, side_m, (300_000, 2))
    content, _ = _link_files(before, before + world.shift(before) + rng.normal(0.0, 0.3, before.shape))
    with tempfile.TemporaryDirectory() as scratch:
        files = _written(Path(scratch), content.items())
        start = time.perf_counter()
        sentence = fit_files(files, Path(scratch) / "shift.field")
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\n300,000 control points checked and fitted in {seconds:.0f} s, peak {peak:.1f} GiB: {sentence}")


if __name__ == "__main__":
    asked = [name for name in sys.argv[1:] if not name.startswith("--")]
    if "--list" in sys.argv:
        print("\n".join(NETS))
    elif "--borough" in sys.argv:
        large_borough()
    else:
        for name in asked or [name for name in NETS if name != "chew_valley" or CHEW_VALLEY.exists()]:
            run(name)

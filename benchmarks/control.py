"""Bad control and breaks, measured against truth and beside simpler ways of doing the same.

``python benchmarks/control.py`` prints three tables: Chew Valley (planted faults, and the error of the fitted
shift), nets made here with other lattices, densities and noise, and the time taken by a borough's control.
``--borough`` adds the last one.
"""

from __future__ import annotations

import csv
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import cKDTree

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from qa.control import judge_control  # noqa: E402
from transforms.breaks import Breaks  # noqa: E402
from transforms.collocation import Kriging  # noqa: E402
from transforms.contract import Control  # noqa: E402
from transforms.covariance import estimate_covariance  # noqa: E402
from transforms.piecewise import Piecewise, piece_of_control  # noqa: E402

CHEW_VALLEY = ROOT.parent / "shared" / "data" / "chew_valley"


@dataclass(frozen=True)
class Net:
    """Control with known faults, and places whose true shift is known."""

    name: str
    control: Control
    file: np.ndarray
    tile_extent: np.ndarray | None
    is_harmful: np.ndarray
    kind: np.ndarray
    size_m: np.ndarray
    check: Control
    break_distance_m: np.ndarray
    counted: np.ndarray


# -- nets ---------------------------------------------------------------------------------------------------


def chew_valley() -> Net:
    rows = [
        (path.name, line, *map(float, fields[:4]), fields[4])
        for path in sorted((CHEW_VALLEY / "control").iterdir())
        for line, fields in enumerate(csv.reader(path.open()), 1)
        if len(fields) >= 5
    ]
    places = np.array([row[2:6] for row in rows], dtype=float)
    file = np.array([row[0] for row in rows])
    control = Control(places[:, :2], places[:, 2:], np.array([row[6] for row in rows]))
    faults = defaultdict(list)
    for fault in csv.DictReader((CHEW_VALLEY / "truth" / "faults.csv").open()):
        faults[fault["file"], int(fault["row"])].append(fault)
    worst = [max(faults[row[:2]], key=lambda f: f["harm"] == "harmful", default=None) for row in rows]
    harmful = np.array([fault is not None and fault["harm"] == "harmful" for fault in worst])
    kind = np.array([fault["kind"] if fault else "" for fault in worst])
    size_m = np.array([float(fault["size_m"] or "nan") if fault else np.nan for fault in worst])
    corner = np.array([[3e5 + 1e3 * int(name[2:4]), 1e5 + 1e3 * int(name[4:6])] for name in file])
    extent = np.hstack([corner, corner + 1000.0])
    table = list(csv.DictReader((CHEW_VALLEY / "truth" / "check_points.csv").open()))
    check = Control(*(np.array([[float(row[f"{a}_{b}"]) for b in "en"] for row in table]) for a in ("old", "new")))
    distance = np.array([float(row["dist_break_m"]) for row in table])
    # Where the old map cannot tell (the unmoved urban area, its edge, the resurveyed town) no method can know.
    rural = np.array([row["regime"] == "rural" for row in table])
    return Net("chew_valley", control, file, extent, harmful, kind, size_m, check, distance, rural)


def made_net(name: str, density: float, noise_m: float, heavy: bool, sheet_m: float, jump_m: float, seed: int) -> Net:
    """A square of land with skewed sheets, a smooth shift in each, a jump at every edge, and planted errors."""
    rng = np.random.default_rng(seed)
    side = float(np.clip(np.sqrt(4000.0 / density) * 1000.0, 3.2 * sheet_m, 40_000.0))
    count = int(density * (side / 1000.0) ** 2)
    world = _Sheets(rng, sheet_m, jump_m, side)
    before = rng.uniform(0.0, side, (count, 2))
    noise = rng.laplace(0.0, noise_m / np.sqrt(2.0), (count, 2)) if heavy else rng.normal(0.0, noise_m, (count, 2))
    after = before + world.shift(before) + noise
    bad = rng.choice(count, max(count // 50, 20), replace=False)
    size_m = np.full(count, np.nan)
    size_m[bad] = rng.uniform(1.0, 4.0, len(bad))
    angle = rng.uniform(0.0, 2 * np.pi, len(bad))
    after[bad] += size_m[bad][:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    places = rng.uniform(0.05 * side, 0.95 * side, (3000, 2))
    kind = np.where(np.isfinite(size_m), "gross_error", "")
    file = (before // 1000.0 @ [1000.0, 1.0]).astype(int)
    check = Control(places, places + world.shift(places))
    distance = world.edge_distance_m(places)
    return Net(
        name, Control(before, after), file, None, np.isfinite(size_m), kind, size_m, check, distance, distance >= 0
    )


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
        self.slope = rng.normal(0.0, 0.4e-3, (count, count, 2, 2))
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


NETS = (
    ("4 per km², 0.2 m", 4.0, 0.2, False, 8000.0, 3.0, 1),
    ("30 per km², 0.3 m", 30.0, 0.3, False, 3000.0, 2.0, 2),
    ("120 per km², 0.25 m heavy", 120.0, 0.25, True, 1800.0, 2.0, 3),
    ("700 per km², 0.3 m", 700.0, 0.3, False, 900.0, 1.5, 4),
    ("30 per km², 0.2 m, no jump", 30.0, 0.2, False, 3000.0, 0.0, 5),
)

# -- ways to find bad control -------------------------------------------------------------------------------


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


def found_table(net: Net, judged: np.ndarray) -> None:
    print(f"\n{net.name}: {len(net.control)} control points, {net.is_harmful.sum()} bad")
    print(f"{'':28}{'>= 2 m':>8}{'1-2 m':>8}{'other':>8}{'precision':>11}")
    single = net.kind == "gross_error"
    ways = {"ours": judged, "neighbour vote": neighbour_vote(net.control), "affine, 5 MAD": affine_cut(net.control)}
    for name, found in ways.items():
        large, small = single & (net.size_m >= 2.0), single & (net.size_m >= 1.0) & (net.size_m < 2.0)
        other = net.is_harmful & ~single
        shares = [found[those].mean() if those.any() else np.nan for those in (large, small, other)]
        alarms = (found & (single | ~net.is_harmful)).sum()
        precision = (found & single).sum() / max(alarms, 1)
        print(f"{name:28}" + "".join(f"{share:8.3f}" for share in shares) + f"{precision:11.3f}")


# -- the shift --------------------------------------------------------------------------------------------


def tin(control: Control, places: np.ndarray) -> np.ndarray:
    _, first = np.unique(control.before, axis=0, return_index=True)
    middle = control.before.mean(axis=0)
    sheet = LinearNDInterpolator(control.before[first] - middle, control.shift[first])
    return places + sheet(places - middle)


def pieced_collocation(control: Control, breaks: Breaks) -> Piecewise[Kriging]:
    number = piece_of_control(control, breaks)
    parts = [control.take(number == piece) for piece in range(breaks.count) if (number == piece).sum() > 20]
    covariance = estimate_covariance(parts)
    return Piecewise.fit(control, breaks, lambda piece: Kriging.fit(piece, covariance))


def error_table(net: Net, used: np.ndarray, breaks: Breaks) -> None:
    field = pieced_collocation(net.control.take(used), breaks)
    finite = np.hypot(*net.control.shift.T) < np.inf
    ways = {
        "ours": field(net.check.before),
        "TIN of the good control": tin(net.control.take(~net.is_harmful), net.check.before),
        "TIN of all control": tin(net.control.take(finite), net.check.before),
    }
    far = net.break_distance_m > 200.0
    print(f"{breaks.count} pieces; RMS error [m] {'over 200 m':>18}{'within 200 m':>14}{'covered':>9}")
    for name, found in ways.items():
        error = np.hypot(*(found - net.check.after).T)
        parts = [error[net.counted & side & np.isfinite(error)] for side in (far, ~far)]
        figures = [np.sqrt(np.mean(part**2)) if len(part) else np.nan for part in parts]
        covered = np.isfinite(error[net.counted]).mean()
        print(f"{name:28}{figures[0]:15.3f}{figures[1]:14.3f}{covered:9.3f}")
    within = np.hypot(*(field(net.check.before) - net.check.after).T) <= 1.73 * field.uncertainty(net.check.before)
    known = net.counted & np.isfinite(field.uncertainty(net.check.before))
    print(
        f"truth within the stated 95 % radius: {within[known & far].mean():.3f}, near {within[known & ~far].mean():.3f}"
    )


def run(net: Net) -> None:
    start = time.perf_counter()
    judged = judge_control(net.control, file=net.file, tile_extent=net.tile_extent)
    seconds = time.perf_counter() - start
    found_table(net, judged.verdict != "used")
    error_table(net, judged.verdict == "used", judged.breaks)
    print(f"judged in {seconds:.1f} s")


def borough() -> None:
    side = 20_000.0
    rng = np.random.default_rng(6)
    world = _Sheets(rng, 2000.0, 2.0, side)
    before = rng.uniform(0.0, side, (300_000, 2))
    control = Control(before, before + world.shift(before) + rng.normal(0.0, 0.3, before.shape))
    start = time.perf_counter()
    judged = judge_control(control, file=(before // 1000.0 @ [1000.0, 1.0]).astype(int))
    seconds = time.perf_counter() - start
    print(f"\n300,000 control points judged in {seconds:.0f} s, {judged.breaks.count} pieces")


if __name__ == "__main__":
    if CHEW_VALLEY.exists():
        run(chew_valley())
    for settings in NETS:
        run(made_net(*settings))
    if "--borough" in sys.argv:
        borough()

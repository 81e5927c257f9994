"""The shift field against its peers, in one run: accuracy on real and made control, speed and memory.

Run: ``python benchmarks/field.py``, twelve minutes, most of them Finland through the command. Real control is read from
``../shared/data`` beside the repository.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.interpolate import CloughTocher2DInterpolator, LinearNDInterpolator, RBFInterpolator

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pipeline.fit import fit_control, fit_files  # noqa: E402
from pipeline.points import move_points  # noqa: E402
from transforms.affine import Affine  # noqa: E402
from transforms.breaks import Breaks  # noqa: E402
from transforms.collocation import Collocation, Kriging  # noqa: E402
from transforms.contract import Control, Points  # noqa: E402
from transforms.natural_neighbour import NaturalNeighbour  # noqa: E402
from transforms.polynomial import Polynomial  # noqa: E402
from transforms.thin_plate import ThinPlate  # noqa: E402
from transforms.triangulated import Triangulated  # noqa: E402

FINLAND = ROOT.parent / "shared" / "data" / "control" / "fi_nls_ykj_etrs35fin.json"
LOW = np.array([400000.0, 300000.0])
SIDE_M = 20000.0
WAVE_M = 6000.0
NOISE_M = 0.3
DRAWS = 10
"""Draws of the folds: the error of one method differs by 3 % from draw to draw, alike for all."""

Predict = Callable[[Points], Points]


def scipy_peers() -> dict[str, Callable[[Control], Predict]]:
    def peer(build: Callable[..., Predict]) -> Callable[[Control], Predict]:
        def fit(control: Control) -> Predict:
            middle = control.before.mean(axis=0)
            surface = build((control.before - middle) / 1e4, control.shift)
            return lambda places: places + surface((places - middle) / 1e4)

        return fit

    return {
        "scipy TIN": peer(LinearNDInterpolator),
        "scipy Clough-Tocher": peer(CloughTocher2DInterpolator),
        "scipy thin-plate": peer(RBFInterpolator),
    }


def made_control(count: int, seed: int) -> tuple[Control, Predict]:
    rng = np.random.default_rng(seed)
    wave = rng.normal(0, 2 * np.pi / WAVE_M, (40, 2)) / np.sqrt(2)
    phase, height = rng.uniform(0, 2 * np.pi, (2, 40)), rng.normal(0, 0.24, (2, 40))

    def truth(places: Points) -> Points:
        angle = (places - LOW) @ wave.T
        return places + np.stack([np.cos(angle + phase[k]) @ height[k] for k in (0, 1)], axis=1)

    before = LOW + rng.uniform(0, SIDE_M, (count, 2))
    return Control(before, truth(before) + rng.normal(0, NOISE_M, (count, 2))), truth


def rms(error: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean((error**2).sum(axis=1))))


def ten_fold(control: Control, fit: Callable[[Control], Predict], seed: int) -> tuple[float, float]:
    fold = np.random.default_rng(seed).permutation(len(control)) % 10
    error = np.empty((len(control), 2))
    for number in range(10):
        test = fold == number
        error[test] = fit(control.take(~test))(control.before[test]) - control.after[test]
    return rms(error), float(np.isfinite(error[:, 0]).mean())


def by_command(control: Control) -> Predict:
    """``post-pai fit`` and ``post-pai points``, check of control and choice of method included."""

    def predict(places: Points) -> Points:
        with tempfile.TemporaryDirectory() as scratch:
            files = [Path(scratch) / name for name in ("control.csv", "shift.field", "places.csv", "moved.csv")]
            header = "old_easting,old_northing,new_easting,new_northing"
            write_csv(files[0], header, np.hstack([control.before, control.after]))
            fit_files(files[:1], files[1], length_warn_m=1e7, length_reject_m=1e7)
            write_csv(files[2], "easting,northing", places)
            move_points(*files[1:])
            return np.genfromtxt(files[3], delimiter=",", skip_header=1, usecols=(0, 1))

    return predict


def write_csv(path: Path, header: str, numbers: np.ndarray) -> None:
    np.savetxt(path, numbers, fmt="%.4f", delimiter=",", header=header, comments="")


def finland() -> None:
    if not FINLAND.exists():
        print("Finland: skipped, the shared data folder is not beside the repository")
        return
    places = np.array(json.loads(FINLAND.read_text())["vertices"], dtype=float)
    control = Control(places[:, :2], places[:, 2:])
    ours = {"affine": Affine.fit, "cubic": Polynomial.fit, "triangulated": Triangulated.fit}
    ours |= {"natural neighbour": NaturalNeighbour.fit, "thin-plate": ThinPlate.fit, "collocation": Kriging.fit}
    print(f"Finland, 767 points, 10-fold hold-out, mean of {DRAWS} draws of the folds")
    print(f"{'RMS [m]':>54}   covered   over thin-plate's")
    plate = np.nan
    for name, fit in {**scipy_peers(), **ours, "post-pai fit, points": by_command}.items():
        error, covered = np.mean([ten_fold(control, fit, seed) for seed in range(DRAWS)], axis=0)
        plate = error if name == "scipy thin-plate" else plate
        print(f"  {name:<42} {error:9.4f} {100 * covered:8.1f} % {error / plate:16.3f}")


def smooth_noise() -> None:
    control, truth = made_control(1600, seed=1)
    places = LOW + np.random.default_rng(5).uniform(0.025, 0.975, (20000, 2)) * SIDE_M
    print(f"Smooth field, {NOISE_M} m noise, 4 points/km²         truth error [m]")
    for name, fit in {**scipy_peers(), "collocation": Collocation.fit}.items():
        print(f"  {name:<42} {rms(fit(control)(places) - truth(places)):9.4f}")


def evaluation() -> None:
    places = LOW + np.random.default_rng(6).uniform(0.1, 0.9, (5_000_000, 2)) * SIDE_M
    print("5 million places, with uncertainty              seconds")
    seconds = {}
    for count in (100, 100_000):
        field = Collocation.fit(made_control(count, seed=2)[0])
        start = time.perf_counter()
        field(places), field.uncertainty(places)
        seconds[count] = time.perf_counter() - start
        print(f"  collocation from {count:>7} control points {seconds[count]:15.2f}")
    print(f"  ratio of the two {seconds[100_000] / seconds[100]:34.2f}")
    net = scipy_peers()["scipy TIN"](made_control(100_000, seed=2)[0])
    start = time.perf_counter()
    net(places[:500_000])
    print(f"  scipy TIN from 100000, without uncertainty {10 * (time.perf_counter() - start):8.2f} (from a tenth)")


def borough() -> None:
    control, truth = made_control(300_000, seed=3)
    start, cpu = time.perf_counter(), time.process_time()
    fitted = fit_control(control, breaks=Breaks.none())
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    places = LOW + np.random.default_rng(5).uniform(0.025, 0.975, (20000, 2)) * SIDE_M
    print("Fit of 300,000 control points (breaks and check apart)")
    print(f"  method {fitted.method}, {seconds:.1f} s, {cpu:.1f} s of processor")
    print(f"  truth error [m] {rms(fitted.field(places) - truth(places)):.4f}")
    print(f"  within the stated 95 % radius {fitted.within_95_share}")
    print(f"  largest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    for part in (finland, smooth_noise, evaluation, borough):
        part()
        print()

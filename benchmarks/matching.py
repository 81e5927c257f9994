"""Matching the two editions of the base map: how right, how fast, how much memory.

    python benchmarks/matching.py [--sizes 10000,100000,1000000] [--world FOLDER]...

First the right and the wrong matches of worlds with truth, with ids and with all ids removed: Chew Valley (or the
worlds named) and made towns of three kinds: tidy, roughly redrawn (vertices out by 0.1 m), and all terraces, where
every house looks like its neighbour. Then the error of the shift fitted from link files, from the base maps alone and
from both. Then made base maps of growing size, each in a process of its own: processor
seconds and peak memory of reading and matching both editions, and of the whole job without any link file.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
WORLD = ROOT.parent / "shared" / "data" / "chew_valley"

STREET_M = 90.0
HOUSES = 12
SHEET_M = 1_500.0


@dataclass(frozen=True)
class Editions:
    """Two editions with their ids and, for each old row, its new row: -1 gone, -2 not known."""

    old: NDArray[np.object_]
    old_ids: NDArray[np.object_]
    new: NDArray[np.object_]
    new_ids: NDArray[np.object_]
    truth: NDArray[np.int_]
    altered: NDArray[np.bool_]


def made_editions(count: int, seed: int, *, noise_m: float = 0.02, alike: float = 0.0) -> Editions:
    """A town of about ``count`` features: rows of houses, their plots and streets; ``alike`` makes houses equal."""
    rng = np.random.default_rng(seed)
    blocks = max(1, round(count / (2 * HOUSES + 1)))
    side = int(np.ceil(np.sqrt(blocks)))
    corner = np.stack(np.unravel_index(np.arange(blocks), (side, side)), axis=1) * STREET_M + [400_000.0, 200_000.0]
    corner = corner + rng.uniform(-8, 8, corner.shape)
    turn = rng.uniform(-0.3, 0.3, blocks)
    houses, plots, streets = _blocks(corner, turn, rng, alike)
    ground = np.concatenate([houses, plots, streets])
    kind = np.repeat([0, 1, 1], [len(houses), len(plots), len(streets)])
    return _two_editions(ground, kind == 0, rng, noise_m)


def _blocks(corner: NDArray, turn: NDArray, rng: np.random.Generator, alike: float) -> tuple[NDArray, ...]:
    blocks = len(corner)
    width = np.where(rng.random((blocks, 1)) < alike, 5.5, rng.uniform(4.5, 7.0, (blocks, HOUSES)))
    depth = np.where(rng.random((blocks, 1)) < alike, 9.0, rng.uniform(7.5, 12.0, (blocks, HOUSES)))
    detached = rng.random((blocks, 1)) > max(alike, 0.4)
    gap = np.where(detached, rng.uniform(1.0, 3.0, (blocks, HOUSES)), 0.0)
    left = np.cumsum(width + gap, axis=1) - width
    front = np.where(detached, rng.uniform(5, 9, (blocks, HOUSES)), 6.0)

    def placed(along: NDArray, across: NDArray) -> NDArray:
        cos, sin = np.cos(turn)[:, None, None], np.sin(turn)[:, None, None]
        return np.stack([along * cos - across * sin, along * sin + across * cos], axis=-1) + corner[:, None, None]

    boxes = placed(
        np.stack([left, left + width, left + width, left], axis=2),
        np.stack([front, front, front + depth, front + depth], axis=2),
    )
    fence = placed(np.stack([left, left], axis=2), np.stack([front * 0, front + depth + 18], axis=2))
    street = placed(
        np.stack([left[:, :1] - 6, left[:, 5:6], left[:, -1:] + 12], axis=2),
        np.stack([0 * left[:, :1] - 4, 0 * left[:, :1] - 4.5, 0 * left[:, :1] - 3], axis=2),
    )
    houses = shapely.polygons(boxes.reshape(-1, 4, 2))
    return houses, shapely.linestrings(fence.reshape(-1, 2, 2)), shapely.linestrings(street.reshape(-1, 3, 2))


def _shift(places: NDArray, rng: np.random.Generator) -> NDArray:
    """New minus old: constant per sheet, with a slope; sheets jump by metres."""
    sheet = np.floor((places - places.min(axis=0)) / SHEET_M).astype(int)
    constant = rng.normal([1.2, -1.0], 1.3, (*(sheet.max(axis=0) + 1), 2))
    slope = 0.3 * np.sin(places / 700.0)
    return constant[sheet[:, 0], sheet[:, 1]] + slope


def _two_editions(ground: NDArray, is_house: NDArray, rng: np.random.Generator, noise_m: float) -> Editions:
    count = len(ground)
    points, owner = shapely.get_coordinates(ground, return_index=True)
    old = shapely.set_coordinates(ground.copy(), np.round(points - _shift(points, rng), 2))
    noise = rng.normal(0, noise_m, points.shape)
    closing = is_house[owner] & np.append(np.diff(owner) != 0, True)
    noise[closing] = noise[np.flatnonzero(closing) - 4]
    new = shapely.set_coordinates(ground.copy(), np.round(points + noise, 2))
    fate = rng.random(count)
    gone, built = fate < 0.02, (fate >= 0.02) & (fate < 0.04)
    altered = is_house & (fate >= 0.04) & (fate < 0.06)
    new[altered] = [
        shapely.affinity.scale(each, 1.0, 1.35, origin=shapely.Point(each.exterior.coords[0])) for each in new[altered]
    ]
    ids = np.array([f"osgb{1_000_000_000_000_000 + k}" for k in rng.permutation(count)], dtype=object)
    new_ids = ids.copy()
    reissued = rng.random(count) < 0.01
    new_ids[reissued] = [f"osgb{2_000_000_000_000_000 + k}" for k in np.flatnonzero(reissued)]
    old_rows, new_rows = np.flatnonzero(~built), rng.permutation(np.flatnonzero(~gone))
    where = np.full(count, -1)
    where[new_rows] = np.arange(len(new_rows))
    return Editions(
        old[old_rows],
        np.where(rng.random(len(old_rows)) < 0.08, None, ids[old_rows]),
        new[new_rows],
        new_ids[new_rows],
        where[old_rows],
        altered[old_rows],
    )


def world_editions(world: Path) -> Editions:
    """The base maps of a world folder with truth."""
    old, old_ids = _read(world / "base" / "base_before.gpkg")
    new, new_ids = _read(world / "base" / "base_after.gpkg")
    old_row, new_row = ({value: row for row, value in enumerate(ids) if value} for ids in (old_ids, new_ids))
    truth = np.array([new_row.get(value, -2) if value else -2 for value in old_ids])
    altered = np.zeros(len(old), dtype=bool)
    with (world / "truth" / "base_changes.csv").open(encoding="utf-8") as stream:
        for change in csv.DictReader(stream):
            was, now, row = change["toid_before"], change["toid_after"], old_row.get(change["toid_before"])
            if row is None:
                continue
            altered[row] |= change["what"] == "altered"
            if change["what"] in ("demolished", "removed"):
                truth[row] = -1
            elif change["what"] == "toid_reissued":
                truth[row] = new_row.get(now, -2)
            elif change["what"] == "toid_exchanged":
                truth[row], truth[old_row[now]] = new_row.get(now, -2), new_row.get(was, -2)
    return Editions(old, old_ids, new, new_ids, truth, altered)


def _read(path: Path) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    read = [pyogrio.raw.read(path, layer=name, columns=["toid"]) for name, _ in pyogrio.list_layers(path)]
    return np.concatenate([shapely.from_wkb(each[2]) for each in read]), np.concatenate([each[3][0] for each in read])


def print_rightness(name: str, editions: Editions) -> None:
    """Match with ids and without; print the share that is right, of all that could be found, and what was altered."""
    from qa.matching import match_features

    for with_ids in (True, False):
        ids = (editions.old_ids, editions.new_ids)
        used = ids if with_ids else tuple(np.full(len(each), None, dtype=object) for each in ids)
        began = time.process_time()
        matches = match_features(editions.old, editions.new, *used)
        seconds = time.process_time() - began
        found = np.full(len(editions.old), -1)
        found[matches.old] = matches.new
        called_altered = np.zeros(len(found), dtype=bool)
        called_altered[matches.old] = matches.is_altered
        known = editions.truth > -2
        right = known & (found >= 0) & (found == editions.truth)
        wrong = known & (found >= 0) & (found != editions.truth)
        corners = np.isin(matches.corner_pair, np.flatnonzero(wrong[matches.old]))
        altered = editions.altered & known
        print(
            f"{name:16s} {'ids' if with_ids else 'no ids':7s} {right.sum() / max(1, (right | wrong).sum()):9.4f} "
            f"{right.sum() / max(1, (known & (editions.truth >= 0)).sum()):8.4f} "
            f"{(right & altered).sum() / max(1, altered.sum()):9.3f} "
            f"{(right & altered & ~called_altered).sum():8d} {(right & ~altered & called_altered).sum():8d} "
            f"{corners.sum():8d} {seconds:7.1f}"
        )


def print_field(name: str, sources: Path, old: NDArray[np.float64], new: NDArray[np.float64]) -> None:
    """Fit the shift from link files, from the base maps alone and from both; print the error at known places."""
    from pipeline.control import check_control
    from pipeline.field_file import read_field
    from pipeline.fit import fit_field
    from pipeline.storage import Migration

    for what, control in FIELD_CONTROL.items():
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "sources").symlink_to(sources.resolve())
            (Path(folder) / "migration.yaml").write_text(FIELD_MIGRATION.format(control), encoding="utf-8")
            migration = Migration.open(Path(folder))
            used = check_control(migration).used
            fit_field(migration)
            error_m = np.linalg.norm(read_field(migration.field_file).field(old) - new, axis=1)
        covered = np.isfinite(error_m)
        error_m = error_m[covered]
        print(
            f"{name:16s} {what:10s} {used:8d} {100 * covered.mean():8.1f}% {np.sqrt(np.mean(error_m**2)):8.3f} "
            f"{np.median(error_m):8.3f} {np.percentile(error_m, 95):8.3f} {100 * np.mean(error_m > 1):8.1f}%",
            flush=True,
        )


FIELD_CONTROL = {
    "links": "files: [sources/control], from_base_maps: false",
    "base maps": "files: []",
    "both": "files: [sources/control]",
}

FIELD_MIGRATION = """\
title: Field
control: {{{}}}
base_maps:
  before: {{file: sources/base/base_before.gpkg}}
  after: {{file: sources/base/base_after.gpkg}}
layers:
  - {{name: none, file: sources/none.gpkg}}
"""


def check_points(world: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Old and new places of a world's check points, ``(n, 2)`` each."""
    with (world / "truth" / "check_points.csv").open(encoding="utf-8") as stream:
        rows = [[float(row[name]) for name in ("old_e", "old_n", "new_e", "new_n")] for row in csv.DictReader(stream)]
    places = np.array(rows)
    return places[:, :2], places[:, 2:]


def print_borough_field(seed: int) -> None:
    """The same for a made borough of another seed, at random places of the ground."""
    sys.path.insert(0, str(ROOT / "tests"))
    from borough import make_borough, write_sources
    from borough_shift import SIDE_M, SOUTH, WEST

    borough = make_borough(seed)
    ground = np.random.default_rng(seed).uniform([WEST, SOUTH], [WEST + SIDE_M, SOUTH + SIDE_M], (3000, 2))
    with tempfile.TemporaryDirectory() as folder:
        write_sources(borough, Path(folder))
        print_field(f"borough {seed}", Path(folder), ground - borough.shift(ground), ground)


def print_scale(size: int) -> None:
    """Make a migration with base maps of ``size`` features and no link file; measure it in processes of their own."""
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder) / "sources"
        sources.mkdir()
        editions = made_editions(size, seed=1)
        for name, shapes, ids in (
            ("before", editions.old, editions.old_ids),
            ("after", editions.new, editions.new_ids),
        ):
            _write(sources / f"{name}.gpkg", shapes, ids)
        houses = np.flatnonzero(shapely.get_dimensions(editions.old) == 2)[::5][:LAYER_FEATURES]
        _write(sources / "traced.gpkg", editions.old[houses], editions.old_ids[houses])
        (Path(folder) / "migration.yaml").write_text(MIGRATION, encoding="utf-8")
        del editions
        for what in ("matching", "job"):
            subprocess.run([sys.executable, __file__, "--measure", what, folder], check=True)


LAYER_FEATURES = 5_000

MIGRATION = """\
title: Scale
base_maps:
  before: {file: sources/before.gpkg}
  after: {file: sources/after.gpkg}
layers:
  - {name: traced, file: sources/traced.gpkg, strategy: shift_and_reattach}
"""


def _write(path: Path, shapes: NDArray[np.object_], ids: NDArray[np.object_]) -> None:
    pyogrio.raw.write(
        path,
        geometry=shapely.to_wkb(shapes),
        field_data=[ids],
        fields=["toid"],
        geometry_type="Unknown",
        crs="EPSG:27700",
    )


def measure(what: str, folder: Path) -> None:
    """Read and match the editions, or run the whole job; print processor seconds and peak memory."""
    began = time.process_time()
    count = _matched(folder) if what == "matching" else _whole_job(folder)
    seconds = time.process_time() - began
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{count:10d}   {what:10s} {seconds:9.1f} {peak_gib:9.2f}", flush=True)


def _matched(folder: Path) -> int:
    from pipeline.base_maps import read_base_maps
    from pipeline.storage import Migration

    base = read_base_maps(Migration.open(folder))
    assert base is not None
    return len(base.before.geometries)


def _whole_job(folder: Path) -> int:
    from pipeline.base_maps import read_base_maps
    from pipeline.orchestration.headless import run_migration
    from pipeline.storage import Migration

    os.environ["DAGSTER_HOME"] = str(folder)  # the history of the user's own runs is no place for these
    run_migration(folder, [], progress=False)
    return len(read_base_maps(Migration.open(folder)).before.geometries)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000")
    parser.add_argument("--world", type=Path, action="append", default=[])
    parser.add_argument("--seeds", type=int, nargs="*", default=[7], help="made boroughs")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure[0], Path(options.measure[1]))
        return
    print(f"{'world':16s} {'':7s} precision   recall   altered as same  as alt.  wrong c.  seconds")
    for world in options.world or [WORLD]:
        if world.exists():
            print_rightness(world.name, world_editions(world))
    print_rightness("made tidy", made_editions(15_000, 11))
    print_rightness("made rough", made_editions(15_000, 12, noise_m=0.1))
    print_rightness("made terraces", made_editions(15_000, 13, noise_m=0.05, alike=1.0))
    print("\nfield            from           used   covered    RMS m   median     95 %  over 1 m")
    for world in options.world or [WORLD]:
        if world.exists():
            print_field(world.name, world, *check_points(world))
    for seed in options.seeds:
        print_borough_field(seed)
    print("\n  features   what         seconds  peak GiB   (processor seconds; the job has no link file)")
    for size in map(int, options.sizes.split(",")):
        print_scale(size)


if __name__ == "__main__":
    main()

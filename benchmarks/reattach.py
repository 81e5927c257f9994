"""Whether what followed the old map follows the new one again, beside a plain shift and beside snapping.

    python benchmarks/reattach.py [--seeds N...] [WORLD]

Builds a migration for the world (default ``../shared/data/chew_valley``) and for made boroughs of other seeds, runs
every stage up to the verdicts, and only then opens the truth. Over the features that should move it prints

- edges that coincided with the old map (3 cm) and lie within 5 cm of where the same edge of the new map lies;
- edges attached to a wrong feature: on a line of the new map (5 cm), and not on that one;
- the RMS error and the share of features out by more than 1 m;

for the shift alone, for the shift with every vertex snapped to the nearest line within 2 m (what people do), and for
re-attachment; then the rows settled without a person before and after, how many of them are wrong, and what the
stage cost beside the stage shift, in processor time; and, found again with plain shapely, how many answers to "what
lies in what" the proposals clearly change, and of how many of these features nobody is told.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pyogrio
import shapely
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "tests")]

from chew_valley import WORLD, build_migration, errors_m, rms, run_stages  # noqa: E402

COINCIDES_M, REACHES_M, SNAP_M, SPACING_M, WRONG_M, CLEARLY_M = 0.03, 0.05, 2.0, 2.0, 1.0, 0.3
Geometries = NDArray[np.object_]


def main(world: Path, seeds: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if world.exists():
            migration = build_migration(world, Path(folder))
            report("chew_valley", migration, world / "truth" / "truth.gpkg")
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            migration = build_borough(seed, Path(folder))
            report(f"borough of seed {seed}", migration, Path(folder) / "truth" / "truth.gpkg")


def build_borough(seed: int, folder: Path) -> Any:
    import borough

    from pipeline.storage import Migration

    made = borough.make_borough(seed)
    borough.write_sources(made, folder / "sources")
    borough.write_truth(made, folder / "truth")
    shutil.copy(ROOT / "data" / "demo" / "migration.yaml", folder / "migration.yaml")
    return Migration.open(folder)


def report(title: str, migration: Any, truth_file: Path) -> None:
    print(f"\n{title}")
    shifted, reattached = (with_strategy(migration, each) for each in ("shift", "shift_and_reattach"))
    run_stages(shifted)
    before = verdicts(shifted)
    stages_again(reattached)
    print_table(reattached, truth_file)
    print_verdicts(migration, truth_file, before, verdicts(reattached))
    print_changed_answers(reattached)


def with_strategy(migration: Any, strategy: str) -> Any:
    """The same migration with another strategy for the layers that move."""
    from pipeline.choices import MOVING_STRATEGIES
    from pipeline.storage import Migration

    layers = [
        layer.model_copy(update={"strategy": strategy if layer.strategy in MOVING_STRATEGIES else layer.strategy})
        for layer in migration.settings.layers
    ]
    return Migration(migration.root, migration.settings.model_copy(update={"layers": layers}))


def stages_again(migration: Any) -> None:
    from pipeline.quality import judge_layer
    from pipeline.reattach import reattach_layer
    from pipeline.shift import shift_layer

    names = [layer.name for layer in migration.settings.layers]
    spent = {}
    for stage, of_layer in (("shift", shift_layer), ("reattach", reattach_layer), ("quality", judge_layer)):
        began = time.process_time()
        for name in names:
            of_layer(migration, name)
        spent[stage] = time.process_time() - began
    print(f"reattach took {spent['reattach'] / spent['shift']:.2f} times the processor time of shift\n")


def print_table(migration: Any, truth_file: Path) -> None:
    lines = {edition: base_lines(migration, edition) for edition in ("before", "after")}
    print(f"{'':42s}{'edges':>8s}{'within 5 cm':>13s}{'wrong line':>12s}{'RMS':>9s}{'over 1 m':>10s}")
    total: dict[str, list[Any]] = {}
    for layer in migration.settings.layers:
        for method, score in score_layer(migration, layer.name, truth_file, lines).items():
            total.setdefault(method, []).append(score)
            if method != "snapped to the nearest line":
                print_line(f"{layer.name}, {method}", [score])
    for method, scores in total.items():
        print_line(f"all layers, {method}", scores)


def print_line(name: str, scores: list[tuple[int, int, int, NDArray[np.float64]]]) -> None:
    edges, there, wrong = (sum(score[k] for score in scores) for k in range(3))
    error = np.concatenate([score[3] for score in scores])
    share = f"{there / edges:12.2%}{wrong / edges:12.2%}" if edges else f"{'-':>12s}{'-':>12s}"
    over = np.mean(error > WRONG_M) if len(error) else np.nan
    print(f"{name:42s}{edges:8d} {share}{rms(error):7.3f} m{over:10.2%}")


def score_layer(
    migration: Any, name: str, truth_file: Path, lines: dict[str, shapely.STRtree]
) -> dict[str, tuple[int, int, int, NDArray[np.float64]]]:
    """For each method edges that coincided, those that do again, those on a wrong line, and the errors [m]."""
    old, shifted, attached = (
        read(path) for path in (migration.staged(name), migration.shifted(name), migration.proposed(name))
    )
    truth, fate = read_truth(truth_file, name, len(old))
    moved = np.asarray(pq.read_table(migration.shifted(name))["moved"].to_numpy(zero_copy_only=False), dtype=bool)
    rows = np.flatnonzero(moved & (fate == "should_move") & ~shapely.is_missing(truth) & ~shapely.is_missing(old))
    points, feature, edge, edges = samples_on_followed_edges(old, truth, rows, lines["before"])
    methods = {"shift alone": shifted, "snapped to the nearest line": snapped(shifted, lines["after"])}
    result = {}
    for method, shapes in (methods | {"re-attached": attached}).items():
        near = shapely.distance(shapely.points(points), outlines(shapes)[feature]) <= REACHES_M
        there = np.bincount(edge[near], minlength=edges) == np.bincount(edge, minlength=edges)
        wrong = on_another_line(shapes, truth, rows, edge, feature, points, there, lines["after"])
        result[method] = (edges, int(there.sum()), wrong, errors_m(shapes[rows], truth[rows]))
    return result


def samples_on_followed_edges(
    old: Geometries, truth: Geometries, rows: NDArray[np.int_], before: shapely.STRtree
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], int]:
    """Places on the true new edges of which the old edge lay on the old map: place, feature, edge; and how many."""
    alike = rows[shapely.get_num_coordinates(old[rows]) == shapely.get_num_coordinates(truth[rows])]
    alike = alike[shapely.get_dimensions(old[alike]) > 0]
    if not len(alike):
        return np.empty((0, 2)), np.empty(0, int), np.empty(0, int), 0
    a, owner = shapely.get_coordinates(old[alike], return_index=True)
    b = shapely.get_coordinates(truth[alike])
    first = np.flatnonzero((owner[:-1] == owner[1:]) & (np.linalg.norm(np.diff(a, axis=0), axis=1) > 0.2))
    lengths = np.linalg.norm(a[first + 1] - a[first], axis=1)
    count = np.maximum(np.ceil(lengths / SPACING_M).astype(int), 1) + 1
    edge = np.repeat(np.arange(len(first)), count)
    share = (np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)) / (count[edge] - 1)
    places = [c[first[edge]] + share[:, None] * (c[first[edge] + 1] - c[first[edge]]) for c in (a, b)]
    on_map = np.isin(np.arange(len(edge)), before.query(shapely.points(places[0]), "dwithin", distance=COINCIDES_M)[0])
    followed = np.bincount(edge[on_map], minlength=len(first)) == count
    keep = followed[edge]
    _, number = np.unique(edge[keep], return_inverse=True)
    return places[1][keep], alike[owner[first[edge[keep]]]], number, int(followed.sum())


def on_another_line(
    shapes: Geometries,
    truth: Geometries,
    rows: NDArray[np.int_],
    edge: NDArray[np.int_],
    feature: NDArray[np.int_],
    points: NDArray[np.float64],
    there: NDArray[np.bool_],
    after: shapely.STRtree,
) -> int:
    """How many edges lie on a line of the new map, but not on the one they followed."""
    lost = ~there[edge]
    if not lost.any():
        return 0
    lines = outlines(shapes)[feature[lost]]
    on_it = shapely.line_interpolate_point(lines, shapely.line_locate_point(lines, shapely.points(points[lost])))
    on_map = np.isin(np.arange(len(on_it)), after.query(on_it, "dwithin", distance=REACHES_M)[0])
    away = shapely.distance(on_it, outlines(truth)[feature[lost]]) > REACHES_M
    count = np.bincount(edge[lost], minlength=len(there))
    return int(((np.bincount(edge[lost][on_map & away], minlength=len(there)) == count) & (count > 0)).sum())


def outlines(shapes: Geometries) -> Geometries:
    """Lines as they are; of areas every ring, joined into one line with a geometry of many parts."""
    is_area = shapely.get_dimensions(shapes) == 2
    lines = shapes.copy()
    lines[is_area] = shapely.boundary(shapes[is_area])
    return lines


def snapped(shapes: Geometries, after: shapely.STRtree) -> Geometries:
    """Every vertex on the nearest line of the new map within 2 m: what people do."""
    result = shapes.copy()
    there = ~shapely.is_missing(shapes)
    points = shapely.get_coordinates(result[there])
    (row, segment), _ = after.query_nearest(
        shapely.points(points), max_distance=SNAP_M, return_distance=True, all_matches=False
    )
    lines = after.geometries[segment]
    nearest = shapely.line_interpolate_point(lines, shapely.line_locate_point(lines, shapely.points(points[row])))
    points[row] = shapely.get_coordinates(nearest)
    moved = result[there]
    shapely.set_coordinates(moved, points)
    result[there] = moved
    return result


def base_lines(migration: Any, edition: str) -> shapely.STRtree:
    settings = getattr(migration.settings.base_maps, edition)
    path = migration.source(settings.file)
    names = settings.layers or [name for name, _ in pyogrio.list_layers(path)]
    shapes = np.concatenate([shapely.from_wkb(pyogrio.raw.read(path, layer=name, columns=[])[2]) for name in names])
    parts = shapely.get_parts(outlines(shapely.force_2d(shapes)))
    points, line = shapely.get_coordinates(parts, return_index=True)
    together = line[:-1] == line[1:]
    return shapely.STRtree(shapely.linestrings(np.stack([points[:-1], points[1:]], axis=1)[together]))


def read(path: Path) -> Geometries:
    from pipeline.geometry.linear_copy import linear_copy

    return linear_copy(pq.read_table(path, columns=["pai_geometry"])["pai_geometry"].to_pylist())[0]


def read_truth(path: Path, name: str, count: int) -> tuple[Geometries, NDArray[np.str_]]:
    """The true geometries ``(count,)`` and what should become of each feature."""
    meta, table = pyogrio.read_arrow(path, layer=name)
    shapes = shapely.from_wkb(table[meta["geometry_name"] or "wkb_geometry"].to_numpy(zero_copy_only=False))
    truth, fate = np.full(count, None, dtype=object), np.full(count, "", dtype="<U20")
    row = table["row"].to_numpy()
    truth[row] = shapely.force_2d(shapes)
    fate[row] = table["class" if "class" in table.column_names else "fate"].to_pylist()
    return truth, fate


def verdicts(migration: Any) -> dict[str, tuple[NDArray[np.str_], Geometries]]:
    """Verdict and proposal of every feature, by layer."""
    names = [layer.name for layer in migration.settings.layers]
    return {
        name: (
            np.array(pq.read_table(migration.quality(name))["verdict"].to_pylist(), dtype=str),
            read(migration.proposed(name)),
        )
        for name in names
    }


def print_verdicts(migration: Any, truth_file: Path, before: Any, after: Any) -> None:
    print(f"\n{'settled without a person':42s}{'settled':>9s}{'RMS':>9s}{'wrong':>9s}{'rows':>6s}")
    for name, outcome in (("shift alone", before), ("re-attached", after)):
        error, settled = [], []
        for layer, (verdict, shapes) in outcome.items():
            truth, _ = read_truth(truth_file, layer, len(shapes))
            error.append(errors_m(shapes, truth))
            settled.append(verdict != "review")
        errors, final = np.concatenate(error), np.concatenate(settled)
        known = final & np.isfinite(errors)
        wrong = int((errors[known] > WRONG_M).sum())
        print(f"{name:42s}{final.mean():9.2%}{rms(errors[known]):7.3f} m{wrong / known.sum():9.3%}{wrong:6d}")


def print_changed_answers(migration: Any) -> None:
    """Pairs of features of two layers of which one lay well inside the other and lies quite outside, or reversed."""
    names = [layer.name for layer in migration.settings.layers]
    answers = changed = untold = 0
    for number, name in enumerate(names):
        told = ["relation_changed" in codes for codes in pq.read_table(migration.quality(name))["reasons"].to_pylist()]
        for other in names[:number]:
            (was, touched), (now, touches) = (
                lies_in(read(place(name)), read(place(other))) for place in (migration.staged, migration.proposed)
            )
            pairs = (was - touches) | (now - touched)
            answers, changed = answers + len(was | now), changed + len(pairs)
            untold += sum(not told[row] for row, _ in pairs)
    print(f"\nanswers to what lies in what: {answers}; clearly changed: {changed}; of these nobody is told of {untold}")


def lies_in(one: Geometries, other: Geometries) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """Pairs of a shape and an area: those where the shape reaches well into the area, and those that touch at all."""
    areas = np.flatnonzero(shapely.get_dimensions(other) == 2)
    tree = shapely.STRtree(one)
    found = []
    for shapes in (shapely.buffer(other[areas], -CLEARLY_M), other[areas]):
        area, row = tree.query(shapes, predicate="intersects")
        found.append(set(zip(row.tolist(), areas[area].tolist(), strict=True)))
    return found[0], found[1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Re-attachment against truth, a plain shift and snapping.")
    parser.add_argument("world", nargs="?", type=Path, default=WORLD)
    parser.add_argument("--seeds", type=int, nargs="*", default=[77, 1901])
    options = parser.parse_args()
    main(options.world.resolve(), options.seeds)

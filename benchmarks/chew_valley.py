"""The whole job on a borough with known truth, beside what people do today.

    python benchmarks/chew_valley.py [WORLD]

Builds a migration folder for the world (default ``../shared/data/chew_valley``) in a temporary folder, runs every stage
up to the verdicts, and only then opens the truth to print, for each layer and in total: the RMS error, the share of
features out by more than 1 m, the share settled without a person, their RMS and median error, and the share of them
that is wrong by more than 1 m - beside doing nothing, one affine, and a triangulation of all control that moves
vertices only.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pyogrio
import shapely
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
WORLD = ROOT.parent / "shared" / "data" / "chew_valley"

WRONG_M = 1.0
DENSIFY = 0.2

MIGRATION = """\
title: Chew Valley
control:
  files: [sources/control]
base_maps:
  before: {file: sources/base/base_before.gpkg}
  after: {file: sources/base/base_after.gpkg}
  new_map_loaded_on: 2005-06-01
layers:
  - {name: conservation_areas, file: sources/layers/conservation_areas.tab, id_column: CA_REF,
     captured_column: CAPTURED, method_column: METHOD, scale_column: SRC_SCALE}
  - {name: tpo_point, file: sources/layers/tree_preservation_orders.gpkg, source_layer: tpo_point, id_column: TREE,
     captured_column: DIGITISED, method_column: METHOD, scale_column: SRC_SCALE}
  - {name: tpo_area, file: sources/layers/tree_preservation_orders.gpkg, source_layer: tpo_area, id_column: TREE,
     captured_column: DIGITISED, method_column: METHOD, scale_column: SRC_SCALE}
  - {name: planning_applications, file: sources/layers/planning_applications.shp, encoding: CP1252, id_column: APPREF,
     captured_column: CAPDATE, method_column: METHOD, scale_column: SRCSCALE}
  - {name: pipeline_zones, file: sources/layers/pipeline_zones.mif, id_column: ZONE_ID, captured_column: CAPTURED}
  - {name: rights_of_way, file: sources/layers/rights_of_way.geojson, id_column: PATH_NO,
     captured_column: CAPTURED, method_column: METHOD, scale_column: SRC_SCALE}
  - {name: gazetteer, file: sources/layers/gazetteer.csv, easting_column: EASTING, northing_column: NORTHING,
     crs: "EPSG:27700", id_column: UPRN, captured_column: CAPTURED, captured_format: "%d/%m/%Y", method_column: SOURCE}
  - {name: greenspace, file: sources/layers/greenspace.gpkg, source_layer: greenspace, id_column: SITE_ID,
     captured_column: CAPTURED, method_column: METHOD, scale_column: SRC_SCALE}
  - {name: path_survey, file: sources/layers/greenspace.gpkg, source_layer: path_survey, id_column: SURVEY,
     captured_column: SURVEYED, method_column: METHOD}
"""

Move = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Score:
    """Errors ``(n,)`` in metres against truth (NaN without a geometry), and which features were settled."""

    error_m: NDArray[np.float64]
    settled: NDArray[np.bool_]

    def line(self, name: str) -> str:
        """One line of the table."""
        wrong = self.settled & (self.error_m > WRONG_M)
        known = np.isfinite(self.error_m)
        return (
            f"{name:42s}{len(self.error_m):7d}{rms(self.error_m[known]):9.2f} m"
            f"{np.mean(self.error_m[known] > WRONG_M):10.1%}{self.settled.mean():10.1%}"
            f"{rms(self.error_m[known & self.settled]):9.2f} m{np.median(self.error_m[known & self.settled]):9.2f} m"
            f"{wrong.sum() / max(self.settled.sum(), 1):10.2%}{wrong.sum():6d}"
        )


def rms(error_m: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(error_m**2))) if len(error_m) else float("nan")


def main(world: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        migration = build_migration(world, Path(folder))
        run_stages(migration)
        print(f"\n{'':42s}{'rows':>7s}{'RMS':>11s}{'over 1 m':>10s}{'settled':>10s}", end="")
        print(f"{'their RMS':>11s}{'median':>11s}{'wrong':>10s}")
        names = [layer.name for layer in migration.settings.layers]
        scores = {name: score_layer(migration, world, name) for name in names}
        for name in names:
            print(scores[name]["Post-PAI"].line(name))
        print()
        for method in scores[names[0]]:
            print(together([scores[name][method] for name in names]).line(f"all layers, {method}"))


def build_migration(world: Path, folder: Path) -> Any:
    from pipeline.storage import Migration

    (folder / "sources").symlink_to(world, target_is_directory=True)
    (folder / "migration.yaml").write_text(MIGRATION, encoding="utf-8")
    return Migration.open(folder)


def run_stages(migration: Any) -> None:
    from pipeline.control import check_control
    from pipeline.fit import fit_field
    from pipeline.quality import judge_layer
    from pipeline.shift import shift_layer
    from pipeline.sources import stage_layer

    names = [layer.name for layer in migration.settings.layers]
    timed("control", lambda: check_control(migration))
    timed("fit", lambda: fit_field(migration))
    for stage, of_layer in (("sources", stage_layer), ("shift", shift_layer), ("quality", judge_layer)):
        timed(stage, lambda of_layer=of_layer: [of_layer(migration, name) for name in names])


def timed(stage: str, work: Callable[[], object]) -> None:
    began = time.perf_counter()
    work()
    print(f"{stage:12s}{time.perf_counter() - began:7.1f} s", flush=True)


def score_layer(migration: Any, world: Path, name: str) -> dict[str, Score]:
    from pipeline.geometry.linear_copy import linear_copy

    old, _ = linear_copy(pq.read_table(migration.staged(name))["pai_geometry"].to_pylist())
    new, _ = linear_copy(pq.read_table(migration.shifted(name))["pai_geometry"].to_pylist())
    verdict = np.array(pq.read_table(migration.quality(name))["verdict"].to_pylist(), dtype=str)
    truth = read_truth(world, name, len(old))
    everything = np.ones(len(old), dtype=bool)
    return {
        "Post-PAI": Score(errors_m(new, truth), verdict != "review"),
        "do nothing": Score(errors_m(old, truth), everything),
        "one affine": Score(errors_m(moved(old, affine(migration)), truth), everything),
        "triangulation, vertices only": Score(errors_m(moved(old, triangulation(migration)), truth), everything),
    }


def together(scores: list[Score]) -> Score:
    return Score(np.concatenate([s.error_m for s in scores]), np.concatenate([s.settled for s in scores]))


def read_truth(world: Path, name: str, count: int) -> NDArray[np.object_]:
    meta, table = pyogrio.read_arrow(world / "truth" / "truth.gpkg", layer=name)
    geometries = shapely.from_wkb(table[meta["geometry_name"] or "wkb_geometry"].to_numpy(zero_copy_only=False))
    truth = np.full(count, None, dtype=object)
    truth[table["row"].to_numpy()] = shapely.force_2d(geometries)
    return truth


def errors_m(geometries: NDArray[np.object_], truth: NDArray[np.object_]) -> NDArray[np.float64]:
    """Hausdorff distance from the truth, with edges looked at between their vertices too."""
    points = shapely.get_dimensions(geometries) <= 0
    error = np.full(len(geometries), np.nan)
    error[points] = shapely.distance(geometries[points], truth[points])
    error[~points] = shapely.hausdorff_distance(geometries[~points], truth[~points], densify=DENSIFY)
    return error


def moved(geometries: NDArray[np.object_], move: Move) -> NDArray[np.object_]:
    result = geometries.copy()
    there = ~shapely.is_missing(geometries)
    points = shapely.get_coordinates(geometries[there])
    places, which = np.unique(points, axis=0, return_inverse=True)
    shapely.set_coordinates(still := geometries[there], move(places)[which.ravel()])
    result[there] = still
    return result


def raw_control(migration: Any) -> NDArray[np.float64]:
    table = pq.read_table(migration.control_table)
    columns = ("old_easting", "old_northing", "new_easting", "new_northing")
    places = np.stack([table[column].to_numpy(zero_copy_only=False) for column in columns], axis=1).astype(float)
    return places[np.isfinite(places).all(axis=1)]


def affine(migration: Any) -> Move:
    control = raw_control(migration)
    origin = control[:, :2].mean(axis=0)
    design = np.column_stack([np.ones(len(control)), control[:, :2] - origin])
    solution = np.linalg.lstsq(design, control[:, 2:] - control[:, :2], rcond=None)[0]
    return lambda points: points + np.column_stack([np.ones(len(points)), points - origin]) @ solution


def triangulation(migration: Any) -> Move:
    control = raw_control(migration)
    _, first = np.unique(control[:, :2], axis=0, return_index=True)
    interpolate = LinearNDInterpolator(control[first, :2], control[first, 2:] - control[first, :2])
    return lambda points: points + np.nan_to_num(interpolate(points))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else WORLD)

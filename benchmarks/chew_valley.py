"""The whole job on boroughs with known truth, beside what people do today.

    python benchmarks/chew_valley.py [WORLD ...] [--editions both|before|after|none] [--keep FOLDER]

A world is a folder with ``control/``, ``base/``, ``layers/`` and ``truth/``: ``../shared/data/chew_valley`` (the
default) or one that ``tests/borough.py`` made, of any seed and kind. A migration folder is built for each, every stage
runs up to the verdicts, and only then the truth is opened. With ``--keep`` the migration folders stay there, and the
next run takes control and fit from them. ``--editions`` says which editions of the base map the council has.

Three figures are printed for each layer and for all of them:

- wrong: of the features settled without a person, those over 1 m (Hausdorff) from their truth; 0.1 % at most is wanted;
- known: of the features whose place can be known, those settled; 90 % at least is wanted;
- needed: of the features sent to an officer, those whose place cannot be known or whose proposal is wrong; half at
  least is wanted;

then the same by class of truth, the errors beside doing nothing, one affine and a triangulation of all control that
moves vertices only, and the calibration of the predicted chance of being wrong.
"""

from __future__ import annotations

import argparse
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
import yaml
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
WORLD = ROOT.parent / "shared" / "data" / "chew_valley"

WRONG_M = 1.0
EDITIONS = {"both": ("before", "after"), "before": ("before",), "after": ("after",), "none": ()}
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
  - {strategy: shift_and_reattach,
     name: conservation_areas, file: sources/layers/conservation_areas.tab, id_column: CA_REF,
     captured_column: CAPTURED, method_column: METHOD, scale_column: SRC_SCALE}
  - {strategy: shift_and_reattach,
     name: tpo_point, file: sources/layers/tree_preservation_orders.gpkg, source_layer: tpo_point, id_column: TREE,
     captured_column: DIGITISED, method_column: METHOD, scale_column: SRC_SCALE}
  - {strategy: shift_and_reattach,
     name: tpo_area, file: sources/layers/tree_preservation_orders.gpkg, source_layer: tpo_area, id_column: TREE,
     captured_column: DIGITISED, method_column: METHOD, scale_column: SRC_SCALE}
  - {strategy: shift_and_reattach,
     name: planning_applications, file: sources/layers/planning_applications.shp, encoding: CP1252, id_column: APPREF,
     captured_column: CAPDATE, method_column: METHOD, scale_column: SRCSCALE}
  - {strategy: shift, name: pipeline_zones, file: sources/layers/pipeline_zones.mif, id_column: ZONE_ID,
     captured_column: CAPTURED}
  - {strategy: shift_and_reattach,
     name: rights_of_way, file: sources/layers/rights_of_way.geojson, id_column: PATH_NO,
     captured_column: CAPTURED, method_column: METHOD, scale_column: SRC_SCALE}
  - {strategy: shift_and_reattach,
     name: gazetteer, file: sources/layers/gazetteer.csv, easting_column: EASTING, northing_column: NORTHING,
     crs: "EPSG:27700", id_column: UPRN, captured_column: CAPTURED, captured_format: "%d/%m/%Y", method_column: SOURCE}
  - {strategy: shift_and_reattach,
     name: greenspace, file: sources/layers/greenspace.gpkg, source_layer: greenspace, id_column: SITE_ID,
     captured_column: CAPTURED, method_column: METHOD, scale_column: SRC_SCALE}
  - {strategy: shift_and_reattach,
     name: path_survey, file: sources/layers/greenspace.gpkg, source_layer: path_survey, id_column: SURVEY,
     captured_column: SURVEYED, method_column: METHOD}
"""

Move = Callable[[NDArray[np.float64]], NDArray[np.float64]]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """How ``n`` features came out against their truth.

    ``error_m`` is the proposal's distance from it (NaN without a geometry), ``kind`` the class of truth, ``chance``
    the predicted chance of being wrong and ``limited`` whether that chance alone decides on the feature.
    """

    layer: NDArray[np.str_]
    error_m: Numbers
    settled: NDArray[np.bool_]
    kind: NDArray[np.str_]
    chance: Numbers
    limited: NDArray[np.bool_]

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Over 1 m from its truth."""
        return np.asarray(self.error_m > WRONG_M)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Its place can be known."""
        return np.asarray(self.kind != "cannot_be_known")

    def where(self, rows: NDArray[np.bool_]) -> Outcome:
        """Those of ``rows``."""
        return Outcome(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @classmethod
    def together(cls, outcomes: list[Outcome]) -> Outcome:
        """All of them, one after another."""
        return cls(*(np.concatenate([getattr(one, name) for one in outcomes]) for name in cls.__dataclass_fields__))

    def line(self, name: str) -> str:
        """One line of the table of the three figures."""
        wrong, review = self.settled & self.wrong, ~self.settled
        needed = review & (self.wrong | ~self.known)
        return (
            f"{name:28s}{len(self.settled):7d}{share(self.settled):10.1%}{int(wrong.sum()):7d}"
            f"{wrong.sum() / max(self.settled.sum(), 1):8.2%}{share(self.settled[self.known]):10.1%}"
            f"{int(review.sum()):8d}{needed.sum() / max(review.sum(), 1):9.1%}"
        )


HEADER = f"{'':28s}{'rows':>7s}{'settled':>10s}{'wrong':>15s}{'known':>10s}{'review':>8s}{'needed':>9s}"


def rms(error_m: Numbers) -> float:
    return float(np.sqrt(np.mean(error_m**2))) if len(error_m) else float("nan")


def share(mask: NDArray[np.bool_]) -> float:
    return float(mask.mean()) if len(mask) else float("nan")


def main() -> None:
    options = arguments()
    outcomes = {}
    for world in options.worlds:
        with tempfile.TemporaryDirectory() as folder:
            name = world.name if options.editions == "both" else f"{world.name}_{options.editions}"
            place = options.keep / name if options.keep else Path(folder)
            print(f"\n== {world.name}", flush=True)
            outcomes[world.name] = measure_world(world.resolve(), place, options.editions)
    print(f"\n{HEADER}")
    for name, outcome in outcomes.items():
        print(outcome.line(name))
    everything = Outcome.together(list(outcomes.values()))
    print(everything.line("all worlds"))
    print_calibration(everything, options.curve)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Three figures on worlds with known truth.")
    parser.add_argument("worlds", nargs="*", type=Path, default=[WORLD])
    parser.add_argument("--editions", choices=EDITIONS, default="both", help="which editions of the base map are named")
    parser.add_argument("--keep", type=Path, help="where the migration folders stay")
    parser.add_argument("--curve", type=Path, help="where the calibration is written, qa/risk_curve.csv for good")
    return parser.parse_args()


def measure_world(world: Path, folder: Path, editions: str = "both") -> Outcome:
    migration = build_migration(world, folder, editions)
    run_stages(migration)
    names = [layer.name for layer in migration.settings.layers]
    outcome = Outcome.together([outcome_of(migration, world, name) for name in names])
    print(HEADER)
    for name in names:
        print(outcome.where(outcome.layer == name).line(name))
    for kind in ("should_move", "must_not_move", "cannot_be_known"):
        print(outcome.where(outcome.kind == kind).line(kind))
    print(outcome.line("all"))
    print_errors(migration, world, names, outcome)
    return outcome


def build_migration(world: Path, folder: Path, editions: str = "both") -> Any:
    from pipeline.storage import Migration

    if not (folder / "migration.yaml").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sources").symlink_to(world, target_is_directory=True)
        is_chew_valley = (world / "world.json").exists()
        settings = MIGRATION if is_chew_valley else (ROOT / "data/demo/migration.yaml").read_text(encoding="utf-8")
        (folder / "migration.yaml").write_text(_with_editions(settings, editions), encoding="utf-8")
    return Migration.open(folder)


def _with_editions(settings: str, editions: str) -> str:
    """The settings with only those named; without a new map there is nothing to attach to."""
    said, named = yaml.safe_load(settings), EDITIONS[editions]
    for edition in {"before", "after"}.difference(named):
        del said["base_maps"][edition]
    for layer in said["layers"]:
        if "after" not in named and layer.get("strategy") == "shift_and_reattach":
            layer["strategy"] = "shift"
    return yaml.safe_dump(said, sort_keys=False)


def run_stages(migration: Any) -> None:
    from pipeline.control import check_control
    from pipeline.fit import fit_field
    from pipeline.quality import judge_layer
    from pipeline.reattach import reattach_layer
    from pipeline.shift import shift_layer
    from pipeline.sources import stage_layer

    names = [layer.name for layer in migration.settings.layers]
    if not migration.field_file.exists():
        timed("control", lambda: check_control(migration))
        timed("fit", lambda: fit_field(migration))
    stages = {"sources": stage_layer, "shift": shift_layer, "reattach": reattach_layer, "quality": judge_layer}
    for stage, of_layer in stages.items():
        timed(stage, lambda of_layer=of_layer: [of_layer(migration, name) for name in names])


def timed(stage: str, work: Callable[[], object]) -> None:
    began = time.process_time()
    work()
    print(f"{stage:12s}{time.process_time() - began:7.1f} s of processor time", flush=True)


def outcome_of(migration: Any, world: Path, name: str) -> Outcome:
    from qa.triage import is_limited

    quality = pq.read_table(migration.quality(name))
    verdict = np.array(quality["verdict"].to_pylist(), dtype=str)
    truth, kind = read_truth(world, name, len(verdict))
    error_m = errors_m(proposals(migration, name), truth)
    chance = quality["wrong_chance_ratio"].to_numpy()
    limited = is_limited(quality["reasons"].to_pylist(), verdict)
    return Outcome(np.full(len(verdict), name), error_m, verdict != "review", kind, chance, limited)


def proposals(migration: Any, name: str) -> NDArray[np.object_]:
    from pipeline.geometry.linear_copy import linear_copy

    return linear_copy(pq.read_table(migration.proposed(name))["pai_geometry"].to_pylist())[0]


def read_truth(world: Path, name: str, count: int) -> tuple[NDArray[np.object_], NDArray[np.str_]]:
    file = world / "truth" / "truth.gpkg"
    meta, table = pyogrio.read_arrow(file, layer=name)
    geometries = shapely.from_wkb(table[meta["geometry_name"] or "wkb_geometry"].to_numpy(zero_copy_only=False))
    truth, kind = np.full(count, None, dtype=object), np.full(count, "cannot_be_known", dtype="<U16")
    truth[table["row"].to_numpy()] = shapely.force_2d(geometries)
    kind[table["row"].to_numpy()] = table["class"].to_pylist()
    return truth, kind


def errors_m(geometries: NDArray[np.object_], truth: NDArray[np.object_]) -> Numbers:
    """Hausdorff distance from the truth, with edges looked at between their vertices too."""
    points = shapely.get_dimensions(geometries) <= 0
    error = np.full(len(geometries), np.nan)
    error[points] = shapely.distance(geometries[points], truth[points])
    error[~points] = shapely.hausdorff_distance(geometries[~points], truth[~points], densify=DENSIFY)
    return error


def print_errors(migration: Any, world: Path, names: list[str], outcome: Outcome) -> None:
    """RMS error and the share over 1 m of every feature, whatever its verdict, by each method."""
    methods = {
        "do nothing": lambda old: old,
        "one affine": affine(migration),
        "triangulation": triangulation(migration),
    }
    truth = [read_truth(world, name, np.sum(outcome.layer == name))[0] for name in names]
    print(f"{'all features, settled or not':40s}{'RMS':>9s}{'median':>9s}{'over 1 m':>10s}")
    for method, move in methods.items():
        print_error(
            method,
            np.concatenate([errors_m(moved(staged(migration, n), move), t) for n, t in zip(names, truth, strict=True)]),
        )
    print_error("Post-PAI, every proposal", outcome.error_m)
    print_error("Post-PAI, what it settled", outcome.error_m[outcome.settled])


def print_error(method: str, error_m: Numbers) -> None:
    error_m = error_m[np.isfinite(error_m)]
    median = np.median(error_m)
    print(f"{method:40s}{rms(error_m):7.2f} m{median:7.2f} m{np.mean(error_m > WRONG_M):10.2%}")


def print_calibration(outcome: Outcome, curve: Path | None) -> None:
    """Predicted chance against share wrong, where the chance alone decides, and what each limit would give."""
    from qa.risk import calibration, limit_for, write_curve

    rows = outcome.limited & np.isfinite(outcome.error_m)
    chance, wrong = outcome.chance[rows], outcome.wrong[rows]
    print(f"\n{'chance of being wrong':>24s}{'features':>10s}{'predicted':>11s}{'observed':>10s}")
    bins = calibration(chance, wrong)
    for one in bins:
        print(f"{one.low:12.4f} - {one.high:9.4f}{one.features:10d}{one.predicted:11.4f}{one.observed:10.4f}")
    print(f"\n{'acceptable':>12s}{'limit':>10s}")
    for acceptable in (0.0005, 0.001, 0.002, 0.005):
        print(f"{acceptable:12.4f}{limit_for(acceptable, bins):10.4f}")
    if curve:
        write_curve(bins, curve)


def staged(migration: Any, name: str) -> NDArray[np.object_]:
    from pipeline.geometry.linear_copy import linear_copy

    return linear_copy(pq.read_table(migration.staged(name))["pai_geometry"].to_pylist())[0]


def moved(geometries: NDArray[np.object_], move: Move) -> NDArray[np.object_]:
    result = geometries.copy()
    there = ~shapely.is_missing(geometries)
    points = shapely.get_coordinates(geometries[there])
    places, which = np.unique(points, axis=0, return_inverse=True)
    shapely.set_coordinates(still := geometries[there], move(places)[which.ravel()])
    result[there] = still
    return result


def raw_control(migration: Any) -> Numbers:
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
    main()

"""Makes the demo borough: ``python tests/borough.py OUTDIR [--seed N] [--kind NAME] [--truth DIR]``.

OUTDIR receives the deliveries a council would hold (``control/``, ``base/``, ``layers/``); the truth behind them
goes only where ``--truth`` says. The same seed gives the same borough.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ["OGR_CURRENT_DATE"] = "2026-01-01T00:00:00.000Z"  # GeoPackage dates itself: same seed, same bytes

import borough_layers
import numpy as np
import shapely
from borough_base import base_maps
from borough_control import Link, line_numbers, make_links, write_link_files
from borough_ground import Ground, make_ground
from borough_kind import KINDS, Kind
from borough_layers import Council, Feature
from borough_shift import Shift
from pyogrio.raw import write as write_vector

SEED = 2004
CRS = "EPSG:27700"
LAYERS = (
    "conservation_areas",
    "tree_points",
    "planning_applications",
    "rights_of_way",
    "open_spaces",
    "pipeline_zones",
    "gazetteer",
)


@dataclass
class Borough:
    """The made world: the ground, the shift, the control and the council's layers with their truth."""

    shift: Shift
    ground: Ground
    links: list[Link]
    base: dict[str, dict[str, list[Feature]]]
    layers: dict[str, list[Feature]]


def make_borough(seed: int = SEED, kind: Kind = KINDS["plain"]) -> Borough:
    """Make a borough; equal seeds and kinds make equal boroughs."""
    dice = [np.random.default_rng([seed, part]) for part in range(6)]
    ground = make_ground(dice[1])
    shift = Shift.make(dice[0], kind).with_resurveyed(ground.buildings(), dice[5], kind)
    council = Council(ground, shift, dice[4], kind)
    return Borough(
        shift,
        ground,
        make_links(ground, shift, dice[2], kind),
        base_maps(Council(ground, shift, dice[3], kind)),
        {name: getattr(borough_layers, name)(council) for name in LAYERS},
    )


def write_sources(borough: Borough, folder: Path) -> None:
    """Write the deliveries below ``folder``."""
    for name in ("control", "base", "layers"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, content in write_link_files(borough.links).items():
        (folder / "control" / name).write_bytes(content)
    for edition, layers in borough.base.items():
        for name, features in layers.items():
            _write(folder / "base" / f"base_{edition}.gpkg", features, layer=name)
    _write_layers(borough.layers, folder / "layers")


def _write_layers(layers: dict[str, list[Feature]], folder: Path) -> None:
    _write(folder / "conservation_areas.tab", layers["conservation_areas"], driver="MapInfo File")
    _write(folder / "tree_preservation_orders.gpkg", layers["tree_points"], layer="tpo_point")
    _write(folder / "planning_applications.shp", layers["planning_applications"], encoding="CP1252")
    _write_geojson(folder / "rights_of_way.geojson", layers["rights_of_way"])
    _write(folder / "open_spaces.gpkg", layers["open_spaces"], layer="open_spaces", promote="Unknown")
    _write_zip(folder / "pipeline_zones.zip", layers["pipeline_zones"])
    _write_gazetteer(folder / "gazetteer.csv", layers["gazetteer"])


def write_truth(borough: Borough, folder: Path) -> None:
    """Write, for tests only, where every feature truly lies, every planted fault, and the sheet edges."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, features in borough.layers.items():
        truth = [
            Feature(feature.truth, None, "", {"row": row, "class": feature.fate, "subclass": feature.subclass})
            for row, feature in enumerate(features)
        ]
        _write(folder / "truth.gpkg", truth, layer=name, promote="Unknown")
    edges = [
        Feature(shapely.LineString(line), None, "", {"sheet_edge": k})
        for k, line in enumerate(borough.shift.sheet_edges())
    ]
    _write(folder / "truth.gpkg", edges, layer="sheet_edges")
    _write_faults(folder / "faults.csv", borough.links)


def _write_faults(path: Path, links: list[Link]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "row", "kind", "harm", "size_m", "true_new_e", "true_new_n"])
        for link, (file, row) in zip(links, line_numbers(links, write_link_files(links)), strict=True):
            if link.kind:
                size = float(np.hypot(*np.subtract(link.after, link.true_after)))
                writer.writerow([file, row, link.kind, link.harm, f"{size:.2f}", *link.true_after])


def _write(path: Path, features: list[Feature], *, promote: str | None = None, **options: Any) -> None:
    names = list(features[0].properties)
    columns = [np.array([feature.properties[name] for feature in features], dtype=object) for name in names]
    typed = [_typed(column) for column in columns]
    shapes = [feature.held for feature in features]
    append = path.suffix == ".gpkg" and path.exists()
    write_vector(
        path,
        geometry=np.array(
            [feature.wkb or shapely.to_wkb(feature.held, flavor="iso") for feature in features], dtype=object
        ),
        field_data=[column for column, _ in typed],
        field_mask=[mask for _, mask in typed],
        fields=names,
        crs=CRS,
        geometry_type=promote or next(shape.geom_type for shape in shapes if shape is not None),
        append=append,
        **({"SPATIAL_INDEX": "NO"} if path.suffix == ".gpkg" else {}),
        **options,
    )


def _typed(column: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    missing = np.array([value is None for value in column])
    if all(isinstance(value, int) for value in column):
        return column.astype(np.int64), None
    return column, missing if missing.any() else None


def _write_geojson(path: Path, features: list[Feature]) -> None:
    records = [
        {"type": "Feature", "properties": feature.properties, "geometry": shapely.geometry.mapping(feature.held)}
        for feature in features
    ]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::27700"}}
    content = {"type": "FeatureCollection", "name": path.stem, "crs": crs, "features": records}
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _write_zip(path: Path, features: list[Feature]) -> None:
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        _write(Path(folder) / f"{path.stem}.shp", features)
        for part in sorted(Path(folder).iterdir()):
            archive.writestr(zipfile.ZipInfo(part.name, (2026, 1, 1, 0, 0, 0)), part.read_bytes())


def _write_gazetteer(path: Path, features: list[Feature]) -> None:
    stream = io.StringIO(newline="")
    names = [*features[0].properties, "EASTING", "NORTHING"]
    writer = csv.DictWriter(stream, names, lineterminator="\r\n")
    writer.writeheader()
    for feature in features:
        easting, northing = feature.held.coords[0]
        writer.writerow({**feature.properties, "EASTING": f"{easting:.2f}", "NORTHING": f"{northing:.2f}"})
    path.write_bytes(stream.getvalue().encode("utf-8-sig"))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Make the demo borough.")
    parser.add_argument("outdir", type=Path, help="where the deliveries go; it is emptied first")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--kind", choices=sorted(KINDS), default="plain", help="what kind of borough")
    parser.add_argument("--truth", type=Path, help="where the truth goes; without it none is written")
    options = parser.parse_args()
    borough = make_borough(options.seed, KINDS[options.kind])
    for name in ("control", "base", "layers"):
        shutil.rmtree(options.outdir / name, ignore_errors=True)
    write_sources(borough, options.outdir)
    if options.truth:
        write_truth(borough, options.truth)


if __name__ == "__main__":
    main()

"""The demo borough is what ``borough.py`` makes, its truth is consistent, and its papers are in order."""

import csv
import hashlib
import re
import sqlite3
from pathlib import Path

import borough
import numpy as np
import pyogrio
import pytest
import shapely
from borough import LAYERS, Borough, make_borough, write_sources, write_truth
from borough_control import FOREIGN_TILE, SWAPPED_TILE, line_numbers, make_links, write_link_files
from borough_kind import KINDS
from borough_shift import BLOCK_EDGE_NORTHING, IDENTITY, STRIP_M, URBAN, Shift

from pipeline.control_input.table import ControlTable, read_control
from pipeline.control_input.tile_names import tile_extent
from pipeline.control_input.verdicts import judge_control_table
from pipeline.storage import Migration

DATA = Path(__file__).resolve().parents[1] / "data"
SOURCES = DATA / "demo" / "sources"


@pytest.fixture(scope="module")
def made() -> Borough:
    return make_borough()


@pytest.fixture(scope="module")
def written(made: Borough, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("borough")
    write_sources(made, folder / "sources")
    write_truth(made, folder / "truth")
    return folder


@pytest.fixture(scope="module")
def control() -> ControlTable:
    return read_control([SOURCES / "control"])


def test_the_demo_holds_what_borough_makes(written: Path) -> None:
    """Every text file is the same to the byte, every layer the same in geometry and attributes."""
    shipped = {path.relative_to(SOURCES): path for path in SOURCES.rglob("*") if path.is_file()}
    again = {path.relative_to(written / "sources"): path for path in (written / "sources").rglob("*") if path.is_file()}
    assert set(shipped) == set(again)
    for name, path in shipped.items():
        if name.suffix.lower() in (".csv", ".geojson"):
            assert path.read_bytes() == again[name].read_bytes(), name
        if name.suffix in (".gpkg", ".shp", ".tab", ".zip"):
            for layer, _ in pyogrio.list_layers(path):
                assert content(path, layer) == content(again[name], layer), (name, layer)


def content(path: Path, layer: str) -> tuple[list[str], list[object], list[object]]:
    meta, _, geometry, columns = pyogrio.raw.read(path, layer=layer)
    return list(meta["fields"]), geometry.tolist(), [[str(value) for value in column] for column in columns]


def test_another_seed_makes_another_borough(made: Borough) -> None:
    """The seed reaches the shift and the control: nothing is frozen to the borough that is shipped."""
    dice = np.random.default_rng(7)
    other = make_links(made.ground, Shift.make(dice, KINDS["plain"]), dice, KINDS["plain"])
    assert write_link_files(made.links) != write_link_files(other)


def test_good_links_are_old_plus_shift(made: Borough) -> None:
    """The new place less the shift there is the old place, to within the noise of measuring."""
    links = [link for link in made.links if not link.kind]
    before, after = np.array([link.before for link in links]), np.array([link.after for link in links])
    noise = before - (after - made.shift(after))
    assert np.abs(noise.mean(axis=0)).max() < 0.02
    assert 0.15 < noise.std() < 0.35
    assert np.abs(noise).max() < 2.0


def test_what_should_move_is_old_plus_shift(made: Borough) -> None:
    """Old vertices plus the shift at their true places are the true vertices, to the centimetre of the old map."""
    checked = 0
    for feature in (f for name in LAYERS for f in made.layers[name] if f.fate == "should_move"):
        held, truth = shapely.get_coordinates(feature.held), shapely.get_coordinates(feature.truth)
        if feature.wkb or len(held) != len(truth):
            continue  # drawn straight on the old map, or a curve: the truth has vertices of its own
        np.testing.assert_allclose(held + made.shift(truth), truth, atol=0.008)
        checked += 1
    assert checked > 1_000


def test_what_must_not_move_lies_right_already(made: Borough) -> None:
    """A feature that must not move is held where it truly is."""
    for feature in (f for name in LAYERS for f in made.layers[name] if f.fate == "must_not_move"):
        assert shapely.hausdorff_distance(shapely.force_2d(feature.held), shapely.force_2d(feature.truth)) < 0.02


def test_another_kind_has_the_accidents_it_is_made_for() -> None:
    """Dates wrong, methods unsaid, places rounded or lost: each is there, and what is lost cannot be known."""
    rough = make_borough(5, KINDS["rough"])
    features = [feature for name in LAYERS for feature in rough.layers[name]]
    held = {feature.subclass for feature in features}
    assert {"misplaced", "coarse", "noisy", "date_wrong", "new_undated", "ground_unsaid", "small_scale"} <= held
    lost = [feature for feature in features if feature.subclass in ("misplaced", "coarse", "small_scale")]
    assert {feature.fate for feature in lost} == {"cannot_be_known"}
    noisy = [feature for feature in features if feature.subclass == "noisy" and feature.fate == "should_move"]
    apart = [shapely.hausdorff_distance(feature.held, feature.truth) for feature in noisy]
    assert np.median(apart) == pytest.approx(2.4, abs=1.5)


def test_the_shift_looks_like_the_real_one(made: Borough) -> None:
    """RMS about 2.8 m, nearly all under 5 m, and jumps of half a metre to over two at the sheet edges."""
    moved = np.array([link.true_after for link in made.links if not link.kind])
    length = np.hypot(*made.shift(moved).T)
    assert 2.2 < np.sqrt(np.mean(length**2)) < 3.2
    assert np.percentile(length, 95) < 5
    jumps = np.concatenate([jump_across(made, line) for line in made.shift.sheet_edges()])
    assert np.percentile(jumps, 50) > 0.5
    assert jumps.max() > 2


def jump_across(made: Borough, line: np.ndarray) -> np.ndarray:
    along = np.diff(line, axis=0)
    across = np.column_stack([-along[:, 1], along[:, 0]]) / np.hypot(*along.T)[:, None]
    middle = (line[1:] + line[:-1]) / 2
    return np.hypot(*(made.shift(middle + 3 * across) - made.shift(middle - 3 * across)).T)


def test_unmoved_places_have_the_control_they_should(control: ControlTable) -> None:
    """No control in the urban tile or the strip at the block edge; identity links in the resurveyed tile."""
    read = control.control
    assert not shapely.intersects(URBAN, shapely.points(read.after)).any()
    assert not (np.abs(read.after[:, 1] - BLOCK_EDGE_NORTHING) < STRIP_M - 40).any()
    inside = shapely.intersects(IDENTITY.buffer(-20), shapely.points(read.after))
    assert (np.hypot(*read.shift[inside].T) == 0).mean() > 0.9


def test_every_kind_of_bad_control_is_there(written: Path) -> None:
    """The faults that deliveries had, each at the line where the truth says."""
    with (written / "truth" / "faults.csv").open(encoding="utf-8") as stream:
        faults = list(csv.DictReader(stream))
    kinds = {fault["kind"] for fault in faults}
    assert kinds == {
        "gross_error",
        "truncated_digit",
        "swapped_columns",
        "wrong_tile_content",
        "duplicate_seam",
        "conflict_same_old",
        "crossing",
        "identity_legitimate",
    }


def test_faults_name_their_lines(made: Borough) -> None:
    """The line that the truth names holds the link that was spoilt."""
    files = write_link_files(made.links)
    lines = {name: text.decode().splitlines() for name, text in files.items()}
    for link, (name, row) in zip(made.links, line_numbers(made.links, files), strict=True):
        assert lines[name][row - 1].startswith(f"{link.before[0]:09.2f},{link.before[1]:010.2f}")


def test_the_foreign_tile_holds_another_tiles_content(control: ControlTable) -> None:
    """The file's name and its content disagree wholly, and only there."""
    west, south, east, north = control.tile_extents.T
    easting, northing = control.places[:, 0], control.places[:, 1]
    outside = (easting < west - 50) | (easting > east + 50) | (northing < south - 50) | (northing > north + 50)
    foreign = np.char.startswith(control.file_names, FOREIGN_TILE)
    assert outside[foreign].all()
    assert outside[~foreign].mean() < 0.001
    assert tile_extent(SWAPPED_TILE) is not None


@pytest.mark.slow
def test_faults_of_whole_files_are_all_rejected(made: Borough, control: ControlTable) -> None:
    """Exchanged columns, another tile's content, lost digits and second targets never reach the fit, and no good
    neighbour is rejected with its whole file."""
    verdicts = judge_control_table(control).verdicts
    keys = zip(verdicts["file"].to_pylist(), verdicts["row"].to_pylist(), strict=True)
    verdict = dict(zip(keys, verdicts["verdict"].to_pylist(), strict=True))
    where = line_numbers(made.links, write_link_files(made.links))
    grave = ("swapped_columns", "wrong_tile_content", "truncated_digit", "conflict_same_old")
    found = [verdict[place] for link, place in zip(made.links, where, strict=True) if link.kind in grave]
    assert len(found) > 200
    assert set(found) == {"rejected"}
    good = {place for link, place in zip(made.links, where, strict=True) if link.harm != "harmful"}
    rejected = {(row["file"], row["row"]) for row in verdicts.to_pylist() if whole_file_fault(row["reasons"])}
    assert not good & rejected


def whole_file_fault(reasons: str) -> bool:
    return not {"columns_swapped", "content_of_another_tile"}.isdisjoint(reasons.split(";"))


def test_layers_hold_the_awkward_cases() -> None:
    """Null, invalid, Z, ZM, a true curve, repeated references and three vintages are in the shipped layers."""
    assert stored_kinds(SOURCES / "layers" / "open_spaces.gpkg", "open_spaces") == {None, 3, 1003, 3003, 10}
    meta, _, shapes, columns = pyogrio.raw.read(SOURCES / "layers" / "planning_applications.shp")
    table = dict(zip(meta["fields"].tolist(), columns, strict=True))
    assert len(set(table["APPREF"])) < len(table["APPREF"])
    assert any("café" in text for text in table["PROPOSAL"])
    polygons = shapely.from_wkb(shapes)
    assert (~shapely.is_valid(polygons[polygons != None])).any()  # noqa: E711
    assert {"1:2500", "1:10 000"} <= set(table["SRC_SCALE"])


def stored_kinds(path: Path, layer: str) -> set[int | None]:
    """Well-known-binary types as they lie in the file: reading through GDAL would straighten curves."""
    with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as database:
        blobs = [blob for (blob,) in database.execute(f"SELECT geom FROM {layer}")]
    database.close()
    return {None if blob is None else wkb_kind(blob) for blob in blobs}


def wkb_kind(blob: bytes) -> int:
    """Skips the GeoPackage header, whose envelope has 0, 4, 6 or 8 numbers."""
    start = 8 + 8 * (0, 4, 6, 6, 8)[blob[3] >> 1 & 7]
    return int.from_bytes(blob[start + 1 : start + 5], "little")


def test_broken_shapes_are_broken(made: Borough) -> None:
    """Three planning applications and one open space are held as bow ties."""
    broken = {name: [f for f in made.layers[name] if f.held and not f.held.is_valid] for name in LAYERS}
    assert len(broken["planning_applications"]) >= 3
    assert len(broken["open_spaces"]) >= 1
    assert all(f.fate == "cannot_be_known" for name in ("planning_applications", "open_spaces") for f in broken[name])


def test_the_settings_open_and_name_every_layer() -> None:
    """migration.yaml is accepted as it stands and every file it names is there."""
    migration = Migration.open(DATA / "demo")
    for layer in migration.settings.layers:
        assert migration.source(layer.file).is_file(), layer.name
    assert {layer.name for layer in migration.settings.layers} == set(LAYERS)
    assert borough.CRS == "EPSG:27700"


def test_the_folder_may_be_named_by_its_settings_file() -> None:
    """As a file dialog hands it over."""
    assert Migration.open(DATA / "demo" / "migration.yaml").root == Migration.open(DATA / "demo").root


def test_no_truth_is_shipped() -> None:
    """The truth is for tests, which make it afresh; the pipeline never meets it."""
    assert not [path for path in DATA.rglob("*") if "truth" in path.name.lower() or path.name == "faults.csv"]


def test_the_demo_stays_small() -> None:
    """A few megabytes in git, no more."""
    assert sum(path.stat().st_size for path in SOURCES.rglob("*") if path.is_file()) < 4e6


def test_readme_lists_every_file_with_its_hash() -> None:
    """data/README.md names each file with the hash it has, and no file that is not there."""
    listed = dict(re.findall(r"^\| `(demo/[^`]+)` \|.*`([0-9a-f]{64})` \|$", (DATA / "README.md").read_text(), re.M))
    shipped = [path for path in SOURCES.rglob("*") if path.is_file()] + [DATA / "demo" / "migration.yaml"]
    files = {path.relative_to(DATA).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in shipped}
    assert listed == files

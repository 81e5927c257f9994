"""Reading the base maps: what their lines are of, and maps that cannot be what they are named as."""

import numpy as np
import pyogrio
import pytest
import shapely
from test_qa_drawn_alike import FENCES, HOUSES, in_areas, is_same, sides
from two_maps import on_new_map

from pipeline.base_map_faults import refuse_other_move
from pipeline.base_maps import read_base_maps
from pipeline.settings import Settings
from pipeline.storage import Migration
from transforms.errors import SettingsError, SourceError

CORNER = np.array([420_000.0, 160_000.0])


def in_place(geometries):
    """The little map where there is land."""
    return shapely.transform(geometries, lambda places: places + CORNER)


def migration_of(folder, *, before="sources/old.gpkg", after="sources/new.gpkg"):
    maps = {"before": before, "after": after}
    settings = {
        "title": "Test",
        "base_maps": {name: {"file": each} if isinstance(each, str) else each for name, each in maps.items()},
        "layers": [{"name": "a", "file": "sources/a.gpkg"}],
    }
    return Migration(folder, Settings.model_validate(settings))


def editions(folder):
    (folder / "sources").mkdir()
    return folder / "sources/old.gpkg", folder / "sources/new.gpkg"


def write(path, geometries, code=None, layer="lines"):
    fields = [] if code is None else [code]
    pyogrio.raw.write(
        path,
        shapely.to_wkb(in_place(geometries)),
        fields,
        ["FEATCODE"] if fields else [],
        layer=layer if path.suffix == ".gpkg" else path.stem,
        driver={".gpkg": "GPKG", ".shp": "ESRI Shapefile", ".tab": "MapInfo File", ".gml": "GML"}[path.suffix],
        geometry_type="Unknown" if path.suffix == ".gpkg" else "LineString",
        crs="EPSG:27700",
        append=path.exists(),
    )


@pytest.mark.parametrize("way", ["by its code", "by its layer"])
def test_a_delivered_map_says_what_its_lines_are(tmp_path, way):
    """A house pulled down is one by the kind of its lines, which were cut up and touch no fence."""
    old, new = editions(tmp_path)
    if way == "by its code":
        pieces = np.concatenate([sides(HOUSES), sides(FENCES)])
        write(old, pieces, np.repeat([1, 30], [len(sides(HOUSES)), len(sides(FENCES))]))
    else:
        write(old, sides(HOUSES), layer="outlines")
        write(old, sides(FENCES), layer="fences")
    write(new, in_areas(np.delete(HOUSES, 7)).geometries)
    base = read_base_maps(migration_of(tmp_path))
    assert is_same(base.before.areas.geometries, in_place(HOUSES))


MAP = np.concatenate([HOUSES, sides(FENCES)])
WRONG = {
    "has its axes swapped": lambda places: (places + CORNER)[:, ::-1] - CORNER,
    "is in millimetres": lambda places: (places + CORNER) * 1000.0 - CORNER,
    "holds degrees": lambda places: np.array([-1.5, 51.3]) + places / 1e5 - CORNER,
    "have next to nothing in common": lambda places: places + 5000.0,
}


@pytest.mark.parametrize("says", WRONG)
def test_an_edition_that_is_not_where_the_other_is_is_refused_with_the_cure(tmp_path, says):
    old, new = editions(tmp_path)
    write(old, shapely.transform(MAP, WRONG[says]))
    write(new, on_new_map(MAP))
    with pytest.raises(SourceError, match=rf"old\.gpkg.*{says}.*EPSG:27700.*base_maps in migration\.yaml"):
        read_base_maps(migration_of(tmp_path))


def test_base_maps_of_another_place_than_the_control_are_refused(tmp_path):
    old, new = editions(tmp_path)
    write(old, MAP)
    write(new, on_new_map(MAP))
    base = read_base_maps(migration_of(tmp_path))
    places = CORNER + np.random.default_rng(1).uniform(0, 800, (50, 2))
    shift = on_new_map(shapely.points(places - CORNER))
    refuse_other_move(base, places, shapely.get_coordinates(shift) + CORNER - places)
    with pytest.raises(SettingsError, match=r"within a kilometre of any control point\..*base_maps"):
        refuse_other_move(base, places + 20_000.0, np.ones((50, 2)))


SQUARES = shapely.box([0, 575, 0, 575], [0, 0, 575, 575], [575, 1200, 575, 1200], [575, 575, 1200, 1200])


def test_a_map_without_features_is_refused(tmp_path):
    old, new = editions(tmp_path)
    write(old, MAP[:0])
    write(new, on_new_map(MAP))
    with pytest.raises(SourceError, match=r"old\.gpkg holds no feature\. Check base_maps"):
        read_base_maps(migration_of(tmp_path))


@pytest.mark.parametrize("suffix", [".shp", ".tab", ".gml"])
def test_a_map_in_tiles_is_one_map_and_nothing_is_written_beside_them(tmp_path, suffix):
    """Nor are houses in pieces where an edge cuts them."""
    _, new = editions(tmp_path)
    lines = np.concatenate([sides(HOUSES), sides(FENCES)])
    codes = np.repeat([1, 30], [len(sides(HOUSES)), len(sides(FENCES))])
    (tmp_path / "sources/tiles").mkdir()
    for number, square in enumerate(SQUARES):
        inside = shapely.intersection(lines, square)
        there = shapely.length(inside) > 0
        write(tmp_path / f"sources/tiles/SU{number}{suffix}", inside[there], codes[there])
    write(new, in_areas(np.delete(HOUSES, 7)).geometries)
    before = listing(tmp_path / "sources")
    base = read_base_maps(migration_of(tmp_path, before="sources/tiles"))
    assert listing(tmp_path / "sources") == before
    assert shapely.intersects(HOUSES, shapely.union_all(shapely.boundary(SQUARES))).sum() > 5
    assert is_same(base.before.areas.geometries, in_place(HOUSES))


def listing(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_layers_of_a_map_are_chosen_by_their_names(tmp_path):
    old, new = editions(tmp_path)
    for path, shapes in ((old, [HOUSES, sides(FENCES)]), (new, [on_new_map(HOUSES), on_new_map(sides(FENCES))])):
        for name, each in zip(("houses", "fences"), shapes, strict=True):
            write(path, each, layer=name)
    chosen = {name: {"file": f"sources/{name[:3]}.gpkg", "layers": ["houses"]} for name in ("old", "new")}
    migration = migration_of(tmp_path, before=chosen["old"], after=chosen["new"])
    assert len(read_base_maps(migration).before.geometries) == len(HOUSES)
    migration = migration_of(tmp_path, before=chosen["old"] | {"layers": ["hedges"]}, after=chosen["new"])
    with pytest.raises(SourceError, match=r"no layer hedges; it has fences, houses\. Check base_maps"):
        read_base_maps(migration)

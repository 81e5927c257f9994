"""Reading the base maps: what their lines are of, and maps that cannot be what they are named as."""

import numpy as np
import pyogrio
import pytest
import shapely
from test_qa_drawn_alike import FENCES, HOUSES, in_areas, is_same, sides
from two_maps import on_new_map

from pipeline.base_maps import read_base_maps, refuse_other_move
from pipeline.settings import Settings
from pipeline.storage import Migration
from transforms.errors import SettingsError, SourceError

CORNER = np.array([420_000.0, 160_000.0])


def in_place(geometries):
    """The little map where there is land."""
    return shapely.transform(geometries, lambda places: places + CORNER)


def migration_of(folder):
    settings = {
        "title": "Test",
        "base_maps": {"before": {"file": "sources/old.gpkg"}, "after": {"file": "sources/new.gpkg"}},
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
        layer=layer,
        driver="GPKG",
        geometry_type="Unknown",
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

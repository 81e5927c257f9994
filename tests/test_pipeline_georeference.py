"""What a layer's numbers are is recognised, and each trouble is answered by one sentence with its cure."""

import csv
import re

import numpy as np
import pyproj
import pytest

from pipeline import ostn15
from pipeline.georeference import (
    NATIONAL_GRID,
    NothingSaid,
    kind_of_numbers,
    on_land_square,
    understand,
)
from pipeline.settings import LayerSettings
from transforms.errors import SourceError

BATH = np.array([[358_514.88, 161_234.5], [362_673.48, 159_272.39], [355_001.0, 165_999.99]])
DEGREES = np.array([[-2.59, 51.35], [-2.53, 51.33], [-2.64, 51.39]])
MAPINFO_PRJ = (
    'PROJCS["British National Grid",GEOGCS["Ordnance Survey Great Brit",DATUM["Ordnance Survey Great Brit",'
    'SPHEROID["Airy 1930",6377563.396,299.3249646]],PRIMEM["Greenwich",0],UNIT["Decimal_Degree",0.0174532925199433]],'
    'PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",49],PARAMETER["central_meridian",-2],'
    'PARAMETER["scale_factor",0.9996012717],PARAMETER["false_easting",400000],PARAMETER["false_northing",-100000],'
    'UNIT["Meter",1]]'
)


def one_sentence_naming(error: pytest.ExceptionInfo, *words: str) -> None:
    text = str(error.value)
    assert text.startswith("trees.csv ")
    assert all(word in text for word in words), text
    assert "\n" not in text


def test_good_data_is_left_alone():
    """National Grid numbers that say so are used as they stand, without a remark."""
    grid = understand(NATIONAL_GRID, BATH)
    assert grid.is_identity and grid.findings == ()
    assert grid.apply(BATH).tolist() == BATH.tolist()


def test_mapinfo_own_form_is_understood_and_said():
    """MapInfo's .prj is the National Grid in other words."""
    grid = understand(MAPINFO_PRJ, BATH)
    assert grid.is_identity
    assert any("British National Grid" in finding and NATIONAL_GRID in finding for finding in grid.findings)


def test_the_national_grid_with_heights_is_understood():
    """EPSG:7405 is the National Grid with Newlyn heights."""
    assert understand(pyproj.CRS(7405).to_wkt(), BATH).is_identity


def test_a_grid_that_only_looks_like_it_is_refused():
    """The Irish grid is another transverse Mercator; its numbers could pass for ours."""
    with pytest.raises(SourceError, match="not in the National Grid"):
        understand(pyproj.CRS(29902).to_wkt(), BATH)


def test_no_crs_with_grid_numbers_is_evident_and_said():
    """A CSV or a Shapefile without .prj in National Grid metres needs no setting, but the manifest says so."""
    grid = understand(None, BATH)
    assert grid.is_identity
    assert any("no coordinate system" in finding for finding in grid.findings)


TROUBLES = {
    "swapped": (None, BATH[:, ::-1], {"swap_axes": True}, "swap_axes: true"),
    "millimetres": (None, BATH * 1000, {"unit_m": 0.001}, "unit_m: 0.001"),
    "lost digits": (
        None,
        BATH - [300_000, 100_000],
        {"offset_easting_m": 300_000.0, "offset_northing_m": 100_000.0},
        "offset_easting_m",
    ),
    "claims degrees": ("EPSG:4326", BATH, {"crs": NATIONAL_GRID}, "crs: EPSG:27700"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("claim", ["as found", NATIONAL_GRID])
def test_each_trouble_is_named_with_its_cure_and_the_cure_works(trouble, claim):
    """The sentence names the setting; with it the places are right to the last digit that was there."""
    crs, numbers, said, word = TROUBLES[trouble]
    crs = crs if claim == "as found" or trouble == "claims degrees" else claim
    with pytest.raises(SourceError) as error:
        understand(crs, numbers, name="trees.csv")
    one_sentence_naming(error, word, "migration.yaml")
    settings = LayerSettings(name="trees", file="trees.csv", **said)
    grid = understand(crs, numbers, settings, name="trees.csv")
    np.testing.assert_allclose(grid.apply(numbers), BATH, atol=1e-6)


def test_a_cure_that_is_not_needed_is_refused():
    """swap_axes on good data would move it to the Irish Sea: the numbers are judged after the cure."""
    with pytest.raises(SourceError, match="swapped"):
        understand(NATIONAL_GRID, BATH, NothingSaid(swap_axes=True))


@pytest.mark.parametrize("crs", [None, NATIONAL_GRID])
def test_degrees_in_a_file_that_does_not_say_so(crs):
    """WGS84 degrees in a file that claims the National Grid, or nothing, are recognised."""
    with pytest.raises(SourceError) as error:
        understand(crs, DEGREES, name="trees.csv")
    one_sentence_naming(error, "degrees", "crs: EPSG:4326", "reproject: true")


def test_honest_degrees_need_permission():
    """Reprojecting happens only when the settings ask for it."""
    with pytest.raises(SourceError) as error:
        understand("EPSG:4326", DEGREES, name="trees.csv")
    one_sentence_naming(error, "reproject: true", "OSTN15")
    with pytest.raises(SourceError, match="latitude before longitude"):
        understand("EPSG:4326", DEGREES[:, ::-1])


def test_numbers_that_are_nowhere_are_refused():
    """Web Mercator metres without a CRS fit nothing known; the sentence says what the file says."""
    with pytest.raises(SourceError, match="nothing"):
        understand(None, np.array([[-288_000.0, 6_680_000.0]]))


def test_a_few_bad_rows_do_not_decide():
    """One feature at a wrong place does not make a layer swapped."""
    numbers = np.vstack([np.tile(BATH, (5, 1)), BATH[:1, ::-1], [[0.0, 0.0]], [[np.nan, 1.0]]])
    assert kind_of_numbers(numbers) == "grid"
    assert understand(NATIONAL_GRID, np.empty((0, 2))).findings


def test_land_squares_are_where_they_should_be():
    """Known places are on land squares; the sea west of Wales, the North Sea and Ireland are not."""
    land = {"Truro": (182_500, 44_800), "Norwich": (623_000, 308_500), "Lerwick": (447_600, 1_141_500)}
    land |= {"Stornoway": (142_500, 932_800), "St Mary's, Scilly": (90_400, 10_600), "Dover": (631_900, 141_400)}
    sea = {"Irish Sea": (161_000, 358_000), "Dogger Bank": (690_000, 560_000), "lost digits": (62_673, 59_272)}
    assert on_land_square(np.array(list(land.values()), dtype=float)).all()
    assert not on_land_square(np.array(list(sea.values()), dtype=float)).any()


def test_without_the_grid_nothing_is_reprojected(monkeypatch):
    """Without OSTN15 the sentence says where to get it; the Helmert is never used instead."""
    monkeypatch.setattr(ostn15, "GRID", "no_such_grid.tif")
    monkeypatch.setattr(ostn15, "_PIPELINE", ostn15._PIPELINE.replace("uk_os_OSTN15", "no_such_grid"))
    ostn15._transformer.cache_clear()
    with pytest.raises(SourceError, match=re.escape("cdn.proj.org")):
        ostn15.to_national_grid(DEGREES)
    ostn15._transformer.cache_clear()


def test_the_forty_official_points_agree_to_8_mm(shared_data, monkeypatch):
    """Ordnance Survey's own test of OSTN15: all 40 points, and NaN far outside."""
    monkeypatch.setenv("PROJ_DATA", str(shared_data / "control"))
    ostn15._transformer.cache_clear()
    with (shared_data / "control" / "os_ostn15_40_points.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    degrees = np.array([[float(row["etrs_lon"]), float(row["etrs_lat"])] for row in rows])
    official = np.array([[float(row["osgb_e"]), float(row["osgb_n"])] for row in rows])
    distance = np.hypot(*(ostn15.to_national_grid(degrees) - official).T)
    assert len(rows) == 40 and distance.max() < 0.0085
    assert np.isnan(ostn15.to_national_grid(np.array([[40.0, 10.0]]))).all()
    settings = LayerSettings(name="points", file="p.csv", crs="EPSG:4258", reproject=True)
    grid = understand(None, degrees, settings)
    assert grid.cures == ("reproject: true (OSTN15)",)
    np.testing.assert_allclose(grid.apply(degrees), official, atol=0.0085)

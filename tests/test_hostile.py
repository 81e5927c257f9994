"""Every hostile file is answered: whole, or with one clear sentence; never a traceback, a hang or a changed source."""

import hashlib
import time
from pathlib import Path

import pytest

from pipeline.formats import open_batches, write_batches
from pipeline.geometry.wkb_batch import WkbBatch
from pipeline.georeference import understand
from transforms.errors import PostPaiError, SourceError

HOSTILE = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "hostile"
SIDE_FILES = {".md", ".txt", ".shx", ".dbf", ".prj", ".cpg", ".dat", ".map", ".id", ".mid"}
FILES = sorted(file for file in HOSTILE.rglob("*") if file.is_file() and file.suffix.lower() not in SIDE_FILES)
FILES += sorted(HOSTILE.rglob("chinese.dbf"))
LONGEST_S = 10.0

READABLE = {
    "all_geoms.mif": 16,
    "all_geoms.tab": 16,
    "tab-win1251.TAB": 3,
    "nomid.mif": 2,
    "mixed_shape_type_non_conformant.shp": 6,
    "multipatch.shp": 1,
    "polygonm_without_m.shp": 2,
    "buggymultipoly.shp": 1,
    "multipolygon_as_invalid_polygon.shp": 2,
    "extentnan.shp": 0,
    "pointzm_with_one_valid_m.shp": 2,
    "first_geometry_null.gpkg": 2,
    "poly_non_conformant.gpkg": 1,
    "nullvalues.geojson": 2,
    "geometrycollection.geojson": 1,
    "point_with_utf8bom.json": 1,
    "curveProperty.xml": 1,
    "circle.dxf": 2,
    "text.dxf": 1,
    "insert-recursive-pair.dxf": 1,
    "arc_segment_interior_point_but_line.gdb.zip": 1,
    "multilinestringzm_with_dummy_m_array.gdb.zip": 1,
    "bng_no_crs_bom.geojson": 40,
    "wgs84_by_helmert.geojson": 40,
    "swapped_axes.csv": 60,
    "lost_100km.csv": 60,
    "millimetres.csv": 60,
    "decimal_comma_cp1252.csv": 60,
    "no_prj.shp": 40,
    "mapinfo_prj.shp": 40,
}
"""Features of the files that can be read; GDAL's ogrinfo counts the same."""

REFUSED = {
    "billionlaugh.gml": "entity",
    "too_nested.gml": "geometry",
    "chinese.dbf": "without geometry",
    "truncated_map.tab": "22 features but 5",
    "huge_feature_count.gpkg": "holds 2 layers",
    "curves_and_bad_rings.gpkg": "holds 4 layers",
}

pytestmark = pytest.mark.skipif(not FILES, reason="the shared data folder (../shared/data) is not beside this checkout")


def hashes() -> dict[str, str]:
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in HOSTILE.rglob("*") if file.is_file()}


@pytest.fixture(scope="module", autouse=True)
def untouched_source():
    before = hashes()
    yield
    assert hashes() == before, "a hostile file was changed, or something was written beside it"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_file_is_read_whole_or_refused_with_one_sentence(file):
    """The number of features is what the file holds, or the sentence says what is wrong."""
    began = time.monotonic()
    try:
        with open_batches(file) as stream:
            count = sum(len(batch) for batch in stream.batches)
    except SourceError as error:
        assert file.name in REFUSED and REFUSED[file.name] in str(error)
        assert "\n" not in str(error) and str(error).endswith(".")
    else:
        assert count == READABLE[file.name]
    assert time.monotonic() - began < LONGEST_S


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "tab", "geojson", "parquet", "csv"])
def test_each_file_is_written_whole_or_not_at_all(suffix, tmp_path):
    """A copy to any format has every feature; a refusal leaves nothing behind."""
    for number, file in enumerate(FILES):
        target = tmp_path / str(number) / f"copy.{suffix}"
        try:
            with open_batches(file) as stream:
                written = write_batches(target, stream.schema, stream.batches)
        except PostPaiError as error:
            assert "\n" not in str(error)
            assert not target.parent.exists() or list(target.parent.iterdir()) == []
        else:
            assert written.features == READABLE[file.name] and target.exists()


@pytest.mark.parametrize(
    ("name", "cure"),
    {
        "swapped_axes.csv": "swap_axes",
        "lost_100km.csv": "offset_easting_m",
        "millimetres.csv": "unit_m",
        "bng_no_crs_bom.geojson": "crs: EPSG:27700",
        "wgs84_by_helmert.geojson": "reproject: true",
    }.items(),
)
def test_wrong_coordinates_are_recognised(name, cure):
    """Each of the made troubles is answered by the setting that cures it."""
    with open_batches(HOSTILE / "made" / name) as stream:
        sample = WkbBatch.of(next(iter(stream.batches)).column(-1)).place
        with pytest.raises(SourceError, match=cure):
            understand(stream.info.crs_wkt, sample, name=name)


@pytest.mark.parametrize("name", ["no_prj.shp", "mapinfo_prj.shp", "decimal_comma_cp1252.csv"])
def test_odd_but_evident_coordinates_are_understood_and_said(name):
    """No .prj, MapInfo's own .prj and decimal commas need no setting, and a finding says what was understood."""
    with open_batches(HOSTILE / "made" / name) as stream:
        sample = WkbBatch.of(next(iter(stream.batches)).column(-1)).place
        grid = understand(stream.info.crs_wkt, sample, name=name)
    assert grid.is_identity and grid.findings


def test_the_other_layers_of_hostile_files_are_read():
    """Layers with spaces in their names, false counts and NaN are read one by one."""
    counts = {"curves": 5, "bad rings": 7, "mixed": 7, "uniform_offset": 40}
    for layer, count in counts.items():
        with open_batches(HOSTILE / "made/curves_and_bad_rings.gpkg", layer=layer) as stream:
            assert sum(len(batch) for batch in stream.batches) == count
    with open_batches(HOSTILE / "gdal/gpkg/huge_feature_count.gpkg", layer="test") as stream:
        assert sum(len(batch) for batch in stream.batches) == 1

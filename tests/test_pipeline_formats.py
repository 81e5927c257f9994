"""Every format is read and written whole, without a change to the source and without a silent loss."""

import sqlite3
import struct
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.formats import BATCH_BYTES, GEOMETRY, MOST_ROWS, inspect, open_batches, rows_at_once, write_batches
from pipeline.formats.stream import Origin, feature_id_column, geometry_field, mark_feature_id, origin_of
from pipeline.formats.text_coordinates import numbers_from_text, points_from_text, shapes_from_wkt
from pipeline.formats.text_encoding import encoding_of
from pipeline.geometry.wkb_types import TypeCount, type_codes
from transforms.errors import ExportError, PostPaiError, SourceError

ORIGIN = (358_000.0, 161_000.0)
SPATIAL = ["gpkg", "shp", "tab", "mif", "geojson", "parquet", "fgb", "gml", "gdb"]
"""Suffixes written and read again; CSV has tests of its own."""


def table(geometries, **columns) -> pa.Table:
    wkb = shapely.to_wkb(np.array(geometries, dtype=object), flavor="iso", output_dimension=4).tolist()
    fields = [pa.field(name, pa.array(values).type) for name, values in columns.items()]
    schema = pa.schema([*fields, geometry_field(Origin())])
    arrays = [pa.array(values) for values in columns.values()]
    return pa.Table.from_arrays([*arrays, pa.array(wkb, pa.binary())], schema=schema)


def write(path: Path, layer: pa.Table, **options):
    return write_batches(path, layer.schema, layer.to_batches(max_chunksize=3), **options)


def read(path: Path, **options) -> pa.Table:
    with open_batches(path, **options) as stream:
        return pa.Table.from_batches(list(stream.batches), schema=stream.schema)


def shapes(layer: pa.Table) -> np.ndarray:
    return shapely.from_wkb(np.array(layer[GEOMETRY].to_pylist(), dtype=object))


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def square(easting=0.0, northing=0.0, side=10.0):
    east, north = ORIGIN[0] + easting, ORIGIN[1] + northing
    return shapely.box(east, north, east + side, north + side, ccw=False)


@pytest.fixture
def parcels() -> pa.Table:
    return table(
        [square(), square(10), None, square(20.125), square(30)],
        ref=["0012", "b", "£ – café", None, "e"],
        number=pa.array([1, -2, None, 4, 2_000_000_000], pa.int32()),
        area=[100.0, 1.5, None, 0.1 + 0.2, -1e-9],
    )


@pytest.mark.parametrize("suffix", SPATIAL)
def test_geometry_order_and_values_survive(suffix, parcels, tmp_path):
    """A layer with a missing geometry and missing values comes back in order, place and value."""
    written = write(tmp_path / f"parcels.{suffix}", parcels)
    back = read(written.path)
    assert written.features == back.num_rows == 5
    tolerance = 0.0006 if suffix == "tab" else 1e-6
    for before, after in zip(shapes(parcels), shapes(back), strict=True):
        assert (before is None) == (after is None)
        assert before is None or shapely.hausdorff_distance(before, after) <= tolerance
    names = {name.lower(): name for name in back.column_names}
    assert [value or None for value in back[names["ref"]].to_pylist()] == parcels["ref"].to_pylist()
    numbers, areas = back[names["number"]].to_pylist(), back[names["area"]].to_pylist()
    rows = [row for row in range(5) if row != 2]
    assert [numbers[row] for row in rows] == [1, -2, 4, 2_000_000_000]
    assert [areas[row] for row in rows] == pytest.approx([100.0, 1.5, 0.1 + 0.2, -1e-9], rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("suffix", SPATIAL)
def test_every_format_says_national_grid(suffix, parcels, tmp_path):
    """What we write is recognised as the National Grid when it is read."""
    from pipeline.georeference import NATIONAL_GRID, understand

    write(tmp_path / f"parcels.{suffix}", parcels)
    info = inspect(tmp_path / f"parcels.{suffix}")
    assert understand(info.crs_wkt, np.array([ORIGIN])).crs_found == NATIONAL_GRID


@pytest.mark.parametrize("suffix", [*SPATIAL, "csv"])
def test_reading_leaves_the_folder_as_it_was(suffix, parcels, tmp_path):
    """No side file appears and no byte changes, whichever format is read."""
    write(tmp_path / f"parcels.{suffix}", parcels)
    before = folder_bytes(tmp_path)
    read(tmp_path / f"parcels.{suffix}")
    inspect(tmp_path / f"parcels.{suffix}")
    assert folder_bytes(tmp_path) == before


def test_a_coordinate_system_in_strange_characters_is_one_sentence(parcels, tmp_path):
    write(tmp_path / "parcels.shp", parcels)
    described = tmp_path / "parcels.prj"
    described.write_bytes(described.read_bytes().replace(b"British", b"Brit\xef\xbf", 1))
    with pytest.raises(SourceError, match=r"parcels\.shp names its coordinate system .* take away the \.prj"):
        read(tmp_path / "parcels.shp")
    described.unlink()
    assert len(read(tmp_path / "parcels.shp")) == len(parcels)


def test_a_geopackage_in_write_ahead_mode_is_read_with_its_newest_edit(parcels, tmp_path):
    """An edit that still lies in the -wal file is read, and neither file is touched."""
    path = tmp_path / "parcels.gpkg"
    write(path, parcels.drop_columns(["area", "number"]))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {trigger}")  # they call functions that only GDAL brings
    connection.execute("UPDATE parcels SET ref = 'edited' WHERE rowid = 1")
    connection.commit()
    before = folder_bytes(tmp_path)
    assert read(path)["ref"].to_pylist()[0] == "edited"
    assert folder_bytes(tmp_path) == before
    connection.close()


@pytest.mark.parametrize("suffix", ["gpkg", "parquet"])
def test_what_a_whole_format_can_hold_is_byte_identical(suffix, tmp_path):
    """Mixed types, Z, M, ZM, empty and null geometry, 64-bit numbers, NULL against empty text, zoned times."""
    geometries = [
        shapely.Point(*ORIGIN),
        shapely.from_wkt("LINESTRING ZM (358000 161000 5 1, 358010 161000 6 2)"),
        shapely.from_wkt("POLYGON M ((358000 161000 1, 358000 161010 2, 358010 161010 3, 358000 161000 1))"),
        shapely.from_wkt("GEOMETRYCOLLECTION (POINT (358000 161000), LINESTRING (358000 161000, 358001 161001))"),
        shapely.from_wkt("MULTIPOLYGON EMPTY"),
        None,
    ]
    layer = table(
        geometries,
        text=["", None, "x", "  ", "line\nbreak", "'; DROP TABLE"],
        big=[2**53 + 1, -(2**63), None, 0, 1, 2],
        day=pa.array([0, None, 7303, 1, 2, 3], pa.date32()),
    )
    write(tmp_path / f"all.{suffix}", layer)
    back = read(tmp_path / f"all.{suffix}").select([*layer.column_names])
    assert back.to_pydict() == layer.to_pydict()


def test_times_keep_their_zone(tmp_path):
    """A date-time in British Summer Time is the same text after GeoPackage."""
    path = tmp_path / "times.geojson"
    path.write_text(
        '{"type":"FeatureCollection","crs":{"type":"name","properties":{"name":"urn:ogc:def:crs:EPSG::27700"}},'
        '"features":[{"type":"Feature","properties":{"when":"2004-07-01T10:00:00+01:00"},'
        '"geometry":{"type":"Point","coordinates":[358000,161000]}}]}'
    )
    layer = read(path)
    assert layer["when"].to_pylist() == ["2004-07-01T10:00:00+01:00"]
    write(tmp_path / "times.gpkg", layer)
    assert read(tmp_path / "times.gpkg")["when"].to_pylist() == ["2004-07-01T10:00:00+01:00"]


def test_curves_stay_curves_in_a_geopackage(shared_data, tmp_path):
    """True curves come out of a GeoPackage and go back byte for byte."""
    layer = read(shared_data / "hostile/made/curves_and_bad_rings.gpkg", layer="curves")
    types = TypeCount()
    types.add(layer[GEOMETRY].combine_chunks())
    assert types.curves() == 5
    write(tmp_path / "curves.gpkg", layer)
    assert read(tmp_path / "curves.gpkg")[GEOMETRY].to_pylist() == layer[GEOMETRY].to_pylist()


def test_feature_ids_and_the_geometry_column_keep_their_names(tmp_path):
    """The ids a GeoPackage gave its features are the same afterwards, under the same column name."""
    layer = table([square(), square(20)], number=pa.array([7, 3], pa.int64()))
    schema = pa.schema(
        [mark_feature_id(pa.field("number", pa.int64())), geometry_field(Origin(column="the_geom"), pa.binary())]
    )
    first = tmp_path / "first.gpkg"
    write_batches(
        first, schema, [pa.RecordBatch.from_arrays(layer.combine_chunks().to_batches()[0].columns, schema=schema)]
    )
    with open_batches(first) as stream:
        assert feature_id_column(stream.schema) == "number"
        assert origin_of(stream.schema).column == "the_geom"
        write_batches(tmp_path / "second.gpkg", stream.schema, stream.batches)
    assert sorted(read(tmp_path / "second.gpkg")["number"].to_pylist()) == [3, 7]


def test_ids_of_geojson_features_survive(tmp_path):
    """Numeric ids of features come back as ids in GeoJSON, as a column in GeoPackage, and the order is the source's."""
    features = ",".join(
        f'{{"type":"Feature","id":{number},"properties":{{"ref":"{number}"}},'
        f'"geometry":{{"type":"Point","coordinates":[{358000 + number},161000]}}}}'
        for number in (7, 3)
    )
    crs = '"crs":{"type":"name","properties":{"name":"urn:ogc:def:crs:EPSG::27700"}}'
    (tmp_path / "in.geojson").write_text(f'{{"type":"FeatureCollection",{crs},"features":[{features}]}}')
    layer = read(tmp_path / "in.geojson")
    assert layer["id"].to_pylist() == [7, 3]
    write(tmp_path / "out.gpkg", layer)
    assert read(tmp_path / "out.gpkg")["id"].to_pylist() == [7, 3]
    write(tmp_path / "out.geojson", layer)
    assert read(tmp_path / "out.geojson").to_pydict() == layer.to_pydict()


def test_a_geopackage_declares_the_type_it_holds(parcels, tmp_path):
    """A layer of polygons is declared so, a mixed one as any geometry: QGIS lists layers by it."""
    write(tmp_path / "polygons.gpkg", parcels)
    write(tmp_path / "mixed.gpkg", table([square(), shapely.Point(*ORIGIN)]))
    assert inspect(tmp_path / "polygons.gpkg").geometry_type == "Polygon"
    assert inspect(tmp_path / "mixed.gpkg").geometry_type == "Unknown"


def test_a_tab_has_millimetre_bounds(tmp_path):
    """Coordinates survive MapInfo's integers to half a millimetre anywhere in Great Britain."""
    places = np.array([[91492.146, 11318.804], [655_029.123, 313_549.456], [362_269.979, 1_219_999.991]])
    write(tmp_path / "points.tab", table(shapely.points(places), ref=["a", "b", "c"]))
    back = shapely.get_coordinates(shapes(read(tmp_path / "points.tab")))
    assert np.abs(back - places).max() <= 0.00051


def test_a_tab_refuses_what_lies_outside_its_bounds(tmp_path):
    """MapInfo would bring such a point back at another place."""
    with pytest.raises(ExportError, match="bounds"):
        write(tmp_path / "points.tab", table([shapely.Point(-5.0, 3_000_000.0)], ref=["a"]))
    assert list(tmp_path.iterdir()) == []


def test_a_shapefile_splits_mixed_kinds_and_says_so(tmp_path):
    """Polygons keep the name, the points go beside it, the note counts them."""
    layer = table([square(), shapely.Point(*ORIGIN), square(20), None], ref=["a", "b", "c", "d"])
    written = write(tmp_path / "mixed.shp", layer)
    assert read(tmp_path / "mixed.shp")["ref"].to_pylist() == ["a", "c", "d"]
    assert read(tmp_path / "mixed_points.shp")["ref"].to_pylist() == ["b"]
    assert any("1 points are in mixed_points.shp" in note for note in written.notes)


def test_a_shapefile_says_which_names_it_shortened(tmp_path):
    """Two long names that begin alike stay two columns."""
    layer = table([square()], pai_uncertainty_m=[0.1], pai_uncertain=[0.2])
    written = write(tmp_path / "names.shp", layer)
    assert read(tmp_path / "names.shp").column_names[:2] == ["pai_uncert", "pai_uncer2"]
    assert any("pai_uncertainty_m -> pai_uncert" in note for note in written.notes)


def test_a_shapefile_keeps_its_field_widths(shared_data, tmp_path):
    """Number and text columns of a DBF have the width and decimals they came with."""
    from pipeline.formats.dbf_widths import number_widths

    source = shared_data / "chew_valley/layers/planning_applications.shp"
    with open_batches(source) as stream:
        write_batches(tmp_path / "copy.shp", stream.schema, stream.batches)
        widths = [each.width for each in stream.info.fields]
    assert number_widths(tmp_path / "copy.dbf") == number_widths(source.with_suffix(".dbf"))
    assert [each.width for each in inspect(tmp_path / "copy.shp").fields] == widths
    assert read(tmp_path / "copy.shp").to_pydict() == read(source).to_pydict()


def test_a_width_without_decimals_does_not_round(tmp_path):
    """2320.7 stays 2320.7 also when its column carries a width."""
    layer = table([square()], area=[2320.7])
    schema = layer.schema.set(0, layer.schema.field(0).with_metadata({b"GDAL:OGR:width": b"12"}))
    write_batches(tmp_path / "width.shp", schema, layer.to_batches())
    assert read(tmp_path / "width.shp")["area"].to_pylist() == [2320.7]


def test_a_shapefile_refuses_a_collection(tmp_path):
    """What a Shapefile cannot hold is refused with its type and number, and nothing is left behind."""
    collection = shapely.GeometryCollection([shapely.Point(*ORIGIN)])
    with pytest.raises(ExportError, match=r"1 features are of type GeometryCollection"):
        write(tmp_path / "mixed.shp", table([collection]))
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_suffix_is_refused(parcels, tmp_path):
    """A format that is not written is answered with those that are."""
    with pytest.raises(ExportError, match=r"\.xyz.*\.gpkg"):
        write(tmp_path / "parcels.xyz", parcels)


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "tab", "parquet", "csv"])
def test_a_failure_leaves_the_old_layer_and_nothing_else(suffix, tmp_path):
    """An error of the source half-way through is shown as it is, and what was there before stays."""
    layer = table([square(), square(20)], ref=["a", "b"])
    write(tmp_path / f"out.{suffix}", layer)
    before = folder_bytes(tmp_path)

    def broken():
        yield from layer.to_batches()
        raise SourceError("the source broke")

    with pytest.raises(SourceError, match="the source broke"):
        write_batches(tmp_path / f"out.{suffix}", layer.schema, broken())
    assert folder_bytes(tmp_path) == before


def test_writing_again_leaves_no_side_file_of_the_old_layer(parcels, tmp_path):
    """A spatial index of the layer that was replaced would find the wrong features."""
    write(tmp_path / "parcels.shp", parcels)
    (tmp_path / "parcels.qix").write_bytes(b"old index")
    write(tmp_path / "parcels.shp", parcels)
    assert not (tmp_path / "parcels.qix").exists()


# --- CSV and Excel ---------------------------------------------------------------------------------------------


def test_csv_comes_back_byte_for_byte(tmp_path):
    """BOM, CRLF, leading zeros, spaces and quoted text survive when nothing moves."""
    content = '\ufeffUPRN,EASTING,NORTHING,NOTE\r\n00012,358514.8,161234.50,"a, ""b"""\r\n13,,161000, x \r\n'
    (tmp_path / "in.csv").write_bytes(content.encode())
    layer = read(tmp_path / "in.csv")
    assert layer["UPRN"].to_pylist() == ["00012", "13"]
    assert layer[GEOMETRY].to_pylist()[1] is None
    write(tmp_path / "out.csv", layer)
    assert (tmp_path / "out.csv").read_bytes() == content.encode()


def test_a_moved_point_is_written_where_it_was_read(tmp_path):
    """The new coordinates stand in the columns of the old ones, with their decimal comma; the rest is untouched."""
    (tmp_path / "in.csv").write_text("REF;E;N\n1;358514,8;161234,5\n2;n/a;161234,5\n")
    layer = read(tmp_path / "in.csv", easting_column="E", northing_column="N")
    moved = pa.array([shapely.to_wkb(shapely.Point(358516.25, 161234.5)), None], pa.binary())
    layer = layer.set_column(layer.schema.get_field_index(GEOMETRY), layer.schema.field(GEOMETRY), moved)
    write(tmp_path / "out.csv", layer)
    assert (tmp_path / "out.csv").read_text() == "REF;E;N\n1;358516,250;161234,5\n2;n/a;161234,5\n"


def test_a_csv_of_wkt_is_read_and_written(tmp_path):
    """WKT in a column becomes geometry and goes back; text that is no WKT is a row without geometry."""
    (tmp_path / "in.csv").write_text(
        'ref,WKT\n1,"POLYGON ((0 0, 0 1, 1 1, 0 0))"\n2,unknown\n3,SRID=27700;POINT (1 2)\n'
    )
    layer = read(tmp_path / "in.csv")
    assert [shape and shape.geom_type for shape in shapes(layer)] == ["Polygon", None, "Point"]
    write(tmp_path / "out.csv", layer)
    assert (tmp_path / "out.csv").read_text() == (tmp_path / "in.csv").read_text()


def test_a_csv_without_coordinates_names_its_columns_and_the_settings(tmp_path):
    """The sentence says what was found and which settings help."""
    (tmp_path / "in.csv").write_text("ref,place\n1,here\n")
    with pytest.raises(SourceError, match=r"ref, place.*easting_column"):
        read(tmp_path / "in.csv")


def test_a_ragged_csv_is_refused_with_its_row(tmp_path):
    """A row with a comma too many is named, not dropped."""
    (tmp_path / "in.csv").write_text("ref,easting,northing\n1,358000,161000\n2,358000,161000,9\n")
    with pytest.raises(SourceError, match=r"Row #3"):
        read(tmp_path / "in.csv")


def test_a_csv_in_windows_western_says_so():
    """Text that is not UTF-8 is read as cp1252; plain ASCII needs no remark."""
    assert [encoding_of([text]) for text in (b"plain", "é".encode(), b"\xe9")] == [None, "utf-8", "cp1252"]
    assert encoding_of([b"\xc3", b"\xa9"]) == "utf-8"  # a character cut in two by the chunks


def test_columns_of_one_name_are_told_apart(tmp_path):
    """Two columns called note stay two columns."""
    (tmp_path / "in.csv").write_text("note,note,easting,northing\na,b,358000,161000\n")
    assert read(tmp_path / "in.csv").column_names[:2] == ["note", "note_2"]


def test_excel_is_read_as_text_with_its_places(tmp_path):
    """Numbers, dates and leading zeros of a sheet come as the text an officer sees."""
    import datetime

    import openpyxl

    book = openpyxl.Workbook()
    for row in (
        ["ref", "Easting", "Northing", "on"],
        ["007", 358514.88, 161234, datetime.date(2004, 7, 1)],
        ["8", None, 1, 2],
    ):
        book.active.append(row)
    book.save(tmp_path / "points.xlsx")
    layer = read(tmp_path / "points.xlsx")
    assert layer["ref"].to_pylist() == ["007", "8"]
    assert layer["on"].to_pylist()[0].startswith("2004-07-01")
    assert shapely.get_coordinates(shapes(layer)).tolist() == [[358514.88, 161234.0]]
    assert layer[GEOMETRY].null_count == 1


def test_numbers_are_read_only_where_they_are_plain():
    """Thousands separators are taken out, a decimal comma only where it is announced, anything else is no number."""
    text = pa.array(["358514.88", " 358,514.88 ", "358514,88", "3.5e5", "SK123", "1 2", "-", "12,34,567", "nan", "inf"])
    assert np.isfinite(numbers_from_text(text)).tolist() == [True, True, False, True] + [False] * 6
    assert numbers_from_text(pa.array(["358514,88"]), decimal_comma=True).tolist() == [358514.88]
    assert points_from_text(pa.array(["1", None]), pa.array(["2", "3"])).null_count == 1
    assert shapes_from_wkt(pa.array(["POINT (1 2)", "POINT (1", None])).null_count == 2


# --- what is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["/vsicurl/http://x/a.gpkg", "https://x/a.geojson", "PG:dbname=x", "WFS:http://x"])
def test_addresses_are_refused(address):
    """Only files are read, never an address that GDAL would fetch."""
    with pytest.raises(SourceError, match="address"):
        inspect(address)


def test_a_virtual_layer_in_disguise_is_refused(tmp_path):
    """A VRT can read any file or address; a suffix that is allowed does not let it in."""
    layer = '<OGRVRTLayer name="a"><SrcDataSource>/etc/passwd</SrcDataSource></OGRVRTLayer>'
    vrt = f"<OGRVRTDataSource>{layer}</OGRVRTDataSource>"
    for suffix in ("vrt", "gml", "shp", "geojson", "csv", "gpkg", "tab", "dxf"):
        (tmp_path / f"a.{suffix}").write_text(vrt)
        with pytest.raises(SourceError):
            inspect(tmp_path / f"a.{suffix}")


def test_a_missing_file_and_a_missing_layer_are_named(parcels, tmp_path):
    """The sentence has the path, and the layers there are."""
    with pytest.raises(SourceError, match=r"nowhere\.gpkg does not exist"):
        inspect(tmp_path / "nowhere.gpkg")
    write(tmp_path / "parcels.gpkg", parcels)
    with pytest.raises(SourceError, match=r"no layer 'x'.*parcels"):
        inspect(tmp_path / "parcels.gpkg", layer="x")


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "geojson", "parquet", "fgb", "gml", "mif"])
@pytest.mark.parametrize("share", [0.4, 0.75, 0.95])
def test_a_file_cut_short_is_refused(suffix, share, tmp_path):
    """A silently shortened layer is the worst that can happen: no format lets one pass."""
    path = tmp_path / f"many.{suffix}"
    write(path, table([square(10 * row) for row in range(500)], ref=[f"ref {row}" * 5 for row in range(500)]))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(SourceError):
        read(path)


@pytest.mark.parametrize("part", ["map", "dat", "id"])
def test_a_tab_with_a_part_cut_short_is_refused(part, tmp_path):
    """Each file of a MapInfo table is needed whole."""
    write(tmp_path / "many.tab", table([square(10 * row) for row in range(500)], ref=[f"{row}" for row in range(500)]))
    path = tmp_path / f"many.{part}"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SourceError):
        read(tmp_path / "many.tab")


def test_a_shapefile_without_its_index_is_refused(parcels, tmp_path):
    """GDAL would offer to write a new .shx beside the source."""
    write(tmp_path / "parcels.shp", parcels)
    (tmp_path / "parcels.shx").unlink()
    with pytest.raises(SourceError, match=r"\.shx"):
        read(tmp_path / "parcels.shp")


def test_a_zip_is_read_in_place(parcels, tmp_path):
    """A name with a space inside a zip is found; two layers in one zip must be told apart."""
    write(tmp_path / "my parcels.shp", parcels)
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
        for file in tmp_path.glob("my parcels.*"):
            archive.write(file, f"sub folder/{file.name}")
    assert read(tmp_path / "one.zip").num_rows == 5
    with zipfile.ZipFile(tmp_path / "one.zip", "a") as archive:
        for file in tmp_path.glob("my parcels.*"):
            archive.write(file, f"other{file.suffix}")
    with pytest.raises(SourceError, match="source_layer"):
        read(tmp_path / "one.zip")
    assert read(tmp_path / "one.zip", layer="other").num_rows == 5


def test_type_codes_are_read_from_either_byte_order():
    """Big-endian, ISO and the older EWKB marks give the same codes; a slice is read where it lies."""
    big = struct.pack(">BIddd", 0, 1001, 1.0, 2.0, 3.0)
    old = struct.pack("<BIddd", 1, 0x80000001, 1.0, 2.0, 3.0)
    column = pa.array([b"\x01\x01\x00\x00\x00" + b"\0" * 16, big, old, None], pa.binary())
    assert type_codes(column).tolist() == [1, 1001, 1001, -1]
    assert type_codes(column.slice(1, 2)).tolist() == [1001, 1001]
    assert type_codes(column.slice(4)).tolist() == []


_ordinate = st.floats(100_000, 600_000, allow_nan=False).map(lambda value: round(value, 3))
_points = st.tuples(_ordinate, _ordinate).map(shapely.Point)
_lines = st.lists(st.tuples(_ordinate, _ordinate, _ordinate), min_size=2, max_size=6).map(shapely.LineString)
_polygons = st.tuples(_ordinate, _ordinate, st.floats(1, 500)).map(
    lambda each: shapely.Point(*each[:2]).buffer(each[2], 2)
)
_geometries = st.lists(st.one_of(_points, _lines, _polygons, st.none()), min_size=1, max_size=12)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(geometries=_geometries, data=st.data())
def test_any_mix_survives_the_whole_formats(geometries, data, tmp_path):
    """Whatever is mixed, GeoPackage and GeoParquet give it back byte for byte, in order."""
    texts = data.draw(
        st.lists(
            st.one_of(st.none(), st.text(st.characters(codec="utf-8", exclude_characters="\0"))),
            min_size=len(geometries),
            max_size=len(geometries),
        )
    )
    layer = table(geometries, text=pa.array(texts, pa.string()))
    for suffix in ("gpkg", "parquet"):
        write(tmp_path / f"any.{suffix}", layer)
        back = read(tmp_path / f"any.{suffix}").select(layer.column_names)
        assert back.to_pydict() == layer.to_pydict()


def test_every_answer_is_ours():
    """The two errors a caller meets are sentences for the user."""
    assert issubclass(SourceError, PostPaiError) and issubclass(ExportError, PostPaiError)


def arc(*places, code=8):
    numbers = [ordinate for place in places for ordinate in place]
    return struct.pack(f"<BII{len(numbers)}d", 1, code, len(places), *numbers)


ARC = arc((358_000.0, 161_000.0), (358_050.0, 161_050.0), (358_100.0, 161_000.0))


@pytest.mark.parametrize("suffix", [*SPATIAL, "csv"])
@pytest.mark.parametrize(
    ("geometries", "kept_by", "said"),
    [
        ([ARC], "gpkg parquet fgb gml gdb", "curves are written as lines"),
        (["LINESTRING M (358000 161000 7, 358100 161000 8)"], "gpkg shp parquet fgb gdb csv", "measures (M)"),
        (["LINESTRING Z (358000 161000 7, 358100 161000 8)"], "gpkg shp geojson parquet fgb gml gdb csv", "(Z)"),
        (
            ["LINESTRING EMPTY", "LINESTRING (358000 161000, 358100 161000)"],
            "gpkg geojson parquet csv",
            "become missing",
        ),
        (
            ["LINESTRING (358000 161000, 358100 161000)", "LINESTRING Z (358000 161000 7, 358100 161000 8)"],
            "gpkg geojson parquet csv",
            "(Z)",
        ),
    ],
    ids=["curve", "m", "z", "empty", "some_z"],
)
def test_what_a_format_makes_of_geometries_is_said(suffix, geometries, kept_by, said, tmp_path):
    wkb = [
        each if isinstance(each, bytes) else shapely.to_wkb(shapely.from_wkt(each), flavor="iso", output_dimension=4)
        for each in geometries
    ]
    schema = pa.schema([pa.field("ref", pa.int64()), geometry_field(Origin())])
    layer = pa.Table.from_arrays([pa.array(range(len(wkb)), pa.int64()), pa.array(wkb, pa.binary())], schema=schema)
    if (suffix == "csv" and geometries == [ARC]) or (suffix == "gml" and said == "(Z)" and len(wkb) > 1):
        with pytest.raises(ExportError, match=r"true curves|only some features have heights"):
            write(tmp_path / f"layer.{suffix}", layer)
        return
    notes = write(tmp_path / f"layer.{suffix}", layer).notes
    if suffix in kept_by.split():
        assert not any(said in note for note in notes)
        expected = {code % 1000 if suffix != "gdb" else None for code in type_codes(layer[GEOMETRY].combine_chunks())}
        found = read(tmp_path / f"layer.{suffix}")[GEOMETRY].combine_chunks()
        assert suffix == "gdb" or {code % 1000 for code in type_codes(found)} == expected
        assert [code // 1000 for code in type_codes(found)] == [each // 1000 for each in type_codes(pa.array(wkb))]
    else:
        assert any(said in note for note in notes), notes


@pytest.mark.parametrize("suffix", ["tab", "mif"])
def test_a_collection_is_refused_where_it_would_become_several_features(suffix, tmp_path):
    layer = table(
        [shapely.from_wkt("GEOMETRYCOLLECTION (POINT (358000 161000), LINESTRING (358000 161000, 358001 161000))")]
    )
    with pytest.raises(ExportError, match="1 features are geometry collections"):
        write(tmp_path / f"layer.{suffix}", layer)


def test_a_mif_of_one_column_with_an_empty_row_is_whole(tmp_path):
    write(tmp_path / "layer.mif", table([square(), square(10)], ref=[None, 1]))
    assert read(tmp_path / "layer.mif").num_rows == 2


def test_a_gml_with_a_geometry_that_cannot_be_read_is_refused_and_not_cut_off_there(tmp_path):
    path = tmp_path / "layer.gml"
    write(path, table([square(), square(10), square(20)], ref=[1, 2, 3]))
    text = path.read_text(encoding="utf-8")
    at = text.rindex("<gml:posList>") + len("<gml:posList>")
    path.write_text(text[:at] + "358000 161000 7" + text[text.index("</gml:posList>", at) :], encoding="utf-8")
    with pytest.raises(SourceError, match=r"says it holds 3 features but [0-2] can be read"):
        read(path)


def test_a_batch_of_a_dense_layer_has_fewer_features(tmp_path):
    """Memory stays flat however many vertices a feature has."""
    circle = shapely.Point(ORIGIN).buffer(100.0, quad_segs=5000)
    write(tmp_path / "dense.gpkg", table([circle] * 3, ref=["a", "b", "c"]))
    write(tmp_path / "plain.gpkg", table([square()] * 3, ref=["a", "b", "c"]))
    write(tmp_path / "empty.gpkg", table([], ref=pa.array([], pa.string())))
    dense, plain, empty = (rows_at_once(tmp_path / f"{name}.gpkg") for name in ("dense", "plain", "empty"))
    assert dense * len(circle.wkb) <= BATCH_BYTES < 2 * dense * len(circle.wkb)
    assert plain == empty == MOST_ROWS


def test_a_file_geodatabase_is_for_older_readers_too_where_its_columns_allow_it(parcels, tmp_path):
    """Columns of 64 bits that hold small numbers are no reason to shut out readers from before ArcGIS Pro 3.2."""
    small = parcels.append_column(pa.field("id", pa.int64()), pa.array([1, 2, 3, 4, 5]))
    small = small.select([name for name in small.column_names if name != GEOMETRY] + [GEOMETRY])
    assert not any("ArcGIS Pro" in note for note in write(tmp_path / "small.gdb", small).notes)
    assert read(tmp_path / "small.gdb")["id"].to_pylist() == [1, 2, 3, 4, 5]
    large = small.set_column(small.column_names.index("id"), "id", pa.array([1, 2, 3, 4, 1 << 60]))
    assert any("id: dates" in note for note in write(tmp_path / "large.gdb", large).notes)
    assert read(tmp_path / "large.gdb")["id"].to_pylist() == [1, 2, 3, 4, 1 << 60]

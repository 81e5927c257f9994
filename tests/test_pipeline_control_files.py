"""Control files are told apart by content, and no bad row stops a good one."""

from pathlib import Path

import fiona
import numpy as np
import pytest

from pipeline.control_input.files import ROW_REASONS, find_control_files, read_control_file
from pipeline.control_input.tile_names import tile_extent
from transforms.errors import SourceError

OLD_NEW = [457224.20, 221147.60, 457223.39, 221146.11]
LINK = "457224.20,0221147.60,457223.39,0221146.11,0030"


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (LINK + "\n", "os_link"),
        ("old_easting,old_northing,new_easting,new_northing\n457224.2,221147.6,457223.39,221146.11\n", "csv"),
        ("new_northing,id,old_easting,new_easting,old_northing\n221146.11,A,457224.2,457223.39,221147.6\n", "csv"),
        ("old_easting;old_northing;new_easting;new_northing\r\n457224,20;221147,60;457223,39;221146,11\r\n", "csv"),
        (
            "mapX,mapY,sourceX,sourceY,enable,dX,dY,residual\n457223.39,221146.11,457224.2,221147.6,1,0,0,0\n",
            "qgis_points",
        ),
        (
            '#CRS: PROJCRS["OSGB36 / British National Grid"]\nmapX,mapY,pixelX,pixelY,enable\n'
            "457223.39,221146.11,457224.2,221147.6,1\n",
            "qgis_points",
        ),
        ("457224.20\t221147.60\t457223.39\t221146.11\n", "esri_link"),
        ("1 457224.20 221147.60 457223.39 221146.11\n2 457324.20 221147.60 457323.39 221146.11\n", "esri_link"),
        ("X Source\tY Source\tX Map\tY Map\n457224.20\t221147.60\t457223.39\t221146.11\n", "esri_link"),
    ],
)
def test_every_text_form_gives_the_same_places(tmp_path: Path, text: str, form: str) -> None:
    """The published link record, written in each program's form, reads as the same old and new place."""
    rows = read_control_file(write(tmp_path / "anything.dat_", text))
    assert rows.form == form
    assert rows.reason[0] == ""
    np.testing.assert_array_equal(rows.places[0], OLD_NEW)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_are_no_data(tmp_path: Path, encoding: str) -> None:
    """A byte order mark neither hides the header nor spoils the first number."""
    text = "old_easting,old_northing,new_easting,new_northing,code\n1000,2000,1001,2001,0030\n"
    rows = read_control_file(write(tmp_path / "bom.csv", text, encoding))
    assert rows.places.tolist() == [[1000, 2000, 1001, 2001]]
    assert rows.code.tolist() == ["0030"]


def test_code_stays_text(tmp_path: Path) -> None:
    """Land-Line code 0030 is not the number 30."""
    assert read_control_file(write(tmp_path / "SP5721.csv", LINK)).code.tolist() == ["0030"]


def test_bad_rows_are_named_and_good_ones_kept(tmp_path: Path) -> None:
    """Each fault has its line and reason; blank lines, trailing commas and CRLF are no faults."""
    lines = [LINK, "", LINK + ",", "457224.20,0221147.60,457223.39", LINK.replace("0221147.60", "oops")]
    lines += [LINK + ",,extra", LINK.replace("457224.20", "nan"), LINK.replace("457223.39", "94572233.39")]
    rows = read_control_file(write(tmp_path / "odd.csv", "\r\n".join([*lines, LINK]) + "\r\n"))
    found = dict(zip(rows.row.tolist(), rows.reason.tolist(), strict=True))
    assert found == {
        1: "",
        3: "",
        4: "too_few_fields",
        5: "not_a_number",
        6: "too_many_fields",
        7: "not_a_number",
        8: "outside_great_britain",
        9: "",
    }
    assert rows.blank_lines == 1
    assert set(found.values()) - {""} <= set(ROW_REASONS)


def test_a_net_of_another_country_is_not_refused(tmp_path: Path) -> None:
    """Outside Great Britain is a fault of single rows, not of a whole net elsewhere."""
    rows = read_control_file(write(tmp_path / "fi.csv", "3332812.1 6675112.2 3332811.1 6675113.2\n" * 3))
    assert (rows.reason == "").all()


def test_degrees_are_refused(tmp_path: Path) -> None:
    """Longitude and latitude are no control in metres, in either order."""
    rows = read_control_file(write(tmp_path / "deg.csv", "-2.1,52.3,-2.1,52.3,\n52.3,-2.1,52.3,-2.1,\n"))
    assert rows.reason.tolist() == ["in_degrees", "in_degrees"]


def test_qgis_switched_off_points_are_not_used(tmp_path: Path) -> None:
    """A point with enable = 0 is listed, not used."""
    text = "mapX,mapY,sourceX,sourceY,enable\n400000,300000,400001,300001,1\n400100,300000,400101,300001,0\n"
    assert read_control_file(write(tmp_path / "a.points", text)).reason.tolist() == ["", "switched_off"]


def test_qgis_image_points_are_refused(tmp_path: Path) -> None:
    """Pixels of a scan are not places on the old map."""
    text = "mapX,mapY,pixelX,pixelY,enable\n400000,300000,120.5,-300.25,1\n400100,300000,220.5,-310,1\n"
    assert read_control_file(write(tmp_path / "scan.points", text)).reason.tolist() == ["image_row"] * 2


@pytest.mark.parametrize(
    ("driver", "name"), [("GPKG", "l.gpkg"), ("ESRI Shapefile", "l.shp"), ("MapInfo File", "l.tab")]
)
def test_lines_run_from_old_to_new(tmp_path: Path, driver: str, name: str) -> None:
    """A layer of two-point lines is control; a longer line is listed; the folder stays as it was."""
    schema = {"geometry": "LineString", "properties": {"code": "str:8", "accuracy_m": "float"}}
    shapes = [[(400000, 300000), (400001, 300002)], [(400000, 300000), (400001, 300002), (400002, 300002)]]
    with fiona.open(tmp_path / name, "w", driver=driver, schema=schema, crs="EPSG:27700") as layer:
        for shape in shapes:
            geometry = {"type": "LineString", "coordinates": shape}
            layer.write({"geometry": geometry, "properties": {"code": "0030", "accuracy_m": 0.4}})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    rows = read_control_file(tmp_path / name)
    assert rows.form == "line_layer"
    assert rows.reason.tolist() == ["", "not_two_points"]
    np.testing.assert_allclose(rows.places[0], [400000, 300000, 400001, 300002], atol=0.011)
    assert rows.accuracy_m[0] == pytest.approx(0.4)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"Dear sirs,\nplease find the link files enclosed.\n", "no line holds"),
        (b"id,e1,n1,e2,n2\n1,400000,300000,400001,300001\n", "header"),
        (b"\x01\x02\x00\x03" * 50, "neither text"),
        (b"SQLite format 3\0 and then nothing", "cannot be read"),
    ],
)
def test_a_file_that_is_no_control_gets_a_sentence(tmp_path: Path, content: bytes, word: str) -> None:
    """The sentence names the file and what is wrong with it."""
    path = tmp_path / "letter.csv"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=word) as caught:
        read_control_file(path)
    assert "letter.csv" in str(caught.value)


def test_folders_are_searched_and_side_files_passed_over(tmp_path: Path) -> None:
    """Files come in name order, each once; .dbf and hidden files are not control."""
    (tmp_path / "tiles").mkdir()
    for name in ("tiles/b.CSV", "tiles/a.csv", "c.shp", "c.dbf", ".hidden"):
        write(tmp_path / name, LINK)
    names = [path.name for path in find_control_files([tmp_path, tmp_path / "c.shp"])]
    assert names == ["c.shp", "a.csv", "b.CSV"]


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    """A path that is not there is an error that names it."""
    with pytest.raises(SourceError, match=r"gone\.csv does not exist"):
        find_control_files([tmp_path / "gone.csv"])


@pytest.mark.parametrize(
    ("name", "extent"),
    [
        ("SK0472SE", (404500, 372000, 405000, 372500)),
        ("SK0474.csv", (404000, 374000, 405000, 375000)),
        ("sk07sw.CSV", (400000, 370000, 405000, 375000)),
        ("links_SP5721_v2.csv", (457000, 221000, 458000, 222000)),
        ("HU4741.csv", (447000, 1141000, 448000, 1142000)),
        ("SV9010.csv", (90000, 10000, 91000, 11000)),
        ("TASK0474X.csv", None),
        ("control.csv", None),
    ],
)
def test_tile_names_are_rectangles(name: str, extent: tuple[float, ...] | None) -> None:
    """National Grid letters and digits, checked against well-known places (Lerwick, St Mary's, Bicester)."""
    assert tile_extent(name) == extent


def test_chew_valley_reads_whole(shared_data: Path) -> None:
    """168 link files with blank lines, CRLF and trailing commas: no row is lost, none refused."""
    files = find_control_files([shared_data / "chew_valley" / "control"])
    rows = [read_control_file(path) for path in files]
    assert len(files) == 168
    assert sum(map(len, rows)) == 17617
    assert not any((each.reason != "").any() for each in rows)

"""Arcs and texts of drawing programs are counted and said, and the words of texts are kept."""

import pytest

from pipeline.formats import open_batches, write_batches
from pipeline.formats.drawn import Drawn, drawn
from pipeline.formats.recognise import recognise

MIF = """Version 300
Charset "WindowsLatin1"
Delimiter ","
CoordSys Earth Projection 8, 79, "m", -2, 49, 0.9996012717, 400000, -100000 Bounds (0, 0) (2000000, 2000000)
Columns 2
  TEXT Char(20)
  ARC Integer
Data

Arc 400000 320000 400100 320100 0 90
    Pen (1,2,0)
Ellipse 400200 320000 400300 320080
    Pen (1,2,0)
    Brush (2,16777215,16777215)
Text
    "Mill, a:1"
    400700 320000 400780 320020
    Font ("Arial",0,0,0)
    Angle 30
Point 400800 320000
"""
MID = '"text",1\n"arc",2\n"ellipse",3\n"point",4\n'


@pytest.fixture
def mif(tmp_path):
    (tmp_path / "drawn.mif").write_text(MIF, encoding="cp1252")
    (tmp_path / "drawn.mid").write_text(MID, encoding="cp1252")
    return tmp_path / "drawn.mif"


def rows(path):
    with open_batches(path) as stream:
        return stream.info, [
            row for batch in stream.batches for row in batch.drop_columns(["pai_geometry"]).to_pylist()
        ]


def test_arcs_and_texts_of_mif_are_counted_and_not_the_columns_of_those_names(mif):
    assert drawn(recognise(mif)) == Drawn(arcs=2, texts=1)
    info, _ = rows(mif)
    assert info.findings[0] == "2 arcs, ellipses or rounded corners are read as lines of short segments."
    assert info.findings[1].startswith("1 texts are read as points")


def test_the_words_of_a_text_and_its_angle_become_columns_behind_those_of_the_source(mif):
    _, found = rows(mif)
    assert list(found[0]) == ["TEXT", "ARC", "label_text", "label_angle_deg"]
    assert [(row["label_text"], row["label_angle_deg"]) for row in found] == [
        (None, None),
        (None, None),
        ("Mill, a:1", 30.0),
        (None, None),
    ]


def test_a_layer_without_texts_has_its_own_columns_only(mif, tmp_path):
    with open_batches(mif) as stream:
        write_batches(tmp_path / "plain.tab", stream.schema, stream.batches)
    info, found = rows(tmp_path / "plain.tab")
    assert info.findings == () and list(found[0]) == ["TEXT", "ARC", "label_text", "label_angle_deg"]
    assert found[2]["label_text"] == "Mill, a:1" and found[2]["label_angle_deg"] == 30.0


def test_objects_are_counted_in_the_blocks_of_a_map_file_and_in_dxf(shared_data):
    counted = {
        name: drawn(recognise(shared_data / "hostile" / "gdal" / name))
        for name in ("mitab/all_geoms.tab", "mitab/all_geoms.mif", "dxf/circle.dxf", "dxf/text.dxf")
    }
    assert list(counted.values()) == [Drawn(4, 1), Drawn(4, 1), Drawn(2, 0), Drawn(0, 1)]

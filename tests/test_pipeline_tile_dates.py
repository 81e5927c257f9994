"""The table of tiles and days: which day holds where, and what a bad table is answered."""

import numpy as np
import pytest
import shapely

from pipeline.captures import read_evidence
from pipeline.storage import Migration
from pipeline.tile_dates import NEVER, read_tile_dates
from qa.origin import DATED_AFTER, DATED_BEFORE, UNDATED
from transforms.errors import SettingsError

SETTINGS = """
title: t
control: {files: [sources/c]}
base_maps: {new_map_loaded_on: 2005-06-01, tile_dates: sources/tiles.csv}
layers: [{name: a, file: sources/a.gpkg}]
"""
ELSEWHERE = np.datetime64("2005-06-01")


def tiles(tmp_path, text):
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "tiles.csv").write_text(text, encoding="utf-8")
    (tmp_path / "migration.yaml").write_text(SETTINGS, encoding="utf-8")
    return read_tile_dates(Migration.open(tmp_path))


def points(*places):
    return np.array([shapely.Point(place) for place in places], dtype=object)


def test_the_smallest_tile_counts_and_the_common_day_holds_elsewhere(tmp_path):
    table = tiles(tmp_path, "tile,date\nSK0474NE,01/02/2004\nSK07SW,2003-05-06\nSK0473,\n")
    places = points((404700, 374700), (404200, 374200), (404500, 373500), (414500, 373500))
    first, last, unchanged = table.about(places, ELSEWHERE)
    assert list(first) == list(last)
    assert [str(day) for day in first] == ["2004-02-01", "2003-05-06", str(NEVER), "2005-06-01"]
    assert list(unchanged) == [False, False, True, False]


def test_between_the_days_of_two_tiles_a_date_tells_nothing(tmp_path):
    import pyarrow as pa

    table = tiles(tmp_path, "tile,date\nSK0474,2003-01-01\nSK0574,2004-01-01\n")
    across = np.array([shapely.box(404900, 374100, 405100, 374200)] * 3, dtype=object)
    settings = Migration.open(tmp_path).settings
    layer = settings.layers[0].model_copy(update={"captured_column": "D"})
    columns = pa.table({"D": ["2002-05-05", "2003-05-05", "2004-05-05"]})
    evidence = read_evidence(columns, layer, settings, table, across)
    dated = evidence.dated(3)
    assert dated[0] == DATED_BEFORE
    assert dated[2] == DATED_AFTER
    assert dated[1] not in (DATED_BEFORE, DATED_AFTER, UNDATED)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tile,day\nSK0474,2003-01-01\n", "columns tile and date"),
        ("tile,date\n", "at least one row"),
        ("tile,date\nBurton,2003-01-01\n", "line 2: 'Burton' is no tile name"),
        ("tile,date\nSK0474,2003-01-01\nSK0475,soon\n", "line 3: 'soon' is no date"),
        ("tile,date\nSK0475,2003-01-01\nSK0474,2003-01-01\nSK0475,\n", "line 2: a later line gives the same tile"),
    ],
)
def test_a_bad_table_is_answered_with_its_line(tmp_path, text, said):
    with pytest.raises(SettingsError, match=said):
        tiles(tmp_path, text)


def test_without_a_table_there_is_none(tmp_path):
    (tmp_path / "migration.yaml").write_text(SETTINGS.replace(", tile_dates: sources/tiles.csv", ""), encoding="utf-8")
    assert read_tile_dates(Migration.open(tmp_path)) is None

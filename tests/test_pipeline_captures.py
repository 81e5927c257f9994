"""Capture columns as officers typed them."""

import datetime

import numpy as np
import pyarrow as pa
import pytest

from pipeline.captures import read_evidence, unread_texts
from pipeline.settings import LayerSettings, Settings
from qa.origin import DATED_AFTER, DATED_BEFORE, NOTHING_SAID
from transforms.errors import SettingsError

SETTINGS = Settings.model_validate(
    {
        "title": "t",
        "control": {"files": ["c"]},
        "base_maps": {"new_map_loaded_on": "2005-06-01"},
        "layers": [{"name": "a", "file": "a"}],
    }
)


def evidence(columns, **settings):
    return read_evidence(pa.table(columns), LayerSettings(name="a", file="a", **settings), SETTINGS)


@pytest.mark.parametrize(
    "typed",
    [
        *("2004-03-02", "02/03/2004", "2 March 2004", "20040302", 20040302, 20040302.0, datetime.date(2004, 3, 2)),
        *("2004-03-02T10:00:00Z", "2004-03-02 10:00:00.000", "02/03/2004 00:00", "02/03/2004 10:15:00 PM"),
        *("02/03/04", "2-Mar-04", "02-Mar-2004"),
    ],
)
def test_dates_in_the_usual_forms(typed):
    read = evidence({"D": [typed]}, captured_column="D").captured_on
    assert read[0] == np.datetime64("2004-03-02")


def test_an_unreadable_or_missing_date_is_unknown_not_guessed():
    assert np.isnat(evidence({"D": ["", None, "unknown", "31/02/2004"]}, captured_column="D").captured_on).all()


def test_the_first_day_of_a_calendar_and_a_day_to_come_are_no_dates():
    days = ["1899-12-30", "01/01/1900", "1970-01-01 00:00:00", "2999-12-31", "05/06/65", "1900-01-02"]
    assert np.isnat(evidence({"D": days}, captured_column="D").captured_on).tolist() == [True] * 5 + [False]


def test_what_cannot_be_read_as_a_past_date_is_told():
    layer = LayerSettings(name="a", file="a")
    days = ["", None, float("nan"), " ", "03/15/2004", "3/4/2004", "2999-12-31", 38000.0, "1900-01-01", "n/a"]
    assert unread_texts(days, layer) == ["03/15/2004", "2999-12-31", "38000", "n/a"]
    month_first = LayerSettings(name="a", file="a", captured_format="%m/%d/%Y")
    assert unread_texts(["03/15/2004", "15/03/2004"], month_first) == ["15/03/2004"]


def test_a_load_day_dates_nothing_but_what_was_loaded_before_the_new_map_came():
    days = ["2006-03-01", "2006-03-02", "2001-05-05", "2001-05-06"]
    read = evidence({"D": days}, captured_column="D", load_days=["2006-03-01", "2001-05-05"])
    assert np.isnat(read.captured_on).tolist() == [True, False, False, False]
    assert read.dated(4).tolist() == [NOTHING_SAID, DATED_AFTER, DATED_BEFORE, DATED_BEFORE]


def test_a_batch_is_a_year_or_a_day_that_many_are_dated_on():
    days = ["2006-03-01"] * 20 + ["2006-04-01", "2006-05-01", "1999-01-01", None]
    batch = evidence({"D": days}, captured_column="D").batch(24)
    assert len(set(batch[:20])) == 1
    assert batch[20] == batch[21]
    assert len({batch[0], *batch[20:]}) == 4
    assert len(set(evidence({"D": days}).batch(24))) == 1


def test_a_stated_format_is_the_only_one_tried():
    read = evidence({"D": ["03/02/2004", "2004-03-02"]}, captured_column="D", captured_format="%m/%d/%Y").captured_on
    assert read[0] == np.datetime64("2004-03-02")
    assert np.isnat(read[1])


def test_scales_from_their_column_and_from_the_method():
    columns = {
        "S": ["1:10000", "2500", "1:10 000", None, "1:2,500"],
        "M": [None, None, None, "digitised from 1:10000", ""],
    }
    read = evidence(columns, scale_column="S", method_column="M").scale
    np.testing.assert_array_equal(read, [10000, 2500, 10000, 10000, 2500])


def test_the_smaller_of_two_stated_scales_counts():
    columns = {"S": ["1:2500"], "M": ["digitised from 1:10k"]}
    assert evidence(columns, scale_column="S", method_column="M").scale[0] == 10000


def test_ground_methods_are_words_not_parts_of_words():
    columns = {"M": ["GPS survey", "dgps", "Surveyed by GPS", "egps2", None]}
    read = evidence(columns, method_column="M", ground_methods=["GPS"])
    assert read.measured_on_ground(5).tolist() == [True, False, True, False, False]


def test_the_name_of_the_ordnance_survey_on_a_map_is_no_survey_of_the_ground():
    columns = {"M": ["Ordnance Survey Land-Line", "from OS survey sheet", "Survey 1994", "GPS on Ordnance Survey base"]}
    assert evidence(columns, method_column="M").measured_on_ground(4).tolist() == [False, False, True, True]


def test_a_column_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(SettingsError, match=r"captured_column is 'WHEN'.*DATE"):
        evidence({"DATE": [None]}, captured_column="WHEN")

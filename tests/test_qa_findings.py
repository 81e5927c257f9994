"""Which measures count as beyond their limits: the rules that are more than one comparison."""

import numpy as np
import pytest

from qa.findings import findings_of
from qa.limits import limits_in_force

QUIET = {
    "base_map_disagreement_m": 0.1,
    "base_map_error_m": 0.1,
    "base_map_told_ratio": 1.0,
    "new_map_distance_m": 0.0,
    "building": "same",
    "building_offset_change_m": 0.0,
    "line_distance_change_m": 0.0,
    "control_disagreement_m": 0.0,
    "control_distance_m": 20.0,
    "shift_m": 2.5,
    "area_change_ratio": 0.0,
    "distance_change_ratio": 0.0,
    "right_angle_change_deg": 0.0,
    "is_valid_before": True,
    "is_valid_after": True,
    "undecided_area_ratio": 0.0,
    "part_count_before": 1,
    "part_count_after": 1,
    "hole_count_before": 0,
    "hole_count_after": 0,
    "lost_geometry": False,
    "changed_type": False,
    "isolation_m": 10.0,
}


def found(*, moved=True, **measured):
    measures = {name: np.array([value]) for name, value in (QUIET | measured).items()}
    masks = findings_of(measures, np.array([moved]), limits_in_force())
    return {code for code, mask in masks.items() if mask[0]}


def test_a_quiet_feature_has_no_finding():
    assert found() == set()


@pytest.mark.parametrize(
    ("shown", "doubted"),
    [
        ({}, False),
        ({"base_map_told_ratio": 0.9}, True),
        ({"base_map_error_m": 0.6}, True),
        ({"base_map_disagreement_m": 0.6}, True),
        ({"base_map_disagreement_m": np.nan, "base_map_told_ratio": np.nan}, True),
    ],
)
def test_control_that_disagrees_matters_only_where_the_base_map_does_not_settle_it(shown, doubted):
    assert ("control_disagrees" in found(control_disagreement_m=2.0, **shown)) == doubted


def test_what_does_not_move_has_not_changed():
    assert found(moved=False, area_change_ratio=0.5, building="left", shift_m=9.0) == set()


@pytest.mark.parametrize(
    ("word", "code"), [("left", "left_its_building"), ("other", "changed_building"), ("gone", "building_gone")]
)
def test_each_fate_of_a_building_has_its_reason(word, code):
    assert found(building=word) == {code}

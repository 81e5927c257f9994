"""What is suspected first: every reason of a review speaks for one of three causes."""

import numpy as np
import pytest

from qa.doubt import DOUBTS, OF_CAPTURE, OF_CONTROL, OF_GROUND, OFF_WHAT_IT_LAY_ON, doubts
from qa.regime import REASONS as REGIME_REASONS
from qa.triage import REASONS, REMARKS

SAID_OF_THE_LAYER = {"layer_left", "layer_check_only", "shared_edge_parted", "lost_geometry", "type_changed"}
"""Reasons that are no doubt about one feature's place."""


def doubt(*codes, origin=0.0, position=0.0, agrees=True, in_review=True):
    one = (np.array([value]) for value in (in_review, origin, position, agrees))
    return str(doubts([list(codes)], *one)[0])


def test_every_reason_that_sends_a_feature_to_review_is_weighed():
    weighed = OF_CAPTURE | OF_CONTROL | OF_GROUND | OFF_WHAT_IT_LAY_ON
    assert set(REASONS) - set(REGIME_REASONS) - REMARKS - SAID_OF_THE_LAYER - {"uncertain"} <= weighed


@pytest.mark.parametrize("code", sorted(OF_CONTROL | OF_CAPTURE | OF_GROUND | OFF_WHAT_IT_LAY_ON))
def test_each_alone_names_a_doubt_that_has_a_sentence(code):
    assert doubt(code) in DOUBTS
    assert DOUBTS[doubt(code)].endswith(".")


def test_what_is_off_its_line_speaks_against_the_control_only_where_the_map_around_does():
    assert doubt("off_the_new_map", agrees=True) == "ground"
    assert doubt("off_the_new_map", agrees=False) == "control"


def test_of_origin_and_place_the_likelier_to_be_wrong_is_named():
    assert doubt("origin_doubtful", "position_uncertain", origin=0.3, position=0.1) == "capture"
    assert doubt("origin_doubtful", "position_uncertain", origin=0.1, position=0.3) == "control"


def test_where_a_break_forbids_a_move_a_little_doubt_about_the_origin_does_not_hide_it():
    assert doubt("straddling", "origin_doubtful", origin=0.05) == "control"
    assert doubt("straddling", "origin_unknown", origin=0.8) == "capture"


def test_nothing_is_suspected_of_what_needs_no_officer():
    assert doubt("building_gone", in_review=False) == ""

"""Local disagreement of control: nothing where the shift is smooth, the jump at a break."""

import numpy as np

from qa.control_near import control_disagreement_m
from transforms.contract import Control


def control(jump_m):
    before = np.random.default_rng(2).uniform(0, 1000, (400, 2))
    shift = np.where(before[:, :1] < 500, [[2.0, 0.0]], [[2.0 + jump_m, 0.0]])
    return Control(before, before + shift)


def test_inside_one_sheet_control_agrees_and_at_its_edge_it_shows_the_jump():
    apart = control_disagreement_m(np.array([[100.0, 500.0], [500.0, 500.0]]), control(jump_m=2.0))
    assert apart[0] == 0.0
    assert apart[1] > 1.5


def test_one_bad_point_does_not_make_its_neighbours_disagree():
    good = control(jump_m=0.0)
    after = good.after.copy()
    after[0] += 30.0
    assert control_disagreement_m(good.before[:1], Control(good.before, after))[0] < 1e-9


def test_too_little_control_says_nothing():
    few = control(0.0).take(np.arange(2))
    assert np.isnan(control_disagreement_m(np.zeros((1, 2)), few)).all()
    assert len(control_disagreement_m(np.empty((0, 2)), control(0.0))) == 0

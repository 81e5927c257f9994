"""What many features tell together of the map they were drawn on."""

import numpy as np
import pytest

from qa.coincidence import CLASSES, OUTER_CLASSES
from qa.drawn_on import is_disproved, log_odds_of_old

RANDOM = np.random.default_rng(3)


def classes(near, count):
    """Distance classes of ``count`` features of which the nearest line is in one of the classes ``near``."""
    return RANDOM.choice(near, count) * OUTER_CLASSES + RANDOM.integers(0, CLASSES, count)


def odds(near_old, near_new, count=200):
    pushed = classes(range(4, 11), 2000), classes(range(4, 11), 2000)
    return log_odds_of_old(classes(near_old, count), classes(near_new, count), *pushed)


def test_what_lies_alike_on_one_map_and_scattered_on_the_other_was_drawn_on_the_one():
    """Trees a metre from their hedge: none tells of itself, all together do."""
    on_old, on_new = odds([6, 7], range(4, 11)), odds(range(4, 11), [6, 7])
    assert on_old.sum() > 20 > -20 > on_new.sum()
    assert np.abs(on_old).max() <= 2.0


def test_what_stands_anywhere_tells_nothing():
    assert abs(odds(range(4, 11), range(4, 11)).mean()) < 0.1


def places(count):
    return RANDOM.uniform(0, 1000, (count, 2))


def test_a_batch_is_disproved_and_the_other_is_not():
    against, batch = np.repeat([-0.5, 0.5], 60), np.repeat([0, 1], 60)
    assert is_disproved(against, batch, places(120))[60:].all()
    assert is_disproved(against, batch, places(120))[:60].mean() < 0.2


@pytest.mark.parametrize(("count", "expected"), [(4, False), (5, True)])
def test_fewer_than_five_tell_nothing_together(count, expected):
    assert is_disproved(np.full(count, 2.0), np.zeros(count, dtype=int), places(count)).all() == expected
    assert not is_disproved(np.array([]), np.array([], dtype=int), places(0)).any()


def test_neighbours_are_disproved_in_a_batch_that_stands():
    there = places(400)
    is_north = there[:, 1] > 700
    found = is_disproved(np.where(is_north, 0.6, -0.6), np.zeros(400, dtype=int), there)
    assert found[there[:, 1] > 800].all()
    assert not found[there[:, 1] < 600].any()


def test_a_large_group_counts_as_a_hundred():
    """A little against it in thousands of features is what no model has quite right."""
    far = np.column_stack([np.arange(5000.0), np.zeros(5000)])
    assert not is_disproved(np.full(5000, 0.04), np.zeros(5000, dtype=int), far).any()
    assert is_disproved(np.full(5000, 0.06), np.zeros(5000, dtype=int), far).all()


def test_who_is_asked_does_not_vote_for_himself():
    there, against = places(21), np.zeros(21)
    against[0] = 10.0
    assert np.flatnonzero(is_disproved(against, np.arange(21), there)).tolist() == list(range(1, 21))

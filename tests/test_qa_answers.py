"""What lies in what and on which side: every answer that changes is found, and no other."""

import numpy as np
import shapely
from test_qa_following import OLD, base_maps

from qa.answers import changed_answers, changed_sides
from qa.old_lines import OldLines

PARCELS = shapely.box([0, 10], [0, 0], [10, 20], [10, 10])


def test_a_point_that_changes_its_parcel_changes_two_answers():
    before, after = shapely.points([[9.0, 5], [5, 5]]), shapely.points([[11.0, 5], [6, 5]])
    changes = changed_answers(before, after, PARCELS, PARCELS)
    assert (changes.before, changes.after) == (2, 2)
    assert sorted(zip(changes.one.tolist(), changes.other.tolist(), changes.was_in.tolist(), strict=True)) == [
        (0, 0, True),
        (0, 1, False),
    ]


def test_what_moves_together_changes_nothing_and_neighbours_do_not_overlap():
    moved = shapely.transform(PARCELS, lambda xy: xy + np.array([2.0, -1.0]))
    changes = changed_answers(PARCELS, moved, PARCELS, moved)
    assert changes.before == changes.after == 2
    assert not len(changes.one)


def test_a_layer_without_features_has_no_answers():
    nothing = np.empty(0, dtype=object)
    assert changed_answers(nothing, nothing, PARCELS, PARCELS).before == 0


def test_a_path_that_comes_to_lie_beyond_its_hedge_is_found():
    lines = OldLines.of(base_maps())
    place = np.array([[20.0, -1.0]])
    right = place + np.array([2.6, -1.5])
    wrong = right + np.array([0.0, 3.0])
    assert not len(changed_sides(place, right, lines)[0])
    found, segment = changed_sides(place, wrong, lines)
    assert found.tolist() == [0] and lines.owner[segment].tolist() == [0]
    assert len(OLD) == len(lines.state)

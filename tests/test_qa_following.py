"""What edges followed on the old map, and where they go with it on the new one."""

from itertools import pairwise

import numpy as np
import pytest
import shapely
from two_maps import LittleField

from qa.attachment import attach
from qa.base_maps import BaseMaps, Edition
from qa.following import LEAST_TOLERANCE_M, Edges, follow, learn_tolerance_m
from qa.old_lines import CHANGED, GONE, SAME, OldLines

HEDGE, LANE, KERB, FENCE = range(4)
OLD = [
    [(0, 0), (40, 1), (80, 0)],
    [(80, 0), (120, 3), (160, 0), (200, 2)],
    [(0, 50), (30, 51), (60, 50), (100, 51)],
    [(0, 52), (30, 53), (60, 52), (100, 53)],
]
OWN_SHIFT = np.array([[0.4, 0.1], [0.4, 0.1], [-0.3, 0.2], [0.5, -0.2]])
"""What each line moved beyond the shift."""


def base_maps(keep=(HEDGE, LANE, KERB, FENCE)):
    old = np.array([shapely.LineString(line) for line in OLD])
    new = shapely.transform(old, LittleField())
    new = np.array(
        [shapely.transform(line, lambda xy, by=by: xy + by) for line, by in zip(new, OWN_SHIFT, strict=True)]
    )
    ids = np.array([f"osgb{number}" for number in range(len(old))], dtype=object)
    return BaseMaps.of(Edition.of(old, ids), Edition.of(new[list(keep)], ids[list(keep)]))


def edges_of(*drawn):
    """The edges of features given as lists of places."""
    places = np.unique(np.concatenate([np.array(line, dtype=float) for line in drawn]), axis=0)
    row = {tuple(place): number for number, place in enumerate(places.tolist())}
    pairs = [
        (row[tuple(map(float, a))], row[tuple(map(float, b))], feature)
        for feature, line in enumerate(drawn)
        for a, b in pairwise(line)
    ]
    start, end, feature = np.array(pairs).T
    return Edges(places, start, end, feature)


def attached(edges, base, features):
    lines = OldLines.of(base)
    following = follow(edges, lines, LEAST_TOLERANCE_M)
    return following, attach(edges, following, lines, base, LittleField(), features), lines


def image_of(place, following, attachment):
    return attachment.image[np.flatnonzero((following.place == place).all(axis=1))[0]]


def expected(place, line):
    return LittleField()(np.array([place], dtype=float))[0] + OWN_SHIFT[line]


def test_a_chain_is_followed_across_a_junction_and_gets_the_vertices_it_lacks():
    """One council edge from (0, 0) over the hedge and on along the lane: the map's vertices become its own."""
    straight = [[(0, 0), (40, 0), (80, 0)], [(80, 0), (120, 0), (160, 0)]]
    old = np.array([shapely.LineString(line) for line in straight])
    new = shapely.transform(old, lambda xy: xy + np.where(xy[:, :1] == 120, [[2.2, -1.3]], [[2.2, -1.6]]))
    ids = np.array(["a", "b"], dtype=object)
    base = BaseMaps.of(Edition.of(old, ids), Edition.of(new, ids))
    edges = edges_of([(0, 0), (160, 0)])
    following, attachment, _ = attached(edges, base, 1)
    assert attachment.piece_follows.all()
    assert attachment.length_m["attached"].tolist() == [160.0]
    needed = following.place[following.cut[attachment.cut_needed]]
    assert sorted(needed[:, 0].tolist()) == [40, 80, 120]
    assert image_of((120, 0), following, attachment).tolist() == [122.2, -1.3]


def test_kerb_and_fence_two_metres_apart_are_not_confused():
    """Each goes where its own line went, though the shift alone puts the kerb nearer to the new fence's side."""
    edges = edges_of(OLD[KERB], OLD[FENCE])
    following, attachment, lines = attached(edges, base_maps(), 2)
    for line in (KERB, FENCE):
        for place in OLD[line]:
            np.testing.assert_allclose(image_of(place, following, attachment), expected(place, line), atol=1e-9)
    assert set(attachment.owner[edges.start[edges.feature == 0]]) == {KERB}
    assert lines.state.tolist() == [SAME] * 4


def test_a_line_that_is_gone_leaves_its_follower_shifted_and_flagged():
    edges = edges_of(OLD[LANE])
    _, attachment, lines = attached(edges, base_maps(keep=(HEDGE, KERB, FENCE)), 1)
    assert lines.state[LANE] == GONE
    assert attachment.length_m["gone"][0] == pytest.approx(shapely.LineString(OLD[LANE]).length)
    assert not attachment.piece_follows.any()


def test_a_line_that_was_redrawn_is_told_from_one_that_is_gone():
    old = np.array([shapely.LineString(line) for line in OLD])
    new = shapely.transform(old, LittleField())
    new[LANE] = shapely.LineString([*shapely.get_coordinates(new[LANE])[:-1], (230, 40), (260, 0)])
    ids = np.array([f"osgb{number}" for number in range(len(old))], dtype=object)
    base = BaseMaps.of(Edition.of(old, ids), Edition.of(new, ids))
    edges = edges_of(OLD[LANE])
    _, attachment, lines = attached(edges, base, 1)
    assert lines.state[LANE] == CHANGED
    assert attachment.length_m["changed"][0] > 100


def test_an_attachment_the_shift_finds_impossible_is_refused():
    """A line that went 5 m from the shift is no place to go to."""
    old = np.array([shapely.LineString(line) for line in OLD])
    new = shapely.transform(old, LittleField())
    new[LANE] = shapely.transform(new[LANE], lambda xy: xy + np.array([3.0, 4.0]))
    ids = np.array([f"osgb{number}" for number in range(len(old))], dtype=object)
    lines = OldLines.of(base := BaseMaps.of(Edition.of(old, ids), Edition.of(new, ids)))
    edges = edges_of(OLD[LANE][1:])
    following = follow(edges, lines, LEAST_TOLERANCE_M)
    attachment = attach(edges, following, lines, base, LittleField(), 1)
    np.testing.assert_allclose(
        image_of(OLD[LANE][2], following, attachment), LittleField()(np.array([OLD[LANE][2]], float))[0], atol=1.0
    )
    assert not attachment.piece_follows.any()


def test_a_crossing_edge_follows_nothing_and_is_not_cut():
    edges = edges_of([(20, -30), (20, 80)])
    following, attachment, _ = attached(edges, base_maps(), 1)
    assert not len(following.piece)
    assert not attachment.cut_needed.any()


def test_a_place_beside_a_line_keeps_its_offset():
    """One metre from the hedge and far from all else: it goes as the hedge went, to a few centimetres."""
    edges = edges_of([(40, -1), (40, -40)])
    following, attachment, _ = attached(edges, base_maps(), 1)
    np.testing.assert_allclose(image_of((40, -1), following, attachment), expected((40, -1), HEDGE), atol=0.03)


def test_the_tolerance_of_a_layer_is_learned_from_how_it_lies():
    lines = OldLines.of(base_maps())
    exact = np.concatenate([np.array(line, dtype=float) for line in OLD])
    rough = exact + np.random.default_rng(3).normal(0, 0.06, exact.shape)
    assert learn_tolerance_m(exact, lines) == LEAST_TOLERANCE_M
    assert 0.1 <= learn_tolerance_m(rough, lines) <= 0.3

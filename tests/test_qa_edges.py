"""The length of the edges of features, by which it is told whether all of one was attached."""

import numpy as np

from qa.following import Edges


def test_the_length_is_the_sum_of_a_features_edges_and_without_edges_nothing_is_ever_whole():
    place = np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 10.0]])
    edges = Edges(place, np.array([0, 1, 0]), np.array([1, 2, 1]), np.array([0, 0, 2]))
    assert edges.length_m(3).tolist() == [11.0, np.inf, 5.0]

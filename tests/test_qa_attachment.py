"""What lies beside the lines of the map keeps its distance from them, as far as no break lies between."""

import numpy as np
from two_maps import LittleField, base_maps

from qa.attachment import smooth_correction
from qa.base_maps import BaseMaps, Edition
from qa.old_lines import OldLines

OFF = np.array([0.35, -0.2])
PLACES = np.random.default_rng(5).uniform([100, 100], [700, 1100], (50, 2))


class OffField(LittleField):
    """The true shift and a smooth error, in one piece or in so many that no two places share one."""

    def __init__(self, *, in_pieces: bool) -> None:
        super().__init__()
        self._in_pieces = in_pieces

    def __call__(self, points):
        return super().__call__(points) + OFF

    def piece(self, points):
        return (1000.0 * points[:, 0]).astype(int) if self._in_pieces else np.zeros(len(points), dtype=int)


def test_a_place_keeps_its_distance_from_the_lines_about_it():
    correction = smooth_correction(PLACES, OldLines.of(base_maps()), OffField(in_pieces=False))
    assert np.linalg.norm(correction + OFF, axis=1).max() < 0.6 * np.linalg.norm(OFF)
    assert np.median(np.linalg.norm(correction + OFF, axis=1)) < 0.1 * np.linalg.norm(OFF)


def test_buildings_alone_say_nothing_of_what_lies_beside_them():
    base = base_maps()
    editions = [Edition.of(each.areas.geometries, each.area_ids.astype(object)) for each in (base.before, base.after)]
    lines = OldLines.of(BaseMaps.of(*editions))
    assert lines.has_image.any()
    np.testing.assert_array_equal(smooth_correction(PLACES, lines, OffField(in_pieces=False)), 0.0)


def test_lines_across_a_break_have_no_say():
    correction = smooth_correction(PLACES, OldLines.of(base_maps()), OffField(in_pieces=True))
    np.testing.assert_array_equal(correction, 0.0)

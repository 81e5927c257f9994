"""Tiles whose links say that nothing moved: their edges are breaks, to the centimetre."""

from __future__ import annotations

import numpy as np
import pytest

from qa.control import judge_control
from qa.unmoved_tiles import find_breaks_about, unmoved_tiles
from transforms.breaks import Breaks
from transforms.contract import Control

TILE = np.array([[1000.0, 1000.0, 2000.0, 2000.0]])


def extents_of(before: np.ndarray) -> np.ndarray:
    corner = np.floor(before / 1000.0) * 1000.0
    return np.hstack([corner, corner + 1000.0])


def net(split_easting: float | None = None, links: int = 30, seed: int = 3) -> tuple[Control, np.ndarray]:
    """3 x 3 tiles that moved 2 m, with a break where asked, about one in the middle that did not move."""
    rng = np.random.default_rng(seed)
    before = rng.uniform(0.0, 3000.0, (900, 2))
    shift = np.array([1.6, -1.2]) + rng.normal(0.0, 0.1, before.shape)
    if split_easting is not None:
        shift[before[:, 0] > split_easting] += [1.5, 1.5]
    inside = (extents_of(before) == TILE).all(axis=1)
    kept = ~inside | (np.cumsum(inside) <= links)
    shift[inside] = 0.0
    return Control(before[kept], before[kept] + shift[kept]), extents_of(before[kept])


def test_only_a_tile_whose_links_all_stay_did_not_move() -> None:
    control, extents = net()
    np.testing.assert_array_equal(unmoved_tiles(control, extents), TILE)
    few, extents = net(links=5)
    assert len(unmoved_tiles(few, extents)) == 0
    assert len(unmoved_tiles(control, np.full((len(control), 4), np.nan))) == 0


def test_no_control_is_no_tile() -> None:
    none = Control(np.empty((0, 2)), np.empty((0, 2)))
    assert unmoved_tiles(none, np.empty((0, 4))).shape == (0, 4)


@pytest.mark.parametrize("split_easting", [None, 1500.0])
def test_the_edge_of_the_tile_is_a_break_to_the_centimetre(split_easting: float | None) -> None:
    """Whether or not another break runs into the tile: it ends there, and both sides of it stay apart."""
    control, _ = net(split_easting)
    breaks = find_breaks_about(control, TILE)
    share = np.arange(1003.0, 2000.0, 7.0)
    for inset, is_inside in ((0.02, True), (-0.02, False)):
        low, high = 1000.0 + inset, 2000.0 - inset
        ring = [(x, y) for s in share for x, y in ((s, low), (s, high), (low, s), (high, s))]
        pieces = set(breaks.piece(np.array(ring)).tolist())
        assert len(pieces) == 1 if is_inside or split_easting is None else len(pieces) == 2
    middle, west, east = breaks.piece(np.array([[1500.0, 1500.0], [500.0, 1500.0], [2500.0, 1500.0]])).tolist()
    assert middle not in (west, east)
    assert (west == east) == (split_easting is None)
    assert np.isfinite(breaks.jump_m).all()
    assert (np.concatenate(breaks.half_width_m) > 0).all()


def test_a_break_that_lies_in_the_tile_alone_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Around the tile nothing stays of it, not even a line without vertices."""
    across, within = np.array([[0.0, 500.0], [3000.0, 500.0]]), np.array([[1200.0, 1200.0], [1800.0, 1700.0]])
    widths, sides = (np.full(2, 10.0), np.full(2, 10.0)), np.array([0, 1])
    found = Breaks((across, within), sides, 1 - sides, np.ones(2), widths, 2)
    monkeypatch.setattr("qa.unmoved_tiles.find_breaks", lambda *_: found)
    breaks = find_breaks_about(net()[0], TILE)
    np.testing.assert_array_equal(breaks.lines[0], across)
    assert min(len(line) for line in breaks.lines) >= 2
    assert breaks.piece(np.array([[1250.0, 1600.0], [1700.0, 1300.0]])).tolist() == [2, 2]


def test_links_of_such_a_tile_are_believed_and_its_neighbours_too() -> None:
    control, extents = net()
    file = (extents[:, 0] + extents[:, 1] / 1000.0).astype(int)
    result = judge_control(control, file=file, tile_extent=extents)
    assert (result.verdict != "used").sum() <= 2
    assert result.breaks.count == 2

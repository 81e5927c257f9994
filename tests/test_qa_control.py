"""Judging control: every kind of fault is named, and good control is left alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from qa.control import REASONS, judge_control
from qa.tails import false_alarm_limit
from transforms.breaks import Breaks
from transforms.contract import Control


def tiled(count: int = 1600, noise_m: float = 0.2, seed: int = 0) -> tuple[Control, np.ndarray, np.ndarray]:
    """Control over 3 x 3 tiles of 1 km with a smooth shift, the tile of each row, and the tiles' extents."""
    rng = np.random.default_rng(seed)
    before = rng.uniform(0.0, 3000.0, (count, 2))
    shift = np.array([2.0, -1.5]) + 4e-4 * before + rng.normal(0.0, noise_m, before.shape)
    column_row = np.floor(before / 1000.0)
    file = (column_row[:, 0] * 3 + column_row[:, 1]).astype(int)
    return Control(before, before + shift), file, np.hstack([column_row * 1000.0, column_row * 1000.0 + 1000.0])


def judged(before: np.ndarray, after: np.ndarray, file: np.ndarray, **options: object):
    return judge_control(Control(before, after), file=file, breaks=Breaks.none(), **options)


def test_good_control_is_used() -> None:
    """Of clean control at most one row in five hundred is doubted."""
    control, file, extent = tiled()
    verdict = judge_control(control, file=file, tile_extent=extent).verdict
    assert (verdict != "used").mean() <= 0.002


@pytest.mark.parametrize(("size_m", "recall", "precision"), [(2.5, 0.99, 0.97), (1.5, 0.88, 0.95)])
def test_single_gross_errors_are_found(size_m: float, recall: float, precision: float) -> None:
    """Planted single errors are rejected or suspected, and hardly anything else is."""
    control, file, _ = tiled(3000, seed=1)
    rng = np.random.default_rng(2)
    bad = rng.choice(3000, 60, replace=False)
    angle = rng.uniform(0.0, 2 * np.pi, 60)
    after = control.after.copy()
    after[bad] += size_m * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    found = judge_control(Control(control.before, after), file=file).verdict != "used"
    assert found[bad].mean() >= recall
    assert found[bad].sum() / found.sum() >= precision


def bending(size_m: float, seed: int = 5) -> tuple[Control, np.ndarray]:
    """A national net in another projection, true to centimetres: it leans by 100 m and bends by metres over 50 km."""
    rng = np.random.default_rng(seed)
    before = 45_000.0 * np.stack(np.meshgrid(np.arange(24.0), np.arange(24.0)), axis=-1).reshape(-1, 2)
    before += rng.uniform(-12_000.0, 12_000.0, before.shape)
    lean = before @ np.array([[1e-4, 3e-5], [-2e-5, 8e-5]])
    shift = lean + 1.5 * np.sin(before[:, ::-1] / 1e5) + rng.normal(0.0, 0.02, before.shape)
    bad = rng.choice(len(before), 12, replace=False) if size_m else np.empty(0, int)
    angle = rng.uniform(0.0, 2 * np.pi, len(bad))
    shift[bad] += size_m * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return Control(before, before + shift), bad


def test_a_true_net_that_leans_and_bends_is_used() -> None:
    """Where planes miss the bends of exact control a smooth surface is asked, and nothing good is lost."""
    control, _ = bending(0.0)
    result = judge_control(control, file=np.zeros(len(control), int), length_warn_m=1e4, length_reject_m=1e4)
    assert (result.verdict != "used").sum() <= 1


def test_errors_in_a_net_that_bends_are_found_all_the_same() -> None:
    control, bad = bending(2.0)
    result = judge_control(control, file=np.zeros(len(control), int), length_warn_m=1e4, length_reject_m=1e4)
    found = result.verdict != "used"
    assert found[bad].mean() >= 0.9
    assert found.sum() <= len(bad) + 6


def test_no_point_of_the_finnish_net_is_refused(shared_data) -> None:
    path = shared_data / "control" / "fi_nls_ykj_etrs35fin.json"
    places = np.array(json.loads(path.read_text())["vertices"])
    file = np.zeros(len(places), int)
    result = judged(places[:, :2], places[:, 2:], file, length_warn_m=1e7, length_reject_m=1e7)
    assert (result.verdict == "used").all()


def test_a_swapped_tile_is_rejected_whole_and_alone() -> None:
    """A file with old and new exchanged is rejected row by row; its neighbours are not."""
    control, file, _ = tiled()
    swapped = file == 4
    before = np.where(swapped[:, None], control.after, control.before)
    after = np.where(swapped[:, None], control.before, control.after)
    result = judged(before, after, file)
    assert (result.verdict[swapped] == "rejected").all()
    assert all("columns_swapped" in codes for codes, bad in zip(result.reasons, swapped, strict=True) if bad)
    assert (result.verdict[~swapped] == "used").mean() > 0.995


@pytest.mark.parametrize("seed", [4, 5, 8, 11])
def test_a_dense_swapped_tile_does_not_take_its_sparse_neighbours_with_it(seed: int) -> None:
    """A swapped file with most of the links about it is rejected alone; beside it good files look reversed."""
    control, file, _ = tiled(4000)
    swapped = file == 3
    kept = swapped | (np.random.default_rng(seed).random(len(file)) < 0.06)
    control, file, swapped = control.take(kept), file[kept], swapped[kept]
    moved = control.after + np.where(np.isin(file, (0, 3, 6))[:, None], [0.0, 1.5], 0.0)  # an old sheet of its own
    before = np.where(swapped[:, None], moved, control.before)
    after = np.where(swapped[:, None], control.before, moved)
    codes = judged(before, after, file).reasons
    assert [("columns_swapped" in of_row) for of_row in codes] == swapped.tolist()


def test_a_tile_that_did_not_move_is_not_swapped() -> None:
    """Identity links of a tile surveyed anew are information, not an error."""
    control, file, extent = tiled()
    still = (file == 4)[:, None]
    after = np.where(still, control.before, control.after)
    result = judge_control(Control(control.before, after), file=file, tile_extent=extent)
    assert (result.verdict[still[:, 0]] == "used").mean() > 0.99


def test_content_of_another_tile_is_rejected() -> None:
    """A file whose rows lie in another tile than its name says is rejected; the rows' own file is not."""
    control, file, extent = tiled()
    copied = np.flatnonzero(file == 0)
    before = np.concatenate([control.before, control.before[copied]])
    after = np.concatenate([control.after, control.after[copied]])
    named = np.concatenate([extent, np.tile([2000.0, 2000.0, 3000.0, 3000.0], (len(copied), 1))])
    result = judged(before, after, np.concatenate([file, np.full(len(copied), 9)]), tile_extent=named)
    assert (result.verdict[len(control) :] == "rejected").all()
    assert (result.verdict[: len(control)] == "used").mean() > 0.995


def test_a_lost_digit_and_missing_numbers_are_rejected() -> None:
    """A link of kilometres and rows without numbers are rejected with their reason, and disturb nobody."""
    control, file, _ = tiled(400)
    after = control.after.copy()
    after[3, 1] /= 10.0
    after[5] = np.nan
    result = judged(control.before, after, file)
    assert result.verdict[3] == result.verdict[5] == "rejected"
    assert result.reasons[3] == ["too_long"]
    assert result.reasons[5] == ["not_finite"]


def test_of_two_targets_the_worse_is_rejected() -> None:
    """One old place with two new ones keeps the one its neighbours support, in either direction."""
    control, file, _ = tiled(800)
    before = np.concatenate([control.before, control.before[:2], control.before[4:5] + np.array([2.5, 0.0])])
    after = np.concatenate([control.after, control.after[:2] + np.array([2.0, 1.0]), control.after[4:5]])
    result = judged(before, after, np.concatenate([file, file[[0, 1, 4]]]))
    assert (result.verdict[-3:] == "rejected").all()
    assert "two_targets" in result.reasons[-2]
    assert "two_origins" in result.reasons[-1]
    assert (result.verdict[[0, 1, 4]] == "used").all()


def test_good_control_that_shares_its_places_is_kept() -> None:
    """Links and a base map name the same places by the thousand: of so many good pairs hardly one contradicts."""
    control, file, _ = tiled(1600)
    again = control.after + np.random.default_rng(8).normal(0.0, 0.28, control.after.shape)
    again[:3] += [2.0, 1.0]
    result = judged(np.tile(control.before, (2, 1)), np.concatenate([control.after, again]), np.tile(file, 2))
    contradicted = np.array(["two_targets" in reasons for reasons in result.reasons])
    assert contradicted[[1600, 1601, 1602]].all()
    assert contradicted.sum() <= 3 + 3


def test_a_repeated_link_is_no_error() -> None:
    """The same link in two files is used and said to be repeated."""
    control, file, _ = tiled(400)
    before, after = (np.concatenate([part, part[:3]]) for part in (control.before, control.after))
    result = judged(before, after, np.concatenate([file, file[:3] + 1]))
    assert result.reasons[-1] == ["repeated"]
    assert result.verdict[-1] == "used"


def test_a_few_that_agree_are_shown_to_the_officer() -> None:
    """Three near links that moved alike but unlike all around are suspect, as a cluster."""
    control, file, _ = tiled(1600, noise_m=0.1)
    middle = np.argsort(np.hypot(*(control.before - 1500.0).T))[:3]
    after = control.after.copy()
    after[middle] += [2.0, 2.0]
    result = judged(control.before, after, file)
    assert (result.verdict[middle] == "suspect").all()
    assert all("cluster" in result.reasons[row] for row in middle)


def test_a_break_is_no_error() -> None:
    """Links on both sides of a sharp jump are used, but for a handful at the line itself."""
    control, file, _ = tiled(1600, noise_m=0.15)
    east = control.before[:, 0] > 1480.0
    result = judge_control(Control(control.before, control.after + np.where(east, 1.5, 0.0)[:, None]), file=file)
    assert result.breaks.count >= 2
    assert (result.verdict == "used").mean() > 0.99


@pytest.mark.parametrize("count", range(11))
def test_few_links_are_used_and_said_to_be_unproven(count: int) -> None:
    """Nought to ten links, collinear or not, get a verdict each; those without neighbours say so."""
    before = np.stack([np.arange(count) * 30.0, np.arange(count) % 3 * 10.0], axis=1)
    result = judge_control(Control(before, before + 2.0), file=np.zeros(count, dtype=int))
    assert len(result.verdict) == len(result.reasons) == count
    assert (result.verdict == "used").all()
    if count < 5:
        assert all(codes == ["too_few_neighbours"] for codes in result.reasons)


def test_every_reason_has_a_sentence() -> None:
    """Codes are lower-case words and each sentence ends like one."""
    assert all(code.replace("_", "").islower() and text.endswith(".") for code, text in REASONS.items())


def test_heavier_tails_raise_the_limit() -> None:
    """The limit of doubt follows the noise's own tail: about four for normal noise, higher for heavy tails."""
    rng = np.random.default_rng(7)
    normal = false_alarm_limit(rng.rayleigh(1.0, 20_000))
    heavy = false_alarm_limit(np.hypot(*rng.laplace(0.0, 0.7, (2, 20_000))))
    assert 3.5 < normal < 6.0
    assert heavy > normal

"""The laws of ``transforms.contract``, run over every transform."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.affine import Affine
from transforms.chain import Chain
from transforms.collocation import Collocation
from transforms.contract import NO_PIECE, Control, Points, ShiftField
from transforms.covariance import Covariance
from transforms.errors import ControlError
from transforms.identity import Identity
from transforms.natural_neighbour import NaturalNeighbour
from transforms.polynomial import Polynomial
from transforms.similarity import Similarity
from transforms.tabulated import Tabulated
from transforms.thin_plate import ThinPlate
from transforms.triangulated import Triangulated

ORIGIN = np.array([412000.0, 331000.0])
SIDE_M = 4000.0
UNIFORM = np.array([2.0, -1.0])
COVARIANCE = Covariance(1500.0, 2.5, np.array([1.0, 1.0]), 0.02)

METHODS = {
    "identity": Identity.fit,
    "similarity": Similarity.fit,
    "affine": Affine.fit,
    "polynomial": Polynomial.fit,
    "triangulated": Triangulated.fit,
    "natural-neighbour": NaturalNeighbour.fit,
    "thin-plate": ThinPlate.fit,
    "collocation": partial(Collocation.fit, covariance=COVARIANCE),
    "collocation-estimated": Collocation.fit,
    "chain": lambda control: Chain.fit(control, Affine.fit, Triangulated.fit),
    "tabulated": lambda control: Tabulated.of(Affine.fit(control)),
}
EXACT = ("triangulated", "natural-neighbour", "thin-plate", "chain")


def shift_of(places: Points) -> Points:
    east, north = ((places - ORIGIN) / SIDE_M).T
    return np.stack([2.0 + np.sin(2 * east + north), -1.0 + np.cos(3 * north)], axis=1)


def control_of(count: int, seed: int = 0, offset: Points | float = 0.0) -> Control:
    before = ORIGIN + np.random.default_rng(seed).uniform(0, SIDE_M, (count, 2))
    return Control(before + offset, before + shift_of(before) + offset)


CONTROL = control_of(120)
FIELDS: dict[str, ShiftField] = {}


@pytest.fixture(params=METHODS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def field(name: str) -> ShiftField:
    if name not in FIELDS:
        FIELDS[name] = METHODS[name](CONTROL)
    return FIELDS[name]


def places(count: int, seed: int = 1, beyond: float = 0.0) -> Points:
    return ORIGIN + np.random.default_rng(seed).uniform(-beyond, SIDE_M + beyond, (count, 2))


def test_no_points_give_no_points(field):
    """Law 1: an empty call answers with empty arrays of the right shape."""
    none = np.empty((0, 2))
    assert field(none).shape == (0, 2)
    assert field.uncertainty(none).shape == field.piece(none).shape == field.control_distance_m(none).shape == (0,)
    assert field.inverse(none).shape == (0, 2)


def test_input_is_never_written(field):
    """Law 2: every query leaves its input as it was."""
    points = places(50)
    points.setflags(write=False)
    field(points), field.uncertainty(points), field.piece(points), field.inverse(points)
    field.in_piece(points, np.zeros(50, dtype=int))


def test_rows_do_not_depend_on_each_other(field):
    """Law 3: a point alone, in a small batch or shuffled in a large one moves to the same bit."""
    points = np.concatenate([places(300, beyond=500.0), CONTROL.before[:40], CONTROL.before[:40] + 1e-12])
    order = np.random.default_rng(3).permutation(len(points))
    whole, error = field(points), field.uncertainty(points)
    np.testing.assert_array_equal(field(points[order]), whole[order])
    np.testing.assert_array_equal(np.concatenate([field(points[i : i + 1]) for i in range(60)]), whole[:60])
    np.testing.assert_array_equal(np.concatenate([field(points[i : i + 7]) for i in range(0, 380, 7)]), whole)
    np.testing.assert_array_equal(field.uncertainty(points[order]), error[order])


def test_result_does_not_depend_on_the_origin(name, field):
    """Law 4: control and places moved by hundreds of kilometres give the same shift within 1 mm."""
    offset = np.array([-300000.0, 600000.0])
    elsewhere = METHODS[name](control_of(120, offset=offset))
    points = places(200)
    here, there = field(points) - points, elsewhere(points + offset) - (points + offset)
    both = np.isfinite(here[:, 0]) & np.isfinite(there[:, 0])
    assert both.sum() > 150
    np.testing.assert_allclose(here[both], there[both], atol=1e-3)


@pytest.mark.parametrize("exact", EXACT)
def test_exact_transforms_reproduce_their_control(exact):
    """Law 5: an exact interpolator hits its control to a hundredth of a millimetre."""
    np.testing.assert_allclose(METHODS[exact](CONTROL)(CONTROL.before), CONTROL.after, atol=1e-5)


def test_nothing_is_guessed_far_from_control(field):
    """Law 6: kilometres from all control, and for places that are no numbers, every answer is NaN or NO_PIECE."""
    far = np.array([ORIGIN - 20 * SIDE_M, ORIGIN + 20 * SIDE_M, [np.nan, ORIGIN[1]], [np.inf, 0.0]])
    assert np.isnan(field(far)).all()
    assert np.isnan(field.uncertainty(far)).all()
    assert (field.piece(far) == NO_PIECE).all()
    assert np.isnan(field.in_piece(far, np.zeros(4, dtype=int))).all()


def test_there_and_back(field):
    """Law 7: the inverse returns within 1 mm wherever the field covers, to the rim."""
    points = places(2000, beyond=800.0)
    moved = field(points)
    covered = np.isfinite(moved[:, 0])
    back = field.inverse(moved[covered])
    assert covered.sum() > 500
    np.testing.assert_allclose(back, points[covered], atol=1e-3)
    assert field.inverse.inverse is field


def test_covered_places_have_an_uncertainty_and_a_piece(field):
    """What is moved is in piece 0 and has a standard error; the rest has neither."""
    points = places(500, beyond=3000.0)
    covered = np.isfinite(field(points)[:, 0])
    assert 0 < covered.sum() < 500
    np.testing.assert_array_equal(np.isfinite(field.uncertainty(points)), covered)
    np.testing.assert_array_equal(field.piece(points), np.where(covered, 0, NO_PIECE))
    assert (field.uncertainty(points[covered]) >= 0).all()


def test_every_field_keeps_the_contract(field):
    """Every transform and its inverse is a ``ShiftField``."""
    assert isinstance(field, ShiftField)
    assert isinstance(field.inverse, ShiftField)


SMALL = {
    "none": np.empty((0, 2)),
    "one": np.array([[0.0, 0.0]]),
    "two": np.array([[0.0, 0.0], [100.0, 0.0]]),
    "three": np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]]),
    "four": np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [90.0, 110.0]]),
    "collinear": np.stack([np.arange(12) * 50.0, np.arange(12) * 25.0], axis=1),
    "duplicates": np.repeat([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]], 5, axis=0),
    "all one place": np.zeros((9, 2)),
    "wildly uneven": np.concatenate([np.random.default_rng(1).normal(0, 0.5, (30, 2)), [[9e4, 0.0], [0.0, 9e4]]]),
}


@pytest.mark.parametrize("case", SMALL)
def test_small_control_is_answered_or_refused(name, case):
    """With hardly any control, or odd control, a method answers near it or refuses with a sentence."""
    before = ORIGIN + SMALL[case]
    noise = np.random.default_rng(2).normal(0, 0.1, before.shape)
    control = Control(before, before + UNIFORM + noise)
    try:
        field = METHODS[name](control)
    except ControlError as refusal:
        assert str(refusal).endswith(".")
        return
    moved, error = field(before), field.uncertainty(before)
    known = np.isfinite(moved[:, 0])
    assert known.any()
    if name != "identity":
        assert np.abs(moved - before - UNIFORM)[known].max() < 1.0
    assert (error[known] >= 0).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(20, 60), st.sampled_from(["affine", "triangulated", "collocation"]))
def test_uniform_shift_is_found_exactly(seed, count, chosen):
    """Whatever the control, a shift that is the same everywhere is returned everywhere (to the table's rounding)."""
    before = control_of(count, seed).before
    field = METHODS[chosen](Control(before, before + UNIFORM))
    inside = before.mean(axis=0) + (before - before.mean(axis=0)) * 0.5
    moved = field(inside)
    known = np.isfinite(moved[:, 0])
    np.testing.assert_allclose((moved - inside)[known], np.full((known.sum(), 2), UNIFORM), atol=1e-6)

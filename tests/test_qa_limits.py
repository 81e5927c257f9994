"""The limits: one file, every entry explained, overrides by name only."""

import dataclasses

import pytest

from qa.limits import Limits, documented_limits, limits_in_force
from transforms.errors import SettingsError


def test_every_limit_has_a_meaning_and_a_source():
    for name, limit in documented_limits().items():
        assert limit.value > 0, name
        assert limit.meaning.endswith("."), name
        assert len(limit.source) > 20, name


def test_file_and_model_name_the_same_limits():
    assert list(documented_limits()) == [field.name for field in dataclasses.fields(Limits)]


def test_names_carry_their_unit():
    units = ("_m", "_ratio", "_deg", "_per_ha", "_denominator")
    assert [name for name in documented_limits() if not name.endswith(units)] == []


def test_os_limits_are_as_published():
    limits = limits_in_force()
    assert (limits.distance_change_town_m, limits.distance_base_town_m) == (0.80, 60.0)
    assert (limits.distance_change_rural_m, limits.distance_base_rural_m) == (1.90, 100.0)
    assert limits.area_change_ratio == 0.02


def test_an_override_replaces_one_limit_and_leaves_the_rest():
    changed = limits_in_force({"shift_m": 9.0})
    assert changed.shift_m == 9.0
    assert dataclasses.replace(changed, shift_m=6.5) == limits_in_force()


@pytest.mark.parametrize("share", [0.0005, 0.001, 0.01, 0.05, 0.5])
def test_nothing_is_settled_that_is_ten_times_likelier_to_be_wrong_than_is_acceptable(share):
    """In a usual borough 5 % wrong would be reached only with everything settled, however doubtful."""
    assert 0.0 < limits_in_force({"acceptable_wrong_ratio": share}).wrong_chance_ratio <= 10 * share


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_value_is_refused_with_its_name(value):
    with pytest.raises(SettingsError, match=r"shift_m.*positive number"):
        limits_in_force({"shift_m": value})


def test_an_unknown_limit_is_refused_with_the_known_ones():
    with pytest.raises(SettingsError, match=r"area_change is not a limit.*area_change_ratio"):
        limits_in_force({"area_change": 0.1})

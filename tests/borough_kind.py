"""What kind of borough is made: shares of awkward records, noise, sheets; the demo borough is the plain one.

Rules that fit one kind of world only are found out on the others. Whatever is zero here costs no throw of the dice,
so the plain kind stays the same to the byte.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Kind:
    """The properties of a made borough; ratios are shares of the captured features."""

    control_noise: float = 1.0
    """Factor on the noise of the control."""
    gross_link_ratio: float = 1 / 70
    """Share of the links spoilt by a gross error."""
    step_m: float = 0.95
    """Standard deviation per axis of the constants of the old sheets: what the breaks jump by."""
    sheet_m: tuple[float, float] = (2_400.0, 1_600.0)
    """Width and height of an old sheet."""
    bend_m: float = 55.0
    """By how much the edges of the sheets are bent."""
    resurveyed_radius_m: float = 450.0
    """The town where each building has a shift of its own."""
    building_shift_m: tuple[float, float] = (0.3, 1.0)
    """The least and the largest shift of its own of a building there."""
    undated_ratio: float = 0.25
    """Of the records drawn on the old map, those without date, method and scale."""
    is_dated: bool = True
    """False: no record of any layer has a date, a method or a scale."""
    new_ratio: float = 0.10
    """Records drawn on the new map."""
    new_undated_ratio: float = 0.0
    """Of those, the ones without date, method and scale."""
    small_scale_ratio: float = 0.03
    """Records drawn on a map of 1:10 000, and saying so."""
    ground_factor: float = 1.0
    """Factor on the share of records measured on the ground."""
    wrong_date_ratio: float = 0.0
    """Dated records whose date says the other map."""
    method_unsaid_ratio: float = 0.0
    """Of the dated records, those that do not say their method."""
    misplaced_ratio: float = 0.0
    """Records captured 10 to 30 m away from where they belong."""
    noisy_ratio: float = 0.0
    """Records traced with noise."""
    noise_m: float = 0.25
    """That noise per axis."""
    coarse_ratio: float = 0.0
    """Records kept as a place rounded to 10 m; points only."""
    hedge_distance_m: tuple[float, float] = (0.9, 1.1)
    """Trees stand this far from their hedge; only where ``free_tree_ratio`` is not zero."""
    free_tree_ratio: float = 0.0
    """Trees that stand anywhere in a field."""


_ROUGH = Kind(
    control_noise=1.5,
    gross_link_ratio=1 / 35,
    wrong_date_ratio=0.02,
    method_unsaid_ratio=0.25,
    new_undated_ratio=0.3,
    misplaced_ratio=0.01,
    noisy_ratio=0.2,
    coarse_ratio=0.015,
    free_tree_ratio=0.5,
    hedge_distance_m=(0.5, 1.1),
)
_UNDATED = Kind(
    is_dated=False,
    new_ratio=0.05,
    small_scale_ratio=0.005,
    ground_factor=0.25,
    misplaced_ratio=0.005,
    noisy_ratio=0.1,
    free_tree_ratio=0.2,
)

KINDS = {
    "plain": Kind(),
    "rough": _ROUGH,
    "undated": _UNDATED,
    "loaded": replace(_ROUGH, wrong_date_ratio=1.0, undated_ratio=0.05),
    "redrawn": replace(_UNDATED, new_ratio=0.97),
    "steps": Kind(
        step_m=1.5,
        sheet_m=(1_700.0, 1_300.0),
        bend_m=20.0,
        misplaced_ratio=0.01,
        noisy_ratio=0.1,
        method_unsaid_ratio=0.1,
        free_tree_ratio=0.3,
    ),
    "resurveyed": Kind(
        resurveyed_radius_m=1_600.0,
        building_shift_m=(0.2, 1.3),
        control_noise=0.8,
        misplaced_ratio=0.01,
        new_undated_ratio=0.2,
        method_unsaid_ratio=0.2,
        noisy_ratio=0.15,
        free_tree_ratio=0.4,
    ),
    "mixed": Kind(
        new_ratio=0.4,
        new_undated_ratio=0.4,
        undated_ratio=0.5,
        wrong_date_ratio=0.04,
        misplaced_ratio=0.01,
        noisy_ratio=0.15,
        method_unsaid_ratio=0.3,
        free_tree_ratio=0.3,
        step_m=0.7,
    ),
}
"""The kinds that the benchmarks measure; what ``loaded`` and ``redrawn`` say of captures is wrong all at once."""

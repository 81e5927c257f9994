"""Base maps that cannot be what the settings name them as, and what is said of them.

Each function takes what was read and raises with the cure; what to ask of the maps is in ``qa/``.
"""

from __future__ import annotations

import shapely

from pipeline.georeference import fault_of_numbers
from pipeline.map_file import CURE
from qa.base_maps import BaseMaps
from qa.drawn_alike import Drawing
from qa.lone_edition import MOST_AT_LINES, AtLines
from qa.same_move import STILL_M, contradiction, lie_elsewhere
from transforms.contract import Control, Points
from transforms.errors import SettingsError, SourceError

LEAST_IN_COMMON_RATIO = 0.01
"""Two editions of one place have most of their features in common."""

_LEAST_AT_LINES = 30


def refuse_numbers(name: str, drawing: Drawing) -> None:
    """Refuse a map that is not in metres of the National Grid.

    Raises
    ------
    SourceError
        If its coordinates are degrees, millimetres or exchanged.
    """
    fault = fault_of_numbers(shapely.bounds(drawing.geometries)[:, :2])
    if fault is not None:
        raise SourceError(f"Base map {name} {fault}. Save it as EPSG:27700 (out of degrees with OSTN15). {CURE}")


def refuse_nothing_in_common(before: str, after: str, base: BaseMaps) -> None:
    """Refuse two maps that are not editions of one.

    Raises
    ------
    SourceError
        If hardly a feature is on both.
    """
    fewest = min(len(base.before.geometries), len(base.after.geometries))
    if len(base.matches) < LEAST_IN_COMMON_RATIO * fewest:
        raise SourceError(
            f"Base maps {before} and {after} have next to nothing in common: {len(base.matches):,} "
            f"of {fewest:,} features. Name two editions of one map, both as EPSG:27700. {CURE}"
        )


def refuse_nothing_known(name: str, base: BaseMaps) -> None:
    """Refuse a lone map of another place than the control.

    Raises
    ------
    SourceError
        If nothing of it lies where the shift is known.
    """
    if not len(base.matches):
        raise SourceError(
            f"Base map {name} shows nothing where the shift is known: it is of another place than the control. {CURE}"
        )


def refuse_not_on_its_lines(name: str, drawing: Drawing, control: Control, *, is_new: bool) -> None:
    """Refuse a lone map, said to be the new one (or the old), on whose lines the control does not lie as it should.

    Raises
    ------
    SettingsError
        If the control lies there with its places on the other map, or does not lie on them at all.
    """
    at_lines = AtLines.of(drawing, control, is_new=is_new)
    if len(at_lines.places) < _LEAST_AT_LINES or at_lines.with_own.mean() >= MOST_AT_LINES:
        return
    named, right, own, other = ("after", "before", "new", "old") if is_new else ("before", "after", "old", "new")
    own_ratio, other_ratio = at_lines.with_own.mean(), at_lines.with_other.mean()
    if other_ratio >= MOST_AT_LINES:
        raise SettingsError(
            f"Base map {name} is named as {named}, but {other_ratio:.0%} of the control lies on its lines with its "
            f"{other} places. Name it as {right} in migration.yaml and run again."
        )
    raise SettingsError(
        f"Only {own_ratio:.0%} of the control lies on lines of base map {name} with its {own} places, and of good "
        "control nine in ten do: one of them came through a wrong transformation of coordinates, or the control is not "
        "of corners of the map. Correct base_maps or control in migration.yaml, or leave the map out, and run again."
    )


def refuse_other_move(base: BaseMaps, places: Points, shift: Points) -> None:
    """Refuse base maps that show another move than the control, ``shift`` ``(n, 2)`` at ``places`` ``(n, 2)`` [m].

    Raises
    ------
    SettingsError
        If they contradict it all over, or are of another place.
    """
    if lie_elsewhere(base, places):
        raise SettingsError(
            "No corner of the base maps lies within a kilometre of any control point. Name the base maps of this place "
            "under base_maps in migration.yaml, or its control files under control, and run again."
        )
    found = contradiction(base, places, shift)
    if found is None:
        return
    if found.is_opposite:
        what = "the opposite way, so before and after are exchanged in one of them"
    elif found.offset_m is not None and min(found.said_m, found.shown_m) > STILL_M:
        east, north = found.offset_m
        what = (
            f"{found.shown_m:.2f} m; the control has it {east:+.2f} m east and {north:+.2f} m north of that all over, "
            "so a map, or the control, came through a wrong transformation of coordinates"
        )
    else:
        what = f"{found.shown_m:.2f} m, so they are not the editions before and after that move"
    raise SettingsError(
        f"At {found.places:,} places the map moved {found.said_m:.2f} m by the control (the median) and by the base "
        f"maps {what}. Correct base_maps in migration.yaml, or leave out the control files that are wrong, and run "
        "again."
    )

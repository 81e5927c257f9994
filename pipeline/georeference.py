"""What the numbers of a layer are: National Grid metres, or something that must be put right first.

The file's claim (its CRS) and the numbers themselves are weighed against each other. Where they agree, or the numbers
alone settle it, work goes on and the finding says so; where they do not, one sentence names the setting that cures it.
Nothing is guessed: a cure is applied only when the settings ask for it. A uniform datum error of a few metres cannot be
seen here; the fit of the control shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.ostn15 import to_national_grid
from transforms.contract import Points
from transforms.errors import SourceError

NATIONAL_GRID = "EPSG:27700"
LIKELY_SHARE = 0.8
"""Share of a layer's vertices that settles what its numbers are; the rest are bad rows, found later."""

SAMPLE_VERTICES = 100_000

_LAND = (
    "SV SW SX SY SZ TV SR SS ST SU TQ TR SM SN SO SP TL TM SH SJ SK TF TG SC SD SE TA NW NX NY NZ OV",
    "NR NS NT NU NL NM NN NO NF NG NH NJ NK NA NB NC ND HW HX HY HZ HT HU HP",
)
"""The 100 km squares of the National Grid with land in them (Ordnance Survey, A guide to coordinate systems)."""

_SCILLY_EASTING_M, _SCILLY_NORTHING_M = 80_000.0, 20_000.0
"""The only land of square SV lies east and south of these; other numbers there have lost their 100 km digits."""

Claim = Literal["none", "national grid", "degrees", "other"]
Numbers = Literal["none", "grid", "swapped", "millimetres", "lost digits", "degrees", "swapped degrees", "unknown"]


class Said(Protocol):
    """What the settings say about a layer's coordinates; ``LayerSettings`` does."""

    @property
    def crs(self) -> str | None: ...  # noqa: D102
    @property
    def reproject(self) -> bool: ...  # noqa: D102
    @property
    def swap_axes(self) -> bool: ...  # noqa: D102
    @property
    def unit_m(self) -> float: ...  # noqa: D102
    @property
    def offset_easting_m(self) -> float: ...  # noqa: D102
    @property
    def offset_northing_m(self) -> float: ...  # noqa: D102


@dataclass(frozen=True)
class NothingSaid:
    """No settings: what ``post-pai shift`` knows about a file."""

    crs: str | None = None
    reproject: bool = False
    swap_axes: bool = False
    unit_m: float = 1.0
    offset_easting_m: float = 0.0
    offset_northing_m: float = 0.0


@dataclass(frozen=True)
class Georeference:
    """How a layer's numbers become National Grid metres, and what was understood on the way.

    ``crs_found`` is the file's claim in words, ``findings`` are sentences, ``cures`` the settings that are applied.
    """

    crs_found: str
    findings: tuple[str, ...]
    cures: tuple[str, ...]
    said: Said
    reproject: bool = False
    crs_understood: str = NATIONAL_GRID

    @property
    def is_identity(self) -> bool:
        """Whether the numbers are used as they stand."""
        return not self.cures

    def apply(self, points: Points) -> Points:
        """The National Grid places ``(n, 2)`` [m] of the file's numbers ``(n, 2)``; NaN stays NaN."""
        places = _cured(points, self.said)
        return to_national_grid(places) if self.reproject else places


def understand(
    crs_wkt: str | None, sample: Points, said: Said | None = None, *, name: str = "The layer"
) -> Georeference:
    """Weigh what a file claims against what its numbers are.

    Parameters
    ----------
    crs_wkt
        The file's CRS as WKT or authority code; None where it has none.
    sample
        ``(n, 2)`` coordinates as they stand in the file.
    said
        The settings of the layer (``LayerSettings``), which overrule the file; None for none.
    name
        What to call the layer in a message, its path.

    Returns
    -------
    Georeference
        With the cures that the settings ask for.

    Raises
    ------
    SourceError
        If the numbers are not National Grid metres after the cures the settings ask for; says which setting helps.

    Examples
    --------
    >>> understand("EPSG:27700", np.array([[358514.88, 161234.5]])).is_identity
    True
    """
    said = said or NothingSaid()
    found, claim = _claim(crs_wkt)
    findings = []
    if said.crs is not None:
        findings.append(f"The settings say {said.crs}; the file says {found}.")
        claim = "national grid" if said.crs == NATIONAL_GRID else "degrees"
    numbers = kind_of_numbers(_cured(sample, said))
    sentence = _SENTENCES.get((claim, numbers))
    if sentence is not None:
        raise SourceError(sentence.format(name=name, found=found, fault=_FAULTS.get(numbers)))
    if claim == "degrees" and numbers == "degrees":
        _require_permission(name, found, said)
    findings += _remarks(claim, numbers, found)
    return Georeference(found, tuple(findings), _cures(said, numbers), said, reproject=numbers == "degrees")


def kind_of_numbers(points: Points) -> Numbers:
    """What most of ``points`` ``(n, 2)`` can be, by where the land of Great Britain lies.

    Examples
    --------
    >>> kind_of_numbers(np.array([[161234.5, 358514.88]])), kind_of_numbers(np.array([[-2.6, 51.3]]))
    ('swapped', 'degrees')
    """
    there = points[np.isfinite(points).all(axis=1) & (points != 0).any(axis=1)]
    if len(there) == 0:
        return "none"
    for kind, is_so in _KINDS.items():
        if np.mean(is_so(there)) >= LIKELY_SHARE:
            return kind
    return "unknown"


def fault_of_numbers(points: Points) -> str | None:
    """What is the matter with ``points`` ``(n, 2)`` that should be National Grid metres, in words.

    None for nothing, and where nobody can tell what.

    Examples
    --------
    >>> fault_of_numbers(np.array([[358514.88, 161234.5]])), fault_of_numbers(np.array([[-2.6, 51.3]]))
    (None, 'holds degrees of longitude and latitude')
    """
    return _FAULTS.get(kind_of_numbers(points))


def on_land_square(points: Points) -> NDArray[np.bool_]:
    """Whether each point ``(n, 2)`` [m] lies in a 100 km square of the National Grid that has land, ``(n,)``."""
    square = np.floor_divide(points, 100_000)
    inside = np.asarray(((square >= 0) & (square < [7, 13])).all(axis=1))
    index = np.where(inside[:, None], square, 0).astype(int)
    beside_scilly = (index == 0).all(axis=1) & (
        (points[:, 0] < _SCILLY_EASTING_M) | (points[:, 1] > _SCILLY_NORTHING_M)
    )
    return inside & _LAND_SQUARES[index[:, 0], index[:, 1]] & ~beside_scilly


def _land_squares() -> NDArray[np.bool_]:
    land = np.zeros((7, 13), dtype=bool)
    for letters in " ".join(_LAND).split():
        first, second = ("ABCDEFGHJKLMNOPQRSTUVWXYZ".index(letter) for letter in letters)
        easting = (first - 2) % 5 * 5 + second % 5
        northing = 19 - first // 5 * 5 - second // 5
        land[easting, northing] = True
    return land


_LAND_SQUARES = _land_squares()


def _is_degrees(points: Points) -> NDArray[np.bool_]:
    return np.asarray((np.abs(points - [-3.5, 55.5]) <= [6.5, 6.5]).all(axis=1))


def _has_lost_digits(points: Points) -> NDArray[np.bool_]:
    return np.asarray(((points > 180) & (points < [100_000, 1_300_000])).all(axis=1))


_KINDS: dict[Numbers, Callable[[Points], NDArray[np.bool_]]] = {
    "grid": on_land_square,
    "degrees": _is_degrees,
    "swapped degrees": lambda points: _is_degrees(points[:, ::-1]),
    "swapped": lambda points: on_land_square(points[:, ::-1]),
    "millimetres": lambda points: on_land_square(points / 1000.0),
    "lost digits": _has_lost_digits,
}

_FAULTS: dict[Numbers, str] = {
    "swapped": "has its axes swapped (northing before easting)",
    "millimetres": "is in millimetres, not metres",
    "lost digits": "has lost the 100 km digits of its coordinates (they count from the corner of a square)",
    "swapped degrees": "holds latitude before longitude",
    "degrees": "holds degrees of longitude and latitude",
}

_SAVE = "or save the layer as EPSG:27700"
_NOT_METRES: dict[Numbers, str] = {
    "swapped": "{name} {fault}. Say so: swap_axes: true in migration.yaml, or exchange the columns.",
    "millimetres": "{name} {fault}. Say so: unit_m: 0.001 in migration.yaml, " + _SAVE + ".",
    "lost digits": "{name} {fault}. Add them back: offset_easting_m and offset_northing_m in migration.yaml (ST is "
    "300000 and 100000), " + _SAVE + ".",
    "swapped degrees": "{name} {fault}. Say so: swap_axes: true, crs: EPSG:4326 and reproject: true in "
    "migration.yaml, " + _SAVE + ".",
    "unknown": "{name} holds coordinates that do not lie in Great Britain's National Grid (it says: {found}). "
    "Check which coordinate system it is in and save it as EPSG:27700.",
}
_DEGREES = (
    "{name} says {found} but {fault}. Say so: crs: EPSG:4326 and reproject: true in migration.yaml, " + _SAVE + "."
)
_GRID_IN_DEGREES = (
    "{name} says {found} (what a GeoJSON without a crs member says) but holds National Grid metres. "
    "Say so: crs: EPSG:27700 in migration.yaml, " + _SAVE + "."
)
_OTHER = (
    "{name} is in {found}, not in the National Grid. Save it as EPSG:27700 with the OSTN15 grid; "
    "if the file is wrong about that, say so: crs: EPSG:27700 in migration.yaml."
)
_CLAIMS: tuple[Claim, ...] = ("none", "national grid", "degrees")
_SENTENCES: dict[tuple[Claim, Numbers], str] = {
    **{(claim, numbers): text for claim in _CLAIMS for numbers, text in _NOT_METRES.items()},
    ("none", "degrees"): _DEGREES,
    ("national grid", "degrees"): _DEGREES,
    ("degrees", "grid"): _GRID_IN_DEGREES,
    **{("other", numbers): _OTHER for numbers in ("none", "grid", *_NOT_METRES, "degrees")},
}


def _require_permission(name: str, found: str, said: Said) -> None:
    if not said.reproject:
        raise SourceError(
            f"{name} is in longitude and latitude ({said.crs or found}). Allow reprojecting: reproject: true in "
            "migration.yaml (it needs the OSTN15 grid), or save the layer as EPSG:27700 with OSTN15."
        )


def _remarks(claim: Claim, numbers: Numbers, found: str) -> list[str]:
    if numbers == "none":
        return ["The layer has no coordinates to judge its coordinate system by."]
    if claim == "none":
        said_nothing = "no coordinate system" if found == "nothing" else found
        return [f"The file says {said_nothing}; its numbers are National Grid metres and taken as {NATIONAL_GRID}."]
    if found.startswith("National Grid in"):
        return [f"The file says {found}; understood as {NATIONAL_GRID}."]
    return []


def _cures(said: Said, numbers: Numbers) -> tuple[str, ...]:
    asked = {
        f"unit_m: {said.unit_m:g}": said.unit_m != 1.0,
        "swap_axes: true": said.swap_axes,
        f"offset_easting_m: {said.offset_easting_m:g}": said.offset_easting_m != 0.0,
        f"offset_northing_m: {said.offset_northing_m:g}": said.offset_northing_m != 0.0,
        "reproject: true (OSTN15)": numbers == "degrees",
    }
    return tuple(cure for cure, is_applied in asked.items() if is_applied)


def _cured(points: Points, said: Said) -> Points:
    turned = points[:, ::-1] if said.swap_axes else points
    return turned * said.unit_m + [said.offset_easting_m, said.offset_northing_m]


def says_national_grid(crs_wkt: str | None) -> bool:
    """Whether a CRS is the National Grid by its parameters, whatever the program that wrote it calls it."""
    return _claim(crs_wkt)[1] == "national grid"


def other_system(crs_wkt: str | None) -> str:
    """What a CRS that is not the National Grid is called; empty for the Grid, and where nothing is said."""
    name, claim = _claim(crs_wkt)
    return name if claim in ("degrees", "other") else ""


def _claim(crs_wkt: str | None) -> tuple[str, Claim]:
    if not crs_wkt:
        return "nothing", "none"
    if crs_wkt == NATIONAL_GRID:
        return NATIONAL_GRID, "national grid"
    return _claim_of_wkt(crs_wkt)


def _claim_of_wkt(crs_wkt: str) -> tuple[str, Claim]:
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        crs = CRS.from_user_input(crs_wkt)
    except CRSError:
        return "a coordinate system that PROJ cannot read", "none"
    horizontal = crs.sub_crs_list[0] if crs.is_compound else crs
    if horizontal.is_engineering or horizontal.name.lower().startswith("undefined"):
        return f"a local system ({horizontal.name})", "none"
    if _is_national_grid(horizontal):
        code = horizontal.to_epsg()
        return (NATIONAL_GRID, "national grid") if code == 27700 else (_own_form(horizontal.name), "national grid")
    name = horizontal.to_string() if horizontal.to_authority() else horizontal.name
    ellipsoid = horizontal.ellipsoid.name if horizontal.ellipsoid else ""
    is_degrees = horizontal.is_geographic and ellipsoid.startswith(("WGS", "GRS"))
    return name, "degrees" if is_degrees else "other"


def _own_form(name: str) -> str:
    return f"National Grid in another program's words ({name})"


_NATIONAL_GRID_PARAMETERS = (49.0, -2.0, 0.9996012717, 400_000.0, -100_000.0)


def _is_national_grid(crs: object) -> bool:
    """By its parameters, since MapInfo and Esri write their own names for it."""
    operation = getattr(crs, "coordinate_operation", None)
    if operation is None or operation.method_name != "Transverse Mercator":
        return False
    found = [parameter.value for parameter in operation.params][:5]
    metres = {axis.unit_conversion_factor for axis in crs.axis_info} == {1.0}  # type: ignore[attr-defined]
    return len(found) == 5 and bool(np.allclose(found, _NATIONAL_GRID_PARAMETERS, rtol=1e-9)) and metres

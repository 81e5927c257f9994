"""The fitted shift in forms that PROJ, GDAL and QGIS apply, each tried through PROJ once it is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pyproj import Transformer

from pipeline.exchange.geotiff import MOST_NODES as GEOTIFF_NODES
from pipeline.exchange.geotiff import geotiff_operation, write_geotiff
from pipeline.exchange.grid import Grid, sample_grid
from pipeline.exchange.ntv2 import MOST_NODES as NTV2_NODES
from pipeline.exchange.ntv2 import ntv2_operation, write_ntv2
from pipeline.exchange.path import is_within_reach, within_reach
from pipeline.exchange.tinshift import MOST_NODES as TINSHIFT_NODES
from pipeline.exchange.tinshift import tinshift_operation, write_tinshift
from pipeline.files import whole_file
from pipeline.fitted import Fitted
from transforms.contract import Points
from transforms.errors import FieldError

TRIED = 20_000
"""Places at which the written form is compared with the field."""


@dataclass(frozen=True)
class ExportedField:
    """What was written and how closely PROJ follows the field with it.

    Parameters
    ----------
    path
        The file.
    operation
        The PROJ operation that applies it to National Grid metres.
    spacing_m
        Distance between nodes in metres.
    deviation_m
        Largest difference in metres from the field, away from breaks.
    break_share
        Share of the covered land in cells that a break crosses.
    break_error_m
        Largest difference in metres within those cells; 0 without breaks.
    lost_share
        Share of the covered land that the form leaves out (cells at the rim).
    note
        What else a user must know of this form.
    """

    path: Path
    operation: str
    spacing_m: float
    deviation_m: float
    break_share: float
    break_error_m: float
    lost_share: float
    note: str = ""

    @property
    def sentence(self) -> str:
        """The outcome in one line."""
        across = (
            f" It cannot follow breaks: in cells they cross ({100 * self.break_share:.1f} % of the land, nodes "
            f"{self.spacing_m:.0f} m apart) it errs by up to {self.break_error_m:.2f} m."
            if self.break_share
            else ""
        )
        return f"{self.path.name} follows the fitted shift within {self.deviation_m:.3f} m.{across}{self.note}"


def export_field(fitted: Fitted, path: Path) -> ExportedField:
    """Write the fitted shift as PROJ tinshift (.json), PROJ GeoTIFF grid (.tif) or NTv2 (.gsb).

    Parameters
    ----------
    fitted
        The fitted shift.
    path
        The file; its suffix names the form.

    Raises
    ------
    FieldError
        If the suffix names no form, or the form cannot hold the field.
    ExportError
        If ``path`` cannot be written.
    """
    forms = {".json": _tinshift, ".tif": _geotiff, ".gsb": _ntv2}
    form = forms.get(path.suffix.lower())
    if form is None:
        raise FieldError(
            f"{path.name} ends in {path.suffix or 'nothing'}; a fitted shift is exported as .json (PROJ tinshift), "
            ".tif (PROJ grid) or .gsb (NTv2). Choose one of these."
        )
    return form(fitted, path)


def _tinshift(fitted: Fitted, path: Path) -> ExportedField:
    grid = sample_grid(fitted.field, fitted.pieces, TINSHIFT_NODES)
    with whole_file(path) as beside:
        write_tinshift(grid, beside)
    return _tried(fitted, grid, path, tinshift_operation)


def _geotiff(fitted: Fitted, path: Path) -> ExportedField:
    grid = sample_grid(fitted.field, fitted.pieces, GEOTIFF_NODES)
    with whole_file(path) as beside:
        write_geotiff(grid, beside)
    note = " It takes PROJ 9.4 or later to apply; older software takes the .json."
    return _tried(fitted, grid, path, geotiff_operation, note)


def _ntv2(fitted: Fitted, path: Path) -> ExportedField:
    grid = sample_grid(fitted.field, fitted.pieces, NTV2_NODES)
    with whole_file(path) as beside:
        write_ntv2(fitted.field, grid, beside)
    note = " NTv2 cannot say 'not covered': outside the field it shifts by nothing, or by part at the rim."
    return _tried(fitted, grid, path, ntv2_operation, note)


def _tried(fitted: Fitted, grid: Grid, path: Path, operation: Callable[[Path], str], note: str = "") -> ExportedField:
    """Apply the written file through PROJ and compare."""
    places = _places_within(fitted, grid)
    expected = fitted.field(places)
    moved = _moved_by_proj(places, path, operation)
    away = np.hypot(*(moved - expected).T)
    # A diagonal and a half: also NTv2's cells, which do not lie square to the National Grid.
    crossed = fitted.breaks.distance_m(places) < 1.5 * np.sqrt(2.0) * grid.spacing_m
    inside = _is_inside(fitted, places, 2.0 * grid.spacing_m)
    return ExportedField(
        path=path,
        operation=operation(path),
        spacing_m=grid.spacing_m,
        deviation_m=float(np.nanmax(away[inside & ~crossed], initial=0.0)),
        break_share=float(crossed.mean()),
        break_error_m=float(np.nanmax(away[inside & crossed], initial=0.0)),
        lost_share=float(np.isnan(away).mean()),
        note=note + _trouble_with_place(path),
    )


def _moved_by_proj(places: Points, path: Path, operation: Callable[[Path], str]) -> Points:
    with within_reach(path) as reachable:
        moved = np.stack(Transformer.from_pipeline(operation(reachable)).transform(*places.T), axis=1)
    moved[~np.isfinite(moved)] = np.nan
    return moved


def _trouble_with_place(path: Path) -> str:
    if is_within_reach(path):
        return ""
    return " PROJ opens no file below a folder with a comma in its name: copy the file elsewhere to apply it."


def _places_within(fitted: Fitted, grid: Grid) -> Points:
    """Places strewn evenly over what the field covers."""
    size = grid.spacing_m * np.array(grid.error_m.shape[::-1])
    places = grid.origin + np.random.default_rng(0).random((TRIED, 2)) * size
    return places[np.isfinite(fitted.field(places)).all(axis=1)]


def _is_inside(fitted: Fitted, places: Points, margin_m: float) -> np.ndarray:
    """Which places have the field all around them: at the rim the forms know less than the field."""
    corners = margin_m * np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
    around = [np.isfinite(fitted.field(places + corner)).all(axis=1) for corner in corners]
    return np.logical_and.reduce(around)

"""The exchange forms move places as the field does, through PROJ and through GDAL."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pyproj import Transformer
from review_migration import make_migration

from pipeline.exchange import ExportedField, export_field
from pipeline.export import export_shift
from pipeline.field_file import write_field
from pipeline.files import read_json
from pipeline.fitted import Fitted
from transforms.breaks import Breaks
from transforms.contract import Control
from transforms.errors import FieldError
from transforms.piecewise import Piecewise
from transforms.polynomial import Polynomial
from transforms.tabulated import Tabulated

LOW = np.array([410000.0, 320000.0])
SIDE_M = 6000.0
FORMS = (".json", ".tif", ".gsb")


def bent(places):
    unit = (places - LOW) / SIDE_M
    return np.stack([2 + unit[:, 0] ** 2 - unit[:, 1], -1 + unit[:, 0] * unit[:, 1]], axis=1)


def control_of(jump_m):
    before = LOW + np.random.default_rng(0).uniform(0, SIDE_M, (400, 2))
    side = (before[:, 0] > LOW[0] + SIDE_M / 2)[:, None]
    return Control(before, before + bent(before) + np.where(side, [jump_m, 0.0], 0.0))


def fitted_of(pieces, breaks):
    return Fitted(pieces, breaks, "polynomial", "", 400, (), 1.0, {"overall": 0.95}, 0.1, {}, {}, "0")


def table_of(control):
    return Tabulated.of(Polynomial.fit(control))


@pytest.fixture(scope="module")
def smooth():
    return fitted_of((table_of(control_of(0.0)),), Breaks.none())


@pytest.fixture(scope="module")
def broken():
    middle = LOW[0] + SIDE_M / 2
    line = np.array([[middle, LOW[1] - SIDE_M], [middle, LOW[1] + 2 * SIDE_M]])
    breaks = Breaks.from_lines([line], (*(LOW - 50.0), *(LOW + SIDE_M + 50.0)))
    return fitted_of(Piecewise.fit(control_of(2.0), breaks, table_of).pieces, breaks)


@pytest.mark.parametrize("suffix", FORMS)
def test_proj_moves_places_as_the_field_does(smooth, tmp_path, suffix):
    """Through pyproj every form gives the field's new places within the stated deviation, and within 2 cm."""
    exported = export_field(smooth, tmp_path / f"shift{suffix}")
    places = LOW + np.random.default_rng(1).uniform(0.05, 0.95, (3000, 2)) * SIDE_M
    moved = np.stack(Transformer.from_pipeline(exported.operation).transform(*places.T), axis=1)
    away = np.hypot(*(moved - smooth.field(places)).T)
    assert exported.deviation_m <= 0.02
    assert away.max() <= exported.deviation_m + 0.001
    assert f"{exported.deviation_m:.3f} m" in exported.sentence


@pytest.mark.parametrize("suffix", FORMS)
def test_proj_goes_back_too(smooth, tmp_path, suffix):
    """The inverse of each form leads back to the old places."""
    exported = export_field(smooth, tmp_path / f"shift{suffix}")
    places = LOW + np.random.default_rng(2).uniform(0.1, 0.9, (500, 2)) * SIDE_M
    transformer = Transformer.from_pipeline(exported.operation)
    back = np.stack(transformer.transform(*transformer.transform(*places.T), direction="INVERSE"), axis=1)
    np.testing.assert_allclose(back, places, atol=2e-3)


@pytest.mark.parametrize("suffix", FORMS)
def test_gdal_agrees_with_proj(smooth, tmp_path, suffix):
    """GDAL's own PROJ, through gdaltransform, gives the field's places as well."""
    program = shutil.which("gdaltransform")
    if program is None:
        pytest.skip("gdaltransform is not installed")
    exported = export_field(smooth, tmp_path / f"shift{suffix}")
    operation = exported.operation
    if "pipeline" not in operation:
        operation = f"+proj=pipeline +step {operation}"
    places = LOW + np.random.default_rng(3).uniform(0.1, 0.9, (50, 2)) * SIDE_M
    lines = "\n".join(f"{east:.4f} {north:.4f}" for east, north in places)
    run = subprocess.run([program, "-ct", operation], input=lines, capture_output=True, text=True, check=False)
    if "Bad step definition: proj=gridshift" in run.stderr:
        pytest.skip("this gdaltransform was built with a PROJ older than 9.4")
    moved = np.array([line.split()[:2] for line in run.stdout.splitlines()], dtype=float)
    assert np.hypot(*(moved - smooth.field(places)).T).max() <= exported.deviation_m + 0.001


@pytest.mark.parametrize("suffix", FORMS)
def test_a_break_is_owned_up_to(broken, tmp_path, suffix):
    """A grid cannot follow a break: the sentence says where and how large the error is, near the jump's size."""
    exported = export_field(broken, tmp_path / f"shift{suffix}")
    assert 0.0 < exported.break_share < 0.5
    assert 0.5 < exported.break_error_m < 2.5
    assert exported.deviation_m <= 0.02
    assert "breaks" in exported.sentence


def test_places_outside_are_not_moved_by_a_grid_or_a_net(smooth, tmp_path):
    """Outside the field the grid and the triangulation give no place, where NTv2 can only give no shift."""
    far = LOW + np.array([[20 * SIDE_M, 0.0]])
    for suffix in (".json", ".tif"):
        exported = export_field(smooth, tmp_path / f"shift{suffix}")
        moved = np.stack(Transformer.from_pipeline(exported.operation).transform(*far.T), axis=1)
        assert not np.isfinite(moved).any()
    assert "outside" in export_field(smooth, tmp_path / "shift.gsb").sentence


def test_unknown_form_and_place_are_refused(smooth, tmp_path):
    """An unknown suffix, and NTv2 of a place that the National Grid's projection does not know, are sentences."""
    with pytest.raises(FieldError, match="tinshift"):
        export_field(smooth, tmp_path / "shift.xyz")
    control = control_of(0.0)
    away = control.before * np.array([-24.0, -30.0])
    moved_away = Control(away, away + 1.0)
    with pytest.raises(FieldError, match="National Grid"):
        export_field(fitted_of((table_of(moved_away),), Breaks.none()), tmp_path / "shift.gsb")
    assert not (tmp_path / "shift.gsb").exists()


@pytest.mark.parametrize("suffix", FORMS)
def test_a_council_may_call_its_folders_as_it_likes(smooth, tmp_path, suffix):
    """Spaces, quotes, commas and letters beyond ASCII in the path: PROJ opens the file, or the sentence says how."""
    for name in ("two words é", 'a "quoted" +proj=name', "Marlbrook, 2004"):
        exported = export_field(smooth, tmp_path / name / f"shift{suffix}")
        assert exported.deviation_m < 0.02
        if "," in name:
            assert "comma" in exported.sentence
        else:
            assert Transformer.from_pipeline(exported.operation).transform(*(LOW + 3000.0)) is not None


def test_a_bare_name_is_the_file_in_this_folder(smooth, tmp_path, monkeypatch):
    """PROJ looks for a bare name among its own grids; ours is said to be where it is."""
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path) in export_field(smooth, Path("shift.tif")).operation


def test_a_form_that_cannot_be_made_leaves_no_earlier_one_behind(smooth, tmp_path, monkeypatch):
    """It would move places by the shift of an earlier fit; the note says why it is missing."""
    migration = make_migration(tmp_path)
    migration.field_file.parent.mkdir(parents=True)
    write_field(migration.field_file, smooth)
    names = {"shift.field", *(f"shift{suffix}" for suffix in FORMS)}
    assert {path.name for path in export_shift(migration).files} == names

    def refused(fitted: Fitted, path: Path) -> ExportedField:
        if path.suffix == ".gsb":
            raise FieldError("A grid has its limits.")
        return export_field(fitted, path)

    monkeypatch.setattr("pipeline.export.export_field", refused)
    exported = export_shift(migration)
    folder = migration.exports_dir / "shift"
    assert {path.name for path in exported.files} == names - {
        "shift.gsb"
    } and "A grid has its limits." in exported.notes
    assert {path.name for path in folder.iterdir()} == names - {"shift.gsb"} | {"shift.manifest.json"}
    assert set(read_json(folder / "shift.manifest.json")["files"]) == names - {"shift.gsb"}

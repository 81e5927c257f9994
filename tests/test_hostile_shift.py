"""Every odd, broken or real file goes through ``post-pai shift``: an answer, or one sentence and nothing written."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.field_file import write_field
from pipeline.fit import fit_control
from pipeline.formats import open_batches
from pipeline.shift_file import shift_file
from transforms.breaks import Breaks
from transforms.contract import Control
from transforms.errors import PostPaiError

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
FOLDERS = [DATA / "hostile", DATA / "layers", DATA / "chew_valley" / "layers"]
NO_LAYERS = {".md", ".txt", ".shx", ".dbf", ".prj", ".cpg", ".dat", ".map", ".id", ".mid", ".ind", ".qix"}
FILES = sorted(
    file
    for folder in FOLDERS
    for file in folder.rglob("*")
    if file.is_file() and (file.suffix.lower() not in NO_LAYERS or file.name == "chinese.dbf")
)
LONGEST_S = 30.0
SUFFIX = {".shp": ".shp", ".tab": ".tab", ".geojson": ".geojson", ".csv": ".csv"}

pytestmark = pytest.mark.skipif(not FILES, reason="the shared data folder (../shared/data) is not beside this checkout")


@pytest.fixture(scope="module")
def field_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shift of some metres that covers Great Britain and the sea about it."""
    before = np.stack(np.meshgrid(np.linspace(-2e5, 9e5, 6), np.linspace(-2e5, 1.5e6, 6)), axis=-1).reshape(-1, 2)
    after = before + [1.5, -2.5] + 1e-6 * before
    path = tmp_path_factory.mktemp("field") / "shift.field"
    write_field(path, fit_control(Control(before, after), breaks=Breaks.none(), method="similarity"))
    return path


@pytest.fixture(scope="module", autouse=True)
def untouched_sources():
    before = hashes()
    yield
    assert hashes() == before, "a source was changed, or something was written beside it"


def hashes() -> dict[str, str]:
    files = [file for folder in FOLDERS for file in folder.rglob("*") if file.is_file()]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_file_is_shifted_whole_or_refused_with_one_sentence(file: Path, field_file: Path, tmp_path: Path) -> None:
    """As many features come out as went in, to GeoPackage and to the file's own form; a refusal leaves nothing."""
    for suffix in {".gpkg", SUFFIX.get(file.suffix.lower(), ".gpkg")}:
        target = tmp_path / suffix[1:] / f"moved{suffix}"
        began = time.monotonic()
        try:
            shifted = shift_file(field_file, file, target)
        except PostPaiError as error:
            assert is_one_sentence(str(error)), str(error)
            assert not target.parent.exists() or not list(target.parent.iterdir())
        else:
            assert shifted.features == count(file)
            assert shifted.moved + shifted.unmoved + shifted.open == shifted.features
            assert count(target) == shifted.features
        assert time.monotonic() - began < LONGEST_S


def count(file: Path) -> int:
    with open_batches(file) as stream:
        return sum(len(batch) for batch in stream.batches)


def is_one_sentence(text: str) -> bool:
    return "\n" not in text and "Traceback" not in text and text.endswith((".", ".)"))


def test_most_files_are_shifted(field_file: Path, tmp_path: Path) -> None:
    """A field that covers the country moves what lies on the National Grid; refusals are for what does not."""
    for file in FILES:
        if DATA / "chew_valley" in file.parents:
            shifted = shift_file(field_file, file, tmp_path / f"{file.stem}.gpkg", layer=first_layer(file))
            assert shifted.moved > 0.9 * shifted.features, file.name


def first_layer(file: Path) -> str | None:
    import pyogrio

    layers = pyogrio.list_layers(file) if file.suffix == ".gpkg" else []
    return str(layers[0][0]) if len(layers) > 1 else None

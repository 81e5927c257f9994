"""The whole job on the demo borough, by the command, as a newcomer runs it; judged by the borough's truth."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import borough
import numpy as np
import pyogrio
import pytest
import shapely

from pipeline.storage import Migration, read_json, read_lines

PROJECT = Path(__file__).resolve().parents[1]
OUTCOME = ["pai_status", "pai_reasons", "pai_shift_m", "pai_uncertainty_m"]

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Job:
    """A migration of its own with a Dagster home of its own."""

    root: Path
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "DAGSTER_HOME": str(self.home)}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-c", "from pipeline.cli import main; main()", "run", str(self.root), *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words), env=self.environment, capture_output=True, text=True, check=False)

    @property
    def migration(self) -> Migration:
        return Migration.open(self.root)


def new_job(folder: Path) -> Job:
    job = Job(folder / "migration", folder / "home")
    job.root.mkdir()
    job.home.mkdir()
    shutil.copyfile(PROJECT / "data" / "demo" / "migration.yaml", job.root / "migration.yaml")
    shutil.copytree(PROJECT / "data" / "demo" / "sources", job.root / "sources")
    shutil.copyfile(PROJECT / "dagster.yaml", job.home / "dagster.yaml")
    return job


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, str]:
    job = new_job(tmp_path_factory.mktemp("whole job"))
    before = fingerprint(job.root / "sources")
    result = job.run()
    assert result.returncode == 0, result.stderr
    assert fingerprint(job.root / "sources") == before, "a source was changed"
    return job, result.stdout


def fingerprint(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def exported(job: Job, layer: str) -> Path:
    return next(job.migration.exports_dir.glob(f"{layer}.*gpkg"))


def outcome(job: Job, layer: str) -> tuple[list[bytes | None], dict[str, list[object]]]:
    """The exported geometry and our columns but the run, to compare two runs by."""
    meta, _, geometry, columns = pyogrio.raw.read(exported(job, layer), columns=OUTCOME)
    return list(geometry), {
        name: [None if value != value else value for value in column]
        for name, column in zip(meta["fields"], columns, strict=True)
    }


def test_every_feature_is_accounted_for(done: tuple[Job, str]) -> None:
    job, table = done
    for layer in job.migration.settings.layers:
        manifest = read_json(job.migration.exports_dir / f"{layer.name}.manifest.json")
        counts = manifest["counts"]
        assert counts["in"] == sum(counts[status] for status in ("moved", "unmoved", "fixed", "open"))
        assert counts["in"] == read_json(job.migration.manifest(layer.name))["features"]
        assert layer.name in table
        assert job.migration.evidence(layer.name).stat().st_size > 10_000


def test_what_is_accepted_is_right(done: tuple[Job, str], tmp_path: Path) -> None:
    """At most one accepted feature in 200 lies over a metre from its truth."""
    job, _ = done
    borough.write_truth(borough.make_borough(), tmp_path)
    accepted = wrong = features = 0
    for layer in borough.LAYERS:
        geometry, columns = outcome(job, layer)
        truth = pyogrio.raw.read(tmp_path / "truth.gpkg", layer=layer)[2]
        for wkb, true_wkb, status in zip(geometry, truth, columns["pai_status"], strict=True):
            features += 1
            if status == "open" or wkb is None or true_wkb is None:
                continue
            accepted += 1
            wrong += distance_m(wkb, true_wkb) > 1.0
    assert accepted / features >= 0.80
    assert wrong / accepted <= 0.005, f"{wrong} of {accepted} accepted features are over 1 m wrong"


def distance_m(wkb: bytes, true_wkb: bytes) -> float:
    try:
        one, other = shapely.force_2d(shapely.from_wkb([wkb, true_wkb]))
    except (shapely.GEOSException, NotImplementedError):
        return 0.0
    return float(np.nan_to_num(shapely.hausdorff_distance(one, other)))


def test_a_second_run_gives_the_same_and_moves_nothing_twice(done: tuple[Job, str]) -> None:
    job, table = done
    layer = job.migration.settings.layers[0].name
    before, shifts = outcome(job, layer), len(read_lines(job.migration.ledger))
    result = job.run("--layer", layer)
    assert result.returncode == 0, result.stderr
    assert outcome(job, layer) == before
    assert result.stdout == table
    assert len(read_lines(job.migration.ledger)) == shifts, "the ledger took the same shift for a new one"


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_a_killed_run_leaves_nothing_half_done(done: tuple[Job, str], tmp_path: Path) -> None:
    """Killed in the middle of the layers and run again, the result is that of the undisturbed run."""
    undisturbed, _ = done
    job = new_job(tmp_path)
    process = subprocess.Popen(job.command(), env=job.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(list(job.migration.build_dir.rglob("shifted.parquet"))) >= 2, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert job.run().returncode == 0
    for layer in borough.LAYERS:
        assert outcome(job, layer) == outcome(undisturbed, layer), layer
    assert not list(job.migration.exports_dir.rglob("*.part*"))


def wait_until(is_so, process: subprocess.Popen[bytes], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < end, "the run took too long"
        time.sleep(0.05)


def test_our_own_export_is_refused_as_a_source(done: tuple[Job, str], tmp_path: Path) -> None:
    job, _ = done
    again = new_job(tmp_path)
    layer = job.migration.settings.layers[0]
    shutil.copyfile(exported(job, layer.name), again.root / "sources" / "again.gpkg")
    settings = (again.root / "migration.yaml").read_text().replace(str(layer.file), "sources/again.gpkg")
    (again.root / "migration.yaml").write_text(settings)
    result = again.run("--layer", layer.name)
    assert result.returncode == 1
    assert "shifted" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(["--layer", "no_such_layer"], "no layer 'no_such_layer'")],
)
def test_a_mistake_is_one_sentence(done: tuple[Job, str], words: list[str], sentence: str) -> None:
    result = done[0].run(*words)
    assert result.returncode == 1
    assert sentence in result.stderr and "Traceback" not in result.stderr

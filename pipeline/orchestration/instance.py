"""The Dagster instance of a migration: where its history lies, and runs that a power cut left behind.

Dagster reads ``dagster.yaml`` from DAGSTER_HOME and takes relative paths in it from the working directory; both
are set here, in one place, for the command and for the UI. Each migration has an instance of its own: in a common one
the layers of one would be shown with the pictures and numbers of another, and its queued runs would work on the other.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

import dagster as dg
from filelock import Timeout

from pipeline.files import whole_file
from pipeline.locks import migration_lock

PROJECT_DIR = Path(__file__).resolve().parents[2]
"""The folder of ``dagster.yaml``, ``data/`` and the packages."""

MIGRATION_VARIABLE = "POST_PAI_MIGRATION"
"""Environment variable that names the migration folder."""

MIGRATION_TAG = "post-pai/migration"
"""Tag of a run started by the command: the migration whose lock its process holds."""

_UNFINISHED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def default_migration() -> Path:
    """The migration folder the environment names, else the demo borough."""
    return Path(os.environ.get(MIGRATION_VARIABLE, PROJECT_DIR / "data" / "demo")).expanduser().resolve()


def enter_instance(root: Path) -> None:
    """Make this process and its children use the Dagster instance of the migration in ``root`` (or the user's own)."""
    if "DAGSTER_HOME" not in os.environ:
        os.environ["DAGSTER_HOME"] = str(_made_home(root))
    home = Path(os.environ["DAGSTER_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    os.chdir(home)


def _made_home(root: Path) -> Path:
    # Beside the software and not in the migration: that may lie on a network drive, where SQLite loses its locks.
    place = hashlib.sha256(os.path.normcase(root).encode()).hexdigest()[:8]
    home = PROJECT_DIR / "data" / "dagster" / f"{re.sub('[^A-Za-z0-9]+', '_', root.name)}-{place}"
    with whole_file(home / "dagster.yaml") as beside:
        shutil.copyfile(PROJECT_DIR / "dagster.yaml", beside)
    return home


def fail_abandoned_runs(instance: dg.DagsterInstance) -> int:
    """Mark as failed the runs whose process is gone; they would keep their slot for ever. Returns how many.

    Call it only while no daemon is at work: a run without a migration tag is taken for abandoned.
    """
    return _fail(instance, _abandoned(instance))


def fail_killed_commands(instance: dg.DagsterInstance) -> None:
    """Mark as failed the runs of commands that were killed; the layers they were at work on would get no other run."""
    _fail(instance, [run for run in _abandoned(instance) if MIGRATION_TAG in run.tags])


def _abandoned(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    return [run for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)) if not _is_alive(run)]


def _fail(instance: dg.DagsterInstance, runs: list[dg.DagsterRun]) -> int:
    for run in runs:
        instance.report_run_failed(
            run, message="The process of this run was ended before it could finish. Run it again."
        )
    return len(runs)


def _is_alive(run: dg.DagsterRun) -> bool:
    root = run.tags.get(MIGRATION_TAG)
    if root is None or not Path(root).is_dir():
        return False
    try:
        with migration_lock(Path(root)):
            return False
    except Timeout:
        return True

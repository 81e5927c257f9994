"""The project's Dagster instance: where its history lies, and runs that a power cut left behind.

Dagster reads ``dagster.yaml`` from DAGSTER_HOME and takes relative paths in it from the working directory; both
are set here, in one place, for the command and for the UI.
"""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
from filelock import Timeout

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


def enter_instance() -> None:
    """Make this process and its children use the project's Dagster instance (or the user's DAGSTER_HOME)."""
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(PROJECT_DIR)))
    home.mkdir(parents=True, exist_ok=True)
    os.chdir(home)


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

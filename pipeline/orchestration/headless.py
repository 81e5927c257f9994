"""``post-pai run``: the whole job without the UI, the same assets in the same order, one run per layer."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from filelock import Timeout

from pipeline.files import remove_half_written
from pipeline.orchestration.instance import MIGRATION_TAG, MIGRATION_VARIABLE, enter_instance, migration_lock
from pipeline.storage import Migration
from transforms.errors import PostPaiError, SettingsError

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""What went wrong is said in one sentence at the end; every event is in the Dagster UI."""


class RunFailed(PostPaiError):
    """Part of the job failed; the sentences say which part and why."""


def run_migration(root: Path, layers: list[str], *, progress: bool) -> str:
    """Run the job for the migration in ``root``, for all layers or those named, and return the closing table.

    Raises
    ------
    SettingsError
        If the migration or a layer name is wrong, or another run works on the same migration.
    RunFailed
        If a stage failed; every other layer has been finished all the same.
    """
    migration = Migration.open(root)
    names = [migration.settings.layer(name).name for name in layers] or [x.name for x in migration.settings.layers]
    os.environ[MIGRATION_VARIABLE] = str(migration.root)
    enter_instance()
    try:
        with migration_lock(migration.root):
            remove_half_written(migration.build_dir)
            failures = _run_assets(migration, names, _reporter(progress))
    except Timeout:
        raise SettingsError(
            f"Another run is at work on {migration.root}. Wait until it has finished, then run again."
        ) from None
    from pipeline.pages.board import read_board

    table = read_board(migration).text() + _where(migration)
    if failures:
        raise RunFailed("\n".join([table.rstrip(), *failures]))
    return table


def _where(migration: Migration) -> str:
    return (
        f"\nCorrected layers: {migration.exports_dir}\n"
        f"For officers:     {migration.review_dir}\n"
        f"Open this first:  {migration.evidence('index')}\n"
    )


def _run_assets(migration: Migration, layers: list[str], report: Callable[[str], None]) -> list[str]:
    """Run the assets; returns one sentence for each part that failed."""
    import dagster as dg

    from pipeline.definitions import defs

    failures: list[str] = []
    with dg.DagsterInstance.get() as instance:

        def run_job(job: str, layer: str | None = None) -> bool:
            report(f"{job} {layer or ''}".strip())
            result = defs.resolve_job_def(job).execute_in_process(
                instance=instance,
                partition_key=layer,
                run_config=_QUIET,
                raise_on_error=False,
                tags={MIGRATION_TAG: str(migration.root)},
            )
            failures.extend(_sentences(result, layer or job))
            return result.success

        if run_job("fit_shift"):
            for layer in layers:
                run_job("migrate_layer", layer)
    return failures


def _sentences(result: object, part: str) -> list[str]:
    from dagster import DagsterEventType

    events = getattr(result, "all_events", [])
    failed = [event for event in events if event.event_type == DagsterEventType.STEP_FAILURE]
    return [f"{part}: {_sentence(event)}" for event in failed]


def _sentence(event: object) -> str:
    data = event.event_specific_data  # type: ignore[attr-defined]
    metadata = data.user_failure_data
    if metadata is not None and metadata.description:
        return str(metadata.description)
    return str(data.error.cause.message if data.error.cause else data.error.message).strip()


def _reporter(progress: bool) -> Callable[[str], None]:
    def report(step: str) -> None:
        if progress:
            sys.stderr.write(f"  {step} ...\n")

    return report

"""``post-pai run``: the whole job without the UI, the same assets in the same order, one run per layer."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
from filelock import Timeout

from pipeline.locks import migration_lock, remove_leftovers
from pipeline.orchestration.instance import MIGRATION_TAG, MIGRATION_VARIABLE, enter_instance, fail_killed_commands
from pipeline.storage import Migration
from transforms.errors import BusyError, PostPaiError

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""What went wrong is said in one sentence at the end; every event is in the Dagster UI."""


class RunFailed(PostPaiError):
    """Part of the job failed; the sentences say which part and why."""


@dataclass(frozen=True)
class _Found:
    """What to tell when the job is done.

    ``failures`` holds one sentence for each part that failed, ``unmet`` the layers (or jobs) for each check that asks
    somebody to look, and what it found in them where it says so.
    """

    failures: list[str] = field(default_factory=list)
    unmet: dict[str, dict[str, str]] = field(default_factory=dict)


def run_migration(root: Path, layers: list[str], *, progress: bool) -> str:
    """Run the job for the migration in ``root``, for all layers or those named, and return the closing table with
    what to look at.

    Raises
    ------
    SettingsError
        If the migration or a layer name is wrong.
    BusyError
        If another run works on the same migration.
    RunFailed
        If a stage failed; every other layer has been finished all the same.
    """
    migration = Migration.open(root)
    names = [migration.settings.layer(name).name for name in layers] or [x.name for x in migration.settings.layers]
    os.environ[MIGRATION_VARIABLE] = str(migration.root)
    enter_instance(migration.root)
    with dg.DagsterInstance.get() as instance:
        fail_killed_commands(instance)
    try:
        with migration_lock(migration.root):
            remove_leftovers(migration)
            found = _run_assets(migration, names, _reporter(progress))
    except Timeout:
        raise BusyError(
            f"Another run is at work on {migration.root}. Wait until it has finished, then run again."
        ) from None
    from pipeline.pages.board import read_board

    table = read_board(migration).text() + _to_look_at(found) + _where(migration)
    if found.failures:
        raise RunFailed("\n".join([table.rstrip(), *found.failures]))
    return table


def _to_look_at(found: _Found) -> str:
    """The checks that ask somebody to look, each once with what to do; what waits for officers stands in the table."""
    from pipeline.orchestration import checklist

    lines = [
        textwrap.fill(f"- {_named(found.unmet[check.name])}: {check.description}", 110, subsequent_indent="  ")
        for check in checklist.ALL
        if check.name in found.unmet and check is not checklist.NOTHING_OPEN
    ]
    return "\n".join(["", "To look at, what should hold and what to do:", *lines, ""]) if lines else ""


def _named(layers: dict[str, str]) -> str:
    return ", ".join(f"{layer} ({found})" if found else layer for layer, found in layers.items())


def _where(migration: Migration) -> str:
    return (
        f"\nCorrected layers: {migration.exports_dir}\n"
        f"For officers:     {migration.review_dir}\n"
        f"Open this first:  {migration.evidence('index')}\n"
    )


def _run_assets(migration: Migration, layers: list[str], report: Callable[[str], None]) -> _Found:
    """Run the assets; returns what failed and which checks were not met."""
    from pipeline.definitions import defs
    from pipeline.orchestration import checklist

    board = dg.AssetKey("qa_board")
    found = _Found()
    with dg.DagsterInstance.get() as instance:

        def run_job(job: str, layer: str | None = None) -> bool:
            report(f"{job} {layer or ''}".strip())
            definition = defs.resolve_job_def(job)
            assets = set(definition.asset_layer.executable_asset_keys)
            result = definition.execute_in_process(
                instance=instance,
                partition_key=layer,
                asset_selection=sorted(assets - {board}) if layer else None,  # the board is drawn once, last
                run_config=_QUIET,
                raise_on_error=False,
                tags={MIGRATION_TAG: str(migration.root)},
            )
            found.failures.extend(_sentences(result, layer or job))
            for check in result.get_asset_check_evaluations():
                if not check.passed:
                    what = check.metadata.get(checklist.FOUND)
                    found.unmet.setdefault(check.check_name, {})[layer or job] = str(what.value) if what else ""
            return result.success

        if run_job("fit_shift"):
            for layer in layers:
                run_job("migrate_layer", layer)
            run_job("update_board")
    return found


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

"""What starts runs: the jobs, the sensor on ``review/`` and the schedule (there, but off)."""

from collections.abc import Iterator

import dagster as dg

from pipeline.orchestration.catalogue import LAYERS, MigrationFolder
from pipeline.orchestration.instance import fail_killed_commands
from pipeline.review import changed_reviews

fit_shift = dg.define_asset_job(
    "fit_shift",
    selection=["control", "fit", "shift_export"],
    description="Read and judge the control, fit the shift field. Run it first, and again when control changes.",
)

migrate_layer = dg.define_asset_job(
    "migrate_layer",
    selection=["sources", "shift", "reattach", "quality", "review", "export", "qa_board"],
    description="Take one layer from its delivery to its corrected form with the fitted shift.",
)

finish_layer = dg.define_asset_job(
    "finish_layer",
    selection=["review", "export", "qa_board"],
    description="Merge the officers' decisions of one layer and export it. The sensor starts it.",
)

update_board = dg.define_asset_job(
    "update_board",
    selection=["qa_board"],
    description="Draw the manager's page anew. The other jobs do so for each layer; the command does it once, last.",
)


@dg.sensor(
    job=finish_layer,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Watches review/: when an officer has saved decisions, merges them and exports the layer again.",
)
def saved_reviews(context: dg.SensorEvaluationContext, folder: MigrationFolder) -> dg.SensorResult | dg.SkipReason:
    """Start ``finish_layer`` for each layer whose review file holds decisions not taken in yet."""
    fail_killed_commands(context.instance)
    layers, cursor = changed_reviews(folder.open(), context.cursor)
    if not layers:
        return dg.SensorResult(skip_reason="No new decisions in review/.", cursor=cursor)
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=f"{layer}:{cursor}", partition_key=layer) for layer in layers],
        asset_events=[dg.AssetMaterialization("officer_fixes", partition=layer) for layer in layers],
        cursor=cursor,
    )


@dg.schedule(
    job=migrate_layer,
    cron_schedule="0 2 * * *",
    execution_timezone="Europe/London",
    description="Every night at two: all layers again. Off until someone switches it on.",
)
def nightly_migration() -> Iterator[dg.RunRequest]:
    """Ask for one run per layer."""
    for layer in LAYERS.get_partition_keys():
        yield dg.RunRequest(partition_key=layer)

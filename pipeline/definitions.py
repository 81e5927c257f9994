"""What Dagster loads: the stages in flow order, the jobs, the sensor and the schedule."""

import dagster as dg

from pipeline.orchestration.assets import (
    control,
    export,
    fit,
    officer_fixes,
    qa_board,
    quality,
    reattach,
    review,
    shift,
    shift_export,
    sources,
)
from pipeline.orchestration.automation import (
    finish_layer,
    fit_shift,
    migrate_layer,
    nightly_migration,
    saved_reviews,
    update_board,
)
from pipeline.orchestration.catalogue import MigrationFolder
from pipeline.orchestration.instance import default_migration

defs = dg.Definitions(
    assets=[sources, control, fit, shift_export, shift, reattach, quality, officer_fixes, review, export, qa_board],
    jobs=[fit_shift, migrate_layer, finish_layer, update_board],
    sensors=[saved_reviews],
    schedules=[nightly_migration],
    resources={"folder": MigrationFolder(path=str(default_migration()))},
    executor=dg.in_process_executor,
)

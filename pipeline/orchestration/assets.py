"""The assets in flow order: each calls one stage and hands its summary to ``views`` and ``checks``.

No stage logic here. A sentence that a user can act on (``PostPaiError``) becomes the failure's description and is
never retried; an ``OSError`` on the delivery's network drive may pass and is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import dagster as dg

from pipeline.control import check_control
from pipeline.export import export_layer, export_shift
from pipeline.fit import fit_field
from pipeline.locks import BOARD, SHIFT_FIELD, alone_with
from pipeline.orchestration import checklist, checks, descriptions, views
from pipeline.orchestration.catalogue import LAYERS, OWNERS, MigrationFolder
from pipeline.pages.board import write_board
from pipeline.quality import judge_layer
from pipeline.reattach import reattach_layer
from pipeline.review import review_layer
from pipeline.shift import shift_layer
from pipeline.sources import stage_layer
from pipeline.storage import Migration
from transforms.errors import PostPaiError


@contextmanager
def _alone(folder: MigrationFolder, part: str) -> Iterator[Migration]:
    """The migration, with a part of it to ourselves; a user's mistake is shown as its sentence, without a retry."""
    try:
        migration = folder.open()
        with alone_with(migration, part, tell=dg.get_dagster_logger().warning):
            yield migration
    except PostPaiError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None


@dg.asset(
    partitions_def=LAYERS,
    group_name="1_sources",
    kinds={"gdal", "parquet"},
    owners=OWNERS,
    description=descriptions.SOURCES,
    code_version="1",
    check_specs=checklist.specs("sources"),
    retry_policy=dg.RetryPolicy(max_retries=2, delay=5),
)
def sources(context: dg.AssetExecutionContext, folder: MigrationFolder) -> dg.MaterializeResult:
    """Stage one delivered layer."""
    with _alone(folder, context.partition_key) as migration:
        staged = stage_layer(migration, context.partition_key)
        return dg.MaterializeResult(
            metadata=views.of_source(migration, context.partition_key, staged), check_results=checks.of_source(staged)
        )


@dg.asset(
    group_name="2_shift_field",
    kinds={"scipy", "csv"},
    owners=OWNERS,
    description=descriptions.CONTROL,
    code_version="1",
    check_specs=checklist.specs("control"),
    retry_policy=dg.RetryPolicy(max_retries=2, delay=5),
)
def control(folder: MigrationFolder) -> dg.MaterializeResult:
    """Read and judge all control."""
    with _alone(folder, SHIFT_FIELD) as migration:
        summary = check_control(migration)
        return dg.MaterializeResult(
            metadata=views.of_control(migration, summary), check_results=checks.of_control(summary)
        )


@dg.asset(
    deps=[control],
    group_name="2_shift_field",
    kinds={"scipy", "numpy"},
    owners=OWNERS,
    description=descriptions.FIT,
    code_version="1",
    check_specs=checklist.specs("fit"),
)
def fit(folder: MigrationFolder) -> dg.MaterializeResult:
    """Fit the shift field to the good control."""
    with _alone(folder, SHIFT_FIELD) as migration:
        summary = fit_field(migration)
        return dg.MaterializeResult(
            metadata=views.of_fit(migration, summary), check_results=checks.of_fit(migration, summary)
        )


@dg.asset(
    deps=[fit],
    group_name="6_export",
    kinds={"proj", "geotiff"},
    owners=OWNERS,
    description=descriptions.SHIFT_EXPORT,
    code_version="1",
)
def shift_export(folder: MigrationFolder) -> dg.MaterializeResult:
    """Write the shift itself in the forms that PROJ, GDAL and QGIS apply."""
    with _alone(folder, SHIFT_FIELD) as migration:
        exported = export_shift(migration)
        return dg.MaterializeResult(metadata=views.of_shift_export(exported))


@dg.asset(
    deps=[sources, fit],
    partitions_def=LAYERS,
    group_name="3_shift",
    kinds={"shapely", "parquet"},
    owners=OWNERS,
    description=descriptions.SHIFT,
    code_version="1",
    check_specs=checklist.specs("shift"),
)
def shift(context: dg.AssetExecutionContext, folder: MigrationFolder) -> dg.MaterializeResult:
    """Propose a new place for every feature of one layer."""
    with _alone(folder, context.partition_key) as migration:
        summary = shift_layer(migration, context.partition_key, run_id=_run(context))
        return dg.MaterializeResult(
            metadata=views.of_shift(migration, context.partition_key, summary),
            check_results=checks.of_shift(migration, context.partition_key),
        )


@dg.asset(
    deps=[shift],
    partitions_def=LAYERS,
    group_name="3_shift",
    kinds={"shapely", "parquet"},
    owners=OWNERS,
    description=descriptions.REATTACH,
    code_version="1",
    check_specs=checklist.specs("reattach"),
)
def reattach(context: dg.AssetExecutionContext, folder: MigrationFolder) -> dg.MaterializeResult:
    """Attach what moved to the lines it followed, as the new map shows them."""
    with _alone(folder, context.partition_key) as migration:
        summary = reattach_layer(migration, context.partition_key)
        return dg.MaterializeResult(
            metadata=views.of_reattach(migration, context.partition_key, summary),
            check_results=checks.of_reattach(migration, context.partition_key, summary),
        )


@dg.asset(
    deps=[reattach],
    partitions_def=LAYERS,
    group_name="4_quality",
    kinds={"shapely", "parquet"},
    owners=OWNERS,
    description=descriptions.QUALITY,
    code_version="1",
    check_specs=checklist.specs("quality"),
)
def quality(context: dg.AssetExecutionContext, folder: MigrationFolder) -> dg.MaterializeResult:
    """Judge every feature of one layer."""
    with _alone(folder, context.partition_key) as migration:
        summary = judge_layer(migration, context.partition_key)
        return dg.MaterializeResult(
            metadata=views.of_quality(migration, context.partition_key, summary),
            check_results=checks.of_quality(migration, summary),
        )


officer_fixes = dg.AssetSpec(
    "officer_fixes",
    partitions_def=LAYERS,
    group_name="5_review",
    kinds={"geopackage", "qgis"},
    owners=OWNERS,
    description=descriptions.OFFICER_FIXES,
)


@dg.asset(
    deps=[quality, officer_fixes],
    partitions_def=LAYERS,
    group_name="5_review",
    kinds={"geopackage", "qgis"},
    owners=OWNERS,
    description=descriptions.REVIEW,
    code_version="1",
    check_specs=checklist.specs("review"),
)
def review(context: dg.AssetExecutionContext, folder: MigrationFolder) -> dg.MaterializeResult:
    """Merge what officers saved for one layer and offer what is still open."""
    with _alone(folder, context.partition_key) as migration:
        summary = review_layer(migration, context.partition_key, run_id=_run(context), now=datetime.now(UTC))
        return dg.MaterializeResult(
            metadata=views.of_review(migration, context.partition_key, summary), check_results=checks.of_review(summary)
        )


@dg.asset(
    deps=[review],
    partitions_def=LAYERS,
    group_name="6_export",
    kinds={"geopackage", "html"},
    owners=OWNERS,
    description=descriptions.EXPORT,
    code_version="1",
    check_specs=checklist.specs("export"),
)
def export(context: dg.AssetExecutionContext, folder: MigrationFolder) -> dg.MaterializeResult:
    """Write one corrected layer and its evidence."""
    with _alone(folder, context.partition_key) as migration:
        exported = export_layer(migration, context.partition_key, _run(context))
        return dg.MaterializeResult(
            metadata=views.of_export(migration, exported), check_results=checks.of_export(exported)
        )


@dg.asset(
    deps=[export],
    group_name="6_export",
    kinds={"html"},
    owners=OWNERS,
    description=descriptions.QA_BOARD,
    code_version="1",
    check_specs=checklist.specs("qa_board"),
)
def qa_board(folder: MigrationFolder) -> dg.MaterializeResult:
    """Write the manager's page over all layers."""
    with _alone(folder, BOARD) as migration:
        board = write_board(migration)
        return dg.MaterializeResult(metadata=views.of_board(migration, board), check_results=checks.of_board(board))


def _run(context: dg.AssetExecutionContext) -> str:
    """The first eight characters of Dagster's run id: enough to find the run, short enough for a DBF field."""
    return context.run.run_id[:8]

"""Dagster shows the house as it is: the stages in order, each described, owned, versioned and checked."""

import shutil
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.utils import make_new_run_id
from outcomes import make_migration

from pipeline.definitions import defs
from pipeline.locks import migration_lock
from pipeline.orchestration import checklist, instance
from pipeline.orchestration.automation import nightly_migration, saved_reviews
from pipeline.orchestration.catalogue import MigrationFolder
from pipeline.orchestration.instance import MIGRATION_TAG

STAGES = ["sources", "control", "fit", "shift", "reattach", "quality", "review", "export"]


@pytest.fixture(scope="module")
def specs() -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def test_definitions_load() -> None:
    dg.Definitions.validate_loadable(defs)


def test_every_stage_is_an_asset_of_its_name(specs: dict[str, dg.AssetSpec]) -> None:
    assert set(STAGES) <= set(specs)


def test_each_stage_comes_after_the_one_before(specs: dict[str, dg.AssetSpec]) -> None:
    before = {"control": set(), "sources": set(), "fit": {"control"}, "shift": {"sources", "fit"}}
    before |= {
        "reattach": {"shift"},
        "quality": {"reattach"},
        "review": {"quality", "officer_fixes"},
        "export": {"review"},
    }
    assert {name: {dep.asset_key.to_user_string() for dep in specs[name].deps} for name in STAGES} == before


def test_every_asset_says_what_it_is_and_whose(specs: dict[str, dg.AssetSpec]) -> None:
    for name, spec in specs.items():
        assert spec.description and len(spec.description) > 60, name
        assert spec.owners == ["team:gis"], name
        assert spec.kinds and spec.group_name, name
        assert spec.code_version or name == "officer_fixes", name


def test_groups_sort_in_flow_order(specs: dict[str, dg.AssetSpec]) -> None:
    order = ["sources", "fit", "shift", "reattach", "quality", "review", "export"]
    groups = [specs[name].group_name for name in order]
    assert groups == sorted(groups)


def test_layers_are_the_partitions(specs: dict[str, dg.AssetSpec]) -> None:
    partitioned = {name for name, spec in specs.items() if spec.partitions_def is not None}
    assert partitioned == {"sources", "shift", "reattach", "quality", "officer_fixes", "review", "export"}


def test_what_cannot_be_used_stops_the_batch() -> None:
    blocking = {check.name for check in checklist.ALL if check.blocking}
    assert blocking == {
        "every_feature_staged",
        "enough_control",
        "field_unfolded",
        "features_kept",
        "proposal_kept",
        "verdict_for_each",
        "counts_reconcile",
    }


def test_runs_are_in_process() -> None:
    assert defs.executor is dg.in_process_executor


def test_one_run_at_a_time_works_on_a_layer() -> None:
    """Between the stages of one another would find tables of two runs."""
    settings = yaml.safe_load((Path(__file__).parents[1] / "dagster.yaml").read_text(encoding="utf-8"))
    (limit,) = settings["concurrency"]["runs"]["tag_concurrency_limits"]
    assert limit == {"key": "dagster/partition", "value": {"applyLimitPerUniqueValue": True}, "limit": 1}


def test_the_sensor_frees_a_layer_whose_command_was_killed(tmp_path: Path) -> None:
    """Its run counts as started, and nobody else's would ever be let near the layer; one that is alive is let be."""
    migration = make_migration(tmp_path / "borough")
    with dg.DagsterInstance.ephemeral() as history, migration_lock(migration.root):
        for root in (tmp_path / "killed", migration.root):
            (root / "build").mkdir(parents=True, exist_ok=True)
            tags = {MIGRATION_TAG: str(root)}
            history.add_run(dg.DagsterRun("j", make_new_run_id(), status=dg.DagsterRunStatus.STARTED, tags=tags))
        with dg.build_sensor_context(history) as context:
            saved_reviews(context, folder=MigrationFolder(path=str(migration.root)))
        status = {Path(run.tags[MIGRATION_TAG]).name: run.status.value for run in history.get_runs()}
        assert status == {"killed": "FAILURE", "borough": "STARTED"}


def test_each_migration_has_a_history_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a common one the runs of one would be shown as the other's, and those in the queue would work on the other."""
    shutil.copy(Path(instance.PROJECT_DIR) / "dagster.yaml", tmp_path)
    monkeypatch.setattr(instance, "PROJECT_DIR", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", "")
    seen = []
    for root in ("Tŷ migration", "elsewhere/Tŷ migration", "Tŷ migration"):
        monkeypatch.delenv("DAGSTER_HOME")
        instance.enter_instance(tmp_path / root)
        with dg.DagsterInstance.get() as own:
            seen.append(len(own.get_runs()))
            own.add_run(dg.DagsterRun("fit_shift", make_new_run_id()))
    assert seen == [0, 0, 1]


def test_a_dagster_home_of_the_users_own_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "own"))
    instance.enter_instance(tmp_path / "borough")
    assert Path.cwd() == tmp_path / "own"


def test_the_schedule_is_there_but_off() -> None:
    assert nightly_migration.default_status is dg.DefaultScheduleStatus.STOPPED
    assert saved_reviews.default_status is dg.DefaultSensorStatus.RUNNING

"""Signatures, kept states, rollback, verify and history: what can be answered for, put back and checked again."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from review_migration import LAYER, execute, make_migration, outcomes, save, square, write_stages

from pipeline.delivery.manifest import manifest_path
from pipeline.export import export_layer
from pipeline.files import read_json, sha256, write_json
from pipeline.history import feature_stories, layer_and_reference
from pipeline.officers.sign_off import sign_layer, sign_off_state
from pipeline.officers.undo import undo_line
from pipeline.review import review_layer
from pipeline.rollback import list_states, put_back
from pipeline.settings import Settings
from pipeline.storage import Migration
from pipeline.verify import require_sound, verify_migration
from transforms.errors import ExportError, LogError, ReviewError, SettingsError, VerifyError

SQUARES = [square(400_000.0 + 20 * number) for number in range(3)]


def statutory(migration: Migration) -> Migration:
    layers = [layer.model_copy(update={"statutory": True}) for layer in migration.settings.layers]
    return Migration(migration.root, migration.settings.model_copy(update={"layers": layers}))


def work(migration: Migration, run: str) -> str:
    """Review and export; the state that left."""
    review_layer(migration, LAYER, run)
    return export_layer(migration, LAYER, run).state


def exported_names(migration: Migration) -> set[str]:
    return {path.name for path in migration.exports_dir.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def as_decided(tmp_path_factory: pytest.TempPathFactory) -> Migration:
    """A statutory layer of three features, all decided by Ann, for others to copy."""
    migration = statutory(make_migration(tmp_path_factory.mktemp("decided")))
    write_stages(migration, SQUARES, ["accept", "review", "review"])
    migration.source(Path("sources")).mkdir(parents=True)
    migration.source(Path("sources/trees.gpkg")).write_bytes(b"as delivered")
    files = {"trees.gpkg": sha256(migration.source(Path("sources/trees.gpkg")))}
    write_json(migration.manifest(LAYER), {"files": files})
    (migration.root / "migration.yaml").write_text("title: Test\n")
    review_layer(migration, LAYER, "run-0")
    for row in (1, 2):
        save(migration, row, decision="accept", officer="Ann Archer", note="=1+1")
    return migration


@pytest.fixture(scope="module")
def as_exported(as_decided: Migration, tmp_path_factory: pytest.TempPathFactory) -> Migration:
    """The layer exported as a draft, then as final, for others to copy."""
    migration = copy_of(as_decided, tmp_path_factory.mktemp("exported") / "migration")
    work(migration, "run-1")
    sign_layer(migration, LAYER, "Bob")
    work(migration, "run-2")
    return migration


def copy_of(migration: Migration, root: Path) -> Migration:
    return Migration(Path(shutil.copytree(migration.root, root)), migration.settings)


@pytest.fixture
def migration(as_decided: Migration, tmp_path: Path) -> Migration:
    return copy_of(as_decided, tmp_path / "migration")


@pytest.fixture
def exported(as_exported: Migration, tmp_path: Path) -> Migration:
    return copy_of(as_exported, tmp_path / "migration")


def test_a_statutory_layer_stays_a_draft_until_a_second_person_signs(migration: Migration) -> None:
    assert work(migration, "run-1") == "draft"
    manifest = read_json(manifest_path(migration, LAYER))
    assert "stays a draft until a second person signs" in manifest["sign_off"]["sentence"]
    sign_layer(migration, LAYER, "Bob Baker", "seen")
    assert work(migration, "run-2") == "final"
    assert exported_names(migration) == {"trees.gpkg", "trees.manifest.json"}
    assert read_json(manifest_path(migration, LAYER))["sign_off"]["signed"]["officer"] == "Bob Baker"


@pytest.mark.parametrize("name", ["Ann Archer", " ann  ARCHER "])
def test_who_decided_may_not_sign(migration: Migration, name: str) -> None:
    work(migration, "run-1")
    with pytest.raises(ReviewError, match="who decided features of it"):
        sign_layer(migration, LAYER, name)


def test_a_decision_without_a_name_and_open_features_cannot_be_signed(migration: Migration) -> None:
    with pytest.raises(ReviewError, match="2 features are open"):
        sign_layer(migration, LAYER, "Bob")
    save(migration, 1, officer=None)
    work(migration, "run-1")
    with pytest.raises(ReviewError, match="names no officer"):
        sign_layer(migration, LAYER, "Bob")


def test_any_change_after_the_signature_voids_it_and_says_so(migration: Migration) -> None:
    work(migration, "run-1")
    sign_layer(migration, LAYER, "Bob")
    assert sign_off_state(migration, LAYER).allows_final
    save(migration, 2, decision="keep")
    assert work(migration, "run-2") == "draft"
    sentence = sign_off_state(migration, LAYER).sentence
    assert "signed by Bob" in sentence and "the corrected data and the decisions changed since" in sentence
    sign_layer(migration, LAYER, "Bob")
    assert work(migration, "run-3") == "final"
    migration.field_file.parent.mkdir(parents=True, exist_ok=True)
    migration.field_file.write_bytes(b"another field")
    assert "the fitted shift changed since" in sign_off_state(migration, LAYER).sentence
    verified = verify_migration(migration)
    assert not verified.faults and any("the fitted shift changed since" in note for note in verified.notes)


def test_running_again_unchanged_keeps_the_signature(migration: Migration) -> None:
    work(migration, "run-1")
    sign_layer(migration, LAYER, "Bob")
    for run in ("run-2", "run-3"):
        assert work(migration, run) == "final"


def test_every_state_can_be_put_back_and_the_rollback_itself_undone(exported: Migration) -> None:
    final = (exported.exports_dir / "trees.gpkg").read_bytes()
    table = list_states(exported, LAYER)
    assert "original" in table and "run-1" in table and "run-2" in table
    done = put_back(exported, LAYER, "run-1", "Bob", "objection")
    assert exported_names(exported) == {"trees.draft.gpkg", "trees.manifest.json"} and done.withdrawn
    assert read_json(manifest_path(exported, LAYER))["put_back"]["note"] == "objection"
    put_back(exported, LAYER, "latest", "Bob")
    assert (exported.exports_dir / "trees.gpkg").read_bytes() == final
    assert exported_names(exported) == {"trees.gpkg", "trees.manifest.json"}
    require_sound(verify_migration(exported))


def test_putting_back_keeps_no_state_that_is_kept_already(exported: Migration) -> None:
    assert work(exported, "run-3") == "final"
    table = list_states(exported, LAYER)
    put_back(exported, LAYER, "original", "Bob")
    put_back(exported, LAYER, "latest", "Bob")
    assert list_states(exported, LAYER) == table and "run-3" not in table


def test_the_original_has_every_feature_where_it_was_delivered(exported: Migration) -> None:
    import pyogrio.raw

    put_back(exported, LAYER, "original", "Bob")
    _, _, geometries, fields = pyogrio.raw.read(exported.exports_dir / "trees.gpkg")
    delivered = pq.read_table(exported.staged(LAYER))["pai_geometry"].to_pylist()
    assert list(geometries) == delivered
    assert any(set(column.tolist()) == {"unmoved"} for column in fields if column.dtype == object)


def test_a_run_does_not_undo_a_rollback_in_silence(exported: Migration) -> None:
    put_back(exported, LAYER, "run-1", "Bob")
    before = sha256(exported.exports_dir / "trees.draft.gpkg")
    save(exported, 2, decision="keep", officer="Ann Archer")
    review_layer(exported, LAYER, "run-3")
    export = export_layer(exported, LAYER, "run-3")
    assert export.state == "put back" and "was put back to run run-1" in export.held
    assert sha256(exported.exports_dir / "trees.draft.gpkg") == before
    assert "run-3" in list_states(exported, LAYER), "the new outcome is kept"
    put_back(exported, LAYER, "latest", "Bob")
    assert export_layer(exported, LAYER, "run-4").state == "draft"


@pytest.mark.parametrize("held_before", [False, True])
def test_a_rollback_that_an_open_file_stopped_does_not_count_and_is_said(
    exported: Migration, monkeypatch: pytest.MonkeyPatch, held_before: bool
) -> None:
    if held_before:
        put_back(exported, LAYER, "run-1", "Bob")
    names, honest = exported_names(exported), Path.replace

    def held_open(path: Path, target: Path) -> Path:
        if path.suffix == ".gpkg" and path.parent == exported.exports_dir:
            raise PermissionError(13, "in use")
        return honest(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", held_open)
        with pytest.raises(ExportError, match="Close it in QGIS"):
            put_back(exported, LAYER, "original", "Bob")
    assert exported_names(exported) == names and not verify_migration(exported).faults
    said = "Putting layer trees back to its original"
    assert said in list_states(exported, LAYER) and said in verify_migration(exported).text()
    export = export_layer(exported, LAYER, "run-3")
    assert export.state == ("put back" if held_before else "final") and said in export.notes[-1]
    put_back(exported, LAYER, "original", "Bob")
    assert said not in list_states(exported, LAYER) and "was put back to its original" in list_states(exported, LAYER)


def test_an_unknown_or_damaged_state_changes_nothing(exported: Migration) -> None:
    before = exported_names(exported)
    with pytest.raises(ExportError, match=r"'run-9' is no state .* Name one of: original, run-1, run-2, or latest"):
        put_back(exported, LAYER, "run-9")
    with pytest.raises(ExportError, match="'run-' names several states"):
        put_back(exported, LAYER, "run-")
    (exported.state_dir(LAYER) / "run-1.zip").write_bytes(b"not a zip")
    with pytest.raises(ExportError, match="its hash differs"):
        put_back(exported, LAYER, "run-1")
    assert exported_names(exported) == before


def test_what_was_exported_before_states_were_kept_is_kept_before_it_makes_way(
    migration: Migration, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr("pipeline.export.keep_state", lambda *_: "run-1")
        work(migration, "run-1")
    present = (migration.exports_dir / "trees.draft.gpkg").read_bytes()
    assert "run-1" not in list_states(migration, LAYER)
    put_back(migration, LAYER, "original", "Bob")
    assert "trees.draft.gpkg" not in exported_names(migration)
    put_back(migration, LAYER, "run-1", "Bob")
    assert (migration.exports_dir / "trees.draft.gpkg").read_bytes() == present


def test_a_withdrawn_file_that_was_changed_is_named(exported: Migration) -> None:
    done = put_back(exported, LAYER, "run-1", "Bob")
    assert done.withdrawn
    require_sound(verify_migration(exported))
    with (done.withdrawn / "trees.gpkg").open("ab") as file:
        file.write(b"more")
    assert "trees.gpkg is not what was withdrawn" in verify_migration(exported).text()


def test_a_sound_migration_verifies(exported: Migration) -> None:
    verified = verify_migration(exported)
    assert verified.faults == () and verified.checked > 5


def test_no_damage_to_a_manifest_is_a_traceback(exported: Migration) -> None:
    """It may hit a bracket, a name or a value; verify names the file and goes on, the others say a sentence."""
    put_back(exported, LAYER, "run-1", "Bob")
    path, random = exported.exports_dir / "trees.manifest.json", np.random.default_rng(0)
    whole = path.read_bytes()
    for place in random.integers(len(whole), size=150):
        cut = random.integers(1, 30)
        path.write_bytes(whole[:place] + b"~" * random.integers(2) + whole[place + cut :])
        assert "exports/trees.manifest.json" in verify_migration(exported).text()
        with contextlib.suppress(VerifyError):
            list_states(exported, LAYER)
    path.write_text(json.dumps(json.loads(whole) | {"files": 5}))
    with pytest.raises(VerifyError, match="files is not what an export writes there"):
        list_states(exported, LAYER)


def test_verify_goes_on_without_build(exported: Migration) -> None:
    shutil.rmtree(exported.build_dir)
    assert verify_migration(exported).faults == ()


DAMAGE = {
    "exports/trees.gpkg": "exports/trees.gpkg is not what was exported",
    "exports/trees.manifest.json": "exports/trees.manifest.json",
    "exports/states/trees/run-1.zip": "run-1.zip is not what was kept",
    "decisions/decisions.jsonl": "decisions/decisions.jsonl",
    "decisions/ledger.jsonl": "decisions/ledger.jsonl",
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("how", ["changed", "cut off", "deleted"])
def test_whatever_is_damaged_by_hand_is_named(exported: Migration, name: str, how: str) -> None:
    path = exported.root / name
    if how == "deleted":
        path.unlink()
    else:
        content = path.read_bytes()
        rest = b"~" + content[len(content) // 2 + 1 :] if how == "changed" else b""
        path.write_bytes(content[: len(content) // 2] + rest)
    with pytest.raises(VerifyError) as refusal:
        require_sound(verify_migration(exported))
    if how != "deleted":
        assert DAMAGE[name] in verify_migration(exported).text() and str(refusal.value).count("\n") == 0
    else:
        assert Path(name).name in verify_migration(exported).text()


def test_a_damaged_manifest_stops_a_run_with_one_sentence(exported: Migration) -> None:
    manifest_path(exported, LAYER).write_text("{")
    with pytest.raises(
        VerifyError, match=r"trees.manifest.json cannot be read: it was changed or damaged\. Put it back"
    ):
        export_layer(exported, LAYER, "run-3")


def test_a_log_cut_back_together_with_its_head_is_told_by_the_manifest(exported: Migration) -> None:
    log = exported.decisions_log
    for path in (log, log.with_name(log.name + ".head")):
        path.unlink()
    sentence = verify_migration(exported).text()
    assert "does not begin with the 2 lines" in sentence or "does not begin with the 3 lines" in sentence
    assert "accept on row 1 by Ann Archer" in sentence


def test_a_run_refuses_a_damaged_log(exported: Migration) -> None:
    lines = exported.decisions_log.read_bytes().splitlines(keepends=True)
    exported.decisions_log.write_bytes(b"".join([lines[0], *lines[2:]]))
    with pytest.raises(LogError, match="line 2 is missing"):
        review_layer(exported, LAYER, "run-3")


def test_a_source_changed_or_gone_since_it_was_read_is_named(exported: Migration) -> None:
    source = exported.source(Path("sources/trees.gpkg"))
    source.write_bytes(b"delivered anew")
    (fault,) = verify_migration(exported).faults
    assert "source trees.gpkg of layer trees is not what was read" in fault and "run again" in fault
    source.unlink()
    with pytest.raises(VerifyError, match=r"source trees\.gpkg of layer trees is missing\. Put the delivery back"):
        require_sound(verify_migration(exported))


def test_the_history_tells_the_whole_story(exported: Migration) -> None:
    (story,) = feature_stories(exported, LAYER, "T1")
    assert (story.row, story.reference) == (1, "T1")
    parts = [event.part for event in story.events]
    assert parts[0] == "source"
    assert {"shift", "control", "verdict", "decision", "merged", "signed", "exported"} <= {*parts}
    text = story.text()
    for words in ("trees.gpkg", "Ann Archer said accept", "by Bob", "run-2", "An officer accepted the proposal."):
        assert words in text
    json.dumps([event.data for event in story.events], allow_nan=False)
    assert feature_stories(exported, LAYER, "row:1") == [story]
    with pytest.raises(ReviewError, match="has no feature 'T9'"):
        feature_stories(exported, LAYER, "T9")
    with pytest.raises(SettingsError, match="has no layer 'shrubs'"):
        feature_stories(exported, "shrubs", "T1")


def test_the_migration_may_be_named_first_by_option_or_not_at_all() -> None:
    default = Path("demo")
    assert layer_and_reference(["m", "trees", "T1"], None, default) == (Path("m"), "trees", "T1")
    assert layer_and_reference(["trees", "T1"], Path("m"), default) == (Path("m"), "trees", "T1")
    assert layer_and_reference(["trees", "T1"], None, default) == (default, "trees", "T1")
    with pytest.raises(SettingsError, match="Say which feature"):
        layer_and_reference(["trees"], None, default)


def test_an_earlier_decision_is_looked_up_and_taken_back_and_that_again(exported: Migration) -> None:
    (story,) = feature_stories(exported, LAYER, "T2")
    (line,) = [event.data["line"] for event in story.events if event.part == "decision"]
    undo_line(exported, line, "Carol", "wrong sheet")
    review_layer(exported, LAYER, "run-3")
    assert outcomes(exported)[2][0] == "open"
    assert execute(exported, f"SELECT decision FROM {LAYER} WHERE pai_row = 2") == [(None,)]
    undo_line(exported, _decisions(exported)[-1].line, "Carol")
    review_layer(exported, LAYER, "run-4")
    assert outcomes(exported)[2][0] == "moved"
    with pytest.raises(ReviewError, match="has no decision in line 99"):
        undo_line(exported, 99, "Carol")


def _decisions(migration: Migration) -> list:
    from pipeline.officers.decisions import read_decisions

    return read_decisions(migration.decisions_log, LAYER)


def test_settings_know_the_new_words() -> None:
    layer = {"name": "a", "file": "a.gpkg", "statutory": True, "review_formats": ["tab", "shp"]}
    assert (
        Settings.model_validate({"title": "T", "control": {"files": ["c.csv"]}, "layers": [layer]}).layers[0].statutory
    )

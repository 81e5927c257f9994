"""Every state of a layer's export, kept as it left: what ``post-pai rollback`` puts back.

A state is a zip of the exported files and their manifest in ``exports/states/<layer>/<run>.zip``, known to the
ledger by its hash. A run that changes nothing keeps no new one.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.delivery.manifest import manifest_path, read_manifest
from pipeline.files import sha256, whole_file
from pipeline.ledger import KEPT, PUT_BACK, events, record_kept
from pipeline.officers.sign_off import table_digest
from pipeline.storage import Migration
from transforms.errors import ExportError

LATEST, ORIGINAL = "latest", "original"
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class State:
    """One kept state: the run that made it, draft or final, its counts, its file and hash."""

    run: str
    when: str
    state: str
    counts: Mapping[str, int]
    file: str
    sha256: str


def content_digest(migration: Migration, layer: str, *, is_final: bool) -> str:
    """What an export says, whichever run made it."""
    parts = [
        table_digest(migration.staged(layer)),
        table_digest(migration.corrected(layer), without="pai_run"),
        str(is_final),
        ",".join(migration.settings.layer(layer).formats),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def keep_state(migration: Migration, layer: str, files: Path, manifest: Mapping[str, Any], content: str) -> str:
    """Keep the files of an export, unless the state kept last says the same; the run whose state it is."""
    kept = events(migration, layer, KEPT)
    if kept and kept[-1]["content"] == content and (migration.state_dir(layer) / kept[-1]["file"]).exists():
        return str(kept[-1]["run"])
    run = str(manifest["exported_by_run"])
    path = _unused(migration.state_dir(layer) / f"{run}.zip", {each["file"] for each in kept})
    with whole_file(path) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(files.iterdir()):
            archive.write(file, file.name)
        archive.writestr(_MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False, default=str))
    what = {"file": path.name, "sha256": sha256(path), "content": content}
    record_kept(migration, layer, what | {"state": manifest["state"], "counts": manifest["counts"]}, run)
    return run


def kept_states(migration: Migration, layer: str) -> list[State]:
    """The states of a layer, oldest first.

    Raises
    ------
    LogError
        If the ledger is damaged.
    """
    return [
        State(each["run"], each["when"], each["state"], each["counts"], each["file"], each["sha256"])
        for each in events(migration, layer, KEPT)
    ]


def chosen_state(migration: Migration, layer: str, to: str) -> State:
    """The state that ``to`` names: a run, its beginning, or ``latest``.

    Raises
    ------
    ExportError
        If it names none, or several.
    """
    states = kept_states(migration, layer)
    found = states[-1:] if to == LATEST else [state for state in states if state.run == to]
    found = found[-1:] or [state for state in states if to and state.run.startswith(to)]
    if len(found) == 1:
        return found[0]
    known = ", ".join([ORIGINAL, *(state.run for state in states)])
    fault = "names several states" if found else "is no state"
    raise ExportError(f"{to!r} {fault} of layer {layer}. Name one of: {known}, or {LATEST}.")


def unpack_state(migration: Migration, layer: str, state: State, folder: Path) -> dict[str, Any]:
    """Put the files of a state into ``folder``, each checked against its hash; returns their manifest.

    Raises
    ------
    ExportError
        If the state is gone or is not what was kept.
    """
    path = migration.state_dir(layer) / state.file
    if not path.exists():
        raise ExportError(
            f"{path} is missing, so layer {layer} cannot be put back to run {state.run}. Nothing changed."
        )
    if sha256(path) != state.sha256:
        raise ExportError(f"{path} is not what run {state.run} kept: its hash differs. Nothing was changed.")
    with zipfile.ZipFile(path) as archive:
        manifest: dict[str, Any] = json.loads(archive.read(_MANIFEST))
        for file in manifest["files"]:
            archive.extract(file["name"], folder)
    return manifest


def why_held(migration: Migration, layer: str) -> str:
    """A sentence if an earlier state was put back and stays in place; empty if runs export as ever."""
    held = _put_back_in_place(migration, layer)
    if not held:
        return ""
    what = f"{state_called(held['to'])} on {held['when'][:10]} by {held['officer']}"
    return (
        f"Layer {layer} was put back to {what}, so this export was kept but not put in place. "
        f"post-pai rollback MIGRATION {layer} --to {LATEST} takes it up again."
    )


def why_unfinished(migration: Migration, layer: str) -> str:
    """A sentence if the latest rollback was cut off, or stopped by an open file, before its state was in place."""
    asked, held = events(migration, layer, PUT_BACK)[-1:], _put_back_in_place(migration, layer)
    if not asked or (asked[0]["to"] == LATEST and not held):
        return ""
    last = asked[0]
    if held and (last["to"], last["when"]) == (held["to"], held["when"]):
        return ""
    what = f"{state_called(last['to'])} on {last['when'][:10]} by {last['officer']}"
    return (
        f"Putting layer {layer} back to {what} was cut off, so it does not count. Do it again with post-pai rollback, "
        f"or say --to {LATEST}."
    )


def _put_back_in_place(migration: Migration, layer: str) -> Mapping[str, str] | None:
    """Which rollback put in place what lies there; None if a run did, or it is the latest state."""
    manifest = read_manifest(manifest_path(migration, layer))  # written last of all
    put_back = manifest.get("put_back") if manifest else None
    return put_back if put_back and put_back["to"] != LATEST else None


def state_called(to: str) -> str:
    """What people call the state that ``to`` names."""
    return {ORIGINAL: "its original", LATEST: "its latest state"}.get(to, f"run {to}")


def _unused(path: Path, taken: set[str]) -> Path:
    number, candidate = 1, path
    while candidate.name in taken or candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate

"""Checking again, years later: is everything still what was read, decided, signed and exported?

Reads only. What is checked has its hash in a manifest, and the manifests theirs in the ledger, whose lines hold each
other. ``build/`` may be deleted at any time, so nothing is demanded of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.base_maps import base_map_hashes
from pipeline.delivery.manifest import manifest_path, read_manifest
from pipeline.delivery.states import why_unfinished
from pipeline.files import read_json, sha256
from pipeline.ledger import KEPT, events
from pipeline.logbook import examine, head_at
from pipeline.officers.sign_off import sign_off_state
from pipeline.storage import Migration
from transforms.errors import SourceError, VerifyError


@dataclass(frozen=True)
class Verified:
    """What was checked: how many files, logs and signatures, and a sentence for whatever is not as it was.

    ``notes`` are no faults: lines from before logs were chained, half a line left by a crash, a void signature.
    """

    checked: int
    faults: tuple[str, ...]
    notes: tuple[str, ...]

    def text(self) -> str:
        """Every finding, one a line, and the count."""
        lines = [*(f"WRONG  {fault}" for fault in self.faults), *(f"note   {note}" for note in self.notes)]
        return "\n".join([*lines, f"{self.checked} things checked, {len(self.faults)} wrong."]) + "\n"


def verify_migration(migration: Migration) -> Verified:
    """Check every hash of a migration; raises nothing for what it finds."""
    tally = _Tally()
    logs_sound = [_check_log(tally, log) for log in (migration.decisions_log, migration.ledger)]
    _check_control(tally, migration)
    _check_shift(tally, migration)
    for layer in migration.settings.layers:
        _check_layer(tally, migration, layer.name, are_logs_sound=all(logs_sound))
    for folder in sorted((migration.exports_dir / "withdrawn").glob("*")):
        _check_withdrawn(tally, folder)
    return Verified(tally.checked, tuple(dict.fromkeys(tally.faults)), tuple(dict.fromkeys(tally.notes)))


def require_sound(verified: Verified) -> None:
    """Refuse with one sentence where something is wrong.

    Raises
    ------
    VerifyError
        With the first fault and how many more there are.
    """
    if verified.faults:
        more = len(verified.faults) - 1
        others = f" ({more} more fault{'s' if more > 1 else ''} listed above.)" if more else ""
        raise VerifyError(f"{verified.faults[0]}{others}")


class _Tally:
    def __init__(self) -> None:
        self.checked, self.faults, self.notes = 0, list[str](), list[str]()

    def require(self, is_right: bool, fault: str) -> bool:
        self.checked += 1
        if not is_right:
            self.faults.append(fault)
        return is_right

    def note_unless(self, is_right: bool, note: str) -> None:
        self.checked += 1
        if not is_right:
            self.notes.append(note)


def _check_log(tally: _Tally, log: Path) -> bool:
    state = examine(log)
    if state.unchained:
        tally.notes.append(
            f"{log.parent.name}/{log.name}: {state.unchained} lines are from before lines were chained; what was "
            "changed in them before the first chained line cannot be seen."
        )
    if state.is_torn:
        tally.notes.append(
            f"{log.parent.name}/{log.name}: half a line at the end, left by a crash, counts for nothing."
        )
    return tally.require(not state.damage, state.damage[0] if state.damage else "")


def _check_control(tally: _Tally, migration: Migration) -> None:
    manifest = _read(tally, migration.control_manifest) if migration.control_manifest.exists() else None
    for file in manifest["files"] if manifest else ():
        if file["form"] == "base_maps":
            _check_base_maps(tally, migration, file["sha256"].split())
            continue
        path = migration.root / file["path"]
        if path.is_relative_to(migration.build_dir):
            continue
        if file["sha256"]:
            _check_delivery(tally, path, [file["sha256"]], f"control file {file['name']}")


def _check_base_maps(tally: _Tally, migration: Migration, digests: list[str]) -> None:
    try:
        files = base_map_hashes(migration)
    except SourceError as error:
        tally.require(False, str(error))
        return
    for name in files:
        _check_delivery(tally, migration.root / name, digests, f"base map {Path(name).name}")


def _check_delivery(tally: _Tally, path: Path, digests: list[str], what: str) -> None:
    if tally.require(path.is_file(), f"The {what} is missing. Put the delivery back."):
        tally.require(
            sha256(path) in digests,
            f"The {what} is not what was read: it was changed or delivered anew. Put it back, or run again.",
        )


def _check_shift(tally: _Tally, migration: Migration) -> None:
    folder = migration.exports_dir / "shift"
    path = folder / "shift.manifest.json"
    manifest = _read(tally, path) if path.exists() else None
    for name, digest in manifest["files"].items() if manifest else ():
        _check_file(tally, folder / name, digest, "was exported")


def _check_layer(tally: _Tally, migration: Migration, layer: str, *, are_logs_sound: bool) -> None:
    path = manifest_path(migration, layer)
    manifest = _read(tally, path, read_manifest) if path.exists() else None
    if manifest is not None:
        _check_manifest(tally, migration, layer, manifest)
    if are_logs_sound:
        _check_ledger(tally, migration, layer, path)
        if manifest is not None or not path.exists():
            tally.note_unless(not (unfinished := why_unfinished(migration, layer)), unfinished)


def _check_ledger(tally: _Tally, migration: Migration, layer: str, path: Path) -> None:
    manifests = events(migration, layer, "manifest")
    if manifests:
        _check_file(tally, path, manifests[-1]["sha256"], "was written by the export")
    for kept in events(migration, layer, KEPT):
        _check_file(tally, migration.state_dir(layer) / kept["file"], kept["sha256"], "was kept")
    state = sign_off_state(migration, layer)
    if state.signed and path.exists():
        tally.note_unless(not state.sentence, state.sentence)


def _check_manifest(tally: _Tally, migration: Migration, layer: str, manifest: dict[str, Any]) -> None:
    for file in manifest["files"]:
        _check_file(tally, migration.exports_dir / file["name"], file["sha256"], "was exported")
    folder = migration.source(migration.settings.layer(layer).file).parent
    for name, digest in manifest.get("source", {}).get("files", {}).items():
        _check_delivery(tally, folder / name, [digest], f"source {name} of layer {layer}")
    log = manifest.get("decisions_log")
    if log:
        tally.require(
            head_at(migration.decisions_log, int(log["lines"])) == log["digest"],
            f"decisions/{migration.decisions_log.name} does not begin with the {log['lines']} lines that the export of "
            f"layer {layer} rested on: lines were changed or removed.{_gone(migration, manifest)}",
        )


def _gone(migration: Migration, manifest: dict[str, Any]) -> str:
    """What the manifest still knows of decisions that the log has lost."""
    lines = {each.get("line") for each in examine(migration.decisions_log).records}
    lost = [each for each in manifest.get("decisions", []) if each.get("line") and each["line"] not in lines]
    told = [f"line {each['line']}, {each['decision']} on row {each['pai_row']} by {each['officer']}" for each in lost]
    return f" Its manifest still names {'; '.join(told)}." if told else ""


def _check_withdrawn(tally: _Tally, folder: Path) -> None:
    for path in sorted(folder.glob("*.manifest.json")):
        manifest = _read(tally, path, read_manifest)
        known = {file["name"]: file["sha256"] for file in manifest["files"]} if manifest else {}
        for file in sorted(folder.iterdir()):
            if file.name in known:
                _check_file(tally, file, known[file.name], "was withdrawn")


def _check_file(tally: _Tally, path: Path, digest: str, what: str) -> None:
    if tally.require(path.is_file(), f"{_named(path)} is missing, though it {what}."):
        tally.require(sha256(path) == digest, f"{_named(path)} is not what {what}: it was changed since.")


def _read(tally: _Tally, path: Path, reader: Callable[[Path], Any] = read_json) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = reader(path)
        content["files"]  # every manifest has them
    except (VerifyError, OSError, KeyError, TypeError):
        tally.require(False, f"{_named(path)} cannot be read: it was changed or damaged.")
        return None
    return content


def _named(path: Path) -> str:
    parts = path.parts
    start = max((k for k, part in enumerate(parts) if part == "exports"), default=len(parts) - 2)
    return "/".join(parts[start:])

"""A second person signs what was seen; whatever changes afterwards voids the signature and says so."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.delivery.digest import TableDigest
from pipeline.files import sha256
from pipeline.logbook import append_line, read_lines
from pipeline.made_from import why_mixed
from pipeline.officers.decisions import UNKNOWN_OFFICER, Decision, in_force, is_on_feature, read_decisions
from pipeline.officers.outdated import why_outdated
from pipeline.storage import Migration
from transforms.errors import ReviewError

_KIND = "sign_off"
_WORDS = {
    "corrected": "the corrected data",
    "field": "the fitted shift",
    "control": "the control",
    "decisions": "the decisions",
}


@dataclass(frozen=True)
class Seen:
    """What is signed, as hashes: the corrected data without its run, the field, the control, the decisions."""

    corrected: str
    field: str
    control: str
    decisions: str

    def differs_in(self, other: Seen) -> list[str]:
        """What changed since, in words."""
        mine, others = asdict(self), asdict(other)
        return [_WORDS[name] for name in mine if mine[name] != others[name]]


@dataclass(frozen=True)
class SignOff:
    """One signature: by whom, when, on what; ``line`` in the log."""

    layer: str
    officer: str
    note: str
    when: str
    seen: Seen
    line: int


@dataclass(frozen=True)
class SignOffState:
    """Whether a layer may leave as final; ``sentence`` says why not, and is empty if it may."""

    is_needed: bool
    signed: SignOff | None
    sentence: str

    @property
    def allows_final(self) -> bool:
        """Whether nothing stands against a final export as far as signatures go."""
        return not self.sentence

    def as_record(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "needed": self.is_needed,
            "signed": asdict(self.signed) if self.signed else None,
            "is_valid": bool(self.signed) and not self.sentence,
            "sentence": self.sentence,
        }


def sign_layer(migration: Migration, layer: str, officer: str, note: str = "", now: datetime | None = None) -> SignOff:
    """Sign a layer as it is now.

    Raises
    ------
    ReviewError
        If there is no outcome of what the stages made last, features are open, the proposals are outdated, or the
        signer is not a second person.
    LogError
        If the log of decisions is damaged.
    """
    migration.settings.layer(layer)  # a sentence with the layers there are
    officer = officer.strip()
    _refuse_unready(migration, layer)
    _refuse_same_person(layer, officer, in_force(read_decisions(migration.decisions_log, layer)))
    when = (now or datetime.now(UTC)).isoformat(timespec="seconds")
    seen = seen_today(migration, layer)
    record = {"kind": _KIND, "layer": layer, "officer": officer, "note": note, "when": when, "seen": asdict(seen)}
    return SignOff(layer, officer, note, when, seen, append_line(migration.decisions_log, record))


def sign_off_state(migration: Migration, layer: str) -> SignOffState:
    """Whether a layer is signed as it is now, and whether it needs to be."""
    is_needed = migration.settings.layer(layer).statutory
    signed = latest_sign_off(migration, layer)
    if signed is None:
        return SignOffState(is_needed, None, _unsigned(layer) if is_needed else "")
    changed = signed.seen.differs_in(seen_today(migration, layer))
    return SignOffState(is_needed, signed, _void(signed, changed) if changed and is_needed else "")


def latest_sign_off(migration: Migration, layer: str) -> SignOff | None:
    """The latest signature on a layer; None if there is none."""
    signed = [each for each in read_lines(migration.decisions_log) if _is_sign_off(each, layer)]
    return _sign_off(signed[-1]) if signed else None


def sign_offs(migration: Migration, layer: str) -> list[SignOff]:
    """Every signature on a layer, oldest first."""
    return [_sign_off(each) for each in read_lines(migration.decisions_log) if _is_sign_off(each, layer)]


def seen_today(migration: Migration, layer: str) -> Seen:
    """What a signature given now would be about."""
    lines = [each for each in read_lines(migration.decisions_log) if is_on_feature(each, layer)]
    return Seen(
        corrected=table_digest(migration.corrected(layer), without="pai_run"),
        field=sha256(migration.field_file) if migration.field_file.exists() else "",
        control=table_digest(migration.control_table),
        decisions=hashlib.sha256(json.dumps(lines, sort_keys=True).encode()).hexdigest(),
    )


def table_digest(path: Path, without: str = "") -> str:
    """What a Parquet table says, whatever wrote it; empty if it is missing."""
    if not path.exists():
        return ""
    columns = [name for name in pq.read_schema(path).names if name != without]
    digest = TableDigest(columns)
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=columns):
            digest.update(batch)
    return digest.hexdigest()


def _is_sign_off(record: dict[str, Any], layer: str) -> bool:
    return record.get("kind") == _KIND and record.get("layer") == layer


def _sign_off(record: dict[str, Any]) -> SignOff:
    seen, line = Seen(**record["seen"]), int(record.get("line", 0))
    return SignOff(record["layer"], record["officer"], record["note"], record["when"], seen, line)


def _refuse_unready(migration: Migration, layer: str) -> None:
    if mixed := why_mixed(migration, layer, "review"):
        raise ReviewError(f"Layer {layer} cannot be signed yet. {mixed}")
    status = pq.read_table(migration.corrected(layer), columns=["pai_status"])["pai_status"].to_pylist()
    open_features = status.count("open")
    if open_features:
        raise ReviewError(f"Layer {layer} cannot be signed: {open_features} features are open. Decide them first.")
    if outdated := why_outdated(migration, layer):
        raise ReviewError(f"Layer {layer} cannot be signed yet. {outdated}")


def _refuse_same_person(layer: str, officer: str, decisions: list[Decision]) -> None:
    if not officer:
        raise ReviewError(f"Layer {layer} cannot be signed: say who signs with --officer NAME.")
    deciders = {_plain(decision.officer): decision.officer for decision in decisions}
    if _plain(officer) in deciders:
        raise ReviewError(
            f"Layer {layer} cannot be signed by {officer}, who decided features of it. Ask a second person to sign."
        )
    if _plain(UNKNOWN_OFFICER) in deciders:
        raise ReviewError(
            f"Layer {layer} cannot be signed: a decision on it names no officer, so nobody knows whether {officer} is "
            "a second person. Fill in the officer in the review file and run again."
        )


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())


def _unsigned(layer: str) -> str:
    return (
        f"Layer {layer} is statutory and stays a draft until a second person signs it: post-pai sign MIGRATION {layer} "
        "--officer NAME."
    )


def _void(signed: SignOff, changed: list[str]) -> str:
    return (
        f"Layer {signed.layer} was signed by {signed.officer} on {signed.when[:10]}, but {' and '.join(changed)} "
        "changed since, so the signature is void and it stays a draft. Look again, then post-pai sign MIGRATION "
        f"{signed.layer} --officer NAME."
    )

"""The story of one feature from its source to its export: every part of it read from what the stages and people
left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from pipeline.files import read_json
from pipeline.fingerprint import read_geometry
from pipeline.ledger import KEPT, PUT_BACK, events
from pipeline.officers.decisions import UNDO, Decision, in_force, read_decisions
from pipeline.officers.layer_rows import LayerRows, read_layer_rows
from pipeline.officers.outdated import why_outdated
from pipeline.officers.sign_off import sign_off_state, sign_offs
from pipeline.pages.reasons import sentence
from pipeline.storage import Migration
from transforms.errors import ReviewError, SettingsError

_NEAREST = 5
_ROW = "row:"


@dataclass(frozen=True)
class Event:
    """One part of a story: which stage or person, in one sentence, and the figures behind it."""

    part: str
    text: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Story:
    """What happened to one feature, in the order in which it happened to it."""

    layer: str
    row: int
    reference: str
    events: tuple[Event, ...]

    def text(self) -> str:
        """The story for people."""
        head = f"{self.layer}, {self.reference or 'no reference'} (row {self.row})"
        width = max(len(event.part) for event in self.events)
        return "\n".join([head, *(f"  {event.part.ljust(width)}  {event.text}" for event in self.events)])


def feature_stories(migration: Migration, layer: str, reference: str) -> list[Story]:
    """The story of every feature of a layer that is known by ``reference``, or of ``row:N``.

    Raises
    ------
    ReviewError
        If there is no such feature, or the layer has not been run.
    LogError
        If a log is damaged.
    """
    migration.settings.layer(layer)  # a sentence with the layers there are
    rows = read_layer_rows(migration, layer)
    found = _rows_called(rows, reference)
    if not found:
        raise ReviewError(
            f"Layer {layer} has no feature {reference!r}. Give its reference, or row:N, N from 0 to {len(rows) - 1}."
        )
    return [_story(migration, layer, rows, row) for row in found]


def told(stories: list[Story]) -> list[dict[str, Any]]:
    """The stories for machines."""
    return [asdict(story) for story in stories]


def layer_and_reference(words: list[str], migration: Path | None, default: Path) -> tuple[Path, str, str]:
    """What ``[MIGRATION] LAYER ID`` names; the migration may be left out.

    Raises
    ------
    SettingsError
        If there are too few or too many words.
    """
    if len(words) == 3 and migration is None:
        return Path(words[0]), words[1], words[2]
    if len(words) == 2:
        return migration or default, words[0], words[1]
    raise SettingsError("Say which feature: post-pai history [MIGRATION] LAYER ID, or --migration MIGRATION LAYER ID.")


def _rows_called(rows: LayerRows, reference: str) -> list[int]:
    if reference.startswith(_ROW) and reference[len(_ROW) :].isdigit():
        row = int(reference[len(_ROW) :])
        return [row] if row < len(rows) else []
    return [row for row in range(len(rows)) if rows.reference(row) == reference.strip()] if rows.id_column else []


def _story(migration: Migration, layer: str, rows: LayerRows, row: int) -> Story:
    source_hash = rows.source_hashes([row])[row]
    parts = [
        _source(migration, layer, row, source_hash),
        *_shift(migration, layer, row),
        *_control(migration, rows.before(row)),
        *_verdict(migration, layer, row),
        *_decisions(migration, layer, rows, row),
        *_outcome(migration, layer, row),
        *_signatures(migration, layer),
        *_exports(migration, layer),
    ]
    return Story(layer, row, rows.reference(row), tuple(parts))


def _source(migration: Migration, layer: str, row: int, source_hash: str) -> Event:
    manifest = read_json(migration.manifest(layer)) if migration.manifest(layer).exists() else {}
    files = manifest.get("files", {})
    file = migration.settings.layer(layer).file.as_posix()
    known = "; ".join(f"{name} {str(digest)[:12]}" for name, digest in files.items())
    return Event(
        "source",
        f"{file} ({known}), row {row}; feature {source_hash}.",
        {"file": file, "files": files, "row": row, "feature_hash": source_hash},
    )


def _shift(migration: Migration, layer: str, row: int) -> Iterator[Event]:
    values = _row_of(migration.shifted(layer), row)
    codes = values.get("regime_reasons") or []
    if "regime" in values:
        yield Event(
            "regime",
            f"{values['regime']}: {_sentences(codes)}",
            {"regime": values["regime"], "evidence": codes, "wrong_chance_ratio": values.get("wrong_chance_ratio")},
        )
    names = (
        "shift_easting_m",
        "shift_northing_m",
        "shift_m",
        "uncertainty_m",
        "control_distance_m",
        "break_distance_m",
    )
    figures = {name: values.get(name) for name in names}
    shifted = events(migration, layer, "shifted")
    field_digest = shifted[-1]["field"] if shifted else ""
    proposed = f"{_metres(figures['shift_m'])}, standard error {_metres(figures['uncertainty_m'])}"
    if not values.get("moved"):
        proposed = f"no move proposed{_because(values.get('blocked_by'))}"
    when = f" on {shifted[-1]['when'][:16].replace('T', ' ')} in run {shifted[-1]['run']}" if shifted else ""
    outdated = why_outdated(migration, layer)
    yield Event(
        "shift",
        f"{proposed}; field {field_digest[:12]}{when}.{' ' + outdated if outdated else ''}",
        figures | {"moved": bool(values.get("moved")), "field_sha256": field_digest, "outdated": outdated},
    )


def _control(migration: Migration, before: bytes | None) -> Iterator[Event]:
    shape = read_geometry(before)
    if shape is None or shape.is_empty or not migration.control_table.exists():
        return
    table = pq.read_table(migration.control_table)
    names = ("old_easting", "old_northing", "new_easting", "new_northing")
    ends = np.column_stack([np.asarray(table[name].cast(pa.float64()).to_numpy(), dtype=float) for name in names])
    distance_m = shapely.distance(shapely.points(ends[:, :2]), shape)
    near = [int(k) for k in np.argsort(distance_m, kind="stable")[:_NEAREST] if np.isfinite(distance_m[k])]
    points = [
        {
            **{name: table[name][k].as_py() for name in ("file", "row", "code", "verdict", "reasons")},
            "distance_m": round(float(distance_m[k]), 1),
            "shift_m": round(float(np.hypot(*(ends[k, 2:] - ends[k, :2]))), 3),
        }
        for k in near
    ]
    said = "; ".join(
        f"{point['file']} row {point['row']} {point['verdict']} at {point['distance_m']:.0f} m, "
        f"shift {point['shift_m']:.2f} m"
        for point in points
    )
    yield Event("control", f"{said}." if said else "none near.", {"nearest": points})


def _verdict(migration: Migration, layer: str, row: int) -> Iterator[Event]:
    values = _row_of(migration.quality(layer), row)
    codes = values.get("reasons") or []
    if "verdict" in values:
        yield Event("verdict", f"{values['verdict']}: {_sentences(codes)}", _plain(values) | {"reasons": codes})


def _decisions(migration: Migration, layer: str, rows: LayerRows, row: int) -> Iterator[Event]:
    decisions = read_decisions(migration.decisions_log, layer)
    counting = {each.line for each in in_force(decisions)}
    today = rows.today({each.feature: each.reference for each in decisions})
    for each in decisions:
        if today.any_row_of(each.feature) == row:
            yield _decision(each, each.line in counting, each.feature in today.same)


def _decision(each: Decision, counts: bool, same_source: bool) -> Event:
    text = f"line {each.line}: {each.told()}, in {each.copy}, read in run {each.run}."
    if each.decision == UNDO:
        text += f" It takes back line {', '.join(map(str, each.undoes))}."
    elif each.refused:
        text += f" Refused: {each.refused}"
    elif not counts:
        text += " Taken back since."
    if each.conflicts_with:
        text += f" It contradicts line {each.conflicts_with}."
    if not same_source:
        text += " The source feature was another one then."
    return Event("decision", text, {**asdict(each), "counts": counts})


def _outcome(migration: Migration, layer: str, row: int) -> Iterator[Event]:
    values = _row_of(migration.corrected(layer), row)
    if values:
        codes = [code for code in str(values.get("pai_reasons") or "").split(";") if code]
        how = f"{values['pai_status']} in run {values['pai_run']}, {_metres(values.get('pai_shift_m'))}"
        yield Event("merged", f"{how}: {_sentences(codes)}", _plain(values))


def _signatures(migration: Migration, layer: str) -> Iterator[Event]:
    for signed in sign_offs(migration, layer):
        note = f" ({signed.note})" if signed.note else ""
        yield Event("signed", f"line {signed.line}: by {signed.officer} on {signed.when[:16]}{note}.", asdict(signed))
    state = sign_off_state(migration, layer)
    if state.sentence:
        yield Event("sign-off", state.sentence, {"is_valid": False})


def _exports(migration: Migration, layer: str) -> Iterator[Event]:
    for each in events(migration, layer, "exported", KEPT, PUT_BACK):
        when = each["when"][:16].replace("T", " ")
        if each["event"] == "exported":
            files = "; ".join(f"{name} {digest[:12]}" for name, digest in each["files"].items())
            yield Event("exported", f"{when} in run {each['run']}: {files}.", each)
        elif each["event"] == PUT_BACK:
            yield Event("put back", f"{when} to {each['to']} by {each['officer']}. {each['note']}".strip(), each)


def _row_of(path: Path, row: int) -> dict[str, Any]:
    if not path.exists():
        return {}
    names = [name for name in pq.read_schema(path).names if name != "pai_geometry"]
    return dict(pq.read_table(path, columns=names).slice(row, 1).to_pylist()[0])


def _sentences(codes: list[str]) -> str:
    return " ".join(sentence(code) for code in codes) or "nothing found against it."


def _because(code: str | None) -> str:
    return f" ({sentence(code).rstrip('.')})" if code else ""


def _metres(length: float | None) -> str:
    return f"{length:.3f} m" if length is not None and np.isfinite(length) else "no length"


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Without numbers that are none: JSON has no word for them."""
    return {
        key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in values.items()
    }

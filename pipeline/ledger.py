"""Transform only once: what was shifted and exported, when, and with which control.

A run begins from the untouched source, so running the same layer again replaces the proposal and moves nothing
twice, whatever the control. What would move data twice, and is refused here:

- the same delivery under a second layer name, which would leave two corrected copies of one layer;
- our own export fed back as a source, under any name, with or without its ``pai_`` columns.

Append-only, one JSON line per event in ``decisions/ledger.jsonl``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pipeline.logbook import append_line, read_lines
from pipeline.storage import Migration
from transforms.errors import LedgerError

_SHIFTED, _EXPORTED, _MANIFEST = "shifted", "exported", "manifest"
KEPT, PUT_BACK = "kept", "put_back"
"""Events of ``exports/states``: a state was kept, an earlier one was put back in place."""


def source_digest(file_hashes: Mapping[str, str] | Iterable[str], source_layer: str | None = None) -> str:
    """What a delivered layer is known by: the bytes of its files, and which layer inside them.

    Parameters
    ----------
    file_hashes
        SHA-256 of the file and its side files; a mapping's names do not count, so a renamed copy is the same data.
    source_layer
        The layer inside the file, where it holds several.

    Examples
    --------
    >>> source_digest({"a.shp": "1", "a.dbf": "2"}) == source_digest({"b.dbf": "2", "b.shp": "1"})
    True
    >>> source_digest(["1"], "points") == source_digest(["1"], "areas")
    False
    """
    hashes = file_hashes.values() if isinstance(file_hashes, Mapping) else file_hashes
    return hashlib.sha256("\n".join([*sorted(hashes), source_layer or ""]).encode()).hexdigest()


def refuse_second_shift(migration: Migration, layer: str, source_digest: str, geometry_digest: str) -> None:
    """Refuse data that was shifted already; silent when this is the layer's own untouched source.

    Parameters
    ----------
    migration, layer
        Where the data would be shifted, and under which layer name.
    source_digest
        Of the delivery, by ``source_digest``.
    geometry_digest
        Of its geometries in order, by ``pipeline.fingerprint.layer_hash``; empty if it has none.

    Raises
    ------
    LedgerError
        With the day and the run of the first shift.
    """
    records = read_lines(migration.ledger)
    _refuse_own_export(layer, geometry_digest, records)
    _refuse_other_name(layer, source_digest, records)


def record_shift(
    migration: Migration,
    layer: str,
    *,
    source_digest: str,
    geometry_digest: str,
    control_digest: str,
    field_digest: str,
    run_id: str,
    now: datetime | None = None,
) -> bool:
    """Note that a layer was shifted from its source.

    Returns
    -------
    bool
        False if the ledger says so already: the same source with the same control and field, run again.
    """
    what = {
        "layer": layer,
        "source": source_digest,
        "geometry": geometry_digest,
        "control": control_digest,
        "field": field_digest,
    }
    return _note(migration, _SHIFTED, what, run_id, now)


def record_export(
    migration: Migration,
    layer: str,
    *,
    geometry_digest: str,
    files: Mapping[str, str],
    run_id: str,
    now: datetime | None = None,
) -> bool:
    """Note what left the house, so that it is known when it comes back as a source.

    Parameters
    ----------
    migration, layer
        Of the export; drafts too, for a draft is as easily mistaken for a source.
    geometry_digest
        Of the exported geometries in order, by ``pipeline.fingerprint.layer_hash``.
    files
        SHA-256 by file name.
    run_id, now
        The run and its time.

    Returns
    -------
    bool
        False if the ledger says so already.
    """
    what = {"layer": layer, "geometry": geometry_digest, "files": dict(files)}
    return _note(migration, _EXPORTED, what, run_id, now)


def record_manifest(
    migration: Migration, layer: str, manifest_sha256: str, run_id: str, now: datetime | None = None
) -> bool:
    """Note the manifest of an export, so that it can be told from one that was changed by hand."""
    return _note(migration, _MANIFEST, {"layer": layer, "sha256": manifest_sha256}, run_id, now)


def record_kept(migration: Migration, layer: str, what: Mapping[str, Any], run_id: str) -> bool:
    """Note that a state of an export was kept: its file, hash, counts and content."""
    return _note(migration, KEPT, {"layer": layer, **what}, run_id, None)


def record_put_back(migration: Migration, layer: str, what: Mapping[str, Any], now: datetime | None = None) -> None:
    """Note that an earlier state was put back: which, by whom, why. Noted every time: it may be undone and done
    again."""
    when = (now or datetime.now(UTC)).isoformat(timespec="seconds")
    append_line(migration.ledger, {"event": PUT_BACK, "when": when, "layer": layer, **what})


def events(migration: Migration, layer: str, *names: str) -> list[dict[str, Any]]:
    """The events of a layer that bear one of ``names`` (all if none), oldest first.

    Raises
    ------
    LogError
        If the ledger is damaged.
    """
    mine = [record for record in read_lines(migration.ledger) if record.get("layer") == layer]
    return [record for record in mine if not names or record["event"] in names]


def _note(migration: Migration, event: str, what: dict[str, Any], run_id: str, now: datetime | None) -> bool:
    mine = [record for record in read_lines(migration.ledger) if _is(record, event, what["layer"])]
    if mine and what.items() <= mine[-1].items():
        return False
    when = (now or datetime.now(UTC)).isoformat(timespec="seconds")
    append_line(migration.ledger, {"event": event, "when": when, "run": run_id, **what})
    return True


def _is(record: Mapping[str, Any], event: str, layer: str) -> bool:
    return record.get("event") == event and record.get("layer") == layer


def _refuse_own_export(layer: str, geometry_digest: str, records: list[dict[str, Any]]) -> None:
    # An export in which nothing moved equals its own source: only what differs from every source was moved.
    untouched = {record["geometry"] for record in records if record["event"] == _SHIFTED}
    for record in records:
        if record["event"] != _EXPORTED or not geometry_digest or geometry_digest in untouched:
            continue
        if record["geometry"] == geometry_digest:
            raise LedgerError(
                f"The source of layer {layer} was shifted already: it lies exactly where layer {record['layer']} was "
                f"exported on {_day(record)} (run {record['run']}), and data is shifted only once. "
                "Put the original delivery back as its source."
            )


def _refuse_other_name(layer: str, digest: str, records: list[dict[str, Any]]) -> None:
    for record in records:
        if record["event"] == _SHIFTED and record["source"] == digest and record["layer"] != layer:
            raise LedgerError(
                f"The source of layer {layer} was shifted already, as layer {record['layer']} on {_day(record)} "
                f"(run {record['run']}), and data is shifted only once. Keep the name {record['layer']} for it, "
                f"and take {layer} out of migration.yaml."
            )


def _day(record: Mapping[str, Any]) -> str:
    return str(record["when"]).replace("T", " at ")[:19]

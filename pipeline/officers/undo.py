"""Taking back one line of the log by a new line: nothing is ever removed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.logbook import read_lines
from pipeline.officers.control_decisions import append_control, as_control_decision
from pipeline.officers.decisions import UNDO, append_new, as_decision
from pipeline.storage import Migration
from transforms.errors import ReviewError

_COMMAND = "command"


def undo_line(migration: Migration, line: int, officer: str, note: str = "", now: datetime | None = None) -> str:
    """Take back a decision on a feature or on a control point; an undo can be undone. Returns what was done.

    Raises
    ------
    ReviewError
        If there is no such line, it is no decision, or nobody says who takes it back.
    LogError
        If the log is damaged.
    """
    if not officer.strip():
        raise ReviewError("Say who takes it back with --officer NAME.")
    record = _record(migration.decisions_log, line)
    when = (now or datetime.now(UTC)).isoformat(timespec="seconds")
    who: dict[str, Any] = {
        "officer": officer.strip(),
        "note": note,
        "decided_at": when,
        "saved_at": when,
        "taken_at": when,
    }
    who |= {"run": _COMMAND, "copy": _COMMAND, "seen": line, "conflicts_with": 0}
    if record.get("kind") == "control":
        said = as_control_decision(record)
        append_control(migration.decisions_log, [replace(said, decision=UNDO, undoes=(line,), **who)])
        return f"Line {line} is taken back: {said.told()}. It counts from the next run on."
    decision = as_decision(record)
    undo = replace(decision, decision=UNDO, undoes=(line,), geometry=None, refused="", why="", codes=(), **who)
    append_new(migration.decisions_log, [undo])
    return f"Line {line} is taken back: {decision.told()}, layer {decision.layer}. It counts from the next run on."


def _record(log: Path, line: int) -> dict[str, Any]:
    found = [record for number, record in enumerate(read_lines(log), start=1) if record.get("line", number) == line]
    if not found or not ("pai_row" in found[0] or found[0].get("kind") == "control"):
        raise ReviewError(f"{log} has no decision in line {line}. post-pai history names the line of each.")
    return found[0]

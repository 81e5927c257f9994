"""Append-only logs whose lines hold each other: what was deleted, changed or put elsewhere by hand comes to light.

Each line is one JSON record with its number in ``line`` and, in ``previous``, the hash of all lines before it. How long
the log is and its hash stand in ``<log>.head``, so that lines cut off at the end are missed too. Lines written before
logs were chained are read as they are; the first chained line vouches for them from then on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from transforms.errors import LogError

_START = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Head:
    """How many lines a log has, torn ones included, and the hash of them all."""

    lines: int = 0
    digest: str = _START

    @property
    def next_line(self) -> int:
        """The number of the line to come."""
        return self.lines + 1


@dataclass(frozen=True)
class Log:
    """A log as read: its records, where it stands, how many lines were never chained, and what is wrong with it.

    ``damage`` has a sentence for each fault, the first one first; ``is_torn`` says that the last line is half a
    line, left by a process that died while writing it, so nothing was promised.
    """

    records: tuple[dict[str, Any], ...]
    head: Head
    unchained: int
    damage: tuple[str, ...]
    is_torn: bool


def head_file(log: Path) -> Path:
    """Where the length and the hash of ``log`` stand."""
    return log.with_name(log.name + ".head")


def append_line(log: Path, record: dict[str, Any]) -> int:
    """Append one record; returns its line number."""
    return append_lines(log, [record])[0]


def append_lines(log: Path, records: Iterable[dict[str, Any]]) -> list[int]:
    """Append records and force them to disk; earlier lines are never touched.

    Returns
    -------
    list[int]
        Their line numbers.

    Raises
    ------
    LogError
        If the log is damaged: nothing is written then.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(log.with_name(f".{log.name}.lock")):
        state = _sound(log)
        head, numbers = state.head, []
        if not head_file(log).exists():
            _write_head(log, head)  # from now on a missing head is damage, and a crash before the next head is none
        with log.open("ab+") as stream:
            if state.is_torn or (stream.tell() and not _ends_with_newline(stream)):
                stream.write(b"\n")
            for record in records:
                head = _write_line(stream, head, record)
                numbers.append(head.lines)
        _write_head(log, head)
    return numbers


def read_lines(log: Path) -> list[dict[str, Any]]:
    """The records of a log, oldest first.

    Raises
    ------
    LogError
        If the log is damaged.
    """
    return list(_sound(log).records)


def read_head(log: Path) -> Head:
    """Where a log stands: goes into manifests and sign-offs, which later vouch for it."""
    return _sound(log).head


def head_at(log: Path, lines: int) -> str | None:
    """The hash of the first ``lines`` lines of a log; None if it has fewer."""
    digest = _START
    raw = _raw_lines(log)[0]
    if lines > len(raw):
        return None
    for line in raw[:lines]:
        digest = _after(digest, line)
    return digest


def examine(log: Path) -> Log:
    """Read a log and say everything that is wrong with it; raises nothing."""
    promised = _read_head(log)  # before the log: another process may append meanwhile
    raw, is_whole = _raw_lines(log)
    records, damage, unchained, digest, reached = [], list[str](), 0, _START, _START
    is_torn = has_chain = False
    for number, line in enumerate(raw, start=1):
        record = _record(line)
        if record is None:
            is_torn = number == len(raw) and not is_whole
            if number == len(raw) and is_whole:
                damage.append(f"{_named(log)} line {number} is no record any more: it was changed.")
        else:
            fault = _fault(log, number, record, digest, has_chain)
            if fault and not damage:  # whatever follows one fault is only its echo
                damage.append(fault)
            has_chain = has_chain or "previous" in record
            unchained += "previous" not in record
            records.append(record)
        digest = _after(digest, line)
        reached = digest if promised and number == promised.lines else reached
    count = len(raw)
    if not damage:
        damage += _against_head(log, promised, count, reached, has_chain)
    return Log(tuple(records), Head(count, digest), unchained, tuple(damage), is_torn)


def _sound(log: Path) -> Log:
    state = examine(log)
    if state.damage:
        raise LogError(
            f"{state.damage[0]} Put back {log.name} and {head_file(log).name} from a copy; "
            "post-pai verify says what else is touched."
        )
    return state


def _write_line(stream: Any, head: Head, record: dict[str, Any]) -> Head:
    chained = {**record, "line": head.next_line, "previous": head.digest}
    line = json.dumps(chained, ensure_ascii=False, sort_keys=True).encode()
    stream.write(line + b"\n")
    stream.flush()
    os.fsync(stream.fileno())
    return Head(head.next_line, _after(head.digest, line))


def _after(digest: str, line: bytes) -> str:
    return hashlib.sha256(digest.encode() + line).hexdigest()


def _write_head(log: Path, head: Head) -> None:
    beside = log.with_name(f".{log.name}.head.part")
    with beside.open("wb") as stream:
        stream.write(json.dumps(asdict(head)).encode())
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(head_file(log))


def _read_head(log: Path) -> Head | None:
    try:
        return Head(**json.loads(head_file(log).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return Head(-1, "")


def _ends_with_newline(stream: Any) -> bool:
    stream.seek(-1, os.SEEK_END)
    return bool(stream.read(1) == b"\n")


def _raw_lines(log: Path) -> tuple[list[bytes], bool]:
    """The lines, and whether the last one is ended."""
    if not log.exists():
        return [], True
    content = log.read_bytes()
    is_whole = not content or content.endswith(b"\n")
    return (content[:-1] if is_whole else content).split(b"\n") if content else [], is_whole


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _fault(log: Path, number: int, record: dict[str, Any], digest: str, has_chain: bool) -> str:
    where = _named(log)
    if "previous" not in record:
        return "" if not has_chain else f"{where} line {number} was put in by hand: it is not chained to the others."
    said = int(record.get("line", 0))
    if said > number:
        gone = f"line {number} is" if said == number + 1 else f"lines {number} to {said - 1} are"
        return f"{where}: {gone} missing before what is now line {number} ({_told(record)})."
    if said < number:
        return f"{where}: line {number} ({_told(record)}) was line {said}: lines were put in or put elsewhere."
    if record["previous"] != digest:
        return f"{where}: line {number - 1} or one before it was changed after line {number} was written."
    return ""


def _against_head(log: Path, promised: Head | None, count: int, reached: str, has_chain: bool) -> list[str]:
    where = _named(log)
    if promised is None:
        gone = f"{where}: {head_file(log).name} is missing, so nobody can tell whether lines are missing at the end."
        return [gone] if has_chain else []
    if promised.lines < 0:
        return [f"{where}: {head_file(log).name} was changed, so nobody can tell whether lines are missing at the end."]
    if promised.lines > count:
        short = promised.lines - count
        return [f"{where} has {count} lines of {promised.lines} written: the last {short} are missing."]
    if promised.lines and promised.digest != reached:
        return [f"{where}: line {promised.lines} was changed after it was written."]
    return []


def _named(log: Path) -> str:
    return f"{log.parent.name}/{log.name}"


def _told(record: dict[str, Any]) -> str:
    said = [str(record[key]) for key in ("event", "decision", "layer", "when", "taken_at") if record.get(key)]
    return ", ".join(said) or "no words"

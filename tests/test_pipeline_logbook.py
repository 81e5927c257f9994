"""The chained logs: what was deleted, changed, reordered or cut off by hand comes to light; a crash is no damage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.logbook import append_line, append_lines, examine, head_file, read_head, read_lines
from transforms.errors import LogError

Edit = Callable[[list[bytes]], list[bytes]]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of five lines."""
    path = tmp_path / "decisions" / "decisions.jsonl"
    append_lines(path, [{"decision": word} for word in ("one", "two", "three", "four", "five")])
    return path


def said(log: Path) -> list[str]:
    return [record["decision"] for record in read_lines(log)]


BY_HAND: dict[str, tuple[Edit, str]] = {
    "a line deleted": (lambda lines: [*lines[:2], *lines[3:]], "line 3 is missing"),
    "two lines deleted": (lambda lines: [*lines[:1], *lines[3:]], "lines 2 to 3 are missing"),
    "the last lines deleted": (lambda lines: lines[:3], "has 3 lines of 5 written: the last 2 are missing"),
    "everything deleted": (lambda lines: [], "has 0 lines of 5 written"),
    "a line changed": (lambda lines: [lines[0], lines[1].replace(b"two", b"TWO"), *lines[2:]], "line 2 or one before"),
    "the last line changed": (lambda lines: [*lines[:4], lines[4].replace(b"five", b"FIVE")], "line 5 was changed"),
    "the last line made no record": (lambda lines: [*lines[:4], b"{"], "line 5 is no record any more"),
    "a line made no record": (lambda lines: [lines[0], b"{", *lines[2:]], "line 2 or one before it was changed"),
    "lines reordered": (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "line 2 is missing before"),
    "a line put in": (lambda lines: [*lines[:3], b'{"decision": "new"}', *lines[3:]], "line 4 was put in by hand"),
    "a line repeated": (lambda lines: [*lines[:2], lines[1], *lines[2:]], "line 3 (two) was line 2"),
}


@pytest.mark.parametrize("edit", BY_HAND)
def test_damage_by_hand_is_refused_and_says_what_is_missing(log: Path, edit: str) -> None:
    change, sentence = BY_HAND[edit]
    log.write_bytes(b"".join(line + b"\n" for line in change(log.read_bytes().splitlines())))
    with pytest.raises(LogError) as refusal:
        read_lines(log)
    assert sentence in str(refusal.value) and str(refusal.value).endswith(".")
    before = log.read_bytes()
    with pytest.raises(LogError):
        append_line(log, {"decision": "six"})
    assert log.read_bytes() == before, "nothing is written to a damaged log"


def test_a_log_without_its_head_is_refused(log: Path) -> None:
    head_file(log).unlink()
    with pytest.raises(LogError, match="head is missing"):
        read_lines(log)


def test_a_changed_head_is_refused(log: Path) -> None:
    head_file(log).write_text("5 lines")
    with pytest.raises(LogError, match="head was changed"):
        read_lines(log)


def test_lines_written_but_not_yet_promised_count(log: Path) -> None:
    """A process died between the line and the head."""
    head = head_file(log).read_bytes()
    append_line(log, {"decision": "six"})
    head_file(log).write_bytes(head)
    assert said(log)[-1] == "six"
    append_line(log, {"decision": "seven"})
    assert said(log)[-2:] == ["six", "seven"]


def test_half_a_line_left_by_a_crash_is_passed_over_and_kept(log: Path) -> None:
    with log.open("ab") as stream:
        stream.write(b'{"decision": "si')
    assert examine(log).is_torn and said(log)[-1] == "five"
    append_line(log, {"decision": "six"})
    assert said(log)[-2:] == ["five", "six"] and b'{"decision": "si\n' in log.read_bytes()
    log.write_bytes(log.read_bytes().replace(b'"si\n', b'"se\n'))
    with pytest.raises(LogError):
        read_lines(log)


def test_a_log_from_before_chaining_is_read_and_vouched_for_from_then_on(tmp_path: Path) -> None:
    log = tmp_path / "ledger.jsonl"
    log.write_text('{"event": "shifted"}\n{"event": "exp\n{"event": "exported"}\n')
    assert len(read_lines(log)) == 2 and examine(log).unchained == 2
    append_line(log, {"event": "shifted", "decision": "new"})
    assert len(read_lines(log)) == 3
    log.write_bytes(log.read_bytes().replace(b"exported", b"exporter"))
    with pytest.raises(LogError, match="line 3 or one before it was changed"):
        read_lines(log)


def test_each_line_says_its_number_and_the_head_the_whole(log: Path) -> None:
    numbers = [json.loads(line)["line"] for line in log.read_bytes().splitlines()]
    assert numbers == [1, 2, 3, 4, 5] and read_head(log).lines == 5

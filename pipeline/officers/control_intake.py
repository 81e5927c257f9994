"""Officers' words on control, from the review files into the log, and from the log into the check of the control."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import numpy as np
import pyarrow as pa

from pipeline.control_input.table import ControlTable
from pipeline.files import whole_file
from pipeline.officers.control_answers import read_control_answers
from pipeline.officers.control_decisions import (
    ADDED_CODE,
    GOOD,
    WRONG,
    StandingControl,
    append_control,
    point_keys,
    read_control_decisions,
)
from pipeline.officers.copies import read_copies
from pipeline.officers.saved_review import read_review, why_busy
from pipeline.storage import Migration
from transforms.errors import ReviewError


def take_in_control(migration: Migration, layers: Iterable[str], run_id: str, now: datetime) -> list[str]:
    """Log what officers said of control in the review files of ``layers``; returns a sentence on whatever was odd.

    A file that cannot be read is passed over here: the review of its layer says so.

    Raises
    ------
    LogError
        If the log is damaged.
    """
    findings: list[str] = []
    for layer in layers:
        path = migration.review(layer)
        try:
            main = None if why_busy(path) else read_review(path, layer)
        except ReviewError:
            main = None
        for saved in [each for each in (main, *read_copies(migration, layer)[0]) if each]:
            answers = read_control_answers(saved, read_control_decisions(migration.decisions_log), run_id, now)
            append_control(migration.decisions_log, answers.new)
            findings += answers.findings
    return findings


def write_added_control(migration: Migration, said: StandingControl) -> None:
    """Write the points that officers drew as a control file like any other; remove it where there are none."""
    path = migration.added_control
    if not said.added:
        path.unlink(missing_ok=True)
        return
    with whole_file(path) as beside, beside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["old_easting", "old_northing", "new_easting", "new_northing", "code", "id"])
        for each in said.added:
            writer.writerow([*(f"{value:.3f}" for value in each.places), ADDED_CODE, each.officer])


def without_rejected(read: ControlTable, said: StandingControl) -> ControlTable:
    """The control as read, with every point that an officer called wrong set aside before anything is judged by it."""
    wrong = said.keys(WRONG)
    if not wrong:
        return read
    keys = np.array(point_keys(read.places), dtype=str)
    rejected = read.usable & np.isin(keys, sorted(wrong))
    return replace(read, reason=np.where(rejected, "officer_rejected", read.reason))


def with_trusted(verdicts: pa.Table, read: ControlTable, said: StandingControl) -> pa.Table:
    """The verdicts, with every point that an officer called good used, whatever the check made of it."""
    good = said.keys(GOOD)
    if not good:
        return verdicts
    trusted = read.usable & np.isin(np.array(point_keys(read.places), dtype=str), sorted(good))
    verdict = np.where(trusted, "used", np.array(verdicts["verdict"].to_pylist(), dtype=object))
    reasons = [
        ";".join([*filter(None, str(codes or "").split(";")), "officer_trusted"]) if is_trusted else codes
        for codes, is_trusted in zip(verdicts["reasons"].to_pylist(), trusted, strict=True)
    ]
    for name, values in (("verdict", verdict.tolist()), ("reasons", reasons)):
        place = verdicts.schema.get_field_index(name)
        verdicts = verdicts.set_column(place, name, pa.array(values, verdicts.schema.field(name).type))
    return verdicts

"""The stage ``control``: read every control file, judge every point, and keep what was found.

What a control file looks like is in ``control_files``, what makes a point bad in ``qa.control``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.base_map_faults import refuse_other_move
from pipeline.base_maps import base_map_hashes, read_editions, refuse_other_edition
from pipeline.breaks_file import write_breaks
from pipeline.control_input.break_lines import known_breaks
from pipeline.control_input.derived import DERIVED_FILE, derive_control
from pipeline.control_input.files import ControlRows
from pipeline.control_input.table import ControlFile, ControlTable, Deriver, read_control
from pipeline.control_input.verdicts import CONTROL_REASONS, JudgedControl, judge_control_table, write_control_report
from pipeline.files import sha256, whole_file, write_json
from pipeline.made_from import note
from pipeline.officers.control_decisions import StandingControl, read_control_decisions, standing_control
from pipeline.officers.control_intake import take_in_control, with_trusted, without_rejected, write_added_control
from pipeline.storage import Migration
from pipeline.targets import refuse_source_as_target
from qa.same_move import show_no_move
from transforms.errors import SettingsError


@dataclass(frozen=True)
class ControlSummary:
    """What the control stage found, in numbers.

    ``reasons`` counts control points by reason code; ``unreadable_files`` holds a sentence for each.
    """

    files: int
    read: int
    used: int
    suspect: int
    rejected: int
    unreadable_rows: int
    blank_lines: int
    pieces: int
    shift_rms_m: float
    reasons: dict[str, int]
    unreadable_files: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The outcome in one line."""
        unread = f" {len(self.unreadable_files)} file(s) could not be read." if self.unreadable_files else ""
        return (
            f"{self.read} control points from {self.files} file(s): {self.used} used, {self.suspect} suspect, "
            f"{self.rejected} rejected; {self.pieces} piece(s) between breaks.{unread}"
        )


def check_control(migration: Migration) -> ControlSummary:
    """Judge the control of a migration and write its table, its report and its manifest.

    What officers say of control in their review files is taken in first: points they call wrong are set aside before
    anything is judged by them, points they drew are checked like all others, points they call good are used.

    Raises
    ------
    SourceError
        If a control file or the layer of break lines that the settings name cannot be found or read.
    ControlError
        If there is no usable control at all.
    SettingsError
        If the base maps show another move than the control files, or none and there are no files; or the one that is
        named is the other edition.
    LogError
        If the log of decisions is damaged.
    """
    settings = migration.settings.control
    said = _said_by_officers(migration)
    added = [migration.added_control] if said.added else []
    files = [migration.source(file) for file in settings.files] + added
    read = without_rejected(read_control(files, vintage=settings.vintage, derive=_deriver(migration)), said)
    _refuse_other_base_maps(migration, read)
    judged = judge_control_table(
        read,
        length_warn_m=settings.length_warn_m,
        length_reject_m=settings.length_reject_m,
        breaks=known_breaks(migration.source(settings.breaks), read.control) if settings.breaks else None,
    )
    judged = replace(judged, verdicts=with_trusted(judged.verdicts, read, said))
    write_breaks(migration.control_breaks, judged.breaks)
    verdicts = judged.verdicts.replace_schema_metadata(note(breaks=sha256(migration.control_breaks)))
    with whole_file(migration.control_table) as beside:
        pq.write_table(verdicts, beside)
    write_control_report(judged.verdicts, migration.control_report)
    manifest = control_manifest(judged, migration.root)
    write_json(migration.control_manifest, manifest | {"officers": said.digest})
    return summarise(judged)


def _refuse_other_base_maps(migration: Migration, read: ControlTable) -> None:
    """Points that the base maps gave agree with them, so the delivered ones are asked; without these, whether anything
    moved at all.
    """
    base = read_editions(migration)
    if base is None:
        refuse_other_edition(migration, read.control)
        return
    rows = read.usable & (read.file_names != DERIVED_FILE)
    if rows.any():
        refuse_other_move(base, read.places[rows, :2], read.places[rows, 2:] - read.places[rows, :2])
    elif show_no_move(base):
        raise SettingsError(
            "Both base maps are the same: no corner of them has moved, and no control file says otherwise. Name the "
            "editions before and after the move under base_maps in migration.yaml, or add control files."
        )


def _said_by_officers(migration: Migration) -> StandingControl:
    layers = [layer.name for layer in migration.settings.layers]
    take_in_control(migration, layers, "control", datetime.now(UTC))
    said = standing_control(read_control_decisions(migration.decisions_log))
    write_added_control(migration, said)
    return said


def check_control_files(
    files: Sequence[Path], out: Path, *, length_warn_m: float = 6.5, length_reject_m: float = 10.0
) -> ControlSummary:
    """Judge control files and write one CSV row per control point read.

    Raises
    ------
    SourceError
        If a file does not exist.
    ControlError
        If there is no usable control at all.
    ExportError
        If ``out`` is one of the files, or cannot be written.
    """
    read = read_control(files)
    refuse_source_as_target(out, [file.path for file in read.files])
    judged = judge_control_table(read, length_warn_m=length_warn_m, length_reject_m=length_reject_m)
    write_control_report(judged.verdicts, out)
    return summarise(judged)


def _deriver(migration: Migration) -> Deriver | None:
    """What makes control of the base maps, under the hash of both editions; None where they are not to give any."""
    base = read_editions(migration) if migration.settings.derives_control else None
    if base is None:
        return None
    hashes = base_map_hashes(migration)

    def derive(delivered: NDArray[np.float64]) -> tuple[ControlFile, ControlRows]:
        rows = derive_control(base, delivered)
        count, digest, path = len(rows), " ".join(hashes.values()), migration.root / [*hashes][-1]
        vintage = migration.settings.control.vintage
        return ControlFile(DERIVED_FILE, path, digest, vintage, rows.form, count, count, 0, ""), rows

    return derive


def control_manifest(judged: JudgedControl, root: Path) -> dict[str, Any]:
    """The files with form, hash, vintage and counts, and every row that could not be used."""
    verdict = judged.verdicts["verdict"].to_numpy()
    number = judged.read.file_number
    return {
        "files": [
            {
                **asdict(file),
                "path": file.path.relative_to(root) if file.path.is_relative_to(root) else file.path,
                **{name: int(np.sum(verdict[number == k] == name)) for name in ("used", "suspect", "rejected")},
            }
            for k, file in enumerate(judged.read.files)
        ],
        "reasons": {code: CONTROL_REASONS[code] for code in judged.reason_counts},
        "unusable_rows": _unusable_rows(judged.read),
    }


def _unusable_rows(read: ControlTable) -> list[dict[str, Any]]:
    names = read.file_names
    return [
        {"file": str(names[k]), "row": int(read.row[k]), "reason": CONTROL_REASONS[str(read.reason[k])]}
        for k in np.flatnonzero(_is_unreadable(read))
    ]


def _is_unreadable(read: ControlTable) -> NDArray[np.bool_]:
    return np.asarray(~read.usable & (read.reason != "officer_rejected"))


def summarise(judged: JudgedControl) -> ControlSummary:
    """The numbers of a judged table."""
    read = judged.read
    used = judged.verdicts["verdict"].to_numpy() == "used"
    shift = (read.places[:, 2:] - read.places[:, :2])[used]
    return ControlSummary(
        files=len(read.files),
        read=len(read),
        used=judged.count("used"),
        suspect=judged.count("suspect"),
        rejected=judged.count("rejected"),
        unreadable_rows=int(np.count_nonzero(_is_unreadable(read))),
        blank_lines=sum(file.blank_lines for file in read.files),
        pieces=judged.breaks.count,
        shift_rms_m=float(np.sqrt(np.mean(np.sum(shift**2, axis=1)))) if len(shift) else 0.0,
        reasons=judged.reason_counts,
        unreadable_files=tuple(file.problem for file in read.files if file.problem),
    )

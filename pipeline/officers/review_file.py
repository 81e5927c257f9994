"""The review GeoPackage: how what is offered to officers is written, and what they saved is read.

What a saved row *means* is decided in ``answers``. Officers' files are read from a private copy, row by row through
SQLite itself: the file is never locked, touched or given side files, one unreadable geometry does not cost
the rows after it, and geometries keep their bytes, curves and M included.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw

from pipeline.geometry.wkb_kind import WkbKind
from pipeline.officers.decisions import WORDS
from pipeline.officers.qgis_style import Column, control_style, old_position_style, review_style, store_styles
from pipeline.storage import sha256, whole_file
from transforms.errors import ReviewError

OLD_POSITION, CONTROL_NEARBY = "old_position", "control_nearby"
RESERVED_NAMES = (OLD_POSITION, CONTROL_NEARBY, "layer_styles", "pai_review")
"""What a review file calls its own; no layer under review may be called so."""

_WHO = "coalesce(nullif(trim(\"officer\"), ''), @user_account_name)"
_COLUMNS = (
    Column("fid", "fid", hidden=True),
    Column("risk_order", "Order of risk"),
    Column("pai_row", "Row in the source"),
    Column("id", "Reference"),
    Column("reasons", "Why it is here", multiline=True),
    Column("shift_m", "Proposed shift [m]"),
    Column("uncertainty_m", "Standard error [m]"),
    Column("risk", "Risk", hidden=True),
    Column("decision", "Decision", editable=True, words=WORDS),
    Column("note", "Note", editable=True, multiline=True),
    Column("officer", "Officer", editable=True, default=_WHO),
    Column("remark", "Answer to what was saved before", multiline=True),
    Column("offer", "What was shown", hidden=True),
)
_NEEDED = ("pai_row", "decision", "note", "officer", "offer")
_CONTENT = RESERVED_NAMES[3]
_ENVELOPE_BYTES = {0: 0, 1: 32, 2: 48, 3: 48, 4: 64}


Shown = tuple[str, str, str, float | None]
"""Token, reasons, remark and risk of a feature, as a review file shows them."""


@dataclass(frozen=True)
class Offer:
    """One feature as it is offered to officers; geometries are well-known binary.

    ``fid`` is the one it had in the file before, None if it is new there; ``decision`` is filled in where an officer
    has answered.
    """

    row: int
    reference: str
    reasons: str
    remark: str
    shift_m: float | None
    uncertainty_m: float | None
    risk: float | None
    before: bytes | None
    proposal: bytes | None
    token: str
    fid: int | None = None
    decision: str = ""
    note: str = ""
    officer: str = ""

    @property
    def shown(self) -> Shown:
        """What would have to change for the feature to be offered anew."""
        return self.token, self.reasons, self.remark, self.risk


def finite(number: float | None) -> float | None:
    """``number`` as a GeoPackage holds it, which knows no NaN."""
    return number if number is not None and np.isfinite(number) else None


def token(row: int, source_hash: str, proposal_hash: str) -> str:
    """Which feature is shown and how it looks; goes with the row wherever it is copied."""
    return f"{row}:{source_hash}:{proposal_hash}"


@dataclass(frozen=True)
class ControlNearby:
    """Control points as lines from the old place to the new; lists of equal length."""

    lines: Sequence[bytes]
    columns: dict[str, Sequence[Any]]


@dataclass(frozen=True)
class SavedRow:
    """One row as it was saved; ``trouble`` says why its geometry cannot be read, if so.

    ``shown`` is what was offered, as ``Offer.shown``.
    """

    fid: int
    pai_row: object
    reference: str
    decision: str
    note: str
    officer: str
    token: str
    geometry: bytes | None
    trouble: str
    shown: Shown


@dataclass(frozen=True)
class SavedReview:
    """A review file as it was saved: its rows, the tokens that were offered, its control, hash, and time.

    ``last_fid`` is the highest feature number that was ever used in it.
    """

    rows: tuple[SavedRow, ...]
    offered: frozenset[str]
    control: str
    last_fid: int
    sha256: str
    saved_at: str


def why_busy(path: Path) -> str:
    """A sentence if a program is at work on the file; empty if it may be read and replaced."""
    for suffix in ("-wal", "-journal"):
        if path.with_name(path.name + suffix).exists():
            return (
                f"{path} is open in QGIS or another program ({path.name}{suffix} lies beside it), so it was left as it "
                "is. Save, close it there and run again: what was saved will be taken in then."
            )
    return ""


def read_review(path: Path, layer: str) -> SavedReview | None:
    """What officers saved; None if there is no file.

    Raises
    ------
    ReviewError
        If the file as a whole cannot be read: cut off, damaged, or without its layer.
    """
    if not path.exists():
        return None
    try:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / path.name
            shutil.copyfile(path, copy)
            return _read_copy(copy, layer, _time_saved(path))
    except (sqlite3.Error, OSError) as error:
        raise ReviewError(
            f"{path} cannot be read ({error}): it was saved half-way or is damaged. Save it again from QGIS, or delete "
            "it to be offered the open features anew; every decision taken in before is in the log."
        ) from None
    except KeyError as error:
        raise ReviewError(
            f"{path} has no {error.args[0]}, so decisions cannot be read from it. Put the file back as it was offered, "
            "or delete it to be offered the open features anew."
        ) from None


def write_review(
    path: Path,
    layer: str,
    offers: Sequence[Offer],
    control: ControlNearby,
    last_fid: int,
    may_replace: Callable[[], bool],
) -> bool:
    """Write the review file, whole or not at all.

    Parameters
    ----------
    path, layer
        The file, and the name of its first layer.
    offers
        The features, in order of risk.
    control
        The control points near them.
    last_fid
        The highest feature number used so far; 0 for a first file.
    may_replace
        Asked last of all: False leaves the present file in place, because somebody has saved meanwhile.

    Returns
    -------
    bool
        Whether the file was replaced.
    """
    try:
        with whole_file(path) as beside:
            _write_layers(beside, layer, offers, control, last_fid)
            if not may_replace():
                raise _SavedMeanwhileError
    except _SavedMeanwhileError:
        return False
    return True


def control_hash(control: ControlNearby) -> str:
    """What a review file shows of the control."""
    return hashlib.sha256(repr((list(control.lines), control.columns)).encode()).hexdigest()


class _SavedMeanwhileError(Exception):
    pass


def _time_saved(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")


def _read_copy(copy: Path, layer: str, saved_at: str) -> SavedReview:
    with _opened(copy) as connection:
        _refuse_damage(connection)
        columns = _columns(connection, layer)
        for needed in _NEEDED:
            if needed not in columns:
                raise KeyError(f"column {needed} in layer {layer}" if columns else f"layer {layer}")
        return SavedReview(
            tuple(_saved_rows(connection, layer)),
            frozenset(_texts(connection, OLD_POSITION, "offer")),
            next(iter(_texts(connection, _CONTENT, "control")), ""),
            _last_fid(connection, layer),
            sha256(copy),
            saved_at,
        )


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    # SQLite cannot open a file read-only that was left in write-ahead mode; on a private copy it may do as it likes.
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        yield connection


def _refuse_damage(connection: sqlite3.Connection) -> None:
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row["name"] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]


def _texts(connection: sqlite3.Connection, table: str, column: str) -> list[str]:
    if column not in _columns(connection, table):
        return []
    return [str(row[0]) for row in connection.execute(f'SELECT "{column}" FROM "{table}"')]


def _saved_rows(connection: sqlite3.Connection, layer: str) -> Iterator[SavedRow]:
    geometry_column = _geometry_column(connection, layer)
    for row in connection.execute(f'SELECT rowid AS pai_rowid, * FROM "{layer}" ORDER BY rowid'):
        values = dict(row)
        geometry, trouble = _geometry(values.get(geometry_column))
        yield SavedRow(
            fid=values["pai_rowid"],
            pai_row=values["pai_row"],
            reference=_text(values.get("id")),
            decision=_text(values["decision"]),
            note=_text(values["note"]),
            officer=_text(values["officer"]),
            token=_text(values["offer"]),
            geometry=geometry,
            trouble=trouble,
            shown=(
                _text(values["offer"]),
                _text(values.get("reasons")),
                _text(values.get("remark")),
                values.get("risk"),
            ),
        )


def _geometry_column(connection: sqlite3.Connection, layer: str) -> str:
    query = "SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?"
    found = connection.execute(query, (layer,)).fetchone()
    if found is None:
        raise KeyError(f"geometry column in layer {layer}")
    return str(found[0])


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _geometry(blob: object) -> tuple[bytes | None, str]:
    # GeoPackage 1.3, 2.1.3: "GP", version, flags, srs_id, envelope; then well-known binary.
    if blob is None:
        return None, ""
    if not isinstance(blob, bytes) or len(blob) < 13 or blob[:2] != b"GP":
        return None, "its geometry is not that of a GeoPackage"
    envelope = _ENVELOPE_BYTES.get(blob[3] >> 1 & 7)
    if envelope is None:
        return None, "the header of its geometry is damaged"
    return blob[8 + envelope :], ""


def _last_fid(connection: sqlite3.Connection, layer: str) -> int:
    last = connection.execute(f'SELECT max(rowid) FROM "{layer}"').fetchone()[0] or 0
    used = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (layer,)).fetchone()
    return int(max(last, used[0] if used else 0))


def _fids(offers: Sequence[Offer], last_fid: int) -> list[int]:
    # QGIS addresses features by fid, and tells nobody when a late save finds none. If it still shows the file that is
    # replaced, what it saves must reach the same feature: so a feature keeps its fid, and none is given out twice.
    unused = itertools.count(last_fid + 1)
    return [offer.fid if offer.fid is not None else next(unused) for offer in offers]


def _write_layers(path: Path, layer: str, offers: Sequence[Offer], control: ControlNearby, last_fid: int) -> None:
    fids = _fids(offers, last_fid)
    _write_layer(path, layer, [offer.proposal for offer in offers], _offer_columns(offers, fids))
    old = {
        "fid": fids,
        "pai_row": [offer.row for offer in offers],
        "id": [offer.reference for offer in offers],
        "offer": [offer.token for offer in offers],
    }
    _write_layer(path, OLD_POSITION, [offer.before for offer in offers], old)
    _write_layer(path, CONTROL_NEARBY, control.lines, control.columns)
    styles = {layer: review_style(_COLUMNS, "risk_order")}
    store_styles(path, styles | {OLD_POSITION: old_position_style(), CONTROL_NEARBY: control_style()})
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE {_CONTENT} (control TEXT)")
        connection.execute(f"INSERT INTO {_CONTENT} VALUES (?)", (control_hash(control),))
        # Keeps a number from being given out again after its feature has left the file.
        connection.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (last_fid, layer))


def _offer_columns(offers: Sequence[Offer], fids: Sequence[int]) -> dict[str, Sequence[Any]]:
    return {
        "fid": fids,
        "risk_order": list(range(1, len(offers) + 1)),
        "pai_row": [offer.row for offer in offers],
        "id": [offer.reference for offer in offers],
        "reasons": [offer.reasons for offer in offers],
        "shift_m": [offer.shift_m for offer in offers],
        "uncertainty_m": [offer.uncertainty_m for offer in offers],
        "risk": [offer.risk for offer in offers],
        "decision": [offer.decision or None for offer in offers],
        "note": [offer.note or None for offer in offers],
        "officer": [offer.officer or None for offer in offers],
        "remark": [offer.remark or None for offer in offers],
        "offer": [offer.token for offer in offers],
    }


_TYPES: dict[str, Any] = dict.fromkeys(("fid", "risk_order", "pai_row", "row"), np.int64) | dict.fromkeys(
    ("shift_m", "uncertainty_m", "risk", "residual_m", "standardised_residual"), np.float64
)


def _write_layer(path: Path, name: str, geometries: Sequence[bytes | None], columns: dict[str, Any]) -> None:
    kind = WkbKind.of_layer(geometries)
    shapes = np.empty(len(geometries), dtype=object)
    shapes[:] = [kind.fit(wkb) for wkb in geometries]
    fields = [np.array(list(values), dtype=_TYPES.get(column, object)) for column, values in columns.items()]
    # QGIS before 3.28 warns of anything newer than GeoPackage 1.2.
    version = {} if path.exists() else {"VERSION": "1.2"}
    pyogrio.raw.write(
        path,
        shapes,
        fields,
        list(columns),
        layer=name,
        driver="GPKG",
        geometry_type=kind.name,
        crs="EPSG:27700",
        **version,
    )

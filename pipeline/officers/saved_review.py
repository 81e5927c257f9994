"""What officers saved in a review file: read row by row, judged elsewhere.

What a saved row *means* is decided in ``answers`` and ``control_answers``. Officers' files are read from a private copy
through SQLite itself: the file is never locked, touched or given side files, one unreadable geometry does not cost the
rows after it, and geometries keep their bytes, curves and M included.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.files import sha256
from pipeline.georeference import other_system
from pipeline.officers.package import CONTROL_NEARBY, NEW_CONTROL, OLD_POSITION, Shown
from transforms.errors import ReviewError

_NEEDED = ("pai_row", "decision", "note", "officer", "offer")
_ENVELOPE_BYTES = {0: 0, 1: 32, 2: 48, 3: 48, 4: 64}


@dataclass(frozen=True)
class SavedRow:
    """One feature as it was saved; ``trouble`` says why its geometry cannot be read, if so.

    ``shown`` is what was offered, as ``Offer.shown``. ``drawn`` is the fingerprint that the proposal has in a format
    which rounds coordinates; empty where the proposal's own holds.
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
    why: str = ""
    decided_at: str = ""
    codes: tuple[str, ...] = ()
    drawn: str = ""


@dataclass(frozen=True)
class SavedControl:
    """A control point shown to an officer, or (``offer`` empty) a line drawn by one, as saved.

    ``offer`` says which point and which decision was shown, ``remark`` what an officer was told about a drawn line.
    """

    fid: int
    offer: str
    decision: str
    note: str
    officer: str
    decided_at: str
    geometry: bytes | None
    remark: str = ""


@dataclass(frozen=True)
class SavedReview:
    """A review file as it was saved: its rows, the tokens that were offered, its control, hash, and time.

    ``control`` is the hash of the control it shows, ``control_rows`` what officers said of it, ``drawn_control``
    what they drew. ``last_fid`` is the highest feature number that was ever used in it. ``name`` is how the log
    calls the file; ``is_main`` that it is the one that is offered, no copy.
    """

    rows: tuple[SavedRow, ...]
    offered: frozenset[str]
    control: str
    last_fid: int
    sha256: str
    saved_at: str
    name: str = ""
    is_main: bool = True
    control_rows: tuple[SavedControl, ...] = ()
    drawn_control: tuple[SavedControl, ...] = ()


def why_busy(path: Path) -> str:
    """A sentence if a program is at work on the file; empty if it may be read and replaced."""
    for suffix in ("-wal", "-journal"):
        if path.with_name(path.name + suffix).exists():
            return (
                f"{path} is open in QGIS or another program ({path.name}{suffix} lies beside it), so it was left as it "
                "is. Save, close it there and run again: what was saved will be taken in then."
            )
    return ""


def read_review(path: Path, layer: str, *, name: str = "", is_main: bool = True) -> SavedReview | None:
    """What officers saved; None if there is no file.

    Parameters
    ----------
    path, layer
        The GeoPackage and its first layer.
    name, is_main
        What the log calls the file; False for a copy.

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
            with _opened(copy) as connection:
                _refuse_damage(connection)
                table = _table_of_answers(connection, layer, path.stem)
                refuse_other_system(path, _crs(connection, table))
                return _read(connection, table, sha256(copy), time_saved(path), name or path.name, is_main)
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


def time_saved(path: Path) -> str:
    """When a file was last written, by the clock of the machine that wrote it."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")


def as_text(value: object) -> str:
    """A saved value as text without blanks around it; empty for none."""
    return "" if value is None else str(value).strip()


def refuse_other_system(path: Path, crs: str | None) -> None:
    """Refuse a file that some program saved in another coordinate system than the one it was offered in.

    Raises
    ------
    ReviewError
        If ``crs``, well-known text, is another one than the National Grid; nothing said is no other one.
    """
    if name := other_system(crs):
        raise ReviewError(
            f"{path} is in {name}, not in the National Grid as it was offered, so no decision was taken from it. Save "
            "it as EPSG:27700; every decision taken in before is in the log."
        )


def _read(
    connection: sqlite3.Connection, table: str, digest: str, saved_at: str, name: str, is_main: bool
) -> SavedReview:
    return SavedReview(
        rows=tuple(_saved_rows(connection, table)),
        offered=frozenset(_texts(connection, OLD_POSITION, "offer")),
        control=_shown_control(connection),
        last_fid=_last_fid(connection, table),
        sha256=digest,
        saved_at=saved_at,
        name=name,
        is_main=is_main,
        control_rows=tuple(_saved_control(connection, CONTROL_NEARBY)),
        drawn_control=tuple(_saved_control(connection, NEW_CONTROL)),
    )


def _table_of_answers(connection: sqlite3.Connection, layer: str, file_stem: str) -> str:
    """The table called as the layer, or as the file: programs that save a layer anew call it so."""
    table = layer if _columns(connection, layer) else file_stem
    columns = _columns(connection, table)
    for needed in _NEEDED:
        if needed not in columns:
            raise KeyError(f"column {needed} in layer {table}" if columns else f"layer {layer}")
    return table


def _crs(connection: sqlite3.Connection, table: str) -> str:
    """What the file says of the table's coordinate system; empty for nothing."""
    query = "SELECT definition FROM gpkg_geometry_columns JOIN gpkg_spatial_ref_sys USING (srs_id) WHERE table_name = ?"
    found = connection.execute(query, (table,)).fetchone()
    return as_text(found[0]) if found else ""


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


def _shown_control(connection: sqlite3.Connection) -> str:
    query = "SELECT description FROM gpkg_contents WHERE table_name = ?"
    found = connection.execute(query, (CONTROL_NEARBY,)).fetchone()
    return as_text(found[0]) if found else ""


def _saved_rows(connection: sqlite3.Connection, layer: str) -> Iterator[SavedRow]:
    for values in _rows(connection, layer):
        geometry, trouble = values["geometry"]
        yield SavedRow(
            fid=values["pai_rowid"],
            pai_row=values["pai_row"],
            reference=as_text(values.get("id")),
            decision=as_text(values["decision"]),
            note=as_text(values["note"]),
            officer=as_text(values["officer"]),
            token=as_text(values["offer"]),
            geometry=geometry,
            trouble=trouble,
            shown=(
                as_text(values["offer"]),
                as_text(values.get("reasons")),
                as_text(values.get("remark")),
                values.get("risk"),
            ),
            why=as_text(values.get("why")),
            decided_at=as_text(values.get("decided_at")),
            codes=tuple(as_text(values.get("codes")).split()),
        )


def _saved_control(connection: sqlite3.Connection, table: str) -> Iterator[SavedControl]:
    if "officer" not in _columns(connection, table):
        return  # a file of an earlier version
    for values in _rows(connection, table):
        yield SavedControl(
            fid=values["pai_rowid"],
            offer=as_text(values.get("offer")),
            decision=as_text(values.get("decision")),
            note=as_text(values.get("note")),
            officer=as_text(values.get("officer")),
            decided_at=as_text(values.get("decided_at")),
            geometry=values["geometry"][0],
            remark=as_text(values.get("remark")),
        )


def _rows(connection: sqlite3.Connection, table: str) -> Iterator[dict[str, Any]]:
    """Each row with its number as ``pai_rowid`` and, in ``geometry``, its well-known binary and what is wrong with
    it."""
    geometry_column = _geometry_column(connection, table)
    for row in connection.execute(f'SELECT rowid AS pai_rowid, * FROM "{table}" ORDER BY rowid'):
        values = dict(row)
        yield values | {"geometry": _geometry(values.get(geometry_column))}


def _geometry_column(connection: sqlite3.Connection, layer: str) -> str:
    query = "SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?"
    found = connection.execute(query, (layer,)).fetchone()
    if found is None:
        raise KeyError(f"geometry column in layer {layer}")
    return str(found[0])


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

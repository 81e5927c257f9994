"""The review package as MapInfo TAB and as Shapefile: the same rows and answers, in files that hold less.

Four files: ``<layer>`` (the features), ``<layer>_old`` (their old places), ``<layer>_control`` and
``<layer>_new_control``. Text is cut at 254 characters; names have ten. Both formats may round coordinates, so each
row carries the fingerprint its proposal has *in this file*: what differs from that was drawn by somebody. True
curves cannot be shown and are left out.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyogrio
import shapely

from pipeline.files import sha256
from pipeline.fingerprint import geometry_hashes, read_geometry
from pipeline.formats import open_batches, write_batches
from pipeline.formats.stream import GEOMETRY
from pipeline.officers.package import Lines, Offer, Surroundings
from pipeline.officers.saved_review import SavedControl, SavedReview, SavedRow, as_text, refuse_other_system, time_saved
from transforms.errors import ExportError, PostPaiError, ReviewError

NARROW_SUFFIXES = (".tab", ".shp")
_OLD, _CONTROL, _NEW = "_old", "_control", "_new_control"
_KINDS = ("_points", "_multipoints", "_lines", "_polygons")
_WIDEST = 254
_EXAMPLE = "Example, not read: draw lines of two points like this one, from the old place to the new."
_WIDTHS = {"id": 60, "reasons": 254, "decision": 14, "why": 16, "note": 254, "officer": 60, "decided_at": 25}
_WIDTHS |= {"remark": 254, "codes": 254, "offer": 100, "drawn": 16, "file": 60, "code": 20, "verdict": 10}
_TEXTS = ("id", "reasons", "decision", "why", "note", "officer", "decided_at", "remark", "codes", "offer", "drawn")


def is_part(path: Path) -> bool:
    """Whether a file belongs to another one: old places, control, or one kind of geometry of a Shapefile."""
    suffix = path.suffix.lower()
    if suffix not in NARROW_SUFFIXES:
        return False
    endings = (_NEW, _CONTROL, _OLD) + (_KINDS if suffix == ".shp" else ())
    whole = (path.with_name(path.stem.removesuffix(end) + path.suffix) for end in endings if path.stem.endswith(end))
    return any(each.exists() for each in whole)


def read_narrow_review(path: Path, name: str, *, is_main: bool = False) -> SavedReview | None:
    """What officers saved in a TAB or Shapefile; None if there is none.

    Raises
    ------
    ReviewError
        If it cannot be read.
    """
    if not path.exists():
        return None
    try:
        refuse_other_system(path, pyogrio.read_info(path)["crs"])
        rows = [row for part in (path, *_parts(path)) for row in _read(part)]
        control = [_saved_control(*row) for row in _read_if_there(path, _CONTROL)]
        drawn = [saved for row in _read_if_there(path, _NEW) if (saved := _saved_control(*row)).remark != _EXAMPLE]
        old = [as_text(values.get("offer")) for _, values, _ in _read_if_there(path, _OLD)]
    except ReviewError:
        raise
    except (PostPaiError, OSError, pyogrio.errors.DataSourceError) as error:
        raise ReviewError(
            f"{path} cannot be read ({str(error).rstrip('.')}), so no decision was taken from it. Save it again; every "
            "decision taken in before is in the log."
        ) from None
    if rows and "offer" not in rows[0][1]:
        raise ReviewError(
            f"{path} has no column offer, so decisions cannot be read from it. Work in the file as offered."
        )
    return SavedReview(
        rows=tuple(_saved_row(*row) for row in rows),
        offered=frozenset(old),
        control="",
        last_fid=len(rows),
        sha256=digest_of(path),
        saved_at=max(time_saved(each) for each in _files(path)),
        name=name,
        is_main=is_main,
        control_rows=tuple(control),
        drawn_control=tuple(drawn),
    )


def write_narrow_review(
    path: Path, offers: Sequence[Offer], around: Surroundings, may_replace: Callable[[], bool]
) -> bool:
    """Write the package; False, and nothing written, if ``may_replace`` says so at the last moment.

    Raises
    ------
    ExportError
        If a file is open in another program or cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = [offer for offer in offers if offer.proposal is None or read_geometry(offer.proposal) is not None]
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
        beside = Path(folder) / path.name
        _write_features(beside, shown, [""] * len(shown))
        if shown:
            rounded = _as_rounded(beside, len(shown))
            drawn = [offer.drawn or place for offer, place in zip(shown, rounded, strict=True)]
            _write_features(beside, shown, drawn)
        old = [offer for offer in shown if offer.token]
        _write(_with(beside, _OLD), [offer.before for offer in old], _old_columns(old))
        _write(_with(beside, _CONTROL), around.control.lines, _control_columns(around.control))
        lines = around.drawn if len(around.drawn) or not shown else _example(shown[0])
        _write(_with(beside, _NEW), lines.lines, _drawn_columns(lines))
        if not may_replace():
            return False
        _put_in_place(Path(folder), path)
    return True


def digest_of(path: Path) -> str:
    """What all files of a package say together; empty if there are none."""
    files = _files(path)
    return hashlib.sha256("".join(sha256(each) for each in files).encode()).hexdigest() if files else ""


def shown_in(saved: SavedReview | None) -> list[tuple[str, str, str]]:
    """What a saved package shows of each feature: token, reasons, remark."""
    return sorted(row.shown[:3] for row in saved.rows) if saved else []


def cut(text: str) -> str:
    """``text`` as these formats hold it."""
    return text if len(text.encode()) <= _WIDEST else text.encode()[: _WIDEST - 4].decode(errors="ignore") + " ..."


def _with(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.stem}{ending}{path.suffix}")


def _parts(path: Path) -> list[Path]:
    if path.suffix.lower() != ".shp":
        return []
    return [part for kind in _KINDS if (part := _with(path, kind)).exists()]


def _files(path: Path) -> list[Path]:
    stems = {path.stem, *(path.stem + ending for ending in (_OLD, _CONTROL, _NEW, *_KINDS))}
    return sorted(each for each in path.parent.glob(f"{path.stem}*") if each.is_file() and each.stem in stems)


def _read_if_there(path: Path, ending: str) -> list[tuple[int, dict[str, Any], bytes | None]]:
    return _read(_with(path, ending)) if _with(path, ending).exists() else []


def _read(path: Path) -> list[tuple[int, dict[str, Any], bytes | None]]:
    rows: list[tuple[int, dict[str, Any], bytes | None]] = []
    if pyogrio.read_info(path)["features"] == 0:
        return rows  # an empty MapInfo table does not say that it may hold geometry
    with open_batches(path) as stream:
        for batch in stream.batches:
            for values in batch.to_pylist():
                geometry = values.pop(GEOMETRY, None)
                rows.append((len(rows) + 1, {key.lower(): value for key, value in values.items()}, geometry))
    return rows


def _saved_row(fid: int, values: Mapping[str, Any], geometry: bytes | None) -> SavedRow:
    text = {name: as_text(values.get(name)) for name in _TEXTS}
    return SavedRow(
        fid=fid,
        pai_row=values.get("source_row", values.get("pai_row")),
        reference=text["id"],
        decision=text["decision"],
        note=text["note"],
        officer=text["officer"],
        token=text["offer"],
        geometry=geometry,
        trouble="",
        shown=(text["offer"], text["reasons"], text["remark"], None),
        why=text["why"],
        decided_at=text["decided_at"],
        codes=tuple(text["codes"].split()),
        drawn=text["drawn"],
    )


def _saved_control(fid: int, values: Mapping[str, Any], geometry: bytes | None) -> SavedControl:
    names = ("offer", "decision", "note", "officer", "decided_at", "remark")
    return SavedControl(fid=fid, geometry=geometry, **{name: as_text(values.get(name)) for name in names})


def _write_features(path: Path, offers: Sequence[Offer], drawn: Sequence[str]) -> None:
    columns: dict[str, Sequence[Any]] = {
        "risk_order": list(range(1, len(offers) + 1)),
        "source_row": [offer.row for offer in offers],
        "id": [offer.reference for offer in offers],
        "reasons": [cut(offer.reasons) for offer in offers],
        "shift_m": [offer.shift_m for offer in offers],
        "stderr_m": [offer.uncertainty_m for offer in offers],
        "decision": [offer.decision for offer in offers],
        "why": [offer.why for offer in offers],
        "note": [cut(offer.note) for offer in offers],
        "officer": [offer.officer for offer in offers],
        "decided_at": [offer.decided_at for offer in offers],
        "remark": [cut(offer.remark) for offer in offers],
        "codes": [_whole_words(" ".join(offer.codes)) for offer in offers],
        "offer": [offer.token for offer in offers],
        "drawn": list(drawn),
    }
    _write(path, [offer.proposal for offer in offers], columns)


def _whole_words(text: str) -> str:
    return text if len(text) <= _WIDEST else text[:_WIDEST].rsplit(" ", 1)[0]


def _as_rounded(path: Path, count: int) -> list[str]:
    by_row: dict[str, bytes | None] = {}
    for part in (path, *_parts(path)):
        by_row |= {str(values["risk_order"]): geometry for _, values, geometry in _read(part)}
    return geometry_hashes(by_row.get(str(number)) for number in range(1, count + 1))


def _example(offer: Offer) -> Lines:
    """One short line: an empty file of these formats would not say that it holds lines, nor where they lie."""
    shape = read_geometry(offer.before)
    easting, northing = shapely.get_coordinates(shape)[0] if shape is not None and not shape.is_empty else (0.0, 0.0)
    line = shapely.linestrings([[easting, northing], [easting + 1.0, northing]])
    return Lines([shapely.to_wkb(line)], {"note": [""], "officer": [""], "decided_at": [""], "remark": [_EXAMPLE]})


def _old_columns(offers: Sequence[Offer]) -> dict[str, Sequence[Any]]:
    return {"id": [offer.reference for offer in offers], "offer": [offer.token for offer in offers]}


def _control_columns(control: Lines) -> dict[str, Sequence[Any]]:
    wanted = ("file", "code", "verdict", "reasons", "residual_m", "decision", "note", "officer", "decided_at", "offer")
    held = {name: control.columns.get(name, [None] * len(control)) for name in wanted}
    return {name: [cut(v) if isinstance(v, str) else v for v in values] for name, values in held.items()}


def _drawn_columns(drawn: Lines) -> dict[str, Sequence[Any]]:
    wanted = ("note", "officer", "decided_at", "remark")
    return {name: [cut(value or "") for value in drawn.columns.get(name, [])] for name in wanted}


def _write(path: Path, geometries: Sequence[bytes | None], columns: Mapping[str, Sequence[Any]]) -> None:
    arrays: list[pa.Array] = []
    fields: list[pa.Field] = []
    for name, values in columns.items():
        kind = pa.string() if name in _WIDTHS else pa.float64() if name.endswith("_m") else pa.int64()
        width = {b"GDAL:OGR:width": str(_WIDTHS[name]).encode()} if name in _WIDTHS else None
        fields.append(pa.field(name, kind, metadata=width))
        arrays.append(pa.array(list(values), kind, from_pandas=True))
    fields.append(pa.field(GEOMETRY, pa.binary()))
    arrays.append(pa.array(list(geometries), pa.binary()))
    schema = pa.schema(fields)
    write_batches(path, schema, iter([pa.RecordBatch.from_arrays(arrays, schema=schema)]), layer=path.stem)


def _put_in_place(folder: Path, path: Path) -> None:
    """All files together, or none: what is there is laid aside first, and put back if one of them is held open."""
    new, aside = sorted(folder.iterdir()), folder / "aside"
    aside.mkdir()
    old = _files(path)
    try:
        for each in old:
            each.replace(aside / each.name)
        for each in new:
            each.replace(path.parent / each.name)
    except PermissionError as error:
        for each in aside.iterdir():
            each.replace(path.parent / each.name)
        raise ExportError(
            f"{path} cannot be written ({error.strerror}). Close it in MapInfo or whatever has it open, then run again."
        ) from None


def with_cut_texts(offer: Offer) -> Offer:
    """An offer as these formats show it, for comparison with what is there."""
    return replace(offer, reasons=cut(offer.reasons), remark=cut(offer.remark))

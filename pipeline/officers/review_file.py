"""The review GeoPackage: how what is offered to officers is written."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import shapely

from pipeline.files import whole_file
from pipeline.fingerprint import read_geometry
from pipeline.geometry.middle import middle
from pipeline.geometry.wkb_kind import WkbKind
from pipeline.officers.control_decisions import CONTROL_WORDS
from pipeline.officers.decisions import WHY, WORDS
from pipeline.officers.package import (
    BOTH_VERSIONS,
    BREAKS_NEARBY,
    CONTROL_NEARBY,
    NEW_CONTROL,
    OLD_POSITION,
    SHIFT_ARROWS,
    Lines,
    Offer,
    Surroundings,
)
from pipeline.officers.qgis_style import (
    Column,
    arrow_style,
    break_style,
    control_style,
    drawn_style,
    old_position_style,
    review_style,
    store_styles,
    version_style,
)

_WHO = "coalesce(nullif(trim(\"officer\"), ''), nullif(@user_full_name, ''), @user_account_name)"
_WHEN = "format_date(now(), 'yyyy-MM-ddTHH:mm:ss')"
_NAMED = "coalesce(\"decision\", '') = '' or coalesce(trim(\"officer\"), '') <> ''"
_NAMED_SAYS = "Say who decides: fill in the officer."
_WHO_AND_WHEN = (
    Column("officer", "Officer", editable=True, default=_WHO, constraint=_NAMED, says=_NAMED_SAYS),
    Column("decided_at", "Decided at", default=_WHEN),
)
_COLUMNS = (
    Column("fid", "fid", hidden=True),
    Column("risk_order", "Order of risk"),
    Column("pai_row", "Row in the source", hidden=True),
    Column("id", "Reference"),
    Column("reasons", "Why it is here", multiline=True),
    Column("shift_m", "Proposed shift [m]"),
    Column("uncertainty_m", "Standard error [m]"),
    Column("risk", "Risk", hidden=True),
    Column("decision", "Decision", editable=True, words=WORDS),
    Column("why", "Your reason", editable=True, words=WHY),
    Column("note", "Note", editable=True, multiline=True),
    *_WHO_AND_WHEN,
    Column("remark", "Answer to what was saved before", multiline=True),
    Column("codes", "Reasons as codes", hidden=True),
    Column("offer", "What was shown", hidden=True),
)
_CONTROL_COLUMNS = (
    Column("fid", "fid", hidden=True),
    Column("file", "File"),
    Column("code", "Feature code"),
    Column("verdict", "Verdict"),
    Column("reasons", "Why"),
    Column("row", "Row in the file"),
    Column("residual_m", "Residual [m]"),
    Column("standardised_residual", "Standardised residual", hidden=True),
    Column("decision", "What you say of it", editable=True, words=CONTROL_WORDS),
    Column("note", "Note", editable=True, multiline=True),
    *_WHO_AND_WHEN,
    Column("offer", "What was shown", hidden=True),
)
_NEW_CONTROL_COLUMNS = (
    Column("fid", "fid", hidden=True),
    Column("note", "Note", editable=True, multiline=True),
    Column("officer", "Officer", editable=True, default=_WHO, constraint="trim(\"officer\") <> ''", says=_NAMED_SAYS),
    Column("decided_at", "Decided at", default=_WHEN),
    Column("remark", "Answer to what was saved before", multiline=True),
)


def write_review(
    path: Path,
    layer: str,
    offers: Sequence[Offer],
    around: Surroundings,
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
    around
        What lies near them: control, breaks, what was drawn, and two versions where officers disagree.
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
            _write_layers(beside, layer, offers, around, last_fid)
            if not may_replace():
                raise _SavedMeanwhileError
    except _SavedMeanwhileError:
        return False
    return True


class _SavedMeanwhileError(Exception):
    pass


def _fids(offers: Sequence[Offer], last_fid: int) -> list[int]:
    # QGIS addresses features by fid, and tells nobody when a late save finds none. If it still shows the file that is
    # replaced, what it saves must reach the same feature: so a feature keeps its fid, and none is given out twice.
    unused = itertools.count(last_fid + 1)
    return [offer.fid if offer.fid is not None else next(unused) for offer in offers]


def _write_layers(path: Path, layer: str, offers: Sequence[Offer], around: Surroundings, last_fid: int) -> None:
    fids = _fids(offers, last_fid)
    shown = [offer.proposal for offer in offers]
    _write_layer(path, layer, shown, _offer_columns(offers, fids))
    old = [(fid, offer) for fid, offer in zip(fids, offers, strict=True) if offer.token]
    old_columns = {
        "fid": [fid for fid, _ in old],
        "pai_row": [offer.row for _, offer in old],
        "id": [offer.reference for _, offer in old],
        "offer": [offer.token for _, offer in old],
    }
    _write_layer(path, OLD_POSITION, [offer.before for _, offer in old], old_columns)
    _write_lines(path, SHIFT_ARROWS, _arrows(offers), ["id", "shift_m"])
    _write_lines(path, CONTROL_NEARBY, around.control, [column.name for column in _CONTROL_COLUMNS[1:]])
    _write_lines(path, NEW_CONTROL, around.drawn, [column.name for column in _NEW_CONTROL_COLUMNS[1:]])
    _write_lines(path, BREAKS_NEARBY, around.breaks, ["half_width_m"])
    said = ["id", "officer", "decision", "note", "decided_at"]
    _write_lines(path, BOTH_VERSIONS, around.versions, said, kind=_kind([*around.versions.lines] or shown))
    styles = {
        layer: review_style(_COLUMNS, "risk_order"),
        OLD_POSITION: old_position_style(),
        SHIFT_ARROWS: arrow_style(),
        CONTROL_NEARBY: control_style(_CONTROL_COLUMNS),
        NEW_CONTROL: drawn_style(_NEW_CONTROL_COLUMNS),
        BREAKS_NEARBY: break_style(),
        BOTH_VERSIONS: version_style(),
    }
    store_styles(path, styles)
    with closing(sqlite3.connect(path)) as connection, connection:
        # Where nobody sees it and no program stumbles over it: a table of our own would be listed as a broken layer.
        described = "UPDATE gpkg_contents SET description = ? WHERE table_name = ?"
        connection.execute(described, (around.digest, CONTROL_NEARBY))
        # Keeps a number from being given out again after its feature has left the file.
        connection.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (last_fid, layer))


def _kind(geometries: Sequence[bytes | None]) -> str:
    return WkbKind.of_layer(geometries).name


def _arrows(offers: Sequence[Offer]) -> Lines:
    """The proposed shift of each feature that has one, from the middle of its old place to the middle of the new."""
    pairs = [(offer, read_geometry(offer.before), read_geometry(offer.proposal)) for offer in offers]
    moved = [
        (offer, shapely.linestrings(shapely.get_coordinates([middle(old), middle(new)])))
        for offer, old, new in pairs
        if offer.shift_m and old is not None and new is not None and not old.is_empty and not new.is_empty
    ]
    columns: dict[str, Sequence[Any]] = {
        "id": [offer.reference for offer, _ in moved],
        "shift_m": [offer.shift_m for offer, _ in moved],
    }
    return Lines([shapely.to_wkb(line) for _, line in moved], columns)


def _write_lines(path: Path, name: str, lines: Lines, columns: Sequence[str], kind: str = "LineString") -> None:
    held = {column: lines.columns.get(column, [None] * len(lines)) for column in columns}
    _write_layer(path, name, lines.lines, held, kind=kind)


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
        "why": [offer.why or None for offer in offers],
        "note": [offer.note or None for offer in offers],
        "officer": [offer.officer or None for offer in offers],
        "decided_at": [offer.decided_at or None for offer in offers],
        "remark": [offer.remark or None for offer in offers],
        "codes": [" ".join(offer.codes) for offer in offers],
        "offer": [offer.token for offer in offers],
    }


_TYPES: dict[str, Any] = dict.fromkeys(("fid", "risk_order", "pai_row", "row"), np.int64) | dict.fromkeys(
    ("shift_m", "uncertainty_m", "risk", "residual_m", "standardised_residual", "half_width_m"), np.float64
)


def _write_layer(
    path: Path, name: str, geometries: Sequence[bytes | None], columns: Mapping[str, Any], kind: str | None = None
) -> None:
    found = WkbKind.of_layer(geometries)
    shapes = np.empty(len(geometries), dtype=object)
    shapes[:] = [found.fit(wkb) for wkb in geometries] if kind is None else list(geometries)
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
        geometry_type=kind or found.name,
        crs="EPSG:27700",
        **version,
    )

"""The fitted shift as one file: a zip of plain arrays and a JSON header, no pickle.

Written beside and renamed, so that a reader finds a whole file or none; read back, every place moves to the
same bit.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files import whole_file
from pipeline.fitted import Fitted
from qa.accuracy import Score
from transforms.breaks import Breaks
from transforms.errors import FieldError
from transforms.support import Support
from transforms.table import Table
from transforms.tabulated import Tabulated

FORMAT = "post-pai shift field"
FORMAT_VERSION = 2
UNITS = {"places": "metre", "shift": "metre", "standard errors": "metre, radial", "crs": "EPSG:27700"}

_HEADER_FIELDS = (
    "method",
    "control_sha256",
    "control_count",
    "calibration",
    "within_95_share",
    "holdout_rms_m",
    "covariance",
    "settings",
    "version",
)


def write_field(path: Path, fitted: Fitted) -> None:
    """Write the fitted shift to ``path``, whole or not at all.

    Raises
    ------
    ExportError
        If ``path`` cannot be written.
    """
    arrays: dict[str, Any] = {"header": np.array(json.dumps(_header(fitted), sort_keys=True))}
    arrays |= {f"breaks.{name}": array for name, array in fitted.breaks.to_arrays().items()}
    for number, piece in enumerate(fitted.pieces):
        if piece is not None:
            arrays |= {f"piece{number}.{name}": array for name, array in _piece_arrays(piece).items()}
    with whole_file(path) as beside, beside.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def read_field(path: Path) -> Fitted:
    """Read a fitted shift; the last one read is kept, with the raster of its pieces, until its file changes.

    Raises
    ------
    FieldError
        If ``path`` is missing, cut short or something else.
    """
    if not path.is_file():
        raise FieldError(f"There is no fitted shift at {path}. Make one with `post-pai fit`.")
    state = path.stat()
    return _read_file(path, state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(maxsize=1)
def _read_file(path: Path, changed_ns: int, size_bytes: int, inode: int) -> Fitted:
    try:
        # np.load leaves a file open that it opened itself and could not read.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return _read(path, {name: archive[name] for name in archive.files})
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, KeyError, TypeError) as error:
        raise FieldError(
            f"{path} is not a whole fitted shift ({type(error).__name__}). Copy it again, or make it anew with "
            "post-pai fit."
        ) from None


def _header(fitted: Fitted) -> dict[str, Any]:
    content = {name: getattr(fitted, name) for name in _HEADER_FIELDS}
    scores = [asdict(score) for score in fitted.scores]
    pieces = [piece is not None for piece in fitted.pieces]
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "units": UNITS,
        "scores": scores,
        "pieces": pieces,
        "holdout": fitted.holdout,
        **content,
    }


def _piece_arrays(piece: Tabulated) -> dict[str, Any]:
    table, support = piece.table, piece.support
    return {
        "origin": table.origin,
        "shift": table.shift,
        "error_m": table.error_m,
        "numbers": np.array([table.spacing_m, table.deviation_m, piece.noise_m]),
        "before": support.before,
        "reach_m": support.reach_m,
    }


def _read(path: Path, arrays: dict[str, Any]) -> Fitted:
    header = json.loads(str(arrays["header"]))
    if header["format"] != FORMAT or header["format_version"] != FORMAT_VERSION:
        raise FieldError(
            f"{path} was written in version {header['format_version']} of the field file; this software reads "
            f"version {FORMAT_VERSION}. Make it anew with post-pai fit."
        )
    breaks = {name.removeprefix("breaks."): array for name, array in arrays.items() if name.startswith("breaks.")}
    pieces = tuple(_piece(arrays, f"piece{k}.") if kept else None for k, kept in enumerate(header["pieces"]))
    content = {name: header[name] for name in _HEADER_FIELDS}
    scores = tuple(Score(**score) for score in header["scores"])
    return Fitted(
        pieces=pieces, breaks=Breaks.from_arrays(breaks), scores=scores, holdout=header.get("holdout", {}), **content
    )


def _piece(arrays: dict[str, Any], prefix: str) -> Tabulated:
    spacing_m, deviation_m, noise_m = arrays[prefix + "numbers"].tolist()
    origin, shift, error_m = (arrays[prefix + name] for name in ("origin", "shift", "error_m"))
    table = Table(origin, spacing_m, shift, error_m, deviation_m)
    return Tabulated(table, Support(arrays[prefix + "before"], arrays[prefix + "reach_m"]), noise_m)

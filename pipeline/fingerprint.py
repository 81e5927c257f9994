"""Fingerprints: is this still the same feature, the same proposal, the same geometry?

Hashes of what a feature *is*, never of the file it came in: a geometry keeps its fingerprint when a format turns its
rings round, makes a polygon a multipolygon, drops its Z or rounds it to the millimetre.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

_HEX_DIGITS = 16
_BATCH = 4096


def read_geometry(wkb: bytes | None) -> shapely.Geometry | None:
    """The geometry in ``wkb``; None if there is none or shapely cannot hold it (true curves, broken bytes)."""
    if not wkb:
        return None
    try:
        with np.errstate(invalid="ignore"):  # coordinates that are not numbers are for others to judge
            return shapely.from_wkb(wkb)
    except (shapely.errors.ShapelyError, NotImplementedError):
        return None


def geometry_hash(wkb: bytes | None) -> str:
    """Where a geometry lies, to the millimetre, whatever the format made of its rings; empty for none.

    A curve is known by its bytes.

    Parameters
    ----------
    wkb
        Well-known binary, coordinates in metres.

    Returns
    -------
    str
        16 hexadecimal digits.

    Examples
    --------
    >>> one = shapely.to_wkb(shapely.Point(1, 2))
    >>> many = shapely.to_wkb(shapely.MultiPoint([[1.0001, 2.0]]))
    >>> geometry_hash(one) == geometry_hash(many)
    True
    >>> geometry_hash(None)
    ''
    """
    return geometry_hashes([wkb])[0]


def geometry_hashes(geometries: Iterable[bytes | None]) -> list[str]:
    """The ``geometry_hash`` of each of many geometries, far faster than one by one."""
    batch = list(geometries)
    return [
        hashlib.sha256(place).hexdigest()[:_HEX_DIGITS] if wkb else ""
        for wkb, place in zip(batch, _places(batch), strict=True)
    ]


def feature_hash(values: Mapping[str, Any], wkb: bytes | None) -> str:
    """What a source feature says and where it lies: its columns in order, and its geometry to the last bit.

    Parameters
    ----------
    values
        The source columns, without ours.
    wkb
        The geometry as found.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    text = json.dumps(list(values.items()), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode() + b"\0" + (wkb or b"")).hexdigest()[:_HEX_DIGITS]


def layer_hash(geometries: Iterable[bytes | None]) -> str:
    """The geometries of a layer in order, whatever its columns, name and format; empty if it has none.

    Parameters
    ----------
    geometries
        Well-known binary per feature, in source order; may be streamed.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> layer_hash([None, b""])
    ''
    """
    digest, has_any = hashlib.sha256(), False
    remaining = iter(geometries)
    while batch := list(islice(remaining, _BATCH)):
        for place in _places(batch):
            has_any = has_any or bool(place)
            digest.update(struct.pack("<q", len(place)))
            digest.update(place)
    return digest.hexdigest() if has_any else ""


def _places(batch: list[bytes | None]) -> list[bytes]:
    """Each geometry's vertices as sorted millimetres; the bytes as they are where shapely cannot hold them."""
    shapes = np.empty(len(batch), dtype=object)
    shapes[:] = _read_geometries(batch)
    points, owner = shapely.get_coordinates(shapes, return_index=True)
    points, owner = _sorted_millimetres(points, owner)
    ends = np.searchsorted(owner, np.arange(len(batch)), side="right")
    starts = np.searchsorted(owner, np.arange(len(batch)), side="left")
    return [
        points[start:end].tobytes() if shape is not None else wkb or b""
        for start, end, shape, wkb in zip(starts, ends, shapes, batch, strict=True)
    ]


def _read_geometries(batch: list[bytes | None]) -> list[shapely.Geometry | None]:
    # One curve makes shapely refuse the whole batch.
    try:
        with np.errstate(invalid="ignore"):
            return list(shapely.from_wkb(np.array(batch, dtype=object)))
    except (shapely.errors.ShapelyError, NotImplementedError):
        return [read_geometry(wkb) for wkb in batch]


def _sorted_millimetres(
    points: NDArray[np.float64], owner: NDArray[np.int_]
) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    # + 0.0 turns -0.0 into 0.0, which has other bytes. A ring repeats its first vertex, and where it starts is the
    # format's choice: so each place of a geometry counts once.
    millimetres = np.rint(points * 1000.0) + 0.0
    order = np.lexsort((millimetres[:, 1], millimetres[:, 0], owner))
    millimetres, owner = millimetres[order], owner[order]
    is_new = np.ones(len(owner), dtype=bool)
    is_new[1:] = (owner[1:] != owner[:-1]) | (millimetres[1:] != millimetres[:-1]).any(axis=1)
    return millimetres[is_new], owner[is_new]

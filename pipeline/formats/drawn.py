"""What was drawn by hand as an arc or as a text, of which the reader makes short lines and bare points without a word.

MapInfo and DXF hold arcs, ellipses, rounded corners and texts as objects of their own. They are counted here from the
bytes of the files, so that a person is told; the words and the angle of texts are asked for (``LABEL_TEXT``).
"""

from __future__ import annotations

import mmap
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.formats.recognise import Source

LABEL_TEXT, LABEL_ANGLE = "label_text", "label_angle_deg"
"""Columns for what a text says and how far it is turned, anticlockwise from east."""

STYLE = "OGR_STYLE"
"""The name under which GDAL gives the style of a feature, where it is asked."""

_MIF = re.compile(
    rb"^[ \t]*(?:(?P<arc>(?:arc|ellipse|roundrect)\s+[-+.\d])|text\s*[\"\r\n])", re.IGNORECASE | re.MULTILINE
)
_DXF = re.compile(rb"(?m)^[ \t]*0[ \t]*\r?\n[ \t]*(?:(?P<arc>ARC|CIRCLE|ELLIPSE|SPLINE)|M?TEXT)[ \t]*\r?$")

# Object blocks of a MapInfo .MAP file: https://gdal.org, mitab_mapfile (mitab.h, MapInfo's own numbers of its objects).
_MAP_HEADER_BYTES = 512
_MAP_MAGIC = 42424242
_OBJECT_BLOCK = 2
_OBJECTS_BEGIN = 20
_LARGEST_TYPE = 72
_DELETED = 0x40000000
_MAP_TEXTS = (0x10, 0x11)
_MAP_ARCS = (0x0A, 0x0B, 0x16, 0x17, 0x19, 0x1A)

_LABEL = re.compile(r"LABEL\(((?:[^\")]|\"(?:[^\"\\]|\\.)*\")*)\)")
_PART = re.compile(r"(\w+):(\"(?:[^\"\\]|\\.)*\"|[^,]*)")


@dataclass(frozen=True)
class Drawn:
    """How many features are arcs (circles, ellipses, rounded corners, splines), how many are texts."""

    arcs: int = 0
    texts: int = 0

    @property
    def findings(self) -> list[str]:
        """What a person should know."""
        arcs = f"{self.arcs} arcs, ellipses or rounded corners are read as lines of short segments."
        texts = (
            f"{self.texts} texts are read as points; what they say and how they are turned is in the columns "
            f"{LABEL_TEXT} and {LABEL_ANGLE}, their fonts are not kept."
        )
        return [sentence for sentence, count in ((arcs, self.arcs), (texts, self.texts)) if count]


def drawn(source: Source) -> Drawn:
    """Count the arcs and texts of a MapInfo or DXF file; none in any other format."""
    if source.driver == "DXF":
        return _in_text(source.path, _DXF)
    if source.driver != "MapInfo File":
        return Drawn()
    if source.path.suffix.lower() == ".mif":
        return _in_text(source.path, _MIF)
    maps = [file for file in source.files if file.suffix.lower() == ".map"]
    return _in_map(maps[0]) if maps else Drawn()


def _in_text(path: Path, pattern: re.Pattern[bytes]) -> Drawn:
    if not path.is_file():
        return Drawn()
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = Counter(hit.lastgroup == "arc" for hit in pattern.finditer(content))
    return Drawn(arcs=found[True], texts=found[False])


def _in_map(path: Path) -> Drawn:
    with path.open("rb") as stream:
        header = stream.read(_MAP_HEADER_BYTES)
        if len(header) < _MAP_HEADER_BYTES or int.from_bytes(header[0x100:0x104], "little") != _MAP_MAGIC:
            return Drawn()
        size = int.from_bytes(header[0x106:0x108], "little") or _MAP_HEADER_BYTES
        lengths = np.frombuffer(header, np.uint8)[: _LARGEST_TYPE + 1] & 0x7F
        stream.seek(size)
        counts = np.zeros(_LARGEST_TYPE + 1, dtype=np.int64)
        while block := stream.read(size):
            if block[0] == _OBJECT_BLOCK:
                _count_objects(block, lengths.tolist(), counts)
    return Drawn(int(counts[list(_MAP_ARCS)].sum()), int(counts[list(_MAP_TEXTS)].sum()))


def _count_objects(block: bytes, lengths: list[int], counts: np.ndarray) -> None:
    at, end = _OBJECTS_BEGIN, min(_OBJECTS_BEGIN + int.from_bytes(block[2:4], "little"), len(block))
    while at + 5 <= end and 0 < block[at] <= _LARGEST_TYPE and lengths[block[at]]:
        if not int.from_bytes(block[at + 1 : at + 5], "little") & _DELETED:
            counts[block[at]] += 1
        at += lengths[block[at]]


def label_columns(style: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Words and angle [deg] of each feature's label, null where its ``style`` has none.

    Examples
    --------
    >>> words, angle = label_columns(pa.array(['LABEL(t:"Mill \\\\"A\\\\"",a:30.5,s:12g)', "PEN(w:1px)", None]))
    >>> words.to_pylist(), angle.to_pylist()
    (['Mill "A"', None, None], [30.5, None, None])
    """
    labels = [_label(each) for each in style.to_pylist()]
    words = [None if "t" not in label else re.sub(r"\\(.)", r"\1", label["t"][1:-1]) for label in labels]
    angle = [float(label.get("a", 0.0)) if label else None for label in labels]
    return pa.array(words, pa.string()), pa.array(angle, pa.float64())


def _label(style: str | None) -> dict[str, str]:
    found = _LABEL.search(style) if style else None
    return dict(_PART.findall(found[1])) if found else {}

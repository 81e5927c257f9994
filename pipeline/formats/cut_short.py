"""Is a file there to its end? GDAL reads a file that was cut short, and says nothing about the part that is missing.

Each format is asked what it promises (a length in its header, an end mark, a count of records) before it is read.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from functools import lru_cache
from pathlib import Path
from xml.parsers import expat

import pyogrio

from pipeline.formats.recognise import Source
from transforms.errors import SourceError

_COUNTS_ARE_TRUE = {"ESRI Shapefile", "MapInfo File", "FlatGeobuf", "OpenFileGDB"}
_DEEPEST_XML = 200
_CHUNK_BYTES = 1 << 20
_XML = (".gml", ".xml")
_MEMBER_DEPTH = 2


def declared_features(source: Source, gdal_name: str, layer: str | int) -> int | None:
    """How many features the file says it has, where its format says so and can be believed; else None."""
    if source.path.suffix.lower() in _XML:
        return _walk(source.path).get(str(layer))
    if source.driver not in _COUNTS_ARE_TRUE:
        return None
    if source.path.suffix.lower() == ".mif":
        return _mid_rows(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said again, and kept, when the layer is opened
        count = int(pyogrio.read_info(gdal_name, layer=layer)["features"])
    return count if count >= 0 else None


def refuse_cut_short(source: Source) -> None:
    """Refuse a file that ends before its own header or grammar says it should.

    Raises
    ------
    SourceError
        Naming the file and what is missing.
    """
    checks = {".shp": _check_shp, ".gml": _check_xml, ".xml": _check_xml, ".dxf": _check_dxf}
    check = checks.get(source.path.suffix.lower())
    if check:
        check(source.path)


def _check_shp(path: Path) -> None:
    with path.open("rb") as stream:
        promised = 2 * int.from_bytes(stream.read(28)[24:28], "big")
    actual = path.stat().st_size
    if actual < promised:
        raise SourceError(
            f"{path} was cut short: its header promises {promised} bytes and it has {actual}. Copy all its files again."
        )
    if not any(each.name.lower() == f"{path.stem.lower()}.shx" for each in path.parent.iterdir()):
        raise SourceError(f"{path} has no .shx file beside it. Copy all files of the Shapefile (.shp, .shx, .dbf).")


def _check_dxf(path: Path) -> None:
    with path.open("rb") as stream:
        is_binary = stream.read(18) == b"AutoCAD Binary DXF"
        stream.seek(max(0, path.stat().st_size - 64))
        tail = stream.read()
    if not is_binary and not re.search(rb"EOF\s*$", tail):
        raise SourceError(f"{path} was cut short: a DXF file ends with EOF and this one does not. Copy it again.")


def _check_xml(path: Path) -> None:
    _walk(path)


def _walk(path: Path) -> Counter[str]:
    stat = path.stat()
    return _members(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _members(path: Path, changed_ns: int, size: int) -> Counter[str]:
    """Walk the whole document once: well-formed to its end, no entities of its own, not nested without bound.

    Returns the number of features by the name of their element: GDAL stops without a word at one it cannot read.
    """
    depth = 0
    members: Counter[str] = Counter()
    is_member = False

    def open_element(name: str, attributes: object) -> None:
        nonlocal depth, is_member
        depth += 1
        if depth == _MEMBER_DEPTH:
            is_member = name.lower().endswith(("member", "members"))
        elif depth == _MEMBER_DEPTH + 1 and is_member:
            members[name.rpartition(":")[2]] += 1
        if depth > _DEEPEST_XML:
            raise SourceError(
                f"{path} nests its elements more than {_DEEPEST_XML} deep, which no map does. Ask for the file again."
            )

    def close_element(name: str) -> None:
        nonlocal depth
        depth -= 1

    def entity(name: str, *rest: object) -> None:
        raise SourceError(f"{path} defines an XML entity ({name}), which can blow up without bound. Save it without.")

    parser = expat.ParserCreate()
    parser.StartElementHandler = open_element
    parser.EndElementHandler = close_element
    parser.EntityDeclHandler = entity
    with path.open("rb") as stream:
        try:
            parser.ParseFile(stream)
        except expat.ExpatError as error:
            raise SourceError(f"{path} is not whole XML ({error}). Ask for the file again.") from None
    return members


def _mid_rows(source: Source) -> int | None:
    beside = [each for each in source.files if each.suffix.lower() == ".mid"]
    if not beside:
        return None
    with beside[0].open("rb") as stream:
        lines = Counter(bool(line.strip()) for line in stream)
    # A blank line may be a row whose one column is empty, or nothing.
    return None if lines[False] else lines[True]

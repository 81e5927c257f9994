"""Which format a path holds: by its suffix, confirmed by its first bytes, from a list of formats that are allowed.

GDAL alone would open anything: a VRT or a service description with an innocent suffix can read any file or address.
So nothing reaches GDAL unless its suffix is on the list and its content begins as that format does.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from transforms.errors import SourceError

_HEAD_BYTES = 65_536
_ZIP_LIMIT_BYTES = 8 << 30
_ZIP_LIMIT_RATIO = 200
_ADDRESS = re.compile(r"^(/vsi|[A-Za-z][A-Za-z0-9+.-]+:)")
_SERVICE_XML = (b"<OGRVRTDataSource", b"<VRTDataset", b"<OGRWFSDataSource", b"<GDAL_WMS", b"<GDALTileIndex")


@dataclass(frozen=True)
class Format:
    """One format that is read: GDAL's name for its driver, what people call it, how its files are recognised."""

    driver: str
    title: str
    suffixes: tuple[str, ...]
    begins: Callable[[bytes], bool]
    side_files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A recognised file: where it is, its format, and the name by which GDAL opens it (inside a zip, say)."""

    path: Path
    format: Format
    gdal_name: str
    files: tuple[Path, ...]

    @property
    def driver(self) -> str:
        """GDAL's name for the format."""
        return self.format.driver


def _text(head: bytes) -> bytes:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()


def _is_gml(head: bytes) -> bool:
    text = _text(head)
    return text.startswith(b"<") and b"opengis.net/gml" in text and not any(tag in text for tag in _SERVICE_XML)


def _is_geojson(head: bytes) -> bool:
    text = _text(head)
    return text.startswith(b"{") and b"gdal_streamed_alg" not in text and b'"Topology"' not in text


def _is_dxf(head: bytes) -> bool:
    return re.match(rb"\s*(999\b|0\s+SECTION)|AutoCAD Binary DXF", head) is not None


def _is_table_text(head: bytes) -> bool:
    utf_16 = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    return not head.startswith((b"PK\x03\x04", b"<")) and (utf_16 or b"\x00" not in head)


FORMATS = (
    Format(
        "GPKG", "GeoPackage", (".gpkg",), lambda head: head.startswith(b"SQLite format 3\x00"), (".gpkg", ".gpkg-wal")
    ),
    Format(
        "ESRI Shapefile",
        "Shapefile",
        (".shp", ".dbf"),
        lambda head: head[:4] == b"\x00\x00\x27\x0a" or head[:1] in b"\x02\x03\x30\x31\x83\x8b\xf5",
        (".shp", ".shx", ".dbf", ".prj", ".cpg", ".cst"),
    ),
    Format(
        "MapInfo File",
        "MapInfo TAB",
        (".tab",),
        lambda head: _text(head)[:6].lower() == b"!table",
        (".tab", ".dat", ".map", ".id", ".ind"),
    ),
    Format(
        "MapInfo File",
        "MapInfo MIF",
        (".mif",),
        lambda head: _text(head)[:7].lower() == b"version",
        (".mif", ".mid"),
    ),
    Format("GeoJSON", "GeoJSON", (".geojson", ".json"), _is_geojson),
    Format("GML", "GML", (".gml", ".xml"), _is_gml, (".gml", ".xml", ".xsd")),
    Format("OpenFileGDB", "file geodatabase", (".gdb",), lambda head: True),
    Format("Parquet", "GeoParquet", (".parquet", ".geoparquet"), lambda head: head.startswith(b"PAR1")),
    Format("FlatGeobuf", "FlatGeobuf", (".fgb",), lambda head: head.startswith(b"fgb\x03")),
    Format("DXF", "DXF", (".dxf",), _is_dxf),
    Format("CSV", "CSV", (".csv", ".txt", ".tsv"), _is_table_text),
    Format("XLSX", "Excel", (".xlsx", ".xlsm"), lambda head: head.startswith(b"PK")),
)
_BY_SUFFIX = {suffix: known for known in FORMATS for suffix in known.suffixes}
_READ = (
    "GeoPackage, Shapefile, MapInfo TAB or MIF, GeoJSON, GML, file geodatabase, GeoParquet, FlatGeobuf, DXF, CSV, Excel"
)


def recognise(path: Path | str, member: str | None = None) -> Source:
    """Say which format ``path`` holds; ``member`` chooses between several layers' files inside one zip.

    Raises
    ------
    SourceError
        If ``path`` is an address, is missing, is not on the list, or does not begin as its suffix promises.
    """
    if _ADDRESS.match(str(path)) and not re.match(r"^[A-Za-z]:[\\/]", str(path)):
        raise SourceError(f"{path} is an address, not a file. Save the layer to a file and give its path.")
    path = Path(path)
    if not path.exists():
        raise SourceError(f"{path} does not exist. Check the folder and the spelling.")
    if path.is_dir():
        return _geodatabase_folder(path)
    if path.suffix.lower() == ".zip":
        return _inside_zip(path, member)
    known = _known(path, path.name)
    with path.open("rb") as stream:
        _confirm(path, path.name, known, stream.read(_HEAD_BYTES))
    return Source(path, known, str(path), _files_of(path, known))


def _known(path: Path, name: str) -> Format:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in _BY_SUFFIX:
        raise SourceError(f"{path} has the suffix {suffix or '(none)'}, which is not read. Give one of: {_READ}.")
    return _BY_SUFFIX[suffix]


def _confirm(path: Path, name: str, known: Format, head: bytes) -> None:
    if not head:
        raise SourceError(f"{path} is empty (0 bytes). Ask for the {known.title} file again.")
    if not known.begins(head):
        raise SourceError(
            f"{path}: {name} does not begin as a {known.title} file does. "
            "Check that the suffix is right and that the file was copied whole."
        )


def _files_of(path: Path, known: Format) -> tuple[Path, ...]:
    if not known.side_files:
        return (path,)
    beside = [each for each in path.parent.iterdir() if each.is_file() and _belongs(each, path, known)]
    return (path, *sorted(each for each in beside if each != path))


def _belongs(each: Path, path: Path, known: Format) -> bool:
    return each.stem.lower() == path.stem.lower() and each.suffix.lower() in known.side_files


def _geodatabase_folder(path: Path) -> Source:
    if not (path / "a00000001.gdbtable").exists():
        raise SourceError(f"{path} is a folder but not a file geodatabase. Give the file of one layer.")
    files = tuple(sorted(each for each in path.iterdir() if each.is_file() and each.suffix != ".lock"))
    return Source(path, _BY_SUFFIX[".gdb"], str(path), files)


def _inside_zip(path: Path, member: str | None) -> Source:
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_bomb(path, archive)
            name = _choose(path, _layer_files(archive), member)
            known = _known(path, name)
            if known.driver != "OpenFileGDB":
                with archive.open(name) as stream:
                    _confirm(path, name, known, stream.read(_HEAD_BYTES))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        raise SourceError(f"{path} cannot be unpacked ({error}). Ask for the zip file again.") from None
    inside = "" if name == path.name else f"/{name}"
    return Source(path, known, f"/vsizip/{{{path}}}{inside}" if inside else f"/vsizip/{path}", (path,))


def _refuse_bomb(path: Path, archive: zipfile.ZipFile) -> None:
    unpacked = sum(entry.file_size for entry in archive.infolist())
    packed = max(1, sum(entry.compress_size for entry in archive.infolist()))
    if unpacked > _ZIP_LIMIT_BYTES or (unpacked > 1 << 28 and unpacked / packed > _ZIP_LIMIT_RATIO):
        raise SourceError(
            f"{path} would unpack to {unpacked / 1e9:.1f} GB, over the limit. Unpack it by hand and look inside."
        )


def _layer_files(archive: zipfile.ZipFile) -> list[str]:
    names = archive.namelist()
    folders = sorted({name.split(".gdb/")[0] + ".gdb" for name in names if ".gdb/" in name.lower()})
    if folders:
        return folders
    if any(PurePosixPath(name).name == "a00000001.gdbtable" for name in names):
        return [f"{Path(str(archive.filename)).name}"]
    readable = set(_BY_SUFFIX) - {".dbf", ".txt", ".gdb", ".xml", ".json"}
    hidden = ("__MACOSX", ".")
    return sorted(n for n in names if PurePosixPath(n).suffix.lower() in readable and not n.startswith(hidden))


def _choose(path: Path, names: list[str], member: str | None) -> str:
    if member is not None and len(names) > 1:
        names = [name for name in names if PurePosixPath(name).stem == member] or names
    if not names:
        raise SourceError(f"{path} holds no file of a format that is read. Give one of: {_READ}.")
    if len(names) > 1:
        raise SourceError(
            f"{path} holds {len(names)} layers ({', '.join(names)}). Name one of them as source_layer "
            "in migration.yaml, by its name without suffix, or unpack the one you need."
        )
    return names[0]

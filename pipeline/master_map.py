"""OS MasterMap Topography as OS delivered it: GML 2 in chunks, often gzipped, turned into one GeoPackage.

GDAL is not asked, because it takes every chunk for a layer of its own, writes a schema file beside each, and keeps the
features twice that chunks repeat at their edges. What is kept is what two editions are compared by: buildings, lines
and boundaries at ground level. Other areas are left out, because the lines are their outlines.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from xml.parsers import expat

import numpy as np
import shapely
from numpy.typing import NDArray
from pyogrio.raw import write as write_vector

from transforms.errors import SourceError

LAYER = "features"
FEATURES = ("TopographicArea", "TopographicLine", "BoundaryLine")
GROUND_LEVEL = "50"
"""OS's ``physicalLevel`` of the ground; what passes over it or under it would only be confused with it."""

COLUMNS = {
    "version": "version",
    "versionDate": "version_date",
    "descriptiveGroup": "descriptive_group",
    "physicalLevel": "physical_level",
    "accuracyOfPosition": "accuracy_of_position",
    "reasonForChange": "reason_for_change",
}
"""Elements of a feature that are kept, and the columns they become; of those that repeat, the last."""

_NAMESPACE = b"ordnancesurvey.co.uk/xml/namespaces/osgb"
_HEAD_BYTES = 4096
_CHUNK_BYTES = 1 << 20
_BATCH = 50_000
_BUILDING = "building"
_PARTS = ("Polygon", "LineString")
_PLACES = ("coordinates", "posList")


def is_master_map(path: Path) -> bool:
    """Whether a file is MasterMap GML, gzipped or not, told by its first bytes."""
    try:
        with _open(path) as stream:
            return _NAMESPACE in stream.read(_HEAD_BYTES)
    except (OSError, EOFError, zlib.error):
        return False


def write_master_map(files: Sequence[Path], target: Path, kinds: Collection[str] = FEATURES) -> int:
    """Write what two editions are compared by to the GeoPackage ``target``; returns the number of features.

    A feature that several chunks hold is written once, in its highest version.

    Parameters
    ----------
    files
        The chunks of one edition.
    target
        The GeoPackage; made, with the layer ``LAYER``: ``toid``, ``feature`` (one of ``FEATURES``), ``kind`` (with its
        descriptive group) and ``COLUMNS``.

    kinds
        Which of ``FEATURES`` are wanted.

    Raises
    ------
    SourceError
        If a chunk is cut off or damaged.
    """
    highest = _highest_versions(files)
    written = 0
    batch: list[_Feature] = []
    for each in _features_of(files):
        if each.kind not in kinds or highest.get(each.toid) != each.version_number:
            continue
        highest[each.toid] = _WRITTEN
        batch.append(each)
        if len(batch) == _BATCH:
            _append(target, batch)
            written, batch = written + len(batch), []
    if batch or not written:
        _append(target, batch)
    return written + len(batch)


_WRITTEN = -1


def _highest_versions(files: Sequence[Path]) -> dict[str, int]:
    """Of every feature the highest version in any chunk."""
    highest: dict[str, int] = {}
    for each in _features_of(files, with_places=False):
        highest[each.toid] = max(highest.get(each.toid, 0), each.version_number)
    return highest


@dataclass
class _Feature:
    """One feature as read: its values by element name, and its parts, each a list of rings (or one line)."""

    kind: str
    toid: str
    values: dict[str, str] = field(default_factory=dict)
    parts: list[list[NDArray[np.float64]]] = field(default_factory=list)

    @property
    def version_number(self) -> int:
        text = self.values.get("version", "")
        return int(text) if text.isdigit() else 0

    @property
    def title(self) -> str:
        return f"{self.kind} {self.values.get('descriptiveGroup', '')}"

    @property
    def is_wanted(self) -> bool:
        if self.values.get("physicalLevel", GROUND_LEVEL) != GROUND_LEVEL:
            return False
        return self.kind != "TopographicArea" or _BUILDING in self.values.get("descriptiveGroup", "").lower()

    @property
    def geometry(self) -> Any:
        if self.kind == "TopographicArea":
            shapes = [shapely.Polygon(rings[0], rings[1:]) for rings in self.parts]
            return shapes[0] if len(shapes) == 1 else shapely.MultiPolygon(shapes)
        lines = [shapely.LineString(rings[0]) for rings in self.parts]
        return lines[0] if len(lines) == 1 else shapely.MultiLineString(lines)


def _features_of(files: Sequence[Path], *, with_places: bool = True) -> Iterator[_Feature]:
    for file in files:
        reader = _Reader(with_places)
        try:
            with _open(file) as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    reader.feed(chunk)
                    yield from reader.taken()
                reader.feed(b"", is_last=True)
        except expat.ExpatError as error:
            raise SourceError(
                f"Base map {file.name} is damaged ({error}). Ask for the delivery again, or take the file out of it."
            ) from None
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise SourceError(f"Base map {file.name} is cut off. Copy it from the delivery again.") from None
        except (ValueError, shapely.errors.ShapelyError) as error:
            raise SourceError(
                f"Base map {file.name} has a feature that cannot be read near line {reader.line} ({error}). "
                "Ask for the delivery again."
            ) from None
        yield from reader.taken()


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        is_gzipped = stream.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if is_gzipped else path.open("rb")  # type: ignore[return-value]


class _Reader:
    """Feeds on bytes of GML, gives features; keeps nothing but the feature at hand."""

    def __init__(self, with_places: bool) -> None:
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._with_places = with_places
        self._feature: _Feature | None = None
        self._text: list[str] | None = None
        self._done: list[_Feature] = []

    @property
    def line(self) -> int:
        return int(self._parser.CurrentLineNumber)

    def feed(self, data: bytes, *, is_last: bool = False) -> None:
        self._parser.Parse(data, is_last)

    def taken(self) -> list[_Feature]:
        done, self._done = self._done, []
        return done

    def _refuse(self, *_: object) -> None:
        raise ValueError("it declares a document type, which OS never did")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(":")[2]
        if self._feature is None:
            if local in FEATURES:
                toid = attributes.get("fid") or attributes.get("gml:id") or ""
                self._feature = _Feature(local, toid)
        elif local in COLUMNS or (self._with_places and local in _PLACES):
            self._text = []
        elif self._with_places and local in _PARTS:
            self._feature.parts.append([])

    def _characters(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)

    def _end(self, name: str) -> None:
        feature = self._feature
        if feature is None:
            return
        local = name.rpartition(":")[2]
        if local == feature.kind:
            self._finish(feature)
        elif self._text is not None and (local in COLUMNS or local in _PLACES):
            text, self._text = "".join(self._text), None
            if local in COLUMNS:
                feature.values[local] = text.strip()
            elif feature.parts:
                feature.parts[-1].append(_places(text))

    def _finish(self, feature: _Feature) -> None:
        self._feature = None
        if feature.is_wanted and (feature.parts or not self._with_places):
            self._done.append(feature)


def _places(text: str) -> NDArray[np.float64]:
    """``(n, 2)`` of ``e,n e,n`` (GML 2, heights left out) or ``e n e n`` (GML 3)."""
    tuples = text.split()
    if "," not in text:
        return np.array(tuples, dtype=float).reshape(-1, 2)
    many = tuples[0].count(",") + 1
    return np.array(",".join(tuples).split(","), dtype=float).reshape(-1, many)[:, :2]


def _append(target: Path, batch: Sequence[_Feature]) -> None:
    names = ["toid", "feature", "kind", *COLUMNS.values()]
    values = [[each.toid or None for each in batch], [each.kind for each in batch], [each.title for each in batch]]
    values += [[each.values.get(element) for each in batch] for element in COLUMNS]
    shapes = np.empty(len(batch), dtype=object)
    shapes[:] = [each.geometry for each in batch]
    write_vector(
        target,
        geometry=shapely.to_wkb(shapes),
        field_data=[np.array(column, dtype=object) for column in values],
        fields=names,
        layer=LAYER,
        driver="GPKG",
        geometry_type="Unknown",
        crs="EPSG:27700",
        append=target.exists(),
    )

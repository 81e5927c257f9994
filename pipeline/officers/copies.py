"""Which files of ``review/`` speak about a layer: the one that is offered, and copies of it that officers worked in.

A copy is any ``<layer>_<anything>`` in ``review/`` or ``<layer>`` with or without an ending in ``review/incoming/``:
GeoPackage, MapInfo TAB or Shapefile. The files written for MapInfo and others (``review_formats``) lie in
``review/tab`` and ``review/shp``. Copies are read, never written, moved or deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pipeline.officers.narrow_package import NARROW_SUFFIXES, is_part, read_narrow_review
from pipeline.officers.saved_review import SavedReview, read_review, why_busy
from pipeline.storage import Migration
from transforms.errors import ReviewError

INCOMING = "incoming"
_SUFFIXES = (".gpkg", *NARROW_SUFFIXES)


def copies_of(migration: Migration, layer: str) -> list[Path]:
    """The files beside ``review/<layer>.gpkg`` that hold answers on ``layer``, in name order."""
    folders = [migration.review_dir, migration.review_dir / INCOMING]
    folders += [migration.review_dir / suffix[1:] for suffix in NARROW_SUFFIXES]
    names = {each.name for each in migration.settings.layers}
    found = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    return [path for path in found if _is_copy(path, layer, names) and path != migration.review(layer)]


def read_copies(migration: Migration, layer: str) -> tuple[list[SavedReview], list[str]]:
    """Every copy as saved, and a sentence for each that could not be read: it costs no other."""
    saved, findings = [], []
    for path in copies_of(migration, layer):
        if busy := why_busy(path):
            findings.append(busy)
            continue
        try:
            read = read_copy(migration, path, layer)
        except ReviewError as error:
            findings.append(str(error))
            continue
        if read:
            saved.append(read)
    return saved, findings


def read_copy(migration: Migration, path: Path, layer: str) -> SavedReview | None:
    """One copy as saved.

    Raises
    ------
    ReviewError
        If it cannot be read.
    """
    name = path.relative_to(migration.review_dir).as_posix()
    if path.suffix.lower() == ".gpkg":
        return read_review(path, layer, name=name, is_main=False)
    return read_narrow_review(path, name)


def _is_copy(path: Path, layer: str, layers: Iterable[str]) -> bool:
    if path.name.startswith(".") or path.suffix.lower() not in _SUFFIXES or is_part(path):
        return False
    stem = path.stem.lower()
    owners = [name for name in layers if stem == name or stem.startswith(f"{name}_")]
    return bool(owners) and max(owners, key=len) == layer

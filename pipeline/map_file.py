"""One edition of the base map as one GeoPackage, however it was delivered.

A file with one or more layers, a folder of tiles, as Land-Line came, or chunks of OS MasterMap GML: all are put
together in the folder ``build``, so that nothing is written where the delivery is. What is done with it is
``base_maps.py``'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyogrio
import shapely
from numpy.typing import NDArray

from pipeline.files import whole_file
from pipeline.formats import GEOMETRY, layer_names, open_batches
from pipeline.formats.recognise import recognise
from pipeline.geometry.linear_copy import linear_copy
from pipeline.master_map import FEATURES, LAYER, is_master_map, write_master_map
from pipeline.settings import BaseMap
from pipeline.storage import Migration
from qa.drawn_alike import Drawing
from transforms.errors import SourceError

ID_COLUMNS = ("toid", "fid", "gml_id")
"""Text columns that may hold the TOID, the likeliest first; case does not matter. A number is only a row number."""

KIND_COLUMNS = (
    ("featcode", "feat_code", "feature_code", "featurecode", "code", "layer"),
    ("descriptive_group", "descriptivegroup", "descgroup", "theme"),
)
"""Columns that may say what a feature is of, by a code and in words; of each the likeliest first."""

TILES = (".gpkg", ".shp", ".tab", ".mif", ".geojson", ".json", ".gml", ".fgb", ".dxf", ".parquet", ".zip")
"""Suffixes of the files in a folder that are taken for tiles of a map."""

CURE = "Check base_maps in migration.yaml."

_COLUMNS = ("toid", "kind")
"""What is read of what was made; of an earlier version, which had others, nothing is taken for it."""


@dataclass(frozen=True)
class MapFile:
    """What was made of an edition, with the layer ``LAYER``; of another delivery it has another ``path``."""

    name: str
    path: Path

    def read(self) -> Drawing:
        """Everything the edition shows."""
        _, _, wkb, (ids, kinds) = pyogrio.raw.read(self.path, layer=LAYER, columns=list(_COLUMNS))
        return Drawing(shapely.from_wkb(wkb), ids.astype(object), np.where(kinds == None, "", kinds).astype(str))  # noqa: E711


def map_file(migration: Migration, settings: BaseMap) -> MapFile:
    """The GeoPackage of an edition; made again only when the delivery or the choice of its layers changes.

    Raises
    ------
    SourceError
        If the delivery does not exist, or a file of it is damaged or of no format that is read.
    """
    files = delivered_files(migration.source(settings.file))
    states = [(file.as_posix(), file.stat().st_mtime_ns, file.stat().st_size) for file in files]
    digest = hashlib.sha256(repr((_COLUMNS, states, settings.layers)).encode()).hexdigest()[:16]
    made = migration.made_base_map(digest)
    if not made.exists():
        with whole_file(made) as beside:
            if is_master_map(files[0]):
                write_master_map(files, beside, _master_map_features(settings))
            else:
                _write_together(_tiles(migration.source(settings.file), files), settings.layers, beside)
    return MapFile(Path(settings.file).name, made)


def delivered_files(path: Path) -> list[Path]:
    """The files of the delivery that ``path`` names: those of a layer, or all in a folder; in name order.

    Raises
    ------
    SourceError
        If there is none.
    """
    if not path.exists():
        raise SourceError(f"Base map {path} cannot be read (no such file). {CURE}")
    if path.is_dir() and path.suffix.lower() != ".gdb":
        found = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
        if not found:
            raise SourceError(f"Base map folder {path} is empty. {CURE}")
        return found
    with _cure_named():
        return [path] if is_master_map(path) else list(recognise(path).files)


def _master_map_features(settings: BaseMap) -> Collection[str]:
    unknown = [name for name in settings.layers if name not in FEATURES]
    if unknown:
        raise SourceError(f"Base map {settings.file} has no {unknown[0]}; it has {', '.join(FEATURES)}. {CURE}")
    return settings.layers or FEATURES


def _tiles(path: Path, files: Sequence[Path]) -> Sequence[Path]:
    if not path.is_dir() or path.suffix.lower() == ".gdb":
        return [path]
    tiles = [file for file in files if file.suffix.lower() in TILES]
    if not tiles:
        raise SourceError(
            f"Base map {path} is a folder that holds no MasterMap GML and no tiles ({', '.join(TILES)}). Name the file "
            f"itself. {CURE}"
        )
    return tiles


def _write_together(tiles: Sequence[Path], wanted: Sequence[str], target: Path) -> None:
    with _cure_named():
        layers = [(tile, layer) for tile in tiles for layer in layer_names(tile)]
        unknown = set(wanted) - {layer for _, layer in layers}
        if unknown:
            there = ", ".join(sorted({layer for _, layer in layers}))
            raise SourceError(f"The base map has no layer {min(unknown)}; it has {there}.")
        chosen = [each for each in layers if not wanted or each[1] in wanted]
        parts = [part for tile, layer in chosen for part in _features(tile, layer)]
        if not parts:
            raise SourceError(f"The base map {tiles[0]} holds no feature.")
    geometries, ids, kinds = (np.concatenate(column) for column in zip(*parts, strict=True))
    pyogrio.raw.write(
        target,
        shapely.to_wkb(geometries),
        [ids, kinds],
        list(_COLUMNS),
        layer=LAYER,
        driver="GPKG",
        geometry_type="Unknown",
        crs="EPSG:27700",
    )


def _features(tile: Path, layer: str) -> Iterator[tuple[NDArray[np.object_], ...]]:
    """Geometries, ids and kinds of a layer, ``(n,)`` each, in parts; its name is part of a kind if it is no tile's."""
    with open_batches(tile, layer=layer) as stream:
        texts = [field.name for field in stream.schema if pa.types.is_string(field.type) or _is_large(field)]
        id_column = _first_of(ID_COLUMNS, texts)
        kind_columns = [_first_of(names, stream.schema.names) for names in KIND_COLUMNS]
        title = pa.scalar("" if layer == tile.stem else layer)
        for batch in stream.batches:
            words = [_text(batch[name]) for name in kind_columns if name]
            kinds = pc.binary_join_element_wise(title, *words, " ") if words else [title.as_py()] * len(batch)
            ids = batch[id_column].to_pylist() if id_column else [None] * len(batch)
            yield linear_copy(batch[GEOMETRY].to_pylist())[0], _objects(ids), _objects(kinds)


def _is_large(field: pa.Field) -> bool:
    return bool(pa.types.is_large_string(field.type))


def _text(column: pa.Array) -> pa.Array:
    return pc.fill_null(pc.cast(column, pa.string()), "")


def _objects(values: Iterable[Any]) -> NDArray[np.object_]:
    return np.array([*values, None], dtype=object)[:-1]


def _first_of(names: Iterable[str], columns: Iterable[str]) -> str | None:
    by_name = {name.lower(): name for name in columns}
    return next((by_name[name] for name in names if name in by_name), None)


@contextmanager
def _cure_named() -> Iterator[None]:
    """What is said of any source, with the setting that names a base map."""
    try:
        yield
    except SourceError as error:
        raise SourceError(f"{error} {CURE}") from None

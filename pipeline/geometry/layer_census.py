"""What a layer consists of, counted batch by batch while it streams past: kinds, doubtful geometries, extent, ids."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa

from pipeline.geometry.wkb_batch import WkbBatch
from pipeline.geometry.wkb_types import TypeCount, type_codes
from pipeline.georeference import on_land_square
from transforms.complex_places import is_place

_LINEAR = np.arange(1, 8)


class LayerCensus:
    """Counts of a layer's features; ``add`` every batch, then ask."""

    def __init__(self, id_column: str | None = None) -> None:
        self.features = 0
        self.types = TypeCount()
        self.empty = 0
        self.invalid = 0
        self.unreadable = 0
        self.bad_coordinates = 0
        self.outside = 0
        self._id_column = id_column
        self._ids: Counter[object] = Counter()
        self._low = np.full(2, np.inf)
        self._high = np.full(2, -np.inf)

    def add(self, batch: pa.RecordBatch, geometry: pa.Array) -> None:
        """Count one more batch with its ``geometry`` (WKB, National Grid metres)."""
        self.features += len(batch)
        self.types.add(geometry)
        self._add_places(geometry)
        self._add_shapes(geometry)
        if self._id_column is not None:
            column = batch.column(batch.schema.get_field_index(self._id_column))
            self._ids.update(value for value in column.to_pylist() if value not in (None, ""))

    def _add_places(self, geometry: pa.Array) -> None:
        wkb = WkbBatch.of(geometry)
        placed = is_place(wkb.place)
        outside = placed & ~on_land_square(wkb.place)
        self.bad_coordinates += len(np.unique(wkb.feature[~placed]))
        self.outside += len(np.unique(wkb.feature[outside]))
        if placed.any():
            self._low = np.minimum(self._low, wkb.place[placed].min(axis=0))
            self._high = np.maximum(self._high, wkb.place[placed].max(axis=0))

    def _add_shapes(self, geometry: pa.Array) -> None:
        import shapely

        codes = type_codes(geometry)
        linear = np.flatnonzero((codes >= 0) & np.isin(codes % 1000, _LINEAR))
        shapes = _shapes(np.array(geometry.take(pa.array(linear)).to_pylist(), dtype=object))
        missing = shapely.is_missing(shapes)
        empty = shapely.is_empty(shapes)
        finite = np.isfinite(shapely.bounds(shapes)).all(axis=1)
        self.unreadable += int(missing.sum())
        self.empty += int(empty.sum())
        sound = ~missing & ~empty & finite
        self.invalid += int((~shapely.is_valid(shapes[sound])).sum())

    def repeated_ids(self) -> int:
        """How many features share their id with another."""
        return sum(count for count in self._ids.values() if count > 1)

    def extent(self) -> tuple[float, float, float, float] | None:
        """West, south, east, north [m]; None where nothing has coordinates."""
        if not np.isfinite(self._low).all():
            return None
        west, south, east, north = (float(value) for value in (*self._low, *self._high))
        return west, south, east, north

    def findings(self) -> tuple[str, ...]:
        """What a person should know, each a sentence; nothing where all is well."""
        counted = {
            "have no geometry": self.types.codes[-1],
            "have an empty geometry": self.empty,
            "have an invalid geometry": self.invalid,
            "have true curves": self.types.curves(),
            "have a geometry that cannot be read": self.unreadable,
            "have coordinates that are no place": self.bad_coordinates,
            "lie outside the land of Great Britain, wholly or in part": self.outside,
            f"share their {self._id_column} with another": self.repeated_ids(),
        }
        return tuple(f"{count} of {self.features} features {what}." for what, count in counted.items() if count)


def _shapes(wkb: np.ndarray) -> np.ndarray:
    """Shapely geometries; None where shapely cannot read one (a curve inside a collection, a ring of two points)."""
    import shapely

    try:
        return shapely.from_wkb(wkb, on_invalid="ignore")
    except NotImplementedError:
        return np.array([_shape(each) for each in wkb], dtype=object)


def _shape(wkb: bytes) -> object:
    import shapely

    try:
        return shapely.from_wkb(wkb, on_invalid="ignore")
    except NotImplementedError:
        return None

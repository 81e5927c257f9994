"""How many of a layer's dates are to be expected to be wrong, as the deliveries of a migration's other layers show; and
which are disproved, or cannot be read.

The delivered files are read, not what another stage made of them, so the outcome does not depend on which layer ran
first.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.base_maps import base_map_files, read_base_maps
from pipeline.captures import read_evidence, unread_texts
from pipeline.delivered import delivered_batches
from pipeline.field_file import read_field
from pipeline.formats import GEOMETRY
from pipeline.formats.recognise import recognise
from pipeline.geometry.linear_copy import linear_copy
from pipeline.settings import LayerSettings
from pipeline.storage import Migration
from pipeline.tile_dates import read_tile_dates
from qa.dates import DateRecord, expected_wrong_ratio
from qa.limits import limits_in_force
from qa.regime import date_record
from transforms.errors import PostPaiError

MOST_FEATURES = 1000
"""So many of a layer are looked at, or up to twice as many: no layer counts for more than a hundred dates."""

_MOST_STEPS = 2**31
"""Of a layer that lies all in one place even this takes all or nothing."""


def date_wrong_ratio(migration: Migration, layer_name: str) -> float:
    """The share of wrong dates to be expected in a layer, whose shift is fitted."""
    others = [each for each in migration.settings.layers if each.name != layer_name and is_dated(each)]
    return expected_wrong_ratio([_record(migration, settings) for settings in others])


def is_dated(layer: LayerSettings) -> bool:
    """Whether what a layer's dates say counts: of one that is to stay the settings say all there is to say."""
    return layer.captured_column is not None and layer.strategy != "leave"


def disproved_dates(migration: Migration, layer_name: str) -> dict[str, int]:
    """The dates of a shifted layer that say another map than all that is dated like them lies on together, as they
    stand in its file, with how many features bear them; the most frequent first. What is listed only has the date "".
    """
    column = migration.settings.layer(layer_name).captured_column
    reasons = pq.read_table(migration.shifted(layer_name), columns=["regime_reasons"])["regime_reasons"].to_pylist()
    listed = sum("listing_disproved" in codes for codes in reasons)
    rows = [row for row, codes in enumerate(reasons) if "dates_disproved" in codes]
    dates: Counter[str] = Counter({"": listed} if listed else {})
    if rows and column is not None:
        staged = pq.read_table(migration.staged(layer_name), columns=[column])[column]
        dates.update(str(date) for date in staged.take(rows).to_pylist())
    return dict(dates.most_common())


def unread_dates(migration: Migration, layer_name: str) -> dict[str, int]:
    """What stands in the column of dates of a staged layer and cannot be read as a day that is past, with how many
    features bear it; the most frequent first.
    """
    layer = migration.settings.layer(layer_name)
    if layer.captured_column is None:
        return {}
    staged = pq.read_table(migration.staged(layer_name), columns=[layer.captured_column])[layer.captured_column]
    return dict(Counter(unread_texts(staged.to_pylist(), layer)).most_common())


def _record(migration: Migration, layer: LayerSettings) -> DateRecord:
    """What a layer's places say of its dates; one that cannot be read now has no say: its own run tells why."""
    try:
        return _record_of(_Delivery.of(migration, layer))
    except PostPaiError:
        return DateRecord(0.0, 0.0)


@dataclass(frozen=True)
class _Delivery:
    """A layer as delivered; the same as another while nothing that its record depends on has changed."""

    migration: Migration = field(compare=False)
    layer: str
    settings: str
    states: tuple[tuple[str, int, int], ...]

    @classmethod
    def of(cls, migration: Migration, layer: LayerSettings) -> Self:
        delivered = recognise(migration.source(layer.file), member=layer.source_layer).files
        maps = migration.settings.base_maps
        tiles = [migration.source(maps.tile_dates)] if maps.tile_dates else []
        files = [*delivered, migration.field_file, *base_map_files(migration), *tiles]
        states = [(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.exists()]
        return cls(migration, layer.name, migration.settings.model_dump_json(), tuple(states))


@lru_cache(maxsize=256)
def _record_of(delivery: _Delivery) -> DateRecord:
    """Kept for the next layer, which asks the same of the others."""
    migration, layer = delivery.migration, delivery.migration.settings.layer(delivery.layer)
    table = _taken(delivered_batches(migration, layer), MOST_FEATURES)
    geometries, _ = linear_copy(table[GEOMETRY].to_pylist() if len(table) else [])
    evidence = read_evidence(table, layer, migration.settings, read_tile_dates(migration), geometries)
    limits = limits_in_force(migration.settings.limits_of(layer.name))
    shift_field = read_field(migration.field_file).field
    return date_record(geometries, evidence, read_base_maps(migration), shift_field, limits)


def _taken(batches: Iterable[pa.RecordBatch], most: int) -> pa.Table:
    """Every feature, or half of them, or a quarter ..., so that at most ``2 * most`` are kept.

    Its geometry decides whether a feature is taken: in another order the same ones would be.
    """
    kept, step = pa.table({}), 1
    for batch in batches:
        there = pa.Table.from_batches([batch]).filter(batch.column(GEOMETRY).is_valid())
        kept = pa.concat_tables([kept, _every(there, step)]) if len(kept) else _every(there, step)
        while len(kept) > 2 * most and step < _MOST_STEPS:
            step *= 2
            kept = _every(kept, step)
    return kept


def _every(table: pa.Table, step: int) -> pa.Table:
    """The features whose geometry has a number that ``step`` divides."""
    number = np.array([zlib.crc32(wkb) for wkb in table[GEOMETRY].to_pylist()], dtype=np.int64)
    return table.filter(pa.array(number % step == 0))

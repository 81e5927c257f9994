"""One layer's rows as the stages before left them: the staged feature, its proposal and its verdict side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.fingerprint import feature_hash, geometry_hashes
from pipeline.formats.stream import feature_id_column
from pipeline.made_from import why_mixed
from pipeline.storage import Migration
from transforms.errors import ReviewError

Feature = tuple[int, str]
"""A source feature as it was shown or decided on: its row at the time, and its hash."""

_SHIFTED_COLUMNS = ["pai_row", "pai_geometry", "moved", "shift_m", "uncertainty_m"]
_QUALITY_COLUMNS = ["pai_row", "verdict", "reasons", "doubt", "risk"]


@dataclass(frozen=True)
class Today:
    """The rows of today of features that were shown or decided on once.

    ``same`` has those that are the same in all their columns and their place; ``changed`` those that are known by
    their reference; ``unclear`` of all others the row that they had, be it another feature's now. Who is in none is
    gone.
    """

    same: dict[Feature, int]
    changed: dict[Feature, int]
    unclear: dict[Feature, int]

    def row_of(self, feature: Feature) -> int | None:
        """The row of a feature that is known to be there, changed or not."""
        return self.same.get(feature, self.changed.get(feature))

    def any_row_of(self, feature: Feature) -> int | None:
        """The same, and if nobody knows, the row that it had."""
        return self.same.get(feature, self.changed.get(feature, self.unclear.get(feature)))


@dataclass(frozen=True)
class LayerRows:
    """The tables of one layer, row by row the same features.

    ``id_column`` is the reference officers know a feature by, None if the settings name none.
    """

    staged: pa.Table
    shifted: pa.Table
    quality: pa.Table
    id_column: str | None

    def __len__(self) -> int:
        return self.staged.num_rows

    def reference(self, row: int) -> str:
        """What officers call the feature; empty if it has no name or the row is gone."""
        if self.id_column is None or not 0 <= row < len(self):
            return ""
        value = self.staged[self.id_column][row].as_py()
        return "" if value is None else str(value).strip()

    def before(self, row: int) -> bytes | None:
        """The geometry as found, well-known binary; None if there is none or the row is gone."""
        return self.staged["pai_geometry"][row].as_py() if 0 <= row < len(self) else None

    def proposal(self, row: int) -> bytes | None:
        """Where the feature would go; the old place where nothing is proposed."""
        return self.shifted["pai_geometry"][row].as_py()

    def source_hashes(self, rows: Sequence[int]) -> dict[int, str]:
        """The hash of the source feature at each of ``rows``: of all but the number its container gave it."""
        return self._hashes(rows, without=self._number)

    @property
    def _number(self) -> str | None:
        # A GeoPackage or geodatabase that is written anew numbers its features anew.
        return feature_id_column(self.staged.schema, in_order=True)

    def _hashes(self, rows: Sequence[int], without: str | None) -> dict[int, str]:
        columns = [name for name in self.staged.column_names if not name.startswith("pai_") and name != without]
        chosen = self.staged.take(pa.array(rows, pa.int64()))
        values = chosen.select(columns).to_pylist() if columns else [{} for _ in rows]
        geometries = chosen["pai_geometry"].to_pylist()
        return {row: feature_hash(value, wkb) for row, value, wkb in zip(rows, values, geometries, strict=True)}

    def today(self, features: Mapping[Feature, str]) -> Today:
        """Where features lie today that were shown or decided on once: where they were, or, if there is no other like
        it, wherever the delivery's order has put it.

        Parameters
        ----------
        features
            Each with its reference at the time.
        """
        same = self._stayed(features, without=self._number)
        if self._number:  # decisions of earlier versions hashed it too
            same |= self._stayed(features.keys() - same.keys(), without=None)
        strayed = [feature for feature in features if feature not in same]
        same |= {feature: self._only_row[feature[1]] for feature in strayed if feature[1] in self._only_row}
        changed, unclear = dict[Feature, int](), dict[Feature, int]()
        for feature in (feature for feature in strayed if feature not in same):
            called = self._row_called(features[feature], feature[0])
            if called is not None:
                changed[feature] = called
            elif feature[0] < len(self):
                unclear[feature] = feature[0]
        return Today(same, changed, unclear)

    def _stayed(self, features: Collection[Feature], without: str | None) -> dict[Feature, int]:
        here = self._hashes(sorted({row for row, _ in features if 0 <= row < len(self)}), without)
        return {feature: feature[0] for feature in features if here.get(feature[0]) == feature[1]}

    def _row_called(self, reference: str, row: int) -> int | None:
        """``row`` if that is what it is called, else the only one called so."""
        if reference and self.reference(row) == reference:
            return row
        return self._only_row_called.get(reference)

    @cached_property
    def _only_row(self) -> dict[str, int]:
        # Asks every row of the source, and so is asked only where some feature is not at its old one.
        return _only_rows(self.source_hashes(range(len(self))).values())

    @cached_property
    def _only_row_called(self) -> dict[str, int]:
        return _only_rows(self.reference(row) for row in range(len(self)))

    def proposal_hashes(self, rows: Sequence[int]) -> dict[int, str]:
        """Where the proposal of each of ``rows`` lies, to the millimetre."""
        chosen = self.shifted["pai_geometry"].take(pa.array(rows, pa.int64()))
        return dict(zip(rows, geometry_hashes(chosen.to_pylist()), strict=True))

    def verdicts(self) -> list[str]:
        """``accept``, ``review`` or ``leave``."""
        return [str(verdict) for verdict in self.quality["verdict"].to_pylist()]

    def reasons(self) -> list[list[str]]:
        """The codes behind each verdict."""
        return [codes or [] for codes in self.quality["reasons"].to_pylist()]

    def has_moved(self) -> list[bool]:
        """Whether the proposal moves the feature."""
        return [bool(moved) for moved in self.shifted["moved"].to_pylist()]

    def numbers(self, table: str, column: str) -> NDArray[np.float64]:
        """A column of ``shifted`` or ``quality`` as numbers ``(n,)``, NaN where there is none."""
        return np.asarray(getattr(self, table)[column].cast(pa.float64()).to_numpy(), dtype=float)


def _only_rows(names: Iterable[str]) -> dict[str, int]:
    """The row of each name that only one row has; of no name there is none."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        rows[name].append(row)
    return {name: found[0] for name, found in rows.items() if name and len(found) == 1}


def read_layer_rows(migration: Migration, layer_name: str) -> LayerRows:
    """Read what sources, shift and quality wrote of a layer.

    Raises
    ------
    ReviewError
        If a stage has not run, or the tables that were left do not belong together.
    """
    if mixed := why_mixed(migration, layer_name, "quality"):
        raise ReviewError(mixed)
    staged = pq.read_table(migration.staged(layer_name))
    shifted = pq.read_table(migration.proposed(layer_name), columns=_SHIFTED_COLUMNS)
    quality = pq.read_table(migration.quality(layer_name), columns=_QUALITY_COLUMNS)
    for stage, table in (("sources", staged), ("reattach", shifted), ("quality", quality)):
        _refuse_other_rows(table, staged.num_rows, layer_name, stage)
    id_column = migration.settings.layer(layer_name).id_column
    return LayerRows(staged, shifted, quality, id_column if id_column in staged.column_names else None)


def _refuse_other_rows(table: pa.Table, count: int, layer: str, stage: str) -> None:
    if table.num_rows != count or not np.array_equal(table["pai_row"].to_numpy(), np.arange(count)):
        raise ReviewError(
            f"Layer {layer}: the table of stage {stage} has {table.num_rows} rows, the source {count}, or their order "
            f"differs; every feature must be there once. Run the layer again from the stage {stage}."
        )

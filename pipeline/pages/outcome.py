"""How a layer came out, read from the files of the stages: one status per feature, in source order.

What the export, the evidence page and the board have in common. Pictures need geometry too; that is read
apart (``outlines.py``), because most answers do not need it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.settings import LayerSettings
from pipeline.storage import Migration
from transforms.errors import ExportError

STATUSES = ("moved", "unmoved", "fixed", "open")
"""Every feature has exactly one: in = moved + unmoved + fixed + open."""

REASON_SEPARATOR = ";"
"""Between the codes in ``pai_reasons``."""


@dataclass(frozen=True)
class Counts:
    """How many features have each status.

    Examples
    --------
    >>> Counts(moved=3, open=1).total
    4
    """

    moved: int = 0
    unmoved: int = 0
    fixed: int = 0
    open: int = 0

    @classmethod
    def of(cls, status: NDArray[np.str_]) -> Counts:
        """Count an ``(n,)`` array of statuses."""
        return cls(**{name: int(np.count_nonzero(status == name)) for name in STATUSES})

    @property
    def total(self) -> int:
        """All features: what came in."""
        return sum(asdict(self).values())

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))


@dataclass(frozen=True)
class Outcome:
    """One layer's outcome; every array has one entry per feature, ``(n,)``, in source order.

    Parameters
    ----------
    references
        What officers know a feature by: the id column's text, else the row number from 0.
    shift_m, uncertainty_m
        Length of the move and its radial standard error [m]; NaN where there is none.
    risk
        What orders the queue, higher first; NaN where quality gave none.
    verdict
        ``accept``, ``leave`` or ``review``, before the officers; empty where quality gave none.
    proposed_m, proposed_uncertainty_m
        Length of the move proposed and its radial standard error [m], whatever became of it; NaN where there is none.
    """

    layer: LayerSettings
    run: str
    status: NDArray[np.str_]
    reasons: list[tuple[str, ...]]
    references: NDArray[np.object_]
    shift_m: NDArray[np.float64]
    uncertainty_m: NDArray[np.float64]
    risk: NDArray[np.float64]
    verdict: NDArray[np.str_]
    proposed_m: NDArray[np.float64]
    proposed_uncertainty_m: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.status)

    @property
    def title(self) -> str:
        """What people call the layer."""
        return self.layer.title or self.layer.name.replace("_", " ").capitalize()

    @cached_property
    def counts(self) -> Counts:
        """How many features have each status."""
        return Counts.of(self.status)

    @cached_property
    def reason_counts(self) -> Counter[str]:
        """How many features give each reason; a feature may give several."""
        return Counter(code for codes in self.reasons for code in codes)

    @property
    def displaced(self) -> NDArray[np.bool_]:
        """Which features lie elsewhere than before: moved or fixed."""
        return np.isin(self.status, ("moved", "fixed"))

    @property
    def accepted_share(self) -> float:
        """Share of the features that needed no person; NaN where quality gave no verdicts."""
        judged = self.verdict != ""
        return float(np.isin(self.verdict[judged], ("accept", "leave")).mean()) if judged.any() else float("nan")

    @property
    def worst_uncertainty_m(self) -> float:
        """The largest standard error among features that moved [m]; NaN where none did."""
        return largest(self.uncertainty_m[self.displaced])

    def reviewed_rows(self, decided: Iterable[int] = ()) -> NDArray[np.int_]:
        """The rows a person was asked about or has ``decided``: open ones first, then by risk."""
        asked = np.isin(self.status, ("open", "fixed")) | (self.verdict == "review")
        asked[np.fromiter(decided, dtype=int)] = True
        order = np.lexsort((-_low(self.risk), self.status != "open"))
        return order[asked[order]]

    def riskiest_accepted(self, count: int) -> NDArray[np.int_]:
        """The rows moved without a person that carry the greatest risk."""
        rows = np.flatnonzero((self.status == "moved") & (self.verdict == "accept"))
        return rows[np.lexsort((-_low(self.uncertainty_m[rows]), -_low(self.risk[rows])))][:count]

    def worst_rows(self, count: int) -> NDArray[np.int_]:
        """The rows a person should look at first: open ones, then by risk, then by uncertainty."""
        order = np.lexsort((-_low(self.uncertainty_m), -_low(self.risk), self.status != "open"))
        doubtful = (self.status[order] == "open") | self.displaced[order]
        return order[doubtful][:count]


def read_outcome(migration: Migration, layer_name: str) -> Outcome:
    """Read the outcome of one layer.

    Raises
    ------
    ExportError
        If the review stage has not run, or its rows are not those of the source.
    """
    layer = migration.settings.layer(layer_name)
    corrected = _read_corrected(migration, layer_name)
    count = len(corrected)
    quality = _read_quality(migration, layer_name, count)
    status = _text(corrected["pai_status"])
    _refuse_unknown_status(layer_name, status)
    return Outcome(
        layer=layer,
        run=str(corrected["pai_run"][0].as_py() or "") if count else "",
        status=status,
        reasons=[split_reasons(text) for text in corrected["pai_reasons"].to_pylist()],
        references=_references(migration, layer, count),
        shift_m=_numbers(corrected["pai_shift_m"]),
        uncertainty_m=_numbers(corrected["pai_uncertainty_m"]),
        risk=_measure(quality, "risk", count),
        verdict=_text(quality["verdict"]) if "verdict" in quality.column_names else np.full(count, "", dtype="<U6"),
        proposed_m=_measure(quality, "shift_m", count),
        proposed_uncertainty_m=_measure(quality, "uncertainty_m", count),
    )


def split_reasons(text: str | None) -> tuple[str, ...]:
    """The codes in a ``pai_reasons`` text.

    Examples
    --------
    >>> split_reasons("outside_control;area_changed")
    ('outside_control', 'area_changed')
    >>> split_reasons(None)
    ()
    """
    return tuple(code.strip() for code in (text or "").split(REASON_SEPARATOR) if code.strip())


def largest(values: NDArray[np.float64]) -> float:
    """The largest of ``values`` that is a number; NaN where there is none.

    Examples
    --------
    >>> largest(np.array([1.0, np.nan]))
    1.0
    """
    finite = values[np.isfinite(values)]
    return float(finite.max()) if len(finite) else float("nan")


def _read_corrected(migration: Migration, layer_name: str) -> pa.Table:
    path = migration.corrected(layer_name)
    columns = ["pai_row", "pai_status", "pai_reasons", "pai_shift_m", "pai_uncertainty_m", "pai_run"]
    try:
        table = pq.read_table(path, columns=columns)
    except FileNotFoundError:
        raise ExportError(
            f"Layer {layer_name} has no outcome yet ({path} is missing). Run the stages up to review first."
        ) from None
    staged = pq.read_metadata(migration.staged(layer_name)).num_rows
    if table.num_rows != staged or not np.array_equal(table["pai_row"].to_numpy(), np.arange(staged)):
        raise ExportError(
            f"Layer {layer_name}: the outcome has {table.num_rows} rows, the source {staged}, or their order differs; "
            "every feature must come out once, in source order. Run the layer again from its source."
        )
    return table


def _read_quality(migration: Migration, layer_name: str, count: int) -> pa.Table:
    path = migration.quality(layer_name)
    if not path.exists() or pq.read_metadata(path).num_rows != count:
        return pa.table({})
    wanted = {"risk", "verdict", "shift_m", "uncertainty_m"} & set(pq.read_schema(path).names)
    return pq.read_table(path, columns=sorted(wanted))


def _refuse_unknown_status(layer_name: str, status: NDArray[np.str_]) -> None:
    unknown = sorted(set(status.tolist()) - set(STATUSES))
    if unknown:
        raise ExportError(
            f"Layer {layer_name}: a feature has the status {unknown[0]!r}, which is none of {', '.join(STATUSES)}. "
            "Run the review of this layer again."
        )


def _references(migration: Migration, layer: LayerSettings, count: int) -> NDArray[np.object_]:
    path = migration.staged(layer.name)
    if layer.id_column and layer.id_column in pq.read_schema(path).names:
        values: list[Any] = pq.read_table(path, columns=[layer.id_column])[layer.id_column].to_pylist()
        return np.array(["" if value is None else str(value) for value in values] or [], dtype=object)
    return np.array([str(row) for row in range(count)], dtype=object)


def _text(column: pa.ChunkedArray) -> NDArray[np.str_]:
    return np.array([value or "" for value in column.to_pylist()], dtype=np.str_)


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=float)


def _measure(quality: pa.Table, name: str, count: int) -> NDArray[np.float64]:
    return _numbers(quality[name]) if name in quality.column_names else np.full(count, np.nan)


def _low(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(values), values, -np.inf)

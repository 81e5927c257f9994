"""How far the officers are with a layer, and how long the rest will take: the numbers behind the progress of the
review."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

import pyarrow.parquet as pq

from pipeline.officers.decisions import UNDO, Decision, read_decisions
from pipeline.officers.merge import OFFICER_REASON
from pipeline.storage import Migration

PAUSE_MINUTES = 30.0
"""A longer gap between two decisions of an officer is a pause, not work on a feature."""

LEAST_TIMED = 5
"""Gaps needed before the officers' own pace is believed."""

ASSUMED_MINUTES = 3.0
"""Minutes a feature takes until the officers' own pace is known."""


@dataclass(frozen=True)
class Progress:
    """The review of one layer.

    ``decided`` counts features by the word that stands (``accept``, ``fixed``, ``keep``, ``cannot_place``);
    ``by_officer`` and ``by_day`` (ISO day -> officer -> count) count every decision that was taken in, changes of
    mind too. ``hours_left`` is a forecast, ``basis`` a sentence that says what it rests on.
    """

    layer: str
    features: int
    open: int
    fixed: int
    decided: dict[str, int]
    by_officer: dict[str, int]
    by_day: dict[str, dict[str, int]]
    hours_left: float
    basis: str


def review_progress(migration: Migration, layer: str) -> Progress:
    """The progress of one layer; all zero where the review has not run.

    Raises
    ------
    LogError
        If the log of decisions is damaged.
    """
    status, reasons = _outcomes(migration, layer)
    logged = read_decisions(migration.decisions_log, layer)
    taken = [each for each in logged if not each.refused and each.decision != UNDO]
    minutes, timed = minutes_per_feature(taken)
    return Progress(
        layer=layer,
        features=sum(status.values()),
        open=status["open"],
        fixed=status["fixed"],
        decided={word: reasons[code] for word, code in OFFICER_REASON.items() if reasons[code]},
        by_officer=dict(Counter(decision.officer for decision in taken).most_common()),
        by_day=_by_day(taken),
        hours_left=round(status["open"] * minutes / 60.0, 1),
        basis=_basis(status["open"], minutes, timed),
    )


def minutes_per_feature(decisions: Sequence[Decision]) -> tuple[float, int]:
    """The median time between two decisions of one officer, and how many such gaps it rests on (0: assumed)."""
    moments: dict[str, list[datetime]] = defaultdict(list)
    for decision in decisions:
        if decision.decided_at and (moment := _moment(decision.decided_at)):
            moments[decision.officer].append(moment)
    gaps = [
        (later - earlier).total_seconds() / 60.0
        for times in moments.values()
        for earlier, later in zip(sorted(times), sorted(times)[1:], strict=False)
    ]
    worked = [gap for gap in gaps if 0.0 < gap <= PAUSE_MINUTES]
    return (median(worked), len(worked)) if len(worked) >= LEAST_TIMED else (ASSUMED_MINUTES, 0)


def _outcomes(migration: Migration, layer: str) -> tuple[Counter[str], Counter[str]]:
    """How many features have each status, and each reason."""
    path = migration.corrected(layer)
    if not path.exists():
        return Counter(), Counter()
    table = pq.read_table(path, columns=["pai_status", "pai_reasons"])
    reasons = Counter(code for text in table["pai_reasons"].to_pylist() for code in text.split(";"))
    return Counter(table["pai_status"].to_pylist()), reasons


def _by_day(decisions: Sequence[Decision]) -> dict[str, dict[str, int]]:
    days: dict[str, Counter[str]] = defaultdict(Counter)
    for decision in decisions:
        told = (_moment(text) for text in (decision.decided_at, decision.saved_at, decision.taken_at))
        if (moment := next(filter(None, told), None)) is not None:  # officers may write a time as they like
            days[moment.date().isoformat()][decision.officer] += 1
    return {day: dict(days[day]) for day in sorted(days)}


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _basis(open_features: int, minutes: float, timed: int) -> str:
    if not open_features:
        return "Nothing is open."
    pace = f"{open_features} open at {minutes:.1f} minutes each"
    if timed:
        return f"{pace}: the median time between two decisions of one officer, {timed} of them."
    return f"{pace}: assumed, because fewer than {LEAST_TIMED} decisions say when they were made."

"""The story of every feature that a person was asked about: why it was doubted, who decided what, how it stands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.pages.outcome import Outcome
from pipeline.pages.reasons import sentence


@dataclass(frozen=True)
class Story:
    """One feature: ``why`` in plain words, its ``decisions`` as logged, oldest first; lengths in metres or None."""

    row: int
    reference: str
    status: str
    verdict: str
    shift_m: float | None
    uncertainty_m: float | None
    proposed_m: float | None
    proposed_uncertainty_m: float | None
    risk: float | None
    reasons: tuple[str, ...]
    why: tuple[str, ...]
    decisions: tuple[Mapping[str, Any], ...]


def reviewed_stories(outcome: Outcome, decisions: Sequence[Mapping[str, Any]]) -> list[Story]:
    """The stories of a layer: the open ones first, then by risk.

    Parameters
    ----------
    decisions
        The officers' decisions on this layer as logged, oldest first.
    """
    by_row: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for decision in decisions:
        row = decision.get("pai_row")
        if isinstance(row, int) and 0 <= row < len(outcome):
            by_row[row].append(decision)
    return [_story(outcome, int(row), by_row.get(int(row), [])) for row in outcome.reviewed_rows(by_row)]


def _story(outcome: Outcome, row: int, decisions: list[Mapping[str, Any]]) -> Story:
    return Story(
        row=row,
        reference=str(outcome.references[row]),
        status=str(outcome.status[row]),
        verdict=str(outcome.verdict[row]),
        shift_m=_number(outcome.shift_m[row]),
        uncertainty_m=_number(outcome.uncertainty_m[row]),
        proposed_m=_number(outcome.proposed_m[row]),
        proposed_uncertainty_m=_number(outcome.proposed_uncertainty_m[row]),
        risk=_number(outcome.risk[row]),
        reasons=outcome.reasons[row],
        why=tuple(sentence(code) for code in outcome.reasons[row]),
        decisions=tuple(decisions),
    )


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None

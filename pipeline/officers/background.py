"""Which map officers had under their eyes: what they placed, or left where it was, is to lie on the new one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.base_maps import read_base_maps
from pipeline.field_file import read_field
from pipeline.geometry.linear_copy import linear_copy
from pipeline.officers.decisions import Decision
from pipeline.officers.layer_rows import LayerRows
from pipeline.officers.merge import Outcome
from pipeline.storage import Migration
from qa.limits import limits_in_force
from qa.sights import lie_on_old_map
from transforms.errors import PostPaiError

_LEAST_FEATURES = 5
"""Fewer of an officer tell nothing together."""


def placed_on_old_map(
    migration: Migration, layer: str, rows: LayerRows, outcomes: Sequence[Outcome], holding: Mapping[int, Decision]
) -> dict[str, int]:
    """How many of the features that each officer fixed or kept lie, together, on the old map; without those of none.

    Where the base maps or the field cannot be read now nobody is named: the stages that need them say why.

    Parameters
    ----------
    migration, layer
        The layer; its shift is fitted.
    rows, outcomes
        Its features as they are today, and what became of each.
    holding
        By row, the decision in force.
    """
    places = defaultdict[str, list[bytes | None]](list)
    for row, decision in holding.items():
        if outcomes[row].status in ("fixed", "unmoved"):
            places[decision.officer].append(outcomes[row].fix or rows.before(row))
    asked = {officer: wkbs for officer, wkbs in places.items() if len(wkbs) >= _LEAST_FEATURES}
    try:
        base = read_base_maps(migration) if asked else None
        field = read_field(migration.field_file).field if base else None
    except PostPaiError:
        return {}
    if base is None or field is None:
        return {}
    limits, on_old = limits_in_force(migration.settings.limits_of(layer)), {}
    for officer, wkbs in asked.items():
        geometries, _ = linear_copy(wkbs)
        on_old[officer] = int(lie_on_old_map(geometries, np.zeros(len(wkbs), dtype=int), base, field, limits).sum())
    return {officer: count for officer, count in on_old.items() if count}

"""The base map of the demo borough in both editions, with what changed on the ground in between."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from borough_layers import Council, Feature
from shapely import Polygon

BEFORE = {"accuracy": "6.0m"}
AFTER = {"accuracy": "2.5m"}


def base_maps(council: Council) -> dict[str, dict[str, list[Feature]]]:
    """Edition and layer -> features; ``held`` is what the edition shows."""
    ground, rng = council.ground, council.rng
    kinds = {
        "buildings": ground.buildings(),
        "roads": ground.roads,
        "boundaries": ground.boundaries(),
    }
    editions: dict[str, dict[str, list[Feature]]] = {"before": {}, "after": {}}
    for number, (kind, shapes) in enumerate(kinds.items()):
        toids = 1_000_000_000_000_000 + number * 10_000_000 + rng.permutation(len(shapes) * 9)[: len(shapes)]
        pairs = [_both(council, shape, kind, f"osgb{toid}") for shape, toid in zip(shapes, toids, strict=True)]
        editions["before"][kind] = [before for before, _ in pairs if before is not None]
        editions["after"][kind] = [after for _, after in pairs if after is not None]
    return editions


def _both(council: Council, shape: shapely.Geometry, kind: str, toid: str) -> tuple[Feature | None, Feature | None]:
    """One thing on both maps; buildings also come, go and grow."""
    old = _old_building(council, shape) if kind == "buildings" else council.old(shape)
    fate = council.rng.random() if kind == "buildings" else 1.0
    before = Feature(old, shape, "", {"toid": toid} | BEFORE)
    moved = not shapely.equals_exact(old, shape, 0.011)
    reason = "Position" if moved else None
    if fate < 0.02:
        return before, None
    if fate < 0.04:
        return None, _after(shape, toid, "New")
    if fate < 0.06:
        return before, _after(_grown(shape), toid, "Modified")
    if fate < 0.09:
        return before, _after(shape, f"osgb{int(toid[4:]) + 500_000_000}", reason)  # given a new identity by mistake
    return before, _after(shape, toid, reason)


def _after(shape: shapely.Geometry, toid: str, reason: str | None) -> Feature:
    properties: dict[str, Any] = {"toid": toid} | AFTER | {"reason_for_change": reason}
    return Feature(shape, shape, "", properties)


def _old_building(council: Council, shape: Polygon) -> Polygon:
    """A building was drawn whole, on one sheet."""
    moved = council.shift(np.array(shape.representative_point().coords))
    return shapely.transform(shape, lambda places: np.round(places - moved, 2))


def _grown(shape: Polygon) -> Polygon:
    return shapely.transform(shape, lambda places: np.round(places[0] + 1.25 * (places - places[0]), 2))

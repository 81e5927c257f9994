"""What the tables of a layer were made from: each notes the hashes of its inputs, and a stage asks before it reads any.

A run that was cut off, or a stage that ran alone, leaves tables of different deliveries or shifts side by side. Row by
row they speak of other features, or carry the verdict on another proposal, and nothing else in them would show it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq

from pipeline.files import sha256
from pipeline.storage import Migration

Stage = Literal["sources", "shift", "reattach", "consequences", "quality", "review"]
"""Who writes a table of a layer; ``consequences`` is the second one of ``reattach``."""

_KEY = b"post_pai_made_from"

_CALLED: dict[Stage, str] = {
    "sources": "the copy of its source",
    "shift": "the list of shifts",
    "reattach": "the list of proposals",
    "consequences": "the list of what its proposals change",
    "quality": "the list of verdicts",
    "review": "its outcome",
}


def made_from(migration: Migration, layer: str, stage: Stage) -> dict[bytes, bytes]:
    """The note for the metadata of the table of ``stage``: the SHA-256 of each table that it is made from."""
    inputs = _inputs(migration, layer)[stage]
    return {_KEY: json.dumps({each: sha256(_table(migration, layer, each)) for each in inputs}).encode()}


def why_mixed(migration: Migration, layer: str, stage: Stage) -> str:
    """A sentence if the table of ``stage`` or one behind it is missing, or was made from others than lie there now.

    Empty if all of them belong together.
    """
    inputs = _inputs(migration, layer)
    hashed = cache(lambda each: sha256(_table(migration, layer, each)))

    def fault(stage: Stage) -> str:
        if behind := next(filter(None, map(fault, inputs[stage])), ""):
            return behind
        path = _table(migration, layer, stage)
        if not path.exists():
            return f"{_CALLED[stage]} is missing ({path.name})"
        noted = _noted(path)
        changed = [each for each in inputs[stage] if noted.get(each) != hashed(each)]
        if changed:
            return (
                f"{_CALLED[stage]} does not belong to {_CALLED[changed[0]]} that is there now, because a run was cut "
                "off or a stage was run alone"
            )
        return ""

    found = fault(stage)
    return f"Layer {layer}: {found}. Run the layer again (post-pai run, in the UI migrate_layer)." if found else ""


def _inputs(migration: Migration, layer: str) -> dict[Stage, tuple[Stage, ...]]:
    proposal: Stage = "shift" if migration.proposed(layer) == migration.shifted(layer) else "reattach"
    return {
        "sources": (),
        "shift": ("sources",),
        "reattach": ("sources", "shift"),
        "consequences": ("sources", proposal),
        "quality": ("sources", proposal, "consequences"),
        "review": ("sources", proposal, "quality"),
    }


def _table(migration: Migration, layer: str, stage: Stage) -> Path:
    return {
        "sources": migration.staged,
        "shift": migration.shifted,
        "reattach": migration.reattached,
        "consequences": migration.consequences,
        "quality": migration.quality,
        "review": migration.corrected,
    }[stage](layer)


def _noted(path: Path) -> Mapping[str, str]:
    metadata = pq.read_schema(path).metadata or {}
    return dict(json.loads(metadata.get(_KEY, b"{}")))

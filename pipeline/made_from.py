"""What the tables of a layer were made from: each notes the hashes of its inputs, and a stage asks before it reads any.

A run that was cut off, or a stage that ran alone, leaves tables of different deliveries or shifts side by side. Row by
row they speak of other features, or carry the verdict on another proposal, and nothing else in them would show it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq

from pipeline.base_maps import base_map_hashes
from pipeline.files import sha256
from pipeline.storage import Migration
from qa.limits import limits_in_force
from transforms.errors import SourceError

Stage = Literal["sources", "shift", "reattach", "consequences", "quality", "review"]
"""Who writes a table of a layer; ``consequences`` is the second one of ``reattach``."""

_KEY = b"post_pai_made_from"
_SETTINGS = "settings"

_NOT_BY_THEMSELVES = {"title", "id_column", "statutory", "formats", "review_formats", "limits"}
"""Settings of a layer that change nothing about a proposal or a verdict; its limits do where they are in force."""

_CALLED: dict[Stage, str] = {
    "sources": "the copy of its source",
    "shift": "the list of shifts",
    "reattach": "the list of proposals",
    "consequences": "the list of what its proposals change",
    "quality": "the list of verdicts",
    "review": "its outcome",
}


def made_from(migration: Migration, layer: str, stage: Stage) -> dict[bytes, bytes]:
    """The note for the metadata of the table of ``stage``: the SHA-256 of each table that it is made from, and of the
    settings and base maps of today.
    """
    inputs = _inputs(migration, layer)[stage]
    tables = {each: sha256(_table(migration, layer, each)) for each in inputs}
    return note(**tables, **{_SETTINGS: _settings_digest(migration, layer)})


def note(**hashes: str) -> dict[bytes, bytes]:
    """Hashes by name, for the metadata of a table."""
    return {_KEY: json.dumps(hashes).encode()}


def noted(path: Path) -> Mapping[str, str]:
    """The hashes that a table has in its metadata; none if it was written by an earlier version."""
    return dict(json.loads((pq.read_schema(path).metadata or {}).get(_KEY, b"{}")))


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
        hashes = noted(path)
        if inputs[stage] and not hashes:
            return f"{_CALLED[stage]} was made by an earlier version"
        changed = [each for each in inputs[stage] if hashes.get(each) != hashed(each)]
        if changed:
            return (
                f"{_CALLED[stage]} does not belong to {_CALLED[changed[0]]} that is there now, because a run was cut "
                "off or a stage was run alone"
            )
        return ""

    found = fault(stage)
    return f"Layer {layer}: {found}. Run the layer again (post-pai run, in the UI migrate_layer)." if found else ""


def have_settings_changed(migration: Migration, layer: str) -> bool:
    """Whether the proposals or verdicts of a layer were made by other settings, limits or base maps than today's."""
    try:
        digest = _settings_digest(migration, layer)
    except SourceError:  # a base map that is gone: the next run says so, and verify
        return False
    stages = {"shift", *_inputs(migration, layer)["review"]} - {"sources"}
    tables = [_table(migration, layer, stage) for stage in stages]
    return any(path.exists() and noted(path).get(_SETTINGS) != digest for path in tables)


def _settings_digest(migration: Migration, layer: str) -> str:
    settings = migration.settings
    tiles = settings.base_maps.tile_dates
    said = [
        settings.layer(layer).model_dump(mode="json", exclude=_NOT_BY_THEMSELVES),
        settings.base_maps.model_dump(mode="json"),
        asdict(limits_in_force(settings.limits_of(layer))),
        base_map_hashes(migration),
        sha256(migration.source(tiles)) if tiles and migration.source(tiles).is_file() else "",
    ]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


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

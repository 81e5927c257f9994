"""The evidence page of a layer: what was done, by which control, with what residual, and who signed it off.

One HTML file that carries everything inside itself: it can be mailed, archived and printed, and asks nothing of
any other computer. Read years later, it must still answer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import yaml

from pipeline.delivery.manifest import manifest_path, read_manifest
from pipeline.delivery.provenance import decisions_on, foundations, versions
from pipeline.field_file import read_field
from pipeline.files import sha256, whole_file, write_json
from pipeline.officers.decisions import UNDO, WHY, WORDS
from pipeline.pages.layer_pictures import draw_layer
from pipeline.pages.outcome import STATUSES, Counts, Outcome, read_outcome
from pipeline.pages.pictures import COLOURS
from pipeline.pages.policy import page_policy, script_text
from pipeline.pages.reasons import sentence
from pipeline.pages.stories import Story, reviewed_stories
from pipeline.storage import Migration
from qa.limits import documented_limits, limits_in_force

WORST_FEATURES = 10
"""Of those moved without a person, for a spot check."""

STORIES_SHOWN = 1000
"""The page stays usable; the record beside it has them all."""

DECISIONS_SHOWN = 200
"""The page stays readable; the log has them all."""

_MEANINGS = {
    "moved": "moved to the corrected map as proposed",
    "unmoved": "rightly left where they were",
    "fixed": "placed by an officer",
    "open": "waiting for an officer",
}


@dataclass(frozen=True)
class ReasonRow:
    """One line of the table of reasons."""

    code: str
    count: int
    sentence: str


@dataclass(frozen=True)
class LimitRow:
    """One line of the table of limits."""

    name: str
    value: float
    meaning: str
    source: str
    overridden: bool


def write_evidence(migration: Migration, layer_name: str) -> Path:
    """Write the evidence page of one layer and return where it is.

    Raises
    ------
    ExportError
        If the review stage has not run for this layer.
    """
    outcome = read_outcome(migration, layer_name)
    manifest = read_manifest(manifest_path(migration, layer_name)) or {}
    pictures = draw_layer(migration, outcome)
    decisions = _decisions(migration, outcome)
    stories = reviewed_stories(outcome, decisions[::-1])
    record = migration.evidence(layer_name).with_suffix(".json")
    page = render_page(
        "evidence.html",
        migration=migration.settings,
        outcome=outcome,
        counts=outcome.counts,
        state=_state(outcome, manifest),
        statuses=[(name, getattr(outcome.counts, name), _MEANINGS[name], COLOURS[name]) for name in STATUSES],
        summary=summary(outcome, _state(outcome, manifest)),
        pictures=pictures,
        map_data=pictures.map,
        has_ground=pictures.has_ground,
        reasons=reason_rows(outcome),
        stories=stories,
        stories_shown=STORIES_SHOWN,
        record_name=record.name,
        worst=[_as_row(outcome, row) for row in outcome.riskiest_accepted(WORST_FEATURES)],
        decisions=decisions,
        decisions_shown=DECISIONS_SHOWN,
        decision_words={word: said.split(":")[0] for word, said in WORDS.items()} | {UNDO: "Taken back"},
        why_words=WHY,
        limits=limit_rows(migration, layer_name),
        settings=_settings_text(migration, outcome),
        manifest=manifest,
        fitted=read_field(migration.field_file) if migration.field_file.exists() else None,
        findings=foundations(migration, layer_name)["source"].get("findings", []),
        hashes=_hashes(migration, layer_name, manifest),
        colours=COLOURS,
        versions=versions(),
    )
    target = migration.evidence(layer_name)
    with whole_file(target) as beside:
        beside.write_text(page, encoding="utf-8")
    write_json(record, _record(migration, outcome, stories, decisions, manifest))
    return target


def _record(
    migration: Migration,
    outcome: Outcome,
    stories: list[Story],
    decisions: list[dict[str, Any]],
    manifest: dict[str, Any],
) -> dict[str, Any]:
    """The same as the page for machines; ``version`` counts up when a name changes its meaning."""
    name = outcome.layer.name
    page = migration.evidence(name)
    return {
        "format": "post-pai evidence",
        "version": 1,
        "migration": migration.settings.title,
        "layer": name,
        "title": outcome.title,
        "state": _state(outcome, manifest),
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "decided_by_run": outcome.run,
        "exported_by_run": manifest.get("exported_by_run"),
        "counts": {"in": outcome.counts.total, **asdict(outcome.counts)},
        "summary": summary(outcome, _state(outcome, manifest)),
        "sign_off": manifest.get("sign_off"),
        "reasons": {row.code: {"count": row.count, "sentence": row.sentence} for row in reason_rows(outcome)},
        "reviewed": [vars(story) for story in stories],
        "decisions": decisions[::-1],
        "limits": {row.name: row.value for row in limit_rows(migration, name)},
        "files": manifest.get("files", []),
        **foundations(migration, name),
        "page": {"name": page.name, "sha256": sha256(page)},
        "versions": versions(),
    }


def render_page(template: str, **values: Any) -> str:
    """Fill a template of ``pipeline/templates``; every value is escaped, because names come from deliveries."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.pages"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"policy": page_policy(), "script": script_text()}
    environment.filters |= {
        "count": thousands,
        "length_m": lambda length: metres(float("nan") if length is None else length),
        "metres": metres,
        "share": share,
        "moment": moment,
    }
    return environment.get_template(template).render(written_at=datetime.now(UTC), **values)


def summary(outcome: Outcome, state: str = "final") -> str:
    """The outcome in a few plain sentences; ``state`` is that of the export."""
    counts = outcome.counts
    if not counts.total:
        return f"{outcome.title} has no features: nothing came in, nothing goes out."
    return " ".join(filter(None, [_reconciled(counts), _how_far(outcome), _what_follows(counts, state)]))


def reason_rows(outcome: Outcome) -> list[ReasonRow]:
    """The reasons that features of this layer carry, the commonest first."""
    return [ReasonRow(code, count, sentence(code)) for code, count in outcome.reason_counts.most_common()]


def limit_rows(migration: Migration, layer_name: str) -> list[LimitRow]:
    """Every limit in force for a layer, with its meaning and its source."""
    overridden = migration.settings.limits_of(layer_name)
    in_force = limits_in_force(overridden)
    return [
        LimitRow(name, getattr(in_force, name), limit.meaning, limit.source, name in overridden)
        for name, limit in documented_limits().items()
    ]


def thousands(number: int) -> str:
    """A count with thousands separated.

    Examples
    --------
    >>> thousands(12345)
    '12,345'
    """
    return f"{number:,}"


def metres(length: float) -> str:
    """A length to the centimetre; a dash where there is none.

    Examples
    --------
    >>> metres(2.4567), metres(float("nan"))
    ('2.46', '–')
    """
    return f"{length:.2f}" if np.isfinite(length) else "–"


def share(ratio: float) -> str:
    """A ratio as a percentage; a dash where there is none.

    Examples
    --------
    >>> share(0.9876)
    '98.8 %'
    """
    return f"{100 * ratio:.1f} %" if np.isfinite(ratio) else "–"


def moment(text: str | None) -> str:
    """A time as logged, to the minute.

    Examples
    --------
    >>> moment("2026-11-20T10:12:00+00:00")
    '2026-11-20 10:12'
    """
    return (text or "")[:16].replace("T", " ")


def _reconciled(counts: Counts) -> str:
    parts = [f"{thousands(getattr(counts, name))} {_were(counts, name)}" for name in STATUSES if getattr(counts, name)]
    joined = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
    return f"{thousands(counts.total)} {'feature' if counts.total == 1 else 'features'} came in: {joined}."


def _were(counts: Counts, name: str) -> str:
    one = getattr(counts, name) == 1
    return {
        "moved": f"{'was' if one else 'were'} moved to the corrected map",
        "unmoved": f"rightly {'stays' if one else 'stay'} where {'it was' if one else 'they were'}",
        "fixed": f"{'was' if one else 'were'} placed by an officer",
        "open": f"still {'waits' if one else 'wait'} for an officer",
    }[name]


def _how_far(outcome: Outcome) -> str:
    shift_m = outcome.shift_m[outcome.displaced]
    shift_m = shift_m[np.isfinite(shift_m)]
    if not len(shift_m):
        return ""
    sure = f"; the largest standard error is {metres(outcome.worst_uncertainty_m)}\u00a0m"
    moved = f"The shift is {metres(np.median(shift_m))}\u00a0m in the median and {metres(shift_m.max())}\u00a0m at most"
    return moved + (sure if np.isfinite(outcome.worst_uncertainty_m) else "") + "."


def _state(outcome: Outcome, manifest: dict[str, Any]) -> str:
    """``final`` only where the export says so itself: a statutory layer waits for its second signature."""
    return "draft" if outcome.counts.open else str(manifest.get("state", "final"))


def _what_follows(counts: Counts, state: str) -> str:
    if counts.open:
        return "Until the open ones are decided the export is a draft, not to be loaded into a register."
    if state != "final":
        return "Nothing is open, but the export is still a draft: see the sign-off below."
    return "Nothing is open: the export is final."


def _as_row(outcome: Outcome, row: int) -> dict[str, Any]:
    return {
        "row": int(row),
        "reference": outcome.references[row],
        "shift_m": float(outcome.shift_m[row]),
        "uncertainty_m": float(outcome.uncertainty_m[row]),
        "why": [sentence(code) for code in outcome.reasons[row]],
    }


def _decisions(migration: Migration, outcome: Outcome) -> list[dict[str, Any]]:
    """The newest first, with the reference officers know the feature by."""
    decisions = decisions_on(migration, outcome.layer.name)[::-1]
    return [one | {"reference": one.get("reference") or _reference(outcome, one.get("pai_row"))} for one in decisions]


def _reference(outcome: Outcome, row: Any) -> str:
    return str(outcome.references[row]) if isinstance(row, int) and 0 <= row < len(outcome) else ""


def _hashes(migration: Migration, layer_name: str, manifest: dict[str, Any]) -> list[tuple[str, str | None]]:
    rests_on = foundations(migration, layer_name)
    source = rests_on["source"]
    return [
        *((f"Source: {name}", digest) for name, digest in source.get("files", {}).items()),
        *((f"Base map: {name}", digest) for name, digest in rests_on["base_maps"].items()),
        ("Control points, judged", rests_on["control_sha256"]),
        ("Fitted shift", rests_on["field_sha256"]),
        ("Settings: migration.yaml", rests_on["settings_sha256"]),
        *((f"Export: {file['name']}", file["sha256"]) for file in manifest.get("files", [])),
    ]


def _settings_text(migration: Migration, outcome: Outcome) -> str:
    """The settings that differ from their defaults, as they would stand in ``migration.yaml``."""
    common = migration.settings.model_dump(mode="json", exclude_defaults=True, exclude={"layers"})
    layer = outcome.layer.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(common | {"layers": [layer]}, sort_keys=False, allow_unicode=True)

"""Whether the proposals of a layer still rest on the shift, the control and the settings of today."""

from __future__ import annotations

from pipeline.files import read_json, sha256
from pipeline.logbook import read_lines
from pipeline.made_from import have_settings_changed
from pipeline.officers.control_decisions import read_control_decisions, standing_control
from pipeline.storage import Migration


def why_outdated(migration: Migration, layer: str) -> str:
    """A sentence if a layer was shifted with another field than today's, officers have judged control since the fit, or
    its settings, the limits or the base maps have changed.

    Empty if its proposals are current, or if it was never shifted.
    """
    if is_control_waiting(migration):
        return (
            f"Layer {layer}: officers have judged or added control since the shift was fitted. Run post-pai run "
            "(in the UI fit_shift, then migrate_layer), so that it counts."
        )
    if have_settings_changed(migration, layer):
        return (
            f"Layer {layer}: its settings, the limits or the base maps have changed since it was run. Run post-pai run "
            "(in the UI migrate_layer), so that they count."
        )
    return why_older_than_fit(migration, layer)


def why_older_than_fit(migration: Migration, layer: str) -> str:
    """A sentence if a layer was shifted with another field than today's; empty if not, or if it never was."""
    shifted = [each for each in read_lines(migration.ledger) if (each["event"], each["layer"]) == ("shifted", layer)]
    if shifted and migration.field_file.exists() and shifted[-1]["field"] != sha256(migration.field_file):
        return (
            f"Layer {layer} was shifted on {shifted[-1]['when'][:10]}, before the shift was fitted anew. Run post-pai "
            "run (in the UI migrate_layer), so that its proposals are of today."
        )
    return ""


def is_control_waiting(migration: Migration) -> bool:
    """Whether what officers say of control today is not what the present control table was judged with."""
    if not migration.control_manifest.exists():
        return False
    said = standing_control(read_control_decisions(migration.decisions_log))
    judged_with = read_json(migration.control_manifest).get("officers", standing_control([]).digest)
    return bool(judged_with != said.digest)

"""How a migration appears in Dagster: the folder as a resource, its layers as partitions, its team as owner."""

from pathlib import Path

import dagster as dg

from pipeline.orchestration.instance import default_migration
from pipeline.storage import Migration


class MigrationFolder(dg.ConfigurableResource):
    """The migration folder that the stages work on."""

    path: str

    def open(self) -> Migration:
        """The migration, its settings read afresh; raises ``SettingsError`` with the cure."""
        return Migration.open(Path(self.path))


_settings = Migration.open(default_migration()).settings

LAYERS = dg.StaticPartitionsDefinition([layer.name for layer in _settings.layers])
"""One partition per layer of ``migration.yaml``; *Reload definitions* picks up an edit."""

OWNERS = [f"team:{_settings.owner}"]
"""Who answers for every asset."""

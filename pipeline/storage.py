"""Where everything of a migration lies.

The only module that knows the names of the folders and files a migration has. Stages exchange nothing but
these files: each reads what the stage before wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.settings import Settings, read_settings


@dataclass(frozen=True)
class Migration:
    """A migration folder and its settings; every path the stages use comes from here."""

    root: Path
    settings: Settings

    @classmethod
    def open(cls, root: Path) -> Migration:
        """Open the migration in folder ``root`` (its ``migration.yaml`` may be named); raises ``SettingsError``."""
        root = root.expanduser().resolve()
        if root.name == "migration.yaml":
            root = root.parent
        return cls(root, read_settings(root / "migration.yaml"))

    def source(self, relative: Path) -> Path:
        """The delivered file that the settings call ``relative``; read only."""
        return self.root / relative

    @property
    def build_dir(self) -> Path:
        """Everything generated; safe to delete."""
        return self.root / "build"

    def lock_file(self, part: str) -> Path:
        """What the operating system locks while somebody is at work on a layer, or on another part."""
        return self.build_dir / "locks" / f"{part}.lock"

    @property
    def control_table(self) -> Path:
        """Every control point read, with verdict and reasons (Parquet)."""
        return self.build_dir / "control" / "control.parquet"

    @property
    def control_report(self) -> Path:
        """The same as CSV, as ``post-pai check-control`` writes it."""
        return self.build_dir / "control" / "control.csv"

    @property
    def control_manifest(self) -> Path:
        """The control files: name, form, hash, vintage, rows used and refused."""
        return self.build_dir / "control" / "manifest.json"

    @property
    def control_breaks(self) -> Path:
        """The breaks by which control was judged, found in it or given (NumPy)."""
        return self.build_dir / "control" / "breaks.npz"

    def made_base_map(self, digest: str) -> Path:
        """What was made of a base map delivered in chunks; ``digest`` tells deliveries apart (GeoPackage)."""
        return self.build_dir / "base_maps" / f"{digest}.gpkg"

    @property
    def field_file(self) -> Path:
        """The fitted shift."""
        return self.build_dir / "fit" / "shift.field"

    @property
    def holdout_report(self) -> Path:
        """The hold-out table of the methods compared (CSV)."""
        return self.build_dir / "fit" / "holdout.csv"

    @property
    def pictures_dir(self) -> Path:
        """Pictures that the asset pages of the Dagster UI show."""
        return self.build_dir / "pictures"

    def layer_dir(self, layer: str) -> Path:
        """What the stages made of one layer."""
        return self.build_dir / "layers" / layer

    def staged(self, layer: str) -> Path:
        """The staged copy: all source columns, ``pai_row`` and ``pai_geometry`` (GeoParquet)."""
        return self.layer_dir(layer) / "staged.parquet"

    def manifest(self, layer: str) -> Path:
        """What was found in the source file (JSON)."""
        return self.layer_dir(layer) / "manifest.json"

    def shifted(self, layer: str) -> Path:
        """The proposal: where each feature would go, with the measures of the move (GeoParquet)."""
        return self.layer_dir(layer) / "shifted.parquet"

    def reattached(self, layer: str) -> Path:
        """The proposal attached again to the lines of the map that it followed (GeoParquet)."""
        return self.layer_dir(layer) / "reattached.parquet"

    def consequences(self, layer: str) -> Path:
        """Every answer about the layer that its proposal changes (Parquet, and CSV beside it)."""
        return self.layer_dir(layer) / "consequences.parquet"

    def proposed(self, layer: str) -> Path:
        """The proposal that is judged, offered and exported: re-attached where the layer asks for it."""
        is_reattached = self.settings.layer(layer).strategy == "shift_and_reattach"
        return self.reattached(layer) if is_reattached else self.shifted(layer)

    def quality(self, layer: str) -> Path:
        """One row of measures, verdict, reasons and risk per feature (Parquet)."""
        return self.layer_dir(layer) / "quality.parquet"

    def corrected(self, layer: str) -> Path:
        """The outcome with the officers' decisions merged (GeoParquet)."""
        return self.layer_dir(layer) / "corrected.parquet"

    @property
    def review_dir(self) -> Path:
        """What officers open and save."""
        return self.root / "review"

    def review(self, layer: str) -> Path:
        """The review GeoPackage of one layer."""
        return self.review_dir / f"{layer}.gpkg"

    def review_in(self, layer: str, kind: str) -> Path:
        """The review package of one layer for other software: ``kind`` is ``tab`` or ``shp``."""
        return self.review_dir / kind / f"{layer}.{kind}"

    @property
    def added_control(self) -> Path:
        """The control points that officers drew, as the check reads them (CSV)."""
        return self.build_dir / "control" / "added_by_officers.csv"

    def state_dir(self, layer: str) -> Path:
        """Every state of a layer's export, to be put back by ``post-pai rollback``; never deleted."""
        return self.exports_dir / "states" / layer

    @property
    def decisions_dir(self) -> Path:
        """Append-only; never deleted, never rewritten."""
        return self.root / "decisions"

    @property
    def decisions_log(self) -> Path:
        """One line per decision: who, when, what, on which feature (JSON lines)."""
        return self.decisions_dir / "decisions.jsonl"

    @property
    def ledger(self) -> Path:
        """One line per shifted delivery: input hash, layer, control (JSON lines)."""
        return self.decisions_dir / "ledger.jsonl"

    @property
    def exports_dir(self) -> Path:
        """Corrected layers, the shift itself, the evidence."""
        return self.root / "exports"

    def evidence(self, layer: str) -> Path:
        """The evidence page of one layer (HTML)."""
        return self.exports_dir / "evidence" / f"{layer}.html"

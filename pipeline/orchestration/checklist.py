"""Every asset check: of which asset it is, what must hold, what to do if it does not. Their outcomes: ``checks.py``.

A *blocking* check stops a batch that cannot be used. A doubtful feature never does: it is a row of the review queue.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import dagster as dg

from pipeline.orchestration.catalogue import LAYERS


@dataclass(frozen=True)
class Check:
    """One check: its asset, what it proves, and whether it stops the batch."""

    asset: str
    name: str
    description: str
    blocking: bool = False

    def spec(self) -> dg.AssetCheckSpec:
        """The check as Dagster knows it, partitioned like its asset."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.PreviewWarning)  # partitioned checks may change; dagster is pinned
            return dg.AssetCheckSpec(
                self.name,
                asset=self.asset,
                description=self.description,
                blocking=self.blocking,
                partitions_def=None if self.asset in _UNPARTITIONED else LAYERS,
            )

    def result(self, passed: bool, **numbers: float | int | str) -> dg.AssetCheckResult:
        """The outcome with its numbers; a failed check is an error where it blocks, else a warning."""
        severity = dg.AssetCheckSeverity.ERROR if self.blocking else dg.AssetCheckSeverity.WARN
        return dg.AssetCheckResult(
            passed=bool(passed), check_name=self.name, asset_key=self.asset, severity=severity, metadata=numbers
        )


FOUND = "found"
"""The entry of a check's numbers that says in words what it found; the command tells it, too."""

_UNPARTITIONED = {"control", "fit", "qa_board"}

_RUN_AGAIN = (
    "If not, nothing further is done with this layer: run it again, and if it stays so report a fault of Post-PAI."
)

EVERY_FEATURE_STAGED = Check(
    "sources", "every_feature_staged", f"The staged copy has a row for every feature delivered. {_RUN_AGAIN}", True
)
GEOMETRIES_USABLE = Check(
    "sources",
    "geometries_usable",
    "No geometry is missing, broken or off Great Britain. If some are: they go to officers with their reason; "
    "where there are many, ask for the delivery again.",
)
ENOUGH_CONTROL = Check(
    "control",
    "enough_control",
    "At least three control points are good. If not, nothing can be fitted: see why they were rejected, and look for "
    "exchanged columns or the wrong tile.",
    True,
)
MOST_CONTROL_GOOD = Check(
    "control",
    "most_control_good",
    "Fewer than one control point in ten is rejected. If more are: whole files are probably wrong; see the map and "
    "the report, and ask for those files again.",
)
FILES_READABLE = Check(
    "control",
    "files_readable",
    "Every control file could be read. If not: `unreadable` on the asset names each with its cure.",
)
FIELD_UNFOLDED = Check(
    "fit",
    "field_unfolded",
    "The field folds the map over itself nowhere. If it does, nothing is moved: look for bad control near the fold, or "
    "let `fit: method` be `auto`.",
    True,
)
UNCERTAINTY_HONEST = Check(
    "fit",
    "uncertainty_honest",
    "93 to 97 % of held-out control lies within its stated 95 % radius. If fewer do, verdicts are too sure: look "
    "through a sample of accepted features before export.",
)
FITS_HELD_OUT = Check(
    "fit",
    "fits_held_out_control",
    "95 % of held-out control is predicted to within the limit position_error_m. If not: much will go to officers; "
    "more control, or a layer of known breaks, helps.",
)
FEATURES_KEPT = Check("shift", "features_kept", f"The proposal has every staged feature, in order. {_RUN_AGAIN}", True)
SHIFTS_USUAL = Check(
    "shift",
    "shifts_usual",
    "No feature is proposed to move further than the limit shift_m. Those that would go to officers: look for bad "
    "control near them.",
)
ORIGIN_SHOWN = Check(
    "shift",
    "origin_shown",
    "An edition of the base map is named, old or new. With both, far more is settled than with one. If there is "
    "neither, only dates tell which map a feature was drawn on, nothing tells what is misplaced, and nearly everything "
    "goes to officers: name what there is under base_maps in migration.yaml or, if there is none, allow more to be "
    "wrong (limits: acceptable_wrong_ratio: 0.05).",
)
ORIGIN_AS_SAID = Check(
    "shift",
    "origin_as_said",
    "Taken together, features lie on the map that their dates say, undated ones on the old map, and what was measured "
    "on the ground, or is to stay by `strategy: leave`, on the new one; 5 % may not. If not, what is said is not "
    "believed, and what lies elsewhere than it says goes to officers. Are its dates days on which records were loaded, "
    "name them under load_days of the layer in migration.yaml; is none of them that of a capture, take captured_column "
    "out; is it a few years, look at new_map_loaded_on; is it a method, at ground_methods; then run again. A layer "
    "without dates that lies on the new map stays there: give it `strategy: leave`; one of that strategy that lies on "
    "the old map is to be shifted.",
)
NOT_SHIFTED_BEFORE = Check(
    "shift",
    "not_shifted_before",
    "What is dated before the new map lies on the old one; of 2 % of the features it may lie on the new one. If of "
    "more: somebody shifted part of the layer before, or its dates are not those of capture. What lies well on the new "
    "map stays where it is. But in the other layers what does not show its map, most trees and surveys, goes to "
    "officers then. Find out what was shifted, and by whom; deliver a copy from before that, if there is one, and "
    "run all layers again.",
)
DATES_READ = Check(
    "shift",
    "dates_read",
    "What stands in the column of capture dates can be read as days that are past; of 5 % of the features it may not. "
    "If of more: they count as undated, and much goes to officers. Give captured_format of the layer in "
    "migration.yaml, such as %m/%d/%Y where the month comes first, and run it again.",
)
LIES_ON_A_MAP = Check(
    "shift",
    "lies_on_a_map",
    "Features do not lie beside both maps, as far and in the same direction as those of their method or those around "
    "them; 5 % may. If more do, their coordinates came through a wrong transformation, or sheets of a plan were placed "
    "wrongly, and they go to officers. Is it the whole layer, take that off with offset_easting_m and "
    "offset_northing_m in migration.yaml (the opposite sign) and run it again; is it a part, ask for that part anew. "
    "Are they here and there, somebody shifted them before: deliver a copy from before that, if there is one.",
)
WRITTEN_FINELY = Check(
    "shift",
    "written_finely",
    "Coordinates are not rounded to multiples of coarse_coordinate_m (qa/limits.yaml); of 5 % of the features they may "
    "be. If of more, these may lie further off than counts as wrong by that alone, and they go to officers. Ask for "
    "the layer with its full coordinates; where there are none and rough places will do, set that limit higher for it.",
)
SHOWN_ON_MAPS = Check(
    "shift",
    "shown_on_maps",
    "The base maps reach as far as the layer, and show buildings where it has points; for 5 % of the features they may "
    "not. If for more: nobody can see whether these lie where they should, and they go to officers. Name base maps of "
    "the whole place, with its buildings, under base_maps in migration.yaml and run again. One edition alone tells "
    "nothing where the shift is unsure (there the other one helps, or more control), and nothing where the control "
    "near by does not lie on its lines: part of the map is the other edition, or that control is wrong.",
)
STILL_AS_CONTROL_SAYS = Check(
    "shift",
    "still_as_control_says",
    "Where both editions of the base map are the same, the control near by does not say that the map moved; for 5 % of "
    "the features it may. If for more: one edition holds parts of the other, as where tiles were replaced when new "
    "ones came. The features there go to officers; name the right edition under base_maps and run again.",
)
PROPOSAL_KEPT = Check(
    "reattach", "proposal_kept", f"The re-attached proposal has every feature, in order. {_RUN_AGAIN}", True
)
ATTACHED_AGAIN = Check(
    "reattach",
    "attached_again",
    "Nine in ten metres that followed a line follow it again. If fewer do: look at the features that stayed loose, "
    "and whether the new base map has the lines they followed.",
)
VERDICT_FOR_EACH = Check("quality", "verdict_for_each", f"in = accept + leave + review. {_RUN_AGAIN}", True)
FEW_EXPECTED_WRONG = Check(
    "quality",
    "few_expected_wrong",
    "Of the features settled without a person at most the share acceptable_wrong_ratio (or one feature) is expected to "
    "be wrong. If more: lower that limit in migration.yaml and run the layer again; more goes to officers then.",
)
COUNTS_RECONCILE = Check("review", "counts_reconcile", f"in = moved + unmoved + fixed + open. {_RUN_AGAIN}", True)
ANSWERS_UNDERSTOOD = Check(
    "review",
    "answers_understood",
    "Everything officers saved could be taken in. If not: each such feature says in `remark` what is missing; put it "
    "right in the review file and save.",
)
PROPOSALS_CURRENT = Check(
    "review",
    "proposals_current",
    "The layer was shifted with the shift and control of today. If not: run `fit_shift`, then `migrate_layer`.",
)
DRAWN_ON_NEW_MAP = Check(
    "review",
    "drawn_on_new_map",
    "What an officer fixed or kept lies, taken together, on the new base map. If on the old one: it was under the "
    "drawing, or keep was chosen for accept. Ask whom the check names to look at it again over the new map; "
    "`post-pai undo` takes a decision back.",
)
MOST_SETTLED = Check(
    "review",
    "most_settled",
    "At least half of the features are settled, or few are not. If not: its evidence page counts the reasons. Where "
    "origin_doubtful leads, the layer follows the lines of neither map, so nothing tells what was misplaced when it "
    "was drawn: look through some of it, then decide the rest at once in the review file, or allow more of this layer "
    "to be wrong (its `limits` in migration.yaml: acceptable_wrong_ratio: 0.05).",
)
NOTHING_OPEN = Check(
    "export",
    "nothing_open",
    "No feature waits for an officer. While some do, the export is a draft: decide them in the review file.",
)
SIGNED_OFF = Check(
    "export",
    "signed_off",
    "Signed where it must be, and not put back to an earlier state. If not: a second person looks at the evidence and "
    "signs with `post-pai sign`.",
)
HELD_BY_FORMATS = Check(
    "export",
    "held_by_formats",
    "Every format asked for could hold the layer as it is. If not: `notes` says what was changed; hand over the "
    "GeoPackage where that matters.",
)
LAYERS_CURRENT = Check(
    "qa_board",
    "layers_current",
    "No layer is outdated or blocked. If some are: the board says for each what to run again.",
)

ALL = tuple(value for value in list(globals().values()) if isinstance(value, Check))
"""Every check, in the order of the stages."""


def specs(asset: str) -> list[dg.AssetCheckSpec]:
    """The specs of an asset's checks."""
    return [check.spec() for check in ALL if check.asset == asset]

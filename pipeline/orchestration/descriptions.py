"""What each asset is, what red means and what to do next: the text at the top of its page in the Dagster UI."""

SOURCES = """
A byte-faithful copy of one delivered layer, with what was found in it. The delivery itself is never written.

**Red** means the file cannot be read as it stands, or its coordinates are not what they claim to be. The failure's
sentence names the setting in `migration.yaml` that answers it; edit it, *Reload definitions*, run again.
"""

CONTROL = """
Every control point read, each with a verdict (`used`, `suspect`, `rejected`), its reasons and its leave-one-out
residual. Rows that cannot be used are listed and stop nothing.

**Red** means there is not enough good control to fit anything: look at the reasons and at the map below.
"""

FIT = """
The shift field: how far the old map must move at every place, how sure that is, and where it jumps (old sheet edges).
The method is chosen by hold-out in spatial blocks; the table shows every method that was tried.

**Red** means the field folds the map over itself, and nothing may be moved with it: look for bad control near the fold.
"""

SHIFT = """
The proposal for one layer: where each feature would go. A feature moves whole or not at all; outside control, across a
break, or drawn on the new map already, it stays. The share of dates of capture expected to be wrong,
`dates_wrong_pct`, follows from the other layers: outlines show by their place which of them are wrong.

**Amber** means something is wrong with much of the layer at once: its dates (`dates_disproved`), its coordinates
(`displaced`), or the base maps. The check says which, and what to set in `migration.yaml`.

**Red** means features were lost or the layer was shifted before. Nothing was written.
"""

REATTACH = """
What moved, attached again to the lines of the map it followed: the same hedge, fence or wall, at the same offset. Only
for layers whose strategy is `shift_and_reattach`; the others pass through as shifted.

**Red** means features were lost on the way. Where a line is gone, was redrawn or went elsewhere than the shift allows,
the feature is left as shifted there and goes to review with a reason of its own.
"""

QUALITY = """
One row of measures per feature, and one verdict: `accept` (moves without a person), `leave` (rightly stays) or
`review` (an officer decides), with the reasons in plain words. Limits: `qa/limits.yaml`.
"""

OFFICER_FIXES = """
What officers saved in `review/<layer>.gpkg`. People are an input: the sensor `saved_reviews` sees a save, logs each
decision for good and starts `finish_layer`.
"""

REVIEW = """
The outcome with the officers' decisions merged, and the queue of what is still open, the riskiest first.

**What to do:** open the file named under `review_file` in QGIS, fill `decision` (or move the feature), save.
"""

EXPORT = """
The corrected layer with all source columns unchanged, and the evidence page. While features are open it is a draft.

**Red** means the file could not be written or did not read back as it should; the earlier export is untouched.
"""

SHIFT_EXPORT = """
The fitted shift as files of its own: PROJ tinshift JSON, a GeoTIFF grid and NTv2, for tools that move other data alike.
The notes say how closely each follows the fit, and where a grid cannot follow a break.
"""

QA_BOARD = """
The page a manager opens: how far each layer is, and what remains to be done.
"""

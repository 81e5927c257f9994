"""What an officer should suspect first: the control, how the feature was captured, or the ground itself.

The three call for different cures: a control point marked as wrong, the feature drawn anew, or a look at what is there
now. The reasons of a verdict say what was found; here they are weighed against one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONTROL, CAPTURE, GROUND, NONE = "control", "capture", "ground", ""

DOUBTS = {
    CONTROL: "Suspect the control here.",
    CAPTURE: "Suspect how it was captured.",
    GROUND: "Suspect that the ground has changed.",
}
"""Every doubt, with the sentence an officer reads."""

OF_CAPTURE = frozenset(
    {
        "origin_doubtful",
        "origin_unknown",
        "looks_misplaced",
        "date_contradicted",
        "dates_disproved",
        "left_contradicted",
        "listing_disproved",
        "displaced_together",
        "displaced_around",
        "method_contradicted",
        "small_scale",
        "coarse_coordinates",
        "bad_coordinates",
        "outline_crosses",
        "far_from_layer",
        "geometry_type",
        "unreadable_geometry",
    }
)
OF_GROUND = frozenset({"building_gone", "base_feature_gone", "base_feature_changed"})
OFF_WHAT_IT_LAY_ON = frozenset(
    {
        "off_the_new_map",
        "off_its_line",
        "left_its_building",
        "changed_building",
        "reattach_disagrees",
        "relation_changed",
    }
)
"""Reasons that speak against the ground where the map around moved as the control says, and against it where not."""

OF_CONTROL = frozenset(
    {
        "position_uncertain",
        "base_map_disagrees",
        "control_disagrees",
        "moved_within_building",
        "far_from_control",
        "outside_control",
        "straddling",
        "uncertain",
        "long_shift",
        "not_moved",
        "area_changed",
        "distance_changed",
        "right_angle_bent",
        "became_invalid",
        "parts_changed",
        "tile_contradicted",
        "still_contradicted",
    }
)

BLOCKING = frozenset({"straddling", "outside_control", "uncertain"})
"""Reasons for which nothing was moved: the place is then as likely wrong as not."""


def doubts(
    reasons: Sequence[Sequence[str]],
    in_review: NDArray[np.bool_],
    origin_doubt: NDArray[np.float64],
    position_doubt: NDArray[np.float64],
    base_map_agrees: NDArray[np.bool_],
) -> NDArray[Any]:
    """What is to be suspected first of each feature in review, ``(n,)`` words of ``DOUBTS``; empty for the others.

    Of several, a changed ground comes first, because it is seen and not inferred; then what is the likelier, the origin
    being wrong or the place.

    Parameters
    ----------
    reasons
        ``n`` lists of codes.
    in_review
        ``(n,)`` whether an officer is to look.
    origin_doubt, position_doubt
        ``(n,)`` chances that the origin, or the new place, is wrong.
    base_map_agrees
        ``(n,)`` whether the map around the feature moved as proposed.
    """
    found = np.full(len(in_review), NONE, dtype="<U7")
    for row in np.flatnonzero(in_review):
        codes = frozenset(reasons[int(row)])
        of_place = 0.5 if codes & BLOCKING else position_doubt[row]
        of_ground = codes & OF_GROUND or (codes & OFF_WHAT_IT_LAY_ON and base_map_agrees[row])
        of_control = codes & OF_CONTROL or (codes & OFF_WHAT_IT_LAY_ON and not base_map_agrees[row])
        if of_ground and not codes & OF_CONTROL:
            found[row] = GROUND
        elif codes & OF_CAPTURE and (not of_control or origin_doubt[row] >= of_place):
            found[row] = CAPTURE
        elif of_control:
            found[row] = CONTROL
    return found

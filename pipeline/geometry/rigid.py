"""Moving a layer rigidly: which features touch, and the one motion of each group of them.

Only a few numbers per vertex are held, but of the whole layer: touching is known only at its end.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import scipy
from numpy.typing import NDArray

from pipeline.formats import GEOMETRY
from pipeline.geometry.in_order import in_order
from pipeline.geometry.layer_survey import LayerSurvey
from pipeline.geometry.move import HangingNodes
from pipeline.geometry.touch import touch_points
from pipeline.geometry.wkb_batch import WkbBatch
from transforms.contract import Points, ShiftField
from transforms.rigid import Moments, Rigid

MOST_MISFIT_M = 0.25
"""A group whose best motion misses the field by more (RMS) follows the field instead: it is too long, or on a break."""


@dataclass(frozen=True)
class RigidGroups:
    """The groups of touching features of a layer and their motions; ``group`` is ``(features,)``."""

    group: NDArray[np.int64]
    motion: Rigid

    def from_feature(self, first: int) -> RigidGroups:
        """The same for features numbered from ``first``: those of a batch."""
        return RigidGroups(self.group[first:], self.motion)

    def fits(self, feature: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which features move rigidly: those whose group's motion keeps close to the field."""
        return np.asarray(self.motion.misfit_m[self.group[feature]] <= MOST_MISFIT_M)

    def image(self, feature: NDArray[np.int64], places: Points, followed: Points) -> Points:
        """Where ``places`` of features go: by the motion of their group, or as ``followed`` if that fits badly."""
        return np.where(self.fits(feature)[:, None], self.motion.move(places, self.group[feature]), followed)


def find_groups(survey: LayerSurvey, shift_field: ShiftField, executor: Executor) -> RigidGroups:
    """Group the features of a layer that touch, and fit the motion of each group to the field.

    Features touch where they share a vertex, or where a vertex of one hangs on an edge of the other. Features that
    the field does not cover whole take no part in the fit.
    """

    def look(item: tuple[pa.RecordBatch, HangingNodes]) -> tuple[int, NDArray[np.int64], NDArray[np.uint64], Moments]:
        array = item[0].column(item[0].schema.get_field_index(GEOMETRY))
        batch = WkbBatch.of(array)
        return len(batch), *touch_points(batch, item[1]), _moments(batch, shift_field)

    features, owners, names, moments = 0, [], [], []
    with survey.batches() as batches:
        for count, feature, name, part in in_order(executor, look, batches):
            owners.append(feature + features)
            names.append(name)
            moments.append(part)
            features += count
    if not features:
        return RigidGroups(np.empty(0, np.int64), Moments.of(np.empty(0, np.int64), 0, *[np.empty((0, 2))] * 2).fit())
    groups, group = _touching(np.concatenate(owners), np.concatenate(names), features)
    return RigidGroups(group, Moments.joined(moments).grouped(group, groups).fit())


def _moments(batch: WkbBatch, shift_field: ShiftField) -> Moments:
    image = shift_field(batch.place)
    lost = np.bincount(batch.feature, weights=np.isnan(image[:, 0]), minlength=len(batch)) > 0
    whole = ~lost[batch.feature]
    return Moments.of(batch.feature[whole], len(batch), batch.place[whole], image[whole])


def _touching(owner: NDArray[np.int64], name: NDArray[np.uint64], features: int) -> tuple[int, NDArray[np.int64]]:
    order = np.argsort(name, kind="stable")
    owner, name = owner[order], name[order]
    same = name[1:] == name[:-1]
    links = scipy.sparse.coo_matrix(
        (np.ones(int(same.sum()), np.int8), (owner[:-1][same], owner[1:][same])), (features, features)
    )
    groups, group = scipy.sparse.csgraph.connected_components(links, directed=False)
    return int(groups), group.astype(np.int64)

"""The vertices of a migration's other layers: they may hang on an edge of the layer that is being moved.

Layers that move with the same field must not part where one has a vertex and the other a straight edge. The delivered
files are read, not what another stage made of them, so the outcome does not depend on which layer ran first.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.choices import MOVING_STRATEGIES
from pipeline.delivered import delivered_batches
from pipeline.geometry.wkb_batch import WkbBatch
from pipeline.storage import Migration
from transforms.complex_places import is_place
from transforms.contract import Points
from transforms.errors import PostPaiError


def neighbour_places(migration: Migration, layer_name: str) -> Iterator[Points]:
    """The vertices of the other layers that are to move, batch by batch, in National Grid metres.

    A layer that cannot be read now has no say: its own run tells why.
    """
    for settings in migration.settings.layers:
        if settings.name != layer_name and settings.strategy in MOVING_STRATEGIES:
            try:
                for batch in delivered_batches(migration, settings):
                    places = WkbBatch.of(batch.column(batch.num_columns - 1)).place
                    yield places[is_place(places)]
            except PostPaiError:
                continue

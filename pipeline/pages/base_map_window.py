"""The new base map inside a small window, to draw beneath a close-up: a feature moved rightly lies on its lines."""

from __future__ import annotations

import numpy as np
import pyogrio
from numpy.typing import NDArray

from pipeline.pages.maps import Extent
from pipeline.pages.outlines import drawable
from pipeline.storage import Migration


def read_new_map(migration: Migration, extent: Extent) -> NDArray[np.object_]:
    """Shapes of the new base map that touch ``extent``; none where the settings name no map or it cannot be read.

    A page must not fail for want of a background: that the base map is readable is the quality stage's business.
    """
    settings = migration.settings.base_maps.after
    if settings is None:
        return np.empty(0, dtype=object)
    path = migration.source(settings.file)
    try:
        layers = settings.layers or [name for name, _ in pyogrio.list_layers(path)]
        read = [pyogrio.raw.read(path, layer=layer, columns=[], bbox=extent)[2] for layer in layers]
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError):
        return np.empty(0, dtype=object)
    return drawable([wkb for shapes in read for wkb in shapes])

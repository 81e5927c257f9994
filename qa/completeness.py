"""Whether everything is still there: each row, its geometry and the type of its geometry."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from qa.base_maps import Geometries
from transforms.errors import SourceError


def has_geometry(geometries: Geometries) -> NDArray[np.bool_]:
    """Whether there is a geometry with at least one vertex, ``(n,)``.

    Examples
    --------
    >>> import shapely
    >>> has_geometry(np.array([shapely.Point(1, 2), shapely.Point(), None])).tolist()
    [True, False, False]
    """
    return np.asarray(~(shapely.is_missing(geometries) | shapely.is_empty(geometries)))


def lost_geometry(before: Geometries, after: Geometries) -> NDArray[np.bool_]:
    """Whether a feature had a geometry and has none any more, ``(n,)``."""
    return np.asarray(has_geometry(before) & ~has_geometry(after))


def changed_type(before: Geometries, after: Geometries) -> NDArray[np.bool_]:
    """Whether a geometry changed its dimension (an area became a line, a line a point), ``(n,)``."""
    both = has_geometry(before) & has_geometry(after)
    return np.asarray(both & (shapely.get_dimensions(before) != shapely.get_dimensions(after)))


def require_the_same_rows(before: NDArray[np.int_], after: NDArray[np.int_], layer: str) -> None:
    """Stop where two tables of one layer do not hold the same rows in the same order.

    Raises
    ------
    SourceError
        With the layer and both counts.
    """
    if not np.array_equal(before, after):
        raise SourceError(
            f"Layer {layer}: the staged copy has {len(before)} rows and the shifted one {len(after)}, and they are not "
            "the same rows. Run the layer again from the start."
        )

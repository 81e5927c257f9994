"""The middle of a shape: what its move is measured from and where its arrow begins."""

from __future__ import annotations

import shapely


def middle(shape: shapely.Geometry) -> shapely.Point:
    """The centroid; of an area whose outline crosses itself that of the outline.

    There parts of opposite sign cancel, and the centroid of what is left may lie anywhere: a bow tie of 10 m whose
    halves differ by a millimetre has it 33 km away.

    Examples
    --------
    >>> middle(shapely.Polygon([(0, 0), (10, 10), (10, 0.001), (0, 10)])).wkt
    'POINT (4.99989644294815 5.000249991160944)'
    """
    is_crossed = shape.geom_type in ("Polygon", "MultiPolygon") and not shapely.is_valid(shape)
    return shapely.centroid(shapely.boundary(shape) if is_crossed else shape)

"""What the settings and the command let a person choose from, by name."""

from __future__ import annotations

from typing import Literal

Method = Literal[
    "auto",
    "similarity",
    "affine",
    "polynomial",
    "triangulated",
    "natural-neighbour",
    "thin-plate",
    "collocation",
]
"""How the shift is fitted; ``auto`` chooses by spatially blocked hold-out."""

Strategy = Literal["shift", "shift_and_reattach", "check_only", "leave"]
"""What is done to a layer: move what can be proved, move it and attach it again to the lines of the map that it
followed, only point out what would move, or nothing at all."""

MOVING_STRATEGIES: tuple[Strategy, ...] = ("shift", "shift_and_reattach")
"""Those that move anything."""

ExportFormat = Literal["gpkg", "tab", "shp", "geojson", "parquet"]
"""A format a corrected layer can be written in; GeoPackage is always written."""

ReviewFormat = Literal["tab", "shp"]
"""A format the review package can be written in; GeoPackage is always written."""

"""The control of the demo borough as OS link files, with every kind of fault that real deliveries had."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import shapely
from borough_ground import Ground
from borough_kind import Kind
from borough_shift import BLOCK_EDGE_NORTHING, IDENTITY, SIDE_M, SOUTH, STRIP_M, URBAN, WEST, Places, Shift

from pipeline.control_input.tile_names import tile_extent

BUILDING, BOUNDARY, JUNCTION = "0001", "0030", "0098"
_NOISE_M = {BUILDING: 0.15, BOUNDARY: 0.25, JUNCTION: 0.35}
SWAPPED_TILE, FOREIGN_TILE, FOREIGN_CONTENT = "SO6559", "SO6763", "SO6458"
_SEAM_M = 9.0


@dataclass(frozen=True)
class Link:
    """One control point as written, and what is wrong with it; ``true_after`` is its place on the ground."""

    tile: str
    before: tuple[float, float]
    after: tuple[float, float]
    code: str
    true_after: tuple[float, float]
    kind: str = ""
    harm: str = ""


def make_links(ground: Ground, shift: Shift, rng: np.random.Generator, kind: Kind) -> list[Link]:
    """All links in file order, faults and all."""
    links = _plant_single_faults(_true_links(ground, shift, rng, kind.control_noise), rng, kind.gross_link_ratio)
    links += _seam_duplicates(links, rng)
    links += _conflicts(links, rng)
    links = _cross(links, rng)
    links = [link for link in links if link.tile != FOREIGN_TILE] + _foreign(links, rng)
    return sorted(_swapped(links), key=lambda link: link.tile)


def write_link_files(links: Iterable[Link]) -> dict[str, bytes]:
    """Each link file's name and bytes, some with blank lines, CR LF, trailing commas or a shouted extension."""
    by_tile: dict[str, list[str]] = {}
    for link in links:
        places = (*link.before, *link.after)
        text = [f"{value:0{width}.2f}" for value, width in zip(places, (9, 10, 9, 10), strict=True)]
        if link.kind == "truncated_digit":
            text[3] = text[3].lstrip("0")[:-4] + text[3][-3:]
        by_tile.setdefault(link.tile, []).append(",".join([*text, link.code]))
    return dict(_dressed(number, tile, lines) for number, (tile, lines) in enumerate(sorted(by_tile.items())))


def _dressed(number: int, tile: str, lines: list[str]) -> tuple[str, bytes]:
    end = "\r\n" if number % 12 == 1 else "\n"
    if number % 12 == 4:
        lines = [*lines[:3], "", *lines[3:], ""]
    if number % 12 == 7:
        lines = [line + "," for line in lines]
    return f"{tile}{'.CSV' if number == 9 else '.csv'}", (end.join(lines) + end).encode()


def line_numbers(links: Iterable[Link], files: dict[str, bytes]) -> list[tuple[str, int]]:
    """The file and line (from 1) of each link of ``make_links``, in its order."""
    lines_left: dict[str, list[tuple[str, int]]] = {}
    for name, content in files.items():
        numbered = enumerate(content.decode().splitlines(), start=1)
        lines_left[name[:6]] = [(name, number) for number, line in numbered if line][::-1]
    return [lines_left[link.tile].pop() for link in links]


def _true_links(ground: Ground, shift: Shift, rng: np.random.Generator, noise_factor: float) -> list[Link]:
    after, code = _candidates(ground, rng)
    northing = after[:, 1]
    points = shapely.points(after)
    hidden = shapely.intersects(points, URBAN.buffer(5)) | (np.abs(northing - BLOCK_EDGE_NORTHING) < STRIP_M)
    inside = shapely.intersects(points, shapely.box(WEST, SOUTH, WEST + SIDE_M, SOUTH + SIDE_M))
    after, code = after[inside & ~hidden], code[inside & ~hidden]
    identity = shapely.intersects(shapely.points(after), IDENTITY)
    noise = rng.normal(0, 1, after.shape) * np.array([noise_factor * _NOISE_M[c] for c in code])[:, None]
    before = np.where(identity[:, None], after, after - shift(after) + noise)
    before, after = np.round(before, 2), np.round(after, 2)
    return [
        Link(_tile(old), tuple(old), tuple(new), c, tuple(new), *_IDENTITY[int(same)])
        for old, new, c, same in zip(before.tolist(), after.tolist(), code.tolist(), identity.tolist(), strict=True)
    ]


_IDENTITY = (("", ""), ("identity_legitimate", "legitimate"))


def _candidates(ground: Ground, rng: np.random.Generator) -> tuple[Places, np.ndarray]:
    """Building corners in the settlements, hedge corners in the country, road ends; thinned unevenly."""
    corners = np.array([plot.house.exterior.coords[k] for plot in ground.plots for k in (0, 1, 2)])
    barns = np.array([barn.exterior.coords[k] for barn in ground.barns for k in (0, 2)])
    hedges = np.unique(shapely.get_coordinates(ground.fields), axis=0)
    roads = np.unique(np.array([road.coords[k] for road in ground.roads for k in (0, -1)]), axis=0)
    keep = rng.random(len(hedges)) < 0.45 + 0.55 * _closeness(hedges, rng)
    parts = [(corners, BUILDING), (barns, BUILDING), (hedges[keep], BOUNDARY), (roads, JUNCTION)]
    return np.concatenate([part for part, _ in parts]), np.concatenate([[code] * len(part) for part, code in parts])


def _closeness(places: Places, rng: np.random.Generator) -> np.ndarray:
    """Between 0 and 1, high in a few wide patches: surveyors were busier there."""
    patches = rng.uniform([WEST, SOUTH], [WEST + SIDE_M, SOUTH + SIDE_M], (5, 2))
    squared = ((places[:, None, :] - patches) ** 2).sum(axis=2)
    return np.exp(-squared / (2 * 900.0**2)).max(axis=1)


def _tile(place: Iterable[float]) -> str:
    easting, northing = place
    return f"SO{int(easting - 300_000) // 1000:02d}{int(northing - 200_000) // 1000:02d}"


def _plant_single_faults(links: list[Link], rng: np.random.Generator, gross_ratio: float) -> list[Link]:
    ordinary = np.flatnonzero([not link.kind and link.tile not in (SWAPPED_TILE, FOREIGN_TILE) for link in links])
    chosen = rng.permutation(ordinary)
    gross, cut = chosen[: int(len(ordinary) * gross_ratio + 1e-9)], chosen[-5:]
    planted = list(links)
    for k in gross:
        size, angle = np.exp(rng.uniform(0, np.log(30))), rng.uniform(0, 2 * np.pi)
        wrong = np.round(np.array(links[k].after) + size * np.array([np.cos(angle), np.sin(angle)]), 2)
        planted[k] = replace(links[k], after=tuple(wrong.tolist()), kind="gross_error", harm="harmful")
    for k in cut:
        planted[k] = replace(links[k], kind="truncated_digit", harm="harmful")
    return planted


def _seam_duplicates(links: list[Link], rng: np.random.Generator) -> list[Link]:
    """Points near a tile edge, measured once more for the file next door."""
    again = []
    for link in links:
        if link.kind or rng.random() < 0.4:
            continue
        nudged = np.array(link.before) + _SEAM_M * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
        beyond = next((_tile(place) for place in nudged if _tile(place) != link.tile), None)
        if beyond and _in_borough(beyond):
            before = np.round(np.array(link.before) + rng.normal(0, 0.15, 2), 2)
            again.append(
                replace(link, tile=beyond, before=tuple(before.tolist()), kind="duplicate_seam", harm="benign")
            )
    return again


def _in_borough(tile: str) -> bool:
    west, south, *_ = tile_extent(tile) or (0.0, 0.0)
    return WEST <= west < WEST + SIDE_M and SOUTH <= south < SOUTH + SIDE_M


def _conflicts(links: list[Link], rng: np.random.Generator) -> list[Link]:
    """A second, wrong target for the same old place."""
    partners = [links[k] for k in rng.permutation(len(links))[:60] if not links[k].kind][:10]
    wrong = [np.round(np.array(link.after) + rng.choice([-1, 1], 2) * rng.uniform(2, 5, 2), 2) for link in partners]
    return [
        replace(link, after=tuple(after.tolist()), kind="conflict_same_old", harm="harmful")
        for link, after in zip(partners, wrong, strict=True)
    ]


def _cross(links: list[Link], rng: np.random.Generator) -> list[Link]:
    """Neighbours whose targets were exchanged."""
    crossed = list(links)
    free = np.array([k for k, link in enumerate(links) if not link.kind])
    places = np.array([links[k].after for k in free])
    for pick in rng.permutation(len(free))[:600:20]:
        distance = np.hypot(*(places - places[pick]).T)
        near = np.flatnonzero((distance > 3) & (distance < 25))
        one, two = free[pick], free[near[0]] if len(near) else None
        if two is None or crossed[one].kind or crossed[two].kind:
            continue
        crossed[one] = replace(links[one], after=links[two].after, kind="crossing", harm="harmful")
        crossed[two] = replace(links[two], after=links[one].after, kind="crossing", harm="harmful")
    return crossed


def _foreign(links: list[Link], rng: np.random.Generator) -> list[Link]:
    """One file holds another tile's content, measured a second time."""
    content = [link for link in links if link.tile == FOREIGN_CONTENT and not link.kind]
    before = np.round([link.before for link in content] + rng.normal(0, 0.2, (len(content), 2)), 2)
    return [
        replace(link, tile=FOREIGN_TILE, before=tuple(place), kind="wrong_tile_content", harm="harmful")
        for link, place in zip(content, before.tolist(), strict=True)
    ]


def _swapped(links: list[Link]) -> list[Link]:
    return [
        replace(link, before=link.after, after=link.before, kind="swapped_columns", harm="harmful")
        if link.tile == SWAPPED_TILE
        else link
        for link in links
    ]

"""The board a manager opens: one line per layer, what is done, what waits, and what to do next.

Read from the files of the stages alone, so that it tells the truth whatever became of a run.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
import shapely

from pipeline.delivery.manifest import manifest_path, read_manifest
from pipeline.delivery.states import why_held
from pipeline.files import sha256, whole_file
from pipeline.made_from import why_mixed
from pipeline.officers.outdated import why_outdated
from pipeline.officers.progress import Progress, review_progress
from pipeline.officers.sign_off import sign_off_state
from pipeline.pages.evidence import render_page, share, thousands
from pipeline.pages.maps import Features, extent_of, layer_map
from pipeline.pages.outcome import STATUSES, Counts, Outcome, read_outcome
from pipeline.pages.outlines import DRAWN_FEATURES, drawn_rows, read_outlines
from pipeline.pages.pictures import COLOURS
from pipeline.settings import LayerSettings
from pipeline.storage import Migration
from transforms.errors import PostPaiError

State = Literal["final", "draft", "outdated", "blocked", "waiting"]
"""Of a layer: exported; open or not signed; to be run or exported again; stopped on the way; not begun."""


@dataclass(frozen=True)
class BoardLine:
    """One layer on the board; ``counts`` is None until the review stage has run."""

    layer: str
    title: str
    state: State
    features: int | None
    counts: Counts | None
    accepted_share: float
    worst_uncertainty_m: float
    next_step: str
    evidence: str | None
    expected_wrong: float = 0.0
    progress: Progress | None = None


@dataclass(frozen=True)
class Board:
    """All layers of a migration, in the order of its settings."""

    title: str
    lines: tuple[BoardLine, ...]
    page: Path

    @property
    def total(self) -> Counts:
        """The counts of all layers that have an outcome."""
        return reduce(add, (line.counts for line in self.lines if line.counts), Counts())

    @property
    def layers_done(self) -> int:
        """How many layers are exported with nothing open."""
        return sum(line.state == "final" for line in self.lines)

    @property
    def sentence(self) -> str:
        """How it stands, in a line or two."""
        total, open_ones = self.total, self.total.open
        if not total.total:
            return "No layer has been run yet."
        begun = f"{self.layers_done} of {len(self.lines)} layers final; {thousands(total.total)} features in."
        if not open_ones:
            return f"{begun} Nothing waits for an officer."
        waiting = "1 waits" if open_ones == 1 else f"{thousands(open_ones)} wait"
        return f"{begun} {waiting} for an officer, about {self.hours_left:g} hours of work."

    @property
    def expected_wrong(self) -> float:
        """How many of the features settled without a person are expected to be wrong."""
        return sum(line.expected_wrong for line in self.lines)

    @property
    def automatic_share(self) -> float:
        """Share of all judged features that needed no person; NaN before any was judged."""
        judged = [(line.accepted_share, line.features or 0) for line in self.lines if line.counts]
        judged = [(share, count) for share, count in judged if share == share]
        total = sum(count for _, count in judged)
        return sum(share * count for share, count in judged) / total if total else float("nan")

    @property
    def hours_left(self) -> float:
        """Forecast of the officers' work that is left."""
        return round(sum(line.progress.hours_left for line in self.lines if line.progress), 1)

    @property
    def by_officer(self) -> dict[str, int]:
        """How many decisions each officer took, the busiest first."""
        total = Counter[str]()
        for line in self.lines:
            total.update(line.progress.by_officer if line.progress else {})
        return dict(total.most_common())

    @property
    def by_day(self) -> dict[str, int]:
        """How many decisions were taken on each day (ISO), oldest first."""
        total = Counter[str]()
        for line in self.lines:
            for day, officers in (line.progress.by_day if line.progress else {}).items():
                total[day] += sum(officers.values())
        return dict(sorted(total.items()))

    def text(self) -> str:
        """The board as a table of plain text."""
        heads = ("layer", "in", *STATUSES, "accepted", "state")
        rows = [heads, *(_cells(line) for line in self.lines), _total_cells(self.total)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "".join(_aligned(row, widths) + "\n" for row in rows)

    def markdown(self, limit: int = 1000) -> str:
        """The board as a Markdown table of under ``limit`` characters, the layers most in need of a person first."""
        lines = sorted(self.lines, key=_need)
        for shown in range(len(lines), -1, -1):
            more = [f"\n… and {len(lines) - shown} more"] if shown < len(lines) else []
            table = "\n".join(["| layer | state | open |", "|---|---|---:|", *map(_markdown_row, lines[:shown]), *more])
            if len(table) < limit:
                break
        return table


def expected_wrong(migration: Migration, layer_name: str) -> float:
    """How many of a layer's features settled without a person are expected to be wrong: the sum of their chances."""
    path = migration.quality(layer_name)
    if not path.exists() or not {"wrong_chance_ratio", "verdict"} <= set(pq.read_schema(path).names):
        return 0.0
    table = pq.read_table(path, columns=["wrong_chance_ratio", "verdict"])
    settled = np.isin(np.array(table["verdict"].to_pylist(), dtype=np.str_), ("accept", "leave"))
    return float(np.nansum(table["wrong_chance_ratio"].to_numpy()[settled]))


def read_board(migration: Migration) -> Board:
    """What the files of the stages say about every layer."""
    lines = tuple(_line(migration, layer) for layer in migration.settings.layers)
    return Board(migration.settings.title, lines, migration.evidence("index"))


def write_board(migration: Migration) -> Board:
    """Write the board's page, ``exports/evidence/index.html``, and return the board."""
    board = read_board(migration)
    features = _all_features(migration, board)
    extent, left_outside = extent_of(features.after)
    page = render_page(
        "board.html",
        board=board,
        total=board.total,
        statuses=[(name, getattr(board.total, name), COLOURS[name]) for name in STATUSES],
        map=layer_map(features, extent).uri if len(features) else "",
        left_outside=left_outside,
    )
    with whole_file(board.page) as beside:
        beside.write_text(page, encoding="utf-8")
    return board


def _line(migration: Migration, layer: LayerSettings) -> BoardLine:
    stopped = _where_it_stopped(migration, layer.name)
    if stopped is not None:
        return _unfinished(migration, layer, *stopped)
    try:
        outcome = read_outcome(migration, layer.name)
        state, next_step = _state(migration, outcome)
        progress = review_progress(migration, layer.name)
    except PostPaiError as error:
        return _unfinished(migration, layer, "blocked", str(error))
    evidence = migration.evidence(layer.name)
    return BoardLine(
        layer=layer.name,
        title=outcome.title,
        state=state,
        features=len(outcome),
        counts=outcome.counts,
        accepted_share=outcome.accepted_share,
        worst_uncertainty_m=outcome.worst_uncertainty_m,
        next_step=next_step,
        evidence=evidence.name if evidence.exists() else None,
        expected_wrong=expected_wrong(migration, layer.name),
        progress=progress,
    )


def _unfinished(migration: Migration, layer: LayerSettings, state: State, next_step: str) -> BoardLine:
    staged = migration.staged(layer.name)
    features = pq.read_metadata(staged).num_rows if staged.exists() else None
    title = layer.title or layer.name.replace("_", " ").capitalize()
    return BoardLine(layer.name, title, state, features, None, float("nan"), float("nan"), next_step, None)


def _where_it_stopped(migration: Migration, layer_name: str) -> tuple[State, str] | None:
    """The state and what to do where the stages up to review have not all run on one another; None where they have."""
    if not migration.staged(layer_name).exists():
        return "waiting", "Not run yet: run this layer."
    mixed = why_mixed(migration, layer_name, "review")
    return ("blocked", f"{mixed} If it stops again, its failure or failed check says why.") if mixed else None


def _state(migration: Migration, outcome: Outcome) -> tuple[State, str]:
    layer = outcome.layer.name
    if held := why_held(migration, layer):
        return "outdated", held
    if old := why_outdated(migration, layer):
        return "outdated", old
    if not _is_exported(migration, layer):
        return "outdated", "The outcome is newer than the export: export this layer."
    if outcome.counts.open:
        open_ones = (
            "One feature waits" if outcome.counts.open == 1 else f"{thousands(outcome.counts.open)} features wait"
        )
        return "draft", f"{open_ones} for an officer: open review/{layer}.gpkg, decide, save."
    if unsigned := sign_off_state(migration, layer).sentence:
        return "draft", unsigned
    return "final", "Nothing: hand over the export."


def _is_exported(migration: Migration, layer_name: str) -> bool:
    manifest = read_manifest(manifest_path(migration, layer_name))
    if manifest is None:
        return False
    whole = all((migration.exports_dir / file["name"]).exists() for file in manifest["files"])
    return whole and bool(manifest["corrected_sha256"] == sha256(migration.corrected(layer_name)))


def _all_features(migration: Migration, board: Board) -> Features:
    """Every layer's features at their outcome, evenly thinned so that the picture stays small."""
    judged = [line for line in board.lines if line.counts]
    limit = max(1, DRAWN_FEATURES // max(1, len(judged)))
    shapes, status = [np.empty(0, dtype=object)], [np.empty(0, dtype="<U7")]
    for line in judged:
        rows = drawn_rows(line.features or 0, limit)
        shapes.append(read_outlines(migration.corrected(line.layer), rows))
        status.append(read_outcome(migration, line.layer).status[rows])
    after = np.concatenate(shapes)
    shown = ~shapely.is_missing(after)
    return Features(after[shown], after[shown], np.concatenate(status)[shown])


def _cells(line: BoardLine) -> tuple[str, ...]:
    features = "–" if line.features is None else thousands(line.features)
    numbers = _count_cells(line.counts) if line.counts else ("–",) * len(STATUSES)
    return line.layer, features, *numbers, share(line.accepted_share), line.state


def _total_cells(total: Counts) -> tuple[str, ...]:
    return "all", thousands(total.total), *_count_cells(total), "", ""


def _count_cells(counts: Counts) -> tuple[str, ...]:
    return tuple(thousands(getattr(counts, name)) for name in STATUSES)


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    first, *numbers, last = (*row,)
    middle = [cell.rjust(width) for cell, width in zip(numbers, widths[1:-1], strict=True)]
    return "  ".join([first.ljust(widths[0]), *middle, last]).rstrip()


def _need(line: BoardLine) -> tuple[int, int]:
    order: tuple[State, ...] = ("blocked", "draft", "outdated", "waiting", "final")
    return order.index(line.state), -(line.counts.open if line.counts else 0)


def _markdown_row(line: BoardLine) -> str:
    title = line.title.replace("|", "/")[:40]
    return f"| [{title}](/assets/export?view=partitions&partition={line.layer}) | {line.state} | {_open(line)} |"


def _open(line: BoardLine) -> str:
    return thousands(line.counts.open) if line.counts else "–"

"""All control of a delivery as one table, merged across files and forms, with where each row came from.

Reading only; ``control_verdicts`` judges the table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.control_input.files import ROW_REASONS, ControlRows, find_control_files, read_control_file
from pipeline.control_input.tile_names import tile_extent
from pipeline.files import sha256
from transforms.contract import Control
from transforms.errors import ControlError, SourceError


@dataclass(frozen=True)
class ControlFile:
    """One file of the delivery: what it is and how it read.

    ``problem`` is the sentence for a file that could not be read at all, else empty; ``form`` is then empty too.
    """

    name: str
    path: Path
    sha256: str
    vintage: str
    form: str
    rows: int
    usable_rows: int
    blank_lines: int
    problem: str


@dataclass(frozen=True)
class ControlTable:
    """Every row read, in the order of the files and of their lines.

    Parameters
    ----------
    files
        The files, including those that could not be read.
    file_number
        ``(n,)`` index into ``files``.
    row
        ``(n,)`` line or feature number in the file, from 1.
    places
        ``(n, 4)`` old easting, old northing, new easting, new northing [m]; NaN where no number stands.
    code, identifier
        ``(n,)`` text.
    accuracy_m
        ``(n,)`` stated radial standard error [m]; NaN where unknown.
    reason
        ``(n,)`` a key of ``control_files.ROW_REASONS``, empty for a usable row.
    """

    files: tuple[ControlFile, ...]
    file_number: NDArray[np.int32]
    row: NDArray[np.int32]
    places: NDArray[np.float64]
    code: NDArray[np.str_]
    identifier: NDArray[np.str_]
    accuracy_m: NDArray[np.float64]
    reason: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.row)

    @property
    def usable(self) -> NDArray[np.bool_]:
        """``(n,)`` whether a row can be judged at all."""
        return np.asarray(self.reason == "")

    @property
    def control(self) -> Control:
        """The usable rows as control points, in table order."""
        usable = self.usable
        places = self.places[usable]
        return Control(places[:, :2], places[:, 2:], self.code[usable], self.accuracy_m[usable])

    @property
    def file_names(self) -> NDArray[np.str_]:
        """``(n,)`` the file each row came from."""
        return np.array([file.name for file in self.files], dtype=np.str_)[self.file_number]

    @property
    def tile_extents(self) -> NDArray[np.float64]:
        """``(n, 4)`` the tile that the row's file is named after [m]; NaN where its name names none."""
        extents = [tile_extent(file.name) or (np.nan,) * 4 for file in self.files]
        return np.array(extents, dtype=np.float64).reshape(-1, 4)[self.file_number]


Deriver = Callable[[NDArray[np.float64]], tuple[ControlFile, ControlRows]]
"""Makes control from elsewhere than files, beside what the files say already."""


def read_control(paths: Iterable[Path], *, vintage: str = "", derive: Deriver | None = None) -> ControlTable:
    """Read control files of any form, merged.

    Parameters
    ----------
    paths
        Files, or folders that are searched to the bottom.
    vintage
        Date or issue of the delivery, kept with each file's hash.
    derive
        Makes more control, from elsewhere than files, given the old and new places ``(n, 4)`` of these.

    Raises
    ------
    SourceError
        If a path does not exist.
    ControlError
        If not one row of all files can be used.
    """
    found = find_control_files(paths)
    read = [_try_to_read(path) for path in found]
    files = tuple(
        _describe(path, name, rows, vintage)
        for path, name, rows in zip(found, _shortest_names(found), read, strict=True)
    )
    if derive is not None:
        file, rows = derive(_usable_places(read))
        files, read = (*files, file), [*read, rows]
    if not any(file.usable_rows for file in files):
        raise ControlError(_nothing_usable(files, read))
    return _merged(files, read)


def _usable_places(read: Sequence[ControlRows | str]) -> NDArray[np.float64]:
    places = [rows.places[rows.reason == ""] for rows in read if not isinstance(rows, str)]
    return np.concatenate([np.empty((0, 4)), *places])


def _try_to_read(path: Path) -> ControlRows | str:
    try:
        return read_control_file(path)
    except SourceError as error:
        return str(error)
    except OSError as error:
        return f"Control file {path.name} cannot be opened ({error.strerror}). Check that you may read it."


def _shortest_names(paths: Sequence[Path]) -> list[str]:
    """The names of files, with as many of their folders as it takes to tell equal names apart."""
    depth = dict.fromkeys(paths, 1)
    while repeated := _repeated([_tail(path, depth[path]) for path in paths]):
        longer = [p for p in paths if _tail(p, depth[p]) in repeated and depth[p] < len(p.parts)]
        if not longer:
            break
        depth.update({path: depth[path] + 1 for path in longer})
    return [_tail(path, depth[path]) for path in paths]


def _tail(path: Path, parts: int) -> str:
    return "/".join(path.parts[-parts:])


def _repeated(names: Sequence[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def _describe(path: Path, name: str, rows: ControlRows | str, vintage: str) -> ControlFile:
    digest = sha256(path) if path.is_file() else ""
    if isinstance(rows, str):
        return ControlFile(name, path, digest, vintage, "", 0, 0, 0, rows)
    usable = int(np.count_nonzero(rows.reason == ""))
    return ControlFile(name, path, digest, vintage, rows.form, len(rows), usable, rows.blank_lines, "")


def _nothing_usable(files: Sequence[ControlFile], read: Sequence[ControlRows | str]) -> str:
    if not files:
        return "No usable control at all: no control file was found. Name the files or their folder."
    problems = [file.problem for file in files if file.problem]
    if problems:
        return f"No usable control at all in {len(files)} file(s). The first fault: {problems[0]}"
    file, rows = next((file, rows) for file, rows in zip(files, read, strict=True) if not isinstance(rows, str))
    fault = ROW_REASONS[str(rows.reason[0])] if len(rows) else "It has a header and no rows."
    return f"No usable control at all in {len(files)} file(s). The first fault, in {file.name}: {fault}"


def _merged(files: tuple[ControlFile, ...], read: Sequence[ControlRows | str]) -> ControlTable:
    whole = [(number, rows) for number, rows in enumerate(read) if not isinstance(rows, str)]
    each = [rows for _, rows in whole]
    return ControlTable(
        files,
        np.repeat([number for number, _ in whole], [len(rows) for rows in each]).astype(np.int32),
        np.concatenate([rows.row for rows in each]),
        np.concatenate([rows.places for rows in each]),
        np.concatenate([rows.code for rows in each]),
        np.concatenate([rows.identifier for rows in each]),
        np.concatenate([rows.accuracy_m for rows in each]),
        np.concatenate([rows.reason for rows in each]),
    )

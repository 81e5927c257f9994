"""How a file is named inside a PROJ operation, wherever the council keeps it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def quoted_path(path: Path) -> str:
    """The absolute path as a PROJ parameter takes it: in quotes, because folders have spaces.

    Absolute, since PROJ would look for a bare name among its own grids first.

    Examples
    --------
    >>> quoted_path(Path("/data/two words/shift.json"))
    '"/data/two words/shift.json"'
    """
    return '"' + str(path.absolute()).replace('"', '""') + '"'


def is_within_reach(path: Path) -> bool:
    """Whether PROJ can open a file there: it cuts names at commas, or closes up behind them, even within quotes."""
    return "," not in str(path.absolute())


@contextmanager
def within_reach(path: Path) -> Iterator[Path]:
    """Give ``path``, or a passing copy of it where PROJ cannot open it in its place."""
    if is_within_reach(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copyfile(path, Path(folder) / f"shift{path.suffix}"))

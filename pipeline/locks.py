"""Who is at work on a migration: one command at a time on the whole, one stage at a time on each part.

A part is a layer, or one of the constants below. The command and the UI may work side by side: a stage waits until its
part is free. The operating system frees a lock when the process that holds it dies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.files import remove_half_written
from pipeline.storage import Migration
from transforms.errors import BusyError

SHIFT_FIELD, BOARD = ".shift_field", ".board"
"""The parts that are no layer; no layer's name begins with a dot."""

_WAIT_S = 3600.0


def migration_lock(root: Path) -> FileLock:
    """The lock that a command holds on its migration; it does not wait."""
    folder = root / "build"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / ".lock", timeout=0)


@contextmanager
def alone_with(
    migration: Migration, part: str, wait_s: float = _WAIT_S, tell: Callable[[str], None] = lambda sentence: None
) -> Iterator[None]:
    """Have a part of the migration to oneself; ``tell`` is told once if that has to be waited for.

    Raises
    ------
    BusyError
        If somebody else is still at work on it after ``wait_s`` seconds.
    """
    path = migration.lock_file(part)
    path.parent.mkdir(parents=True, exist_ok=True)
    at_work = f"A run is at work on {part.strip('.')} of {migration.root}."
    lock = FileLock(path)
    if not _is_had(lock, 0.0):
        tell(f"{at_work} Waiting until it has finished.")
        if not _is_had(lock, wait_s):
            raise BusyError(f"{at_work} Wait until it has finished, then try again.")
    try:
        yield
    finally:
        lock.release()


def _is_had(lock: FileLock, wait_s: float) -> bool:
    try:
        lock.acquire(timeout=wait_s)
    except Timeout:
        return False
    return True


def remove_leftovers(migration: Migration) -> None:
    """Remove what a killed run began to write; not while anybody is at work, whose half files would go too."""
    parts = [SHIFT_FIELD, BOARD, *(layer.name for layer in migration.settings.layers)]
    with ExitStack() as stack:
        try:
            for part in parts:
                stack.enter_context(alone_with(migration, part, wait_s=0.0))
        except BusyError:
            return
        for folder in (migration.build_dir, migration.review_dir, migration.exports_dir):
            remove_half_written(folder)

"""Where a result may be written: never onto what it was made from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from transforms.errors import ExportError


def refuse_source_as_target(target: Path, sources: Iterable[Path]) -> None:
    """Refuse to write onto a source, by whichever of its names.

    Raises
    ------
    ExportError
        If ``target`` is one of ``sources``, also through a link.
    """
    for source in sources:
        if _is_same(source, target):
            raise ExportError(
                f"{target} is the source itself, and a source is never changed. Give another file for the result."
            )


def _is_same(source: Path, target: Path) -> bool:
    if source.resolve() == target.resolve():
        return True
    return target.exists() and source.exists() and target.samefile(source)

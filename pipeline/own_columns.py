"""A layer with our columns was shifted already: it is no source."""

from __future__ import annotations

from collections.abc import Iterable

from transforms.errors import LedgerError


def refuse_own_columns(name: str, columns: Iterable[str], run: str | None = None) -> None:
    """Refuse a source that carries our columns: it is one of our exports, of this or another migration.

    Parameters
    ----------
    name
        What to call the source in the sentence.
    columns
        Its column names.
    run
        A value of its ``pai_run``, if it has one.

    Raises
    ------
    LedgerError
        If a column name begins with ``pai_``.
    """
    ours = sorted(column for column in columns if column.lower().startswith("pai_"))
    if ours:
        during = f" in run {run}" if run else ""
        raise LedgerError(
            f"{name} has the column {ours[0]}: it is an export that was shifted already{during}, and data is shifted "
            "only once. Use the original delivery as the source."
        )

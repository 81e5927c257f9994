"""What officers' files say of one thing today, when each may hold a word that the others have not seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar


class Said(Protocol):
    """A word in the log."""

    @property
    def copy(self) -> str:
        """The file it was saved in."""
        ...

    @property
    def line(self) -> int:
        """The line it stands in."""
        ...

    @property
    def seen(self) -> int:
        """The latest line that its file showed."""
        ...

    @property
    def meaning(self) -> object:
        """What two words must share to agree."""
        ...


Word = TypeVar("Word", bound=Said)


def heads(said: Sequence[Word]) -> list[Word]:
    """The words that nobody has overtaken: said anew in the same file, or answered by somebody who saw them.

    Parameters
    ----------
    said
        What counts of one thing, oldest first.
    """
    return [word for place, word in enumerate(said) if not any(_overtakes(later, word) for later in said[place + 1 :])]


def _overtakes(later: Said, word: Said) -> bool:
    return later.copy == word.copy or later.seen >= word.line


def disagreement(said: Sequence[Word]) -> tuple[Word, Word] | None:
    """The latest word and the latest of those that say otherwise, that one first; None where all agree."""
    standing = heads(said)
    against = [word for word in standing if word.meaning != standing[-1].meaning]
    return (against[-1], standing[-1]) if against else None

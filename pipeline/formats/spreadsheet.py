"""Text in files that people open in a spreadsheet: it must not be taken for a formula.

Only for the reports we make ourselves. What a council delivered goes out byte for byte, whatever it begins with.
"""

from __future__ import annotations

import re

_MAY_BE_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def as_cell(text: str | None) -> str | None:
    """``text`` as a spreadsheet shows it: with an apostrophe before what it would take for a formula.

    Examples
    --------
    >>> as_cell("=HYPERLINK(1)"), as_cell("-0030"), as_cell("kerb")
    ("'=HYPERLINK(1)", '-0030', 'kerb')
    """
    if text and _MAY_BE_FORMULA.match(text) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text

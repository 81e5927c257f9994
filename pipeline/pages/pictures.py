"""The colours of every picture, and the small pictures that fit inside one line of metadata.

Dagster shows Markdown of under 1,000 characters in place, pictures included; a longer one hides behind a link.
So these are written by hand as SVG with as few characters as possible. Maps and charts for the pages are in
``maps.py`` and ``charts.py``.
"""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass
from typing import Literal
from urllib.parse import quote

from pipeline.pages.outcome import Counts

COLOURS = {"moved": "#0072b2", "unmoved": "#767c82", "fixed": "#009e73", "open": "#d55e00"}
"""One colour per status; told apart with every common colour blindness (Okabe and Ito, 2008), 3:1 against white."""

BEFORE, AFTER, BREAK, INK, PALE = "#6b7075", "#0072b2", "#1f2328", "#1f2328", "#d7dbdf"
"""The old place, the new place, break lines, text and hairlines."""

INLINE_LIMIT = 1000
"""Characters of Markdown that Dagster shows in place."""


def inline_bar_svg(counts: Counts, *, width: int = 319, height: int = 14) -> str:
    """A stacked bar of the four statuses as a Markdown image of under 1,000 characters."""
    total, at, parts = max(counts.total, 1), 0.0, []
    for status, number in asdict(counts).items():
        length = width * number / total
        if number:
            parts.append(_rect(at, 0, max(length, 1.5), height, COLOURS[status]))
        at += length
    words = ", ".join(f"{number} {status}" for status, number in asdict(counts).items())
    return _markdown_image(words, width, height, "".join(parts))


@dataclass(frozen=True)
class Picture:
    """A picture's bytes and what they are."""

    content: bytes
    media_type: Literal["image/svg+xml", "image/png"]

    @property
    def uri(self) -> str:
        """The picture as a data URI, so that a page can carry it inside itself."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.content).decode('ascii')}"


def _rect(left: float, top: float, width: float, height: float, fill: str) -> str:
    return f"<rect x='{left:.1f}' y='{top:g}' width='{width:.1f}' height='{height:g}' fill='{fill}'/>"


def _markdown_image(words: str, width: int, height: int, body: str) -> str:
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}'>{body}</svg>"
    # Spaces too: a raw space ends a Markdown link and the code would be shown as text.
    plain = "".join(letter for letter in words if letter not in "[]()\\`")[:120]
    return f"![{plain}](data:image/svg+xml,{quote(svg, safe=chr(47) + ':=,')})"

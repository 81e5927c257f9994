"""What a page may do in the browser: show itself and run the one script that is ours, and nothing else.

The policy stands in each page (it also holds for a file that was mailed) and is sent with it by the guard.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources


@cache
def script_text() -> str:
    """The script of the evidence pages' map."""
    return (resources.files("pipeline.pages") / "templates" / "map.js").read_text(encoding="utf-8")


@cache
def page_policy() -> str:
    """The Content-Security-Policy of the pages; the script is named by its hash, so no other one runs."""
    digest = base64.b64encode(hashlib.sha256(script_text().encode()).digest()).decode("ascii")
    return (
        f"default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )

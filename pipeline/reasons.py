"""Every reason code of every stage, with its sentence: one place for the pages to look them up."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module

_WHERE = {
    "qa.triage": "REASONS",
    "qa.regime": "REASONS",
    "pipeline.review": "REVIEW_REASONS",
    "pipeline.shift": "SHIFT_REASONS",
}


@cache
def sentences() -> Mapping[str, str]:
    """Reason code -> sentence."""
    found: dict[str, str] = {}
    for module, name in _WHERE.items():
        try:
            found |= getattr(import_module(module), name, {})
        except ImportError:
            continue
    return found


def sentence(code: str) -> str:
    """What a reason code means, in plain words; the code itself, made readable, where nobody wrote a sentence.

    Examples
    --------
    >>> sentence("quite_unheard_of")
    'Quite unheard of.'
    """
    return sentences().get(code) or code.replace("_", " ").capitalize() + "."

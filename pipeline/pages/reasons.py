"""Every reason code a feature may leave with, and its sentence: one place for the pages to look them up."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.officers.merge import REVIEW_REASONS
from qa.triage import REASONS

SENTENCES: Mapping[str, str] = REASONS | REVIEW_REASONS
"""Reason code -> sentence, of the measures and of the review."""


def sentence(code: str) -> str:
    """What a reason code means, in plain words; the code itself, made readable, where nobody wrote a sentence.

    Examples
    --------
    >>> sentence("quite_unheard_of")
    'Quite unheard of.'
    """
    return SENTENCES.get(code) or code.replace("_", " ").capitalize() + "."

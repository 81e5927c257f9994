"""The assets: each calls one stage, and turns its summary into what a person reads in the Dagster UI.

No stage logic here. A sentence that a user can act on (``PostPaiError``) becomes the failure's description and is
never retried; an ``OSError`` on the delivery's network drive may pass and is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import dagster as dg

from pipeline import checks
from pipeline.board import write_board
from pipeline.catalogue import LAYERS, OWNERS, MigrationFolder
from pipeline.control import check_control
from pipeline.export import export_layer, export_shift
from pipeline.fit import fit_field
from pipeline.metadata import board_view, control_view, export_view, fit_view, quality_view, review_view, shift_view
from pipeline.metadata import source_view
from pipeline.quality import judge_layer
from pipeline.review import review_layer
from pipeline.shift import shift_layer
from pipeline.sources import stage_layer
from transforms.errors import PostPaiError

_DRIVE_MAY_COME_BACK = dg.RetryPolicy(max_retries=2, delay=5)


@contextmanager
def _plain_failure() -> Iterator[None]:
    try:
        yield
    except PostPaiError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None

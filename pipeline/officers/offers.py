"""Which features are shown to officers, and how: the open ones, and those they have answered in the present file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pipeline.officers.answers import Answers
from pipeline.officers.decisions import Standing
from pipeline.officers.layer_rows import LayerRows
from pipeline.officers.merge import Outcome
from pipeline.officers.package import NO_ROW, Offer, finite, token
from pipeline.officers.saved_review import SavedRow
from pipeline.pages.reasons import sentence
from qa.doubt import DOUBTS

STRAY = "This was not offered for review, so it decides nothing. Draw it in the source layer, then delete it here."


def offer_features(
    rows: LayerRows, outcomes: Sequence[Outcome], stand: Standing, answers: Answers | None
) -> list[Offer]:
    """The open features in order of risk, then those answered in the present file, then what somebody drew there.

    The answered ones stay where the officer has them on the screen, and can be answered differently.
    """
    numbers = answers.fids if answers else {}
    answered = answers.answered if answers else {}
    open_rows = _open_by_risk(rows, outcomes)
    sources, proposals = rows.source_hashes(open_rows), rows.proposal_hashes(open_rows)
    offers = [
        replace(
            _offer(row, rows, outcomes[row], numbers),
            token=token(row, sources[row], proposals[row], stand.latest_line(row)),
        )
        for row in open_rows
    ]
    offers = [_with_draft(offer, stand, answers.drafts if answers else {}) for offer in offers]
    for row in sorted(answered):
        if row in stand.holding and outcomes[row].status != "open":
            offers.append(_with_answer(_offer(row, rows, outcomes[row], numbers), answered[row]))
    return offers + [_stray(saved_row) for saved_row in (answers.strays if answers else [])]


def _open_by_risk(rows: LayerRows, outcomes: Sequence[Outcome]) -> list[int]:
    risk = np.nan_to_num(rows.numbers("quality", "risk"), nan=np.inf)
    open_rows = [row for row, outcome in enumerate(outcomes) if outcome.status == "open"]
    return sorted(open_rows, key=lambda row: (-risk[row], row))


def _offer(row: int, rows: LayerRows, outcome: Outcome, numbers: Mapping[int, int]) -> Offer:
    return Offer(
        row=row,
        reference=rows.reference(row),
        reasons=" ".join([*_suspicion(row, rows), *(sentence(code) for code in outcome.reasons)]),
        remark="",
        shift_m=finite(rows.shifted["shift_m"][row].as_py()),
        uncertainty_m=finite(rows.shifted["uncertainty_m"][row].as_py()),
        risk=finite(rows.quality["risk"][row].as_py()),
        before=rows.before(row),
        proposal=rows.proposal(row),
        token="",
        fid=numbers.get(row),
        codes=tuple(outcome.reasons),
    )


def _suspicion(row: int, rows: LayerRows) -> list[str]:
    """What to suspect first, as a sentence; nothing where the triage had no doubt."""
    doubt = rows.quality["doubt"][row].as_py()
    return [DOUBTS[doubt]] if doubt else []


def _stray(saved: SavedRow) -> Offer:
    drawn = Offer(NO_ROW, saved.reference, "", STRAY, None, None, None, None, saved.geometry, "", saved.fid)
    return replace(_with_answer(drawn, saved), token="")


def _with_draft(offer: Offer, stand: Standing, drafts: Mapping[int, SavedRow]) -> Offer:
    draft, refused, pair = drafts.get(offer.row), stand.refused.get(offer.row), stand.disagreeing.get(offer.row)
    remark = refused.refused if refused else ""
    if pair:
        remark = f"{pair[0].told()}; {pair[1].told()}. Decide which holds. {remark}".strip()
    if draft is None:
        return replace(offer, remark=remark)
    return replace(offer, remark=remark, note=draft.note, officer=draft.officer, why=draft.why)


def _with_answer(offer: Offer, saved: SavedRow) -> Offer:
    return replace(
        offer,
        proposal=saved.geometry,
        token=saved.token,
        decision=saved.decision,
        note=saved.note,
        officer=saved.officer,
        why=saved.why,
        decided_at=saved.decided_at,
        codes=saved.codes,
        drawn=saved.drawn,
    )

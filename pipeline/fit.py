"""The stage ``fit``: from control that passed its check to the fitted shift, chosen and calibrated by hold-out."""

from __future__ import annotations

import csv
from collections.abc import Callable, Container, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.breaks_file import read_breaks
from pipeline.control_input.break_lines import known_breaks
from pipeline.control_input.table import read_control
from pipeline.control_input.verdicts import judge_control_table
from pipeline.field_file import write_field
from pipeline.files import sha256, whole_file
from pipeline.fitted import Fitted, control_sha256
from pipeline.made_from import noted
from pipeline.storage import Migration
from pipeline.targets import refuse_source_as_target
from qa.accuracy import FOLDS, FittedField, HeldOut, Score, blocks, compare, hold_out
from qa.calibration import AT_RIM, Calibration, Rim, cross_calibrated_m
from qa.distortion import folds
from qa.methods import OWN_COVARIANCE, STIFF, SmoothFit, exact_methods, regions, sound, tabulated
from transforms.breaks import Breaks
from transforms.contract import Control
from transforms.covariance import Covariance, estimate_covariance
from transforms.errors import ControlError
from transforms.one_piece import CIRCULAR_95
from transforms.piecewise import Piecewise, piece_of_control
from transforms.support import count_places
from transforms.tabulated import Tabulated
from transforms.voids import Voids

LEAST_FOR_CONTEST = 8
"""Different places below which a contest by hold-out would be decided by one or two of them."""

LEAST_FOR_COVARIANCE = 5
MOST_TESTED = 5000
"""Control points tested together: of more than ``FOLDS`` times as many only these are tested."""

NEAR_BREAK_M = 200.0
RELIABILITY_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
RIM_SHARE = 0.25
"""Share of the control at the rim that is tested together; more would leave the rim without control."""


@dataclass(frozen=True)
class FitSummary:
    """What the fit stage found, in numbers."""

    method: str
    control_count: int
    pieces: int
    holdout_rms_m: float
    within_95_share: dict[str, float]
    calibration: dict[str, float]
    table_tolerance_m: float
    scores: tuple[Score, ...]
    folds: int
    sentence: str
    holdout_p95_m: float = float("nan")
    reliability: tuple[tuple[float, float], ...] = ()


def fit_field(migration: Migration) -> FitSummary:
    """Fit the shift to the control of a migration whose verdict is ``used``, and write it with its hold-out table.

    A field that folds the map is not written, and an earlier one is removed: nothing may be moved with it.

    Raises
    ------
    ControlError
        If the control is not checked, or cannot support the method asked for.
    """
    _refuse_unchecked(migration)
    control = _control_of(_used(pq.read_table(migration.control_table)))
    breaks = read_breaks(migration.control_breaks)
    fitted, fold_count = fit_without_folds(control, method=migration.settings.fit.method, breaks=breaks)
    if fold_count:
        migration.field_file.unlink(missing_ok=True)  # so that no later run moves anything with a folded field
    else:
        write_field(migration.field_file, fitted)
    _write_scores(migration.holdout_report, fitted.scores)
    return summarise(fitted, fold_count)


def _refuse_unchecked(migration: Migration) -> None:
    table, breaks = migration.control_table, migration.control_breaks
    if not (table.is_file() and breaks.is_file() and noted(table).get("breaks") == sha256(breaks)):
        raise ControlError(
            f"The control of {migration.root} is not checked, or the check was cut off. Run post-pai run, in the UI "
            "fit_shift."
        )


def fit_files(
    files: Sequence[Path],
    out: Path,
    *,
    method: str = "auto",
    breaks: Path | None = None,
    length_warn_m: float = 6.5,
    length_reject_m: float = 10.0,
) -> str:
    """Check control files, fit the shift to what passes, write it, and say so in one line.

    Raises
    ------
    SourceError
        If a file cannot be found or read.
    ControlError
        If the control cannot support the method.
    """
    read = read_control(files)
    refuse_source_as_target(out, [file.path for file in read.files])
    given = known_breaks(breaks, read.control) if breaks else None
    judged = judge_control_table(read, length_warn_m=length_warn_m, length_reject_m=length_reject_m, breaks=given)
    fitted, _ = fit_without_folds(_control_of(_used(judged.verdicts)), method=method, breaks=judged.breaks)
    write_field(out, fitted)
    return fitted.sentence


def fit_without_folds(control: Control, *, method: str, breaks: Breaks) -> tuple[Fitted, int]:
    """Fit as ``fit_control`` does; where the choice of ``auto`` folds the map, the next best that does not.

    Returns the fitted shift and at how many control points it folds: 0 unless a method was named.
    """
    passed_over: set[str] = set()
    while True:
        fitted = fit_control(control, method=method, breaks=breaks, passed_over=passed_over)
        fold_count = len(folds(fitted.field, control.before))
        if not fold_count or method != "auto" or fitted.method == "identity":
            return fitted, fold_count
        passed_over.add(fitted.method)


def fit_control(
    control: Control,
    *,
    breaks: Breaks,
    method: str = "auto",
    seed: int = 0,
    passed_over: Container[str] = (),
) -> Fitted:
    """Fit the shift field to checked control.

    Parameters
    ----------
    control
        Control points that passed their check.
    breaks
        Those by which it was judged: known, or found in it.
    method
        A name of ``qa.methods.exact_methods``, or ``auto``: chosen by spatially blocked hold-out.
    seed
        Draws regions and folds.
    passed_over
        Methods that ``auto`` must not choose.

    Raises
    ------
    ControlError
        If there is too little control for the method.
    """
    _refuse_little(control, method)
    number = piece_of_control(control, breaks)
    pieces = [control.take(number == k) for k in np.unique(number)]
    covariance = _covariance(pieces, seed)
    methods = exact_methods(covariance, len(control) <= OWN_COVARIANCE)
    in_contest = {name: fit for name, fit in methods.items() if name not in passed_over}
    contest = compare(in_contest, regions(pieces, seed), STIFF, seed)
    chosen = contest.winner if method == "auto" else method
    smooth = sound(methods[chosen], covariance)
    rim, voids = Rim.of(control.before), Voids.of(control.before)
    held_out, tested = _held_out(control, breaks, smooth, rim, seed)
    calibration = Calibration.of(held_out, tested.before, rim)
    fields = _fields(control, breaks, partial(_stated, smooth, calibration, voids))
    return Fitted(
        pieces=fields,
        breaks=breaks,
        method=chosen,
        control_sha256=control_sha256(control),
        control_count=len(control),
        scores=contest.scores,
        calibration=calibration.factors,
        within_95_share=_within_95(held_out, tested, breaks, rim),
        holdout_rms_m=held_out.rms_m(),
        holdout=_told_by_hold_out(held_out, tested, rim),
        covariance=_described(covariance) if covariance and chosen == "collocation" else {},
        settings={"method": method, "seed": seed},
        version=_version(),
    )


def summarise(fitted: Fitted, fold_count: int) -> FitSummary:
    """The numbers of a fitted shift, and at how many control points it folds the map."""
    return FitSummary(
        method=fitted.method,
        control_count=fitted.control_count,
        pieces=fitted.breaks.count,
        holdout_rms_m=fitted.holdout_rms_m,
        holdout_p95_m=float(fitted.holdout.get("p95_m", float("nan"))),
        reliability=tuple((stated, found) for stated, found in fitted.holdout.get("reliability", ())),
        within_95_share=fitted.within_95_share,
        calibration=fitted.calibration,
        table_tolerance_m=fitted.tolerance_m,
        scores=fitted.scores,
        folds=fold_count,
        sentence=fitted.sentence,
    )


def _used(table: pa.Table) -> pa.Table:
    counted = pc.invert(pc.match_substring(table["reasons"], "repeated"))  # the first of the same link speaks for all
    return table.filter(pc.and_(pc.equal(table["verdict"], "used"), counted))


def _control_of(used: pa.Table) -> Control:
    columns = ("old_easting", "old_northing", "new_easting", "new_northing")
    places = np.column_stack([used[name].to_numpy().astype(float) for name in columns])
    code = np.array(used["code"].to_pylist(), dtype=np.str_)
    accuracy = used["accuracy_m"].to_numpy().astype(float) if "accuracy_m" in used.column_names else np.empty(0)
    return Control(places[:, :2], places[:, 2:], code, accuracy)


def _refuse_little(control: Control, method: str) -> None:
    places = count_places(control.before)
    if places == 0:
        raise ControlError("No control point passed the check: there is nothing to fit. See post-pai check-control.")
    if method == "auto" and places < LEAST_FOR_CONTEST:
        raise ControlError(
            f"Choosing a method by hold-out needs control at {LEAST_FOR_CONTEST} or more different places; "
            f"{places} passed the check. Add control, or name a method."
        )


def _covariance(pieces: Sequence[Control], seed: int) -> Covariance | None:
    enough = [piece for piece in pieces if count_places(piece.before) >= LEAST_FOR_COVARIANCE]
    return estimate_covariance(enough, seed) if enough else None


def _pieced(control: Control, breaks: Breaks, smooth: SmoothFit) -> FittedField:
    return smooth(control) if breaks.count == 1 else Piecewise.fit(control, breaks, smooth)


def _fields(control: Control, breaks: Breaks, table_of: Callable[[Control], Tabulated]) -> tuple[Tabulated | None, ...]:
    if breaks.count == 1:
        return (table_of(control),)
    return Piecewise.fit(control, breaks, table_of).pieces


def _stated(smooth: SmoothFit, calibration: Calibration, voids: Voids, piece: Control) -> Tabulated:
    return tabulated(smooth(piece)).restated(calibration.factor_at, calibration.noise, voids)


def _held_out(control: Control, breaks: Breaks, smooth: SmoothFit, rim: Rim, seed: int) -> tuple[HeldOut, Control]:
    """The chosen method's predictions of control it has not seen, and that control: all, or of very much a part.

    Of the rim, which is a small share of a large borough, a larger part is tested.
    """
    block, fold = blocks(control.before, seed)
    if len(control) > FOLDS * MOST_TESTED:
        rank = np.random.default_rng(seed).permutation(block.max() + 1)[block] / (block.max() + 1)
        share = MOST_TESTED / len(control)
        tested = rank < np.where(rim.weight(control.before) > 0.0, max(share, RIM_SHARE), share)
        fold = np.where(tested, 0, -1)
    held_out = hold_out(lambda kept: _pieced(kept, breaks, smooth), control, block, fold)
    return held_out, control.take(np.flatnonzero(fold >= 0))


def _within_95(held_out: HeldOut, tested: Control, breaks: Breaks, rim: Rim) -> dict[str, float]:
    """Share of held-out control within the calibrated 95 % radius: overall and where it is hardest to be right."""
    within = held_out.error_m <= CIRCULAR_95 * cross_calibrated_m(held_out, tested.before, rim)
    middle = float(np.median(held_out.distance_m))
    classes: dict[str, NDArray[np.bool_]] = {
        "overall": np.ones(len(tested), dtype=bool),
        "dense": held_out.distance_m <= middle,
        "sparse": held_out.distance_m > middle,
        "edge": rim.weight(tested.before) >= AT_RIM,
        "near_breaks": breaks.distance_m(tested.before) <= NEAR_BREAK_M,
    }
    shares = {name: within[rows & held_out.covered] for name, rows in classes.items()}
    return {name: float(share.mean()) if len(share) else float("nan") for name, share in shares.items()}


def _told_by_hold_out(held_out: HeldOut, tested: Control, rim: Rim) -> dict[str, object]:
    """How large the errors are, and whether any stated share holds as many as it says: of a circular normal error
    the radius that holds a share p is the radial standard error times sqrt(-ln(1 - p)).
    """
    stated_m = cross_calibrated_m(held_out, tested.before, rim)
    known = held_out.covered & np.isfinite(stated_m)
    if not known.any():
        return {}
    error_m, stated_m = held_out.error_m[known], stated_m[known]
    pairs = [(p, float((error_m <= stated_m * np.sqrt(-np.log(1 - p))).mean())) for p in RELIABILITY_SHARES]
    return {"p95_m": float(np.quantile(error_m, 0.95)), "reliability": pairs}


def _described(covariance: Covariance) -> dict[str, object]:
    return {
        "length_m": float(covariance.length_m),
        "smoothness": covariance.smoothness,
        "variance_m2": covariance.variance_m2.tolist(),
        "noise_ratio": float(covariance.noise_ratio),
        "noise_m": covariance.noise_m,
        "noise_of_class": covariance.noise_of_class,
    }


def _write_scores(path: Path, scores: Sequence[Score]) -> None:
    with whole_file(path) as beside, beside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(asdict(scores[0])))
        writer.writeheader()
        writer.writerows(asdict(score) for score in scores)


def _version() -> str:
    try:
        return version("post-pai")
    except PackageNotFoundError:
        return "0"

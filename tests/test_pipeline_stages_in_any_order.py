"""Stages run alone, in any order, deliveries and fits in between: what leaves is of one delivery and one fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely

from pipeline.control import check_control
from pipeline.export import export_layer
from pipeline.fit import fit_field
from pipeline.quality import judge_layer
from pipeline.reattach import reattach_layer
from pipeline.review import review_layer
from pipeline.shift import shift_layer
from pipeline.sources import stage_layer
from pipeline.storage import Migration
from transforms.errors import PostPaiError

SETTINGS = """\
title: Test
control: {files: [sources/control.csv]}
fit: {method: affine}
base_maps: {new_map_loaded_on: 2005-06-01}
limits: {acceptable_wrong_ratio: 0.5}
layers:
  - {name: plots, file: sources/plots.gpkg, id_column: ref, captured_column: drawn, method_column: method}
"""
LAYER = "plots"
SHIFTS_M = np.array([(2.0, 1.0), (-3.0, 2.0)])
PLOTS = [shapely.box(400_000 + 40 * k, 160_000, 400_020 + 40 * k, 160_015 + k) for k in range(24)]


class Council:
    """Who delivers, surveys and runs stages, and compares what leaves with what was delivered."""

    def __init__(self, root: Path, seed: int) -> None:
        (root / "sources").mkdir(parents=True)
        (root / "migration.yaml").write_text(SETTINGS, encoding="utf-8")
        self.migration, self.random = Migration.open(root), np.random.default_rng(seed)
        self.refused = self.exported = 0
        self.deliver()
        self.survey()

    def deliver(self) -> None:
        """Twenty of the plots, in any order."""
        chosen = self.random.permutation(len(PLOTS))[:20]
        columns = [[f"P{k}" for k in chosen], ["1999-01-01"] * 20, ["traced"] * 20]
        pyogrio.raw.write(
            self.migration.source(Path("sources/plots.gpkg")),
            shapely.to_wkb([PLOTS[k] for k in chosen]),
            [np.array(column, dtype=object) for column in columns],
            ["ref", "drawn", "method"],
            geometry_type="Polygon",
            crs="EPSG:27700",
            driver="GPKG",
        )

    def survey(self) -> None:
        """Control that shows one of the two shifts."""
        old = np.random.default_rng(0).uniform((399_500, 159_500), (401_500, 160_500), (60, 2))
        rows = np.column_stack([old, old + SHIFTS_M[self.random.integers(2)]])
        header = "old_easting,old_northing,new_easting,new_northing"
        np.savetxt(self.migration.source(Path("sources/control.csv")), rows, "%.3f", ",", header=header, comments="")

    def play(self, work: Callable[[], object]) -> None:
        try:
            work()
        except PostPaiError:
            self.refused += 1

    def export(self) -> None:
        export_layer(self.migration, LAYER, "run")
        self.exported += 1
        self.require_one_delivery_and_one_fit()

    def require_one_delivery_and_one_fit(self) -> None:
        (file,) = self.migration.exports_dir.glob("plots*.gpkg")
        info = pyogrio.raw.read(file, columns=["ref", "pai_status"])
        moves = np.array(
            [
                np.subtract(shape.bounds[:2], PLOTS[int(ref[1:])].bounds[:2])
                for shape, ref in zip(shapely.from_wkb(info[2]), info[3][0], strict=True)
            ]
        )
        used = [np.isclose(moves, shift, atol=0.1).all(axis=1) for shift in SHIFTS_M]
        is_moved = info[3][1] == "moved"
        assert is_moved.any() and any((one == is_moved).all() for one in used), moves
        assert (moves[~is_moved] == 0.0).all()


@pytest.mark.parametrize("seed", range(3))
def test_what_leaves_is_of_one_delivery_and_one_fit(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.export.write_evidence", lambda migration, layer: migration.evidence(layer))
    council = Council(tmp_path, seed)
    migration = council.migration
    of_shift: list[Callable[[], object]] = [lambda: check_control(migration), lambda: fit_field(migration)]
    of_layer: list[Callable[[], object]] = [
        lambda: stage_layer(migration, LAYER),
        lambda: shift_layer(migration, LAYER),
        lambda: reattach_layer(migration, LAYER),
        lambda: judge_layer(migration, LAYER),
        lambda: review_layer(migration, LAYER, "run"),
        council.export,
    ]
    for work in (*of_shift, *of_layer):
        work()
    for _ in range(50):
        match council.random.integers(10):
            case 0:
                council.survey()
                for work in of_shift:
                    work()
            case 1 | 2:
                council.deliver()
            case 3:  # a run that is cut off, or comes to its end
                for work in of_layer[: council.random.integers(1, len(of_layer) + 1)]:
                    council.play(work)
            case 4 | 5:  # an officer saves
                for work in of_layer[-2:]:
                    council.play(work)
            case _:
                council.play(of_layer[council.random.integers(len(of_layer))])
    assert council.exported > 3 and council.refused > 3

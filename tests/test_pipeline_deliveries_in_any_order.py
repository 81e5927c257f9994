"""Decisions, exports, signatures and rollbacks in any order, some of them killed: what left must stay accounted for."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pyogrio.raw
import pytest
from review_migration import LAYER, execute, make_migration, moved, save, write_stages
from test_pipeline_sign_off import SQUARES, exported_names, statutory

from pipeline import export
from pipeline.delivery.manifest import manifest_path, read_manifest
from pipeline.delivery.states import LATEST, ORIGINAL, why_held, why_unfinished
from pipeline.export import export_layer
from pipeline.files import sha256, write_json
from pipeline.officers.decisions import in_force, read_decisions
from pipeline.officers.sign_off import sign_layer
from pipeline.officers.undo import undo_line
from pipeline.review import review_layer
from pipeline.rollback import put_back
from pipeline.storage import Migration
from pipeline.verify import verify_migration
from transforms.errors import PostPaiError

Content = tuple[tuple[str, ...], ...]
"""A layer as it left: its columns but for the run, and its shapes."""

TOUCHES_THE_DISK = ("replace", "unlink", "rename", "write_text", "write_bytes", "mkdir", "rmdir")


class Killed(BaseException):
    """What ends a process comes between two touches of the disk."""


class Office:
    """A statutory layer of three features, and what has left of it by the name of its state."""

    def __init__(self, migration: Migration, seed: int) -> None:
        self.migration, self.random = migration, random.Random(seed)
        self.runs, self.was_killed, self.left = 0, False, dict[str, Content]()
        self.signed: list[object] = []
        write_stages(migration, SQUARES, ["accept", "review", "review"])
        source = migration.source(Path("sources/trees.gpkg"))
        source.parent.mkdir(parents=True)
        source.write_bytes(b"as delivered")
        write_json(migration.manifest(LAYER), {"files": {source.name: sha256(source)}})
        (migration.root / "migration.yaml").write_text("title: Test\n", encoding="utf-8")
        self.run()

    def exported(self) -> Content:
        path = next(self.migration.exports_dir.glob("trees*.gpkg"))
        meta, _, shapes, columns = pyogrio.raw.read(path)
        kept = [column for name, column in zip(meta["fields"], columns, strict=True) if name != "pai_run"]
        return tuple(tuple(str(value) for value in column) for column in [*kept, shapes])

    def outcome(self) -> list[object]:
        """What a signature is about."""
        corrected = pq.read_table(self.migration.corrected(LAYER)).drop_columns("pai_run").to_pylist()
        return [*corrected, *read_decisions(self.migration.decisions_log, LAYER)]

    def hashes(self) -> dict[str, str]:
        return {path.name: sha256(path) for path in self.migration.exports_dir.glob("trees*")}

    def decide(self) -> None:
        offered = [row for (row,) in execute(self.migration, f'SELECT pai_row FROM "{LAYER}"')]
        if not offered:
            return
        row, word = self.random.choice(offered), self.random.choice(("accept", "keep", "fixed", "cannot_place"))
        drawn = {"geometry": moved(SQUARES[row], (3.0, 3.0))} if word == "fixed" else {}
        save(self.migration, row, decision=word, officer=self.random.choice(("Ann", "Cid")), **drawn)

    def run(self) -> None:
        self.runs += 1
        name, before = f"run-{self.runs:02d}", self.hashes()
        review_layer(self.migration, LAYER, name)
        is_held = bool(why_held(self.migration, LAYER))
        done = export_layer(self.migration, LAYER, name)
        if is_held:
            assert done.state == "put back" and self.hashes() == before
            return
        manifest = read_manifest(manifest_path(self.migration, LAYER)) or {}
        signing, is_final = manifest["sign_off"], done.state == "final"
        decided = {each.officer for each in in_force(read_decisions(self.migration.decisions_log, LAYER))}
        assert is_final == (not done.counts.open and signing["is_valid"])
        assert not is_final or (signing["signed"]["officer"] not in decided and self.outcome() == self.signed)
        assert self.left.setdefault(manifest["kept_as"], self.exported()) == self.exported()

    def sign(self) -> None:
        sign_layer(self.migration, LAYER, self.random.choice(("Ann", "Bob", "Dee")))
        self.signed = self.outcome()

    def undo(self) -> None:
        if lines := [each.line for each in read_decisions(self.migration.decisions_log, LAYER)]:
            undo_line(self.migration, self.random.choice(lines), "Manager")

    def put_back(self) -> None:
        to = self.random.choice((ORIGINAL, LATEST, *self.left))
        put_back(self.migration, LAYER, to, "Bob")
        assert self.exported() == self.left.get(to, self.exported())

    def fit_again(self) -> None:
        verdicts = [self.random.choice(("accept", "review", "leave")) for _ in SQUARES]
        write_stages(self.migration, SQUARES, verdicts, shift_m=(self.random.choice((1.0, 1.5)), -2.0))

    def play(self) -> None:
        works = (self.decide, self.run, self.sign, self.put_back, self.undo, self.fit_again)
        work = self.random.choices(works, (4, 4, 2, 2, 1, 0.7))[0]
        is_killed = work in (self.run, self.put_back) and self.random.random() < 0.3
        self.attempt(work, self.random.randrange(3) if is_killed else None)
        verified = verify_migration(self.migration)
        self.was_killed &= bool(verified.faults)
        if not self.was_killed:
            assert not verified.faults
            manifest = read_manifest(manifest_path(self.migration, LAYER)) or {}
            names = {file["name"] for file in manifest["files"]} | {"trees.manifest.json"}
            assert {name for name in exported_names(self.migration) if not name.startswith(".")} == names

    def attempt(self, work: Callable[[], None], touches: int | None) -> None:
        try:
            with contextlib.nullcontext() if touches is None else killed_after(touches):
                work()
        except PostPaiError as refused:
            assert str(refused).endswith(".")
        except Killed:
            self.was_killed = True

    def come_to_rest(self) -> None:
        """The next morning: one more run, and a rollback that was cut off is done again, as ``verify`` says."""
        self.run()
        if said := why_unfinished(self.migration, LAYER):
            assert said in verify_migration(self.migration).text()
            put_back(self.migration, LAYER, LATEST, "Bob")
        for state, content in self.left.items():
            put_back(self.migration, LAYER, state, "Bob")
            assert self.exported() == content
            assert not verify_migration(self.migration).faults


@contextlib.contextmanager
def killed_after(touches: int) -> Iterator[None]:
    count = 0

    def until(touch: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object, **named: object) -> object:
            nonlocal count
            count += 1
            if count > touches:
                raise Killed
            return touch(*arguments, **named)

        return counted

    with pytest.MonkeyPatch.context() as patched:
        for name in TOUCHES_THE_DISK:
            patched.setattr(Path, name, until(getattr(Path, name)))
        yield


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_done_in_whatever_order_nothing_that_left_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(export, "write_evidence", lambda migration, layer: migration.evidence(layer))
    office = Office(statutory(make_migration(tmp_path)), seed)
    for _ in range(25):
        office.play()
    office.come_to_rest()

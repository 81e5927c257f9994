"""Officers at work in several files at once, played at random beside a model of what must stand."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest
import shapely
import shapely.affinity
from review_migration import LAYER, copy_for, make_migration, moved, outcomes, places, save_in, square, write_stages

from pipeline.fingerprint import geometry_hash, read_geometry
from pipeline.officers.decisions import read_decisions
from pipeline.officers.saved_review import SavedRow, read_review
from pipeline.officers.undo import undo_line
from pipeline.review import review_layer

SQUARES = [square(400_000.0), square(400_020.0)]
MAIN, COPIES = "trees.gpkg", ("trees_ann.gpkg", "trees_bob.gpkg")
DRAWN = {"here": (3.0, 1.0), "there": (4.0, 1.0)}
STATUS = {"accept": "moved", "keep": "unmoved", "cannot_place": "unmoved", "here": "fixed", "there": "fixed"}

Shift = tuple[float, float]
FITS: tuple[Shift, Shift] = ((1.0, -2.0), (2.0, -2.0))

Answer = tuple[str, str]
"""A word, or the name of a place in ``DRAWN``, and who said it; both empty while nothing is said.

Each file has an officer of its own: the same answer of the same officer elsewhere is taken for a copy of the first.
"""


@dataclass(frozen=True)
class Word:
    """What a file said of a feature: its line in the log, and the latest line and the shift that the file showed."""

    file: str
    text: str
    line: int
    seen: int
    shift: Shift


def drawn(tree: int, text: str) -> shapely.Geometry:
    return shapely.affinity.translate(SQUARES[tree], *DRAWN[text])


class Officers:
    """Officers answer in the file that is offered and in copies of it; a copy may be older than what others said."""

    def __init__(self, root: Path) -> None:
        self.migration = make_migration(root)
        self.shift, self.order = FITS[0], list(range(len(SQUARES)))
        self.write_stages()
        review_layer(self.migration, LAYER, "run")
        self.words: dict[int, list[Word]] = {tree: [] for tree in self.order}
        self.undone: list[tuple[int, int]] = []
        self.held = {MAIN: self.answers(MAIN)}
        self.owner: dict[int, int] = {}
        self.has_spoken: set[tuple[str, int]] = set()

    def write_stages(self) -> None:
        squares, references = [SQUARES[tree] for tree in self.order], [f"T{tree}" for tree in self.order]
        verdicts = ["review"] * len(squares)
        write_stages(self.migration, squares, verdicts, shift_m=self.shift, references=references)

    def rows(self, file: str) -> dict[int, SavedRow]:
        saved = read_review(self.migration.review_dir / file, LAYER)
        return {int(each.reference[1:]): each for each in saved.rows}

    def answers(self, file: str) -> dict[int, Answer]:
        return {tree: self.answer_in(tree, saved) for tree, saved in self.rows(file).items()}

    def answer_in(self, tree: int, saved: SavedRow) -> Answer:
        if saved.decision != "fixed":
            return (saved.decision, saved.officer) if saved.decision else ("", "")
        place = read_geometry(saved.geometry)
        return next(name for name in DRAWN if shapely.equals(place, drawn(tree, name))), saved.officer

    def answer(self, file: str, tree: int, text: str) -> None:
        shown = self.rows(file).get(tree) if file in self.held else None
        if shown is None:
            return
        offered = shapely.affinity.translate(SQUARES[tree], *self.shift_shown(tree, shown.token))
        shape = drawn(tree, text) if text in DRAWN else offered
        decision = "fixed" if text in DRAWN else text or None
        save_in(self.migration.review_dir / file, shown.pai_row, decision=decision, geometry=shape, officer=file)

    def take_a_copy(self, name: str) -> None:
        self.run()
        copy_for(self.migration, name)
        self.held[name] = self.answers(name)
        self.has_spoken -= {(name, tree) for tree in self.words}

    def fit_again(self) -> None:
        """The next run finds other proposals."""
        self.shift = FITS[1 - FITS.index(self.shift)]
        self.write_stages()
        self.run()

    def deliver_in_order(self, order: list[int]) -> None:
        """The source comes again, its features in other rows."""
        self.order = order
        self.write_stages()
        self.run()

    def undo(self, chance: random.Random) -> None:
        """The GIS manager takes back a line of the log, be it an undo."""
        self.run()
        lines = [each.line for each in read_decisions(self.migration.decisions_log, LAYER)]
        if lines:
            line = chance.choice(lines)
            undo_line(self.migration, line, "Manager")
            self.undone.append((read_decisions(self.migration.decisions_log, LAYER)[-1].line, line))
            self.run()

    def shift_shown(self, tree: int, token: str) -> Shift:
        proposals = {geometry_hash(shapely.to_wkb(moved(SQUARES[tree], shift))): shift for shift in FITS}
        return proposals[token.split(":")[2]]

    def run(self) -> None:
        said = [(file, self.rows(file), self.answers(file)) for file in self.held]
        review_layer(self.migration, LAYER, "run")
        for file, rows, answers in said:
            for tree, answer in answers.items():
                if answer != self.held[file][tree]:
                    self.hear(file, tree, answer[0], rows[tree].token)
            self.held[file] = answers
        self.held[MAIN] = self.answers(MAIN)
        for tree, words in self.words.items():
            self.check(tree, words)
        self.check_file()

    def hear(self, file: str, tree: int, text: str, token: str) -> None:
        if not text and (file, tree) not in self.has_spoken:
            return  # an empty row of a file that said nothing of it is no answer
        self.has_spoken.add((file, tree))
        logged = read_decisions(self.migration.decisions_log, LAYER)
        line = max(each.line for each in logged if (each.copy, each.reference) == (file, f"T{tree}"))
        seen = int((*token.split(":"), "0")[3])
        self.words[tree].append(Word(file, text, line, seen, self.shift_shown(tree, token)))

    def check_file(self) -> None:
        """The file that is offered shows each feature where it is, under a number that was never another's."""
        for tree, saved in self.rows(MAIN).items():
            assert self.owner.setdefault(saved.fid, tree) == tree
            assert shapely.distance(read_geometry(saved.geometry), SQUARES[tree]) < 5.0
        logged, whole = read_decisions(self.migration.decisions_log, LAYER), self.migration.review(LAYER).read_bytes()
        review_layer(self.migration, LAYER, "again")
        assert read_decisions(self.migration.decisions_log, LAYER) == logged
        assert self.migration.review(LAYER).read_bytes() == whole

    def taken_back(self) -> set[int]:
        lines: set[int] = set()
        for line, undone in reversed(self.undone):
            if line not in lines:
                lines.add(undone)
        return lines

    def check(self, tree: int, words: list[Word]) -> None:
        words = sorted((word for word in words if word.line not in self.taken_back()), key=lambda word: word.line)
        standing = [
            word
            for place, word in enumerate(words)
            if word.text and not any(later.file == word.file or later.seen >= word.line for later in words[place + 1 :])
        ]
        texts = {word.text for word in standing}
        status, reasons = outcomes(self.migration)[self.order.index(tree)]
        assert ("officers_disagree" in reasons) == (len(texts) > 1), words
        if len(texts) != 1 or (texts == {"accept"} and standing[-1].shift != self.shift):
            assert status == "open", words
        else:
            assert status == STATUS[standing[-1].text], words
        if len(texts) == 1 and texts <= set(DRAWN):
            place = places(self.migration)[self.order.index(tree)]
            assert shapely.equals(place, drawn(tree, standing[-1].text))


@pytest.mark.parametrize("seed", range(12))
def test_what_stands_is_what_nobody_has_overtaken(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    officers = Officers(tmp_path)
    for _ in range(16):
        what = chance.choices(("answer", "run", "copy", "fit", "order", "undo"), (4, 2, 1, 0.5, 0.5, 0.5))[0]
        if what == "answer":
            tree, text = chance.randrange(len(SQUARES)), chance.choice((*STATUS, ""))
            officers.answer(chance.choice((MAIN, *COPIES)), tree, text)
        elif what == "run":
            officers.run()
        elif what == "copy":
            officers.take_a_copy(chance.choice(COPIES))
        elif what == "order":
            officers.deliver_in_order(chance.sample(officers.order, len(officers.order)))
        elif what == "undo":
            officers.undo(chance)
        else:
            officers.fit_again()
    officers.run()

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
from pipeline.officers.answers import feature_of
from pipeline.officers.decisions import read_decisions
from pipeline.officers.saved_review import SavedRow, read_review
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


def drawn(row: int, text: str) -> shapely.Geometry:
    return shapely.affinity.translate(SQUARES[row], *DRAWN[text])


class Officers:
    """Officers answer in the file that is offered and in copies of it; a copy may be older than what others said."""

    def __init__(self, root: Path) -> None:
        self.migration = make_migration(root)
        self.shift = FITS[0]
        write_stages(self.migration, SQUARES, ["review"] * len(SQUARES), shift_m=self.shift)
        review_layer(self.migration, LAYER, "run")
        self.words: dict[int, list[Word]] = {row: [] for row in range(len(SQUARES))}
        self.held = {MAIN: self.answers(MAIN)}
        self.has_spoken: set[tuple[str, int]] = set()

    def rows(self, file: str) -> dict[int, SavedRow]:
        saved = read_review(self.migration.review_dir / file, LAYER)
        return {feature[0]: each for each in saved.rows if (feature := feature_of(each.token))}

    def answers(self, file: str) -> dict[int, Answer]:
        return {row: self.answer_in(row, saved) for row, saved in self.rows(file).items()}

    def answer_in(self, row: int, saved: SavedRow) -> Answer:
        if saved.decision != "fixed":
            return (saved.decision, saved.officer) if saved.decision else ("", "")
        place = read_geometry(saved.geometry)
        return next(name for name in DRAWN if shapely.equals(place, drawn(row, name))), saved.officer

    def answer(self, file: str, row: int, text: str) -> None:
        if file not in self.held or row not in self.rows(file):
            return
        offered = shapely.affinity.translate(SQUARES[row], *self.shift_shown(row, self.rows(file)[row].token))
        shape = drawn(row, text) if text in DRAWN else offered
        decision = "fixed" if text in DRAWN else text or None
        save_in(self.migration.review_dir / file, row, decision=decision, geometry=shape, officer=file)

    def take_a_copy(self, name: str) -> None:
        self.run()
        copy_for(self.migration, name)
        self.held[name] = self.answers(name)
        self.has_spoken -= {(name, row) for row in self.words}

    def fit_again(self) -> None:
        """The next run finds other proposals."""
        self.shift = FITS[1 - FITS.index(self.shift)]
        write_stages(self.migration, SQUARES, ["review"] * len(SQUARES), shift_m=self.shift)
        self.run()

    def shift_shown(self, row: int, token: str) -> Shift:
        proposals = {geometry_hash(shapely.to_wkb(moved(SQUARES[row], shift))): shift for shift in FITS}
        return proposals[token.split(":")[2]]

    def run(self) -> None:
        said = [(file, self.rows(file), self.answers(file)) for file in self.held]
        review_layer(self.migration, LAYER, "run")
        for file, rows, answers in said:
            for row, answer in answers.items():
                if answer != self.held[file][row]:
                    self.hear(file, row, answer[0], rows[row].token)
            self.held[file] = answers
        self.held[MAIN] = self.answers(MAIN)
        for row, words in self.words.items():
            self.check(row, words)

    def hear(self, file: str, row: int, text: str, token: str) -> None:
        if not text and (file, row) not in self.has_spoken:
            return  # an empty row of a file that said nothing of it is no answer
        self.has_spoken.add((file, row))
        logged = read_decisions(self.migration.decisions_log, LAYER)
        line = max(each.line for each in logged if (each.copy, each.pai_row) == (file, row))
        seen = int((*token.split(":"), "0")[3])
        self.words[row].append(Word(file, text, line, seen, self.shift_shown(row, token)))

    def check(self, row: int, words: list[Word]) -> None:
        words = sorted(words, key=lambda word: word.line)
        standing = [
            word
            for place, word in enumerate(words)
            if word.text and not any(later.file == word.file or later.seen >= word.line for later in words[place + 1 :])
        ]
        texts = {word.text for word in standing}
        status, reasons = outcomes(self.migration)[row]
        assert ("officers_disagree" in reasons) == (len(texts) > 1), words
        if len(texts) != 1 or (texts == {"accept"} and standing[-1].shift != self.shift):
            assert status == "open", words
        else:
            assert status == STATUS[standing[-1].text], words
        if len(texts) == 1 and texts <= set(DRAWN):
            assert shapely.equals(places(self.migration)[row], drawn(row, standing[-1].text))


@pytest.mark.parametrize("seed", range(12))
def test_what_stands_is_what_nobody_has_overtaken(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    officers = Officers(tmp_path)
    for _ in range(16):
        what = chance.choices(("answer", "run", "copy", "fit"), (4, 2, 1, 0.5))[0]
        if what == "answer":
            row, text = chance.randrange(len(SQUARES)), chance.choice((*STATUS, ""))
            officers.answer(chance.choice((MAIN, *COPIES)), row, text)
        elif what == "run":
            officers.run()
        elif what == "copy":
            officers.take_a_copy(chance.choice(COPIES))
        else:
            officers.fit_again()
    officers.run()

"""The documents speak of everything there is: assets, jobs, settings, verbs, limits and reasons; and of no machine."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from pipeline.choices import ExportFormat, Method, Strategy
from pipeline.cli import app
from pipeline.control_input.verdicts import CONTROL_REASONS
from pipeline.definitions import defs
from pipeline.pages.reasons import SENTENCES
from pipeline.settings import Settings
from qa.limits import documented_limits

PROJECT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "DESIGN.md", "CHANGELOG.md", "data/README.md")
MACHINE_PATH = re.compile(r"(?<![\w./])/(?:work|home|root|Users)/\w")


def settings_of(model: type[BaseModel]) -> Iterator[str]:
    """Every key of the settings, those of the models inside included."""
    for name, field in model.model_fields.items():
        yield name
        for kind in [field.annotation, *get_args(field.annotation)]:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from settings_of(kind)


def verbs() -> list[str]:
    return [command.name or command.callback.__name__ for command in app.registered_commands]


NAMES = {
    "assets": sorted(spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()),
    "jobs": [job.name for job in defs.jobs or []],
    "sensors and schedules": [part.name for part in [*(defs.sensors or []), *(defs.schedules or [])]],
    "settings": sorted(set(settings_of(Settings))),
    "methods": list(get_args(Method)),
    "strategies": list(get_args(Strategy)),
    "formats": list(get_args(ExportFormat)),
    "commands": [f"post-pai {verb}" for verb in verbs()],
    "limits": list(documented_limits()),
    "reasons of features": sorted(SENTENCES),
    "reasons of control": sorted(CONTROL_REASONS),
}


@pytest.fixture(scope="module")
def text() -> str:
    return "\n".join((PROJECT / name).read_text(encoding="utf-8") for name in ("README.md", "DESIGN.md"))


@pytest.mark.parametrize("kind", NAMES)
def test_every_name_is_spoken_of(text: str, kind: str) -> None:
    """README.md or DESIGN.md has each name as a word of its own."""
    assert NAMES[kind], "nothing to look for"
    missing = [name for name in NAMES[kind] if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)]
    assert not missing, f"{kind} that neither README.md nor DESIGN.md mentions: {', '.join(missing)}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_points_at_what_is_there(name: str) -> None:
    """Every relative link and picture leads to a file of the project."""
    document = PROJECT / name
    if not document.exists():
        pytest.skip(f"{name} is not part of this checkout")
    links = re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8"))
    gone = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert not gone, f"{name} points at files that are not there: {gone}"


def test_modules_named_in_the_documents_exist(text: str) -> None:
    """A path in back quotes that looks like a module is a module."""
    named = set(re.findall(r"`((?:transforms|qa|pipeline|tests|benchmarks)/\w+\.(?:py|yaml))`", text))
    assert not [name for name in named if not (PROJECT / name).exists()]


def test_no_file_speaks_of_one_machine() -> None:
    """Nothing that is under version control names a folder of the machine it was written on."""
    if not (PROJECT / ".git").exists():
        pytest.skip("this is no git checkout")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    named = {name for name in tracked.split("\0") if name and speaks_of_a_machine(PROJECT / name)}
    assert not named - {"tests/test_documents.py"}


def speaks_of_a_machine(file: Path) -> bool:
    try:
        return file.is_file() and MACHINE_PATH.search(file.read_text(encoding="utf-8")) is not None
    except UnicodeDecodeError:
        return False

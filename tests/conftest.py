"""Fixtures every test may use."""

from pathlib import Path

import pytest
from hypothesis import settings

import pipeline  # noqa: F401 - before any test imports numpy, whose threads would wait for those of the other worker

settings.load_profile("ci")  # the same examples in every run; `pytest --hypothesis-profile=default` looks for new ones

SHARED_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real layers and control that lies beside a development checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the shared data folder (../shared/data) is not beside this checkout")
    return SHARED_DATA


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long tests first, so that two workers end together."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)

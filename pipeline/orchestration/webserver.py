"""The Dagster web server behind the guard, started by ``ui``: ``python -m pipeline.orchestration.webserver``.

Replaces the one function of ``dagster_webserver.cli`` that makes the web application (hence the exact pin on
dagster-webserver); everything else, its options included, is Dagster's own command.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dagster_webserver.cli as dagster_cli
from dagster_webserver.app import create_app_from_workspace_process_context

from pipeline.orchestration.guard import Guard
from pipeline.orchestration.parent import end_with_parent


def create_guarded_app(*args: Any, **kwargs: Any) -> Guard:
    """Dagster's web application, guarded; the pages and host names come from the environment."""
    hosts = frozenset(os.environ["POST_PAI_UI_HOSTS"].split(","))
    pages = Path(os.environ["POST_PAI_UI_PAGES"])
    pictures = Path(os.environ["POST_PAI_UI_PICTURES"])
    return Guard(create_app_from_workspace_process_context(*args, **kwargs), pages, pictures, hosts)


def main() -> None:
    """Run Dagster's own command with the guarded application."""
    end_with_parent()
    dagster_cli.create_app_from_workspace_process_context = create_guarded_app  # type: ignore[assignment]
    dagster_cli.main()


if __name__ == "__main__":
    main()

"""The Dagster daemon, started by ``ui``: ``python -m pipeline.orchestration.daemon run``. It ends with its launcher."""

from __future__ import annotations

from dagster._daemon.cli import main as run_daemon

from pipeline.orchestration.parent import end_with_parent


def main() -> None:
    """Run Dagster's own command."""
    end_with_parent()
    run_daemon()


if __name__ == "__main__":
    main()

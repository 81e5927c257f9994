"""The launcher of the Dagster UI: one daemon, one guarded web server, both on this machine only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg

from pipeline.orchestration.instance import MIGRATION_VARIABLE, PROJECT_DIR, enter_instance, fail_abandoned_runs
from pipeline.storage import Migration
from transforms.errors import SettingsError

_STOP_SECONDS = 20


def serve(root: Path, *, port: int, allow_hosts: list[str]) -> None:
    """Run the Dagster UI for the migration in ``root`` until it is interrupted.

    Raises
    ------
    SettingsError
        If the folder is no migration, or the port is taken (by another Post-PAI, most likely).
    """
    migration = Migration.open(root)
    _refuse_taken_port(port)
    enter_instance()
    with dg.DagsterInstance.get() as instance:
        fail_abandoned_runs(instance)
    environment = _environment(migration, allow_hosts)
    workspace = ["--workspace", str(PROJECT_DIR / "workspace.yaml")]
    server = [
        sys.executable,
        "-m",
        "pipeline.orchestration.webserver",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        *workspace,
    ]
    daemon = [sys.executable, "-m", "dagster._daemon", "run", *workspace]
    print(f"Post-PAI: {migration.settings.title}\nOpen http://127.0.0.1:{port} (Ctrl+C stops it).", flush=True)
    _run_together([server, daemon], environment)


def _environment(migration: Migration, allow_hosts: list[str]) -> dict[str, str]:
    return {
        **os.environ,
        MIGRATION_VARIABLE: str(migration.root),
        "POST_PAI_UI_HOSTS": ",".join(["127.0.0.1", "localhost", *allow_hosts]),
        "POST_PAI_UI_PAGES": str(migration.evidence("any").parent),
        "PYTHONLEGACYWINDOWSSTDIO": "1",  # else the UI shows no stdout on Windows (dagster issue 24043)
    }


def _refuse_taken_port(port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise SettingsError(
                f"Port {port} is taken, most likely by a Post-PAI that runs already. Stop that one, or use --port."
            )


def _run_together(commands: list[list[str]], environment: dict[str, str]) -> None:
    """Start the commands; when one ends or we are interrupted, stop them all."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    processes = [subprocess.Popen(command, env=environment) for command in commands]
    try:
        while all(process.poll() is None for process in processes):
            time.sleep(0.5)
    except KeyboardInterrupt:
        pass
    finally:
        for process in processes:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

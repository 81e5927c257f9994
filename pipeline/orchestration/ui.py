"""The launcher of the Dagster UI: one daemon, one guarded web server, both on this machine only.

For viewers a second server may run beside it, ``read_only``: it starts nothing, changes nothing and has no daemon.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import dagster as dg
from filelock import FileLock, Timeout

from pipeline.files import write_json
from pipeline.locks import migration_lock, remove_leftovers
from pipeline.orchestration.instance import MIGRATION_VARIABLE, PROJECT_DIR, enter_instance, fail_abandoned_runs
from pipeline.storage import Migration
from transforms.errors import SettingsError

_STOP_SECONDS = 20


def serve(root: Path, *, port: int, allow_hosts: list[str], read_only: bool = False) -> None:
    """Run the Dagster UI for the migration in ``root`` until it is interrupted.

    Parameters
    ----------
    root
        The migration folder.
    port
        On 127.0.0.1.
    allow_hosts
        Further host names the UI may be asked by.
    read_only
        For viewers: no run is started, nothing is wiped or reported, and no daemon runs.

    Raises
    ------
    SettingsError
        If the folder is no migration, the port is taken, or a UI is open already for this migration or this
        Dagster instance (one of each has one daemon).
    """
    migration = Migration.open(root)
    _refuse_taken_port(port)
    enter_instance(migration.root)
    with ExitStack() as stack:
        if not read_only:
            for place in (Path(os.environ["DAGSTER_HOME"]) / "data" / "dagster", migration.build_dir):
                stack.enter_context(_sole_ui(place, migration, port))
            _clear_up(migration)
        print(f"Post-PAI: {migration.settings.title}{' (read only)' if read_only else ''}", flush=True)
        _run_together(_commands(port, read_only), _environment(migration, allow_hosts), f"http://127.0.0.1:{port}")


@contextmanager
def _sole_ui(folder: Path, migration: Migration, port: int) -> Iterator[None]:
    """Hold the lock in ``folder`` that only one launcher may hold; the operating system frees it if we die."""
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "ui.json"
    try:
        with FileLock(folder / ".ui.lock", timeout=0):
            write_json(note, {"migration": str(migration.root), "address": f"http://127.0.0.1:{port}"})
            try:
                yield
            finally:
                note.unlink(missing_ok=True)
    except Timeout:
        raise SettingsError(_already_open(note)) from None


def _already_open(note: Path) -> str:
    try:
        open_now = json.loads(note.read_text(encoding="utf-8"))
        where = f"for {open_now['migration']} at {open_now['address']}"
    except (OSError, ValueError, KeyError):
        where = "here"
    return (
        f"The Dagster UI is open already {where}. Use that one, or stop it first; to look on beside it, "
        "add --read-only and another --port."
    )


def _clear_up(migration: Migration) -> None:
    """What a crash left behind: files half written, and runs that count as started although their process is gone."""
    with suppress(Timeout), migration_lock(migration.root):  # while the command runs, it clears up itself
        remove_leftovers(migration)
    with dg.DagsterInstance.get() as instance:
        cleared = fail_abandoned_runs(instance)
    if cleared:
        print(f"{cleared} run(s) had been cut off and now count as failed; run them again.", flush=True)


def _commands(port: int, read_only: bool) -> list[list[str]]:
    workspace = ["--workspace", str(PROJECT_DIR / "workspace.yaml"), "--code-server-log-level", "warning"]
    address = ["--host", "127.0.0.1", "--port", str(port), "--dagster-log-level", "warning"]
    server = [sys.executable, "-m", "pipeline.orchestration.webserver", *address, *workspace]
    if read_only:
        return [[*server, "--read-only"]]
    daemon = [sys.executable, "-m", "pipeline.orchestration.daemon", "run", "--log-level", "warning", *workspace]
    return [server, daemon]


def _environment(migration: Migration, allow_hosts: list[str]) -> dict[str, str]:
    return {
        **os.environ,
        MIGRATION_VARIABLE: str(migration.root),
        "POST_PAI_UI_HOSTS": ",".join(["127.0.0.1", "localhost", *allow_hosts]),
        "POST_PAI_UI_PAGES": str(migration.evidence("any").parent),
        "POST_PAI_UI_PICTURES": str(migration.pictures_dir),
        "PYTHONLEGACYWINDOWSSTDIO": "1",  # else the UI shows no stdout on Windows (dagster issue 24043)
    }


def _refuse_taken_port(port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise SettingsError(
                f"Port {port} is taken, most likely by a Post-PAI that runs already. Stop that one, or use --port."
            )


def _run_together(commands: list[list[str]], environment: dict[str, str], address: str) -> None:
    """Start the commands; when one ends or we are interrupted, stop them all."""
    _interrupt_on_signals()
    processes: list[subprocess.Popen[bytes]] = []
    try:
        # In sessions of their own: Ctrl+C reaches the launcher alone, which then stops them in good order.
        processes += [
            subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True)
            for command in commands
        ]
        is_told = False
        while all(process.poll() is None for process in processes):
            if not is_told and _answers(address):
                print(f"Open {address} (Ctrl+C stops it).", flush=True)
                is_told = True
            time.sleep(0.5)
    except KeyboardInterrupt:
        pass
    finally:
        _stop(processes)


def _interrupt_on_signals() -> None:
    """Also where SIGINT was ignored by what started us, as a shell does for what it runs in the background."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/server_info", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # a second Ctrl+C must not leave them behind
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    for process in processes:
        if process.stdin:
            process.stdin.close()  # they end when their input does
    until = time.monotonic() + _STOP_SECONDS
    for process in processes:
        try:
            process.wait(max(until - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

"""The Dagster UI opens on this machine alone, shows every stage, and leaves nothing running behind it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
CHROMIUM = "/usr/bin/chromium"
STAGES = {
    "sources",
    "control",
    "fit",
    "shift",
    "quality",
    "officer_fixes",
    "review",
    "export",
    "shift_export",
    "qa_board",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="stops the UI by SIGINT"),
    pytest.mark.skipif(
        not Path(CHROMIUM).exists() and not os.environ.get("POST_PAI_REQUIRE_SYSTEM"),
        reason="Chromium is not installed; .ci/system-packages installs it",
    ),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("ui")
    for name in ("dagster.yaml", "data/demo/migration.yaml"):
        shutil.copyfile(PROJECT / name, folder / Path(name).name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "ui", str(folder), "--port", str(port)]
    with (folder / "ui.log").open("w") as log:
        process = subprocess.Popen(
            command, env={**os.environ, "DAGSTER_HOME": str(folder)}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for_assets(f"http://127.0.0.1:{port}", process, folder / "ui.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert not group_lives(process.pid), "the UI left a process behind"


def wait_for_assets(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            if assets(address) == STAGES:
                return
        except urllib.error.HTTPError as error:
            error.close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(1)
    pytest.fail(log.read_text())


def assets(address: str) -> set[str]:
    query = json.dumps({"query": "{assetNodes{assetKey{path}}}"}).encode()
    request = urllib.request.Request(f"{address}/graphql", query, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return {node["assetKey"]["path"][0] for node in json.load(answer)["data"]["assetNodes"]}


def group_lives(leader: int) -> bool:
    """Whether a process of the group still runs, a little after its leader ended."""
    for _ in range(100):
        try:
            os.killpg(leader, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


def test_a_page_of_another_site_cannot_start_anything(address: str) -> None:
    """Dagster itself would carry out a mutation sent by GET."""
    for headers in ({}, {"Origin": "http://evil.example"}):
        request = urllib.request.Request(f"{address}/graphql?query=mutation%7Bx%7D", headers=headers)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=20)
        assert refused.value.code == 403
        refused.value.close()


def test_a_browser_shows_every_stage(address: str) -> None:
    """In a real browser, as an officer opens it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.goto(f"{address}/assets/quality")
        page.get_by_text("One row of measures per feature").first.wait_for(timeout=60_000)
        page.goto(f"{address}/jobs")
        for job in ("fit_shift", "migrate_layer", "finish_layer"):
            page.get_by_text(job).locator("visible=true").first.wait_for(timeout=60_000)
        browser.close()

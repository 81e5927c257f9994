"""The Dagster UI opens on this machine alone, shows every stage, and leaves nothing running behind it."""

import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[1]
CHROMIUM = "/usr/bin/chromium"
STAGES = {
    "sources",
    "control",
    "fit",
    "shift",
    "reattach",
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


HALF_WRITTEN = "review/.tree_points.0123abcd.part.gpkg"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migration that is its own DAGSTER_HOME, in which a crash left a run that counts as started, and half a file."""
    folder = tmp_path_factory.mktemp("ui")
    (folder / "review").mkdir()
    (folder / HALF_WRITTEN).write_bytes(b"half")
    for name in ("dagster.yaml", "data/demo/migration.yaml"):
        shutil.copyfile(PROJECT / name, folder / Path(name).name)
    left_behind = (
        "import dagster as dg\n"
        "job = dg.GraphDefinition('cut_off').to_job()\n"
        "instance = dg.DagsterInstance.get()\n"
        "run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)\n"
    )
    subprocess.run([sys.executable, "-c", left_behind], env=environment(folder), cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with running_ui(folder) as (process, address):
        yield address
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.fixture(scope="module")
def viewers_address(folder: Path, address: str) -> Iterator[str]:
    with running_ui(folder, "--read-only") as (process, viewers):
        yield viewers
        process.kill()  # even so it leaves nothing behind, as ``running_ui`` sees to


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    rules = "--host-resolver-rules=MAP evil.example 127.0.0.1"
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", rules]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "DAGSTER_HOME": str(folder)}


def ui_command(folder: Path, port: int, *options: str) -> list[str]:
    return [
        sys.executable,
        "-c",
        "from pipeline.cli import main; main()",
        "ui",
        str(folder),
        f"--port={port}",
        *options,
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_ui(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A UI that answers; afterwards every process it started must be gone."""
    port = free_port()
    mark = f"POST_PAI_STARTED_BY_TEST={port}"
    log = folder / f"ui-{port}.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            ui_command(folder, port, *options),
            env=environment(folder),
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
        )
    try:
        wait_for_assets(f"http://127.0.0.1:{port}", process, log)
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        until = time.monotonic() + 40
        while (left := processes_marked(mark)) and time.monotonic() < until:
            time.sleep(0.2)
        assert not left, "the UI left a process behind"


def processes_marked(mark: str) -> set[int]:
    """The processes with ``mark`` in their environment: what a launcher started inherits it."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (place / "environ").read_bytes().split(b"\0") and not is_ended(place):
                found.add(int(place.name))
        except OSError:
            continue
    return found


def is_ended(place: Path) -> bool:
    return (place / "stat").read_text().rpartition(")")[2].split()[0] == "Z"


def wait_for_assets(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            nodes = ask(address, "{assetNodes{assetKey{path}}}")["assetNodes"]
            if {node["assetKey"]["path"][0] for node in nodes} == STAGES:
                return
        except urllib.error.HTTPError as error:
            error.close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.5)
    pytest.fail(log.read_text())


def ask(address: str, query: str, **variables: Any) -> dict[str, Any]:
    content = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{address}/graphql", content, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)["data"]


@contextmanager
def page_of_another_origin(content: str) -> Iterator[str]:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *words: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def test_a_page_of_another_site_cannot_start_anything(browser: Any, address: str) -> None:
    """In a real browser: by a picture, a form, a fetch or a socket; Dagster itself would carry all of them out."""
    mutation = "mutation{setNuxSeen}"
    attack = f"""<img src="{address}/graphql?query={mutation}"><iframe src="{address}/runs"></iframe><script>
    fetch("{address}/graphql?query={mutation}", {{mode: "no-cors"}});
    fetch("{address}/graphql", {{method: "POST", mode: "no-cors", body: '{{"query": "{mutation}"}}'}});
    fetch("{address}/report_asset/materialization/officer_fixes", {{method: "POST", mode: "no-cors"}});
    window.socket = new Promise((done) => {{
      const socket = new WebSocket("{address.replace("http", "ws")}/graphql", "graphql-ws");
      socket.onopen = () => done("open"); socket.onerror = () => done("refused");
    }});</script>"""
    answers: list[int] = []
    with page_of_another_origin(attack) as evil:
        page = browser.new_page()
        page.on("response", lambda answer: answer.url.startswith(address) and answers.append(answer.status))
        page.goto(evil)
        assert page.evaluate("window.socket") == "refused"
        page.wait_for_load_state("networkidle")
        page.close()
    assert len(answers) >= 5 and set(answers) == {403}


def test_another_name_for_this_machine_is_refused(browser: Any, address: str) -> None:
    """A name whose owner points it to 127.0.0.1 would be an origin of its own that may read everything."""
    page = browser.new_page()
    answer = page.goto(address.replace("127.0.0.1", "evil.example"))
    assert answer.status == 403 and "--allow-host" in page.content()
    page.close()


def test_a_browser_shows_every_stage(browser: Any, address: str) -> None:
    """In a real browser, as an officer opens it: its own scripts, socket and requests all pass the guard."""
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    refused: list[str] = []
    page.on("response", lambda answer: answer.status == 403 and refused.append(answer.url))
    page.goto(f"{address}/assets/quality")
    page.get_by_text("One row of measures per feature").first.wait_for(timeout=60_000)
    page.goto(f"{address}/jobs")
    for job in ("fit_shift", "migrate_layer", "finish_layer", "update_board"):
        page.get_by_text(job).locator("visible=true").first.wait_for(timeout=60_000)
    page.close()
    assert not refused


def test_what_a_crash_left_behind_is_cleared(folder: Path, address: str) -> None:
    """A run that counts as started would keep its slot for ever; half a file nobody will finish."""
    runs = ask(address, "{runsOrError{... on Runs{results{jobName status}}}}")["runsOrError"]["results"]
    assert [(run["jobName"], run["status"]) for run in runs] == [("cut_off", "FAILURE")]
    assert not (folder / HALF_WRITTEN).exists()


def test_a_second_ui_is_refused_in_a_sentence(folder: Path, address: str) -> None:
    """On the same port, and on another: one migration has one daemon."""
    port = int(address.rsplit(":", 1)[1])
    for other, words in ((port, f"Port {port} is taken"), (free_port(), f"is open already for {folder} at {address}")):
        second = subprocess.run(
            ui_command(folder, other), env=environment(folder), capture_output=True, text=True, timeout=60, check=False
        )
        assert second.returncode == 1 and second.stderr.startswith("post-pai: ") and words in second.stderr
        assert len(second.stderr.splitlines()) == 1


MUTATIONS = {
    "launch": """mutation{launchRun(executionParams:{mode:"default", selector:{repositoryLocationName:"post-pai",
        repositoryName:"__repository__", jobName:"fit_shift"}}){__typename}}""",
    "backfill": """mutation{launchPartitionBackfill(backfillParams:{assetSelection:[{path:["sources"]}],
        partitionNames:["gazetteer"]}){__typename}}""",
    "wipe": """mutation{wipeAssets(assetPartitionRanges:[{assetKey:{path:["fit"]}}]){__typename}}""",
    "report": """mutation{reportRunlessAssetEvents(eventParams:{eventType:ASSET_MATERIALIZATION,
        assetKey:{path:["officer_fixes"]}, partitionKeys:["gazetteer"]}){__typename}}""",
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_viewer_can_change_nothing(viewers_address: str, name: str) -> None:
    """No launching, no wiping, no reporting."""
    answer = ask(viewers_address, MUTATIONS[name])
    assert [value["__typename"] for value in answer.values()] == ["UnauthorizedError"]


def test_a_viewers_browser_offers_no_run(browser: Any, viewers_address: str) -> None:
    """The page is there to be read; its button is not to be pressed."""
    report = f"{viewers_address}/report_asset_materialization/officer_fixes?partition=gazetteer"
    request = urllib.request.Request(report, b"{}", {"content-type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)
    refused.value.close()
    assert refused.value.code == 401
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.goto(f"{viewers_address}/assets/control")
    page.get_by_text("leave-one-out").first.wait_for(timeout=60_000)
    assert page.get_by_role("button", name="Materialize").first.is_disabled()
    page.close()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_every_way_of_stopping_it_is_heard(name: str) -> None:
    """Also SIGINT where a shell had it ignored for what runs in the background."""
    program = (
        "import signal, os\nfrom pipeline.orchestration.ui import _interrupt_on_signals\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n_interrupt_on_signals()\n"
        f"try:\n    os.kill(os.getpid(), signal.{name})\nexcept KeyboardInterrupt:\n    print('stops')\n"
    )
    heard = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert heard.stdout == "stops\n"

"""The pages in a real browser: usable by everyone, asking nothing of the network, deaf to hostile names."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from outcomes import make_migration, plots, write_layer

from pipeline.export import export_layer
from pipeline.logbook import append_line
from pipeline.pages.board import write_board
from pipeline.pages.evidence import write_evidence
from pipeline.storage import Migration

CHROMIUM = "/usr/bin/chromium"
HOSTILE = [
    "<script>document.title='hacked'</script>",
    '"><img src=x onerror="document.title=1">',
    "javascript:alert(1)",
]
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]

pytestmark = pytest.mark.skipif(
    not Path(CHROMIUM).exists() and not os.environ.get("POST_PAI_REQUIRE_SYSTEM"),
    reason="Chromium is not installed; .ci/system-packages installs it",
)


@pytest.fixture(scope="module")
def migration(tmp_path_factory: pytest.TempPathFactory) -> Migration:
    """Two exported layers: one with hostile references and notes, one of 5,000 features."""
    migration = make_migration(tmp_path_factory.mktemp("pages") / "borough")
    write_layer(migration, "parks")
    staged = pq.read_table(migration.staged("parks"))
    names = pa.array([HOSTILE[row % 3] for row in range(len(staged))])
    pq.write_table(staged.set_column(0, "ref", names), migration.staged("parks"))
    answer = {"layer": "parks", "pai_row": 4, "decision": "moved", "officer": HOSTILE[0], "note": HOSTILE[1]}
    append_line(migration.decisions_log, answer | {"saved_at": "2026-11-24T10:12:00+00:00"})
    write_layer(migration, "trees", shapes=plots(5_000))
    write_evidence(migration, "parks")
    export_layer(migration, "trees", "r1")
    write_board(migration)
    return migration


@pytest.fixture(scope="module")
def browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser) -> Iterator:
    """A page that must not complain, ask the network for anything, or open a dialog."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text))
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    page.on("request", lambda request: request.url.startswith(("file:", "data:")) or faults.append(request.url))
    yield page
    page.close()
    assert not faults


@pytest.mark.parametrize("name", ["parks", "index"])
def test_a_page_meets_wcag_2_1_aa(page, migration, name):
    """As axe-core measures it in Chromium: contrast, names, headings, language, roles."""
    from axe_playwright_python.sync_playwright import Axe

    page.goto(migration.evidence(name).as_uri())
    found = Axe().run(page, options={"runOnly": WCAG})
    assert not found.violations_count, found.generate_report()


def test_names_from_a_delivery_stay_text(page, migration):
    """In the tables, in the map's words, in the title: nothing of it runs."""
    page.goto(migration.evidence("parks").as_uri())
    for _ in range(3):
        page.get_by_role("button", name="Next given to officers").click()
    assert page.title().startswith("Parks & greens")
    assert page.locator("main img[src='x']").count() == 0
    assert page.locator("a[href^='javascript']").count() == 0
    assert HOSTILE[0] in page.locator("#stories").inner_text()


def test_the_map_is_worked_by_keyboard_alone(page, migration):
    """Step to a feature, read about it, turn to before and back: the picture follows, and the words are announced."""
    page.goto(migration.evidence("trees").as_uri())
    canvas = page.locator("canvas")
    canvas.focus()
    whole = shot(page)
    page.keyboard.press("n")
    told = page.locator("#map-told")
    assert "row" in told.inner_text() or "open" in told.inner_text()
    assert told.get_attribute("aria-live") == "polite"
    near = shot(page)
    page.keyboard.press("b")
    before = shot(page)
    page.keyboard.press("a")
    after = shot(page)
    page.keyboard.press("0")
    assert len({whole, near, before, after}) == 4
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") != "CANVAS"


def test_a_page_of_five_thousand_features_is_quick_and_small(page, migration):
    """Under 2 MB; twenty zooms of the whole layer are done in seconds; the list can be sifted."""
    assert migration.evidence("trees").stat().st_size < 2_000_000
    page.goto(migration.evidence("trees").as_uri())
    page.locator("canvas").focus()
    started = time.monotonic()
    for _ in range(10):
        page.keyboard.press("+")
        page.keyboard.press("-")
    page.evaluate("new Promise((done) => requestAnimationFrame(done))")
    assert time.monotonic() - started < 10
    page.locator("#filter-status").select_option("fixed")
    assert page.locator("#filter-found").inner_text() == "200 of 300 shown"


def test_on_paper_the_still_map_stands_in_for_the_other(page, migration):
    """Buttons and canvas are not printed; the drawn map is."""
    page.goto(migration.evidence("parks").as_uri())
    assert not page.locator(".still").is_visible()
    page.emulate_media(media="print")
    assert page.locator(".still").is_visible()
    assert not page.locator("canvas").is_visible()


def shot(page) -> bytes:
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.locator("canvas").screenshot()

"""The evidence page: complete, self-contained, honest about what it leaves out, and safe with any data."""

import base64
import hashlib
import html
import json
import re
import time
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from outcomes import make_migration, plots, write_layer

from pipeline.delivery.place import manifest_path
from pipeline.files import write_json
from pipeline.logbook import append_line
from pipeline.pages import evidence, map_data
from pipeline.pages.evidence import limit_rows, reason_rows, summary, write_evidence
from pipeline.pages.layer_pictures import LayerPictures
from pipeline.pages.map_data import MOST_FEATURES
from pipeline.pages.outcome import Counts, read_outcome
from pipeline.pages.reasons import SENTENCES
from qa.limits import documented_limits
from transforms.errors import ExportError


@pytest.fixture
def migration(tmp_path):
    return make_migration(tmp_path / "borough")


@pytest.fixture
def without_pictures(monkeypatch):
    """Most of the time goes into pictures; tests about words do without."""
    monkeypatch.setattr(evidence, "draw_layer", lambda migration, outcome: LayerPictures())


def page_of(migration, layer="parks") -> str:
    return write_evidence(migration, layer).read_text(encoding="utf-8")


class Tags(HTMLParser):
    """Whether every element is closed in its turn."""

    VOID = frozenset({"meta", "img", "br", "line", "path", "circle", "rect", "input"})

    def __init__(self):
        super().__init__()
        self.open, self.faults = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Closes itself."""

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


@pytest.mark.usefixtures("without_pictures")
def test_the_page_says_how_the_counts_reconcile(migration):
    """in = moved + unmoved + fixed + open, in the first paragraph and in the figures below it."""
    write_layer(migration, "parks")
    page = page_of(migration)
    assert "200 features came in: 168 were moved to the corrected map, 20 rightly stay where they were, " in page
    assert "8 were placed by an officer and 4 still wait for an officer." in page
    assert "200 in: 168 moved, 20 unmoved, 8 fixed, 4 open" in page


def test_the_page_asks_nothing_of_any_other_computer(migration):
    """One script, which the page's own policy names by its hash; no address, no file beside it but its record."""
    write_layer(migration, "parks")
    page = page_of(migration)
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 1 and page.count("<script") == 2
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html.unescape(page)
    assert not re.search(r"""(src|href)=["'](?!data:|index\.html|parks\.json|#)""", page)
    assert "url(" not in page


def test_the_page_is_well_formed(migration):
    """Every element is closed in its turn, with and without features."""
    write_layer(migration, "parks")
    write_layer(migration, "trees", shapes=plots(0))
    for layer in ("parks", "trees"):
        tags = Tags()
        tags.feed(page_of(migration, layer))
        assert not tags.faults and not tags.open


@pytest.mark.usefixtures("without_pictures")
def test_names_from_a_delivery_cannot_break_the_page(migration):
    """A reference or a note is text, whatever it holds."""
    write_layer(migration, "parks")
    append_line(
        migration.decisions_log,
        {
            "layer": "parks",
            "pai_row": 4,
            "officer": "<img src=x onerror=alert(1)>",
            "decision": "keep",
            "note": "a & b",
        },
    )
    page = page_of(migration)
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page and "a &amp; b" in page


def test_names_from_a_delivery_cannot_end_the_data_of_the_map(migration):
    """The map's data stands in a script element: text in it must neither end the element nor begin markup."""
    write_layer(migration, "parks")
    staged = pq.read_table(migration.staged("parks"))
    hostile = pa.array(["</script><script>alert(1)</script>", "\u2028'\"<!--"] * (len(staged) // 2))
    pq.write_table(staged.set_column(0, "ref", hostile), migration.staged("parks"))
    page = page_of(migration)
    assert page.count("<script") == 2 and "<!--" not in page
    data = re.search(r'id="map-data">(.*?)</script>', page, re.DOTALL)[1]
    assert {feature[2] for feature in json.loads(data)["features"]} == set(hostile.to_pylist())


def test_the_map_carries_every_shape_before_and_after(migration):
    """A feature that moved as a block has its step once: 1.5 m east and 2 m south, in decimetres."""
    write_layer(migration, "parks")
    data = json.loads(re.search(r'id="map-data">(.*?)</script>', page_of(migration), re.DOTALL)[1])
    by_row = {feature[0]: feature for feature in data["features"]}
    statuses = list(data["statuses"])
    assert len(by_row) == 200 and statuses == ["moved", "unmoved", "fixed", "open"]
    assert by_row[0][1] == statuses.index("moved") and by_row[0][7] == [15, -20]
    assert by_row[3][1] == statuses.index("unmoved") and by_row[3][7] == 0
    assert by_row[7][1] == statuses.index("open") and by_row[7][7] == [15, -20]
    corner = np.array(by_row[0][6][0]).reshape(-1, 2).cumsum(axis=0) / 10 + data["extent"][:2]
    assert np.abs(np.sort(corner, axis=0) - np.sort(shapely.get_coordinates(plots(1)[0]), axis=0)).max() <= 0.1


@pytest.mark.usefixtures("without_pictures")
def test_the_record_beside_the_page_says_the_same_to_machines(migration):
    """Every reviewed feature with its reasons and decisions, the counts, and the hash of the page itself."""
    write_layer(migration, "parks")
    append_line(migration.decisions_log, {"layer": "parks", "pai_row": 4, "officer": "J. Smith", "decision": "moved"})
    page = write_evidence(migration, "parks")
    record = json.loads(page.with_suffix(".json").read_text())
    assert record["counts"] == {"in": 200, "moved": 168, "unmoved": 20, "fixed": 8, "open": 4}
    assert record["page"]["sha256"] == hashlib.sha256(page.read_bytes()).hexdigest()
    stories = {story["row"]: story for story in record["reviewed"]}
    assert len(stories) == 12 and stories[7]["why"][0] == SENTENCES["outside_control"]
    assert [done["officer"] for done in stories[4]["decisions"]] == ["J. Smith"]


@pytest.mark.usefixtures("without_pictures")
def test_every_reason_has_its_count_and_its_sentence(migration):
    """Codes alone mean nothing to the reader."""
    write_layer(migration, "parks")
    rows = {row.code: row for row in reason_rows(read_outcome(migration, "parks"))}
    assert rows["outside_control"].count == rows["area_changed"].count == 4
    page = page_of(migration)
    assert SENTENCES["outside_control"].replace("'", "&#39;") in page


def test_no_two_stages_give_one_reason_code_two_sentences():
    """A code must mean one thing wherever it is read."""
    from pipeline.officers.merge import REVIEW_REASONS
    from qa.triage import REASONS

    assert not set(REASONS) & set(REVIEW_REASONS)


@pytest.mark.usefixtures("without_pictures")
def test_every_limit_is_shown_with_its_source_and_overrides_are_told(migration):
    """An override is the officers' own doing, and the page says so."""
    settings = migration.root / "migration.yaml"
    settings.write_text(settings.read_text() + "limits: {area_change_ratio: 0.04}\n", encoding="utf-8")
    migration = type(migration).open(migration.root)
    rows = {row.name: row for row in limit_rows(migration, "parks")}
    assert set(rows) == set(documented_limits())
    assert (rows["area_change_ratio"].value, rows["area_change_ratio"].overridden) == (0.04, True)
    assert all(row.source for row in rows.values())
    write_layer(migration, "parks")
    assert page_of(migration).count("Set in migration.yaml.") == 1


def test_open_features_come_first_among_the_worst(migration):
    """The table is where an officer begins."""
    write_layer(migration, "parks")
    outcome = read_outcome(migration, "parks")
    worst = outcome.worst_rows(15)
    assert list(outcome.status[worst[:4]]) == ["open"] * 4
    assert "unmoved" not in outcome.status[worst]
    assert (np.diff(outcome.risk[worst[4:]]) <= 0).all()


@pytest.mark.usefixtures("without_pictures")
def test_decisions_are_told_with_who_when_and_why(migration):
    """Newest first; what was drawn by hand is not printed; what was refused says why."""
    write_layer(migration, "parks")
    for number, refused in ((4, ""), (9, "The polygon crosses itself.")):
        append_line(
            migration.decisions_log,
            {
                "layer": "parks", "pai_row": number, "reference": f"A/{number:04d}", "decision": "moved",
                "officer": "J. Smith", "note": "Along the new hedge",
                "saved_at": f"2026-11-2{number % 9}T10:12:00+00:00",
                "geometry": "00FF00FF", "refused": refused,
            },
        )  # fmt: skip
    append_line(migration.decisions_log, {"layer": "trees", "officer": "Someone else", "decision": "keep"})
    page = page_of(migration)
    assert page.index("A/0009</td>") < page.index("A/0004</td><td>moved")
    assert "2026-11-24 10:12" in page and "Along the new hedge" in page
    assert "Not taken: The polygon crosses itself." in page
    assert "00FF00FF" not in page and "Someone else" not in page


@pytest.mark.usefixtures("without_pictures")
def test_what_it_rests_on_is_named(migration):
    """Hashes of source, control and settings; versions; the settings that matter."""
    write_layer(migration, "parks")
    page = page_of(migration)
    assert "Source: parks.gpkg" in page and "0" * 64 in page
    assert "Control points, judged" in page
    assert "id_column: ref" in page and "GDAL 3." in page


def test_a_typical_and_a_doubtful_feature_are_shown_close_up(migration):
    """Both are marked on the map; the doubtful one is drawn where it is proposed."""
    write_layer(migration, "parks")
    page = page_of(migration)
    assert page.count('alt="Close-up') == 2
    assert "drawn is the place proposed" in page


@pytest.mark.parametrize(
    "shapes",
    [
        plots(0),
        plots(1),
        np.array([None] * 3, dtype=object),
        np.array([shapely.Point(350_000, 160_000), None, shapely.Polygon()], dtype=object),
        shapely.points([[350_000.0, 160_000.0]] * 4),
    ],
)
def test_odd_layers_get_a_page_too(migration, shapes):
    """Nothing, one feature, nulls, empties, all in one place."""
    write_layer(migration, "trees", shapes=shapes, status=["unmoved"] * len(shapes))
    assert "<h1>Trees" in page_of(migration, "trees")


def test_a_feature_left_off_the_map_is_admitted(migration):
    """A row at (0, 0) is outside the picture, and the caption says that there is one."""
    write_layer(migration, "parks", shapes=np.append(plots(199), shapely.box(0, 0, 10, 10)))
    assert "1 feature lies so far from the rest that the map leaves it out" in page_of(migration)


def test_a_long_layer_makes_a_bounded_page_in_seconds(migration):
    """Fifty thousand features: under 2 MB, a few seconds, and the caption says how many are drawn."""
    write_layer(migration, "parks", shapes=plots(50_000))
    started = time.monotonic()
    page = page_of(migration)
    assert time.monotonic() - started < 20
    assert len(page) < 2_000_000
    assert re.search(r"Drawn: [\d,]+ of 50,000 features", page)


def test_a_layer_all_of_which_waits_for_officers_has_as_full_a_map_as_any(migration, monkeypatch):
    """The list of what to step through takes no room from the shapes: it has those only that are drawn."""
    monkeypatch.setattr(map_data, "GROUND_CHARACTERS", 0)
    monkeypatch.setattr(map_data, "BUDGET_CHARACTERS", 350_000)
    points = shapely.centroid(plots(15_000))
    write_layer(migration, "parks", shapes=points, status=["open"] * len(points))
    data = json.loads(re.search(r'id="map-data">(.*?)</script>', page_of(migration), re.DOTALL)[1])
    assert len(data["features"]) > MOST_FEATURES // 2
    assert {feature[0] for feature in data["features"]} == set(data["reviewed"])


def test_a_layer_not_reviewed_yet_is_refused_in_one_sentence(migration):
    """With the cure."""
    with pytest.raises(ExportError, match="Run the stages up to review first"):
        write_evidence(migration, "trees")


def test_the_summary_reads_well_for_one_feature(migration):
    """Grammar follows the number."""
    write_layer(migration, "trees", shapes=plots(1), status=["unmoved"])
    said = summary(read_outcome(migration, "trees"))
    assert said == "1 feature came in: 1 rightly stays where it was. Nothing is open: the export is final."
    assert Counts(moved=1) + Counts(open=2) == Counts(moved=1, open=2)


@pytest.mark.usefixtures("without_pictures")
def test_a_layer_that_waits_for_its_second_signature_is_no_final_one(migration):
    """Nothing open is not enough for a statutory layer; who signed what is told with its hashes."""
    write_layer(migration, "trees", shapes=plots(1), status=["unmoved"])
    signing = {"needed": True, "signed": None, "is_valid": False, "sentence": "A second person has to sign it."}
    place = manifest_path(migration, "trees")
    manifest = {"exported_by_run": "run-1", "corrected_sha256": "", "files": [], "counts": {}, "source": {}}
    write_json(place, manifest | {"state": "draft", "sign_off": signing})
    page = page_of(migration, "trees")
    assert "A second person has to sign it." in page and '<span class="chip draft">' in page
    assert "the export is final" not in page
    signed = {"officer": "A. <b>Jones</b>", "when": "2026-11-25T10:00:00+00:00", "note": "", "seen": {"field": "ab12"}}
    signing |= {"signed": signed, "is_valid": True, "sentence": ""}
    write_json(place, manifest | {"state": "final", "sign_off": signing})
    page = page_of(migration, "trees")
    assert "Signed by <b>A. &lt;b&gt;Jones&lt;/b&gt;</b> on 2026-11-25 10:00" in page and "ab12" in page
    assert json.loads(migration.evidence("trees").with_suffix(".json").read_text())["sign_off"]["is_valid"]

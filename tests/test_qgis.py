"""What leaves the house opens in QGIS as valid layers, with the features that are in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pyogrio
import pytest
import shapely
from review_migration import LAYER, make_migration, square, write_stages
from shapely.affinity import translate

from pipeline.export import export_layer
from pipeline.review import review_layer
from pipeline.storage import Migration

QGIS_PYTHON = Path("/usr/bin/python3")
OPEN_LAYERS = """
import json, sys
from qgis.core import QgsApplication, QgsProviderRegistry, QgsVectorLayer
application = QgsApplication([], False)
application.initQgis()
found = {}
for part in QgsProviderRegistry.instance().querySublayers(sys.argv[1]):
    layer = QgsVectorLayer(part.uri(), part.name(), "ogr")
    found[part.name()] = [layer.isValid(), layer.featureCount(), layer.crs().authid()]
print(json.dumps(found))
"""
SHOW_FORM = """
import json, sys
from qgis.core import QgsApplication, QgsVectorLayer
application = QgsApplication([], False)
application.initQgis()
layer = QgsVectorLayer(f"{sys.argv[1]}|layername={sys.argv[2]}", "", "ogr")
form = {}
for at, field in enumerate(layer.fields()):
    form[field.name()] = {
        "widget": layer.editorWidgetSetup(at).type(),
        "default": layer.defaultValueDefinition(at).expression(),
        "constraint": field.constraints().constraintExpression(),
        "locked": layer.editFormConfig().readOnly(at),
    }
table = layer.attributeTableConfig()
print(json.dumps([layer.renderer().type(), table.sortExpression(), form]))
"""
DECIDE_ALL = """
import json, sys
from qgis.core import QgsApplication, QgsVectorLayer
application = QgsApplication([], False)
application.initQgis()
layer = QgsVectorLayer(f"{sys.argv[1]}|layername={sys.argv[2]}", "", "ogr")
layer.startEditing()
decision = layer.fields().indexOf("decision")
for feature in list(layer.getFeatures()):
    layer.changeAttributeValue(feature.id(), decision, "accept", feature["decision"])
layer.commitChanges()
names = ("decision", "officer", "decided_at")
print(json.dumps([[str(feature[name] or "") for name in names] for feature in layer.getFeatures()]))
"""
NUMBERS = """
import sys
from qgis.core import QgsApplication, QgsMapRendererSequentialJob, QgsMapSettings, QgsVectorLayer
from qgis.PyQt.QtCore import QSize
application = QgsApplication([], False)
application.initQgis()
layer = QgsVectorLayer(f"{sys.argv[1]}|layername={sys.argv[2]}", "", "ogr")
settings = QgsMapSettings()
settings.setLayers([layer])
settings.setOutputSize(QSize(600, 400))
extent = layer.extent()
extent.grow(10)
settings.setExtent(extent)
job = QgsMapRendererSequentialJob(settings)
job.start()
job.waitForFinished()
print(" ".join(sorted(label.labelText for label in job.takeLabelingResults().allLabels())))
"""
DRAW = """
import sys
from qgis.core import QgsApplication, QgsMapRendererSequentialJob, QgsMapSettings, QgsProviderRegistry, QgsVectorLayer
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor
application = QgsApplication([], False)
application.initQgis()
parts = QgsProviderRegistry.instance().querySublayers(sys.argv[1])
layers = [QgsVectorLayer(part.uri(), part.name(), "ogr") for part in parts if part.name() in sys.argv[2:]]
settings = QgsMapSettings()
settings.setLayers(layers)
settings.setOutputSize(QSize(300, 200))
settings.setBackgroundColor(QColor("white"))
extent = layers[0].extent()
extent.grow(10)
settings.setExtent(extent)
job = QgsMapRendererSequentialJob(settings)
job.start()
job.waitForFinished()
image = job.renderedImage()
colours = {QColor(image.pixel(x, y)).name() for x in range(300) for y in range(200)}
print(" ".join(sorted(colours)))
"""


def has_qgis() -> bool:
    if not QGIS_PYTHON.exists():
        return False
    return subprocess.run([QGIS_PYTHON, "-c", "import qgis.core"], capture_output=True, check=False).returncode == 0


def ask_qgis(script: str, folder: Path, *arguments: str) -> str:
    """The last line that a script prints in QGIS's own Python, without a screen."""
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "XDG_RUNTIME_DIR": str(folder)}
    words = [QGIS_PYTHON, "-c", script, *arguments]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()[-1]


needs_qgis = pytest.mark.skipif(
    not os.environ.get("POST_PAI_REQUIRE_SYSTEM") and not has_qgis(), reason="QGIS for Python is not installed"
)


@pytest.fixture(scope="module")
def migration(tmp_path_factory: pytest.TempPathFactory) -> Migration:
    """Two squares to look at, their shift, and control near them."""
    migration = make_migration(tmp_path_factory.mktemp("qgis"))
    before: list[shapely.Geometry | bytes | None] = [square(400_000.0), square(400_050.0), square(400_100.0)]
    write_stages(migration, before, ["review", "accept", "review"])
    review_layer(migration, LAYER, "run")
    return migration


@needs_qgis
def test_a_review_file_opens_in_qgis(migration: Migration, tmp_path: Path) -> None:
    """Every layer that QGIS lists is valid and on the National Grid; nothing else is listed."""
    layers = json.loads(ask_qgis(OPEN_LAYERS, tmp_path, str(migration.review(LAYER))))
    assert layers == {
        LAYER: [True, 2, "EPSG:27700"],
        "old_position": [True, 2, "EPSG:27700"],
        "shift_arrows": [True, 2, "EPSG:27700"],
        "control_nearby": [True, 1, "EPSG:27700"],
        "new_control": [True, 0, "EPSG:27700"],
        "breaks_nearby": [True, 0, "EPSG:27700"],
        "both_versions": [True, 0, "EPSG:27700"],
    }


@needs_qgis
def test_the_form_has_drop_downs_and_fills_in_who_and_when(migration: Migration, tmp_path: Path) -> None:
    """An officer chooses decision and reason from lists; a decision without an officer cannot be saved."""
    renderer, order, form = json.loads(ask_qgis(SHOW_FORM, tmp_path, str(migration.review(LAYER)), LAYER))
    assert (renderer, order) == ("RuleRenderer", '"risk_order"')
    assert {form[name]["widget"] for name in ("decision", "why")} == {"ValueMap"}
    assert "@user_account_name" in form["officer"]["default"] and "now()" in form["decided_at"]["default"]
    assert "officer" in form["officer"]["constraint"]
    assert {name for name in form if not form[name]["locked"]} == {"decision", "why", "note", "officer"}
    _, _, control = json.loads(ask_qgis(SHOW_FORM, tmp_path, str(migration.review(LAYER)), "control_nearby"))
    assert control["decision"]["widget"] == "ValueMap" and not control["decision"]["locked"]


@needs_qgis
def test_many_are_decided_at_once_each_with_who_and_when(migration: Migration, tmp_path: Path) -> None:
    """What the field calculator does for the selected features of the table."""
    review = tmp_path / f"{LAYER}.gpkg"
    shutil.copy(migration.review(LAYER), review)
    said = json.loads(ask_qgis(DECIDE_ALL, tmp_path, str(review), LAYER))
    assert len(said) == pyogrio.read_info(review, layer=LAYER)["features"] > 0
    assert all(decision == "accept" and officer and decided_at for decision, officer, decided_at in said)


@needs_qgis
def test_qgis_draws_the_proposal_its_ghost_and_the_control(migration: Migration, tmp_path: Path) -> None:
    """What is open, where it lay and the control near it each have their colour on the map."""
    shown = (LAYER, "old_position", "control_nearby")
    colours = ask_qgis(DRAW, tmp_path, str(migration.review(LAYER)), *shown).split()
    assert {"#d55e00", "#6e6e6e", "#009e73", "#ffffff"} <= set(colours)


@needs_qgis
@pytest.mark.parametrize("shape", ["POINT (0 0)", "LINESTRING (0 0, 20 0, 20 20)", "POLYGON ((0 0, 20 0, 20 20, 0 0))"])
def test_every_feature_has_its_number_on_the_map(tmp_path: Path, shape: str) -> None:
    """By which it is found in the table and on paper."""
    migration = make_migration(tmp_path)
    before = [translate(shapely.from_wkt(shape), 400_000.0 + 50 * row, 160_000.0) for row in range(3)]
    write_stages(migration, before, ["review"] * 3)
    review_layer(migration, LAYER, "run")
    assert ask_qgis(NUMBERS, tmp_path, str(migration.review(LAYER)), LAYER) == "1 2 3"


@needs_qgis
def test_an_export_opens_in_qgis(migration: Migration, tmp_path: Path) -> None:
    """The layer that leaves the house is one valid layer with every feature."""
    export_layer(migration, LAYER, "run")
    draft = migration.exports_dir / f"{LAYER}.draft.gpkg"
    layers = json.loads(ask_qgis(OPEN_LAYERS, tmp_path, str(draft)))
    assert layers == {LAYER: [True, 3, "EPSG:27700"]}

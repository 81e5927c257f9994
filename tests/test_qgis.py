"""What leaves the house opens in QGIS as valid layers, with the features that are in it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import shapely
from review_migration import LAYER, make_migration, square, write_stages

from pipeline.review import review_layer

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


def has_qgis() -> bool:
    if not QGIS_PYTHON.exists():
        return False
    return subprocess.run([QGIS_PYTHON, "-c", "import qgis.core"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(
    not os.environ.get("POST_PAI_REQUIRE_SYSTEM") and not has_qgis(), reason="QGIS for Python is not installed"
)
def test_a_review_file_opens_in_qgis(tmp_path: Path) -> None:
    """The features to look at, their old places and the control near them are valid layers on the National Grid."""
    migration = make_migration(tmp_path)
    before: list[shapely.Geometry | bytes | None] = [square(400_000.0), square(400_050.0), square(400_100.0)]
    write_stages(migration, before, ["review", "accept", "review"])
    review_layer(migration, LAYER, "run")
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "XDG_RUNTIME_DIR": str(tmp_path)}
    words = [QGIS_PYTHON, "-c", OPEN_LAYERS, str(migration.review(LAYER))]
    shown = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout
    layers = json.loads(shown.splitlines()[-1])
    assert layers[LAYER] == [True, 2, "EPSG:27700"]
    assert layers["old_position"] == [True, 2, "EPSG:27700"]
    assert layers["control_nearby"] == [True, 1, "EPSG:27700"]

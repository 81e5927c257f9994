"""OS MasterMap GML as a base map: what is read of it, chunks that repeat features, and what is refused."""

import gzip

import numpy as np
import pyogrio
import pytest
import shapely

from pipeline.base_maps import base_map_files, base_map_hashes, read_base_maps
from pipeline.files import write_json
from pipeline.master_map import LAYER, is_master_map, write_master_map
from pipeline.settings import Settings
from pipeline.storage import Migration
from pipeline.verify import verify_migration
from transforms.errors import SourceError

HEAD = """<?xml version='1.0' encoding='UTF-8'?>
<osgb:FeatureCollection xmlns:osgb='http://www.ordnancesurvey.co.uk/xml/namespaces/osgb'
 xmlns:gml='http://www.opengis.net/gml' fid='GDS-1-1'>
<gml:boundedBy><gml:null>unknown</gml:null></gml:boundedBy>
"""
TAIL = "</osgb:FeatureCollection>\n"
SHIFT = np.array([2.0, -1.5])


def feature(kind, toid, places, *, version=1, group="General Feature", level=50, hole=None, reasons=("New",)):
    coordinates = " ".join(f"{e:.3f},{n:.3f}" for e, n in places)
    if kind == "TopographicArea":
        ring = "<gml:LinearRing><gml:coordinates>{}</gml:coordinates></gml:LinearRing>"
        shape = f"<gml:outerBoundaryIs>{ring.format(coordinates)}</gml:outerBoundaryIs>"
        if hole:
            inner = " ".join(f"{e:.3f},{n:.3f}" for e, n in hole)
            shape += f"<gml:innerBoundaryIs>{ring.format(inner)}</gml:innerBoundaryIs>"
        shape = f"<osgb:polygon><gml:Polygon srsName='osgb:BNG'>{shape}</gml:Polygon></osgb:polygon>"
    else:
        line = (
            f"<gml:LineString srsName='osgb:BNG'><gml:coordinates>\n{coordinates}\n</gml:coordinates></gml:LineString>"
        )
        shape = f"<osgb:polyline>{line}</osgb:polyline>"
    history = "".join(
        f"<osgb:changeHistory><osgb:changeDate>2001-01-01</osgb:changeDate>"
        f"<osgb:reasonForChange>{reason}</osgb:reasonForChange></osgb:changeHistory>"
        for reason in reasons
    )
    member = "boundaryMember" if kind == "BoundaryLine" else "topographicMember"
    return (
        f"<osgb:{member}><osgb:{kind} fid='{toid}'><osgb:featureCode>10021</osgb:featureCode>"
        f"<osgb:version>{version}</osgb:version><osgb:versionDate>2004-11-01</osgb:versionDate>"
        f"<osgb:theme>Buildings</osgb:theme><osgb:accuracyOfPosition>2.5m</osgb:accuracyOfPosition>{history}"
        f"<osgb:descriptiveGroup>{group}</osgb:descriptiveGroup><osgb:physicalLevel>{level}</osgb:physicalLevel>"
        f"{shape}</osgb:{kind}></osgb:{member}>\n"
    )


def square(at, side=8.0):
    return [(at[0], at[1]), (at[0] + side, at[1]), (at[0] + side, at[1] + side), (at[0], at[1] + side), tuple(at)]


def town(shift=(0.0, 0.0), *, reasons=("New",)):
    """Forty houses of different sizes, a line before each, one bridge above them and the land between."""
    random = np.random.default_rng(3)
    written = [feature("TopographicArea", "osgb9", square((399_900, 199_900), 900), group="General Surface")]
    for number in range(40):
        at = np.array([400_000 + 40.0 * (number % 8), 200_000 + 40.0 * (number // 8)]) + random.uniform(0, 15, 2)
        side = random.uniform(6, 12)
        at = at + shift
        written.append(
            feature("TopographicArea", f"osgb10{number}", square(at, side), group="Building", reasons=reasons)
        )
        written.append(
            feature("TopographicLine", f"osgb20{number}", [at - 3, (at[0] + side + 4, at[1] - 3)], reasons=reasons)
        )
    written.append(feature("TopographicLine", "osgb30", [(400_000, 200_000), (400_300, 200_200)], level=51))
    return written


def write_chunk(path, features):
    content = (HEAD + "".join(features) + TAIL).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def read_back(path):
    meta, _, wkb, columns = pyogrio.raw.read(path, layer=LAYER)
    return shapely.from_wkb(wkb), dict(zip(meta["fields"].tolist(), columns, strict=True))


def test_places_and_attributes_come_as_delivered_and_the_last_change_counts(tmp_path):
    ring, hole = square((400_000.123, 200_000.5), 20), square((400_005, 200_005), 3)
    write_chunk(
        tmp_path / "a.gml",
        [
            feature(
                "TopographicArea", "osgb1", ring, group="Building", hole=hole, version=3, reasons=("New", "Position")
            ),
            feature("BoundaryLine", "osgb2", ring[:3]),
        ],
    )
    assert is_master_map(tmp_path / "a.gml")
    assert write_master_map([tmp_path / "a.gml"], tmp_path / "made.gpkg") == 2
    shapes, columns = read_back(tmp_path / "made.gpkg")
    assert shapely.equals(shapes[0], shapely.Polygon(ring, [hole]))
    assert shapely.equals(shapes[1], shapely.LineString(ring[:3]))
    assert columns["toid"].tolist() == ["osgb1", "osgb2"]
    assert columns["feature"].tolist() == ["TopographicArea", "BoundaryLine"]
    assert columns["reason_for_change"].tolist() == ["Position", "New"]
    assert columns["accuracy_of_position"].tolist() == ["2.5m", "2.5m"]
    assert columns["version"].tolist() == ["3", "1"]


def test_a_feature_that_chunks_repeat_counts_once_in_its_highest_version(tmp_path):
    here, there = square((400_000, 200_000)), square((400_001, 200_000))
    write_chunk(tmp_path / "1.gml.gz", [feature("TopographicArea", "osgb1", here, group="Building", version=2)])
    write_chunk(tmp_path / "2.gml", [feature("TopographicArea", "osgb1", there, group="Building", version=3)])
    write_chunk(tmp_path / "3.gml", [feature("TopographicArea", "osgb1", there, group="Building", version=3)])
    files = sorted(tmp_path.glob("*.gml*"))
    assert write_master_map(files, tmp_path / "made.gpkg") == 1
    shapes, _ = read_back(tmp_path / "made.gpkg")
    assert shapely.equals(shapes[0], shapely.Polygon(there))


def test_land_and_what_passes_above_it_are_left_out(tmp_path):
    write_chunk(tmp_path / "a.gml", town())
    assert write_master_map([tmp_path / "a.gml"], tmp_path / "made.gpkg") == 80


def migration_of(tmp_path, **editions):
    settings = {
        "title": "Test",
        "base_maps": {name: {"file": file} for name, file in editions.items()},
        "layers": [{"name": "a", "file": "sources/a.gpkg"}],
    }
    return Migration(tmp_path, Settings.model_validate(settings))


def test_two_deliveries_in_chunks_are_base_maps_and_nothing_is_written_beside_them(tmp_path):
    was, now = town(), town(SHIFT, reasons=("New", "Position"))
    write_chunk(tmp_path / "sources/old/1.gml.gz", was[:50])
    write_chunk(tmp_path / "sources/old/2.gml.gz", was[40:])
    write_chunk(tmp_path / "sources/new/1.gml", now)
    migration = migration_of(tmp_path, before="sources/old", after="sources/new")
    base = read_base_maps(migration)
    assert len(base.before.geometries) == 80
    assert len(base.matches) == 80
    assert base.matches.by_id.all()
    np.testing.assert_allclose(
        base.matches.corner_after - base.matches.corner_before, np.tile(SHIFT, (240, 1)), atol=2e-3
    )
    assert [file.name for file in base_map_files(migration)] == ["1.gml.gz", "2.gml.gz", "1.gml"]
    assert sorted(file.name for file in (tmp_path / "sources").rglob("*.*")) == ["1.gml", "1.gml.gz", "2.gml.gz"]


def test_every_chunk_of_a_base_map_is_verified_again(tmp_path):
    """A folder of chunks is no missing file, and a chunk that was changed is named."""
    write_chunk(tmp_path / "sources/old/1.gml.gz", town()[:50])
    write_chunk(tmp_path / "sources/new/1.gml", town(SHIFT))
    migration = migration_of(tmp_path, before="sources/old", after="sources/new")
    digests = " ".join(base_map_hashes(migration).values())
    file = {"name": "base maps", "form": "base_maps", "sha256": digests}
    write_json(migration.control_manifest, {"files": [file]})
    assert verify_migration(migration).faults == ()
    write_chunk(tmp_path / "sources/new/1.gml", town(2.0 * SHIFT))
    assert [fault[:60] for fault in verify_migration(migration).faults] == [
        "The base map 1.gml is not what was read: it was changed or d"
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ((HEAD + "".join(town())).encode(), r"1\.gml is damaged.*Ask for the delivery again"),
        (gzip.compress((HEAD + "".join(town()) + TAIL).encode())[:900], r"1\.gml is cut off.*Copy it"),
        (
            (HEAD.replace("<osgb:F", "<!DOCTYPE a [<!ENTITY b 'c'>]><osgb:F") + TAIL).encode(),
            r"1\.gml has a feature.*document type",
        ),
        (
            (HEAD + feature("BoundaryLine", "osgb1", [(1, 2), (3, 4)]).replace("3.000", "x") + TAIL).encode(),
            "cannot be read",
        ),
    ],
)
def test_a_damaged_chunk_is_named_with_the_cure_and_nothing_is_left(tmp_path, content, says):
    (tmp_path / "sources/old").mkdir(parents=True)
    (tmp_path / "sources/old/1.gml").write_bytes(content)
    write_chunk(tmp_path / "sources/new.gml", town(SHIFT))
    with pytest.raises(SourceError, match=says):
        read_base_maps(migration_of(tmp_path, before="sources/old", after="sources/new.gml"))
    assert not list(tmp_path.rglob("*.gpkg"))


def test_a_folder_of_something_else_is_refused_with_the_cure(tmp_path):
    write_chunk(tmp_path / "sources/new.gml", town())
    for name in "ab":
        (tmp_path / "sources/old").mkdir(exist_ok=True)
        (tmp_path / f"sources/old/{name}.txt").write_text("nothing")
    with pytest.raises(SourceError, match=r"no MasterMap GML.*base_maps in migration\.yaml"):
        read_base_maps(migration_of(tmp_path, before="sources/old", after="sources/new.gml"))

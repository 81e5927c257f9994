"""Through read, move, write and read again in every format: all that it can hold comes back, the rest is said."""

import datetime
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shift_worlds import BendingField

from pipeline import shift_file
from pipeline.formats import GEOMETRY, WRITTEN, open_batches, write_batches
from pipeline.formats.stream import Origin, geometry_field

FIELD = BendingField()
PRECISION_M = {".tab": 1e-3, ".mif": 1e-3, ".csv": 8e-4, ".gdb": 1e-4}

texts = st.one_of(st.none(), st.text(st.sampled_from("abé–ﬂ\"',; 0"), max_size=12).map(str.strip))
columns = {
    "words": (texts, pa.string()),
    # GDAL takes a number of twenty characters in a GeoJSON for a decimal, so none is as low as that.
    "uprn": (st.one_of(st.none(), st.integers(1 - 10**18, 2**62), st.integers(0, 10**12)), pa.int64()),
    "floors": (st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1)), pa.int32()),
    "height": (st.one_of(st.none(), st.floats(-1e6, 1e6).map(lambda value: round(value, 4))), pa.float64()),
    "made_on": (st.one_of(st.none(), st.dates(datetime.date(1850, 1, 1), datetime.date(2090, 1, 1))), pa.date32()),
}
SAID = {
    "words": ("empty texts become missing", "missing texts are empty", "missing values are empty"),
    "uprn": ("beyond 15 digits", "missing numbers are 0", "missing values are empty"),
    "floors": ("missing numbers are 0", "missing values are empty"),
    "height": ("missing numbers are 0", "missing values are empty"),
    "made_on": ("Dates get a time", "missing values are empty"),
}
"""What the notes say where a column of the kind does not come back as it was."""

KINDS = ("POINT", "POINT Z", "LINESTRING", "LINESTRING M", "LINESTRING ZM", "POLYGON", "POLYGON Z")


class Fitted:
    field = FIELD


@st.composite
def layers(draw):
    """One kind of geometry, one row a feature, columns in any order."""
    count = draw(st.integers(1, 5))
    kind = draw(st.sampled_from(KINDS))
    names = draw(st.permutations(list(columns)))
    values = {name: draw(st.lists(columns[name][0], min_size=count, max_size=count)) for name in names}
    corners = [draw(st.tuples(st.integers(0, 8_000), st.integers(0, 8_000))) for _ in range(count)]
    shapes = [shape(kind, 400_000 + east / 8, 300_000 + north / 8) for east, north in corners]
    return names, values, shapes


def shape(kind, east, north):
    word, _, dimensions = kind.partition(" ")
    places = [(east, north), (east + 9, north), (east + 9, north + 6.5)]
    more = [f" {7.5 + number}" * len(dimensions) for number in range(3)]
    written = [f"{e} {n}{rest}" for (e, n), rest in zip(places, more, strict=True)]
    if word == "POINT":
        return shapely.from_wkt(f"{kind} ({written[0]})")
    if word == "LINESTRING":
        return shapely.from_wkt(f"{kind} ({', '.join(written)})")
    return shapely.from_wkt(f"{kind} (({', '.join([*written, written[0]])}))")


@pytest.mark.parametrize("suffix", WRITTEN)
@settings(max_examples=10, deadline=None)
@given(layer=layers())
def test_what_a_format_holds_comes_back_and_what_it_cannot_hold_is_said(suffix, layer):
    names, values, shapes = layer
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(shift_file, "read_field", lambda _: Fitted())
        source, target = Path(folder) / "source.parquet", Path(folder) / f"target{suffix}"
        write_source(source, names, values, shapes)
        done = shift_file.shift_file(source, source, target)
        found = read(target)
    assert done.moved == len(shapes) == found.num_rows
    given_names = [name for name in found.column_names if name.lower() in columns]
    assert [name.lower() for name in given_names] == names
    for name in given_names:
        expected = values[name.lower()]
        came = [as_before(value, name.lower()) for value in found[name].to_pylist()]
        assert came == expected or is_said(done.notes, SAID[name.lower()]), (name, came, expected, done.notes)
    check_shapes(shapes, found, suffix, done.notes)


def write_source(path, names, values, shapes):
    wkb = shapely.to_wkb(np.array(shapes), flavor="iso", output_dimension=4).tolist()
    origin = Origin(geometry_type=shapes[0].geom_type)
    schema = pa.schema([*(pa.field(name, columns[name][1]) for name in names), geometry_field(origin)])
    arrays = [pa.array(values[name], columns[name][1]) for name in names]
    write_batches(path, schema, [pa.RecordBatch.from_arrays([*arrays, pa.array(wkb, pa.binary())], schema=schema)])


def read(path):
    with open_batches(path) as stream:
        return pa.Table.from_batches(list(stream.batches), schema=stream.schema)


def as_before(value, name):
    """Numbers and dates from the text of formats that have no others."""
    if not isinstance(value, str) or name == "words":
        return value
    if name == "made_on":
        return datetime.date.fromisoformat(value[:10]) if value else None
    return (float(value) if name == "height" else int(value)) if value else None


def is_said(notes, words):
    return any(word in note for word in words for note in notes)


def check_shapes(shapes, found, suffix, notes):
    """Every vertex at its image; Z and M as they were, or their loss is said."""
    after = shapely.from_wkb(np.array(found[GEOMETRY].to_pylist(), dtype=object))
    before = np.array(shapes)
    assert shapely.equals_exact(
        shapely.normalize(shapely.force_2d(after)),
        as_parts(shapely.normalize(shapely.transform(shapely.force_2d(before), FIELD)), after),
        PRECISION_M.get(suffix, 1e-5),
    ).all()
    for has, word in ((shapely.has_z, "heights (Z)"), (shapely.has_m, "measures (M)")):
        if has(before).any() and not has(after).all():
            assert is_said(notes, (word,)), (suffix, notes)
        elif has(before).any():
            axis = 2 if word.startswith("heights") else -1
            ordinates = [
                np.sort(shapely.get_coordinates(each, include_z=has_z(each), include_m=has_m(each))[:, axis])
                for each in (before, after)
            ]
            assert np.allclose(*ordinates)


def has_z(geometries):
    return bool(shapely.has_z(geometries).any())


def has_m(geometries):
    return bool(shapely.has_m(geometries).any())


def as_parts(geometries, like):
    """Single geometries as multi-geometries of one part where the format knows only these."""
    if not (shapely.get_type_id(like) >= 4).all():
        return geometries
    make = {1: shapely.multilinestrings, 3: shapely.multipolygons}
    return np.array([make[shapely.get_type_id(each)]([each]) for each in geometries])

"""How QGIS shows a review file: styles and forms, kept in the file's own ``layer_styles`` table.

QGIS applies the default style of each layer when the file is opened; other programs pass the table over.
Colours are those of Okabe and Ito, which colour-blind people can tell apart.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

OPEN_COLOUR, DECIDED_COLOUR, OLD_COLOUR = "213,94,0,255", "0,114,178,255", "110,110,110,255"
BREAK_COLOUR, VERSION_COLOUR = "230,159,0,140", "86,60,150,255"
_MAP_TIP = (
    '<previewExpression>"id"</previewExpression>'
    "<mapTip>&lt;b&gt;[% &quot;id&quot; %]&lt;/b&gt;&lt;br&gt;[% &quot;reasons&quot; %]</mapTip>"
)
_WITH_FORM = "LayerConfiguration|Symbology|Labeling|Fields|Forms|AttributeTable"
_VERDICT_COLOURS = {"used": "0,158,115,255", "suspect": "230,159,0,255", "rejected": "204,121,167,255"}

_STYLE_TABLE = """
CREATE TABLE IF NOT EXISTS layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256),
    f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
    useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
    update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')))
"""
_REGISTER = """
INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier, description, last_change, srs_id)
VALUES ('layer_styles', 'attributes', 'layer_styles', '', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), 0)
"""
_STORE = """
INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, styleQML,
                          styleSLD, useAsDefault, description, owner)
VALUES ('', '', ?, 'geom', ?, ?, '', 1, ?, '')
"""


@dataclass(frozen=True)
class Column:
    """How one column appears in QGIS's form: its label, and whether and how an officer fills it in.

    ``default`` is a QGIS expression that fills it in whenever the feature is changed; ``constraint`` one that must hold
    before QGIS lets the feature be saved, with ``says`` as its sentence.
    """

    name: str
    label: str
    editable: bool = False
    hidden: bool = False
    words: Mapping[str, str] | None = None
    multiline: bool = False
    default: str = ""
    constraint: str = ""
    says: str = ""


def store_styles(geopackage: Path, styles: Mapping[str, str]) -> None:
    """Put a default style for each layer into a GeoPackage.

    Parameters
    ----------
    geopackage
        The file, not open elsewhere; its geometry columns are called ``geom``.
    styles
        QML by layer name.
    """
    connection = sqlite3.connect(geopackage)
    try:
        with connection:
            connection.execute(_STYLE_TABLE)
            connection.execute(_REGISTER)
            for layer, qml in styles.items():
                connection.execute(_STORE, (layer, layer, qml, "How Post-PAI shows this layer"))
    finally:
        connection.close()


def review_style(columns: Sequence[Column], sort_by: str) -> str:
    """The features to look at: open ones in one colour, answered ones in another, numbered in order of risk.

    Parameters
    ----------
    columns
        The layer's columns in order, as its form shows them.
    sort_by
        The column that orders the attribute table.
    """
    answered = "coalesce(\"decision\", '') <> ''"
    states = {"answered": (answered, DECIDED_COLOUR), "to look at": (f"not ({answered})", OPEN_COLOUR)}
    return _qml(
        _by_state(states),
        _labels(sort_by) + _MAP_TIP + _form(columns, sort_by),
        categories=_WITH_FORM,
    )


def old_position_style() -> str:
    """Where the features lay on the old map: a grey dashed outline that cannot be taken for the proposal."""
    return _qml(_by_state({"old position": ("true", OLD_COLOUR)}, line_style="dash"))


def control_style(columns: Sequence[Column]) -> str:
    """Control points as arrows from the old place to the new, coloured by verdict; what an officer judged, dashed."""
    categories = "".join(
        f'<category value="{verdict}" label="{verdict}" symbol="{number}" render="true"/>'
        for number, verdict in enumerate(_VERDICT_COLOURS)
    )
    symbols = "".join(_arrow(str(number), colour) for number, colour in enumerate(_VERDICT_COLOURS.values()))
    return _qml(
        f'<renderer-v2 type="categorizedSymbol" attr="verdict" symbollevels="0"><categories>{categories}</categories>'
        f"<symbols>{symbols}</symbols></renderer-v2>",
        _form(columns, "residual_m", descending=True),
        categories=_WITH_FORM,
    )


def drawn_style(columns: Sequence[Column]) -> str:
    """Control that officers draw: a bold arrow from the old place to the new."""
    arrow = _arrow("0", DECIDED_COLOUR, width="0.6")
    return _qml(
        f'<renderer-v2 type="singleSymbol" symbollevels="0"><symbols>{arrow}</symbols></renderer-v2>',
        _form(columns, "fid"),
        categories=_WITH_FORM,
    )


def arrow_style() -> str:
    """The proposed shift of each feature."""
    arrow = _arrow("0", OPEN_COLOUR, width="0.4")
    return _qml(f'<renderer-v2 type="singleSymbol" symbollevels="0"><symbols>{arrow}</symbols></renderer-v2>')


def break_style() -> str:
    """Breaks: a thick pale line that hides nothing."""
    drawn = {"line_color": BREAK_COLOUR, "line_width": "1.6", "line_style": "solid", "capstyle": "round"}
    symbol = _symbol("line", "0", _layer("SimpleLine", drawn))
    return _qml(f'<renderer-v2 type="singleSymbol" symbollevels="0"><symbols>{symbol}</symbols></renderer-v2>')


def version_style() -> str:
    """The answers of two officers who disagree: dotted, labelled with who."""
    return _qml(
        _by_state({"one of two answers": ("true", VERSION_COLOUR)}, line_style="dot"),
        _labels("officer"),
        categories="LayerConfiguration|Symbology|Labeling",
    )


def _qml(renderer: str, rest: str = "", categories: str = "LayerConfiguration|Symbology") -> str:
    head = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>"
    return f'{head}\n<qgis version="3.22" styleCategories="{categories}">{renderer}{rest}</qgis>'


def _by_state(states: Mapping[str, tuple[str, str]], line_style: str = "solid") -> str:
    # One layer may hold points, lines and areas together, and QGIS draws each only with a symbol of its own kind:
    # so every state has a rule and a symbol for each kind.
    rules: list[str] = []
    symbols: list[str] = []
    for label, (condition, colour) in states.items():
        for kind, symbol in (("Point", _ring), ("Line", _line), ("Polygon", _outline)):
            key = str(len(symbols))
            chosen = quoteattr(f"{condition} and geometry_type($geometry) = '{kind}'")
            rules.append(f'<rule key="rule{key}" symbol="{key}" label="{label}" filter={chosen}/>')
            symbols.append(symbol(key, colour, line_style))
    return (
        f'<renderer-v2 type="RuleRenderer" symbollevels="0"><rules key="all">{"".join(rules)}</rules>'
        f"<symbols>{''.join(symbols)}</symbols></renderer-v2>"
    )


def _ring(name: str, colour: str, line_style: str) -> str:
    drawn = {"name": "circle", "color": "0,0,0,0", "outline_color": colour, "outline_width": "0.7", "size": "3.5"}
    return _symbol("marker", name, _layer("SimpleMarker", drawn | {"outline_style": line_style}))


def _line(name: str, colour: str, line_style: str) -> str:
    drawn = {"line_color": colour, "line_width": "0.7", "line_style": line_style}
    return _symbol("line", name, _layer("SimpleLine", drawn))


def _outline(name: str, colour: str, line_style: str) -> str:
    drawn = {"style": "no", "outline_color": colour, "outline_width": "0.7", "outline_style": line_style}
    return _symbol("fill", name, _layer("SimpleFill", drawn))


def _arrow(name: str, colour: str, width: str = "0.3") -> str:
    head = {"color": colour, "arrow_width": width, "arrow_start_width": width, "head_length": "1.2"}
    head |= {"head_thickness": "0.9", "is_curved": "0", "head_type": "0", "is_repeated": "0"}
    filling = _layer("SimpleFill", {"color": colour, "outline_style": "no", "style": "solid"})
    arrow = _layer("ArrowLine", head, _symbol("fill", f"@{name}@0", filling))
    # A control point that says "no shift here" has no length to draw: the dot shows it.
    dot = _layer("SimpleMarker", {"name": "circle", "color": colour, "outline_style": "no", "size": "1.4"})
    start = _layer("MarkerLine", {"placement": "firstvertex"}, _symbol("marker", f"@{name}@1", dot))
    return _symbol("line", name, arrow + start)


def _symbol(kind: str, name: str, layers: str) -> str:
    return f'<symbol type="{kind}" name="{name}" alpha="1" clip_to_extent="1" force_rhr="0">{layers}</symbol>'


def _layer(kind: str, properties: Mapping[str, str], inner: str = "") -> str:
    props = "".join(f"<prop k={quoteattr(key)} v={quoteattr(value)}/>" for key, value in properties.items())
    return f'<layer class="{kind}" enabled="1" locked="0" pass="0">{props}{inner}</layer>'


def _labels(column: str) -> str:
    # About a point or the middle of an area; about a line QGIS writes nothing, only along it.
    is_line = "geometry_type($geometry) = 'Line'"
    placed = {is_line: 'placement="2" placementFlags="10"', f"not ({is_line})": 'placement="0"'}
    rules = "".join(
        f'<rule key="label{number}" filter={quoteattr(chosen)}><settings calloutType="simple">'
        f'<text-style fieldName="{column}" fontSize="11" textColor="0,0,0,255" fontWeight="75" '
        'isExpression="0">'
        '<text-buffer bufferDraw="1" bufferSize="0.8" bufferColor="255,255,255,255"/></text-style>'
        f'<placement {where} dist="1"/></settings></rule>'
        for number, (chosen, where) in enumerate(placed.items())
    )
    return f'<labeling type="rule-based"><rules key="labels">{rules}</rules></labeling>'


def _form(columns: Sequence[Column], sort_by: str, *, descending: bool = False) -> str:
    fields = "".join(f'<field name="{column.name}">{_widget(column)}</field>' for column in columns)
    aliases = "".join(
        f'<alias index="{index}" field="{column.name}" name={quoteattr(column.label)}/>'
        for index, column in enumerate(columns)
    )
    defaults = "".join(
        f'<default field="{column.name}" expression={quoteattr(column.default)} applyOnUpdate="1"/>'
        for column in columns
        if column.default
    )
    constraints = "".join(
        f'<constraint field="{column.name}" constraints="4" exp_strength="1" notnull_strength="0" unique_strength="0"/>'
        for column in columns
        if column.constraint
    )
    expressions = "".join(
        f'<constraint field="{column.name}" exp={quoteattr(column.constraint)} desc={quoteattr(column.says)}/>'
        for column in columns
        if column.constraint
    )
    editable = "".join(f'<field name="{column.name}" editable="{int(column.editable)}"/>' for column in columns)
    shown = "".join(
        f'<column type="field" name="{column.name}" hidden="{int(column.hidden)}" width="-1"/>' for column in columns
    )
    return (
        f"<fieldConfiguration>{fields}</fieldConfiguration><aliases>{aliases}</aliases>"
        f"<defaults>{defaults}</defaults><constraints>{constraints}</constraints>"
        f"<constraintExpressions>{expressions}</constraintExpressions>"
        f"<editable>{editable}</editable>"
        f'<attributetableconfig actionWidgetStyle="dropDown" sortOrder="{int(descending)}" '
        f'sortExpression="&quot;{sort_by}&quot;">'
        f"<columns>{shown}</columns></attributetableconfig>"
    )


def _widget(column: Column) -> str:
    if column.words is not None:
        return f'<editWidget type="ValueMap"><config>{_choices(column.words)}</config></editWidget>'
    if column.hidden:
        return '<editWidget type="Hidden"><config><Option/></config></editWidget>'
    option = f'<Option type="bool" name="IsMultiline" value="{str(column.multiline).lower()}"/>'
    return f'<editWidget type="TextEdit"><config><Option type="Map">{option}</Option></config></editWidget>'


def _choices(words: Mapping[str, str]) -> str:
    not_yet = {"(not yet)": "{2839923C-8B7D-419E-B84B-CA2FE9B80EC7}"}  # QGIS's own mark for NULL in a value map
    choices = not_yet | {label: word for word, label in words.items()}
    options = "".join(
        f'<Option type="Map"><Option type="QString" name={quoteattr(label)} value={quoteattr(word)}/></Option>'
        for label, word in choices.items()
    )
    return f'<Option type="Map"><Option type="List" name="map">{options}</Option></Option>'

"""The command ``post-pai``: every verb is one function that calls one function of a stage.

Heavy modules are imported inside the verbs: a small job must not wait for Dagster to load.
"""

from __future__ import annotations

import getpass
import sys
import warnings
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.choices import Method
from transforms.errors import PostPaiError

app = typer.Typer(
    help="Moves a council's historic spatial data onto the corrected Ordnance Survey map.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

ControlFiles = Annotated[list[Path], typer.Argument(help="Control files, or folders of them.", show_default=False)]
FieldFile = Annotated[Path, typer.Argument(help="A fitted shift, made by post-pai fit.", show_default=False)]
WarnLength = Annotated[float, typer.Option(min=0.0, help="A longer shift makes a control point suspect [m].")]
RejectLength = Annotated[float, typer.Option(min=0.0, help="A longer shift is rejected [m].")]

MigrationFolder = Annotated[Path, typer.Argument(help="The migration folder.", show_default=False)]
LayerName = Annotated[str, typer.Argument(help="The layer.", show_default=False)]
Officer = Annotated[str, typer.Option(help="Who does this.", show_default=False)]
Note = Annotated[str, typer.Option(help="Why; goes into the log.")]


@app.command()
def run(
    migration: Annotated[Path, typer.Argument(help="The migration folder.", show_default=False)],
    layer: Annotated[list[str] | None, typer.Option(help="Only this layer; may be given again.")] = None,
) -> None:
    """Run the whole job, headless: the same assets as in the Dagster UI."""
    from pipeline.orchestration.headless import run_migration

    sys.stdout.write(run_migration(migration, layer or [], progress=_progress()))


@app.command()
def ui(
    migration: Annotated[Path | None, typer.Argument(help="The migration folder [default: the demo borough].")] = None,
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1.")] = 3000,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A host name the UI may also be asked by, behind the council's proxy.")
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="For viewers: nothing can be run or changed.")] = False,
) -> None:
    """Open the Dagster UI (Dagit) on 127.0.0.1 for one migration."""
    from pipeline.orchestration.instance import default_migration
    from pipeline.orchestration.ui import serve

    serve(migration or default_migration(), port=port, allow_hosts=allow_host or [], read_only=read_only)


@app.command("check-control")
def check_control(
    files: ControlFiles,
    out: Annotated[Path, typer.Option(help="The CSV to write: one row per control point read.")],
    length_warn_m: WarnLength = 6.5,
    length_reject_m: RejectLength = 10.0,
) -> None:
    """Judge each control point: verdict, reasons and leave-one-out residual."""
    from pipeline.control import check_control_files

    checked = check_control_files(files, out, length_warn_m=length_warn_m, length_reject_m=length_reject_m)
    _say(checked.sentence)


@app.command()
def fit(
    files: ControlFiles,
    out: Annotated[Path, typer.Option(help="The fitted shift to write.")],
    method: Annotated[Method, typer.Option(help="auto chooses by spatially blocked hold-out.")] = "auto",
    breaks: Annotated[Path | None, typer.Option(help="A layer of known break lines; else they are found.")] = None,
    length_warn_m: WarnLength = 6.5,
    length_reject_m: RejectLength = 10.0,
) -> None:
    """Fit the shift field to the control that passes the check."""
    from pipeline.fit import fit_files

    _say(
        fit_files(
            files, out, method=method, breaks=breaks, length_warn_m=length_warn_m, length_reject_m=length_reject_m
        )
    )


@app.command()
def points(
    field: FieldFile,
    source: Annotated[Path, typer.Argument(metavar="IN.csv", help="A CSV with easting,northing.", show_default=False)],
    target: Annotated[Path, typer.Argument(metavar="OUT.csv", help="The CSV to write.", show_default=False)],
) -> None:
    """Move points: easting,northing -> easting,northing,uncertainty_m,reason."""
    from pipeline.points import move_points

    _say(move_points(field, source, target).sentence)


@app.command()
def shift(
    field: FieldFile,
    source: Annotated[Path, typer.Argument(metavar="IN", help="The layer to shift.", show_default=False)],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The layer to write.", show_default=False)],
    layer: Annotated[str | None, typer.Option(help="The layer inside IN, where it holds several.")] = None,
    tolerance_m: Annotated[
        float, typer.Option(min=0.001, help="How closely a straight edge follows the field [m].")
    ] = 0.05,
    shape: Annotated[Literal["follow", "rigid"], typer.Option(help="rigid keeps right angles right.")] = "follow",
) -> None:
    """Shift one layer, any format to any format, streaming."""
    from pipeline.shift_file import shift_file

    shifted = shift_file(field, source, target, layer=layer, tolerance_m=tolerance_m, shape=shape)
    _say(shifted.sentence)


@app.command("export-field")
def export_field(
    field: FieldFile,
    out: Annotated[
        Path, typer.Argument(help=".json = PROJ tinshift, .tif = PROJ grid, .gsb = NTv2.", show_default=False)
    ],
) -> None:
    """Write the fitted shift in a form that PROJ, GDAL and QGIS apply."""
    from pipeline.exchange import export_field as export
    from pipeline.field_file import read_field

    _say(export(read_field(field), out).sentence)


@app.command()
def history(
    feature: Annotated[
        list[str],
        typer.Argument(metavar="[MIGRATION] LAYER ID", help="ID is the reference, or row:N.", show_default=False),
    ],
    migration: Annotated[Path | None, typer.Option(help="The migration folder, where it is not named first.")] = None,
    json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Tell the story of a feature from its source to its export."""
    from json import dumps

    from pipeline.history import feature_stories, layer_and_reference, told
    from pipeline.orchestration.instance import default_migration
    from pipeline.storage import Migration

    root, layer, reference = layer_and_reference(feature, migration, default_migration())
    stories = feature_stories(Migration.open(root), layer, reference)
    if json:
        typer.echo(dumps(told(stories), indent=2, ensure_ascii=False, default=str))
    else:
        typer.echo("\n\n".join(story.text() for story in stories))


@app.command()
def undo(
    migration: MigrationFolder,
    line: Annotated[int, typer.Argument(help="The line of the log, as history names it.", show_default=False)],
    officer: Officer,
    note: Note = "",
) -> None:
    """Take back a decision on a feature or a control point by a new entry in the log."""
    from pipeline.officers.undo import undo_line
    from pipeline.storage import Migration

    typer.echo(undo_line(Migration.open(migration), line, officer, note))


@app.command()
def sign(migration: MigrationFolder, layer: LayerName, officer: Officer, note: Note = "") -> None:
    """Sign a layer off as it is now; a second person, not one who decided features of it."""
    from pipeline.officers.sign_off import sign_layer
    from pipeline.storage import Migration

    signed = sign_layer(Migration.open(migration), layer, officer, note)
    typer.echo(
        f"Layer {layer} is signed by {signed.officer}. Run post-pai run {migration} --layer {layer} to export it."
    )


@app.command()
def verify(migration: MigrationFolder) -> None:
    """Check every hash again: sources, decisions, ledger, exports, kept states and signatures."""
    from pipeline.storage import Migration
    from pipeline.verify import require_sound, verify_migration

    verified = verify_migration(Migration.open(migration))
    sys.stdout.write(verified.text())
    require_sound(verified)


@app.command()
def rollback(
    migration: MigrationFolder,
    layer: LayerName,
    to: Annotated[str | None, typer.Option(help="A run, original, or latest; left out, the states are listed.")] = None,
    officer: Annotated[str, typer.Option(help="Who puts it back [default: the account on this machine].")] = "",
    note: Note = "",
) -> None:
    """Put the export of a layer back to an earlier state, or list the states there are."""
    from pipeline.rollback import list_states, put_back
    from pipeline.storage import Migration

    folder = Migration.open(migration)
    if to is None:
        sys.stdout.write(list_states(folder, layer))
    else:
        typer.echo(put_back(folder, layer, to, officer.strip() or _account(), note).sentence)


def _account() -> str:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # a machine without accounts or without names for them
        return ""


def _progress() -> bool:
    return sys.stderr.isatty()


def _say(sentence: str) -> None:
    if sys.stdout.isatty():
        typer.echo(sentence)


def main() -> None:
    """Run the command; a mistake of the user's is one sentence on standard error and exit status 1."""
    if not sys.warnoptions:
        # Of coordinates that are no place numpy says so at every step; their features get a reason of their own.
        warnings.simplefilter("ignore", RuntimeWarning)
    try:
        app()
    except PostPaiError as error:
        typer.echo(f"post-pai: {error}", err=True)
        sys.exit(1)

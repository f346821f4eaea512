"""The command line: plan, build, status, emulator, demo, with the promised JSON and exit codes.

Refuses to do any work itself; turns words into calls and errors into exit codes.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from shdask import __version__
from shdask.errors import SettingsError, ShdaskError

EXIT_FAILED_TILES = 5
EXIT_INTERRUPTED = 130
COLLECTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

EXIT_CODES = (
    "Ends with 0 when done, 2 for a bad job or arguments, 3 for credentials, 4 when the budget or quota is reached, "
    "5 when tiles failed (run it again), 130 when interrupted, 1 for a fault of ours."
)

app = typer.Typer(
    help="Turn a large area of interest into one analysis-ready Zarr cube with Sentinel Hub and Dask.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

JobArgument = Annotated[Path, typer.Argument(help="The job file (TOML).", metavar="JOB", show_default=False)]
StoreArgument = Annotated[Path, typer.Argument(help="The cube's folder.", metavar="STORE", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; all else goes to stderr.")]


def main() -> None:
    """Run the command line and exit with its code.

    0 done, 1 a fault of ours, 2 bad job or arguments, 3 credentials, 4 budget or quota, 5 failed tiles,
    130 interrupted.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    # read when distributed is imported, here and by workers
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")
    try:
        app(standalone_mode=True)
    except ShdaskError as error:
        notes = "".join(f"\n  {note}" for note in dict.fromkeys(getattr(error, "__notes__", ())))
        _console().print(f"error: {error}{notes}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def _console() -> Console:
    return Console(stderr=True)


def _version(asked: bool) -> None:
    if asked:
        print(f"shdask {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens to stderr.")] = False,
) -> None:
    del version
    if verbose:
        logging.getLogger("shdask").setLevel(logging.DEBUG)


WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="Processes of the local cluster.", show_default="one per core")
]
REPORTED = (
    "tiles", "written", "empty", "failed", "skipped", "requests", "pu_spent", "pu_projected", "seconds", "store"
)  # fmt: skip  # one promise, read at a glance


@app.command()
def plan(job: JobArgument, as_json: JsonOption = False) -> None:
    """Say what a cube will cost: requests, PU, minutes, bytes. Nothing is fetched."""
    from shdask.api import make_plan
    from shdask.display import plan_table

    made = make_plan(job)
    if as_json:
        cost = made.cost
        figures = {
            "requests": cost.requests,
            "pu": cost.pu,
            "minutes": cost.minutes,
            "nbytes": cost.nbytes_down,
            "tiles": made.tile_count,
        }
        print(json.dumps(figures))
        return
    Console().print(plan_table(made))


@app.command(epilog=EXIT_CODES)
def build(
    job: JobArgument,
    store: StoreArgument,
    workers: WorkersOption = None,
    scheduler: Annotated[str | None, typer.Option(help="Use the running Dask scheduler at this address.")] = None,
    max_pu: Annotated[float | None, typer.Option(min=0, help="Spend no more than this.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch what the store does not hold yet; run it again to continue or to retry failed tiles."""
    from shdask.api import make_plan
    from shdask.display import build_on_cluster, plan_table

    if workers is not None and scheduler is not None:
        raise typer.BadParameter("--workers is for a local cluster; --scheduler brings its own")
    made = make_plan(job)
    console = _console()
    console.print(plan_table(made))
    report = build_on_cluster(made, store, console, workers=workers, scheduler=scheduler, max_pu=max_pu)
    if as_json:
        print(json.dumps({name: getattr(report, name) for name in REPORTED}))
    else:
        print(report)
    if report.failed:
        console.print(report.failure_text(), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_FAILED_TILES)


@app.command()
def status(store: StoreArgument, as_json: JsonOption = False) -> None:
    """Say how far a cube is: tiles by state, PU spent, last errors, what to do next. Needs no cluster."""
    from shdask.assemble.status import read_status

    found = read_status(store)
    print(json.dumps(found.as_dict()) if as_json else found)


@app.command(epilog="Everything it serves, and how to use it from tests: docs/emulator.md.")
def emulator(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    archive: Annotated[
        list[str] | None,
        typer.Option(metavar="COLLECTION=DIR", help="Serve GeoTIFFs as this collection. Can be repeated."),
    ] = None,
    plan: Annotated[
        str | None, typer.Option(help="The limits of a published plan, such as trial.", show_default="no limit")
    ] = None,
    requests_per_minute: Annotated[
        float | None, typer.Option(min=1, help="Refill of the request bucket.", show_default="the plan's")
    ] = None,
    requests_per_month: Annotated[
        float | None, typer.Option(min=1, help="Quota of requests.", show_default="the plan's")
    ] = None,
    pu_per_minute: Annotated[
        float | None,
        typer.Option(min=0.01, help="Refill of the bucket of processing units.", show_default="the plan's"),
    ] = None,
    pu_per_month: Annotated[
        float | None, typer.Option(min=0.01, help="Quota of processing units.", show_default="the plan's")
    ] = None,
    retry_after: Annotated[Literal["ms", "s"], typer.Option(help="What Retry-After counts.")] = "ms",
    token_lifetime: Annotated[float, typer.Option(min=0.1, help="Seconds until a token ends.")] = 3600.0,
    latency: Annotated[float, typer.Option(min=0, help="Seconds before every answer of a data call.")] = 0.0,
    faults: Annotated[
        str | None, typer.Option(metavar="TEXT|FILE", help="What goes wrong, such as 503:0.05,reset:0.01.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed is another Earth, with other luck for faults.")] = 7,
    renderers: Annotated[int, typer.Option(min=1, help="Processes that render and run evalscripts.")] = 2,
    record: Annotated[
        Path | None, typer.Option(file_okay=False, help="Write each call as a file, without secrets.")
    ] = None,
    record_answers: Annotated[bool, typer.Option("--record-answers", help="With what was answered.")] = False,
    client_id: Annotated[str, typer.Option(help="The one OAuth client there is.")] = "emulator",
    client_secret: Annotated[str, typer.Option(help="Its secret.")] = "emulator",  # noqa: S107  # printed on purpose, opens nothing real
    as_json: JsonOption = False,
) -> None:
    """Serve the emulated service on 127.0.0.1 until ended; prints the environment that points shdask at it."""
    try:
        from shdask.emulator.config import EmulatorConfig
        from shdask.emulator.server import run_server
    except ImportError as error:
        raise _missing_extra(error) from error
    if record_answers and record is None:
        raise typer.BadParameter("--record-answers is for --record DIR")
    config = EmulatorConfig(
        port=port,
        archives=dict(_parse_archive(text) for text in archive or ()),
        plan=_check_plan(plan),
        requests_per_minute=requests_per_minute,
        requests_per_month=requests_per_month,
        pu_per_minute=pu_per_minute,
        pu_per_month=pu_per_month,
        retry_after_unit=retry_after,
        token_lifetime_s=token_lifetime,
        latency_s=latency,
        faults=_check_faults(faults),
        seed=seed,
        fault_seed=seed,
        renderers=renderers,
        record=_make_folder(record),
        record_answers=record_answers,
        client_id=client_id,
        client_secret=client_secret,
    )
    try:
        run_server(config, announce=_announce_json if as_json else _announce_exports)
    except OSError as error:
        raise SettingsError(f"cannot serve on 127.0.0.1:{port}: {error.strerror}; choose another --port") from error


def _missing_extra(error: ImportError) -> SettingsError:
    return SettingsError(f"the emulator is not installed ({error}): pip install 'shdask[emulator]'")


def _parse_archive(text: str) -> tuple[str, str]:
    from shdask.emulator.archive import ArchiveSource

    collection, _, folder = text.partition("=")
    if not collection or not folder or not Path(folder).is_dir():
        raise typer.BadParameter(f"--archive {text!r}: expected COLLECTION=DIR with a folder that exists")
    if not COLLECTION.fullmatch(collection):
        raise typer.BadParameter(f"--archive {text!r}: a collection is named by letters, digits, '-', '_' and '.'")
    try:
        ArchiveSource.open_folder(collection, Path(folder))
    except ValueError as error:
        raise typer.BadParameter(f"--archive {text!r}: {error}") from error
    return collection, folder


def _check_plan(plan: str | None) -> str | None:
    from shdask.emulator.plans import find_plan

    try:
        find_plan(plan)
    except ValueError as error:
        raise typer.BadParameter(f"--plan: {error}") from error
    return plan


def _check_faults(faults: str | None) -> str:
    from shdask.emulator.faults_text import read_faults

    try:
        read_faults(faults or "")
    except ValueError as error:
        raise typer.BadParameter(f"--faults: {error}") from error
    return faults or ""


def _make_folder(folder: Path | None) -> str | None:
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"--record {folder}: {error.strerror}") from error
    return str(folder)


def _announce_json(place: dict[str, object]) -> None:
    print(json.dumps(place), flush=True)


def _announce_exports(place: dict[str, object]) -> None:
    for name in ("base_url", "token_url", "client_id", "client_secret"):
        print(f"export SH_{name.upper()}={place[name]}", flush=True)
    print(f"look at {place['base_url']}/emulator/", file=sys.stderr)
    print(f"serving as process {place['pid']} until Ctrl-C", file=sys.stderr)


@app.command()
def demo(
    store: Annotated[Path, typer.Option(help="Where the cube goes; a second run continues it.")] = Path(
        "demo/cube.zarr"
    ),
) -> None:
    """Run the whole main job on the emulator, with no account: a country becomes one cube."""
    try:
        from shdask.demo.run import run_demo
    except ImportError as error:
        raise _missing_extra(error) from error
    run_demo(store, _console())

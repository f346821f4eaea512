"""What all commands share: the application, its exit codes, how an error is told, and options that recur.

Refuses to know any one command.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from shdask import __version__
from shdask.errors import BudgetExceeded, ShdaskError

EXIT_CRASH = 1
EXIT_FAILED_TILES = 5
EXIT_INTERRUPTED = 130

EXIT_CODES = (
    "Ends with 0 when done, 2 for a bad job or arguments, 3 for credentials, 4 when the budget or quota is reached, "
    "5 when tiles failed (run it again), 130 when interrupted, 1 for a fault of ours."
)

app = typer.Typer(
    help="Turn a large area of interest into one analysis-ready Zarr cube with Sentinel Hub and Dask.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # a wrong word is told in one line, without a frame around it
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

JobArgument = Annotated[Path, typer.Argument(help="The job file (TOML).", metavar="JOB", show_default=False)]
StoreArgument = Annotated[
    str, typer.Argument(help="The cube: a folder, or s3://bucket/prefix.", metavar="STORE", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; all else goes to stderr.")]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="Processes of the local cluster.", show_default="one per core")
]
SchedulerOption = Annotated[str | None, typer.Option(help="Use the running Dask scheduler at this address.")]
MaxPuOption = Annotated[float | None, typer.Option(min=0, help="Spend no more PU than this.")]
YesOption = Annotated[
    bool, typer.Option("--yes", help="Buy without being asked, also above the job's service.confirm_above_pu.")
]
TimeOption = Annotated[
    tuple[str, str] | None,
    typer.Option("--time", metavar="A B", help="Days, both included, in place of the job's for layers with a cadence."),
]
UpdateOption = Annotated[
    bool, typer.Option("--update", help="Buy late and reprocessed scenes of dates that the cube has.")
]
DetachOption = Annotated[
    bool,
    typer.Option(
        "--detach",
        help="Return as soon as it has begun: on the cluster at --scheduler, else in a process of its own here.",
    ),
]
EventsOption = Annotated[
    str | None,
    typer.Option(metavar="FILE|-", help="Append one JSON line for each event to this file; - is stderr."),
]


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
        say_error(f"error: {error}{notes}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except Exception:  # noqa: BLE001  # the last line of defence: told with how to report it
        traceback.print_exc()
        say_error(
            f"error: a fault of shdask {__version__}, not of yours. What is written is kept, and the same command "
            f"continues; please report the lines above, which hold no secrets"
        )
        sys.exit(EXIT_CRASH)


def console() -> Console:
    """Where everything goes that is not the answer."""
    return Console(stderr=True)


def say_error(text: str) -> None:
    """Tell people what is wrong, word for word."""
    console().print(text, style="red", markup=False, highlight=False, soft_wrap=True)


def confirm_price(pu: float, above: float, *, yes: bool) -> None:
    """Ask on stderr whether to buy for ``pu`` where that is more than ``above``, unless the answer is known to be yes.

    Raises BudgetExceeded where the answer is no, and where there is no terminal to ask on.
    """
    if yes or pu <= above:
        return
    price = f"{pu:.2f} PU, which is more than the {above:g} of service.confirm_above_pu"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise BudgetExceeded(f"what is left to buy costs {price}; nothing was sent. Pass --yes to buy it")
    try:
        said = console().input(Text(f"Buy for {price}? [y/N] "))
    except EOFError:
        said = ""
    if said.strip().lower() not in {"y", "yes"}:
        raise BudgetExceeded("not confirmed; nothing was sent")


def _version(asked: bool) -> None:
    if asked:
        print(f"shdask {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Log every tile to stderr; -vv all that happens.")
    ] = 0,
) -> None:
    del version
    if verbose:
        logging.getLogger("shdask").setLevel(logging.INFO if verbose == 1 else logging.DEBUG)

"""The commands about a cube: plan, build, status, verify.

Refuses to do their work; reads words, calls, and prints what comes back.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shdask.cli.app import (
    EXIT_CODES,
    EXIT_FAILED_TILES,
    EventsOption,
    JobArgument,
    JsonOption,
    MaxPuOption,
    SchedulerOption,
    StoreArgument,
    WorkersOption,
    app,
    console,
    say_error,
)
from shdask.errors import PlanError

if TYPE_CHECKING:
    from shdask.assemble.verify import VerifyReport
    from shdask.display import Where
    from shdask.report import BuildReport

REPORTED = (
    "tiles", "written", "empty", "failed", "skipped", "requests", "pu_spent", "pu_projected", "seconds", "store"
)  # fmt: skip  # one promise, read at a glance


@app.command()
def plan(job: JobArgument, as_json: JsonOption = False) -> None:
    """Say what a cube will cost: requests, PU, minutes, bytes. Nothing is fetched."""
    from rich.console import Console

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
    scheduler: SchedulerOption = None,
    max_pu: MaxPuOption = None,
    events: EventsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch what the store does not hold yet; run it again to continue or to retry failed tiles."""
    from shdask.api import make_plan
    from shdask.display import build_on_cluster, plan_table

    where = _where(workers, scheduler)
    made = make_plan(job)
    console().print(plan_table(made))
    report = build_on_cluster(
        made, store, console(), where=where, max_pu=max_pu, job=str(job.absolute()), events=events
    )
    print(json.dumps(_promised(report)) if as_json else report)
    _exit_for_failures(report)


@app.command()
def status(
    store: StoreArgument,
    failed: Annotated[
        Path | None,
        typer.Option(metavar="OUT.geojson", dir_okay=False, help="Write the failed tiles, with their errors."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say how far a cube is: tiles, PU, who builds it, what it waits for, last errors, what to do. Needs no cluster."""
    from shdask.assemble.status import read_status

    found = read_status(store)
    if failed is not None:
        from shdask.assemble.failed import write_failed_tiles

        count = write_failed_tiles(store, failed)
        console().print(f"{failed}: {count} failed tiles", highlight=False, soft_wrap=True)
    print(json.dumps(found.as_dict()) if as_json else found)


@app.command(epilog=f"5 also where broken tiles are found and not repaired. {EXIT_CODES}")
def verify(
    store: StoreArgument,
    repair: Annotated[
        bool, typer.Option("--repair", help="Fetch what is broken or missing again, and pay it.")
    ] = False,
    job: Annotated[
        Path | None, typer.Option(help="For --repair: the job file.", show_default="the one last built with")
    ] = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    max_pu: MaxPuOption = None,
    events: EventsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read every tile back against its checksum; with --repair, fetch the broken ones again."""
    from shdask.assemble.verify import verify_cube
    from shdask.display import reading_display

    where = _where(workers, scheduler)
    if job is not None and not repair:
        raise typer.BadParameter("--job is for --repair")
    with reading_display(console()) as show:
        found = verify_cube(store, on_progress=show)
    if not as_json:
        print(found)
    repaired = None
    if repair and not found.whole:
        repaired = _repair(store, found, job, where, max_pu, events)
    if as_json:
        print(json.dumps({**found.as_dict(), "repaired": None if repaired is None else _promised(repaired)}))
    if repaired is not None:
        _exit_for_failures(repaired)
    elif not found.whole:
        say_error(f"fetch the broken tiles again: shdask verify {found.store} --repair")
        raise typer.Exit(EXIT_FAILED_TILES)


def _repair(
    store: str, found: VerifyReport, job: Path | None, where: Where, max_pu: float | None, events: str | None
) -> BuildReport:
    """Fetch what is broken or missing, and nothing else. Whatever may be wrong is found before a mark is removed."""
    from shdask.api import make_plan
    from shdask.assemble.store import create_or_open
    from shdask.assemble.verify import forget
    from shdask.display import build_on_cluster
    from shdask.settings import Credentials

    made = make_plan(job or _last_job(store))
    create_or_open(made, store)  # refuses a job of another cube
    Credentials.load()
    tiles = sorted({*found.broken, *found.missing})
    price = sum(map(made.tile_pu, tiles))
    cap = made.max_pu if max_pu is None else max_pu
    console().print(f"repairing {len(tiles)} tiles for {price:.2f} PU", highlight=False)
    if cap is not None and not price <= cap:
        from shdask.errors import BudgetExceeded

        raise BudgetExceeded(
            f"{len(tiles)} broken tiles cost {price:.2f} PU, and max_pu is {cap:g}; nothing was changed or sent. "
            f"Raise max_pu"
        )
    forget(store, sorted(found.broken))
    path = str((job or _last_job(store)).absolute())
    return build_on_cluster(made, store, console(), where=where, max_pu=max_pu, only=tiles, job=path, events=events)


def _last_job(store: str) -> Path:
    from shdask.assemble.ledger import read_ledger

    known = [run.job for run in read_ledger(store).runs if run.job]
    if not known:
        raise PlanError(f"{store} does not say from which job it was built; name the job file with --job JOB")
    if not Path(known[-1]).is_file():
        raise PlanError(f"{known[-1]}, from which {store} was built, is not here; name the job file with --job JOB")
    return Path(known[-1])


def _where(workers: int | None, scheduler: str | None) -> Where:
    from shdask.display import Where

    if workers is not None and scheduler is not None:
        raise typer.BadParameter("--workers is for a local cluster; --scheduler brings its own")
    return Where(workers=workers, scheduler=scheduler)


def _promised(report: BuildReport) -> dict[str, Any]:
    return {name: getattr(report, name) for name in REPORTED}


def _exit_for_failures(report: BuildReport) -> None:
    if report.failed:
        say_error(report.failure_text())
        raise typer.Exit(EXIT_FAILED_TILES)

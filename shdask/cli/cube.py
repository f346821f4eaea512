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
    DetachOption,
    EventsOption,
    JobArgument,
    JsonOption,
    MaxPuOption,
    SchedulerOption,
    StoreArgument,
    TimeOption,
    UpdateOption,
    WorkersOption,
    YesOption,
    app,
    confirm_price,
    console,
    say_error,
)
from shdask.errors import PlanError

if TYPE_CHECKING:
    from shdask.assemble.tree_verify import WholeVerifyReport
    from shdask.display import Where
    from shdask.plan.cube import CubePlan
    from shdask.plan.explain import TileExplanation
    from shdask.report import BuildReport

REPORTED = (
    "tiles", "written", "empty", "failed", "skipped", "requests", "pu_spent", "pu_projected", "seconds", "store"
)  # fmt: skip  # one promise, read at a glance


@app.command()
def plan(
    job: JobArgument,
    explain: Annotated[
        str | None,
        typer.Option(metavar="TILE", help="Say why this tile is asked for as it is; GROUP/TILE in a cube of several."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a cube will cost: requests, PU, minutes, bytes. Nothing is fetched."""
    from rich.console import Console

    from shdask.display import plan_table
    from shdask.planning import make_plan

    made = make_plan(job)
    if explain is not None:
        found = _explain(made, explain)
        print(json.dumps(found.as_dict()) if as_json else found)
    elif as_json:
        print(json.dumps(made.summary().as_dict()))
    else:
        Console().print(plan_table(made))


def _explain(made: CubePlan, words: str) -> TileExplanation:
    group, _, number = words.rpartition("/")
    if not number.isdecimal():
        raise PlanError(f"--explain {words!r}: give a tile's number, or its group's path and the number: s2/12")
    try:
        return made.explain(int(number), group=group or None)
    except IndexError as error:
        raise PlanError(f"--explain {words}: there is no {error}") from error


def _below(groups: dict[str, Any]) -> dict[str, Any]:
    """What an answer says of a cube's groups; nothing where the root is the only one."""
    return {} if set(groups) <= {""} else {"groups": groups}


@app.command(epilog=EXIT_CODES)
def build(
    job: JobArgument,
    store: StoreArgument,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    max_pu: MaxPuOption = None,
    time: TimeOption = None,
    update: UpdateOption = False,
    yes: YesOption = False,
    events: EventsOption = None,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch what the store does not hold yet; run it again to continue or to retry failed tiles."""
    from shdask.cli.detach import detach_here, detach_on_cluster
    from shdask.display import build_on_cluster, capped, plan_table
    from shdask.fetch.budget import fits
    from shdask.plan.dates import override_time
    from shdask.plan.spec import CubeSpec
    from shdask.planning import make_plan
    from shdask.run_cube import price_left

    where = _where(workers, scheduler)
    if detach and events is not None:
        raise typer.BadParameter("--events is for a build that is waited for; ask shdask status STORE --json instead")
    spec = CubeSpec.from_file(job)
    made = make_plan(spec if time is None else override_time(spec, *time), open_account=where.open_account())
    console().print(plan_table(made))
    where.find_credentials()  # who has none is told so before being asked
    price, cap = 0.0 if yes else price_left(made, store, update=update), made.max_pu if max_pu is None else max_pu
    is_bound = any(group.clear is not None for group in made.groups.values())  # by a price that holds at most
    if is_bound or fits(price, cap):  # else nothing is bought
        confirm_price(min(price, price if cap is None else cap), spec.service.confirm_above_pu, yes=yes)
    name, options = str(job.absolute()), _options(time, update=update)
    if detach:
        if where.scheduler is not None:
            begun = detach_on_cluster(made, store, where, max_pu=max_pu, update=update, job=name, options=options)
        else:
            begun = detach_here(made, store, name, (*where.options(), *capped(max_pu), *options))
        print(json.dumps(begun.as_dict()) if as_json else begun)
        return
    report = build_on_cluster(
        made,
        store,
        console(),
        where=where,
        max_pu=max_pu,
        update=update,
        job=name,
        options=options,
        events=events,
    )
    print(json.dumps(_promised(report)) if as_json else report)
    _exit_for_failures(report)


def _options(time: tuple[str, str] | None, *, update: bool) -> tuple[str, ...]:
    """The words of the command line that say what is built, besides those that say where and for how much."""
    return (*(() if time is None else ("--time", *time)), *(("--update",) if update else ()))


@app.command()
def status(
    store: StoreArgument,
    failed: Annotated[
        Path | None,
        typer.Option(metavar="OUT.geojson", dir_okay=False, help="Write the failed tiles, with their errors."),
    ] = None,
    stop: Annotated[
        bool, typer.Option("--stop", help="First ask whoever builds it to end, as Ctrl-C does, and wait for that.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say how far a cube is: tiles, PU, who builds it, what it waits for, last errors, what to do. Needs no cluster."""
    from shdask.assemble.stop import stop_owner
    from shdask.assemble.tree_status import read_whole_status

    has_ended = not stop or stop_owner(store)
    found = read_whole_status(store)
    if failed is not None:
        from shdask.assemble.failed import write_failed_tiles

        count = write_failed_tiles(store, failed)
        console().print(f"{failed}: {count} failed tiles", highlight=False, soft_wrap=True)
    print(json.dumps(found.as_dict()) if as_json else found)
    if not has_ended:
        say_error(f"{store} is being built yet; it was asked to end, and has not")
        raise typer.Exit(EXIT_FAILED_TILES)


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
    yes: YesOption = False,
    events: EventsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read every tile back against its checksum; with --repair, fetch the broken ones again."""
    from shdask.assemble.tree_verify import verify_whole
    from shdask.display import reading_display

    where = _where(workers, scheduler)
    if job is not None and not repair:
        raise typer.BadParameter("--job is for --repair")
    with reading_display(console()) as show:
        found = verify_whole(store, on_progress=show)
    if not as_json:
        print(found)
    repaired = None
    if repair and not found.whole:
        repaired = _repair(store, found, job, where, max_pu, events, yes=yes)
    if as_json:
        print(json.dumps({**found.as_dict(), "repaired": None if repaired is None else _promised(repaired)}))
    if repaired is not None:
        _exit_for_failures(repaired)
    elif not found.whole:
        say_error(f"fetch the broken tiles again: shdask verify {found.store} --repair")
        raise typer.Exit(EXIT_FAILED_TILES)


def _repair(
    store: str,
    found: WholeVerifyReport,
    job: Path | None,
    where: Where,
    max_pu: float | None,
    events: str | None,
    *,
    yes: bool,
) -> BuildReport:
    """Fetch what is broken or missing, and nothing else. Whatever may be wrong is found before a mark is removed."""
    from shdask.assemble.tree_verify import forget_broken
    from shdask.display import build_on_cluster
    from shdask.fetch.budget import fits
    from shdask.plan.spec import CubeSpec
    from shdask.planning import make_plan
    from shdask.run_cube import price_tiles

    path = job or _last_job(store)
    spec = CubeSpec.from_file(path)
    made = make_plan(spec, open_account=where.open_account())
    where.find_credentials()
    tiles = found.to_fetch
    count, price = sum(map(len, tiles.values())), price_tiles(made, store, tiles)  # refuses a job of another cube
    cap = made.max_pu if max_pu is None else max_pu
    console().print(f"repairing {count} tiles for {price:.2f} PU", highlight=False)
    if cap is not None and not fits(price, cap):
        from shdask.errors import BudgetExceeded

        raise BudgetExceeded(
            f"{count} broken tiles cost {price:.2f} PU, and max_pu is {cap:g}; nothing was changed or sent. "
            f"Raise max_pu"
        )
    confirm_price(price, spec.service.confirm_above_pu, yes=yes)
    forget_broken(store, found)
    return build_on_cluster(
        made, store, console(), where=where, max_pu=max_pu, only=tiles, job=str(path.absolute()), events=events
    )


def _last_job(store: str) -> Path:
    from shdask.assemble.ledger import read_ledger
    from shdask.assemble.place import open_place
    from shdask.assemble.tree import child, group_paths

    root = open_place(store)
    known = [run.job for path in group_paths(root) for run in read_ledger(child(root, path)).runs if run.job]
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
    told = {name: getattr(report, name) for name in REPORTED}
    notes = {"notes": list(report.notes)} if report.notes else {}
    return {**told, **notes, **_below({path: _promised(one) for path, one in report.groups.items()})}


def _exit_for_failures(report: BuildReport) -> None:
    if report.failed:
        say_error(report.failure_text())
        raise typer.Exit(EXIT_FAILED_TILES)

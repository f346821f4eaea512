"""What a terminal shows: the plan's price, a running build, the report; rich on a terminal, plain lines elsewhere.

Refuses to decide anything; it draws what plan, progress and report say.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from distributed import Client
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from shdask.cluster.executor import OnDemandExecutor, open_service_on
from shdask.cluster.local import open_client, open_local_client, share_client
from shdask.doctor.preflight import CarefulExecutor
from shdask.events import open_event_log
from shdask.fetch.client import ServiceClient
from shdask.plan.cube import CubePlan
from shdask.plan.wording import duration
from shdask.planning import OpenAccount
from shdask.report import BuildReport, Progress
from shdask.run_cube import run_cube
from shdask.settings import Credentials, Deployment, keep_secret_from_children

PLAIN_LINE_S = 10.0


def plan_table(plan: CubePlan) -> Table:
    """What a plan will ask for and cost: group by group where there are several, and then all of it."""
    table = Table(title="Plan", title_justify="left", show_header=False, box=None, padding=(0, 2))
    for label, words in plan.summary().rows():
        table.add_row(escape(label) if words else f"[bold]{escape(label)}[/bold]", escape(words))
    return table


@contextmanager
def live_display(console: Console) -> Iterator[BuildDisplay]:
    """A display of a running build: redrawn in place on a terminal, a line every few seconds elsewhere."""
    if not console.is_terminal:
        yield BuildDisplay(console, None)
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield BuildDisplay(console, live)


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which cluster builds: the running one at ``scheduler``, else a local one of ``workers`` processes."""

    workers: int | None = None
    scheduler: str | None = None

    def options(self) -> tuple[str, ...]:
        """The words of the command line that say so."""
        if self.scheduler is not None:
            return ("--scheduler", self.scheduler)
        return () if self.workers is None else ("--workers", str(self.workers))

    def find_credentials(self) -> Credentials | None:
        """Those of this process; None where a running scheduler may have some instead. Raises AuthError."""
        return Credentials.find() if self.scheduler else Credentials.load()

    def open_account(self) -> OpenAccount | None:
        """How an account is opened before the cluster is: None where this process has credentials itself."""
        return partial(_open_through, self.scheduler) if self.scheduler and Credentials.find() is None else None

    def open(self) -> AbstractContextManager[Client]:
        """A client of the cluster."""
        return open_client(self.scheduler) if self.scheduler else open_local_client(self.workers)


def capped(max_pu: float | None) -> tuple[str, ...]:
    """The words of the command line for a cap."""
    return () if max_pu is None else ("--max-pu", repr(max_pu))


@contextmanager
def _open_through(address: str, deployment: Deployment) -> Iterator[ServiceClient]:
    with open_client(address) as client, open_service_on(client, deployment) as service:
        yield service


def build_on_cluster(
    plan: CubePlan,
    store: str | Path,
    console: Console,
    *,
    where: Where | None = None,
    max_pu: float | None = None,
    only: Mapping[str, Sequence[int]] | None = None,
    update: bool = False,
    job: str | None = None,
    options: Sequence[str] = (),
    events: str | None = None,
) -> BuildReport:
    """Build ``where`` it is told to (a local cluster), shown on ``console`` and told to the event log ``events``.

    ``only`` and ``update`` are those of `run_cube`. ``options`` are words of the command line that the ledger keeps
    besides those that say where, and for how much.
    """
    where = where or Where()
    credentials = where.find_credentials()
    words = (*where.options(), *capped(max_pu), *options)

    said: set[str] = set()

    def say_where(client: Client) -> None:
        link = client.dashboard_link
        if link and link not in said:  # every group begins on the same cluster
            said.add(link)
            console.print(f"Dask dashboard: {link}", highlight=False)

    with keep_secret_from_children(), open_event_log(events) as log, share_client(where.open) as open_cluster:
        log.started(plan, str(store), max_pu=max_pu, job=job)
        try:
            with live_display(console) as display:

                def show(progress: Progress) -> None:
                    display.show(progress)
                    log.progress(progress)

                report = run_cube(
                    plan,
                    store,
                    CarefulExecutor(OnDemandExecutor(open_cluster, say_where), plan),
                    credentials,
                    max_pu=max_pu,
                    only=only,
                    update=update,
                    job=job,
                    options=words,
                    on_event=log.tile,
                    on_progress=show,
                )
        except BaseException as error:
            log.stopped(error)
            if isinstance(error, KeyboardInterrupt):
                console.print("interrupted; what was written is kept, and the same command continues")
            raise
        log.finished(report)
    return report


@contextmanager
def reading_display(console: Console) -> Iterator[Callable[[int, int], None]]:
    """What shows how many tiles of how many are read back."""
    live = console.is_terminal
    with Live(console=console, refresh_per_second=4, transient=True) if live else nullcontext() as drawn:
        last_line = time.monotonic()

        def show(done: int, tiles: int) -> None:
            nonlocal last_line
            if drawn is not None:
                drawn.update(f"{done}/{tiles} tiles read back")
            elif time.monotonic() - last_line >= PLAIN_LINE_S:
                last_line = time.monotonic()
                console.print(f"{done}/{tiles} tiles read back", highlight=False)

        yield show


class BuildDisplay:
    """Hears of progress and shows it."""

    def __init__(self, console: Console, live: Live | None) -> None:
        self._console = console
        self._live = live
        self._last_line = 0.0

    def show(self, progress: Progress) -> None:
        """Draw the newest state."""
        if self._live is not None:
            self._live.update(_drawing(progress))
            return
        now = time.monotonic()
        if now - self._last_line >= PLAIN_LINE_S:
            self._last_line = now
            self._console.print(_line(progress), highlight=False, soft_wrap=True)


def _line(progress: Progress) -> str:
    left = "" if progress.remaining_s is None else f", about {duration(progress.remaining_s)} left"
    failed = f", {progress.failed} failed" if progress.failed else ""
    return (
        f"{progress.done}/{progress.tiles} tiles{failed}, {_pu(progress)}, "
        f"{progress.requests_per_minute:.0f} requests/min ({progress.rejected} answered 429){left}; "
        f"waiting for {progress.waiting_for}"
    )


def _pu(progress: Progress) -> str:
    cap = "" if progress.max_pu is None else f" (cap {progress.max_pu:g})"
    return f"{progress.pu_spent:.2f} of {progress.pu_projected:.2f} PU{cap}"


def _drawing(progress: Progress) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2))
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=progress.tiles, completed=progress.done, width=40), f"{progress.done}/{progress.tiles}"
    )
    table.add_row("tiles", bar)
    if progress.failed:
        table.add_row("failed", f"[red]{progress.failed}[/red]")
    table.add_row("PU", _pu(progress))
    table.add_row("rate", f"{progress.requests_per_minute:.0f} requests/min, {progress.rejected} answered 429")
    table.add_row("left", "-" if progress.remaining_s is None else f"about {duration(progress.remaining_s)}")
    table.add_row("waiting", f"for {progress.waiting_for}")
    return table

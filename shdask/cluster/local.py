"""A Dask cluster of several processes on this machine, for when the user brings none."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from multiprocessing import resource_tracker
from types import FrameType

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster, Security, Worker
from distributed.comm import connect
from distributed.diagnostics.plugin import WorkerPlugin

from shdask.errors import SettingsError

THREADS_PER_WORKER = 4
"""A task thread only waits for its batch; the work is done in the plugin's pools."""
_UNWATCHED = {"distributed.worker.profile.enabled": False, "distributed.admin.tick.interval": "500ms"}
"""Dask looks a hundred times a second at those threads, and fifty times at every loop: 3 % of a build's CPU."""


@contextmanager
def open_local_client(
    workers: int | None = None,
    *,
    memory_limit: str | None = "auto",
    scratch: str | None = None,
    dashboard: str = "127.0.0.1:0",
) -> Iterator[Client]:
    """A client on a new LocalCluster of ``workers`` processes (default: one per core), closed at the end.

    Listens on 127.0.0.1 only. The dashboard is on where bokeh is installed, at ``dashboard``. ``memory_limit`` is each
    process's, as Dask writes it; ``scratch`` is the folder for what they spill (default: Dask's). Ctrl-C in a terminal
    is the owner's: workers write what they have in flight.
    """
    with ExitStack() as stack:
        with hold_interrupts(), dask.config.set(_UNWATCHED):
            cluster = LocalCluster(
                n_workers=workers or CPU_COUNT,
                threads_per_worker=THREADS_PER_WORKER,
                processes=True,
                host="127.0.0.1",
                memory_limit=memory_limit,
                local_directory=scratch,
                dashboard_address=dashboard if importlib.util.find_spec("bokeh") else None,
                silence_logs=logging.ERROR,
            )
            client = stack.enter_context(Client(stack.enter_context(cluster)))
            client.register_plugin(_LeaveInterruptsToOwner())
        yield client


@contextmanager
def hold_interrupts() -> Iterator[None]:
    """Let Ctrl-C, and SIGTERM where it is handled alike, wait for the end of the block; the second raises at once.

    Threads and processes that are started in the block never hear of Ctrl-C. A cluster that is torn in mid-start
    leaves processes and other people's tracebacks behind. Only the main thread has any handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if noted:
            signal.default_int_handler(number, frame)
        noted.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    taken = [number for number in numbers if signal.getsignal(number) is signal.default_int_handler]
    resource_tracker.ensure_running()  # which else is started with the first process, and lifts the mask
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which threads and processes inherit
    try:
        [signal.signal(number, note) for number in taken]
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        [signal.signal(number, signal.default_int_handler) for number in taken]
    if noted:
        raise KeyboardInterrupt


@contextmanager
def share_client(
    open_cluster: Callable[[], AbstractContextManager[Client]],
) -> Iterator[Callable[[], AbstractContextManager[Client]]]:
    """What opens one cluster at its first use and gives it again at the next; it is closed with the block."""
    opened: list[Client] = []
    with ExitStack() as stack:

        @contextmanager
        def share() -> Iterator[Client]:
            if not opened:
                opened.append(stack.enter_context(open_cluster()))
            yield opened[0]

        yield share


class _LeaveInterruptsToOwner(WorkerPlugin):
    """Ctrl-C in a terminal reaches every process of it; tiles in flight are paid for and shall end."""

    name = "shdask-leave-interrupts-to-owner"

    def setup(self, worker: Worker) -> None:  # noqa: ARG002  # distributed's signature
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def open_client(address: str) -> Iterator[Client]:
    """A client of the running scheduler at ``address``; certificates for tls:// come from Dask's own configuration.

    Raises SettingsError where none answers, or where certificates are missing.
    """
    try:
        asyncio.run(_knock(address))
    except TypeError as error:  # Dask's complaint about an absent SSLContext
        raise SettingsError(
            f"the scheduler at {address!r} speaks TLS, and this process knows no certificates: set "
            f"DASK_DISTRIBUTED__COMM__TLS__CA_FILE, DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT and "
            f"DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY, or distributed.comm.tls in Dask's configuration"
        ) from error
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"no Dask scheduler answers at {address!r} ({error}); check the address, such as tcp://127.0.0.1:8786, "
            f"or build without --scheduler"
        ) from error
    with Client(address) as client:
        yield client


async def _knock(address: str) -> None:
    """A connection, closed at once: a `Client` that finds nobody stays the default, and all computing waits for it."""
    comm = await connect(address, **Security().get_connection_args("client"))
    await comm.close()

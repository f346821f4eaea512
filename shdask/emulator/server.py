"""Serves the emulator on 127.0.0.1 until a signal, or until its parent is gone.

Refuses to know what is served.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from shdask.emulator.app import TOKEN_PATHS, make_app
from shdask.emulator.config import EmulatorConfig
from shdask.emulator.faults.wire import WireProtocol

PARENT_POLL_S = 0.5
BACKLOG = 512
SHUTDOWN_S = 2


def run_server(config: EmulatorConfig, *, announce: Callable[[dict[str, Any]], None]) -> None:
    """Serve until SIGTERM, SIGINT, or the end of ``config.parent_pid``; blocks, in the main thread.

    ``announce`` is called once, when requests are answered, with base_url, token_url, client_id, client_secret and
    pid. Raises OSError when the port is taken.
    """
    # asyncio sets TCP_NODELAY only where the protocol is spelled out; without it every small answer waits 40 ms
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", config.port))
        listener.listen(BACKLOG)
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        options = uvicorn.Config(
            make_app(config),
            http=WireProtocol,
            log_level="critical",  # the application logs its own failures; those of a shutdown are none,
            access_log=False,
            lifespan="on",
            backlog=BACKLOG,
            timeout_graceful_shutdown=SHUTDOWN_S,
            timeout_keep_alive=60,
        )
        place = {
            "base_url": base_url,
            "token_url": base_url + TOKEN_PATHS[0],
            "client_id": config.client_id,
            "client_secret": config.client_secret,
            "pid": os.getpid(),
        }
        server = _Server(options, announce=lambda: announce(place), parent_pid=config.parent_pid)
        asyncio.run(server.serve(sockets=[listener]))


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, *, announce: Callable[[], None], parent_pid: int | None) -> None:
        super().__init__(config)
        self._announce = announce
        self._parent_pid = parent_pid
        self._watcher: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._watcher = asyncio.create_task(self._watch_parent())
        self._announce()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again after a clean shutdown; here a signal is the ordinary end
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def _watch_parent(self) -> None:
        pid = self._parent_pid
        while pid is None or os.getppid() == pid:  # noqa: ASYNC110  # a process sends no event
            await asyncio.sleep(PARENT_POLL_S)
        self.should_exit = True

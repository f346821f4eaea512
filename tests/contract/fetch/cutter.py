"""A TCP proxy that cuts every connection after so many bytes of answers: a network that breaks.

Refuses to know HTTP.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

ANSWERS_WITHIN_S = 30.0


@dataclass(slots=True)
class Cutter:
    """What the proxy does, and has done; it may be changed at any time."""

    port: int
    nbytes: int | None = None
    """Of answers that a connection brings before it is closed; None lets everything pass."""
    cuts: int = 0

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def start_cutter(upstream_port: int) -> Iterator[Cutter]:
    """A proxy to a port of this machine."""
    listener = socket.create_server(("127.0.0.1", 0))
    cutter = Cutter(port=listener.getsockname()[1])
    threading.Thread(target=_accept, args=(listener, upstream_port, cutter), daemon=True).start()
    try:
        yield cutter
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _accept(listener: socket.socket, upstream_port: int, cutter: Cutter) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            upstream = socket.create_connection(("127.0.0.1", upstream_port), timeout=ANSWERS_WITHIN_S)
            threading.Thread(target=_forward, args=(client, upstream), daemon=True).start()
            threading.Thread(target=_answer, args=(upstream, client, cutter), daemon=True).start()


def _forward(client: socket.socket, upstream: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := client.recv(1 << 16):
            upstream.sendall(piece)
        upstream.shutdown(socket.SHUT_WR)


def _answer(upstream: socket.socket, client: socket.socket, cutter: Cutter) -> None:
    sent = 0
    with contextlib.suppress(OSError), client, upstream:
        while piece := upstream.recv(1 << 16):
            if cutter.nbytes is not None and sent + len(piece) > cutter.nbytes:
                client.sendall(piece[: max(0, cutter.nbytes - sent)])
                cutter.cuts += 1
                break
            client.sendall(piece)
            sent += len(piece)
        for end in (client, upstream):  # the other thread reads them, so that closing alone would end nothing
            end.shutdown(socket.SHUT_RDWR)

"""Several hosts on this machine: network namespaces, cables between them that can be cut or slow, one shared disk.

Refuses to know Dask. Needs root and the command ``ip``; names begin with ``shd``, and all is removed at the end.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x0001 | 0x1000
MTU = 1500
RELAY = """
import asyncio, sys
listen_host, listen_port, host, port = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
async def serve(reader, writer):
    try:
        there = await asyncio.open_connection(host, port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))
async def main():
    server = await asyncio.start_server(serve, listen_host, listen_port)
    print("listening", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
"""A port of one host as a port of another: the emulator listens on loopback only, and each host has its own."""


def ip(*words: object) -> str:
    """What the command ``ip`` prints. Raises CalledProcessError."""
    return subprocess.run(["ip", *map(str, words)], capture_output=True, text=True, check=True).stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A network namespace; None is the machine's own."""

    name: str | None

    def ip(self, *words: object) -> str:
        """The command ``ip`` on this host."""
        return ip(*(() if self.name is None else ("-netns", self.name)), *words)

    def command(self, *words: object) -> list[str]:
        """The words that run a command on this host. Pure."""
        return [*(() if self.name is None else ("ip", "netns", "exec", self.name)), *map(str, words)]


MACHINE = Host(name=None)


@contextmanager
def open_host(name: str) -> Iterator[Host]:
    """A host with a loopback of its own and no cable yet."""
    with suppress(subprocess.CalledProcessError):  # left by one that was killed
        ip("netns", "del", name)
    ip("netns", "add", name)
    host = Host(name=name)
    try:
        host.ip("link", "set", "lo", "up")
        yield host
    finally:
        ip("netns", "del", name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cable:
    """A link between two hosts."""

    one: Host
    name: str
    """Of its end at ``one``."""

    def cut(self) -> None:
        """Let nothing pass; connections over it hang."""
        self.one.ip("link", "set", self.name, "down")

    def mend(self) -> None:
        """Let everything pass again."""
        self.one.ip("link", "set", self.name, "up")


@contextmanager
def lay_cable(one: Host, other: Host, name: str, network: str) -> Iterator[Cable]:
    """A veth pair; ``one`` gets ``network``.1, the other .2 of a net of four addresses."""
    ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b")
    for host, end, last in ((one, f"{name}a", 1), (other, f"{name}b", 2)):
        _give_end(host, end, f"{network}.{last}/30")
    try:
        yield Cable(one=one, name=f"{name}a")
    finally:  # a host that is removed lives on in the kernel for a while, and its cables with it
        one.ip("link", "del", f"{name}a")


@contextmanager
def lay_slow_cable(
    one: Host, other: Host, name: str, network: str, *, delay_s: float, nbytes_per_s: float
) -> Iterator[Cable]:
    """As `lay_cable`, of two TUN devices between which this process carries every packet, late and one by one.

    This kernel has no netem. ``delay_s`` is one way's.
    """
    ends = [_open_tun(f"{name}{letter}") for letter in "ab"]
    for host, letter, last in ((one, "a", 1), (other, "b", 2)):
        _give_end(host, f"{name}{letter}", f"{network}.{last}/30")
    carriers = [_Carrier(*pair, delay_s=delay_s, nbytes_per_s=nbytes_per_s) for pair in (ends, ends[::-1])]
    for carrier in carriers:
        carrier.start()
    try:
        yield Cable(one=one, name=f"{name}a")
    finally:
        one.ip("link", "del", f"{name}a")
        other.ip("link", "del", f"{name}b")
        for end in ends:
            os.close(end)


def _give_end(host: Host, end: str, address: str) -> None:
    if host.name is not None:
        ip("link", "set", end, "netns", host.name)
    host.ip("address", "add", address, "dev", end)
    host.ip("link", "set", end, "up")


def _open_tun(name: str) -> int:
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN_NO_PI))
    return tun


class _Carrier:
    """One direction of a slow cable: a thread that reads packets, and one that hands them on when they are due."""

    def __init__(self, source: int, target: int, *, delay_s: float, nbytes_per_s: float) -> None:
        self._source, self._target = source, target
        self._delay_s, self._nbytes_per_s = delay_s, nbytes_per_s
        self._due: deque[tuple[float, bytes]] = deque()
        self._come = threading.Condition()

    def start(self) -> None:
        for work in (self._read, self._write):
            threading.Thread(target=self._until_closed, args=[work], daemon=True).start()

    def _until_closed(self, work: object) -> None:
        with suppress(OSError):
            work()  # type: ignore[operator]  # one of the two below

    def _read(self) -> None:
        free = 0.0
        while True:
            packet = os.read(self._source, MTU + 100)
            free = max(free, time.monotonic()) + len(packet) / self._nbytes_per_s
            with self._come:
                self._due.append((free + self._delay_s, packet))
                self._come.notify()

    def _write(self) -> None:
        while True:
            with self._come:
                self._come.wait_for(lambda: bool(self._due))
                due, packet = self._due.popleft()
            time.sleep(max(0.0, due - time.monotonic()))
            with suppress(OSError):  # the far end is down
                os.write(self._target, packet)


@contextmanager
def relay(host: Host, port: int, address: str) -> Iterator[None]:
    """The machine's 127.0.0.1:``port`` as 127.0.0.1:``port`` of ``host``, by way of the machine's ``address``."""
    with _run_relay(MACHINE, address, port, "127.0.0.1"), _run_relay(host, "127.0.0.1", port, address):
        yield


@contextmanager
def _run_relay(host: Host, listen: str, port: int, there: str) -> Iterator[None]:
    command = host.command(sys.executable, "-c", RELAY, listen, port, there, port)
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            if process.stdout is None or not process.stdout.readline():
                raise RuntimeError(f"no relay on {host.name}")
            yield
        finally:
            process.terminate()


def is_possible() -> str | None:
    """What is missing to open hosts here; None where nothing is."""
    if os.geteuid() != 0:
        return "root"
    if not Path("/dev/net/tun").exists():
        return "/dev/net/tun"
    try:
        with open_host("shdprobe"):
            return None
    except (OSError, subprocess.CalledProcessError):
        return "ip netns (Debian: apt-get install iproute2)"

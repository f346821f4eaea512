"""A cluster that several builds share."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shdask.cluster.local import hold_interrupts, share_client


def test_a_shared_cluster_is_opened_once_and_closed_with_the_block() -> None:
    """Each use gets the same client, and none of them closes it."""
    told: list[str] = []

    @contextmanager
    def open_cluster() -> Iterator[object]:
        told.append("open")
        yield told
        told.append("close")

    with share_client(open_cluster) as share:  # type: ignore[arg-type]  # anything stands for a client
        with share() as first:
            pass
        with share() as second:
            pass
        assert first is second
        assert told == ["open"]
    assert told == ["open", "close"]


def test_a_cluster_that_nobody_uses_is_not_opened() -> None:
    """A build with nothing left to do starts no process."""
    told: list[str] = []

    @contextmanager
    def open_cluster() -> Iterator[object]:
        told.append("open")
        yield told

    with share_client(open_cluster):  # type: ignore[arg-type]  # anything stands for a client
        pass
    assert told == []


def test_an_interrupt_waits_until_the_cluster_stands() -> None:
    """Nothing is torn in mid-start; right after it the interrupt is raised, in the owner's thread."""
    done: list[str] = []

    def start() -> None:
        with hold_interrupts():
            signal.raise_signal(signal.SIGINT)
            done.append("started")
        done.append("built")

    with pytest.raises(KeyboardInterrupt):
        start()
    assert (done, signal.getsignal(signal.SIGINT)) == (["started"], signal.default_int_handler)


def test_processes_started_meanwhile_never_hear_of_ctrl_c() -> None:
    """A terminal sends it to all; a worker that still imports would die of it, with a traceback."""
    code = "import signal; signal.raise_signal(signal.SIGINT); print('alive')"
    with hold_interrupts():
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (told.stdout, told.stderr) == ("alive\n", "")


def test_without_an_interrupt_nothing_is_raised() -> None:
    """And Ctrl-C is heard again afterwards."""
    with hold_interrupts():
        pass
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_handlers_of_others_stay_while_a_cluster_starts() -> None:
    """A notebook's, say."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with hold_interrupts():
        found = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)
    assert found is signal.SIG_IGN


def test_other_threads_have_no_interrupts_to_hold() -> None:
    """A cluster may be started from any thread."""
    done: list[str] = []

    def start() -> None:
        with hold_interrupts():
            done.append("started")

    thread = threading.Thread(target=start)
    thread.start()
    thread.join(10)
    assert done == ["started"]

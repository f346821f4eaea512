"""Signals that end a worker's process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import _signals

from shdask.cluster.ending import end_well


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Nobody listens to SIGTERM, and all is as before afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    [signal.signal(number, handler) for number, handler in before.items()]


def played_worker() -> Any:
    """A worker that notes how it was closed."""
    told: list[str] = []

    def close(reason: str) -> None:
        told.append(reason)

    def call(function: Callable[..., None], **words: str) -> None:
        function(**words)

    return SimpleNamespace(loop=SimpleNamespace(add_callback_from_signal=call), close=close, told=told)


def test_worker_is_closed_before_its_process_ends() -> None:
    """The first SIGTERM closes it; the second ends the process at once."""
    worker = played_worker()
    end_well(worker)
    signal.raise_signal(signal.SIGTERM)
    assert (worker.told, signal.getsignal(signal.SIGTERM)) == (["SIGTERM"], signal.SIG_DFL)


def test_dasks_own_handler_gives_way() -> None:
    """It cuts a worker without a nanny off the cluster first, which then takes it for dead."""

    def handle_signal(*_: object) -> None:
        """As `distributed._signals` has it."""

    handle_signal.__module__ = _signals.__name__
    signal.signal(signal.SIGINT, handle_signal)
    worker = played_worker()
    end_well(worker)
    signal.raise_signal(signal.SIGINT)
    assert worker.told == ["SIGINT"]


def test_all_workers_of_a_process_are_closed_once() -> None:
    """However many builds have asked for it."""
    workers = [played_worker(), played_worker()]
    [end_well(worker) for worker in (*workers, *workers)]
    signal.raise_signal(signal.SIGTERM)
    assert [worker.told for worker in workers] == [["SIGTERM"], ["SIGTERM"]]


def test_handlers_of_others_stay() -> None:
    """Ctrl-C in a terminal is the owner's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_well(played_worker())
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_other_threads_have_no_handlers() -> None:
    """A worker that runs beside the owner in its process is closed by the owner."""
    thread = threading.Thread(target=end_well, args=[played_worker()])
    thread.start()
    thread.join(10)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

"""One thread that asks service and bucket on behalf of all jobs of a build, one question after the other.

Refuses to know what is asked, and what is made of the answers.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What came of a call: its value, or what it raised."""

    tag: T
    value: object = None
    error: BaseException | None = None


class Courier(Generic[T]):
    """Runs calls in their order, in a thread of its own, and keeps what they brought until it is taken.

    The thread is a daemon: a service that does not answer must not hold up the end of the process.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[T, Callable[[], object]] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Answer[T]] = queue.SimpleQueue()
        self._out = 0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_idle(self) -> bool:
        """Whether every answer has been taken."""
        return self._out == 0

    @property
    def is_over(self) -> bool:
        """Whether it was closed: what the call that is running brings is heard by no one. Thread-safe."""
        return self._over.is_set()

    def send(self, tag: T, call: Callable[[], object]) -> None:
        """Have ``call`` run when those before it are done; ``tag`` is what its answer is known by."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="shdask-jobs", daemon=True)
            self._thread.start()
        self._out += 1
        self._calls.put((tag, call))

    def take(self, timeout_s: float = 0.0) -> list[Answer[T]]:
        """The answers that have come; waits up to ``timeout_s`` for the first."""
        found: list[Answer[T]] = []
        try:
            found.append(self._answers.get(timeout=timeout_s) if timeout_s > 0 else self._answers.get_nowait())
            while True:
                found.append(self._answers.get_nowait())
        except queue.Empty:
            self._out -= len(found)
        return found

    def close(self) -> None:
        """Begin no further call once the one that is running has ended; waits for none."""
        self._over.set()
        self._calls.put(None)

    def _run(self) -> None:
        while (item := self._calls.get()) is not None and not self._over.is_set():
            tag, call = item
            try:
                answer = Answer(tag, value=call())
            except BaseException as error:  # noqa: BLE001  # raised, or judged, where the answer is taken
                answer = Answer(tag, error=error)
            self._answers.put(answer)

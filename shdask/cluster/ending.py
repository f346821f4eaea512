"""Signals that end a worker's process: the worker closes itself first, and is in the cluster until it has.

Refuses to know what it writes meanwhile.
"""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass, field

from distributed import Worker

DASK = "distributed._signals"
"""Whose handler, in a process without a nanny, cuts the worker off its scheduler before it lets it close."""


@dataclass(slots=True)
class _Ending:
    """A handler of signals: the first closes the workers of this process, the second ends it at once."""

    number: int
    workers: list[Worker] = field(default_factory=list)

    def __call__(self, *_: object) -> None:
        signal.signal(self.number, signal.SIG_DFL)
        for worker in self.workers:
            worker.loop.add_callback_from_signal(worker.close, reason=signal.Signals(self.number).name)


def end_well(worker: Worker) -> None:
    """Let ``worker`` close itself when its process is told to end. Again: does nothing.

    Under a nanny SIGTERM would end it at once. Handlers that somebody else has set stay.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)
        if isinstance(handler, _Ending):
            handler.workers.extend([] if worker in handler.workers else [worker])
        elif handler is signal.SIG_DFL or getattr(handler, "__module__", None) == DASK:
            signal.signal(number, _Ending(number, [worker]))

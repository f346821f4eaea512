"""One JSON line for each thing that happens in a build, for machines that watch it; docs/operations.md has the schema.

Refuses to hold a build up: a line that cannot be written is given up, and said once.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from shdask import __version__
from shdask.errors import SettingsError
from shdask.model import TileEvent
from shdask.plan.cube import ROOT, CubePlan
from shdask.report import INTERRUPTED, BuildReport, Progress

logger = logging.getLogger(__name__)

STDERR = "-"
PROGRESS_S = 10.0
_TILE_DEFAULTS = {item.name: item.default for item in fields(TileEvent)}


class EventLog:
    """Writes events to an open stream, each a whole line at once; None writes nothing."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._next_progress = 0.0

    def started(self, plan: CubePlan, store: str, *, max_pu: float | None, job: str | None) -> None:
        """A run begins."""
        self._write(
            "started",
            store=store,
            job=job,
            tiles=plan.tile_count,
            groups=None if tuple(plan.groups) == (ROOT,) else list(plan.groups),
            max_pu=plan.max_pu if max_pu is None else max_pu,
            version=__version__,
        )

    def tile(self, event: TileEvent) -> None:
        """A tile's row is durable: what differs from the defaults."""
        told = {name: getattr(event, name) for name in _TILE_DEFAULTS}
        told = {name: value for name, value in told.items() if value != _TILE_DEFAULTS[name]}
        self._write("tile", **{**told, "state": event.state.name.lower()})

    def progress(self, progress: Progress) -> None:
        """How far the run is; written every ten seconds, however often it is called."""
        if time.monotonic() >= self._next_progress:
            self._next_progress = time.monotonic() + PROGRESS_S
            self._write("progress", **asdict(progress))

    def finished(self, report: BuildReport) -> None:
        """The run has done all that it could."""
        groups = {path: _without_failures(one) for path, one in report.groups.items()}
        self._write("finished", **{**_without_failures(report), "groups": groups or None})

    def stopped(self, error: BaseException) -> None:
        """The run ended before that."""
        self._write(
            "stopped",
            error=f"{type(error).__name__}: {error}".removesuffix(": "),
            exit_code=INTERRUPTED if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", 1),
            resume_at=getattr(error, "resume_at", None),
        )

    def _write(self, name: str, **values: Any) -> None:
        if self._stream is None:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        known = {key: value for key, value in values.items() if value is not None}
        try:
            self._stream.write(json.dumps({"event": name, "time": now, **known}) + "\n")
            self._stream.flush()
        except OSError as error:
            logger.warning("no more events are written: %s", error.strerror)
            self._stream = None


def _without_failures(report: BuildReport) -> dict[str, object]:
    """The figures of a report; each failed tile had a line of its own."""
    told = {name: value for name, value in report.as_dict().items() if name not in {"failures", "groups"}}
    return {**told, "complete": report.complete}


@contextmanager
def open_event_log(target: str | None) -> Iterator[EventLog]:
    """A log that appends to the file ``target``; "-" is stderr, None nowhere. Raises SettingsError."""
    if target is None or target == STDERR:
        yield EventLog(None if target is None else sys.stderr)
        return
    try:
        stream = Path(target).expanduser().open("a", encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"--events {target}: {error.strerror}; name a file that can be written") from error
    try:
        yield EventLog(stream)
    finally:
        with suppress(OSError):  # what could not be written was said
            stream.close()

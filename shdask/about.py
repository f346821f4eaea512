"""What a line of a log is about: build, tiles and request, put before all that is said while they are worked on.

Refuses to know who speaks, and where the lines go.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

REQUEST_CHARS = 12
"""Of a request's digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a thread works on; what is empty is not known, or all of it."""

    build: str = ""
    """As the label of that name in metrics."""
    tiles: tuple[int, ...] = ()
    """One, or those that are bought together."""
    request: str = ""
    """`request_digest` of the first tile's requests."""

    def __str__(self) -> str:
        tiles = (
            "" if not self.tiles else f"tile {self.tiles[0]}" + (f"+{len(self.tiles) - 1}" if self.tiles[1:] else "")
        )
        build = self.build and f"build {self.build}"
        request = self.request and f"request {self.request[:REQUEST_CHARS]}"
        return ", ".join(filter(None, (build, tiles, request)))


_NOTHING = Subject()
_SUBJECT: ContextVar[Subject] = ContextVar("shdask_subject", default=_NOTHING)  # of a thread, and it nests


@contextmanager
def log_about(
    *, build: str | None = None, tiles: Sequence[int] | None = None, request: str | None = None
) -> Iterator[None]:
    """Let what this thread logs in the block be about these; what is None stays as it was around it."""
    changes: dict[str, Any] = {"build": build, "tiles": None if tiles is None else tuple(tiles), "request": request}
    known = {name: value for name, value in changes.items() if value is not None}
    token = _SUBJECT.set(replace(_SUBJECT.get(), **known))
    try:
        yield
    finally:
        _SUBJECT.reset(token)


if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter


class AboutLogger(_Adapter):
    """A logger that says first what a line is about; formatters find it as ``build``, ``tiles`` and ``request`` too."""

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[object, MutableMapping[str, Any]]:
        """As `logging.LoggerAdapter.process`."""
        subject = _SUBJECT.get()
        named = {"build": subject.build, "tiles": subject.tiles, "request": subject.request}
        kwargs["extra"] = {**named, **(kwargs.get("extra") or {})}
        text = str(subject)
        return (f"{text}: {msg}" if text else msg), kwargs


def get_logger(name: str) -> AboutLogger:
    """The logger of a module that works on tiles."""
    return AboutLogger(logging.getLogger(name))

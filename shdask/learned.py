"""What this user's runs have shown, in one small file from which the next plan reads it.

Refuses to know what is made of it. What goes wrong here is logged, never raised: a plan does without.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shdask.plan.measured import Measured, RunFigures

logger = logging.getLogger(__name__)

VERSION = 1
MOST_KINDS = 500
"""Of the kinds that runs were of, the latest: each change of a script makes another."""
_OFF = {"0", "false", "no", "off"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """A file with the figures of each kind of run. Two runs that end at the same moment may leave those of one."""

    file: Path | None
    """None keeps and knows nothing."""

    @classmethod
    def of_this_user(cls, environ: Mapping[str, str] | None = None) -> Learned:
        """``shdask/learned.json`` in the user's state folder; nothing where ``SHDASK_LEARN`` is 0."""
        env = os.environ if environ is None else environ
        if env.get("SHDASK_LEARN", "").strip().lower() in _OFF:
            return cls(file=None)
        state = state_folder(env)
        return cls(file=state and state / "learned.json")

    def read(self) -> dict[str, Measured]:
        """Kind of run -> what such runs have shown, that of the latest run last; nothing where it cannot be read."""
        if self.file is None:
            return {}
        try:
            return _parse(json.loads(self.file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            logger.warning("%s is not used, and plans go by the published formula: %s", self.file, error)
            return {}

    def add(self, run: RunFigures) -> None:
        """Let the next plan know what a run has shown. A run that bought nothing says nothing."""
        if self.file is None or run.pu_formula <= 0:
            return
        kinds = self.read()
        measured = kinds.pop(run.kind, Measured()).after(run)
        latest = dict([*kinds.items(), (run.kind, measured)][-MOST_KINDS:])
        text = json.dumps({"version": VERSION, "kinds": {kind: each.as_json() for kind, each in latest.items()}})
        try:
            write_whole(self.file, text)
        except OSError as error:
            logger.warning("%s cannot be written, and the next plan learns nothing of this run: %s", self.file, error)


def state_folder(environ: Mapping[str, str]) -> Path | None:
    """Where programs keep what they remember of this user's runs; None for a user without a home. Pure."""
    state = environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")  # noqa: PTH111  # Path.expanduser() fails without a home
    return None if state.startswith("~") else Path(state, "shdask")


def _parse(told: Any) -> dict[str, Measured]:
    """Raises ValueError for what is no such file."""
    kinds = told.get("kinds") if isinstance(told, dict) and told.get("version") == VERSION else None
    if not isinstance(kinds, dict) or not all(isinstance(each, dict) for each in kinds.values()):
        raise ValueError(f"it is no file of version {VERSION} of earlier runs' figures")
    return {kind: Measured.from_json(each) for kind, each in kinds.items()}


def write_whole(file: Path, text: str) -> None:
    """Whole or not at all, for this user's eyes only. Raises OSError."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{uuid.uuid4().hex}.partial")
    try:
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as target:
            target.write(text)
        partial.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise

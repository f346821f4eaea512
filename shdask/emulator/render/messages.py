"""What the emulator and its renderers say to each other, besides jobs and their answers.

Refuses to know how it is sent.
"""

from __future__ import annotations

from dataclasses import dataclass

from shdask.emulator.evalscript.setup import ScriptSetup
from shdask.emulator.process.job import RenderJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Describe:
    """Asks for what a script's setup() declares."""

    script: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Asks what a job's price depends on, without its pixels."""

    job: RenderJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """The answer to a Survey."""

    setup: ScriptSetup
    """With the outputs' bands as updateOutput() left them."""
    samples: tuple[int, ...]
    """Samples of a pixel, per input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """Asks for a job's files on disk, in a folder that is there."""

    job: RenderJob
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """The answer to a Spool."""

    files: tuple[tuple[str, str, str], ...]
    """The output's identifier, the path, and the media type, in the order of the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Sent before a stretch of work that has a deadline of its own."""

    script: bool
    """True: the user's code runs from now on."""

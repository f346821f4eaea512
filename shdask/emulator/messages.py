"""What the emulator and its renderers say to each other, besides jobs and their answers.

Refuses to know how it is sent.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Describe:
    """Asks for what a script's setup() declares."""

    script: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Sent before a stretch of work that has a deadline of its own."""

    script: bool
    """True: the user's code runs from now on."""

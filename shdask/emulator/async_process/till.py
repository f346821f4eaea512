"""Takes the units of jobs at the moment that the account is configured for.

Refuses to know what they are for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from shdask.emulator.account.limits import Limits
from shdask.emulator.inspection.journal import Journal


class Till:
    """Charges jobs to the account's limits, and counts what it charged."""

    def __init__(
        self, *, taken: Literal["submit", "done"], limits: Limits, journal: Journal, timer: Callable[[], float]
    ) -> None:
        """``timer`` is the one of the limits."""
        self._taken = taken
        self._limits = limits
        self._journal = journal
        self._timer = timer

    def taken_on(self, pu: float) -> None:
        """A job of this price was accepted, or its price has become known since."""
        if self._taken == "submit":
            self._take(pu)

    def delivered(self, pu: float) -> None:
        """A job of this price has delivered."""
        if self._taken == "done":
            self._take(pu)

    def _take(self, pu: float) -> None:
        self._limits.take_job(pu, self._timer())
        self._journal.spend(pu)

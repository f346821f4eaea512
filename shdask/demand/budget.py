"""What tiles on demand may cost together: each is promised its price before anything is sent for it.

Refuses to know what is bought.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from shdask.errors import BudgetExceeded
from shdask.fetch.budget import fits
from shdask.fetch.client import Spent


class Budget(Protocol):
    """A cap that several buyers share."""

    def reserve(self, pu: float, what: str) -> None:
        """Promise ``pu`` processing units to ``what``. Raises BudgetExceeded where they would pass the cap."""

    def settle(self, reserved: float, spent: float) -> None:
        """Take a promise back, and count what was spent on it."""


class LocalBudget:
    """A cap on what this process spends. Thread-safe."""

    def __init__(self, max_pu: float | None) -> None:
        self.max_pu = max_pu
        self.spent = 0.0
        """Processing units as the answers stated them, with what may have been charged for lost ones."""
        self._reserved = 0.0
        self._lock = threading.Lock()

    def reserve(self, pu: float, what: str) -> None:
        """As `Budget.reserve`."""
        with self._lock:
            if not fits(self.spent + self._reserved + pu, self.max_pu):
                raise BudgetExceeded(
                    f"{what} costs {pu:.4g} PU, and {self.spent + self._reserved:.4g} of max_pu {self.max_pu:g} are "
                    f"spent or promised; nothing was sent for it. Open the cube with a higher max_pu, or touch less"
                )
            self._reserved += pu

    def settle(self, reserved: float, spent: float) -> None:
        """As `Budget.settle`."""
        with self._lock:
            self._reserved -= reserved
            self.spent += spent


@contextmanager
def spending(budget: Budget, pu: float, what: str) -> Iterator[Spent]:
    """Promise ``pu`` to the block, and count what it adds to the yielded Spent. Raises as `Budget.reserve`."""
    budget.reserve(pu, what)
    spent = Spent()
    try:
        yield spent
    finally:
        budget.settle(pu, spent.pu + spent.pu_unknown)

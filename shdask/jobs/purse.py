"""What jobs, and what is bought in their place, have spent under a cap.

Refuses to know what is bought.
"""

from __future__ import annotations

from dataclasses import dataclass

from shdask.errors import BudgetExceeded
from shdask.fetch.budget import fits


@dataclass(slots=True, kw_only=True)
class Purse:
    """Processing units in the hands of one thread."""

    max_pu: float | None
    """None without a cap."""
    spent_pu: float = 0.0
    """With what may have been spent, and what orders on their way may cost."""

    def promise(self, pu: float) -> None:
        """Keep ``pu`` for an order that is about to be sent. Raises BudgetExceeded where they are not there."""
        if not fits(self.spent_pu + pu, self.max_pu):
            raise BudgetExceeded(
                f"the next job costs {pu:.4g} PU, and {self.spent_pu:.4g} of max_pu {self.max_pu:g} are spent or may "
                f"have been; it was not sent"
            )
        self.spent_pu += pu

    def settle(self, promised: float, spent: float) -> None:
        """An order was answered for: so much was, or may have been, spent on it instead of what was promised."""
        self.spent_pu += spent - promised

    @property
    def left_pu(self) -> float | None:
        """What may yet be spent; None without a cap."""
        return None if self.max_pu is None else max(0.0, self.max_pu - self.spent_pu)

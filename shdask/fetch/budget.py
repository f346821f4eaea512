"""What may still be spent under a cap: a request is promised its price before it is sent, and settled from its answer.

A state machine that its one owner calls in turn. Refuses to know what is bought, and who else buys.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Protocol

from shdask.errors import BudgetExceeded

SLACK = 1e-6
"""Share of a cap by which sums of prices may differ: the service states them as 32 bit floats."""
TRIAL_SHARE = 0.1
"""Until the first answer has named its price, no more than this share of the cap is promised, or one request."""


def fits(pu: float, max_pu: float | None) -> bool:
    """Whether ``pu`` processing units may be spent under a cap, None being none. Pure."""
    return max_pu is None or pu <= max_pu * (1 + SLACK)  # nothing fits under NaN


class Budget(Protocol):
    """A cap that several buyers share. Thread-safe."""

    def reserve(self, pu: float) -> int | None:
        """Promises a request its price of ``pu`` processing units, just before it is sent; returns the promise.

        None where it would fit if what others were promised were not spent: ask again. Raises BudgetExceeded where
        it cannot fit whatever becomes of theirs.
        """
        ...

    def settle(self, promise: int, spent: float) -> None:
        """Takes a promise back, and counts the processing units that were, or may have been, spent on it."""
        ...


class Uncapped:
    """A Budget without a cap: lets everything pass, and counts nothing."""

    def reserve(self, pu: float) -> int | None:  # noqa: ARG002  # the seam's signature
        """As `Budget.reserve`."""
        return 0

    def settle(self, promise: int, spent: float) -> None:
        """As `Budget.settle`."""


@dataclass(slots=True, kw_only=True)
class _Promise:
    pu: float
    """As projected."""
    holder: str
    written_off: float | None = None
    """What was counted as spent for it when its holder was lost."""


@dataclass(slots=True, kw_only=True)
class BudgetState:
    """A cap and what became of it. Neither thread-safe nor asynchronous: its one owner calls it in turn.

    ``spent + reserved <= max_pu`` while no answer is dearer, against its projection, than the dearest before it; from
    then on everything promised, open promises too, counts as that much dearer. So where all answers are r times as
    dear as projected, the cap is kept up to r = 10, and beyond that passed by no more than (r - 1) x the projected
    price of what is in flight at the first: a tenth of the cap, or one request. An answer dearer than all before it,
    later on, passes the cap by no more than its rise x the price of what is in flight.
    """

    max_pu: float
    spent: float = 0.0
    """Processing units as answers stated them, with the price of what may have been charged."""
    dearness: float = 1.0
    """The dearest answer so far, as a multiple of its projection; at least 1."""
    _is_tried: bool = field(init=False, default=False)
    _open_pu: float = field(init=False, default=0.0)
    _open: int = field(init=False, default=0)
    _promises: dict[int, _Promise] = field(init=False, default_factory=dict)
    _over: set[int] = field(init=False, default_factory=set)
    """Settled without being known: given up by who asked for them, whose question may arrive yet."""
    _last: int = field(init=False, default=0)

    @property
    def reserved(self) -> float:
        """Processing units of the open promises, as dear as the dearest answer so far."""
        return self._open_pu * self.dearness

    def reserve(self, pu: float, holder: str = "", promise: int | None = None) -> int | None:
        """As `Budget.reserve`, for ``holder``, who may bring a number of its own for the promise.

        Asked for a number that is promised already, it returns that and promises nothing more; None for one that was
        settled before it was asked for.
        """
        if promise in self._over:
            return None
        if promise in self._promises:
            return promise
        price = pu * self.dearness
        if not fits(self.spent + price, self.max_pu):
            dearer = f" ({self.dearness:.3g} times the projection, as others were)" if self.dearness > 1 + SLACK else ""
            raise BudgetExceeded(
                f"the next request costs {price:.4g} PU{dearer}, and {self.spent:.4g} of max_pu {self.max_pu:g} are "
                f"spent or may have been; it was not sent"
            )
        is_trial = not self._is_tried and self._open > 0
        is_too_early = is_trial and self._open_pu + pu > TRIAL_SHARE * self.max_pu
        if is_too_early or not fits(self.spent + self.reserved + price, self.max_pu):
            return None
        if promise is None:
            self._last += 1
            promise = self._last
        self._promises[promise] = _Promise(pu=pu, holder=holder)
        self._open_pu += pu
        self._open += 1
        return promise

    def settle(self, promise: int, spent: float) -> None:
        """As `Budget.settle`; a promise that is not known is passed over, and not made any more."""
        known = self._promises.pop(promise, None)
        if known is None:
            self._over.add(promise)
            return
        if known.written_off is None:
            self._close(known)
        else:
            self.spent -= known.written_off
        self.spent += spent
        self._is_tried |= spent > 0
        if known.pu > 0:
            self.dearness = max(self.dearness, spent / known.pu)

    def lose(self, holder: str) -> None:
        """Counts what a lost ``holder`` was promised as spent, since it may have been, unless it settles it yet."""
        for promise in self._promises.values():
            if promise.holder == holder and promise.written_off is None:
                promise.written_off = promise.pu * self.dearness
                self.spent += promise.written_off
                self._close(promise)

    def _close(self, promise: _Promise) -> None:
        self._open -= 1
        # with none left it is nothing, whatever rounding has left of it
        self._open_pu = self._open_pu - promise.pu if self._open else 0.0


class LocalBudget:
    """A Budget for the threads of one process, over a `BudgetState` that it alone owns."""

    def __init__(self, state: BudgetState) -> None:
        self._state = state
        self._lock = threading.Lock()

    def reserve(self, pu: float) -> int | None:
        """As `Budget.reserve`."""
        with self._lock:
            return self._state.reserve(pu)

    def settle(self, promise: int, spent: float) -> None:
        """As `Budget.settle`."""
        with self._lock:
            self._state.settle(promise, spent)


def make_local_budget(max_pu: float | None) -> Budget:
    """The Budget of one process for a cap; None is none."""
    return Uncapped() if max_pu is None else LocalBudget(BudgetState(max_pu=max_pu))

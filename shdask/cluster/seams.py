"""A worker's RateGate, TokenSource and Budget: the seams of fetching, with the scheduler behind them.

Refuses to know credentials, tiles and what a build is.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from distributed import Client
from distributed.utils import sync

from shdask.cluster.scheduler_plugin import token_mark
from shdask.errors import ShdaskError, TransportError
from shdask.fetch.auth import AccessToken, renewal_margin_s

ASK_S = 30.0
"""A scheduler that has not answered by then is lost."""
TOKEN_S = 120.0
"""It may itself have to wait for a token."""
TELL_AGAIN_S = 5.0
"""So long after it was lost, a settlement is told again by a worker that reserves nothing meanwhile."""
ASK_AT = 0.5
"""A worker asks for more when so much of a lease has passed: early enough to lose nothing when it is late."""
LOOK_S = 1.0
"""Whoever waits for a lease looks so often whether waiting is of use."""
STALE_S = 5.0
"""A permit is used within moments. One this old is from before this process was frozen."""


class Seat(Protocol):
    """From where the scheduler is asked: a worker, or the owner of a build."""

    @property
    def loop(self) -> Any: ...  # noqa: D102  # as `distributed.Worker` has it
    @property
    def scheduler(self) -> Any: ...  # noqa: D102
    @property
    def address(self) -> Any: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerSeat:
    """The seat of the process that owns a build."""

    client: Client

    @property
    def loop(self) -> Any:
        """On which the scheduler's answers come."""
        return self.client.loop

    @property
    def scheduler(self) -> Any:
        """What calls its handlers by name."""
        return self.client.scheduler

    @property
    def address(self) -> str:
        """What the scheduler knows it by; no worker's."""
        return str(self.client.id)


def ask_scheduler(worker: Seat, handler: str, /, timeout_s: float = ASK_S, **words: Any) -> Any:
    """What the scheduler's handler answers; a ShdaskError among that comes pickled, and is raised.

    Raises TransportError, which is tried again, where it cannot be reached.
    """
    answer = _sync(worker, getattr(worker.scheduler, handler), timeout_s, **words)
    if isinstance(answer, bytes):
        error: ShdaskError = pickle.loads(answer)  # noqa: S301  # our own scheduler's error
        raise error
    return answer


def _sync(seat: Seat, ask: Callable[..., Any], limit_s: float, /, **words: Any) -> Any:
    try:
        return sync(seat.loop, ask, callback_timeout=limit_s, **words)
    except OSError as error:
        raise TransportError(f"the scheduler does not answer: {type(error).__name__}: {error}") from error


class SchedulerGate:
    """The RateGate of a worker: leases timed permits from the scheduler in batches, one call at a time."""

    def __init__(
        self,
        worker: Seat,
        account: str,
        *,
        sleep: Callable[[float], object] = time.sleep,
        waiting: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        """``sleep`` may raise a ShdaskError where waiting is of no more use; ``waiting`` is entered meanwhile."""
        self._worker = worker
        self._account = account
        self._sleep = sleep
        self._waits = waiting
        self._changed = threading.Condition()
        self._permits: list[tuple[float, float]] = []
        """(monotonic time from which it is good, PU of the request it is for), ascending."""
        self._waiting: list[float] = []
        """PU of the requests that have no permit yet, the oldest first."""
        self._leasing = False
        self._ask_at = float("-inf")
        """Before then no more is asked for: what is held is sent after another worker's 429."""
        self._had_none = False
        """Whether the last lease held nothing: with the next answer it may."""
        self._rejections = 0
        """429s and pauses so far; a permit from before one is worth nothing after it."""
        self._answered = 0
        """Requests that brought something since the scheduler was last asked."""
        self._unused = 0
        """Permits that were given up since then."""

    def acquire(self, pu: float) -> float:
        """Block until a request of ``pu`` PU may be sent; returns the seconds waited.

        Raises ServiceDown when the service has brought nothing for too long, BuildError where the scheduler has given
        this worker up.
        """
        self._sleep(0.0)
        started = time.monotonic()
        while True:
            with self._waits():
                due, rejections = self._wait_for_permit(pu)
                self._sleep(max(0.0, due - time.monotonic()))
            if rejections == self._rejections and time.monotonic() - due < STALE_S:
                return time.monotonic() - started
            with self._changed:
                self._unused += 1

    def _wait_for_permit(self, pu: float) -> tuple[float, int]:
        with self._changed:
            self._waiting.append(pu)
        try:
            return self._take(pu)
        except BaseException:
            with self._changed:
                self._waiting.remove(pu)
            raise

    def _take(self, pu: float) -> tuple[float, int]:
        """A permit's due time, and the 429s until then; the first thread that finds none leases for the oldest."""
        while True:
            with self._changed:
                now = time.monotonic()
                self._give_up_stale(now)
                for position, (due, price) in enumerate(self._permits):
                    if price == pu:
                        del self._permits[position]
                        self._waiting.remove(pu)
                        return due, self._rejections
                early_s = self._ask_at - now
                asks = early_s <= 0 and not self._leasing
                if asks:
                    self._leasing, rejections = True, self._rejections
                    count, pu_each = self._wanted()
                else:
                    self._changed.wait(None if self._leasing else min(early_s, LOOK_S))
            if not asks:
                self._sleep(0.0)
                continue
            granted: list[tuple[float, float]] = []
            try:
                granted = self._lease(count, pu_each)
            finally:
                with self._changed:
                    if rejections == self._rejections:
                        self._permits.extend(granted)
                    else:
                        self._unused += len(granted)
                        self._ask_at = float("-inf")
                    self._leasing = False
                    self._changed.notify_all()

    def _give_up_stale(self, now: float) -> None:
        good = [permit for permit in self._permits if now - permit[0] < STALE_S]
        self._unused += len(self._permits) - len(good)
        self._permits = good

    def _wanted(self) -> tuple[int, float]:
        """How many permits to lease, and of which price: a permit of another one would be paid for and not used."""
        lacking = Counter(self._waiting)  # in the order of their oldest
        lacking.subtract(Counter(price for _, price in self._permits))
        return next((count, price) for price, count in lacking.items() if count > 0)

    def _lease(self, count: int, pu_each: float) -> list[tuple[float, float]]:
        with self._changed:
            answered, self._answered = self._answered, 0
            unused, self._unused = self._unused, 0
        asked = time.monotonic()
        delays = ask_scheduler(
            self._worker,
            "shdask_lease",
            account=self._account,
            worker=str(self._worker.address),
            count=count,
            pu_each=pu_each,
            answered=answered,
            unused=unused,
        )
        received = time.monotonic()
        if received - asked > STALE_S:  # the answer may have waited for this process to wake up
            with self._changed:
                self._unused += 0 if isinstance(delays, float) else len(delays)
            return []
        self._had_none = isinstance(delays, float)
        if isinstance(delays, float):
            self._ask_at = received + delays
            return []
        self._ask_at = received + ASK_AT * delays[-1]
        return [(received + delay, pu_each) for delay in delays]

    def answered(self) -> None:
        """Tell the scheduler, with the next lease, that the service works."""
        with self._changed:
            self._answered += 1
            if self._had_none:
                self._ask_at = float("-inf")
                self._changed.notify_all()

    def failed(self, text: str) -> None:
        """Tell the scheduler that a request brought nothing; permits not used yet are given up if everyone pauses."""
        with self._changed:  # told at once: failures are counted in a row
            answered, self._answered = self._answered, 0
        with contextlib.suppress(TransportError):  # what failed says more
            if ask_scheduler(self._worker, "shdask_failed", account=self._account, text=text, answered=answered):
                self._drop_permits()

    def rejected(self, retry_after_s: float | None) -> None:
        """Tell the scheduler of a 429; permits not used yet are given up, for they came from a wrong rate."""
        self._drop_permits()
        ask_scheduler(self._worker, "shdask_rejected", account=self._account, retry_after_s=retry_after_s)

    def _drop_permits(self) -> None:
        with self._changed:
            self._unused += len(self._permits)
            self._permits.clear()
            self._ask_at = float("-inf")
            self._rejections += 1
            self._changed.notify_all()


class SchedulerBudget:
    """The Budget of a build on a worker: the scheduler's, which all its workers share.

    What the scheduler may not have heard of is told again until it answers: others wait for what is promised.
    """

    def __init__(self, worker: Seat, build: str) -> None:
        self._worker = worker
        self._build = build
        self._untold: deque[tuple[int, float]] = deque()
        """(promise, PU spent on it) that the scheduler did not confirm; only the loop takes from it."""
        self._is_due = threading.Lock()
        """Held while the loop is to tell them."""

    def reserve(self, pu: float) -> int | None:
        """As `Budget.reserve`; raises BuildError as well, where the build is over."""
        if self._untold:
            _sync(self._worker, self._tell_untold, ASK_S)
        # a number is asked for once: a question that arrives late finds it settled, and promises nothing
        promise = secrets.randbits(63)
        words: dict[str, Any] = {"build": self._build, "worker": str(self._worker.address), "pu": pu}
        try:
            answer: int | None = ask_scheduler(self._worker, "shdask_reserve_pu", promise=promise, **words)
        except TransportError:
            self._keep(promise, 0.0)
            raise
        return answer

    def settle(self, promise: int, spent: float) -> None:
        """As `Budget.settle`. A scheduler that cannot be reached is told later; until then it is promised."""
        try:
            ask_scheduler(self._worker, "shdask_settle_pu", **self._settlement(promise, spent))
        except TransportError:  # what the request met says more
            self._keep(promise, spent)

    def _settlement(self, promise: int, spent: float) -> dict[str, Any]:
        return {"build": self._build, "promise": promise, "spent": spent}

    def _keep(self, promise: int, spent: float) -> None:
        self._untold.append((promise, spent))
        if self._is_due.acquire(blocking=False):
            loop = self._worker.loop
            loop.add_callback(loop.call_later, TELL_AGAIN_S, self._tell_later)

    async def _tell_later(self) -> None:
        self._is_due.release()
        with contextlib.suppress(OSError, RuntimeError):  # not reached, and kept again; or the worker closes
            await self._tell_untold()

    async def _tell_untold(self) -> None:
        while self._untold:
            promise, spent = self._untold.popleft()
            try:
                told = self._worker.scheduler.shdask_settle_pu(**self._settlement(promise, spent))
                await asyncio.wait_for(told, ASK_S)
            except (OSError, asyncio.CancelledError):
                self._keep(promise, spent)
                raise


class SchedulerTokens:
    """The TokenSource of a worker: the scheduler's token, kept until shortly before it expires."""

    def __init__(self, worker: Seat, account: str) -> None:
        self._worker = worker
        self._account = account
        self._lock = threading.Lock()
        self._current: AccessToken | None = None
        self._refused: str | None = None
        """Mark of the token that was last refused: the scheduler may not have heard of it."""
        self._good_until = 0.0

    def token(self) -> AccessToken:
        """A token that is good for a while. Raises AuthError when the scheduler cannot get one."""
        with self._lock:
            if self._current is None or time.monotonic() >= self._good_until:
                self._current = self._ask()
            return self._current

    def refused(self, token: AccessToken) -> None:
        """No thread of this worker sends it again, and the scheduler is told when the next is asked for."""
        with self._lock:
            if self._current is not None and self._current.value == token.value:
                self._current, self._refused = None, token_mark(token.value)

    def _ask(self) -> AccessToken:
        words: dict[str, Any] = {"account": self._account, "refused": self._refused}
        value, lifetime_s = ask_scheduler(self._worker, "shdask_token", timeout_s=TOKEN_S, **words)
        now = time.monotonic()
        self._good_until = now + lifetime_s - renewal_margin_s(lifetime_s)
        return AccessToken(value=value, expires_at=now + lifetime_s)

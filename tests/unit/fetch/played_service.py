"""An account under load in virtual time: workers that lease permits, a service with its own buckets, another program.

Refuses to know the limiter's inside, and the clock of this machine.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from shdask.fetch.limiter import LimiterState


@dataclass(kw_only=True)
class ServiceBucket:
    """A token bucket as the service documents it: refilled continuously, one that holds too little refuses."""

    per_s: float
    capacity: float
    level: float = field(init=False)
    at: float = 0.0

    def __post_init__(self) -> None:
        self.level = self.capacity

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until ``amount`` is there; 0 where it is."""
        self.level = min(self.capacity, self.level + (now - self.at) * self.per_s)
        self.at = now
        return max(0.0, amount - self.level - 1e-9) / self.per_s


@dataclass(kw_only=True)
class PlayedWorker:
    """A worker process: threads that want permits, and what it holds."""

    waiting: int
    answered: int = 0
    unused: int = 0
    had_none: bool = False
    epoch: int = 0
    """A permit from before the last 429 is worth nothing."""
    asks_at: float = 0.0


@dataclass(kw_only=True)
class Play:
    """What came of it."""

    accepted: int = 0
    rejected_at: list[float] = field(default_factory=list)
    ended: float = 0.0
    other_accepted: int = 0
    other_rejected: int = 0

    @property
    def rejected_per_1000(self) -> float:
        """Our 429s."""
        return 1000 * len(self.rejected_at) / (self.accepted + len(self.rejected_at))


@dataclass(kw_only=True)
class PlayedAccount:
    """Requests of ``pu`` each, answered after about ``latency_s``, of which a third more or less is chance."""

    limiter: LimiterState
    requests: ServiceBucket
    pu: ServiceBucket
    pu_each: float = 0.01
    latency_s: float = 0.3
    late_s: float = 0.02
    """How late requests are on their way, at most; no two alike."""
    workers: int = 2
    threads: int = 8
    other_per_s: float = 0.0
    """Requests of another program, which knows nothing of us."""
    seed: int = 7

    def play(self, count: int, begin: float = 0.0) -> Play:
        """Buy ``count`` requests from the moment ``begin`` on."""
        return _Run(account=self, left=count, chance=random.Random(self.seed)).play(begin)


@dataclass(kw_only=True)
class _Run:
    account: PlayedAccount
    left: int
    """Not permitted yet."""
    chance: random.Random
    told: Play = field(default_factory=Play)
    events: list[tuple[float, int, Callable[[float], None]]] = field(default_factory=list)
    number: itertools.count[int] = field(default_factory=itertools.count)

    def at(self, time: float, act: Callable[[float], None]) -> None:
        heapq.heappush(self.events, (time, next(self.number), act))

    def play(self, begin: float) -> Play:
        wanted = self.left
        for _ in range(self.account.workers):
            worker = PlayedWorker(waiting=self.account.threads, asks_at=begin)
            self.at(begin, lambda now, worker=worker: self.ask(worker, now))  # type: ignore[misc]  # bound at once
        if self.account.other_per_s:
            self.at(begin, self.other)
        while self.told.accepted < wanted:
            now, _, act = heapq.heappop(self.events)
            act(now)
        self.told.ended = now
        return self.told

    def ask(self, worker: PlayedWorker, now: float) -> None:
        if not worker.waiting or not self.left or now < worker.asks_at - 1e-9:
            return
        self.account.limiter.answered(worker.answered)
        self.account.limiter.unused(worker.unused)
        worker.answered = worker.unused = 0
        count = min(worker.waiting, self.left)
        delays = self.account.limiter.lease(count, self.account.pu_each, now)
        worker.asks_at = now + (delays[-1] / 2 if delays else self.account.limiter.ask_again_s)
        worker.had_none = not delays
        worker.waiting -= len(delays)
        self.left -= len(delays)
        epoch = worker.epoch
        for delay in delays:
            self.at(now + delay, lambda now: self.send(worker, epoch, now))
        self.at(max(now, worker.asks_at), lambda now: self.ask(worker, now))

    def send(self, worker: PlayedWorker, epoch: int, now: float) -> None:
        if epoch != worker.epoch:
            worker.unused += 1
            self.again(worker, now)
            return
        self.at(now + self.chance.random() * self.account.late_s, lambda now: self.arrive(worker, now))

    def arrive(self, worker: PlayedWorker, now: float) -> None:
        wait_s = self.taken(now)
        answer_s = self.account.latency_s * self.chance.uniform(0.8, 1.3)
        if wait_s:
            self.at(now + answer_s, lambda now: self.rejected(worker, wait_s, now))
        else:
            self.at(now + answer_s, lambda now: self.accepted(worker, now))

    def taken(self, now: float) -> float:
        account = self.account
        wait_s = max(account.requests.wait_s(1, now), account.pu.wait_s(account.pu_each, now))
        if not wait_s:
            account.requests.level -= 1
            account.pu.level -= account.pu_each
        return wait_s

    def accepted(self, worker: PlayedWorker, now: float) -> None:
        self.told.accepted += 1
        worker.answered += 1
        worker.asks_at = now if worker.had_none else worker.asks_at
        worker.waiting += 1
        self.ask(worker, now)

    def rejected(self, worker: PlayedWorker, wait_s: float, now: float) -> None:
        self.told.rejected_at.append(now)
        self.account.limiter.rejected(now, wait_s)
        worker.epoch += 1
        worker.asks_at = now
        self.at(now + wait_s, lambda now: self.again(worker, now))

    def again(self, worker: PlayedWorker, now: float) -> None:
        worker.waiting += 1
        self.left += 1
        self.ask(worker, now)

    def other(self, now: float) -> None:
        if self.taken(now):
            self.told.other_rejected += 1
        else:
            self.told.other_accepted += 1
        self.at(now + self.chance.uniform(0.8, 1.2) / self.account.other_per_s, self.other)

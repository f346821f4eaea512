"""Whether the service is down: failures in a row make everyone pause, and in the end give up together.

A state machine with ``now`` as an argument. Refuses to know what failed, and for whom.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shdask.errors import ServiceDown


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageRule:
    """When an account's requests pause, and when its builds stop. Failures are no answer, 5xx and no picture."""

    pause_after: int = 5
    """So many failures in a row, whoever met them, and only single requests are sent, to see whether it is over ..."""
    max_pause_s: float = 30.0
    """... 1, 2, 4 ... seconds apart, and at most so long."""
    stop_after: int = 20
    """Builds stop after so many failures in a row ..."""
    stop_s: float = 120.0
    """... that span at least so long."""


@dataclass(slots=True, kw_only=True)
class Outage:
    """What an account's requests have met since the last success. Its one owner calls it in turn."""

    rule: OutageRule = field(default_factory=OutageRule)
    failures: int = 0
    """In a row."""
    _since: float = 0.0
    _last: str = ""
    _probes: int = 0
    _next_probe: float = 0.0

    def failed(self, now: float, text: str) -> None:
        """Reports a request that brought nothing; ``text`` says why."""
        if not self.failures:
            self._since = now
        self.failures += 1
        self._last = text
        if self.failures == self.rule.pause_after:
            self._next_probe = now + 1.0

    def answered(self) -> None:
        """Reports that the service works: a request brought what it was sent for, or a plain refusal."""
        self.failures = self._probes = 0

    def pause_s(self, now: float) -> float:
        """Seconds from ``now`` during which nothing shall be sent; 0 where all is well, or a probe is due."""
        return max(0.0, self._next_probe - now) if self.paused else 0.0

    @property
    def paused(self) -> bool:
        """Whether single requests are sent only."""
        return self.failures >= self.rule.pause_after

    def probe(self, now: float) -> None:
        """A request is sent to see whether it is over; the next pause is twice as long, whatever becomes of it."""
        self._probes += 1
        self._next_probe = now + min(self.rule.max_pause_s, 2.0 ** min(self._probes, 32))

    def stops(self, now: float) -> ServiceDown | None:
        """The error that ends the account's builds, once it has lasted too long."""
        lasted_s = now - self._since
        if self.failures < self.rule.stop_after or lasted_s < self.rule.stop_s:
            return None
        return ServiceDown(
            f"the service has brought nothing for {lasted_s:.0f} s, {self.failures} times in a row, the last time: "
            f"{self._last}. What was fetched is kept: run the same command again to go on"
        )

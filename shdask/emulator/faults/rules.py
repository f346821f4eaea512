"""What can go wrong, and which call it hits: by probability or by a script, the same under the same seed.

Refuses to know HTTP, the clock, and how any of it is carried out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, Literal

Service = Literal["process", "token", "catalog", "async", "account", "any", "job"]
Page = Literal["json", "html"]
RetryAfter = Literal["ms", "s", "absent", "negative", "huge", "word", "date", "fraction", "absurd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One way in which a call goes wrong."""

    says: str
    """What the client sees."""
    parameter: str | None = None
    """The field of Fault that tells it more closely."""
    spoils: bool = False
    """It is made of the real answer, so that the work was done and charged in any case."""
    job: bool = False
    """It befalls an asynchronous job that was accepted, not a call."""


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "500": Kind(says="500 RENDERER_EXCEPTION", parameter="page"),
        "502": Kind(says="502, as a gateway sends it", parameter="page"),
        "503": Kind(says="503", parameter="page"),
        "504": Kind(says="504, as a gateway sends it", parameter="page"),
        "429": Kind(says="429 with a Retry-After of any form", parameter="retry_after"),
        "403": Kind(says="403, the month is used up"),
        "401": Kind(says="401, though the token is good"),
        "400": Kind(says="400 Request body should be non-empty., though it is not"),
        "revoke": Kind(says="every token ends just before this call, which is answered accordingly"),
        "html": Kind(says="an HTML page with status 200"),
        "json": Kind(says="an error's JSON with status 200"),
        "reset": Kind(says="the connection is reset (TCP RST) before the answer"),
        "reset-body": Kind(says="the connection is reset (TCP RST) within the body", parameter="at", spoils=True),
        "close": Kind(says="the connection is closed without an answer"),
        "cut": Kind(says="the body ends before its Content-Length", parameter="at", spoils=True),
        "cut-chunked": Kind(says="a chunked body ends without its last chunk", parameter="at", spoils=True),
        "garbled": Kind(
            says="a body of the right length, one byte in 64 changed (no client notices in a TIFF without compression)",
            spoils=True,
        ),
        "shape": Kind(says="a TIFF without its last row and column; other answers are garbled", spoils=True),
        "dtype": Kind(says="a TIFF of a wider sample type; other answers are garbled", spoils=True),
        "bands": Kind(says="a TIFF that lacks a band, or has one twice; other answers are garbled", spoils=True),
        "drip": Kind(says="the body trickles", parameter="nbytes_per_s", spoils=True),
        "delay": Kind(says="the answer comes late", parameter="delay_s", spoils=True),
        "hang": Kind(says="no answer ever; the connection is held until the client leaves"),
        "slow": Kind(says="a job runs so much longer", parameter="delay_s", job=True),
        "fail": Kind(says="a job fails, and leaves an error.json", job=True),
        "vanish": Kind(says="a job ends and leaves nothing", job=True),
        "early": Kind(says="a job still runs so long after its files are there", parameter="delay_s", job=True),
        "late": Kind(says="a job's files are there only so long after it ended", parameter="delay_s", job=True),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A rule: this happens to those calls, or jobs. They count from 1, per rule, since it was set."""

    kind: str
    """One of KINDS."""
    service: Service = "process"
    """Whose calls count."""
    contains: str | None = None
    """Only calls count whose body, as it was sent, holds this text."""
    probability: float = 1.0
    """Chance of each call it may hit."""
    first: int = 1
    last: int | None = None
    """The calls it may hit, both included; None is no end."""
    every: int = 1
    """Of all calls that count, only every so-many-th may be hit."""
    after_s: float = 0.0
    """Strikes from so long after it was set ..."""
    for_s: float | None = None
    """... and for so long."""
    times: int | None = None
    """Strikes no more often than this."""
    charged: bool = False
    """The call is worked on, and paid for, before it goes wrong; kinds that spoil the real answer always charge."""
    page: Page = "json"
    """How a 5xx looks: the service's JSON, or a gateway's HTML."""
    retry_after: RetryAfter = "ms"
    """A second's wait in milliseconds or seconds, none at all, one of the values that no client expects (-1, 1e12 as
    digits, "soon", an HTTP date, 3.5), or one of those by luck."""
    at: float = 0.5
    """The part of the body after which it breaks off."""
    nbytes_per_s: float = 4096.0
    delay_s: float = 1.0

    @property
    def needs_answer(self) -> bool:
        """Whether the call has to be answered before it goes wrong. Pure."""
        return self.charged or KINDS[self.kind].spoils

    def told(self) -> dict[str, Any]:
        """The rule as JSON: its kind, and what is not by default. Pure."""
        values = asdict(self)
        return {field.name: values[field.name] for field in fields(self) if values[field.name] != field.default}


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """A fault that hits one call."""

    fault: Fault
    service: str
    """Whose call it is."""
    luck: int
    """A number of 64 bits for what is left open; the same under the same seed."""


@dataclass(slots=True, kw_only=True)
class _Tally:
    fault: Fault
    number: int
    since: float
    calls: int = 0
    struck: int = 0

    def hits(self, seed: int, now: float) -> bool:
        """Whether the call that was just counted is hit."""
        fault, age_s = self.fault, now - self.since
        return (
            fault.first <= self.calls <= (fault.last or self.calls)
            and self.calls % fault.every == 0
            and (fault.times is None or self.struck < fault.times)
            and age_s >= fault.after_s
            and (fault.for_s is None or age_s < fault.after_s + fault.for_s)
            and self.luck(seed) / 2**64 < fault.probability
        )

    def luck(self, seed: int) -> int:
        """A number of 64 bits that depends on the seed, the rule and the call alone."""
        digest = hashlib.blake2b(f"{seed} {self.number} {self.calls}".encode(), digest_size=8).digest()
        return int.from_bytes(digest)


class FaultBook:
    """The rules in force, and how often each struck; safe on one event loop."""

    def __init__(self, faults: Iterable[Fault], *, seed: int, now: float) -> None:
        self._seed = seed
        self._tallies: list[_Tally] = []
        self._counts: Counter[str] = Counter()
        self.replace(faults, now)

    @property
    def armed(self) -> bool:
        """Whether there is any rule."""
        return bool(self._tallies)

    def replace(self, faults: Iterable[Fault], now: float) -> None:
        """Set these rules, at ``now`` (seconds), and no others; the same ones strike again as they did before."""
        self._tallies = []
        self.add(faults, now)

    def add(self, faults: Iterable[Fault], now: float) -> None:
        """Set these rules too, at ``now`` (seconds)."""
        for fault in faults:
            self._tallies.append(_Tally(fault=fault, number=len(self._tallies), since=now))

    def restart(self, now: float) -> None:
        """Forget every count; the rules are as if they had just been set."""
        self._counts.clear()
        self.replace([tally.fault for tally in self._tallies], now)

    def strike(self, service: str, body: bytes, now: float) -> Strike | None:
        """Count this call with every rule it falls under; the first rule that hits it, or None."""
        hit = self._count({"any", service}, body, now)[:1]
        return self._strike(hit[0], service) if hit else None

    def strike_job(self, body: bytes, now: float) -> tuple[Strike, ...]:
        """Count this job with every rule it falls under; all the rules that hit it."""
        return tuple(self._strike(tally, "job") for tally in self._count({"job"}, body, now))

    def _count(self, services: Container[str], body: bytes, now: float) -> list[_Tally]:
        counted = [
            tally
            for tally in self._tallies
            if tally.fault.service in services and (tally.fault.contains or "").encode() in body
        ]
        for tally in counted:
            tally.calls += 1
        return [tally for tally in counted if tally.hits(self._seed, now)]

    def _strike(self, tally: _Tally, service: str) -> Strike:
        tally.struck += 1
        self._counts[tally.fault.kind] += 1
        return Strike(fault=tally.fault, service=service, luck=tally.luck(self._seed))

    def rules(self) -> list[dict[str, Any]]:
        """The rules as JSON, each with the ``calls`` it counted and how often it ``struck``."""
        return [{**tally.fault.told(), "calls": tally.calls, "struck": tally.struck} for tally in self._tallies]

    def counts(self) -> dict[str, int]:
        """How often each kind struck since the start or the last ``restart``, whatever became of its rule."""
        return dict(self._counts)

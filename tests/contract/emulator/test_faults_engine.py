"""Our own client among the faults: what it survives, and in which error it ends where it cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from shdask.emulator.launch import EmulatorProcess, start_emulator
from shdask.errors import (
    AuthError,
    DecodeError,
    QuotaExhausted,
    RateLimited,
    ServiceUnavailable,
    ShdaskError,
    TokenRejected,
    TransportError,
)
from shdask.fetch.auth import ClientCredentials
from shdask.fetch.client import ServiceClient, Spent
from shdask.fetch.decode import decode_tiff
from shdask.fetch.limiter import LimiterState, LocalRateGate
from shdask.fetch.retry import RetryPolicy
from shdask.fetch.transport import RequestsTransport, Timeouts
from shdask.settings import Credentials, Deployment

from .conftest import make_body

PU = 0.005


@dataclass(kw_only=True)
class Clock:
    """A clock that only sleeping moves."""

    now: float = 1000.0
    waits_s: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        """Seconds."""
        return self.now

    def sleep(self, wait_s: float) -> None:
        """Note the wait, and be later."""
        self.waits_s.append(wait_s)
        self.now += wait_s


@dataclass(kw_only=True)
class Engine:
    """A client whose waiting passes at once, and what it spent and waited."""

    client: ServiceClient
    emulator: EmulatorProcess
    spent: Spent = field(default_factory=Spent)
    clock: Clock

    def buy(self) -> Any:
        """The picture of 20 x 10 pixels, (band, y, x)."""
        return self.client.process(make_body(), PU, decode, spent=self.spent).value

    def fail(self) -> tuple[type[ShdaskError], int]:
        """The error in which buying ends, and how often it was tried."""
        with pytest.raises(ShdaskError) as raised:
            self.buy()
        return type(raised.value), self.spent.requests


def decode(body: bytes) -> Any:
    bounds = (500000.0, 5099900.0, 500200.0, 5100000.0)
    return decode_tiff(body, shape=(10, 20), band_count=2, dtype="uint16", bounds=bounds, epsg=32633)


@pytest.fixture(scope="module")
def running() -> Iterator[EmulatorProcess]:
    """An emulator that this file may spoil."""
    with start_emulator(renderers=1) as process:
        yield process


@pytest.fixture
def engine(running: EmulatorProcess) -> Iterator[Engine]:
    """A client of an emulator with zeroed counts and no faults yet."""
    running.clear_faults()
    running.reset()
    where = Deployment(
        name="custom",
        base_url=running.base_url,
        token_url=running.token_url,
        requests_per_minute=6e5,
        pu_per_minute=6e5,
    )
    transport = RequestsTransport(1)
    credentials = Credentials(client_id=running.client_id, client_secret=running.client_secret)
    clock = Clock()
    client = ServiceClient(
        where,
        transport,
        LocalRateGate(LimiterState.for_deployment(where), clock=clock, sleep=clock.sleep),
        ClientCredentials(transport, where, credentials, clock=clock),
        RetryPolicy(max_retries=2),
        timeouts=Timeouts(read_s=0.8, total_s=1.0),
        clock=clock,
        sleep=clock.sleep,
    )
    yield Engine(client=client, emulator=running, clock=clock)
    transport.close()
    running.clear_faults()


@pytest.mark.parametrize(
    "faults",
    [
        "500@1-2",
        "502=html@1,504@2",
        "503@1,close@2",
        "reset@1,reset-body@2",
        "cut@1,cut-chunked@2",
        "cut=0@1-2",
        "garbled@1-2",
        "shape@1,dtype@2",
        "bands@1,html@2",
        "json@1",
        "400@1",
        "401@1",
        "revoke@1",
        "hang@1",
        "drip=100@1",
        "delay=0.2@1",
    ],
)
def test_a_passing_fault_costs_no_pixel(engine, faults):
    """The picture comes in the end, as it would have come at once."""
    whole = engine.buy()
    engine.emulator.set_faults(faults)
    np.testing.assert_array_equal(engine.buy(), whole)


@pytest.mark.parametrize(
    ("fault", "error", "tries"),
    [
        ("500", ServiceUnavailable, 3),
        ("502=html", ServiceUnavailable, 3),
        ("503", ServiceUnavailable, 3),
        ("504=html", ServiceUnavailable, 3),
        ("400", ServiceUnavailable, 3),
        ("401", TokenRejected, 6),
        ("403", QuotaExhausted, 1),
        ("reset", TransportError, 3),
        ("reset-body", TransportError, 3),
        ("close", TransportError, 3),
        ("cut", TransportError, 3),
        ("cut-chunked", TransportError, 3),
        ("hang", TransportError, 3),
        ("drip=100", TransportError, 3),
        ("garbled", DecodeError, 3),
        ("shape", DecodeError, 3),
        ("dtype", DecodeError, 3),
        ("bands", DecodeError, 3),
        ("html", DecodeError, 3),
        ("json", DecodeError, 3),
    ],
)
def test_a_lasting_fault_ends_in_its_error(engine, fault, error, tries):
    """Each kind is called by its name, after as many attempts as its class allows."""
    engine.emulator.set_faults(fault)
    assert engine.fail() == (error, tries)


@pytest.mark.parametrize(
    ("form", "wait_s"),
    [("ms", 1.0), ("s", 0.001), ("fraction", 0.0035)],
)
def test_advice_is_taken(engine, form, wait_s):
    """A number is milliseconds, as documented."""
    engine.emulator.set_faults(f"429={form}@1")
    engine.buy()
    assert engine.clock.waits_s[0] == pytest.approx(wait_s)
    assert engine.spent.rejected == 1


@pytest.mark.parametrize("form", ["absent", "negative", "huge", "word", "date"])
def test_absurd_advice_is_survived(engine, form):
    """No wait is longer than the deployment's cap, whatever the header says."""
    engine.emulator.set_faults(f"429={form}@1")
    engine.buy()
    assert 0 < engine.clock.now - 1000.0 <= 61


def test_a_lasting_429_ends_when_the_time_is_used_up(engine):
    """A rejection is no failure of the request: it ends by the total time only, here by one absurd wait too many."""
    engine.client._policy = RetryPolicy(total_s=5.0)
    engine.emulator.set_faults("429=huge")
    assert engine.fail() == (RateLimited, 1)


@pytest.mark.parametrize(("fault", "error"), [("token/401", AuthError), ("token/503=html", ServiceUnavailable)])
def test_without_a_token_nothing_is_bought(engine, fault, error):
    """The token endpoint's failures have their own classes, and no data request is sent."""
    engine.emulator.set_faults(fault)
    with pytest.raises(error):
        engine.buy()
    assert "POST /api/v1/process 200" not in engine.emulator.stats()["calls"]


def test_the_units_of_lost_answers_are_counted(engine):
    """Two cut answers and a whole one: three are charged, and our books say the same."""
    engine.emulator.set_faults("cut@1-2")
    engine.buy()
    assert engine.spent.pu == pytest.approx(3 * PU)
    assert engine.emulator.stats()["pu_charged"] == pytest.approx(3 * PU)


def test_a_run_among_many_faults_buys_what_a_quiet_one_does(engine):
    """Forty pictures among resets, cuts, limits and revocations: every pixel comes, and both books agree."""
    engine.client._policy = RetryPolicy()
    whole = engine.buy()
    engine.emulator.set_faults("503:0.1,reset:0.05,cut:0.1,reset-body:0.05,garbled:0.05,429=absurd:0.1,revoke@every15")
    pictures = [engine.buy() for _ in range(40)]
    stats = engine.emulator.stats()
    np.testing.assert_array_equal(pictures, [whole] * 40)
    assert set(stats["faults"]) == {"503", "reset", "cut", "reset-body", "garbled", "429", "revoke"}
    assert engine.spent.pu == pytest.approx(stats["pu_charged"])
    assert engine.spent.rejected == stats["rate_limited"]


def test_a_body_that_says_which_tile_can_be_sought_out(engine):
    """A rule for one body leaves the client's other requests alone."""
    bbox = json.dumps(make_body()["input"]["bounds"]["bbox"]).replace(" ", "")
    engine.emulator.set_faults([{"kind": "503", "contains": bbox[1:7], "times": 1}])
    engine.buy()
    assert engine.spent.requests == 2

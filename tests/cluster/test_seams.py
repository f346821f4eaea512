"""One suite for both kinds of RateGate, TokenSource and Budget: in one process, and on a worker by the scheduler."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

import cloudpickle
import pytest
from distributed import Client, get_worker
from distributed.protocol.serialize import ToPickle

from shdask.cluster.build_desk import BuildDesk
from shdask.cluster.scheduler_plugin import AccountDesk, Sealed, account_key
from shdask.cluster.seams import SchedulerBudget, SchedulerGate, SchedulerTokens
from shdask.errors import BudgetExceeded
from shdask.fetch.auth import ClientCredentials, TokenSource
from shdask.fetch.budget import Budget, BudgetState, LocalBudget
from shdask.fetch.client import RequestsTransport
from shdask.fetch.limiter import LimiterState, LocalRateGate, RateGate
from shdask.settings import Credentials, Deployment, make_deployment

THREADS = 8
Run = Callable[[Callable[[RateGate, TokenSource], Any]], Any]

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the tests


def run_local(deployment: Deployment, work: Callable[[RateGate, TokenSource], Any]) -> Any:
    transport = RequestsTransport(pool_size=1)
    tokens = ClientCredentials(transport, deployment, Credentials.load())
    try:
        return work(LocalRateGate(LimiterState.for_deployment(deployment)), tokens)
    finally:
        transport.close()


def run_on_worker(client: Client, deployment: Deployment, work: Callable[[RateGate, TokenSource], Any]) -> Any:
    client.register_plugin(AccountDesk())
    credentials = Credentials.load()
    account = f"{account_key(deployment, credentials)}-{time.monotonic_ns()}"
    client.sync(
        client.scheduler.shdask_login,
        account=account,
        client_id=credentials.client_id,
        client_secret=ToPickle(Sealed(credentials.client_secret)),
        deployment=asdict(deployment),
    )

    def task() -> Any:
        return work(SchedulerGate(get_worker(), account), SchedulerTokens(get_worker(), account))

    return client.submit(task, pure=False).result(timeout=60)


@pytest.fixture(params=["local", "worker"])
def run(request: pytest.FixtureRequest, client: Client, earth, point_at) -> Run:
    """Runs a function with a gate of 60 requests a minute (a burst of 30) and the emulator's tokens."""
    point_at(earth)
    deployment = make_deployment(requests_per_minute=60.0, pu_per_minute=6000.0, bucket_s=32.0)
    if request.param == "local":
        return lambda work: run_local(deployment, work)
    return lambda work: run_on_worker(client, deployment, work)


def spread(function: Callable[[], Any], count: int) -> list[Any]:
    """What ``count`` calls from several threads return."""
    with ThreadPoolExecutor(THREADS) as pool:
        return [future.result() for future in [pool.submit(function) for _ in range(count)]]


def test_gate_gives_the_burst_at_once_and_then_the_rate(run) -> None:
    """33 permits from a burst of 30 and one a second take three seconds, whoever waits."""

    def work(gate: RateGate, tokens: TokenSource) -> float:
        started = time.monotonic()
        spread(lambda: gate.acquire(0.01), 33)
        return time.monotonic() - started

    assert 2.9 <= run(work) < 6


def test_gate_is_silent_as_long_as_the_service_asks(run) -> None:
    """After a 429 with an advice of one second no permit is given for a second."""

    def work(gate: RateGate, tokens: TokenSource) -> float:
        gate.acquire(0.01)
        gate.rejected(1.0)
        started = time.monotonic()
        gate.acquire(0.01)
        return time.monotonic() - started

    assert run(work) >= 0.99


def test_gate_serves_prices_of_all_sizes(run) -> None:
    """Cheap and dear requests that wait together all get their permit."""

    def work(gate: RateGate, tokens: TokenSource) -> int:
        with ThreadPoolExecutor(THREADS) as pool:
            return len(list(pool.map(gate.acquire, [0.01, 5.0] * 10)))

    assert run(work) == 20


def test_threads_share_one_token(run, earth) -> None:
    """Any number of threads get the same token."""

    def work(gate: RateGate, tokens: TokenSource) -> int:
        return len({token.value for token in spread(tokens.token, 50)})

    assert run(work) == 1


def test_refused_token_is_renewed_once(run, earth) -> None:
    """Threads that all had the same token refused share one new one."""
    issued = earth.stats()["tokens_issued"]

    def work(gate: RateGate, tokens: TokenSource) -> tuple[bool, int]:
        old = tokens.token()

        def renewed() -> str:
            tokens.refused(old)
            return tokens.token().value

        new = set(spread(renewed, 20))
        return old.value in new, len(new)

    assert run(work) == (False, 1)
    assert earth.stats()["tokens_issued"] - issued == 2


def test_second_login_brings_its_own_rates(client, earth, point_at) -> None:
    """A job that names another rate is heard, also where the cluster remembers the account; all count on."""
    point_at(earth)
    deployment, credentials = make_deployment(requests_per_minute=60.0, bucket_s=60.0), Credentials.load()
    account = f"{account_key(deployment, credentials)}-{time.monotonic_ns()}"
    client.register_plugin(AccountDesk())

    def requests_per_minute(rate: float) -> tuple[float, float]:
        client.sync(
            client.scheduler.shdask_login,
            account=account,
            client_id=credentials.client_id,
            client_secret=ToPickle(Sealed(credentials.client_secret)),
            deployment=asdict(replace(deployment, requests_per_minute=rate)),
        )
        client.sync(client.scheduler.shdask_lease, account=account, count=1, pu_each=0.01)
        snapshot = client.sync(client.scheduler.shdask_snapshot, account=account)
        return snapshot["requests_per_s"] * 60, snapshot["permits"]

    assert [requests_per_minute(rate) for rate in (60.0, 60.0, 6.0)] == [(60.0, 1), (60.0, 2), (6.0, 3)]


def budget_on_worker(client: Client, max_pu: float, work: Callable[[Budget], Any]) -> Any:
    client.register_plugin(BuildDesk())
    build = f"b{time.monotonic_ns()}"
    words = {"client": client.id, "tile_count": 1, "frozen_s": 60.0, "max_pu": max_pu}
    client.sync(client.scheduler.shdask_open_build, build=build, **words)
    try:
        return client.submit(lambda: work(SchedulerBudget(get_worker(), build)), pure=False).result(timeout=60)
    finally:
        client.sync(client.scheduler.shdask_close_build, build=build)


@pytest.fixture(params=["local", "worker"])
def under_cap(request: pytest.FixtureRequest, client: Client) -> Callable[[Callable[[Budget], Any]], Any]:
    """Runs a function with a budget of 10 PU."""
    if request.param == "local":
        return lambda work: work(LocalBudget(BudgetState(max_pu=10.0)))
    return lambda work: budget_on_worker(client, 10.0, work)


def test_threads_are_promised_no_more_than_the_cap(under_cap) -> None:
    """Of 40 requests of 1 PU that ask at once, once a first answer has come, nine are promised it and the rest wait."""

    def work(budget: Budget) -> int:
        budget.settle(budget.reserve(1.0) or 0, 1.0)
        return sum(promise is not None for promise in spread(lambda: budget.reserve(1.0), 40))

    assert under_cap(work) == 9


def test_what_is_given_back_is_promised_to_others(under_cap) -> None:
    """A request that was refused has cost nothing."""

    def work(budget: Budget) -> bool:
        promise = budget.reserve(8.0)
        waits = budget.reserve(8.0) is None
        budget.settle(promise or 0, 0.0)
        return waits and budget.reserve(8.0) is not None

    assert under_cap(work)


def test_what_passes_the_cap_is_refused(under_cap) -> None:
    """With the price, what is spent, and the cap."""

    def work(budget: Budget) -> str:
        budget.settle(budget.reserve(8.0) or 0, 8.0)
        try:
            budget.reserve(8.0)
        except BudgetExceeded as error:
            return str(error)
        return "promised"

    assert "costs 8 PU, and 8 of max_pu 10 are spent" in under_cap(work)


def test_a_later_login_knows_the_burst_and_what_was_used_of_it(client, earth, point_at) -> None:
    """Ten were used, and 30 s are known: three at six a minute, so that seven and the next one have to come back."""
    point_at(earth)
    first = make_deployment(requests_per_minute=60.0, pu_per_minute=6000.0, bucket_s=32.0)
    second = make_deployment(requests_per_minute=6.0, pu_per_minute=6000.0)
    credentials = Credentials.load()
    account = f"{account_key(first, credentials)}-{time.monotonic_ns()}"
    client.register_plugin(AccountDesk())

    def lease(deployment: Deployment) -> tuple[float, ...]:
        client.sync(
            client.scheduler.shdask_login,
            account=account,
            client_id=credentials.client_id,
            client_secret=ToPickle(Sealed(credentials.client_secret)),
            deployment=asdict(deployment),
        )
        delays: tuple[float, ...] = client.sync(client.scheduler.shdask_lease, account=account, count=10, pu_each=0.01)
        return delays

    assert lease(first) == (0.0,) * 10
    assert 20 < lease(second)[0] <= 80


def test_a_worker_holds_few_permits_ahead(client, earth, point_at) -> None:
    """Of many threads that wait most have none: what a worker holds is sent although another was answered 429."""
    point_at(earth)
    deployment = make_deployment(requests_per_minute=60.0, pu_per_minute=6000.0, bucket_s=2.0)

    def work(gate: RateGate, tokens: TokenSource) -> str:
        one_has = threading.Event()

        def wait() -> None:
            gate.acquire(0.01)
            one_has.set()

        _ = [threading.Thread(target=wait, daemon=True).start() for _ in range(20)]
        one_has.wait()
        account: str = gate._account  # type: ignore[attr-defined]  # which one this test has made
        return account

    account = run_on_worker(client, deployment, work)
    assert client.sync(client.scheduler.shdask_snapshot, account=account)["permits"] <= 5

"""One request in, one checked answer out: permit, token, sending, classification and decoding inside the retry loop.

Refuses to know tiles, rasters and the wire (a Transport does), and who else shares limits and token.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from shdask.about import get_logger
from shdask.errors import (
    AuthError,
    JobQueueFull,
    RateLimited,
    ServiceError,
    ShdaskError,
    TokenRejected,
    TransportError,
)
from shdask.fetch.answers import service_error, without_secrets
from shdask.fetch.auth import TokenSource
from shdask.fetch.budget import Budget, Uncapped
from shdask.fetch.limiter import RateGate
from shdask.fetch.retry import RetryPolicy, call_with_retries
from shdask.fetch.transport import HttpAnswer, RequestsTransport, Timeouts, Transport
from shdask.request.body import encode_json
from shdask.settings import Deployment

__all__ = ["Fetched", "RequestsTransport", "ServiceClient", "Spent"]

logger = get_logger(__name__)

T = TypeVar("T")

MAX_CHARGED = 3
"""A request is not tried again once it was charged so often: what is lost stays a small factor of its price."""
PROMISE_S = 1.0
"""Whoever must wait for what others were promised asks again so often."""


@dataclass(slots=True, kw_only=True)
class Spent:
    """What requests have cost so far; counts on while they are tried, so that a failure does not lose it."""

    requests: int = 0
    """Sent, retries included."""
    rejected: int = 0
    """Of those, answered 429."""
    pu: float = 0.0
    """As every 2xx answer stated it, those included that turned out unreadable; the price where one states none."""
    pu_unknown: float = 0.0
    """Price of the attempts whose answer never came: they may have been charged as well."""
    nbytes: int = 0
    """Received in bodies."""
    answers: int = field(default=0, compare=False)
    """Whole 2xx answers, and how long they took from sending to the last byte; two that cost the same are equal."""
    answers_s: float = field(default=0.0, compare=False)

    def add(self, other: Spent) -> None:
        """Counts ``other`` as well."""
        self.requests += other.requests
        self.rejected += other.rejected
        self.pu += other.pu
        self.pu_unknown += other.pu_unknown
        self.nbytes += other.nbytes
        self.answers += other.answers
        self.answers_s += other.answers_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched(Generic[T]):
    """A decoded answer and what it cost."""

    value: T
    spent: Spent


Judge = Callable[[ShdaskError, Spent], ShdaskError]
"""What an error of an attempt means to its caller, who may add to what the attempt has cost."""


def _as_it_is(error: ShdaskError, cost: Spent) -> ShdaskError:  # noqa: ARG001  # a Judge
    return error


class ServiceClient:
    """Sends requests of one account to one deployment, as long as they fit into a budget. Thread-safe."""

    def __init__(
        self,
        deployment: Deployment,
        transport: Transport,
        gate: RateGate,
        tokens: TokenSource,
        policy: RetryPolicy | None = None,
        *,
        timeouts: Timeouts | None = None,
        budget: Budget | None = None,
        before_send: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._deployment = deployment
        self._transport = transport
        self._gate = gate
        self._tokens = tokens
        self._policy = policy or RetryPolicy()
        self._timeouts = timeouts or Timeouts()
        self._budget = budget or Uncapped()
        self._before_send = before_send
        self._clock = clock
        self._sleep = sleep

    @property
    def deployment(self) -> Deployment:
        """Where it sends to."""
        return self._deployment

    def under(self, budget: Budget, *, before_send: Callable[[], object] = lambda: None) -> ServiceClient:
        """The same client, limiter and token, under another cap; ``before_send`` may raise just before each sending."""
        return ServiceClient(
            self._deployment,
            self._transport,
            self._gate,
            self._tokens,
            self._policy,
            timeouts=self._timeouts,
            budget=budget,
            before_send=before_send,
            clock=self._clock,
            sleep=self._sleep,
        )

    def process(
        self,
        body: Mapping[str, Any],
        pu: float,
        decode: Callable[[bytes], T],
        *,
        accept: str = "image/tiff",
        spent: Spent | None = None,
    ) -> Fetched[T]:
        """Buys one picture from the Process API and returns what ``decode`` makes of its bytes.

        ``pu`` is the projected price of one attempt, in processing units. ``decode`` raises DecodeError for an
        answer that is not the picture; it is then bought again, few times. Nothing is charged more than three
        times. What is spent is added to ``spent`` with every attempt, also where this raises. Every attempt is
        reserved in the budget before it is sent, and settled from its answer: one without an answer counts as
        charged, one that was refused as not.

        Raises:
            BudgetExceeded: the next attempt does not fit into the budget, and was not sent.
            RequestRejected, AuthError, QuotaExhausted, ServiceDown: asking again cannot help.
            RateLimited, ServiceUnavailable, TransportError, DecodeError: asking again did not help.

        """
        return self._buy(self._deployment.process_path, body, pu, decode, accept=accept, spent=spent)

    def search(
        self, body: Mapping[str, Any], pu: float, decode: Callable[[bytes], T], *, spent: Spent | None = None
    ) -> Fetched[T]:
        """Buys one page of a search from the Catalog, as ``process`` buys a picture, and raises as it does."""
        # application/json is refused since version 1.0.0 of the Catalog
        return self._buy(self._deployment.catalog_path + "/search", body, pu, decode, accept="*/*", spent=spent)

    def submit(
        self,
        body: Mapping[str, Any],
        pu: float,
        decode: Callable[[bytes], T],
        judge: Judge,
        *,
        spent: Spent,
        secrets: tuple[str, ...] = (),
    ) -> T:
        """Orders a job from Async Process and returns what ``decode`` makes of the answer; as ``process`` otherwise.

        What ``judge`` makes of an attempt's error is raised, or tried again where its class says so. The limiter is
        asked for a request without units: a large job is dearer than a minute's, and would never be accepted if they
        were counted against those (which is not documented). ``secrets`` of the body are masked where an error
        answer repeats them, before anybody hears of it; ``decode`` masks them in what it says itself.
        """
        accept = "application/json"
        return self._buy(
            self._deployment.async_path,
            body,
            pu,
            decode,
            accept=accept,
            spent=spent,
            judge=judge,
            permit_pu=0.0,
            secrets=secrets,
        ).value

    def _buy(
        self,
        path: str,
        body: Mapping[str, Any],
        pu: float,
        decode: Callable[[bytes], T],
        *,
        accept: str,
        spent: Spent | None,
        judge: Judge = _as_it_is,
        permit_pu: float | None = None,
        secrets: tuple[str, ...] = (),
    ) -> Fetched[T]:
        headers = {"Content-Type": "application/json", "Accept": accept}
        spent = Spent() if spent is None else spent

        def read(answer: HttpAnswer) -> T:
            return decode(answer.body)

        url, payload = self._deployment.base_url + path, encode_json(body)
        value = self._call(
            "POST",
            url,
            headers=headers,
            payload=payload,
            pu=pu,
            read=read,
            spent=spent,
            judge=judge,
            permit_pu=pu if permit_pu is None else permit_pu,
            secrets=secrets,
        )
        return Fetched(value=value, spent=spent)

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        with_token: bool = True,
        secrets: tuple[str, ...] = (),
    ) -> HttpAnswer:
        """The whole 2xx answer to one request of any kind, sent under the limiter as one that costs no units.

        ``url`` is absolute. The token goes along unless ``headers`` bring an authorization or ``with_token`` is False.
        ``secrets`` are masked where an error answer tells them. Raises as ``process`` does, but for DecodeError.
        """
        with_token = with_token and "authorization" not in {name.lower() for name in headers}
        return self._call(
            method,
            url,
            headers=headers,
            payload=body,
            pu=0.0,
            read=_whole,
            spent=Spent(),
            with_token=with_token,
            secrets=secrets,
        )

    def _call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        payload: bytes | None,
        pu: float,
        read: Callable[[HttpAnswer], T],
        spent: Spent,
        with_token: bool = True,
        judge: Judge = _as_it_is,
        permit_pu: float = 0.0,
        secrets: tuple[str, ...] = (),
    ) -> T:
        charged = 0

        def attempt(cost: Spent) -> T:
            nonlocal charged
            token = self._tokens.token() if with_token else None
            cost.requests += 1
            bearer = {} if token is None else {"Authorization": f"Bearer {token.value}"}
            answer = self._send(method, url, headers={**bearer, **headers}, payload=payload, pu=pu, spent=cost)
            charged += answer.is_success
            error = self._error_of(answer, secrets)
            cost.rejected += answer.status == 429 and not isinstance(error, JobQueueFull)  # noqa: PLR2004  # HTTP's own
            if isinstance(error, RateLimited):
                self._gate.rejected(error.retry_after_s)
            if isinstance(error, TokenRejected) and token is not None:
                self._tokens.refused(token)
            if error is not None:
                raise error
            return read(answer)

        def permitted() -> T:
            promise, cost = self._reserve(pu, permit_pu), Spent()
            try:
                return self._told(lambda: attempt(cost))
            except ShdaskError as error:
                judged = judge(error, cost)
            finally:
                spent.add(cost)
                self._budget.settle(promise, cost.pu + cost.pu_unknown)
            # out here it has no context: frames below hold the request, and with it a bucket's keys
            raise judged

        return call_with_retries(
            permitted,
            self._policy,
            clock=self._clock,
            sleep=self._sleep,
            on_error=_log_retry,
            is_enough=lambda: charged >= MAX_CHARGED,
        )

    def _reserve(self, pu: float, permit_pu: float) -> int:
        """A permit to send, and the budget's promise of the price.

        The permit comes first, for it may take long; it keeps, for what waits at once is a small part of a bucket.
        """
        self._gate.acquire(permit_pu)
        while (promise := self._budget.reserve(pu)) is None:
            self._sleep(PROMISE_S)
        return promise

    def _send(
        self, method: str, url: str, *, headers: Mapping[str, str], payload: bytes | None, pu: float, spent: Spent
    ) -> HttpAnswer:
        self._before_send()
        sent = self._clock()
        try:
            answer = self._transport.send(method, url, headers=headers, body=payload, timeouts=self._timeouts)
        except TransportError as error:
            if error.may_be_charged:
                spent.pu_unknown += pu
            raise
        _count(answer, pu, spent)
        if answer.is_success and answer.cut is None:
            spent.answers += 1
            spent.answers_s += self._clock() - sent
        return answer

    def _told(self, attempt: Callable[[], T]) -> T:
        """``attempt()``, and the gate hears whether the service works."""
        try:
            value = attempt()
        except (RateLimited, AuthError):
            self._gate.answered()
            raise
        except ShdaskError as error:
            if error.retryable:
                self._gate.failed(f"{type(error).__name__}: {error}")
            else:
                self._gate.answered()
            raise
        self._gate.answered()
        return value

    def _error_of(self, answer: HttpAnswer, secrets: tuple[str, ...]) -> ServiceError | TransportError | None:
        shown = answer if answer.is_success else replace(answer, body=without_secrets(answer.body, secrets))
        error = service_error(shown, self._deployment)
        if error is None and answer.cut is not None:
            return TransportError(answer.cut, may_be_charged=True)
        return error


def _whole(answer: HttpAnswer) -> HttpAnswer:
    return answer


def _count(answer: HttpAnswer, pu: float, spent: Spent) -> None:
    spent.nbytes += len(answer.body)
    if answer.is_success:  # only these are charged
        spent.pu += _stated_pu(answer.headers, pu)


def _stated_pu(headers: Mapping[str, str], projected: float) -> float:
    # observed under the first name, documented under the second
    stated = headers.get("x-processingunits-spent") or headers.get("x-processunits") or ""
    try:
        pu = float(stated)
    except ValueError:
        return projected
    return pu if math.isfinite(pu) and pu >= 0 else projected


def _log_retry(error: ShdaskError, wait_s: float) -> None:
    logger.info("trying again in %.2f s: %s: %s", wait_s, type(error).__name__, error)

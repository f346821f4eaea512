"""One DownloadRequest is sent over its account's connection, and what goes wrong is told as sentinelhub-py tells it.

Refuses to know caches, threads and what an answer holds.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping

import requests

from shdask.errors import QuotaExhausted, RateLimited, ServiceError, ShdaskError, TransportError
from shdask.fetch.answers import read_complaint
from shdask.fetch.client import ServiceClient
from shdask.fetch.limiter import RateGate
from shdask.fetch.retry import RetryPolicy
from shdask.fetch.transport import HttpAnswer, Timeouts, Transport
from shdask.request.body import encode_json
from shdask.sentinelhub.connections import Account, connect, deployment_of
from shdask.sentinelhub.exceptions import DownloadFailedException, OutOfRequestsException, SHRateLimitWarning
from shdask.sentinelhub.models import DownloadRequest, DownloadResponse
from shdask.sentinelhub.naming import HIDDEN, secrets_of

_LONGEST_WAIT_S = 60.0
_CONNECT_S = 30.0
_TOTAL_TIMES_READ = 10.0
"""A picture may drip for ten times the longest silence: sentinelhub-py has no such limit."""


def send_request(request: DownloadRequest, config: Account) -> DownloadResponse:
    """The service's answer to the request: permit, token, retries and all.

    5xx and broken connections are tried ``max_download_attempts`` times, 429s as the service advises, each with a
    SHRateLimitWarning, up to ``max_retries`` of them; a refused token is renewed once.
    Raises DownloadFailedException with the service's message and answer, OutOfRequestsException where the account
    is used up, SettingsError (a ValueError) for missing credentials or an unusable URL.
    """
    if request.url is None:
        raise ValueError(f"no URL is given: {request}")
    if config.max_download_attempts < 1:
        raise DownloadFailedException(f"max_download_attempts is {config.max_download_attempts}: nothing was sent")
    connection = connect(config)
    wire = _Wire(connection.transport)
    gate = _CountingGate(connection.gate, config.max_retries)
    deployment = deployment_of(config, request.url)
    client = ServiceClient(deployment, wire, gate, connection.tokens, _policy_of(config), timeouts=_timeouts_of(config))
    body = None if request.post_values is None else encode_json(request.post_values)
    headers = {str(name): str(value) for name, value in request.headers.items()}
    try:
        answer = client.send(
            request.request_type.value, request.url, headers=headers, body=body, with_token=request.use_session
        )
    except (ServiceError, TransportError, _TooManyRejections) as error:
        failure = _failure(error, request, wire.answer)
    else:
        return DownloadResponse(
            request=request,
            content=answer.body,
            headers=dict(answer.headers),
            status_code=answer.status,
            elapsed=wire.elapsed_s,
        )
    # raised out here so that it has no context: nothing that was sent hangs on it
    raise failure


def _policy_of(config: Account) -> RetryPolicy:
    return RetryPolicy(
        max_retries=config.max_download_attempts - 1,
        base_wait_s=config.download_sleep_time,
        growth=3.0,
        max_wait_s=max(_LONGEST_WAIT_S, config.download_sleep_time),
        total_s=float("inf"),
    )


def _timeouts_of(config: Account) -> Timeouts:
    silence_s = config.download_timeout_seconds
    return Timeouts(
        connect_s=min(_CONNECT_S, silence_s), read_s=silence_s, total_s=max(300.0, _TOTAL_TIMES_READ * silence_s)
    )


class _TooManyRejections(ShdaskError):
    """One request met as many 429s as it may."""


class _CountingGate:
    """A RateGate for one request: warns of each 429, and ends the request at the last one it may meet."""

    def __init__(self, shared: RateGate, max_rejections: int | None) -> None:
        self._shared = shared
        self._max_rejections = max_rejections
        self._rejections = 0

    def acquire(self, pu: float) -> float:
        """A permit of the shared gate."""
        return self._shared.acquire(pu)

    def answered(self) -> None:
        """Nothing to tell: each request has its own patience, as sentinelhub-py's have."""

    def failed(self, text: str) -> None:
        """Nothing to tell: one request's failures pause no other's."""

    def rejected(self, retry_after_s: float | None) -> None:
        """Tells the shared gate, then the user."""
        self._shared.rejected(retry_after_s)
        self._rejections += 1
        advice = "" if retry_after_s is None else f", which asks for a pause of {retry_after_s:.1f} s"
        warnings.warn(f"the service's rate limit was hit{advice}", category=SHRateLimitWarning, stacklevel=2)
        if self._max_rejections is not None and self._rejections >= self._max_rejections:
            raise _TooManyRejections(f"max_retries is reached: {self._rejections} times 429")


class _Wire:
    """A Transport for one request that remembers the last answer and how long it took."""

    def __init__(self, shared: Transport) -> None:
        self._shared = shared
        self.answer: HttpAnswer | None = None
        self.elapsed_s = 0.0

    def post(self, url: str, *, headers: Mapping[str, str], body: bytes, timeouts: Timeouts) -> HttpAnswer:
        """As ``send``."""
        return self.send("POST", url, headers=headers, body=body, timeouts=timeouts)

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None, timeouts: Timeouts
    ) -> HttpAnswer:
        """Sends over the shared transport."""
        self.answer = None
        began = time.monotonic()
        self.answer = self._shared.send(method, url, headers=headers, body=body, timeouts=timeouts)
        self.elapsed_s = time.monotonic() - began
        return self.answer


def _failure(error: ShdaskError, request: DownloadRequest, answer: HttpAnswer | None) -> DownloadFailedException:
    # a service that echoes what it was sent must not bring the secret into a log
    secrets = secrets_of(request.post_values)
    told = str(error)
    if isinstance(error, _TooManyRejections) and answer is not None:
        told = f"{told}; {read_complaint(answer).text}"
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    message = _without(f"failed to download from {request.url}: {told}{notes}", secrets)
    used_up = isinstance(error, QuotaExhausted | RateLimited | _TooManyRejections)
    kind = OutOfRequestsException if used_up else DownloadFailedException
    if isinstance(error, TransportError):
        return kind(message, request_exception=requests.ConnectionError(message))
    response = requests.Response()
    response.url = request.url or ""
    response.status_code = getattr(error, "status", None) or (0 if answer is None else answer.status)
    content = b""
    # otherwise it is the token server that refused: of its answer only the status is told
    if answer is not None and answer.status == response.status_code:
        response.headers.update(answer.headers)
        content = answer.body
    for secret in secrets:
        content = content.replace(secret.encode(), HIDDEN.encode())
    response._content = content  # noqa: SLF001  # a Response can be made in no other way
    return kind(message, request_exception=requests.HTTPError(message, response=response))


def _without(text: str, secrets: frozenset[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text

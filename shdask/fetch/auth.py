"""OAuth access tokens: asked for with client credentials, shared by threads, renewed once when they fade.

Refuses to know the requests that carry them. No secret is in any repr, message, log or pickle of this module.
"""

from __future__ import annotations

import copy
import html
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NoReturn, Protocol
from urllib.parse import quote, quote_plus, urlencode

from shdask.errors import AuthError, RateLimited, ServiceError, ServiceUnavailable, ShdaskError, TransportError
from shdask.fetch.answers import read_complaint, retry_after_s
from shdask.fetch.transport import HttpAnswer, Timeouts, Transport
from shdask.settings import Credentials, Deployment

_TIMEOUTS = Timeouts(connect_s=10, read_s=30, total_s=60)
_FAILURE_HOLDS_S = 1.0
_CURE = (
    "check SH_CLIENT_ID and SH_CLIENT_SECRET, that the OAuth client still exists in your account's dashboard, "
    "and that the deployment is the account's own"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A bearer token. Its value is in no repr, and the object refuses to be pickled: hand over value and lifetime."""

    value: str = field(repr=False)
    expires_at: float
    """Seconds on the owner's monotonic clock."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("an AccessToken does not travel by pickle; hand over its value and remaining lifetime")


def renewal_margin_s(lifetime_s: float) -> float:
    """How long before it expires a token is renewed: 10 % of its lifetime, at most a minute. Pure."""
    return min(60.0, 0.1 * lifetime_s)


class TokenSource(Protocol):
    """Gives the token to send with a request. Thread-safe; blocks while a token is being asked for."""

    def token(self) -> AccessToken:
        """A token that is good for now. Raises as ``request_token`` does."""
        ...

    def refused(self, token: AccessToken) -> None:
        """Reports that the service refused ``token``: from now on nobody is given it."""
        ...


def request_token(transport: Transport, deployment: Deployment, credentials: Credentials) -> tuple[str, float]:
    """Asks the deployment for an access token: (value, lifetime in seconds).

    Raises AuthError, with the cure, when the credentials are refused or the answer holds no token; RateLimited,
    ServiceUnavailable or TransportError when asking again can help.
    """
    try:
        answer = transport.post(
            deployment.token_url,
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            body=_form(credentials),
            timeouts=_TIMEOUTS,
        )
    except TransportError as error:
        # frames below hold what was sent, and some tools show a traceback with its locals
        raise error.with_traceback(None) from None
    if answer.cut is not None:
        raise TransportError(f"token server {deployment.token_url}: {answer.cut}")
    if answer.status != 200:  # noqa: PLR2004  # the only status that brings a token
        raise _token_error(answer, deployment, credentials)
    return _read_token(answer, deployment)


def _form(credentials: Credentials) -> bytes:
    form = {
        "grant_type": "client_credentials",
        "client_id": credentials.client_id,
        "client_secret": credentials.client_secret,
    }
    return urlencode(form).encode()


def _masked(answer: HttpAnswer, secret: str) -> HttpAnswer:
    """The answer of a server that may echo the form, as it may be shown and logged."""
    body = answer.body
    encoded = (quote_plus(secret), quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1], html.escape(secret))
    for form in (secret, *encoded):
        body = body.replace(form.encode(), b"***")
    return replace(answer, body=body)


def _token_error(answer: HttpAnswer, deployment: Deployment, credentials: Credentials) -> ServiceError:
    complaint, status = read_complaint(_masked(answer, credentials.client_secret)), answer.status
    where = f"token server {deployment.token_url} answered {complaint.text}"
    if status == 429:  # noqa: PLR2004  # HTTP's own number
        return RateLimited(where, status, complaint.code, retry_after_s(answer.headers, deployment))
    if status in {400, 401, 403}:
        return AuthError(f"the credentials were refused: {where}; {_CURE}", status, complaint.code)
    if status >= 500 or status == 408:  # noqa: PLR2004  # HTTP's own numbers
        return ServiceUnavailable(where, status, complaint.code)
    return AuthError(f"no token: {where}; check SH_TOKEN_URL", status, complaint.code)


def _read_token(answer: HttpAnswer, deployment: Deployment) -> tuple[str, float]:
    try:
        told = json.loads(answer.body)
        value, lifetime_s = told["access_token"], float(told["expires_in"])
    except (ValueError, TypeError, KeyError, RecursionError):
        value, lifetime_s = None, 0.0
    # a header holds visible ASCII only
    usable = isinstance(value, str) and value.isascii() and value.isprintable() and " " not in value
    if not usable or not value or not lifetime_s > 0:
        # the body is not quoted: half a token answer may hold the token
        kind = answer.headers.get("content-type", "no content type")
        raise AuthError(
            f"{deployment.token_url} answered 200 without a token ({kind}, {len(answer.body)} bytes); "
            f"check SH_TOKEN_URL and any proxy between",
            answer.status,
        )
    return value, lifetime_s


class ClientCredentials:
    """A TokenSource that asks with the secret itself: for one process, or for the one owner in a cluster.

    Any number of threads cause one token request at a time, and a failed one is not repeated by each of them.
    """

    def __init__(
        self,
        transport: Transport,
        deployment: Deployment,
        credentials: Credentials,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._deployment = deployment
        self._credentials = credentials
        self._clock = clock
        self._lock = threading.Lock()
        self._current: AccessToken | None = None
        self._term: tuple[float, float] | None = None
        """When the current token was asked for, and when it ends."""
        self._renew_at = float("-inf")
        self._failure: ShdaskError | None = None
        self._failure_holds_until = float("-inf")

    def __repr__(self) -> str:
        return f"ClientCredentials({self._deployment.token_url})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("ClientCredentials do not travel: workers get short-lived tokens instead")

    def token(self) -> AccessToken:
        """The current token, renewed when it is about to expire. Raises as ``request_token`` does."""
        with self._lock:
            if self._current is None or self._clock() >= self._renew_at:
                self._current = self._ask()
            return self._current

    def refused(self, token: AccessToken) -> None:
        """Whoever asks next gets another, unless another caller's report has brought one already."""
        with self._lock:
            if self._current is not None and self._current.value == token.value:
                self._current = None

    def age_and_left_s(self) -> tuple[float, float] | None:
        """Seconds since the last token was asked for, and until it ends; None before the first. Asks nobody."""
        term, now = self._term, self._clock()  # not under the lock, which is held while a token is on its way
        return None if term is None else (now - term[0], term[1] - now)

    def _ask(self) -> AccessToken:
        asked = self._clock()
        if self._failure is not None and asked < self._failure_holds_until:
            raise copy.copy(self._failure)
        try:
            value, lifetime_s = request_token(self._transport, self._deployment, self._credentials)
        except ShdaskError as error:
            advice = error.retry_after_s if isinstance(error, RateLimited) else None
            self._failure = copy.copy(error)
            self._failure_holds_until = self._clock() + max(_FAILURE_HOLDS_S, advice or 0.0)
            raise
        self._renew_at = asked + lifetime_s - renewal_margin_s(lifetime_s)
        self._term = asked, asked + lifetime_s
        return AccessToken(value=value, expires_at=asked + lifetime_s)

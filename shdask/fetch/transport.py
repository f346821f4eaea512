"""One request over a pooled connection: the HTTP seam and its implementation with ``requests``, the only user of it.

Refuses to know the service, tokens and retries.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Protocol
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from shdask.errors import TransportError


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long one request may take, in seconds."""

    connect_s: float = 10.0
    read_s: float = 120.0
    """Longest silence; the service answers only when the whole picture is ready."""
    total_s: float = 300.0
    """From sending to the last byte of the body, however steadily it drips."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """What came back: ``headers`` with lower-case names, ``body`` decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    cut: str | None = None
    """Why the body ended early; None if it is whole. The head counts all the same: it names what was charged."""

    @property
    def is_success(self) -> bool:
        """Whether the head says 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004  # HTTP's own numbers


class Transport(Protocol):
    """Sends requests. Thread-safe."""

    def post(self, url: str, *, headers: Mapping[str, str], body: bytes, timeouts: Timeouts) -> HttpAnswer:
        """POSTs ``body``; as ``send`` otherwise."""
        ...

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None, timeouts: Timeouts
    ) -> HttpAnswer:
        """Sends one request and returns the answer, whatever its status, without following redirects.

        Raises TransportError when no head of an answer came within the time-outs; it tells whether the request may
        have arrived.
        """
        ...


class RequestsTransport:
    """A Transport over one pooled ``requests.Session``: at most ``pool_size`` connections to a host, kept alive.

    Proxies of the environment are used; its ``.netrc`` is not, since it would replace the bearer token. No cookies.
    """

    def __init__(self, pool_size: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._session = _open_session(pool_size)
        self._clock = clock

    def post(self, url: str, *, headers: Mapping[str, str], body: bytes, timeouts: Timeouts) -> HttpAnswer:
        """POSTs ``body``; as ``send`` otherwise."""
        return self.send("POST", url, headers=headers, body=body, timeouts=timeouts)

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None, timeouts: Timeouts
    ) -> HttpAnswer:
        """Sends one request and returns the answer, whatever its status, without following redirects.

        A head that drips is bounded by its size and ``read_s`` per piece only. Raises TransportError when no head of
        an answer came within the time-outs.
        """
        deadline = self._clock() + timeouts.total_s
        try:
            with self._session.request(
                method,
                url,
                headers=headers,
                data=body,
                auth=_keep_headers,
                timeout=(timeouts.connect_s, min(timeouts.read_s, timeouts.total_s)),
                allow_redirects=False,
                stream=True,
            ) as response:
                content, cut = self._read(response.raw, deadline - self._clock(), timeouts.total_s)
                heads = {name.lower(): value for name, value in response.headers.items()}
                return HttpAnswer(status=response.status_code, headers=heads, body=content, cut=cut)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            failure = TransportError(
                f"no answer from {_host(url)}: {_with_cure(_reason(error))}", may_be_charged=_was_sent(error)
            )
        # Raised out here so that it has no context: the caught error holds the request, and with it the secrets.
        raise failure

    def close(self) -> None:
        """Closes the connections that are kept alive."""
        self._session.close()

    def _read(self, raw: urllib3.BaseHTTPResponse, left_s: float, total_s: float) -> tuple[bytes, str | None]:
        """The whole body, and why it was cut if it was; a cut connection is closed, a drained one goes back."""
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            # the body may have ended in this very moment, its connection be gone
            with suppress(OSError, RuntimeError, ValueError):
                raw.shutdown()

        # One raw.read costs the least, but a steady drip never meets the read time-out: a timer ends it from outside.
        # Looking at the clock between raw.read1 pieces costs 1.4 x the CPU (10 MB over TLS: 1.2 ms/MB against 0.8).
        timer = threading.Timer(left_s, expire)
        timer.daemon = True
        timer.start()
        body, cut = b"", None
        try:
            body = raw.read(decode_content=True)
        # what urllib3 does not translate; ValueError is a TLS socket that was shut down between two records
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            cut = f"the answer was cut: {_reason(error)}"
        finally:
            timer.cancel()
        if expired.is_set():
            cut = f"the answer had not ended {total_s:g} s after the request was sent"
        if cut is not None:
            raw.close()
            return b"", cut
        return body, None


def _open_session(pool_size: int) -> requests.Session:
    session = requests.Session()
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=pool_size, pool_block=True)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    # only what urllib3 decodes without further packages
    session.headers["Accept-Encoding"] = "gzip, deflate"
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


def _keep_headers(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """An ``auth`` that adds nothing: without one, requests looks for the host in ``.netrc``."""
    return request


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _was_sent(error: BaseException) -> bool:
    """False where no connection was made, so that nothing can have arrived."""
    inner = getattr(error, "reason", None) or next(iter(error.args), None)
    if isinstance(error, requests.ConnectTimeout | urllib3.exceptions.NewConnectionError):
        return False
    return _was_sent(inner) if isinstance(inner, BaseException) else not isinstance(error, ValueError)


_CURES: Mapping[str, str] = {
    "SSLCertVerificationError": "its certificate is not trusted; name your authority's file in REQUESTS_CA_BUNDLE, "
    "or correct the URL",
    "WRONG_VERSION_NUMBER": "no TLS is spoken there; correct the URL's scheme or port",
    "record layer failure": "no TLS is spoken there; correct the URL's scheme or port",
    "Failed to resolve": "there is no such host; correct its name in the URL, or see to the network",
    "Connection refused": "nothing listens there; correct the URL's host and port, or start the server",
}
"""By words that TLS, the resolver and the kernel use."""


def _with_cure(reason: str) -> str:
    cure = next((cure for words, cure in _CURES.items() if words in reason), None)
    return reason if cure is None else f"{reason}; {cure}"


def _reason(error: BaseException) -> str:
    """The innermost cause, without the layers around it; nothing of what was sent."""
    inner = getattr(error, "reason", None) or next(iter(error.args), None)
    if isinstance(inner, BaseException):
        return _reason(inner)
    name = type(error).__name__
    # requests' own complaints about a header or URL quote it
    return name if isinstance(error, ValueError) else f"{name}: {error}"

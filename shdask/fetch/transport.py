"""One POST over a pooled connection: the HTTP seam and its implementation with ``requests``, the only user of it.

Refuses to know the service, tokens and retries.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Protocol
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from shdask.errors import TransportError

_PIECE_NBYTES = 256 * 1024


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


class Transport(Protocol):
    """Sends requests. Thread-safe."""

    def post(self, url: str, *, headers: Mapping[str, str], body: bytes, timeouts: Timeouts) -> HttpAnswer:
        """POSTs ``body`` and returns the answer, whatever its status, without following redirects.

        Raises TransportError when no head of an answer came within the time-outs.
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
        """POSTs ``body`` and returns the answer, whatever its status, without following redirects.

        The total time is looked at whenever bytes of the body arrive: a silence at its end may add ``read_s``.
        Raises TransportError when no head of an answer came within the time-outs.
        """
        deadline = self._clock() + timeouts.total_s
        try:
            with self._session.post(
                url,
                headers=headers,
                data=body,
                auth=_keep_headers,
                timeout=(timeouts.connect_s, min(timeouts.read_s, timeouts.total_s)),
                allow_redirects=False,
                stream=True,
            ) as response:
                content, cut = self._read(response.raw, deadline, timeouts)
                heads = {name.lower(): value for name, value in response.headers.items()}
                return HttpAnswer(status=response.status_code, headers=heads, body=content, cut=cut)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            failure = TransportError(f"no answer from {_host(url)}: {_reason(error)}")
        # Raised out here so that it has no context: the caught error holds the request, and with it the secrets.
        raise failure

    def close(self) -> None:
        """Closes the connections that are kept alive."""
        self._session.close()

    def _read(self, raw: urllib3.BaseHTTPResponse, deadline: float, timeouts: Timeouts) -> tuple[bytes, str | None]:
        """The whole body, and why it was cut if it was; a cut connection is closed, a drained one goes back."""
        pieces: list[bytes] = []
        try:
            # read1 returns what has arrived, where read(amt) would wait for amt bytes and so never see the deadline
            while piece := raw.read1(_PIECE_NBYTES, decode_content=True):
                pieces.append(piece)
                if self._clock() > deadline:
                    raw.close()
                    return b"", f"the answer had not ended after {timeouts.total_s:g} s"
        # OSError too: what urllib3 does not translate while it reads
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raw.close()
            return b"", f"the answer was cut after {sum(map(len, pieces))} bytes: {_reason(error)}"
        return b"".join(pieces), None


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


def _reason(error: BaseException) -> str:
    """The innermost cause, without the layers around it; nothing of what was sent."""
    inner = getattr(error, "reason", None) or next(iter(error.args), None)
    if isinstance(inner, BaseException):
        return _reason(inner)
    name = type(error).__name__
    # requests' own complaints about a header or URL quote it
    return name if isinstance(error, ValueError) else f"{name}: {error}"

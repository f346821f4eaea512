"""The one registry of a process: for each account one connection pool, one limiter and one token.

Refuses to know requests. It is the mutable state that the house rules exempt: whoever makes two requests with the same
credentials, in whatever threads, must share them. A forked child begins with an empty one.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from shdask.errors import SettingsError
from shdask.fetch.auth import ClientCredentials
from shdask.fetch.limiter import LimiterState, LocalRateGate
from shdask.fetch.transport import RequestsTransport
from shdask.settings import Credentials, Deployment, make_deployment

POOL_SIZE = 64
"""Connections per host, made as needed: more threads than this wait for one another."""
_REQUESTS_PER_MINUTE = 1200.0
"""20 a second, as sentinelhub-py paces itself; the limiter slows where the account's plan is smaller."""
_NO_PU_LIMIT = 1e12
"""The price of these requests is not known beforehand: the service's 429 is what limits it."""


class Account(Protocol):
    """What is needed of a config: ours or sentinelhub-py's."""

    sh_client_id: str
    sh_client_secret: str
    sh_token_url: str
    max_download_attempts: int
    download_sleep_time: float
    download_timeout_seconds: float
    number_of_download_processes: int
    max_retries: int | None


class BasedAccount(Account, Protocol):
    """A config that also says where requests go."""

    sh_base_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What all requests of one account share."""

    transport: RequestsTransport
    gate: LocalRateGate
    tokens: ClientCredentials


@dataclass(slots=True)
class _Registry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    connections: dict[tuple[str, str, str, int], Connection] = field(default_factory=dict)

    def forget(self) -> None:
        """What a forked child does: its parent's sockets, lock and token are not its own."""
        self.lock = threading.Lock()
        self.connections = {}


_REGISTRY = _Registry()
os.register_at_fork(after_in_child=_REGISTRY.forget)


def deployment_of(config: Account, url: str) -> Deployment:
    """Where a request to ``url`` goes, and whose token it carries. Pure but for ``SHDASK_ALLOW_HTTP``.

    Raises SettingsError for a URL over which credentials would cross the network unencrypted.
    """
    parts = urlsplit(url)
    return make_deployment(
        base_url=f"{parts.scheme}://{parts.netloc}",
        token_url=config.sh_token_url,
        requests_per_minute=_REQUESTS_PER_MINUTE / max(1, config.number_of_download_processes),
        pu_per_minute=_NO_PU_LIMIT,
        environ={"SHDASK_ALLOW_HTTP": os.environ.get("SHDASK_ALLOW_HTTP", "")},
    )


def connect(config: Account) -> Connection:
    """The connection of the config's credentials, token URL and number of processes: always the same one.

    Nothing is sent. Raises SettingsError where the config has no credentials or an unusable token URL.
    """
    if not config.sh_client_id or not config.sh_client_secret:
        raise SettingsError(
            "the config has no credentials: set sh_client_id and sh_client_secret (an OAuth client from your account's "
            "dashboard), or SH_CLIENT_ID and SH_CLIENT_SECRET in the environment, or a profile with them"
        )
    key = (
        config.sh_client_id,
        config.sh_client_secret,
        config.sh_token_url,
        max(1, config.number_of_download_processes),
    )
    with _REGISTRY.lock:
        if key not in _REGISTRY.connections:
            _REGISTRY.connections[key] = _open(config)
        return _REGISTRY.connections[key]


def close_connections() -> None:
    """Closes every idle connection and forgets every token; requests that run end as usual."""
    with _REGISTRY.lock:
        connections, _REGISTRY.connections = list(_REGISTRY.connections.values()), {}
    for connection in connections:
        connection.transport.close()


def _open(config: Account) -> Connection:
    deployment = deployment_of(config, config.sh_token_url)
    transport = RequestsTransport(POOL_SIZE)
    credentials = Credentials(client_id=config.sh_client_id, client_secret=config.sh_client_secret)
    return Connection(
        transport=transport,
        gate=LocalRateGate(LimiterState.for_deployment(deployment)),
        tokens=ClientCredentials(transport, deployment, credentials),
    )

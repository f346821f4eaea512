"""The accounts that this process buys tiles on demand with: one limiter, token and set of connections for each.

Refuses to know tiles.
"""

from __future__ import annotations

import threading
import time
import weakref

from shdask.fetch.auth import ClientCredentials
from shdask.fetch.client import RequestsTransport, ServiceClient
from shdask.fetch.limiter import LimiterState, LocalRateGate
from shdask.settings import Credentials, Deployment

CONNECTIONS = 32


class OnDemandService:
    """The client of one account, logged in when it is first needed. Thread-safe."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._lock = threading.Lock()
        self._account: _Account | None = None

    def client(self) -> ServiceClient:
        """The client. Raises AuthError where there are no credentials, or the service refuses them."""
        with self._lock:
            if self._account is None or self._account.is_down:
                self._account = ACCOUNTS.open(self._deployment, Credentials.load())
            return self._account.client


class _Account:
    def __init__(self, deployment: Deployment, credentials: Credentials) -> None:
        self._limiter = LimiterState.for_deployment(deployment)
        transport = RequestsTransport(pool_size=CONNECTIONS)
        weakref.finalize(self, transport.close)
        tokens = ClientCredentials(transport, deployment, credentials)
        tokens.token()
        self.client = ServiceClient(deployment, transport, LocalRateGate(self._limiter), tokens)

    @property
    def is_down(self) -> bool:
        """Whether it has given the service up; another one may try again."""
        return self._limiter.outage.stops(time.monotonic()) is not None


class _Accounts:
    """Mutable state that the house rules exempt: what shares an account must share its limiter. Keeps nothing alive."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: weakref.WeakValueDictionary[tuple[Deployment, str, str], _Account] = weakref.WeakValueDictionary()

    def open(self, deployment: Deployment, credentials: Credentials) -> _Account:
        """The account of these credentials, which is the same for all who ask while it lives."""
        key = deployment, credentials.client_id, credentials.client_secret  # a refused secret finds no other's token
        with self._lock:
            account = self._all.get(key)
            if account is None or account.is_down:
                account = _Account(deployment, credentials)
            self._all[key] = account
            return account


ACCOUNTS = _Accounts()

"""The cluster's account desk: one set of buckets, one credential and one token per account, on the scheduler.

Refuses to know tiles, plans and stores; workers see short-lived tokens and timed permits only.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import pickle
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin

from shdask.cluster.build_desk import is_dead
from shdask.errors import AuthError, BuildError, ShdaskError
from shdask.fetch.auth import ClientCredentials
from shdask.fetch.client import RequestsTransport
from shdask.fetch.limiter import LimiterState
from shdask.fetch.outage import Outage, OutageRule
from shdask.settings import DEPLOYMENTS, Credentials, Deployment


def account_key(deployment: Deployment, credentials: Credentials) -> str:
    """A name for deployment and OAuth client that gives neither away. Pure."""
    text = f"{deployment.base_url}\n{deployment.token_url}\n{credentials.client_id}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret on its way: Dask logs whole messages at debug level, and this one's repr shows nothing."""

    value: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSnapshot:
    """One account at one moment, in plain values that hold no secret."""

    key: str
    """A digest of deployment and OAuth client."""
    deployment: str
    """Its name, such as cdse."""
    limits: Mapping[str, float]
    """As `LimiterState.snapshot`."""
    month_quotas: Mapping[str, float]
    """``requests`` and ``pu`` of a month, as configured; one without a limit is absent."""
    token_age_s: float | None
    """Since the token was asked for."""
    token_left_s: float | None
    """Until it ends; negative for one that nobody has needed since."""


def refuse_foreign_server(deployment: Deployment, environ: Mapping[str, str] | None = None) -> None:
    """Raise AuthError where this process's own secret would go to a token server that nobody named here."""
    env = os.environ if environ is None else environ
    named = env.get("SH_TOKEN_URL")
    if deployment.token_url not in ({named} if named else {known.token_url for known in DEPLOYMENTS.values()}):
        raise AuthError(
            f"the scheduler's own credentials are not shown to {deployment.token_url}, which it does not know; set "
            f"SH_TOKEN_URL where the scheduler runs, or give this process credentials: SH_CLIENT_ID, SH_CLIENT_SECRET"
        )


def token_mark(value: str) -> str:
    """What a token is called in messages, which may be logged. Pure."""
    return hashlib.sha256(value.encode()).hexdigest()[:16]


@dataclass(slots=True, kw_only=True)
class _Account:
    deployment: Deployment
    limiter: LimiterState
    tokens: ClientCredentials
    transport: RequestsTransport


class AccountDesk(SchedulerPlugin):
    """Answers the workers' calls for permits and tokens; several builds on one account share both."""

    name = "shdask"
    idempotent = True

    def start(self, scheduler: Scheduler) -> None:
        """Register the handlers that workers and clients call by name."""
        self._accounts: dict[str, _Account] = {}
        self._dead: set[str] = set()
        """Workers that were given up; one that was only frozen may wake up."""
        self._scheduler = scheduler
        scheduler.handlers.update(
            shdask_login=self.login,
            shdask_login_here=self.login_here,
            shdask_lease=self.lease,
            shdask_rejected=self.rejected,
            shdask_failed=self.failed,
            shdask_token=self.token,
            shdask_snapshot=self.snapshot,
        )

    async def close(self) -> None:
        """Drop tokens and connections with the scheduler."""
        for account in self._accounts.values():
            account.transport.close()
        self._accounts.clear()

    def remove_worker(self, scheduler: Scheduler, worker: str, *, stimulus_id: str, **_: Any) -> None:  # noqa: ARG002  # distributed's signature
        """Give no permit any more to a worker that was given up."""
        if is_dead(stimulus_id):
            self._dead.add(worker)

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:  # noqa: ARG002  # distributed's signature
        """A new worker may have the address of a dead one."""
        self._dead.discard(worker)

    async def login(
        self,
        *,
        account: str,
        client_id: str,
        client_secret: Sealed,
        deployment: Mapping[str, object],
        outage: Mapping[str, float] | None = None,
        burst: Mapping[str, float] | None = None,
    ) -> bytes | None:
        """Take the credentials and prove them by fetching a token; a second login renews them, and the rates.

        What is known of the account's burst, and what was used of it, stays with other rates too. Where the scheduler
        knows nothing of it, ``burst`` is what the owner's earlier runs have found, as `LimiterState.go_on` takes it.

        What earlier builds met of an outage is forgotten; ``outage`` holds the fields of an OutageRule.

        Returns None, or the pickled ShdaskError that refused them.
        """
        where = Deployment(**deployment)  # type: ignore[arg-type]  # the fields of asdict(Deployment)
        known = self._accounts.get(account)
        transport = known.transport if known else RequestsTransport(pool_size=2)
        credentials = Credentials(client_id=client_id, client_secret=client_secret.value)
        tokens = ClientCredentials(transport, where, credentials)
        try:
            await asyncio.to_thread(tokens.token)
        except ShdaskError as error:
            if known is None:
                transport.close()
            return pickle.dumps(error)
        known = self._accounts.get(account)  # another login may have come meanwhile
        limiter = known.limiter if known and known.deployment == where else LimiterState.for_deployment(where)
        if known and limiter is not known.limiter:
            limiter.after(known.limiter, time.monotonic())
        elif known is None and burst:
            limiter.go_on(**burst, now=time.monotonic())
        limiter.outage = Outage(rule=OutageRule(**outage or {}))  # type: ignore[arg-type]  # its own fields
        self._accounts[account] = _Account(deployment=where, limiter=limiter, tokens=tokens, transport=transport)
        return None

    async def login_here(
        self, deployment: Mapping[str, object], outage: Mapping[str, float] | None = None
    ) -> str | bytes:
        """`login` with the credentials of this process's own environment or profile: no secret travels at all.

        They are shown to no token server but the one that this environment names, or a known deployment's: an address
        that a client brings would be given the secret.
        Returns what the account is called from now on, or the pickled ShdaskError that refused.
        """
        where = Deployment(**deployment)  # type: ignore[arg-type]  # the fields of asdict(Deployment)
        try:
            refuse_foreign_server(where)
            credentials = await asyncio.to_thread(Credentials.load)
        except ShdaskError as error:
            return pickle.dumps(error)
        account = account_key(where, credentials)
        sealed = Sealed(credentials.client_secret)
        refused = await self.login(
            account=account,
            client_id=credentials.client_id,
            client_secret=sealed,
            deployment=deployment,
            outage=outage,
        )
        return account if refused is None else refused

    async def lease(
        self, *, account: str, count: int, pu_each: float, answered: int = 0, unused: int = 0, worker: str = ""
    ) -> tuple[float, ...] | float | bytes:
        """Up to ``count`` permits for requests of ``pu_each`` PU, as delays from now in seconds, ascending.

        In place of none, while the service seems down or more may be had soon, the seconds after which to ask again.
        ``answered`` requests have brought something since the last call, and ``unused`` permits were given up. A
        pickled ShdaskError where nothing shall be sent any more.
        """
        limiter = self._known(account).limiter
        if worker in self._dead:
            return pickle.dumps(BuildError("this worker was not heard of for too long; its tiles are in other hands"))
        limiter.answered(answered)
        limiter.unused(unused)
        try:
            return limiter.lease(count, pu_each, time.monotonic()) or limiter.ask_again_s
        except ShdaskError as error:
            return pickle.dumps(error)

    async def failed(self, account: str, text: str, answered: int = 0) -> bool:
        """A worker's request brought nothing, after ``answered`` that did; True where everyone pauses now."""
        limiter = self._known(account).limiter
        limiter.answered(answered)
        return limiter.failed(time.monotonic(), text)

    async def rejected(self, account: str, retry_after_s: float | None) -> None:
        """A worker was answered 429."""
        self._known(account).limiter.rejected(time.monotonic(), retry_after_s)

    async def token(self, account: str, refused: str | None) -> tuple[str, float] | bytes:
        """(token, seconds it is still good for), or a pickled ShdaskError.

        ``refused`` is the mark of a token that the service refused.
        """
        tokens = self._known(account).tokens
        try:
            token = await asyncio.to_thread(tokens.token)
            if token_mark(token.value) == refused:
                tokens.refused(token)
                token = await asyncio.to_thread(tokens.token)
        except ShdaskError as error:
            return pickle.dumps(error)
        return token.value, token.expires_at - time.monotonic()

    async def snapshot(self, account: str) -> dict[str, float]:
        """The limiter's state, and the numbers of workers and of their threads."""
        limiter = self._known(account).limiter.snapshot(time.monotonic())
        workers = self._scheduler.workers.values()
        return {**limiter, "workers": len(workers), "threads": sum(worker.nthreads for worker in workers)}

    def accounts(self) -> list[AccountSnapshot]:
        """Of every account that has logged in. Asks nobody."""
        return [_look(key, account, time.monotonic()) for key, account in self._accounts.items()]

    def limits(self, account: str) -> Mapping[str, float]:
        """The limiter's state; empty for an account that is not known."""
        known = self._accounts.get(account)
        return {} if known is None else known.limiter.snapshot(time.monotonic())

    def _known(self, account: str) -> _Account:
        if account not in self._accounts:
            raise AuthError(f"the scheduler holds no credentials for account {account}; it was restarted: build again")
        return self._accounts[account]


def _look(key: str, account: _Account, now: float) -> AccountSnapshot:
    where, term = account.deployment, account.tokens.age_and_left_s()
    quotas = {"requests": where.requests_per_month, "pu": where.pu_per_month}
    return AccountSnapshot(
        key=key,
        deployment=where.name,
        limits=account.limiter.snapshot(now),
        month_quotas={name: quota for name, quota in quotas.items() if quota is not None},
        token_age_s=None if term is None else term[0],
        token_left_s=None if term is None else term[1],
    )

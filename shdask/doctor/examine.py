"""The whole visit: job, login, deployment, clock, collections, time, layers, quota, bucket; a finding for each.

Refuses to know how any of them is checked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from shdask.doctor.bucket import check_bucket
from shdask.doctor.desk import Desk, read_date, read_object, user_of
from shdask.doctor.findings import Diagnosis, Finding
from shdask.doctor.offer import Offer, check_collections, check_time, collections_of, read_offers
from shdask.doctor.probe import MAX_PU, ask_layers, make_probes
from shdask.doctor.quota import check_quota, check_rates, quota_unknown, read_allowance
from shdask.errors import (
    AuthError,
    DecodeError,
    PlanError,
    QuotaExhausted,
    SettingsError,
    ShdaskError,
    TransportError,
)
from shdask.fetch.auth import AccessToken, ClientCredentials
from shdask.fetch.budget import make_local_budget
from shdask.fetch.client import ServiceClient, Spent
from shdask.fetch.limiter import LimiterState, LocalRateGate
from shdask.fetch.retry import RetryPolicy, call_with_retries
from shdask.fetch.transport import RequestsTransport, Timeouts, Transport
from shdask.plan.cost import Cost, add_costs
from shdask.plan.cube import CubePlan
from shdask.plan.delivery_spec import DeliveryOptions
from shdask.plan.footprint import metres_per_px
from shdask.plan.layer_spec import MOSAIC
from shdask.plan.spec import CubeSpec
from shdask.plan.wording import counted
from shdask.planning import deployment_of, plan_before_search
from shdask.request.collections import find_collection
from shdask.settings import Credentials, Deployment, make_deployment

MAX_SKEW_S = 30.0
PATIENT = RetryPolicy(max_retries=2, base_wait_s=0.5, total_s=30.0)
TIMEOUTS = Timeouts(connect_s=5, read_s=60, total_s=90)


def now_utc() -> datetime:
    """The time by the clock of this machine."""
    return datetime.now(UTC)


def examine(job: CubeSpec | str | Path | None = None, *, now: Callable[[], datetime] = now_utc) -> Diagnosis:
    """Look at the account and its deployment and, where there is a ``job``, at what it asks of them.

    Sends what is free, and for each part of each layer a request for a few pixels, for less than 0.1 PU in all; the
    rest is checked here. The catalogue is not searched, so layers with a cadence have no price. Reads what
    `make_plan` reads. Raises nothing for what it finds: a wrong job, refused credentials, a silent service.
    """
    findings: list[Finding] = []
    spent = Spent()
    case = _open_case(job, findings)
    if case is not None:
        with closing(RequestsTransport(pool_size=1)) as transport:
            _Visit(case=case, transport=transport, findings=findings, spent=spent, now=now).go()
        if case.delivery is not None:
            findings.append(check_bucket(case.delivery))
    return Diagnosis(findings=tuple(findings), requests=spent.requests, pu_spent=spent.pu)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """What is looked at."""

    deployment: Deployment
    plan: CubePlan | None = None
    """Before any search; None without a job, and where it cannot be planned."""
    delivery: DeliveryOptions | None = None
    """Where the job's jobs of Async Process deliver to."""

    @property
    def cost(self) -> Cost | None:
        """Of what is priced without a search."""
        groups = [] if self.plan is None else list(self.plan.groups.values())
        priced = [group.cost for group in groups if group.layer.cadence == MOSAIC]
        return add_costs(priced) if priced else None


def _open_case(job: CubeSpec | str | Path | None, findings: list[Finding]) -> _Case | None:
    if job is None:
        try:
            return _Case(deployment=make_deployment())
        except SettingsError as error:
            findings.append(Finding.of_error("deployment", error))
            return None
    try:
        spec = job if isinstance(job, CubeSpec) else CubeSpec.from_file(job)
    except PlanError as error:
        findings.append(_wrong_job(error))
        return None
    try:
        deployment = deployment_of(spec)
    except SettingsError as error:
        findings.append(Finding.of_error("deployment", error))
        return None
    try:
        plan = plan_before_search(spec.with_scripts())
    except PlanError as error:
        findings.append(_wrong_job(error))
        return _Case(deployment=deployment)
    case = _Case(deployment=deployment, plan=plan, delivery=spec.delivery)
    findings += _describe(plan, case.cost)
    return case


def _wrong_job(error: PlanError) -> Finding:
    # it may name several faults, each with its own cure
    return Finding(check="job", outcome="failed", found=str(error), exit_code=error.exit_code)


def _describe(plan: CubePlan, cost: Cost | None) -> list[Finding]:
    groups = list(plan.groups.values())
    open_count = sum(group.layer.cadence != MOSAIC for group in groups)
    price = "" if cost is None else f"; {cost.pu:.2f} PU in {counted(cost.requests, 'request')}"
    if open_count:
        price += f"; {open_count} with a time axis, priced by `shdask plan`, which searches the catalogue"
    notes = dict.fromkeys(note for group in groups for note in group.notes)
    findings = [Finding(check="job", outcome="ok", found=f"{counted(len(groups), 'group')}{price}")]
    findings += [Finding(check="job", outcome="note", found=note) for note in notes]
    seen = {(group.grid.crs, group.layer.collection): group for group in groups}
    for (crs, name), group in seen.items():
        coarsest = find_collection(name).coarsest_m_per_px
        limit = "no limit is published" if coarsest is None else f"the service renders it at up to {coarsest:g}"
        found = f"{name} at {metres_per_px(group.grid):g} m per pixel in {crs}; {limit}"
        findings.append(Finding(check="resolution", outcome="ok", found=found))
    return findings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Visit:
    """One visit to the service."""

    case: _Case
    transport: Transport
    findings: list[Finding]
    spent: Spent
    now: Callable[[], datetime]

    def go(self) -> None:
        """All that asks the service, as long as asking on makes sense."""
        desk = Desk(deployment=self.case.deployment, transport=self.transport)
        there = self._check_host(desk)
        tokens = self._log_in()
        if not there or tokens is None:
            return
        offers = self._check_collections(desk, tokens.token())
        plan = self.case.plan
        if offers is None:
            return
        if plan is not None:
            layers = {group.layer.name: group.layer for group in plan.groups.values()}
            checked = (check_time(layer, offers) for layer in layers.values())
            self.findings.extend(finding for finding in checked if finding is not None)
            probes = make_probes(plan.groups.values())
            self.findings.extend(ask_layers(probes, self._client(tokens), offers, self.spent))
        self._check_quota(desk, tokens.token())

    def _check_host(self, desk: Desk) -> bool:
        deployment = self.case.deployment
        try:
            answer = desk.entry()
            is_public = answer.is_success
            if is_public:
                read_object(answer)
        except DecodeError as error:
            self.findings.append(_no_service(deployment, error))
            return False
        except ShdaskError as error:
            self.findings.append(Finding.of_error("deployment", error))
            return False
        found = f"{deployment.name}: {deployment.base_url} answers" + ("" if is_public else ", to those who log in")
        self.findings.append(Finding(check="deployment", outcome="ok", found=found))
        self.findings.append(check_clock(read_date(answer), self.now()))
        return True

    def _log_in(self) -> ClientCredentials | None:
        deployment = self.case.deployment
        try:
            tokens = ClientCredentials(self.transport, deployment, Credentials.load())
            token = call_with_retries(tokens.token, PATIENT)
        except ShdaskError as error:
            self.findings.append(Finding.of_error("login", error))
            return None
        lifetime_s = token.expires_at - time.monotonic()
        found = f"{urlsplit(deployment.token_url).netloc} gives tokens for {lifetime_s / 60:.0f} minutes"
        self.findings.append(Finding(check="login", outcome="ok", found=found))
        return tokens

    def _check_collections(self, desk: Desk, token: AccessToken) -> Mapping[str, Offer] | None:
        """What is offered; None where nothing more is to be had with this token."""
        plan = self.case.plan
        wanted = () if plan is None else collections_of(group.layer for group in plan.groups.values())
        try:
            offers = read_offers(desk.collections(token))
        except (AuthError, QuotaExhausted) as error:
            self.findings.append(Finding.of_error("login" if isinstance(error, AuthError) else "quota", error))
            return None
        except ShdaskError as error:
            # a deployment of one's own may have no catalogue, and the small requests tell as well
            found = f"the catalogue does not list them ({error})"
            self.findings.append(Finding(check="collections", outcome="warning", found=found))
            return {}
        self.findings.extend(check_collections(wanted, offers, self.case.deployment))
        return offers

    def _check_quota(self, desk: Desk, token: AccessToken) -> None:
        user, cost = user_of(token), self.case.cost
        try:
            if user is None:
                raise DecodeError("the token does not name the account")
            allowance = read_allowance(desk.contract(token, user), desk.token_counts(token, user))
        except ShdaskError:
            self.findings.append(quota_unknown(self.case.deployment, cost))
            return
        self.findings.append(check_quota(allowance, cost))
        self.findings.extend(check_rates(allowance, self.case.deployment if self.case.plan is not None else None))

    def _client(self, tokens: ClientCredentials) -> ServiceClient:
        deployment = self.case.deployment
        gate = LocalRateGate(LimiterState.for_deployment(deployment))
        budget = make_local_budget(MAX_PU)
        return ServiceClient(deployment, self.transport, gate, tokens, PATIENT, timeouts=TIMEOUTS, budget=budget)


def check_clock(sent: datetime | None, now: datetime) -> Finding:
    """Whether this machine's clock, ``now``, agrees with when the service says that it has ``sent`` an answer. Pure."""
    if sent is None:
        return Finding(check="clock", outcome="note", found="not known: the service does not say what time it is")
    skew_s = (now - sent).total_seconds()
    found = f"{abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} the service's"
    if abs(skew_s) <= MAX_SKEW_S:
        return Finding(check="clock", outcome="ok", found=found)
    cure = "set it (NTP): S3 refuses keys by a clock that is off, and another machine may take a living build for dead"
    return Finding(check="clock", outcome="warning", found=found, cure=cure)


def _no_service(deployment: Deployment, error: DecodeError) -> Finding:
    return Finding(
        check="deployment",
        outcome="failed",
        found=f"{deployment.base_url} answers, but not as Sentinel Hub does: {error}",
        cure="correct base_url (SH_BASE_URL), or see to what stands between, such as a portal that wants a login",
        exit_code=TransportError.exit_code,
    )

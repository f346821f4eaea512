"""What the scheduler knows of builds and accounts, on Dask's ``/metrics`` page for Prometheus.

Refuses to count and to keep anything: it names the values of snapshots. No label holds a secret.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shdask.cluster.scheduler_plugin import AccountDesk, AccountSnapshot
from shdask.cluster.snapshot import BuildSnapshot, TileMark
from shdask.cluster.watch import BuildWatch

SHOWN_ENDED_S = 600.0
"""An ended build is told so long: Prometheus looks several times a minute."""
BUILD_LABELS = ("build", "store", "layer")
ACCOUNT_LABELS = ("account", "deployment")
STATES: Mapping[TileMark, str] = {
    TileMark.UNTRIED: "untried",
    TileMark.IN_WORK: "in_flight",
    TileMark.WRITTEN: "written",
    TileMark.EMPTY: "empty",
    TileMark.FAILED: "failed",
}
Values = Iterable[tuple[tuple[str, ...], float]]
"""(values of the further labels, value) of one build or account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One metric by its name on the page; a counter's ends in ``_total``."""

    name: str
    text: str
    label: str | None = None
    """A further label, besides those of its build or account."""

    def family(self, labels: Sequence[str]) -> GaugeMetricFamily | CounterMetricFamily:
        """Without values yet. Pure."""
        kind = CounterMetricFamily if self.name.endswith("_total") else GaugeMetricFamily
        return kind(self.name, self.text, labels=[*labels, *([self.label] if self.label else [])])


def _of(value: float | None) -> Values:
    return () if value is None else (((), float(value)),)


def _tiles(build: BuildSnapshot) -> Values:
    return [((name,), float(build.tiles.get(mark, 0))) for mark, name in STATES.items()]


def _limit(name: str) -> Callable[[AccountSnapshot], Values]:
    return lambda account: _of(account.limits.get(name))


def _buckets(suffix: str) -> Callable[[AccountSnapshot], Values]:
    """Of both buckets, by the names of `LimiterState.snapshot`."""

    def read(account: AccountSnapshot) -> Values:
        found = {bucket: account.limits.get(f"{bucket}_{suffix}") for bucket in ("requests", "pu")}
        return [((bucket,), value) for bucket, value in found.items() if value is not None]

    return read


BUILDS: Sequence[tuple[Measure, Callable[[BuildSnapshot], Values]]] = (
    (
        Measure(name="shdask_build_running", text="1 while the build runs, 0 for some minutes after."),
        lambda build: _of(build.ended is None),
    ),
    (
        Measure(name="shdask_build_seconds", text="How long the run has taken."),
        lambda build: _of(build.seconds),
    ),
    (Measure(name="shdask_tiles", text="Tiles of the plan by state.", label="state"), _tiles),
    (
        Measure(name="shdask_pu_spent_total", text="Processing units of this run, as the service stated them."),
        lambda build: _of(build.pu_spent),
    ),
    (
        Measure(name="shdask_pu_planned", text="Processing units that the run was projected to cost."),
        lambda build: _of(build.pu_projected),
    ),
    (
        Measure(name="shdask_pu_cap", text="Processing units that the run may spend; absent without a cap."),
        lambda build: _of(build.max_pu),
    ),
    (
        Measure(name="shdask_pu_price_ratio", text="What finished tiles cost, as a multiple of their projection."),
        lambda build: _of(build.dearness),
    ),
    (
        Measure(name="shdask_requests_total", text="Requests of this run, retries included."),
        lambda build: _of(build.requests),
    ),
    (
        Measure(name="shdask_requests_rejected_total", text="Requests of this run that were answered 429."),
        lambda build: _of(build.rejected),
    ),
    (
        Measure(name="shdask_requests_in_flight", text="Bundles of tiles at the service or being written."),
        lambda build: _of(build.in_flight),
    ),
    (
        Measure(name="shdask_oldest_tile_seconds", text="How long the oldest tile in flight is under way; 0 without."),
        lambda build: _of(build.oldest_in_flight_s),
    ),
    (
        Measure(name="shdask_spool_bytes", text="Paid pixels that wait on workers' disks for the store."),
        lambda build: _of(build.spool_nbytes),
    ),
    (
        Measure(name="shdask_eta_seconds", text="Projected time to the end; absent until there is a pace."),
        lambda build: _of(build.remaining_s),
    ),
    (
        Measure(name="shdask_async_jobs", text="Jobs of Async Process by stage.", label="stage"),
        lambda build: [((stage,), float(count)) for stage, count in build.jobs.items()],
    ),
    (
        Measure(name="shdask_tile_errors_total", text="Failures of tiles by the error's class.", label="kind"),
        lambda build: [((error.kind,), float(error.count)) for error in build.errors],
    ),
)
HEARTBEAT = Measure(name="shdask_owner_heartbeat_age_seconds", text="Since a running build's owner was heard of.")

ACCOUNTS: Sequence[tuple[Measure, Callable[[AccountSnapshot], Values]]] = (
    (
        Measure(name="shdask_account_permits_total", text="Requests that the limiter has permitted."),
        _limit("permits"),
    ),
    (
        Measure(name="shdask_account_pu_permitted_total", text="Projected processing units of permitted requests."),
        _limit("pu_permitted"),
    ),
    (
        Measure(name="shdask_account_rejections_total", text="Answers 429 that were reported to the limiter."),
        _limit("rejections"),
    ),
    (
        Measure(name="shdask_account_slowdowns_total", text="Answers 429 that lowered the rate."),
        _limit("reactions"),
    ),
    (
        Measure(name="shdask_bucket_level", text="What could be taken at once.", label="bucket"),
        _buckets("available"),
    ),
    (
        Measure(name="shdask_bucket_size", text="The most that the limiter takes at once.", label="bucket"),
        _buckets("burst"),
    ),
    (
        Measure(name="shdask_bucket_refill_per_second", text="The rate in force.", label="bucket"),
        _buckets("per_s"),
    ),
    (
        Measure(name="shdask_rate_share_ratio", text="The rate in force as a share of the configured one."),
        _limit("rate_share"),
    ),
    (
        Measure(name="shdask_service_hold_seconds", text="What is left of the service's advice to wait."),
        _limit("held_s"),
    ),
    (
        Measure(name="shdask_service_failures", text="Requests in a row that brought nothing."),
        _limit("failures"),
    ),
    (
        Measure(name="shdask_service_paused", text="1 while the service seems down."),
        _limit("paused"),
    ),
    (
        Measure(name="shdask_token_age_seconds", text="Since the account's token was asked for."),
        lambda account: _of(account.token_age_s),
    ),
    (
        Measure(name="shdask_token_left_seconds", text="Until the account's token ends."),
        lambda account: _of(account.token_left_s),
    ),
    (
        Measure(name="shdask_month_quota", text="The account's quota of a month, as configured.", label="quantity"),
        lambda account: [((name,), quota) for name, quota in account.month_quotas.items()],
    ),
)


class SnapshotCollector(Collector):
    """Makes metrics of the snapshots of the moment."""

    def __init__(
        self,
        builds: Callable[[], Sequence[BuildSnapshot]],
        accounts: Callable[[], Sequence[AccountSnapshot]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._builds = builds
        self._accounts = accounts
        self._clock = clock

    def describe(self) -> Iterable[Metric]:
        """Nothing: schedulers of one process may each have a collector."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every metric, with a sample for each build and account that has it."""
        now = self._clock()
        builds = [each for each in self._builds() if each.ended is None or now - each.ended < SHOWN_ENDED_S]
        for measure, read_build in BUILDS:
            yield _fill(measure, BUILD_LABELS, [(_build_labels(each), read_build(each)) for each in builds])
        ages = [(_build_labels(each), _of(max(0.0, now - each.heard))) for each in builds if each.ended is None]
        yield _fill(HEARTBEAT, BUILD_LABELS, ages)
        accounts = self._accounts()
        for measure, read_account in ACCOUNTS:
            told = [((each.key, each.deployment), read_account(each)) for each in accounts]
            yield _fill(measure, ACCOUNT_LABELS, told)


def _build_labels(build: BuildSnapshot) -> tuple[str, ...]:
    return build.key, build.store, build.layer


def _fill(measure: Measure, labels: Sequence[str], told: Iterable[tuple[tuple[str, ...], Values]]) -> Metric:
    family = measure.family(labels)
    for known, values in told:
        for further, value in values:
            family.add_metric([*known, *further], value)
    return family


class MetricsDesk(SchedulerPlugin):
    """Puts builds and accounts on the scheduler's page of metrics for as long as it lives."""

    name = "shdask-metrics"
    idempotent = True

    def start(self, scheduler: Scheduler) -> None:
        """Register with Prometheus's client, whose registry Dask's page shows."""
        self._scheduler = scheduler
        self._registry: CollectorRegistry = REGISTRY
        self._collector = SnapshotCollector(self._builds, self._accounts)
        self._registry.register(self._collector)

    async def close(self) -> None:
        """Take the metrics off the page with the scheduler."""
        with contextlib.suppress(KeyError):  # again
            self._registry.unregister(self._collector)

    def _builds(self) -> Sequence[BuildSnapshot]:
        watch = self._scheduler.plugins.get(BuildWatch.name)
        return watch.snapshots() if isinstance(watch, BuildWatch) else ()

    def _accounts(self) -> Sequence[AccountSnapshot]:
        desk = self._scheduler.plugins.get(AccountDesk.name)
        return desk.accounts() if isinstance(desk, AccountDesk) else ()

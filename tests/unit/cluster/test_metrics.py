"""The page of metrics: what Prometheus reads of builds and accounts, by name, label and value."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from shdask.cluster.metrics import MetricsDesk, SnapshotCollector
from shdask.cluster.scheduler_plugin import AccountSnapshot
from shdask.cluster.snapshot import BuildSnapshot, ErrorKind, TileMark, WorkerLoad

NOW = 1_000_000.0
LABELS = {"build": "b1", "store": "s3://cubes/one/s2", "layer": "sentinel-2-l2a: B02"}
ACCOUNT = {"account": "0123456789abcdef", "deployment": "cdse"}


def snapshot(**changes: object) -> BuildSnapshot:
    """A build in its middle."""
    worker = {"tiles": 2, "in_flight": 1, "heard_s": 0.1}
    fields: dict[str, object] = {
        "key": "b1", "store": LABELS["store"], "layer": LABELS["layer"], "account": ACCOUNT["account"],
        "version": 1, "began": NOW - 100, "heard": NOW - 2.5, "ended": None, "end": "", "grid_shape": (2, 5),
        "steps": (), "states": np.zeros((1, 2, 5), np.uint8), "pu_spent": 12.5, "pu_projected": 40.0,
        "tiles": dict(zip([TileMark.UNTRIED, TileMark.IN_WORK, TileMark.WRITTEN, TileMark.EMPTY, TileMark.FAILED],
                          [3, 2, 3, 1, 1], strict=True)),
        "max_pu": 50.0, "requests": 70, "rejected": 4, "requests_per_minute": 42.0, "pu_per_minute": 7.5,
        "seconds": 97.5, "remaining_s": 33.0, "waiting_for": "answers", "dearness": 1.25,
        "jobs": {"running": 2}, "errors": (ErrorKind(kind="DecodeError", count=3, message="", tile=1, told=NOW),),
        "workers": (
            WorkerLoad(address="tcp://a:1", host="a", oldest_s=4.0, spool_nbytes=10, **worker),
            WorkerLoad(address="tcp://b:1", host="b", oldest_s=9.0, spool_nbytes=7, **worker),
        ),
    }  # fmt: skip  # a row of what belongs together
    return BuildSnapshot(**{**fields, **changes})  # type: ignore[arg-type]  # its own fields


def account(**changes: object) -> AccountSnapshot:
    """An account whose bucket is half empty."""
    limits = {"requests_available": 120.0, "requests_burst": 300.0, "requests_per_s": 10.0, "rate_share": 0.95,
              "pu_available": 9.0, "pu_burst": 150.0, "pu_per_s": 5.0, "held_s": 0.0, "failures": 1.0, "paused": 0.0,
              "permits": 900.0, "pu_permitted": 450.5, "rejections": 7.0, "reactions": 2.0}  # fmt: skip  # a table
    fields: dict[str, object] = {
        "key": ACCOUNT["account"], "deployment": ACCOUNT["deployment"], "limits": limits,
        "month_quotas": {"requests": 10_000.0}, "token_age_s": 60.0, "token_left_s": 540.0,
    }  # fmt: skip  # as above
    return AccountSnapshot(**{**fields, **changes})  # type: ignore[arg-type]  # its own fields


def page_of(builds: Sequence[BuildSnapshot] = (), accounts: Sequence[AccountSnapshot] = ()) -> CollectorRegistry:
    """What a scheduler that knows these would show."""
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(lambda: builds, lambda: accounts, clock=lambda: NOW))
    return registry


@pytest.mark.parametrize(
    ("name", "further", "value"),
    [
        ("shdask_build_running", {}, 1.0),
        ("shdask_build_seconds", {}, 97.5),
        ("shdask_tiles", {"state": "untried"}, 3.0),
        ("shdask_tiles", {"state": "in_flight"}, 2.0),
        ("shdask_tiles", {"state": "written"}, 3.0),
        ("shdask_tiles", {"state": "empty"}, 1.0),
        ("shdask_tiles", {"state": "failed"}, 1.0),
        ("shdask_pu_spent_total", {}, 12.5),
        ("shdask_pu_planned", {}, 40.0),
        ("shdask_pu_cap", {}, 50.0),
        ("shdask_pu_price_ratio", {}, 1.25),
        ("shdask_requests_total", {}, 70.0),
        ("shdask_requests_rejected_total", {}, 4.0),
        ("shdask_requests_in_flight", {}, 2.0),
        ("shdask_oldest_tile_seconds", {}, 9.0),
        ("shdask_spool_bytes", {}, 17.0),
        ("shdask_owner_heartbeat_age_seconds", {}, 2.5),
        ("shdask_eta_seconds", {}, 33.0),
        ("shdask_async_jobs", {"stage": "running"}, 2.0),
        ("shdask_tile_errors_total", {"kind": "DecodeError"}, 3.0),
    ],
)
def test_a_build_is_told_as_metrics(name: str, further: dict[str, str], value: float) -> None:
    """Each value of a build's snapshot stands under its name, with the build, the store and the layer as labels."""
    assert page_of(builds=[snapshot()]).get_sample_value(name, {**LABELS, **further}) == value


@pytest.mark.parametrize(
    ("name", "further", "value"),
    [
        ("shdask_account_permits_total", {}, 900.0),
        ("shdask_account_pu_permitted_total", {}, 450.5),
        ("shdask_account_rejections_total", {}, 7.0),
        ("shdask_account_slowdowns_total", {}, 2.0),
        ("shdask_bucket_level", {"bucket": "requests"}, 120.0),
        ("shdask_bucket_size", {"bucket": "requests"}, 300.0),
        ("shdask_bucket_refill_per_second", {"bucket": "pu"}, 5.0),
        ("shdask_rate_share_ratio", {}, 0.95),
        ("shdask_service_hold_seconds", {}, 0.0),
        ("shdask_service_failures", {}, 1.0),
        ("shdask_service_paused", {}, 0.0),
        ("shdask_token_age_seconds", {}, 60.0),
        ("shdask_token_left_seconds", {}, 540.0),
        ("shdask_month_quota", {"quantity": "requests"}, 10_000.0),
        ("shdask_month_quota", {"quantity": "pu"}, None),
    ],
)
def test_an_account_is_told_as_metrics(name: str, further: dict[str, str], value: float | None) -> None:
    """Each value of an account stands under its name; the account is called by a digest."""
    assert page_of(accounts=[account()]).get_sample_value(name, {**ACCOUNT, **further}) == value


def test_what_is_not_known_is_absent() -> None:
    """No cap, no pace and no jobs are no numbers: a zero would be a lie."""
    page = page_of(builds=[snapshot(max_pu=None, remaining_s=None, jobs={})])
    samples = [sample.name for family in page.collect() for sample in family.samples]
    assert not {"shdask_pu_cap", "shdask_eta_seconds", "shdask_async_jobs"} & set(samples)


def test_an_ended_build_says_so_for_some_minutes() -> None:
    """For a while an ended build stands there as one that does not run; nobody waits for its owner any more."""
    page = page_of(builds=[snapshot(ended=NOW - 60.0)])
    assert page.get_sample_value("shdask_build_running", LABELS) == 0.0
    assert page.get_sample_value("shdask_owner_heartbeat_age_seconds", LABELS) is None


def test_an_ended_build_vanishes() -> None:
    """Ten minutes after its end nothing is told of a build any more."""
    page = page_of(builds=[snapshot(ended=NOW - 601.0)])
    assert [sample for family in page.collect() for sample in family.samples] == []


def test_the_page_is_readable() -> None:
    """What is written is what Prometheus's own parser reads, with quotes and line ends in names."""
    odd = 'folder "of\\mine"\n'
    text = generate_latest(page_of(builds=[snapshot(store=odd)], accounts=[account()])).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["shdask_tiles"].samples[0].labels["store"] == odd
    assert families["shdask_pu_spent"].type == "counter"


def families_of_tiles() -> int:
    """How many schedulers of this process are on Prometheus's page; other tests may have one."""
    return sum(family.name == "shdask_tiles" for family in REGISTRY.collect())


def test_metrics_come_and_go_with_their_scheduler() -> None:
    """The desk puts its metrics on Prometheus's page, and takes them off when its scheduler closes; again: nothing."""
    before = families_of_tiles()
    desk = MetricsDesk()
    desk.start(SimpleNamespace(plugins={}))
    during = families_of_tiles()
    asyncio.run(desk.close())
    asyncio.run(desk.close())
    assert (during, families_of_tiles()) == (before + 1, before)

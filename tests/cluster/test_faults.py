"""Every fault of the emulator against a real cluster: right pixels, money told, or one clear error that stops it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import shdask
from shdask.cluster.executor import DaskExecutor
from shdask.cluster.patience import Patience
from shdask.emulator.faults.rules import KINDS
from shdask.emulator.launch import EmulatorProcess
from shdask.errors import AuthError, QuotaExhausted, RequestRejected, ServiceDown
from shdask.fetch.outage import OutageRule
from shdask.fetch.retry import RetryPolicy
from shdask.fetch.transport import Timeouts
from shdask.plan.cube import make_cube_plan
from tests.cluster.specs import earth_spec

SPEC = earth_spec(
    resolution=40, store={"chunk_px": 32, "tile_px": 64}, service={"requests_per_minute": 6000, "pu_per_minute": 6000}
)
BAD = earth_spec(
    layers={"s2": {"collection": "byoc-nothing", "bands": ["B02"]}}, store={"chunk_px": 64, "tile_px": 64},
    service={"requests_per_minute": 300},
)  # fmt: skip
"""75 tiles of a collection that is not there, 10 requests in flight on each of two workers."""
BRISK = Patience(
    timeouts=Timeouts(connect_s=2, read_s=1.5, total_s=3),
    retries=RetryPolicy(base_wait_s=0.1, max_wait_s=0.5),
    outage=OutageRule(max_pause_s=0.5),
)
"""The same rules in a hurry."""
SILENT = {"garbled"}
"""Kinds that no client can notice in a TIFF without compression; with compression it nearly always can."""
FINAL = {"403"}
OF_JOBS = {name for name, kind in KINDS.items() if kind.job}
WITH = {"delay": {"delay_s": 0.5}, "drip": {"nbytes_per_s": 3000.0}}
CHARGED = {"html", "json", "reset-body", "cut", "cut-chunked", "shape", "dtype", "bands"}
"""Kinds whose answers say 2xx: they are paid for, and told so."""
NO_ANSWER = {"reset", "close", "hang"}
CAP_S = 4.0
"""Longest silence that an advice may bring; 60 s where nothing else is said."""
FORMS = ("ms", "absent", "huge", "date")
MORE_FORMS = ("s", "negative", "word", "fraction", "absurd")
MORE_KINDS = {"500", "502", "504", "400", "close", "reset-body", "cut", "dtype", "json", "delay"}
"""Each is met in the same way as one of the others; that the engine outlives it is shown without a cluster, too."""


@pytest.fixture(scope="module")
def service(earth: EmulatorProcess) -> EmulatorProcess:
    """An emulator whose answers are compressed, so that a changed byte shows."""
    return earth


@pytest.fixture(scope="module")
def undisturbed(service: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """The cube as it is without trouble."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        [patch.setenv(*variable) for variable in service.environment().items()]
        shdask.build_cube(SPEC, folder / "cube", executor=shdask.SerialExecutor())
    return shdask.open_cube(folder / "cube").load()


@pytest.fixture
def build(service: EmulatorProcess, client, point_at, tmp_path: Path) -> Iterator[Any]:
    """Builds the cube while these faults are set."""
    point_at(service)

    def begin(
        *faults: dict[str, Any], patience: Patience = BRISK, spec: shdask.CubeSpec | shdask.GroupPlan = SPEC
    ) -> shdask.report.BuildReport:
        service.set_faults(list(faults))
        return shdask.build_cube(spec, tmp_path / "cube", executor=DaskExecutor(client, patience))

    yield begin
    service.clear_faults()


def sent(service: EmulatorProcess) -> int:
    """Process requests that have arrived."""
    return sum(count for call, count in service.stats()["calls"].items() if "/process" in call)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.long] * (kind in MORE_KINDS))
        for kind in sorted(KINDS.keys() - SILENT - FINAL - OF_JOBS)
    ],
)
def test_every_fault_is_outlived_to_the_pixel(build, service, undisturbed, tmp_path, kind) -> None:
    """Every third request goes wrong, four times in all: the cube is right, and what was charged is told."""
    report = build({"kind": kind, "every": 3, "times": 4, **WITH.get(kind, {})})
    charged = service.stats()["pu_charged"]
    assert (report.complete, report.failed) == (True, 0)
    xr.testing.assert_equal(shdask.open_cube(tmp_path / "cube").load(scheduler="threads"), undisturbed)
    assert report.requests >= report.tiles
    assert report.pu_spent <= charged + 1e-6 or kind in CHARGED
    assert charged <= report.pu_spent + report.pu_unknown + 1e-6


@pytest.mark.parametrize("kind", sorted(NO_ANSWER))
def test_answers_that_never_came_are_told_as_money_at_risk(build, kind) -> None:
    """A request that was worked on, and whose answer was lost, is in the report apart from what is known."""
    report = build({"kind": kind, "every": 3, "times": 2, "charged": True})
    assert report.pu_unknown == pytest.approx(2 * report.pu_projected / report.tiles, rel=0.5)
    assert "may have been charged" in str(report)


@pytest.mark.parametrize("form", [*FORMS, *(pytest.param(form, marks=pytest.mark.long) for form in MORE_FORMS)])
def test_no_retry_after_stalls_a_build(build, form) -> None:
    """Whatever the advice says, it is over within seconds: an absurd one is dropped or cut at the deployment's cap."""
    plan = shdask.make_plan(SPEC).only
    capped = replace(plan, deployment=replace(plan.deployment, retry_after_max_s=CAP_S))
    report = build({"kind": "429", "retry_after": form, "times": 1, "first": 3}, spec=make_cube_plan({"": capped}))
    assert (report.complete, report.rejected) == (True, 1)
    assert report.seconds < 5 * CAP_S


def test_eight_faults_at_once_change_no_pixel(build, service, undisturbed, tmp_path) -> None:
    """A tenth of all requests meets each of eight faults."""
    kinds = ("503", "502", "429", "reset", "cut", "cut-chunked", "html", "revoke")
    report = build(*({"kind": kind, "probability": 0.1} for kind in kinds))
    again = build()
    assert (again.complete, report.written + again.written) == (True, report.tiles)
    xr.testing.assert_equal(shdask.open_cube(tmp_path / "cube").load(scheduler="threads"), undisturbed)


def test_used_up_month_parks_the_build(build, service, undisturbed, tmp_path) -> None:
    """403 ends it at once, says when to go on, and what was bought is kept."""
    with pytest.raises(QuotaExhausted, match=r"run again after the quota resets at \d{4}-\d\d-01T00:00:00Z") as caught:
        build({"kind": "403", "first": 4})
    assert (caught.value.exit_code, caught.value.resume_at[-13:]) == (4, "-01T00:00:00Z")
    report = build()
    assert (report.complete, report.skipped > 0) == (True, True)
    xr.testing.assert_equal(shdask.open_cube(tmp_path / "cube").load(scheduler="threads"), undisturbed)


def test_bad_request_fails_the_build_on_its_first_answer(build, service) -> None:
    """Nothing is sent but what was in flight when the first answer came: one request a thread at most."""
    with pytest.raises(RequestRejected):
        build(spec=BAD)
    assert 1 <= sent(service) <= 2 * 10 < shdask.make_plan(BAD).only.tile_count


def test_token_that_is_refused_for_ever_stops_the_build(build, service) -> None:
    """A fresh token that is refused too is a matter of rights, not of time."""
    with pytest.raises(AuthError):
        build({"kind": "401", "first": 2})


def test_dead_service_stops_the_build_and_not_each_tile(build, service, undisturbed, tmp_path) -> None:
    """All pause together, one request at a time looks; then the build says since when, and the same command goes on."""
    rule = OutageRule(stop_after=10, stop_s=3.0, max_pause_s=1.0)
    patience = Patience(timeouts=Timeouts(connect_s=5, read_s=10, total_s=20), retries=BRISK.retries, outage=rule)
    with pytest.raises(ServiceDown, match=r"has brought nothing for \d+ s, .*503.* same command"):
        build({"kind": "503", "first": 5}, patience=patience)
    assert sent(service) <= 4 + 2 * 32 + 10
    report = build(patience=patience)
    assert (report.complete, report.failed) == (True, 0)
    xr.testing.assert_equal(shdask.open_cube(tmp_path / "cube").load(scheduler="threads"), undisturbed)


def test_token_server_in_trouble_is_waited_for(build, service, undisturbed, tmp_path) -> None:
    """Its 503 in mid-run, with every token revoked, costs time and no pixel."""
    down = {"kind": "503", "service": "token", "first": 2, "times": 2}
    report = build({"kind": "revoke", "first": 4, "times": 1}, down)
    assert (report.complete, report.failed) == (True, 0)
    np.testing.assert_array_equal(shdask.open_cube(tmp_path / "cube")["B02"].to_numpy(), undisturbed["B02"].to_numpy())

"""What a run was charged and took changes what the next plan says, against the emulator."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

import shdask
from shdask.assemble.ledger import read_ledger
from shdask.assemble.status import read_status
from shdask.emulator.launch import EmulatorProcess, start_emulator
from shdask.plan.cube import CubePlan
from shdask.report import BuildReport

SCRIPT = """//VERSION=3
function setup() {
  return {input: ["B04", "dataMask"], output: {bands: 2, sampleType: "UINT16"}, mosaicking: "ORBIT"};
}
function evaluatePixel(samples) { return [samples.length, 1]; }
"""
AREA = (14.40, 46.00, 14.48, 46.06)
WIDER = (14.36, 45.98, 14.52, 46.08)
STORE = {"chunk_px": 128, "tile_px": 256}

Build = Callable[..., tuple[CubePlan, BuildReport]]


def spec(aoi: tuple[float, ...] = AREA, **layer: object) -> shdask.CubeSpec:
    return shdask.CubeSpec(
        aoi=aoi,
        crs="EPSG:32633",
        resolution=20,
        time=["2024-06-01", "2024-06-30"],
        layers={"s2": {"collection": "sentinel-2-l2a", **layer}},
        store=STORE,
    )


def orbits(aoi: tuple[float, ...] = AREA, *, script: str = SCRIPT) -> shdask.CubeSpec:
    """How many clear orbits saw each pixel in a month; the price hangs on just that."""
    return spec(
        aoi,
        evalscript=script,
        input_bands=["B04"],
        mosaicking="ORBIT",
        max_cloud_cover=0.1,
        outputs={"default": {"bands": ["n"], "dtype": "uint16"}},
    )


@pytest.fixture
def build(service: EmulatorProcess, tmp_path: Path) -> Build:
    """Plans a job and builds it in a new store; gives the plan and the report."""

    def build(job: shdask.CubeSpec, name: str) -> tuple[CubePlan, BuildReport]:
        plan = shdask.make_plan(job)
        service.reset()
        return plan, shdask.build_cube(plan, tmp_path / name, executor=shdask.SerialExecutor())

    return build


def test_a_guess_that_was_wrong_is_right_the_second_time(build: Build, service, learning) -> None:
    """A guess knows no clouds, and is twice what is charged; the next plan is within one percent of it."""
    plan, report = build(orbits(), "first")
    first = service.stats()["pu_charged"]
    assert plan.cost.pu > 1.9 * first
    assert report.pu_spent == pytest.approx(first, rel=1e-6)
    plan, report = build(orbits(), "second")
    assert plan.cost.pu == pytest.approx(service.stats()["pu_charged"], rel=0.01)
    assert report.pu_projected == plan.cost.pu


def test_what_was_learned_on_some_ground_helps_on_more(build: Build, service, learning) -> None:
    """Where other orbits pass as well, ten percent are left of the hundred that the guess was off."""
    build(orbits(), "first")
    plan, _ = build(orbits(WIDER), "second")
    assert plan.cost.pu == pytest.approx(service.stats()["pu_charged"], rel=0.1)


def test_what_was_learned_stays_learned(build: Build, service, learning) -> None:
    """A plan that was right does not make the next one guess again."""
    runs = [build(orbits(), name) for name in ("first", "second", "third")]
    assert runs[2][0].cost.pu == pytest.approx(service.stats()["pu_charged"], rel=0.01)
    assert runs[2][0].measured[""].runs == 2


def test_another_script_does_not_believe_it(build: Build, learning) -> None:
    """It may take other scenes."""
    build(orbits(), "first")
    other = orbits(script=SCRIPT + "// another")
    assert shdask.make_plan(other).measured == {}


def test_a_known_price_was_charged_as_foreseen(build: Build, learning) -> None:
    """The formula and the header agree, so that there is nothing to warn of; time and bytes are told."""
    _, report = build(spec(bands=["B02", "B08"]), "first")
    plan = shdask.make_plan(spec(bands=["B02", "B08"]))
    assert plan.measured[""].pu_ratio == pytest.approx(1.0, rel=1e-6)
    assert plan.cost.pu == pytest.approx(report.pu_spent, rel=1e-6)
    assert len(plan.notes) == 1
    assert plan.notes[0].startswith(f"learned from 1 run: price x1.00 -> about {plan.cost.pu:.2f} PU; time x")


def test_the_bytes_of_the_wire_are_learned(build: Build, service, learning) -> None:
    """As a share of those before compression."""
    _, report = build(spec(bands=["B02", "B08"]), "first")
    found = shdask.make_plan(spec(bands=["B02", "B08"])).measured[""].nbytes_ratio
    assert found == pytest.approx(report.nbytes / report.nbytes_projected)
    assert 0.0 < found < 1.0


def test_the_ledger_s_last_row_holds_both(build: Build, tmp_path, learning) -> None:
    """What was foreseen for what came, and what it was; `status` tells it."""
    plan, report = build(orbits(), "cube")
    end = read_ledger(tmp_path / "cube").end
    assert end is not None
    assert end.figures is not None
    assert (end.figures.pu_spent, end.figures.requests) == (pytest.approx(report.pu_spent), report.requests)
    assert (end.figures.pu_projected, end.figures.pu_formula) == (pytest.approx(plan.cost.pu),) * 2
    assert end.figures.kind.startswith("loopback sentinel-2-l2a script ")
    assert f"{report.pu_spent:.2f} PU, {plan.cost.pu:.2f} projected" in str(read_status(tmp_path / "cube"))


def test_a_file_that_cannot_be_used_stops_no_build(build: Build, learning, caplog) -> None:
    """One line says so, and the plan goes by its guess."""
    learning.mkdir(parents=True)
    _, report = build(orbits(), "cube")
    assert report.complete
    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.name for record in told][:1] == ["shdask.learned"]


def test_a_continued_build_learns_from_what_it_buys_itself(build: Build, service, tmp_path, learning) -> None:
    """What was done before is neither paid again nor learned again."""
    build(orbits(), "cube")
    before = json.loads(learning.read_text())
    _, report = build(orbits(), "cube")
    assert (report.requests, json.loads(learning.read_text())) == (0, before)


def test_how_long_an_answer_takes_is_learned(tmp_path: Path, learning, monkeypatch) -> None:
    """Of a service that takes half a second for each, and for as many at once as are sent."""
    with start_emulator(latency_s=0.5) as slow:
        [monkeypatch.setenv(name, value) for name, value in slow.environment().items()]
        job = spec(bands=["B02", "B08"])
        report = shdask.build_cube(job, tmp_path / "cube", executor=shdask.SerialExecutor())
        plan = shdask.make_plan(job)
    assert report.answers == report.requests
    assert 0.5 <= report.latency_s < 10.0
    assert plan.measured[""].latency_s == pytest.approx(report.latency_s, abs=0.002)
    assert f"{report.latency_s:.2f} s an answer" in plan.notes[0]

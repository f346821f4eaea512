"""Which dates come with one request: laws over any time axis and reach, and the gain for small tiles."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shdask.model import TimeInterval
from shdask.plan.bundles import MAX_DATES, MAX_NBYTES, choose_bundles, most_dates
from shdask.plan.layer import LayerPlan, make_layer
from shdask.plan.layer_spec import Layer
from shdask.plan.timeline import Step, Timeline
from shdask.settings import Deployment
from tests.unit.plan.scenes import scene

START = datetime(2024, 1, 1, tzinfo=UTC)
YEAR = TimeInterval(start=START, end=START + timedelta(days=366))
SMALL = (256, 256)


@dataclass(frozen=True)
class Table:
    """A reach by its table (step, row, column)."""

    table: NDArray[np.bool_]

    @property
    def step_count(self) -> int:
        """Length of the axis."""
        return len(self.table)

    def mask(self, index: int) -> NDArray[np.bool_]:
        """(row, column) of one step."""
        return self.table[index]


def a_layer(**fields: Any) -> LayerPlan:
    own: dict[str, Any] = {"collection": "sentinel-2-l2a", "bands": ("B02", "B03", "B04"), "cadence": "acquisition"}
    return make_layer("s2", Layer(**{**own, **fields}), YEAR)


def rates(requests_per_minute: float = 600.0, pu_per_minute: float = 1000.0) -> Deployment:
    return Deployment(
        name="test",
        base_url="http://127.0.0.1:1",
        token_url="http://127.0.0.1:1/token",
        requests_per_minute=requests_per_minute,
        pu_per_minute=pu_per_minute,
    )


def a_step(minutes: int, *, lasts: int = 1, revision: int = 0) -> Step:
    """``minutes`` after the new year, for as many."""
    start = START + timedelta(minutes=minutes)
    seen = scene(f"s{minutes}", start.replace(tzinfo=None).isoformat())
    interval = TimeInterval(start=start, end=start + timedelta(minutes=lasts))
    return Step(interval=interval, time=start, acquisitions=(seen,), revision=revision)


def a_timeline(*steps: Step) -> Timeline:
    return Timeline(cadence="acquisition", interval=YEAR, steps=steps)


def every_fifth_day(count: int, start: int = 0) -> list[Step]:
    return [a_step((start + 5 * index) * 1440 + 600) for index in range(count)]


def everywhere(count: int, rows: int = 1, columns: int = 1) -> Table:
    return Table(np.ones((count, rows, columns), np.bool_))


@st.composite
def axes(draw: st.DrawFn) -> tuple[Timeline, Table]:
    """Passes at any time of up to forty days, over any cells of a small grid; some bought again, some long."""
    minutes = sorted(draw(st.lists(st.integers(0, 40 * 1440), min_size=1, max_size=40, unique=True)))
    steps = [
        a_step(
            at,
            lasts=draw(st.sampled_from([1, 1, 1, 1440])),
            revision=draw(st.sampled_from([0, 0, 0, 0, 1])),
        )
        for at in draw(st.sampled_from([minutes, minutes[::-1]]))
    ]
    bits = draw(st.lists(st.booleans(), min_size=len(steps) * 6, max_size=len(steps) * 6))
    return a_timeline(*steps), Table(np.array(bits, np.bool_).reshape(len(steps), 2, 3))


def per_cell(bundles: tuple[int, ...], reach: Table) -> Counter[tuple[int, int, int]]:
    """How many dates each bundle has of each cell."""
    step, row, column = np.nonzero(reach.table)
    return Counter(zip(np.array(bundles)[step].tolist(), row.tolist(), column.tolist(), strict=True))


def days_of(step: Step) -> set[Any]:
    return {step.interval.start.date(), (step.interval.end - timedelta(milliseconds=1)).date()}


@given(axes(), st.sampled_from([10.0, 100.0, 600.0]), st.sampled_from([(256, 256), (512, 512), (1024, 2048)]))
@settings(deadline=None, max_examples=200)
def test_no_bundle_confuses_dates_or_breaks_a_limit(
    axis: tuple[Timeline, Table], requests_per_minute: float, shape: tuple[int, int]
) -> None:
    """In a cell every date of a request has a UTC day of its own, in order, whole, and there are not too many."""
    timeline, reach = axis
    layer, deployment = a_layer(), rates(requests_per_minute)
    bundles = choose_bundles(timeline, reach, layer, shape, deployment) or tuple(range(reach.step_count))
    shared = [index for index, number in enumerate(bundles) if bundles.count(number) > 1]
    assert len(bundles) == reach.step_count
    assert all(len(days_of(timeline.steps[index])) == 1 and not timeline.steps[index].revision for index in shared)
    assert all(
        days_of(timeline.steps[one]).isdisjoint(days_of(timeline.steps[other]))
        for one in shared
        for other in range(reach.step_count)
        if one != other and (reach.mask(one) & reach.mask(other)).any()
    )
    assert all(
        timeline.steps[one].interval.start <= timeline.steps[other].interval.start
        for one in shared
        for other in shared
        if one < other and bundles[one] == bundles[other]
    )
    assert max(per_cell(bundles, reach).values(), default=0) <= most_dates(layer, shape, deployment)


@given(axes())
@settings(deadline=None)
def test_a_bundle_is_named_by_its_first_step(axis: tuple[Timeline, Table]) -> None:
    """Numbers are steps, so that bundles sort by time and none is taken twice."""
    bundles = choose_bundles(*axis, a_layer(), SMALL, rates())
    assert all(bundles[number] == number and bundles.index(number) == number for number in bundles)


def test_small_tiles_need_fewer_requests_until_units_bind() -> None:
    """256 px x 60 dates of three bands at 600 requests and 1000 units a minute: 60 requests become 9."""
    # a date is 0.25 units, 4000 dates a minute; 600 requests a minute carry them from 7 dates each
    bundles = choose_bundles(a_timeline(*every_fifth_day(60)), everywhere(60), a_layer(), SMALL, rates())
    assert list(Counter(bundles).values()) == [7] * 8 + [4]


def test_cells_that_every_other_pass_reaches_are_bundled_as_well() -> None:
    """Two orbits in turn, each over its half: 30 dates of a cell are four requests, for what counts are its own."""
    table = np.zeros((60, 1, 2), np.bool_)
    table[::2, 0, 0] = table[1::2, 0, 1] = True
    steps = sorted(every_fifth_day(30) + every_fifth_day(30, start=2), key=lambda step: step.time)
    bundles = choose_bundles(a_timeline(*steps), Table(table), a_layer(), SMALL, rates())
    assert sorted(per_cell(bundles, Table(table)).values()) == [6, 6, 8, 8, 8, 8, 8, 8]


def test_two_passes_of_a_day_are_bought_alone_where_both_are() -> None:
    """Days are all that such a request tells apart; over other cells they may come with others."""
    steps = [a_step(day * 1440 + minute) for day, minute in [(0, 600), (1, 600), (1, 700), (2, 600), (3, 600)]]
    both, apart = np.ones((5, 1, 2), np.bool_), np.ones((5, 1, 2), np.bool_)
    apart[1], apart[2] = [[True, False]], [[False, True]]
    assert choose_bundles(a_timeline(*steps), Table(both), a_layer(), SMALL, rates()) == (0, 1, 2, 0, 0)
    assert choose_bundles(a_timeline(*steps), Table(apart), a_layer(), SMALL, rates()) == (0, 0, 0, 0, 0)


def test_what_is_bought_again_or_crosses_midnight_is_alone() -> None:
    """A day would hold the other's scenes as well."""
    steps = every_fifth_day(5)
    steps[1] = replace(steps[1], revision=1)
    steps[3] = replace(
        steps[3],
        interval=TimeInterval(
            start=steps[3].interval.start, end=steps[3].interval.start.replace(hour=0) + timedelta(days=1, seconds=1)
        ),
    )
    assert choose_bundles(a_timeline(*steps), everywhere(5), a_layer(), SMALL, rates()) == (0, 1, 0, 3, 0)


def test_days_that_are_to_be_apart_are() -> None:
    """A scene of that day is in the catalogue that the steps do not know."""
    steps = every_fifth_day(5)
    apart = frozenset({steps[2].interval.start.date()})
    bundles = choose_bundles(a_timeline(*steps), everywhere(5), a_layer(), SMALL, rates(), apart=apart)
    assert bundles == (0, 0, 2, 0, 0)


@pytest.mark.parametrize(
    ("fields", "shape", "deployment"),
    [
        ({"cadence": "P10D"}, SMALL, rates()),
        ({"cadence": "mosaic"}, SMALL, rates()),
        ({}, (2048, 2048), rates()),  # 16 units a request: units bind
        ({}, SMALL, rates(requests_per_minute=1e6)),
        ({}, (1024, 1024), rates(requests_per_minute=1.0, pu_per_minute=20.0)),  # two would be half a minute's units
    ],
    ids=["decade", "mosaic", "large", "fast", "dear"],
)
def test_nothing_is_bundled_without_a_gain(
    fields: dict[str, Any], shape: tuple[int, int], deployment: Deployment
) -> None:
    """Nor where it would not be the same picture, nor where it could not be paid at once."""
    assert choose_bundles(a_timeline(*every_fifth_day(9)), everywhere(9), a_layer(**fields), shape, deployment) == ()


def test_a_script_of_the_users_is_bought_date_by_date() -> None:
    """What it would make of several days is not known."""
    layer = a_layer(bands=(), evalscript="//VERSION=3\n", input_bands=("B04",), outputs={"default": {"bands": ["n"]}})
    assert choose_bundles(a_timeline(*every_fifth_day(9)), everywhere(9), layer, SMALL, rates()) == ()


@pytest.mark.parametrize(
    ("shape", "pu_per_minute", "dates"),
    [
        ((64, 64), 1e6, MAX_DATES),
        ((1000, 1000), 1e6, MAX_NBYTES // (1000 * 1000 * 4 * 2)),
        ((512, 512), 100.0, 25),
        ((2048, 2048), 20.0, 1),
    ],
)
def test_a_request_has_its_limits(shape: tuple[int, int], pu_per_minute: float, dates: int) -> None:
    """Dates, bytes in memory (three bands and a mask of 16 bit), and a quarter of a minute's units; never none."""
    assert most_dates(a_layer(), shape, rates(pu_per_minute=pu_per_minute)) == dates


def test_an_axis_without_a_reached_cell_has_no_bundles() -> None:
    """Nothing is bought at all."""
    reach = Table(np.zeros((3, 2, 2), np.bool_))
    assert choose_bundles(a_timeline(*every_fifth_day(3)), reach, a_layer(), SMALL, rates()) == ()


def test_more_dates_share_a_request_where_little_of_a_tile_is_bought() -> None:
    """Windows of a sixteenth of it are a sixteenth of the price, and requests would bind."""
    timeline, reach = a_timeline(*every_fifth_day(48)), everywhere(48)
    whole, little = (
        per_cell(choose_bundles(timeline, reach, a_layer(), (512, 512), rates(), bought_px=bought), reach)
        for bought in (None, 512 * 512 / 16)
    )
    assert max(whole.values()) <= 2
    assert max(little.values()) >= 8

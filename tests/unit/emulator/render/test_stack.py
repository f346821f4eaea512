"""How scenes become samples, on scenes made for the test."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shdask.emulator.evalscript.setup import read_setup
from shdask.emulator.lattice import make_lattice
from shdask.emulator.process.choices import Choices
from shdask.emulator.process.job import DataInput, RenderJob
from shdask.emulator.process.reply import Reply
from shdask.emulator.render.stack import describe_scenes, make_stacks
from shdask.emulator.source import Scene


class Week:
    """Two scenes on the second of June and one on the third."""

    def scenes(self, lattice, start, end):
        """All three."""
        del lattice, start, end
        times = {"a": (2, 9), "b": (2, 21), "c": (3, 10)}
        return [
            Scene(id=name, time=datetime(2024, 6, day, hour, tzinfo=UTC), cloud_cover=5.0)
            for name, (day, hour) in times.items()
        ]


def stack(mosaicking):
    """The stack of a request for the week."""
    data = DataInput(
        id=None,
        collection="week",
        start=datetime(2024, 6, 1, tzinfo=UTC),
        end=datetime(2024, 6, 7, tzinfo=UTC),
        mosaicking_order="mostRecent",
        max_cloud_cover=100.0,
        choices=Choices(),
    )
    job = RenderJob(
        script="",
        inputs=(data,),
        lattice=make_lattice("EPSG:32633", (0, 0, 10, 10), 1, 1),
        geometry_wkb=None,
        reply=Reply(renditions=(), tar=False),
    )
    setup = read_setup({"input": ["A"], "output": {"bands": 1}, "mosaicking": mosaicking})
    return make_stacks(job, setup, {"week": Week()})[0]


@pytest.mark.parametrize(
    ("mosaicking", "expected"),
    [("SIMPLE", [["c", "b", "a"]]), ("ORBIT", [["c"], ["b", "a"]]), ("TILE", [["c"], ["b"], ["a"]])],
)
def test_scenes_are_grouped_as_the_mosaicking_says(mosaicking, expected):
    """SIMPLE is one sample of all scenes, ORBIT one per day, TILE one per scene; the order asked for holds in each."""
    assert [[scene.id for scene in sample] for sample in stack(mosaicking).samples] == expected


def test_day_is_described_by_its_ends_and_tiles():
    """An orbit's description has the day from midnight to its last second, and both tiles."""
    orbit = describe_scenes([stack("ORBIT")])["orbits"][1]
    assert (orbit["dateFrom"], orbit["dateTo"]) == ("2024-06-02T00:00:00Z", "2024-06-02T23:59:59Z")
    assert [tile["date"] for tile in orbit["tiles"]] == ["2024-06-02T21:00:00Z", "2024-06-02T09:00:00Z"]

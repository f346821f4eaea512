"""What people are told of prices."""

from __future__ import annotations

import pytest

from shdask.plan.cost import Cost
from shdask.plan.wording import counted, weigh


def cost(requests: int, pu: float, nbytes: int) -> Cost:
    return Cost(requests=requests, pu=pu, nbytes_down=nbytes, nbytes_stored=0, minutes=2.0, binding="pu")


@pytest.mark.parametrize(
    ("pu", "verdict"),
    [(10.0, "they cost the same PU"), (20.0, "composites are 50% cheaper"), (8.0, "composites are 25% dearer")],
)
def test_the_cheaper_way_is_named(pu: float, verdict: str) -> None:
    """With what the other way takes beside PU."""
    assert weigh(cost(4, 10.0, 1000), cost(48, pu, 12_000), dates=11.96) == (
        f"composites of 12.0 dates; all dates, to composite here: 48 requests, {pu:.2f} PU, 0:02:00, 12.0 kB; "
        f"{verdict}, in 12.0 times fewer requests and 1.0 kB"
    )


def test_as_many_requests_are_as_many() -> None:
    """Where one request brings all dates of a place."""
    assert weigh(cost(4, 1.0, 9), cost(4, 1.0, 9), dates=3).endswith("in as many requests and 9 B")


@pytest.mark.parametrize(("count", "words"), [(0, "0 tiles"), (1, "1 tile"), (2, "2 tiles")])
def test_one_is_not_many(count: int, words: str) -> None:
    """Nor is none one."""
    assert counted(count, "tile") == words

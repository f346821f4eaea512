"""Tiles of which jobs have delivered one part of the layer: the other is bought, tile by tile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shdask.assemble.spool import Spool
from shdask.assemble.store import create_or_open
from shdask.errors import DecodeError, TransportError
from shdask.fetch.bucket import Bucket
from shdask.fetch.client import Fetched, Spent
from shdask.fetch.process import Purchase, run_here
from shdask.jobs.deliveries import Deliveries, Delivery
from shdask.model import Tile, TileState
from shdask.plan.group import GroupPlan
from shdask.run_tiles import TileWork, run_tiles

ROW = [0, 1]
"""Two tiles side by side."""


class _Shop:
    """In the client's place: sells pictures of twos, each for one PU, but for what it is told to refuse."""

    def __init__(self) -> None:
        self.sold: list[str] = []
        self.refuses: int | None = None

    def process(
        self, body: dict[str, Any], _pu: float, _decode: object, *, spent: Spent, **_: object
    ) -> Fetched[np.ndarray]:
        """What is asked for."""
        if len(self.sold) == self.refuses:
            raise TransportError("closed")
        self.sold.append(body["evalscript"])
        spent.requests += 1
        spent.pu += 1.0
        shape = body["output"]["height"], body["output"]["width"]
        return Fetched(value=np.full((2, *shape), 2, np.uint16), spent=spent)


@pytest.fixture
def shop() -> _Shop:
    """It has sold nothing yet."""
    return _Shop()


@pytest.fixture
def work(plan: GroupPlan, shop: _Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TileWork:
    """Ones of B02 have been delivered, and nothing of SCL."""

    def read(
        plan: GroupPlan, tiles: Sequence[Tile], _window: object, files: Sequence[Any], *_: object, **into: Any
    ) -> None:
        if files[0] == {"default": "broken"}:
            raise DecodeError("no picture")
        for tile, purchase in zip(tiles, into["purchases"], strict=True):
            for window in tile.windows:
                inside = window.within(tile.extent).slices
                picture = np.ones((1, 2, *window.shape), np.uint16)
                purchase.add(0, plan.layer.parts[0].bands, inside, picture)

    monkeypatch.setattr("shdask.run_tiles.fetch_delivered", read)
    return TileWork(
        plan=plan,
        cube=create_or_open(plan, tmp_path / "cube"),
        client=shop,  # type: ignore[arg-type]  # as much of a client as is needed
        run_cpu=run_here,
        deliveries=deliveries(plan, ({"default": "there"}, {})),
        spool=Spool(folder=tmp_path / "spool"),
        sleep=lambda _s: None,
    )


def deliveries(plan: GroupPlan, files: tuple[dict[str, str], ...]) -> Deliveries:
    """Of the row."""
    bucket, window = Bucket.from_url("s3://bucket/cubes"), plan.tile(0).extent
    one = Delivery(bucket=bucket, window=window, files=files, first_tile=0)
    return Deliveries(by_tile=dict.fromkeys(ROW, one))


def stored(work: TileWork, band: str, tile: int) -> list[int]:
    """Values of a tile, where it is valid."""
    where = work.plan.tile(tile).extent.slices
    valid = np.asarray(work.cube.arrays["data_mask"][where]) > 0
    return np.unique(np.asarray(work.cube.arrays[band][where])[valid]).tolist()


def test_the_part_that_lacks_is_bought_for_each_tile(work: TileWork, shop: _Shop) -> None:
    """B02 is as delivered, and SCL as sold; nothing else is asked for."""
    events = [outcome.event for outcome in run_tiles(work, ROW)]
    assert [event.state for event in events] == [TileState.WRITTEN] * 2
    assert [stored(work, band, tile) for tile in ROW for band in ("B02", "SCL")] == [[1], [2], [1], [2]]
    assert [("SCL" in script, "B02" in script) for script in shop.sold] == [(True, False)] * 2
    assert (sum(event.pu_spent for event in events), sum(event.requests for event in events)) == (2.0, 2)


def test_a_tile_whose_part_is_not_sold_fails_alone(work: TileWork, shop: _Shop) -> None:
    """Its neighbour is written; what was delivered of it need not be kept, for it lies in the bucket."""
    shop.refuses = 1
    events = [outcome.event for outcome in run_tiles(work, ROW)]
    assert [event.state for event in events] == [TileState.WRITTEN, TileState.FAILED]
    assert events[1].error == "TransportError: closed"
    assert list(work.spool.folder.glob("*")) == []


def test_nothing_is_bought_where_files_cannot_be_read(work: TileWork, shop: _Shop, plan: GroupPlan) -> None:
    """They are replaced whole, by whoever judges."""
    work = TileWork(
        plan=plan,
        cube=work.cube,
        client=work.client,
        run_cpu=run_here,
        deliveries=deliveries(plan, ({"default": "broken"}, {})),
        spool=work.spool,
    )
    assert [outcome.event.error for outcome in run_tiles(work, ROW)] == ["DecodeError: no picture"] * 2
    assert shop.sold == []


def test_purchase_knows_its_parts(plan: GroupPlan) -> None:
    """A part that has come is had, the other is not."""
    tile = plan.tile(0)
    purchase, (window,) = Purchase.begin(plan, [tile]), tile.windows
    inside = window.within(tile.extent).slices
    purchase.add(0, plan.layer.parts[0].bands, inside, np.ones((1, 2, *window.shape), np.uint16))
    assert (purchase.has(0, inside), purchase.has(1, inside)) == (True, False)

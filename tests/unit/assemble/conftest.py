"""A small plan of eight tiles, and pixels for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pytest
from shapely import Polygon

from shdask.inputs import AreaOfInterest
from shdask.model import Tile, TileData
from shdask.plan.group import GroupPlan
from shdask.plan.placing import make_group
from shdask.plan.spec import CubeSpec
from shdask.settings import DEPLOYMENTS

# 70 rows and 80 columns of 10 m: three by three tiles of 32 px, without the one in the north-east.
L_SHAPE = [
    (500000, 4999300),
    (500800, 4999300),
    (500800, 4999680),
    (500640, 4999680),
    (500640, 5000000),
    (500000, 5000000),
]

TILES = (0, 1, 3, 4, 5, 6, 7, 8)
"""Indices of its tiles: 2 would be the one in the north-east."""


def small_plan(*, sharded: bool = True, crs: str = "EPSG:32633", resolution: float = 10, **changes: Any) -> GroupPlan:
    """A plan of B04 and SCL as DN; ``changes`` are fields of its layer."""
    layer = {"collection": "sentinel-2-l2a", "bands": ("B04", "SCL"), **changes}
    spec = CubeSpec(
        aoi=L_SHAPE,
        crs=crs,
        resolution=resolution,
        time=(date(2024, 6, 1), date(2024, 6, 30)),
        layers={"s2": layer},
        store={"chunk_px": 16, "tile_px": 32, "sharded": sharded},
    )
    area = AreaOfInterest(geometry=Polygon(L_SHAPE), crs="EPSG:32633")
    return make_group(spec, area=area, like=None, deployment=DEPLOYMENTS["services"])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pixels:
    """What a service would send for a whole plan: (band, y, x) values and a (y, x) mask inside the area."""

    values: np.ndarray
    mask: np.ndarray

    @classmethod
    def random(cls, plan: GroupPlan) -> Pixels:
        """Reflectances and classes; nine of ten pixels of the area are valid."""
        rng = np.random.default_rng(1)
        bands = [rng.integers(0, 10001, plan.grid.shape), rng.integers(0, 12, plan.grid.shape)]
        valid = plan.area_mask(plan.grid.window) & (rng.random(plan.grid.shape) < 0.9)
        return cls(values=np.stack(bands).astype(np.uint16), mask=valid)

    def of(self, tile: Tile) -> TileData:
        """The pixels of one tile."""
        rows, columns = tile.extent.slices
        return TileData(values=self.values[:, rows, columns], data_mask=self.mask[rows, columns])


@pytest.fixture(scope="session")
def make_small_plan() -> Callable[..., GroupPlan]:
    return small_plan


@pytest.fixture(scope="session")
def plan() -> GroupPlan:
    return small_plan()


@pytest.fixture(scope="session")
def pixels(plan: GroupPlan) -> Pixels:
    return Pixels.random(plan)

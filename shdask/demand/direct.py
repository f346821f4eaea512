"""Tiles straight from the service, kept nowhere.

Refuses to know stores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from shdask.assemble.write import make_stored_values
from shdask.demand.budget import Budget, spending
from shdask.demand.tiles import Pixels, name_tile
from shdask.errors import BuildError, ShdaskError
from shdask.fetch.client import ServiceClient
from shdask.fetch.process import RunCpu, fetch_tile, run_here
from shdask.model import Tile
from shdask.plan.group import GroupPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectSource:
    """A TileSource that buys every tile it is asked for."""

    plan: GroupPlan
    client: Callable[[], ServiceClient]
    """Logs in where that was not done yet."""
    budget: Budget
    run_cpu: RunCpu = field(default=run_here)

    def get(self, tile: Tile) -> Pixels | None:
        """As `TileSource.get`."""
        plan, name = self.plan, name_tile(self.plan, tile)
        try:
            with spending(self.budget, plan.tile_pu(tile.index), name) as spent:
                data = fetch_tile(plan, tile, self.client(), run_cpu=self.run_cpu, spent=spent)
            mask = data.data_mask & plan.area_mask(tile.extent)
            if not mask.any():
                return None
            bands = zip(plan.layer.bands, data.values, strict=True)
            stored = [make_stored_values(band, values, mask) for band, values in bands]
        except ShdaskError as error:
            if error.stops_build:  # it holds for every other tile too
                raise
            raise tile_error(f"{type(error).__name__}: {error}", tile, name) from error
        return (*stored, mask.astype(np.uint8))


def tile_error(text: str, tile: Tile, name: str) -> BuildError:
    """That the tile called ``name`` met what ``text`` says. Pure."""
    return BuildError(f"{name} could not be fetched: {text}. Touch it again to try again", {tile.index: text})

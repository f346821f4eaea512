"""GroupPlan: a layer placed on its grid, cut into tiles and priced; tiles are priced in bulk and made when asked for.

Refuses to know how anything is fetched or stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from shdask.model import Tile, TimeInterval, Window
from shdask.plan.affordable import cut_dear_window, cut_dear_windows
from shdask.plan.area import Area
from shdask.plan.chosen import ChosenDates
from shdask.plan.clear import ClearRule
from shdask.plan.cost import Cost, estimate_cost
from shdask.plan.explain import TileExplanation, explain_tile
from shdask.plan.grid import Grid
from shdask.plan.ground import Ground
from shdask.plan.grown_area import Reopened
from shdask.plan.jobs import cost_by_jobs, count_jobs, price_by_jobs
from shdask.plan.layer import LayerPlan
from shdask.plan.samples import SampleMemo, box_of, price_composites, with_mean_samples
from shdask.plan.spec import Prefer, StoreOptions
from shdask.plan.tile_set import TileSet
from shdask.plan.windows import TileWindows, choose_windows
from shdask.plan.wording import counted, weigh
from shdask.settings import Deployment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.plan.delivery_spec import DeliveryOptions
    from shdask.plan.part import Part
    from shdask.plan.route import Routing
    from shdask.plan.timeline import Timeline


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupPlan:
    """Everything a build needs to know but the credentials. Picklable; its size is the area's border's."""

    grid: Grid
    layer: LayerPlan
    area: Area
    area_digest: str
    """SHA-256 of the area as it was given, with what widens it, and the UTM zone that owns its pixels."""
    tile_set: TileSet
    store: StoreOptions
    deployment: Deployment
    timeline: Timeline | None = None
    """The steps of the time axis; None where the arrays have none."""
    clear: ClearRule | None = None
    """What is bought only where a coarse look finds it clear; the look is a group of its own."""
    chosen: ChosenDates | None = None
    """At which steps tiles are bought, where somebody has chosen; None buys them at every one."""
    px_per_tile: float | None = None
    """Pixels that are bought of a tile, on average, where they are far fewer than it has; None: about all."""
    windows: TileWindows = field(default_factory=TileWindows)
    """What the tiles are asked for in."""
    prefer: Prefer = "auto"
    has_fixed_array: bool = False
    """Whether the array is given by itself, so that the area may grow inside it."""
    reopened: Reopened = field(default_factory=Reopened)
    """Tiles that stand in the cube, and of which only what the area has gained is to be bought."""
    delivery: DeliveryOptions | None = None
    """Where jobs deliver to: a place, without keys."""
    routing: Routing | None = None
    """Whether tiles are bought by Process or by jobs, and why; None, where nothing was compared, by Process."""
    all_dates: Cost | None = None
    """Of a composite, what it would cost to buy all that it is made of, to be composited here; None: not asked."""
    max_pu: float | None = None
    memo: SampleMemo = field(default_factory=SampleMemo)
    """Counts of dates, for those who ask again."""
    notes: tuple[str, ...] = ()
    """What was mended or left out on the way, for the user to read."""

    @property
    def has_time(self) -> bool:
        """Whether the arrays have a time axis."""
        return self.timeline is not None

    @property
    def tile_count(self) -> int:
        """Tiles that hold a pixel of the area and, at their step, of an acquisition."""
        return self.tile_set.count

    @property
    def _has_dates(self) -> bool:
        """Whether each window reads dates of its own, and is paid for by them."""
        return self.layer.is_composite and self.has_time

    def __post_init__(self) -> None:
        if not self.windows.fit(self.area, self.timeline):
            raise ValueError("the windows were cut for another area, or for other steps; cut them anew")

    @property
    def is_by_jobs(self) -> bool:
        """Whether tiles are bought by jobs of Async Process."""
        return self.routing is not None and self.routing.route == "async"

    @property
    def cost(self) -> Cost:
        """What all tiles cost."""
        tiles = self.tile_set.indices()
        return self.cost_by(tiles, np.zeros(tiles.size, np.intp), 1)[0]

    def cost_by(self, tiles: NDArray[np.intp], parts: NDArray[np.intp], count: int) -> list[Cost]:
        """What ``tiles`` cost, bought together, in ``count`` parts; ``parts`` has the number of each tile's. Pure."""
        if self.routing is not None and self.is_by_jobs:
            routing = self.routing
            return cost_by_jobs(
                self, tiles, parts, count, job_minutes=routing.job_minutes, concurrency=routing.concurrency
            )
        amounts = (
            self.request_counts(tiles),
            self.prices(tiles),
            self._add_up(tiles, whole=self._whole_pixels, each=np.asarray),
            self._whole_pixels(tiles),
        )
        requests, pu, down, stored = (np.bincount(parts, weights=each, minlength=count).tolist() for each in amounts)
        return [
            estimate_cost(
                requests=int(requests[part]),
                pu=pu[part],
                pixels_down=int(down[part]),
                pixels_stored=int(stored[part]),
                sent_nbytes_per_px=self.layer.sent_nbytes_per_px,
                stored_nbytes_per_px=self.layer.stored_nbytes_per_px,
                deployment=self.deployment,
            )
            for part in range(count)
        ]

    def prices(self, tiles: NDArray[np.intp]) -> NDArray[np.float64]:
        """Projected processing units of the tiles at these indices, bought together, one entry each. Pure.

        A tile's share of its bundle's, or of its jobs': where the least price of a request holds, it is the cheaper
        the more share it.
        """
        return price_by_jobs(self, tiles) if self.is_by_jobs else self._prices_by_requests(tiles)

    def _prices_by_requests(self, tiles: NDArray[np.intp]) -> NDArray[np.float64]:
        if self._has_dates:
            return price_composites(self, tiles)
        found: NDArray[np.float64] = np.empty(tiles.size)
        dates = self._dates(tiles)
        for count in np.unique(dates).tolist():
            some = dates == count
            found[some] = self._prices(tiles[some], count) / count
        return found

    def _prices(self, tiles: NDArray[np.intp], dates: int) -> NDArray[np.float64]:
        def price(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
            return self.layer.price_pixels(pixels, dates=dates)

        return self._add_up(tiles, whole=lambda some: price(self._whole_pixels(some)), each=price)

    def _dates(self, tiles: NDArray[np.intp]) -> NDArray[np.intp]:
        """With how many of ``tiles``, itself among them, each comes in one request."""
        if not self.tile_set.bundles:
            return np.ones(tiles.size, np.intp)
        _, places, counts = np.unique(self._together(tiles), return_inverse=True, return_counts=True)
        return np.asarray(counts[places], np.intp)

    def _together(self, tiles: NDArray[np.intp]) -> NDArray[np.intp]:
        """For each of ``tiles`` a number that it shares with those of its bundle that lack the same pixels."""
        levels = self._levels(tiles)
        return np.asarray(self.tile_set.bundle_numbers(tiles) * (1 + levels.max(initial=0)) + levels, np.intp)

    def _levels(self, tiles: NDArray[np.intp]) -> NDArray[np.intp]:
        """Of how many areas each of ``tiles`` has its pixels and keeps them; 0 where it is bought as a new one is."""
        if not self.reopened.levels:
            return np.zeros(tiles.size, np.intp)
        return np.array([self.reopened.levels.get(tile, 0) for tile in tiles.tolist()], np.intp)

    def request_counts(self, tiles: NDArray[np.intp]) -> NDArray[np.int64]:
        """Requests that bring each of ``tiles``; those of a bundle or job are counted with its first of them. Pure."""
        if self.is_by_jobs:
            return count_jobs(self, tiles)
        counts = self._add_up(tiles, whole=lambda some: np.ones(some.size), each=np.ones_like)
        if self.tile_set.bundles:
            _, first = np.unique(self._together(tiles), return_index=True)
            is_first = np.zeros(tiles.size, np.bool_)
            is_first[first] = True
            counts[~is_first] = 0.0
        return counts.astype(np.int64) * len(self.layer.parts)

    def _add_up(
        self,
        tiles: NDArray[np.intp],
        *,
        whole: Callable[[NDArray[np.intp]], NDArray[np.float64]],
        each: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    ) -> NDArray[np.float64]:
        """For each tile ``whole`` of it, or, where it is bought in windows, the sum of ``each`` of their pixels."""
        found: NDArray[np.float64] = np.empty(tiles.size)
        is_whole = np.ones(tiles.size, np.bool_)
        cells = tiles % self.tile_set.cell_count
        for table, keys in ((self.windows.by_tile, tiles), (self.windows.by_cell, cells)):
            places = table.places(keys)
            hits = is_whole & (places >= 0)
            found[hits] = table.sums(each(table.pixels))[places[hits]]
            is_whole &= ~hits
        found[is_whole] = whole(tiles[is_whole])
        for place in np.flatnonzero(self._levels(tiles)).tolist():
            windows = self.tile(int(tiles[place])).windows
            found[place] = each(np.array([window.pixel_count for window in windows], np.float64)).sum()
        return found

    def _whole_pixels(self, tiles: NDArray[np.intp]) -> NDArray[np.float64]:
        """How many pixels each of the tiles has in the array."""
        size, (height, width) = self.store.tile_px, self.grid.shape
        row, column = np.divmod(tiles % self.tile_set.cell_count, self.tile_set.grid_shape[1])
        return np.asarray(np.minimum(size, height - row * size) * np.minimum(size, width - column * size), np.float64)

    def tile(self, index: int) -> Tile:
        """The tile at ``index``, which is one of the `TileSet`'s. Pure. Raises IndexError outside the array."""
        step, row, column = self.tile_set.place(index)
        extent = self.ground.extent(row, column)
        return Tile(
            index=int(index),
            step=step if self.has_time else None,
            row=row,
            column=column,
            extent=extent,
            windows=self._windows(int(index), extent),
        )

    @property
    def ground(self) -> Ground:
        """What the windows are cut from."""
        return Ground(
            area=self.area, grid=self.grid, tile_px=self.store.tile_px, tiles=self.tile_set, timeline=self.timeline
        )

    def _windows(self, index: int, extent: Window) -> tuple[Window, ...]:
        if self.reopened.levels.get(index):
            missing = self.reopened.missing(index, extent)
            return cut_dear_window(self, missing, index) if self._has_dates else (missing,)
        return self.windows.of(index, index % self.tile_set.cell_count) or (extent,)

    def with_windows(self) -> GroupPlan:
        """The same plan, its tiles trimmed to the area and cut as is cheapest. Pure."""
        plan = with_mean_samples(self) if self._has_dates else self
        windows = choose_windows(plan.ground, plan.layer, plan.deployment, plan.prefer)
        plan = replace(plan, windows=windows)
        return replace(plan, windows=cut_dear_windows(plan)) if self._has_dates else plan

    def tiles(self) -> Iterator[Tile]:
        """Every tile, ascending by index, made one at a time. Pure."""
        return map(self.tile, self.tile_set.indices().tolist())

    def interval(self, tile: Tile) -> TimeInterval | None:
        """What a request for ``tile`` alone asks for; None where the layer has no time. Pure."""
        if self.timeline is None or tile.step is None:
            return self.layer.interval
        return self.timeline.steps[tile.step].interval

    def area_mask(self, window: Window) -> NDArray[np.bool_]:
        """(y, x) of a window: True where the pixel is in the area; the same pixel is the same in any window. Pure."""
        return self.area.mask(window)

    def bought_mask(self, tile: Tile) -> NDArray[np.bool_]:
        """(y, x) of the tile: True where its pixels are bought, in the area and not standing in the cube. Pure."""
        inside, standing = self.area_mask(tile.extent), self.reopened.standing(tile.index, tile.extent)
        return inside if standing is None else inside & ~standing

    def window_pu(self, window: Window, step: int | None = None) -> float:
        """Projected processing units of all bands of ``window``, at one time: ``step``, where dates differ. Pure."""
        return sum(self.part_pu(part, window, [step]) for part in self.layer.parts)

    def part_pu(self, part: Part, window: Window, steps: Sequence[int | None]) -> float:
        """Projected processing units of the request for ``window`` of ``part``, at ``steps``. Pure.

        Of a composite at no step it is the mean over the layer's tiles.
        """
        if not self.layer.is_composite or self.timeline is None or steps[0] is None:
            return self.layer.part_price(part, window.shape, dates=len(steps))
        (samples,) = self.samples(np.array(steps, np.intp), np.array([box_of(window)])).tolist()
        return self.layer.part_price(part, window.shape, samples=samples)

    def samples(self, steps: NDArray[np.intp], boxes: NDArray[np.int64]) -> NDArray[np.float64]:
        """(window,): `count_samples` of windows at steps of the time axis. Pure."""
        if self.timeline is None:
            raise ValueError("the layer has not been placed in time")
        return self.memo.count(self.timeline, steps, boxes, self.grid)

    def tile_pu(self, index: int) -> float:
        """Projected processing units of the tile at ``index``, bought alone, by Process. Pure."""
        return float(self._prices_by_requests(np.array([index]))[0])

    def explain(self, index: int) -> TileExplanation:
        """Why the tile at ``index`` is asked for as it is, and at what price. Pure. Raises IndexError as `tile`."""
        return explain_tile(self, index)

    def identity(self) -> dict[str, Any]:
        """What a store must match to be continued: grid, layer, layout, and the area unless it may grow. Pure."""
        grid, layer, store = self.grid, self.layer, self.store
        return {
            "grid": {
                "crs": grid.crs,
                "origin": list(grid.origin),
                "resolution": list(grid.resolution),
                "offset": list(grid.offset),
                "shape": list(grid.shape),
            },
            "layer": layer.identity(),
            "layout": {"chunk_px": store.chunk_px, "tile_px": store.tile_px, "sharded": store.sharded},
            **({} if self.has_fixed_array else {"area": self.area_identity()}),
            **({} if self.clear is None else {"clear": self.clear.identity()}),
        }

    def area_identity(self) -> dict[str, Any]:
        """What tells the area that was asked for from others, as JSON types. Pure."""
        return {"sha256": self.area_digest, "all_touched": self.area.all_touched}

    def describe(self) -> dict[str, Any]:
        """What built the cube, as JSON types, for its root attributes: identity, service, projection, notes. Pure."""
        cost = self.cost
        return {
            **self.identity(),
            "service": {"deployment": self.deployment.name, "base_url": self.deployment.base_url},
            "tiles": self.tile_count,
            "projected": {"requests": cost.requests, "pu": cost.pu},
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        return "GroupPlan of " + "\n  ".join(self.lines())

    def lines(self) -> list[str]:
        """What people want to know of it, a line each. Pure."""
        cost, (rows, columns), (rx, ry) = self.cost, self.grid.shape, self.grid.resolution
        bands = ", ".join(band.name for band in self.layer.bands)
        duration = f"{cost.minutes:.1f} min" if cost.minutes >= 1 else f"{cost.minutes * 60:.0f} s"
        rates = {"requests": self.deployment.requests_per_minute, "pu": self.deployment.pu_per_minute}
        pace = (
            f"{rates[cost.binding]:g} {cost.binding}/min"
            if cost.binding != "jobs"
            else f"{counted(self.deployment.async_concurrency, 'job')} at once"
        )
        is_open = self.clear is not None and self.tile_set.cloudy is None
        at_most = "at most " if is_open else ""
        only = f"; only tile-dates at least {self.clear.min_share:.0%} clear are bought" if self.clear else ""
        return [
            f"{self.layer.collection}: {bands}",
            f"{rows} x {columns} px (y, x) of {rx:g} x {ry:g} in {self.grid.crs}",
            *self._time_lines(),
            f"{counted(self.tile_count, 'tile')} of {self.store.tile_px} px",
            f"{at_most}{counted(cost.requests, 'request')}, {cost.pu:.2f} PU, {duration} at {pace}{only}",
            *(self.routing.lines() if self.routing is not None and self.routing.by_jobs is not None else ()),
            *([] if self.all_dates is None else [weigh(cost, self.all_dates, dates=self.layer.leading.samples)]),
            f"{cost.nbytes_stored / 1e6:,.1f} MB stored before compression",
            *self.notes,
        ]

    def _time_lines(self) -> list[str]:
        if self.timeline is None:
            return []
        steps, together = self.timeline.steps, self.tile_set.bundle_count()
        declined = self.tile_set.not_chosen().size
        first, last = min(step.time for step in steps), max(step.time for step in steps)
        return [
            (
                f"{len(steps)} steps ({self.layer.cadence}) from {first:%Y-%m-%d} to {last:%Y-%m-%d}; "
                f"{self.tile_set.unreached().size} tiles that no scene reaches are not bought"
                + (f", nor {declined} that were not chosen" if declined else "")
            ),
            *([f"{self.tile_count / together:.1f} dates a request"] if together < self.tile_count else []),
        ]

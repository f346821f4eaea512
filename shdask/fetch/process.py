"""Tiles by the Process API: one request per window and part of a layer, decoded, checked and put in its place.

Refuses to know how windows were chosen, who decodes, and where tiles are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from shdask.errors import ShdaskError
from shdask.fetch.client import ServiceClient, Spent
from shdask.fetch.decode import decode_tar, decode_tiff
from shdask.model import Tile, TileData, TimeInterval, Window
from shdask.plan.group import GroupPlan
from shdask.plan.part import Part
from shdask.request.body import process_body
from shdask.request.bounds import bounds_json
from shdask.request.evalscript import SAMPLE_DTYPES

T = TypeVar("T")
TIFF = "image/tiff"
TAR = "application/x-tar"
"""Several pictures in one answer, by the name that the service's own client asks with."""


class RunCpu(Protocol):
    """Runs a function where the processor's time is shared out, and returns what it returns."""

    def __call__(self, work: Callable[[], T], /) -> T:
        """``work()``; the calling thread waits, so that a pool's queue cannot grow."""
        ...


def run_here(work: Callable[[], T], /) -> T:
    """``work()``, in the calling thread."""
    return work()


@dataclass(slots=True, kw_only=True, eq=False)
class Purchase:
    """What has come of tiles that are bought together; it grows by every picture, whatever becomes of the next one."""

    values: NDArray[Any]
    """(tile, band, y, x), 0 where nothing has come; takes no memory until something has."""
    valid: NDArray[np.bool_]
    """(tile, y, x): True where something has come, and all that has says so."""
    bought: NDArray[np.bool_]
    """(part, y, x): True where the picture of a part of the layer has come, of all tiles."""

    @classmethod
    def begin(cls, plan: GroupPlan, tiles: Sequence[Tile]) -> Self:
        """Nothing yet of ``tiles``, which are of one cell. Pure."""
        parts, shape = plan.layer.parts, tiles[0].extent.shape
        dtype = np.result_type(*(SAMPLE_DTYPES[picture.sample_type] for part in parts for picture in part.pictures))
        return cls(
            values=np.broadcast_to(np.zeros((), dtype), (len(tiles), len(plan.layer.bands), *shape)),
            valid=np.zeros((len(tiles), *shape), np.bool_),
            bought=np.zeros((len(parts), *shape), np.bool_),
        )

    def resume(self, position: int, data: TileData, bought: NDArray[np.bool_]) -> None:
        """Take over what had come earlier of the tile at ``position``; ``bought`` must be the same for all tiles."""
        self._make_room()
        self.values[position], self.valid[position] = data.values, data.data_mask
        self.bought[...] = bought

    def has(self, part: int, inside: tuple[slice, slice]) -> bool:
        """Whether the picture of a part has come, in (rows, columns) of the tile. Pure."""
        return bool(self.bought[part, *inside].all())

    def add(self, part: int, bands: Sequence[int], inside: tuple[slice, slice], picture: NDArray[Any]) -> None:
        """Put a picture of ``bands``, (tile, band, y, x) with the data mask as its last, in its place.

        One that is all there is to come is kept as it is: copying it would cost a tenth of decoding it.
        """
        if self._is_all(bands, picture):
            self.values, self.valid = picture[:, :-1], picture[:, -1] > 0
        else:
            self._make_room()
            is_first = ~self.bought[:, *inside].any(axis=0)
            self.values[:, list(bands), *inside] = picture[:, :-1]
            self.valid[:, *inside] = (self.valid[:, *inside] | is_first) & (picture[:, -1] > 0)
        self.bought[part, *inside] = True

    def _make_room(self) -> None:
        if not self.values.flags.writeable:
            self.values = np.zeros(self.values.shape, self.values.dtype)

    def _is_all(self, bands: Sequence[int], picture: NDArray[Any]) -> bool:
        """Whether a picture is every pixel of every band, in their order and type, and nothing has come before it."""
        tiles, count, *shape = self.values.shape
        is_alike = picture.dtype == self.values.dtype and picture.shape == (tiles, count + 1, *shape)
        return is_alike and list(bands) == list(range(count)) and not self.bought.any()

    def tile(self, position: int) -> TileData:
        """The tile at ``position``, as far as it has come. Pure."""
        return TileData(values=self.values[position], data_mask=self.valid[position])


def fetch_tile(
    plan: GroupPlan, tile: Tile, client: ServiceClient, *, run_cpu: RunCpu = run_here, spent: Spent | None = None
) -> TileData:
    """`fetch_tiles` of one tile."""
    return fetch_tiles(plan, [tile], client, run_cpu=run_cpu, spent=spent)[0]


def fetch_tiles(
    plan: GroupPlan,
    tiles: Sequence[Tile],
    client: ServiceClient,
    *,
    run_cpu: RunCpu = run_here,
    spent: Spent | None = None,
    purchase: Purchase | None = None,
) -> list[TileData]:
    """Buys tiles of one cell, at one or several steps of a bundle: for each its values (band, y, x) and mask (y, x).

    Values are as the service sent them, in the order of ``plan.layer.bands`` and in a type that holds them all;
    outside the windows they are 0 and the mask is False. A pixel is valid where it is in every part of the layer.
    What is spent is added to ``spent`` as it happens, and what comes to ``purchase``, also where this raises; what
    that holds already is not bought.
    Raises as ``ServiceClient.process`` does, with a note that names tile and window.
    """
    spent = Spent() if spent is None else spent
    purchase = Purchase.begin(plan, tiles) if purchase is None else purchase
    try:
        for window in tiles[0].windows:
            inside = window.within(tiles[0].extent).slices
            for number, part in enumerate(plan.layer.parts):
                if not purchase.has(number, inside):
                    picture = _fetch_window(plan, part, window, tiles, client, run_cpu=run_cpu, spent=spent)
                    purchase.add(number, part.bands, inside, picture)
    except ShdaskError as error:
        error.add_note(_name(tiles))
        raise
    if not purchase.bought.all():
        # what an earlier run bought may hold pixels that this one's windows leave out, in some parts alone
        purchase.valid &= purchase.bought.all(axis=0)
    return [purchase.tile(position) for position in range(len(tiles))]


def tile_bodies(plan: GroupPlan, tile: Tile) -> list[dict[str, Any]]:
    """The Process requests that bring ``tile`` where it is bought alone, window by window and part by part. Pure."""
    return [window_body(plan, part, window, [tile]) for window in tile.windows for part in plan.layer.parts]


def window_body(plan: GroupPlan, part: Part, window: Window, tiles: Sequence[Tile]) -> dict[str, Any]:
    """The Process request for one window of ``tiles``: for each step the part's bands and a mask. Pure."""
    height, width = window.shape
    intervals = [plan.interval(tile) for tile in tiles]
    known = [interval for interval in intervals if interval is not None]
    starts, ends = [interval.start for interval in known], [interval.end for interval in known]
    whole = TimeInterval(start=min(starts), end=max(ends)) if known else None
    days = [start.date() for start in starts] if len(tiles) > 1 else []
    return process_body(
        bounds=bounds_json(plan.grid.epsg, bbox=plan.grid.bounds(window)),
        data=plan.layer.data_json(part, whole),
        evalscript=plan.layer.evalscript(part, days),
        width=width,
        height=height,
        outputs=[picture.identifier for picture in part.pictures],
    )


def _fetch_window(
    plan: GroupPlan,
    part: Part,
    window: Window,
    tiles: Sequence[Tile],
    client: ServiceClient,
    *,
    run_cpu: RunCpu,
    spent: Spent,
) -> NDArray[Any]:
    """The window's pictures, (tile, band, y, x): the part's bands, and the data mask."""
    bounds = plan.grid.bounds(window)

    def decode(body: bytes) -> NDArray[Any]:
        return run_cpu(
            partial(_decode, body, part=part, dates=len(tiles), shape=window.shape, bounds=bounds, epsg=plan.grid.epsg)
        )

    price = plan.part_pu(part, window, [tile.step for tile in tiles])
    try:
        body = window_body(plan, part, window, tiles)
        picture = client.process(
            body, price, decode, accept=TIFF if len(part.pictures) == 1 else TAR, spent=spent
        ).value
    except ShdaskError as error:
        error.add_note(f"while fetching {window}, bbox {bounds} in {plan.grid.crs}")
        raise
    return picture.reshape(len(tiles), len(part.bands) + 1, *window.shape)


def _decode(
    body: bytes,
    *,
    part: Part,
    dates: int,
    shape: tuple[int, int],
    bounds: tuple[float, float, float, float],
    epsg: int,
) -> NDArray[Any]:
    """The bands of all outputs, (band, y, x) in a type that holds them, and the data mask, for date by date."""
    counts = [len(picture.bands) + (position == 0) for position, picture in enumerate(part.pictures)]
    dtypes = [SAMPLE_DTYPES[picture.sample_type] for picture in part.pictures]
    if len(part.pictures) == 1:
        return decode_tiff(body, shape=shape, band_count=dates * counts[0], dtype=dtypes[0], bounds=bounds, epsg=epsg)
    names = [picture.identifier for picture in part.pictures]
    wanted = dict(zip(names, zip(counts, dtypes, strict=True), strict=True))
    pictures = decode_tar(body, shape=shape, outputs=wanted, bounds=bounds, epsg=epsg)
    first, *others = (pictures[name] for name in names)
    # the first brings the mask
    return np.concatenate([first[:-1], *others, first[-1:]])


def _name(tiles: Sequence[Tile]) -> str:
    first, *more = tiles
    others = f" and {len(more)} other steps of it" if more else ""
    return f"tile {first.index}, row {first.row}, column {first.column}{others}"

"""A tile by the Process API: one request per window, decoded, checked and put in its place.

Refuses to know how windows were chosen, who decodes, and where tiles are stored.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from shdask.errors import ShdaskError
from shdask.fetch.client import ServiceClient, Spent
from shdask.fetch.decode import decode_tiff
from shdask.model import Tile, TileData, Window
from shdask.plan.group import GroupPlan
from shdask.request.body import data_json, process_body
from shdask.request.bounds import bounds_json
from shdask.request.evalscript import SAMPLE_DTYPES, RequestedBand, make_evalscript

T = TypeVar("T")


class RunCpu(Protocol):
    """Runs a function where the processor's time is shared out, and returns what it returns."""

    def __call__(self, work: Callable[[], T], /) -> T:
        """``work()``; the calling thread waits, so that a pool's queue cannot grow."""
        ...


def run_here(work: Callable[[], T], /) -> T:
    """``work()``, in the calling thread."""
    return work()


def fetch_tile(
    plan: GroupPlan,
    tile: Tile,
    client: ServiceClient,
    *,
    run_cpu: RunCpu = run_here,
    spent: Spent | None = None,
) -> TileData:
    """Buys every window of the tile: values (band, y, x) of the tile's extent, and its data mask (y, x).

    Values are as the service sent them, in the order of ``plan.layer.bands``; outside the windows they are 0 and the
    mask is False. What is spent is added to ``spent`` as it happens, also where this raises.
    Raises as ``ServiceClient.process`` does, with a note that names tile and window.
    """
    spent = Spent() if spent is None else spent
    try:
        pictures = {window: _fetch_window(plan, window, client, run_cpu, spent) for window in tile.windows}
    except ShdaskError as error:
        error.add_note(f"tile {tile.index}, row {tile.row}, column {tile.column}")
        raise
    if tile.extent in pictures:
        picture = pictures[tile.extent]
    else:
        dtype = SAMPLE_DTYPES[plan.layer.sample_type]
        picture = np.zeros((len(plan.layer.bands) + 1, *tile.extent.shape), dtype)
        for window, part in pictures.items():
            picture[(slice(None), *window.within(tile.extent).slices)] = part
    return TileData(values=picture[:-1], data_mask=picture[-1] > 0)


def window_body(plan: GroupPlan, window: Window) -> dict[str, Any]:
    """The Process request that buys one window: the layer's bands and the data mask, in one TIFF. Pure."""
    layer = plan.layer
    height, width = window.shape
    return process_body(
        bounds=bounds_json(plan.grid.epsg, bbox=plan.grid.bounds(window)),
        data=[
            data_json(
                layer.collection,
                interval=layer.interval,
                max_cloud_cover=layer.max_cloud_cover,
                mosaicking_order=layer.mosaicking_order,
                upsampling=layer.resampling,
                downsampling=layer.resampling,
            )
        ],
        evalscript=make_evalscript(
            [RequestedBand(name=band.name, unit=unit) for band, unit in zip(layer.bands, layer.units, strict=True)],
            layer.sample_type,
        ),
        width=width,
        height=height,
    )


def _fetch_window(
    plan: GroupPlan, window: Window, client: ServiceClient, run_cpu: RunCpu, spent: Spent
) -> NDArray[np.generic]:
    """The window's picture, bands and data mask, (band, y, x)."""
    bounds = plan.grid.bounds(window)

    def decode(body: bytes) -> NDArray[np.generic]:
        return run_cpu(
            partial(
                decode_tiff,
                body,
                shape=window.shape,
                band_count=len(plan.layer.bands) + 1,
                dtype=SAMPLE_DTYPES[plan.layer.sample_type],
                bounds=bounds,
                epsg=plan.grid.epsg,
            )
        )

    try:
        return client.process(window_body(plan, window), plan.window_pu(window), decode, spent=spent).value
    except ShdaskError as error:
        error.add_note(f"while fetching {window}, bbox {bounds} in {plan.grid.crs}")
        raise

"""Mosaics: per pixel the first scene, in the order given, that has data.

Refuses to know sources and scripts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from rasterio.transform import Affine, from_bounds

from shdask.emulator.lattice import Lattice
from shdask.emulator.process.choices import Choices
from shdask.emulator.process.job import RenderJob
from shdask.emulator.source import DATA_MASK, Pixels, Scene, Source


def render_samples(  # noqa: PLR0917  # all of them are needed
    lattice: Lattice,
    inside: NDArray[np.bool_],
    source: Source,
    samples: Sequence[Sequence[Scene]],
    bands: Sequence[str],
    choices: Choices,
) -> list[NDArray[np.float32]]:
    """One (y, x) plane in DN per band and sample, all samples of a band together.

    A sample is the mosaic of its scenes, the first with data wins each pixel. ``dataMask`` is 1 where there is data;
    elsewhere, and outside of ``inside`` (y, x), it is 0 and the bands are ``absent``.
    """
    names = [band for band in bands if band != DATA_MASK]
    values = np.empty((len(names), len(samples), *lattice.shape), dtype=np.float32)
    for name, planes in zip(names, values, strict=True):
        planes.fill(source.bands[name].absent)
    data_mask = np.zeros((len(samples), *lattice.shape), dtype=np.bool_)
    for rows, columns in lattice.blocks():
        block = lattice.part(rows, columns)
        for number, scenes in enumerate(samples):
            wanted = inside[rows, columns].copy()
            for scene in scenes:
                if not wanted.any():
                    break
                pixels = source.render(scene, names, block, choices, wanted)
                if pixels is not None:
                    _fill(values[:, number, rows, columns], data_mask[number, rows, columns], wanted, pixels)
    bands_values = iter(values)
    by_band = [data_mask.astype(np.float32) if band == DATA_MASK else next(bands_values) for band in bands]
    return [plane for band in by_band for plane in band]


def order_scenes(scenes: Sequence[Scene], order: str, max_cloud_cover: float) -> list[Scene]:
    """Scenes under the cloud limit (percent, inclusive), best first. Pure; equal ones by time and id, later first."""
    clear = [scene for scene in scenes if scene.cloud_cover <= max_cloud_cover]
    recent = sorted(clear, key=lambda scene: (scene.time, scene.id), reverse=True)
    if order == "leastRecent":
        return recent[::-1]
    if order == "leastCC":
        return sorted(recent, key=lambda scene: scene.cloud_cover)
    return recent


def transform_of(lattice: Lattice) -> Affine:
    """The GeoTIFF transform of a lattice: upper left corner and pixel size. Pure."""
    return from_bounds(*lattice.bounds(), lattice.width, lattice.height)


def find_inside(job: RenderJob) -> NDArray[np.bool_]:
    """Where the pixels' centres lie inside the request's geometry, (y, x); everywhere without one. Pure."""
    if job.geometry_wkb is None:
        return np.ones(job.lattice.shape, dtype=np.bool_)
    lattice = job.lattice

    # in absolute pixels first, then moved by whole ones: so a border falls alike in every window
    def to_pixels(points: NDArray[np.float64]) -> NDArray[np.float64]:
        columns = points[:, 0] / lattice.res_x - lattice.fraction_x
        rows = -points[:, 1] / lattice.res_y - lattice.fraction_y
        return np.stack([columns - lattice.column, rows - lattice.row], axis=1)

    geometry = shapely.transform(shapely.from_wkb(job.geometry_wkb), to_pixels)
    inside = geometry_mask([geometry], lattice.shape, Affine.identity(), invert=True)
    return np.asarray(inside, dtype=np.bool_)


def _fill(values: NDArray[np.float32], data_mask: NDArray[np.bool_], wanted: NDArray[np.bool_], pixels: Pixels) -> None:
    new = wanted & pixels.data_mask
    if new.all():
        values[...] = pixels.values
    else:
        np.copyto(values, pixels.values, where=new)
    data_mask |= new
    wanted &= ~new

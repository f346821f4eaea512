"""The files of a job written to disk strip by strip, so that no image is ever whole in memory.

Refuses to render, and to know who takes the files away.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from shdask.emulator.evalscript.setup import ScriptOutput
from shdask.emulator.lattice import BLOCK_PX, Lattice
from shdask.emulator.process.job import RenderJob
from shdask.emulator.process.reply import USERDATA
from shdask.emulator.render.encode import LEAST_QUALITY, PICTURES, check_picture, profile_tiff

TIFF = "image/tiff"
STRIP_VALUES = 2**25
"""Input values of a strip."""
CACHE_MB = 256
"""Of GDAL, for strips of a file that two strips of pixels share."""


def cut_for_disk(lattice: Lattice, planes: int) -> Iterator[slice]:
    """Rows that are drawn together, few enough for the memory and as round as the blocks they are drawn in. Pure."""
    rows = max(1, STRIP_VALUES // (max(1, planes) * lattice.width))
    if rows > BLOCK_PX:
        rows -= rows % BLOCK_PX
    start = 0
    while start < lattice.height:
        # the first one ends where a block of the endless grid does
        stop = min(lattice.height, start + rows - (lattice.row + start) % min(rows, BLOCK_PX))
        yield slice(start, stop)
        start = stop


@dataclass(slots=True, kw_only=True)
class _Image:
    identifier: str
    kind: str
    path: Path
    options: dict[str, Any]
    dataset: Any


class Spool:
    """The open files of one job."""

    def __init__(self, job: RenderJob, images: Sequence[_Image], folder: Path) -> None:
        self._job = job
        self._images = images
        self._folder = folder

    def write(self, rows: slice, images: Sequence[NDArray[Any]]) -> None:
        """These rows of every image, each (band, y, x), in the order of the request."""
        window = Window(0, rows.start, self._job.lattice.width, rows.stop - rows.start)
        for image, values in zip(self._images, images, strict=True):
            image.dataset.write(values, window=window)

    def finish(self, userdata: bytes) -> tuple[tuple[str, str, str], ...]:
        """Identifier, path and media type of every file, once the datasets are closed."""
        paths = {image.identifier: str(_convert(image)) for image in self._images}
        if self._job.reply.userdata:
            path = self._folder / "userdata.json"
            path.write_bytes(userdata)
            paths[USERDATA] = str(path)
        return tuple((each.identifier, paths[each.identifier], each.format) for each in self._job.reply.renditions)


@contextmanager
def open_spool(job: RenderJob, outputs: Sequence[ScriptOutput], folder: Path, compression: str) -> Iterator[Spool]:
    """Files in ``folder`` for the images of a job, open for its length.

    Raises Refusal (400) where a format cannot hold an output.
    """
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=CACHE_MB))
        images = []
        for number, (rendition, output) in enumerate(zip(job.reply.images, outputs, strict=True)):
            kind, plain = rendition.format, rendition.format != TIFF
            if plain:
                check_picture(kind, output.bands, output.dtype)
            nodata = None if plain else output.nodata
            profile = profile_tiff(output.bands, output.dtype, job.lattice, "none" if plain else compression, nodata)
            path = folder / f"{number}.tif"
            options = {"quality": max(LEAST_QUALITY, rendition.quality)} if kind == "image/jpeg" else {}
            dataset = stack.enter_context(rasterio.open(path, "w", bigtiff="IF_SAFER", **profile))
            images.append(
                _Image(identifier=rendition.identifier, kind=kind, path=path, options=options, dataset=dataset)
            )
        yield Spool(job, images, folder)


def _convert(image: _Image) -> Path:
    """The file in its own format; GDAL copies PNG and JPEG line by line, but cannot begin with them."""
    if image.kind == TIFF:
        return image.path
    name = PICTURES[image.kind][0]
    path = image.path.with_suffix(f".{name.lower()}")
    with rasterio.Env(GDAL_PAM_ENABLED="NO"), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        rasterio.shutil.copy(image.path, path, driver=name, **image.options)
    image.path.unlink()
    return path

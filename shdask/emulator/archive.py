"""GeoTIFFs in a folder, served as a collection: one file per band, or one folder of them per acquisition.

Refuses to know requests; it answers what the files hold at given pixel centres.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.windows import Window
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from shdask.emulator.globe import to_degrees
from shdask.emulator.lattice import Lattice
from shdask.emulator.process.choices import Choices, Resampling
from shdask.emulator.projection import METRES_PER_DEGREE, find_transformer, is_geographic
from shdask.emulator.render.resample import MARGIN_PX, sample
from shdask.emulator.source import REFLECTANCE, BandInfo, Pixels, Scene

DATE_AT_END = re.compile(r"(\d{4}-\d\d-\d\d)$")
NAMES = {"sentinel-2-l2a": "S2L2A", "sentinel-2-l1c": "S2L1C", "S2L2A": "S2L2A", "S2L1C": "S2L1C"}
DN = BandInfo(units={"DN": 1.0})
SENTINEL_2_COARSEST_M, COARSEST_M = 1500.0, 500.0
LEAST_OVERVIEW_PX = 256
"""Of the longer side of an overview that counts for the coarsest resolution; documentation page "Byoc"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """The files of one date."""

    name: str
    time: datetime | None
    """Noon of the date in the folder's name; None is found at any time."""
    files: Mapping[str, Path]
    """Band -> file."""


class ArchiveSource:
    """A folder of GeoTIFFs as a collection.

    A pixel has data where its centre lies in the raster of at least one band asked for and does not hold NaN or, if
    that file has a nodata tag, its value; a file without the tag has data everywhere else, zeros included. Bands
    without data are 0.
    """

    def __init__(self, collection: str, acquisitions: Sequence[Acquisition]) -> None:
        self.name = NAMES.get(collection, "CUSTOM")
        self._max_metres_per_px = SENTINEL_2_COARSEST_M if collection in NAMES else None
        self._footprints: dict[str, BaseGeometry] = {}
        self._opened: dict[Path, rasterio.DatasetReader] = {}
        self._acquisitions = {acquisition.name: acquisition for acquisition in acquisitions}
        bands = sorted({band for acquisition in acquisitions for band in acquisition.files})
        self.bands: Mapping[str, BandInfo] = dict.fromkeys(bands, REFLECTANCE if collection in NAMES else DN)

    @classmethod
    def open_folder(cls, collection: str, folder: Path) -> ArchiveSource:
        """The folder as a collection; reads names, opens no file.

        Raises ValueError for a folder without GeoTIFFs, and for a file that is a link out of the folder.
        """
        root = folder.resolve()
        folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())] if root.is_dir() else []
        acquisitions = [found for path in folders if (found := _read_folder(path, root)).files]
        if not acquisitions:
            raise ValueError(
                f"{folder} holds no GeoTIFF: expected one file per band, such as B05.tif, or folders of them"
            )
        return cls(collection, acquisitions)

    @property
    def max_metres_per_px(self) -> float:
        """Five times the median of its files' coarsest overviews, 500 at most; Sentinel-2's where it stands for that.

        The first question opens every file.
        """
        if self._max_metres_per_px is None:
            paths = [path for acquisition in self._acquisitions.values() for path in acquisition.files.values()]
            self._max_metres_per_px = min(5 * float(np.median([_find_coarsest_m(path) for path in paths])), COARSEST_M)
        return self._max_metres_per_px

    def scenes(self, lattice: Lattice, start: datetime, end: datetime) -> Sequence[Scene]:
        """Acquisitions in [start, end]; those without a date always, at ``start``."""
        del lattice
        return [
            Scene(id=acquisition.name, time=acquisition.time or start, cloud_cover=0.0)
            for acquisition in self._acquisitions.values()
            if acquisition.time is None or start <= acquisition.time <= end
        ]

    def render(
        self, scene: Scene, bands: Sequence[str], lattice: Lattice, choices: Choices, wanted: NDArray[np.bool_]
    ) -> Pixels | None:
        """The files at the lattice's pixel centres; without bands, only whether any band has data."""
        del wanted
        files = self._acquisitions[scene.id].files
        values = np.zeros((len(bands), *lattice.shape), dtype=np.float32)
        data_mask = np.zeros(lattice.shape, dtype=np.bool_)
        for index, band in enumerate(bands or files):
            if band not in files:
                continue
            pixels = _sample_file(self._open(files[band]), lattice, choices)
            if pixels is None:
                continue
            if bands:
                values[index] = pixels[0]
            data_mask |= pixels[1]
        return Pixels(values=values, data_mask=data_mask) if data_mask.any() else None

    def search(self, area: BaseGeometry, start: datetime, end: datetime) -> Iterator[Scene]:
        """Dated acquisitions, newest first; those without a date are in no catalogue, since items must have one."""
        dated = [(found.time, found.name) for found in self._acquisitions.values() if found.time is not None]
        for noon, name in sorted(dated, reverse=True):
            scene = Scene(id=name, time=noon, cloud_cover=0.0)
            if start <= noon <= end and area.intersects(self.footprint(scene)):
                yield scene

    def find(self, scene_id: str) -> Scene | None:
        """The acquisition of this folder name, if it has a date."""
        found = self._acquisitions.get(scene_id)
        return None if found is None or found.time is None else Scene(id=scene_id, time=found.time, cloud_cover=0.0)

    def footprint(self, scene: Scene) -> BaseGeometry:
        """The rectangles of all its rasters; pixels that hold a nodata value are not cut out."""
        if scene.id not in self._footprints:
            outlines = set(map(_outline, self._acquisitions[scene.id].files.values()))
            self._footprints[scene.id] = shapely.union_all([to_degrees(box(*edges), crs) for crs, edges in outlines])
        return self._footprints[scene.id]

    def properties(self, scene: Scene) -> dict[str, Any]:
        """For an archive that stands for Sentinel-2 the cloud cover, which is 0."""
        return {"eo:cloud_cover": scene.cloud_cover} if self.name in NAMES.values() else {}

    def _open(self, path: Path) -> rasterio.DatasetReader:
        if path not in self._opened:
            self._opened[path] = rasterio.open(path)
        return self._opened[path]


def _read_folder(folder: Path, root: Path) -> Acquisition:
    files = {path.stem: path.resolve() for path in sorted(folder.glob("*.tif"))}
    for path in files.values():
        if not path.is_relative_to(root):
            raise ValueError(f"{path} lies outside of {root}")
    date = DATE_AT_END.search(folder.name)
    noon = datetime.combine(datetime.fromisoformat(date[1]), time(12), UTC) if date else None
    return Acquisition(name=folder.name, time=noon, files=files)


def _outline(path: Path) -> tuple[str, tuple[float, float, float, float]]:
    with rasterio.open(path) as file:
        return file.crs.to_wkt(), tuple(file.bounds)


def _find_coarsest_m(path: Path) -> float:
    """Metres per pixel of the coarsest overview that counts; of the image itself where none does."""
    with rasterio.open(path) as file:
        levels = [level for level in file.overviews(1) if max(file.shape) / level >= LEAST_OVERVIEW_PX]
        return _pixel_m(file) * max(levels, default=1)


def _sample_file(
    file: rasterio.DatasetReader, lattice: Lattice, choices: Choices
) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
    columns, rows = _positions(file, lattice)
    top, bottom = _range(rows, file.height)
    left, right = _range(columns, file.width)
    if top >= bottom or left >= right:
        return None
    raw = file.read(1, window=Window(left, top, right - left, bottom - top))
    # NaN is never data, as documented
    valid = ~np.isnan(raw) if raw.dtype.kind == "f" else np.ones(raw.shape, dtype=np.bool_)
    if file.nodata is not None and not np.isnan(file.nodata):
        valid &= raw != file.nodata
    return sample(raw.astype(np.float32), valid, columns - left, rows - top, _choose(file, lattice, choices))


def _positions(file: rasterio.DatasetReader, lattice: Lattice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.meshgrid(lattice.x_centres(), lattice.y_centres())
    transformer = _transformer(lattice.crs, file.crs.to_wkt())
    if transformer is not None:
        x, y = transformer.transform(x, y)
    left, top = file.transform.c, file.transform.f
    columns, rows = (x - left) / file.transform.a, (y - top) / file.transform.e
    # a point that the projection cannot reach is far outside of every raster
    return np.nan_to_num(columns, nan=-1e9, posinf=-1e9, neginf=-1e9), np.nan_to_num(
        rows, nan=-1e9, posinf=-1e9, neginf=-1e9
    )


def _range(positions: NDArray[np.float64], size: int) -> tuple[int, int]:
    first = max(0, int(np.floor(positions.min())) - MARGIN_PX)
    last = min(size, int(np.floor(positions.max())) + MARGIN_PX + 1)
    return first, last


def _choose(file: rasterio.DatasetReader, lattice: Lattice, choices: Choices) -> Resampling:
    asked = lattice.res_x * (METRES_PER_DEGREE if is_geographic(lattice.crs) else 1.0)
    return choices.upsampling if asked <= _pixel_m(file) else choices.downsampling


def _pixel_m(file: rasterio.DatasetReader) -> float:
    return float(file.transform.a * (METRES_PER_DEGREE if file.crs.is_geographic else 1.0))


@lru_cache(maxsize=64)
def _transformer(source: str, target_wkt: str) -> Transformer | None:
    target = CRS.from_wkt(target_wkt)
    if CRS.from_user_input(source) == target:
        return None
    return find_transformer(source, target_wkt)

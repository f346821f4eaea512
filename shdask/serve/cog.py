"""Pictures of a cube as Cloud Optimized GeoTIFFs, for programs that do not read Zarr: one file a date.

Refuses to change pixels: only a type that holds all bands is chosen, and what is no data is marked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from shdask.assemble.conventions import GRID_MAPPING
from shdask.assemble.template import DATA_MASK
from shdask.assemble.time_axis import TIME
from shdask.errors import PlanError, StoreError, StoreUnavailable, WrongStore
from shdask.serve.open import is_job, open_cube
from shdask.serve.overviews import find_classes

if TYPE_CHECKING:
    import xarray as xr
    from affine import Affine
    from numpy.typing import NDArray

    from shdask.serve.narrow import Bbox, Days

BLOCK_PX = 512
"""Side of a file's own tiles."""
_AT_ONCE_PX = 2048
"""Side of what is read at once; whole tiles of a file."""
_CACHE_MB = 256
"""That GDAL may hold."""
_TAGS = ("scene_ids", "platform", "relative_orbit", "orbit_direction", "cloud_cover", "processing_baseline")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """One file."""

    path: str
    time: str | None
    """UTC, ISO 8601; None of a cube that is one picture."""
    bands: tuple[str, ...]
    dtype: str
    nodata: float | None
    """What stands where there is no data; None where a mask band tells."""
    shape: tuple[int, int]
    """(y, x)."""
    transform: tuple[float, float, float, float, float, float]
    """Affine (a, b, c, d, e, f) from (column, row) to (x, y)."""
    nbytes: int

    def as_dict(self) -> dict[str, object]:
        """As JSON types."""
        nodata = "nan" if self.nodata is not None and np.isnan(self.nodata) else self.nodata
        return {
            "path": self.path,
            "time": self.time,
            "bands": list(self.bands),
            "dtype": self.dtype,
            "nodata": nodata,
            "shape": list(self.shape),
            "transform": list(self.transform),
            "nbytes": self.nbytes,
        }


def export_cog(
    store: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    layer: str | None = None,
    zone: str | int | None = None,
    bands: str | Sequence[str] | None = None,
    time: Days | None = None,
    bbox: Bbox | None = None,
    nodata: float | None = None,
    compress: str = "DEFLATE",
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Exported, ...]:
    """Write the cube at ``store``, or ``bands``, days and ``bbox`` of it, as Cloud Optimized GeoTIFFs.

    ``layer``, ``zone``, ``time`` and ``bbox`` are those of `open_cube`. One date is written to ``path``; of several,
    each to ``path`` with the date before its suffix (``out_2024-06-05.tif``; with the time, where a day has two). A
    file is written whole or not at all.

    All bands get the smallest type that holds theirs. Where ``data_mask`` is 0, floats are NaN, and integers are 0 with
    an internal mask band, since 0 may be a value; with ``nodata`` they are that number instead, and there is no mask.
    Overviews are means over valid pixels, of codes the commonest, and nearest where a file has both. Names and units
    of bands, the date and scene ids are kept as tags. ``compress`` is GDAL's word. Blocks are read one after the other,
    so memory does not grow with the picture; what was not built takes no room. The disk needs room for the pixels
    twice while a file is made.

    ``on_progress`` hears how many blocks of how many are read. Raises StoreError and warns as `open_cube`; PlanError
    for bands, ``nodata`` or ``compress`` that cannot be; StoreUnavailable where ``path`` cannot be written.
    """
    if is_job(store):
        raise WrongStore(f"{store} is a job, which has no pixels yet; build it, and export the store")
    cube = open_cube(store, layer=layer, zone=zone, bbox=bbox, time=time)
    names = tuple(str(name) for name in cube.data_vars if name != DATA_MASK)
    if bands is not None:
        names = (bands,) if isinstance(bands, str) else tuple(bands)
    unknown = [name for name in names if name not in cube.data_vars]
    if unknown or not names:
        there = ", ".join(str(name) for name in cube.data_vars)
        raise PlanError(f"bands: there is no {unknown[0] if unknown else 'band'!r}; give some of {there}")
    picture = _Picture.of(cube, names, nodata=nodata, compress=compress)
    targets = [(cube, Path(path))]
    if TIME in cube.dims:
        targets = list(zip(_dates(cube), _date_paths(cube, Path(path)), strict=True))
    for _, target in targets:
        if target.is_dir():  # which would be told when all is read
            raise StoreUnavailable(f"{target} is a folder; choose another file")
    blocks = len(list(picture.windows())) * len(targets)
    found: list[Exported] = []
    for number, (date, target) in enumerate(targets):
        before = number * blocks // len(targets)
        show = None if on_progress is None else lambda done, first=before: on_progress(first + done, blocks)
        found.append(_write(picture, date, target, show))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """What all files have in common."""

    names: tuple[str, ...]
    dtype: np.dtype[Any]
    nodata: float | None
    resampling: str
    compress: str
    shape: tuple[int, int]
    transform: Affine
    crs: str

    @classmethod
    def of(cls, cube: xr.Dataset, names: tuple[str, ...], *, nodata: float | None, compress: str) -> _Picture:
        from rasterio.crs import CRS

        dtype = np.result_type(*(cube[name].dtype for name in names))
        if dtype.kind == "f" and nodata is None:
            nodata = float("nan")
        elif nodata is not None and not _holds(dtype, nodata):
            raise PlanError(f"nodata = {nodata:g} does not fit {dtype}, the type of {', '.join(names)}")
        codes = {*find_classes(cube.attrs)} & {*names} if "bands" in cube.attrs else set()
        return cls(
            names=names,
            dtype=dtype,
            nodata=nodata,
            resampling="AVERAGE" if not codes else "MODE" if codes == {*names} else "NEAREST",
            compress=_check_compress(compress),
            shape=(cube.sizes["y"], cube.sizes["x"]),
            transform=cube.rio.transform(recalc="GeoTransform" not in cube[GRID_MAPPING].attrs),
            crs=CRS.from_user_input(cube.rio.crs).to_wkt(),
        )

    def windows(self) -> Iterator[tuple[slice, slice]]:
        """(rows, columns) of what is read at once, together the whole picture."""
        height, width = self.shape
        for y in range(0, height, _AT_ONCE_PX):
            for x in range(0, width, _AT_ONCE_PX):
                yield slice(y, min(y + _AT_ONCE_PX, height)), slice(x, min(x + _AT_ONCE_PX, width))

    def profile(self) -> dict[str, Any]:
        """Of the file that holds the pixels before they are in order."""
        return {
            "driver": "GTiff",
            "height": self.shape[0],
            "width": self.shape[1],
            "count": len(self.names),
            "dtype": self.dtype.name,
            "crs": self.crs,
            "transform": self.transform,
            "nodata": self.nodata,
            "tiled": True,
            "blockxsize": BLOCK_PX,
            "blockysize": BLOCK_PX,
            "interleave": "band",
            "compress": "ZSTD",
            "zstd_level": 1,
            "sparse_ok": True,
            "bigtiff": "YES",
        }

    def options(self) -> dict[str, Any]:
        """Of the file itself, in GDAL's words."""
        predictor = {} if self.compress == "NONE" else {"predictor": "YES"}
        return {
            "driver": "COG",
            "compress": self.compress,
            **predictor,
            "blocksize": BLOCK_PX,
            "overview_resampling": self.resampling,
            "overview_compress": self.compress,
            "bigtiff": "IF_SAFER",
            "sparse_ok": True,
            "num_threads": "ALL_CPUS",
        }


def _write(picture: _Picture, date: xr.Dataset, target: Path, on_progress: Callable[[int], None] | None) -> Exported:
    import rasterio
    from rasterio.shutil import copy
    from rasterio.windows import Window

    with _file_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder,
            rasterio.Env(GDAL_CACHEMAX=_CACHE_MB, GDAL_TIFF_INTERNAL_MASK=True),
        ):
            loose, whole = Path(folder, "pixels.tif"), Path(folder, "cog.tif")
            with rasterio.open(loose, "w", **picture.profile()) as pixels:
                _describe(pixels, picture, date)
                if picture.nodata is None:  # so that there is a mask where nothing at all is valid
                    pixels.write_mask(np.zeros((1, 1), np.uint8), window=Window(0, 0, 1, 1))
                for number, window in enumerate(picture.windows(), start=1):
                    _copy_window(pixels, picture, date, window)
                    if on_progress is not None:
                        on_progress(number)
            copy(loose, whole, **picture.options())
            whole.replace(target)
        nbytes = target.stat().st_size
    a, b, c, d, e, f = tuple(picture.transform)[:6]
    return Exported(
        path=str(target),
        time=None if TIME not in date.coords else str(np.datetime_as_string(date[TIME].to_numpy(), "s")) + "Z",
        bands=picture.names,
        dtype=picture.dtype.name,
        nodata=picture.nodata,
        shape=picture.shape,
        transform=(a, b, c, d, e, f),
        nbytes=nbytes,
    )


def _copy_window(pixels: Any, picture: _Picture, date: xr.Dataset, window: tuple[slice, slice]) -> None:
    """Copy a window of all bands; one without a valid pixel is left out, so that it takes no room."""
    from rasterio.windows import Window

    rows, columns = window
    block = date[[*picture.names, DATA_MASK]].isel(y=rows, x=columns).compute()
    valid: NDArray[np.bool_] = block[DATA_MASK].to_numpy() == 1
    if not valid.any():
        return
    where = Window.from_slices(rows, columns)
    fill = picture.dtype.type(0 if picture.nodata is None else picture.nodata)
    for number, name in enumerate(picture.names, start=1):
        values = block[name].to_numpy().astype(picture.dtype, copy=False)
        if picture.nodata is not None and (valid & (values == fill)).any():
            raise PlanError(f"nodata = {fill} is also the value of valid pixels of {name}; choose another number")
        pixels.write(np.where(valid, values, fill), number, window=where)
    if picture.nodata is None:
        pixels.write_mask(valid.astype(np.uint8) * 255, window=where)


def _describe(pixels: Any, picture: _Picture, date: xr.Dataset) -> None:
    attributes = date.attrs
    tags = {
        "TIFFTAG_SOFTWARE": f"shdask {attributes.get('shdask_version', '')}".strip(),
        "TIFFTAG_IMAGEDESCRIPTION": str(attributes.get("title", "")),
        "COMPLETE": "" if attributes.get("complete", True) else "no: tiles that were not written yet are no data",
        "SOURCE": str(attributes.get("source", "")),
        "LAYER": str(attributes.get("layer", "")),
    }
    if TIME in date.coords:
        at = str(np.datetime_as_string(date[TIME].to_numpy(), "s"))
        tags |= {"TIFFTAG_DATETIME": at.replace("-", ":").replace("T", " "), "TIME": f"{at}Z"}
        tags |= {name.upper(): str(date[name].item()) for name in _TAGS if name in date.coords}
    else:
        known = {name: attributes.get(f"time_coverage_{name}") for name in ("start", "end")}
        tags |= {f"TIME_{name.upper()}": str(value) for name, value in known.items() if value}
    pixels.update_tags(**{name: value for name, value in tags.items() if value})
    pixels.descriptions = picture.names
    pixels.units = tuple(str(date[name].attrs.get("units", "")) for name in picture.names)
    pixels.scales = (1.0,) * len(picture.names)
    for number, name in enumerate(picture.names, start=1):
        pixels.update_tags(number, long_name=str(date[name].attrs.get("long_name", name)))


def _dates(cube: xr.Dataset) -> list[xr.Dataset]:
    return [cube.isel({TIME: step}) for step in range(cube.sizes[TIME])]


def _date_paths(cube: xr.Dataset, path: Path) -> list[Path]:
    times = cube[TIME].to_numpy()
    if times.size == 1:
        return [path]
    for unit in ("D", "s"):
        words = [str(word).replace(":", "") for word in np.datetime_as_string(times, unit)]
        if len({*words}) == len(words):
            break
    else:  # a date, and what it was bought again as
        words = [f"{word}_r{revision}" for word, revision in zip(words, cube["revision"].to_numpy(), strict=True)]
    return [path.with_name(f"{path.stem}_{word}{path.suffix}") for word in words]


def _holds(dtype: np.dtype[Any], value: float) -> bool:
    if dtype.kind == "f":
        return True
    limits = np.iinfo(dtype)
    return not np.isnan(value) and value == int(value) and limits.min <= value <= limits.max


def _check_compress(word: str) -> str:
    known = ("NONE", "LZW", "DEFLATE", "ZSTD", "LERC", "LERC_DEFLATE", "LERC_ZSTD")
    if word.upper() not in known:
        raise PlanError(f"compress = {word!r} is not known; choose {', '.join(known)}")
    return word.upper()


@contextmanager
def _file_errors(target: Path) -> Iterator[None]:
    """Turn what the disk and GDAL raise of a file into StoreUnavailable."""
    from rasterio.errors import RasterioError, RasterioIOError
    from rasterio.shutil import RasterioIOError as CopyError

    try:
        yield
    except StoreError:
        raise
    except (OSError, RasterioError, RasterioIOError, CopyError) as error:
        why: BaseException = error
        while why.__cause__ is not None:  # rasterio only says that a write failed, and GDAL what it was
            why = why.__cause__
        why = getattr(why, "strerror", None) or why
        raise StoreUnavailable(f"{target}: {why}; make room there or choose another file") from error

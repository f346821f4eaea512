"""One picture of many dates of an opened cube, of the clear ones alone: lazily, block by block.

Refuses to know where pixels come from; the service makes the same pictures of a layer with ``composite``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np

from shdask.assemble.conventions import GRID_MAPPING
from shdask.assemble.template import DATA_MASK
from shdask.assemble.time_axis import TIME
from shdask.errors import PlanError
from shdask.model import TimeInterval
from shdask.plan.cadence import ACQUISITION, find_spans
from shdask.plan.clear_bands import CLEAR_BANDS, ClearBand, find_clear_band
from shdask.plan.composite_spec import AUTO, CLEAR_COUNT, NO_MASK, OF_COMPOSITES, ORIGIN_DAY, RED_NIR
from shdask.request.composite import CompositeMethod
from shdask.serve.composite_block import BlockRule, Step, composite_block

if TYPE_CHECKING:
    import dask.array as da
    import xarray as xr
    from numpy.typing import NDArray

BLOCK_NBYTES = 64_000_000
"""What one block may take of a worker's memory while it is composited."""
WORKING_NBYTES = 32
"""Of a pixel and date, beside its values: sorted copies and distances, as doubles."""
DIMS = (TIME, "y", "x")
SPAN = "composite_span"
"""The attribute that tells of which ``freq`` the dates of a composite are."""
_KEPT_ENCODING = ("grid_mapping", "_FillValue")


def make_composite(
    cube: xr.Dataset,
    method: CompositeMethod,
    *,
    freq: str | None = None,
    mask: str | ClearBand = AUTO,
    bands: Sequence[str] | None = None,
    ndvi: tuple[str, str] | None = None,
    origin: bool = False,
    block_nbytes: int = BLOCK_NBYTES,
) -> xr.Dataset:
    """``cube``, as `shdask.open_cube` gives it, with one picture of the clear dates of each span of ``freq``.

    ``freq`` is a job's cadence: ``month``, ``dekad`` or an ISO period such as ``P10D``, which is counted from the
    cube's first day; None makes one picture of all dates, (y, x). A date counts at a pixel where ``data_mask`` is 1,
    every band is finite, and ``mask`` says clear: a band of the cube among SCL, CLM, CLP, BQA and QA_PIXEL, ``auto``
    for the first of them that is there, ``none`` for all dates, or a `ClearBand`, which names a band of your own and
    its codes that are clear. A date that was bought again takes the place of the one it mends.

    ``median``: of each band by itself, the mean of the middle two where dates are even in number, rounded half up to an
    integer, or to the step in which floats were bought, as far as the cube tells it. ``medoid``: the date whose values
    are nearest to those medians, by the sum of squares over ``bands``. ``max-ndvi``: the date of the greatest
    (nir - red) / (nir + red), -1 where that has no value; ``ndvi`` names red and nir where the cube's collection does
    not tell. Of equal dates the earliest is taken.

    Returns ``bands`` (default: all but codes, and what is told of composites) in their types, ``clear_count`` (uint16:
    of how many dates), where ``origin`` is set ``origin_day`` (uint16: days since 1970-01-01 UTC), and ``data_mask``,
    which is 0, with bands 0 or NaN, where no date counts. Grid, CRS and attributes are the cube's, beside
    ``composite``, the method, and ``composite_span``, which is ``freq``; ``time`` is the start of each span.

    Nothing is computed of a cube in Dask blocks: these are split, if need be, so that one takes no more than
    ``block_nbytes`` with all dates of a span. Pure. Raises PlanError for what the cube does not hold.
    """
    cube = _in_order(cube)
    wanted = _choose(cube, method, mask=mask, bands=bands, ndvi=ndvi, origin=origin)
    times = cube[TIME].to_numpy().astype("datetime64[us]")
    spans = _spans(times, freq, cube.attrs.get("time_coverage_start"))
    starts, counts = np.unique(spans, return_counts=True)
    arrays = _small_blocks(
        [cube[name].transpose(*DIMS).data for name in wanted.arrays], int(counts.max()), block_nbytes
    )
    kinds = tuple(cube[name].dtype for name in wanted.bands)
    steps = _steps_of(cube, wanted.read)
    rules = [wanted.rule(tuple(times[spans == start].astype(np.int64).tolist()), kinds, steps) for start in starts]
    ends = np.cumsum(counts).tolist()
    pictures = [
        _one_picture([array[end - len(rule.times) : end] for array in arrays], rule)
        for rule, end in zip(rules, ends, strict=True)
    ]
    return _dataset(cube, wanted, pictures, freq, starts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What is asked for, checked against the cube."""

    method: CompositeMethod
    bands: tuple[str, ...]
    red_nir: tuple[str, str] | None
    clear: ClearBand | None
    has_mask: bool
    origin: bool

    @property
    def read(self) -> tuple[str, ...]:
        """Every array of values that is read: ``bands`` first."""
        return tuple(dict.fromkeys((*self.bands, *(self.red_nir or ()))))

    @property
    def arrays(self) -> tuple[str, ...]:
        """All arrays that are read, in the order of `composite_block`."""
        clear = () if self.clear is None else (self.clear.name,)
        return (*self.read, *clear, *((DATA_MASK,) if self.has_mask else ()))

    def rule(self, times: tuple[int, ...], kinds: Sequence[np.dtype[Any]], steps: tuple[Step | None, ...]) -> BlockRule:
        """What becomes of dates at ``times``, with bands of ``kinds`` and values in ``steps``."""
        return BlockRule(
            method=self.method,
            bands=len(self.bands),
            values=len(self.read),
            red_nir=None if self.red_nir is None else tuple(self.read.index(name) for name in self.red_nir),
            steps=steps,
            clear=self.clear,
            has_mask=self.has_mask,
            has_origin=self.origin,
            times=times,
            dtype=np.result_type(*kinds, np.uint16),
            is_float=tuple(kind.kind == "f" for kind in kinds),
        )

    @property
    def told(self) -> tuple[str, ...]:
        """What comes behind the bands."""
        return (CLEAR_COUNT, ORIGIN_DAY) if self.origin else (CLEAR_COUNT,)


def _in_order(cube: xr.Dataset) -> xr.Dataset:
    if TIME not in cube.dims:
        raise PlanError("the cube is one picture and has no time axis; a composite is made of several dates")
    order = np.argsort(cube[TIME].to_numpy(), kind="stable")
    return cube if np.array_equal(order, np.arange(order.size)) else cube.isel({TIME: order})


def _choose(
    cube: xr.Dataset,
    method: CompositeMethod,
    *,
    mask: str | ClearBand,
    bands: Sequence[str] | None,
    ndvi: tuple[str, str] | None,
    origin: bool,
) -> _Wanted:
    if method not in get_args(CompositeMethod):
        raise PlanError(f"method {method!r} is not known; write {', '.join(get_args(CompositeMethod))}")
    if origin and method == "median":
        raise PlanError("a median is of no one date; leave out origin, or take medoid")
    rasters = {str(name): each for name, each in cube.data_vars.items() if set(each.dims) == set(DIMS)}
    clear = _find_mask(mask, rasters)
    codes = {DATA_MASK, *CLEAR_BANDS, *OF_COMPOSITES, *(() if clear is None else (clear.name,))}
    own = tuple(name for name in rasters if name not in codes)
    chosen = own if bands is None else tuple(bands)
    red_nir = None
    if method == "max-ndvi":
        red_nir = ndvi or RED_NIR.get(str(cube.attrs.get("source")))
        if red_nir is None:
            raise PlanError('max-ndvi does not know the bands of this cube; write ndvi = ("B04", "B08"), red first')
    missing = [name for name in (*chosen, *(red_nir or ()), *([clear.name] if clear else [])) if name not in rasters]
    if missing or not chosen:
        what = ", ".join(missing) or "at all"
        raise PlanError(f"the cube has no band {what} along {', '.join(DIMS)}; it has {', '.join(rasters)}")
    told = sorted(OF_COMPOSITES & {*chosen})
    if told:
        raise PlanError(f"bands: {', '.join(told)} of a composite is told anew; rename the cube's own, or leave it out")
    has_mask = DATA_MASK in rasters
    return _Wanted(method=method, bands=chosen, red_nir=red_nir, clear=clear, has_mask=has_mask, origin=origin)


def _find_mask(mask: str | ClearBand, rasters: Iterable[str]) -> ClearBand | None:
    if isinstance(mask, ClearBand):
        return mask
    clear = find_clear_band(rasters) if mask == AUTO else CLEAR_BANDS.get(mask)
    if clear is None and mask not in {AUTO, NO_MASK}:
        raise PlanError(f"mask {mask!r} is not known; write {', '.join((AUTO, NO_MASK, *CLEAR_BANDS))}, or a ClearBand")
    return clear


def _steps_of(cube: xr.Dataset, names: Sequence[str]) -> tuple[Step | None, ...]:
    """In which steps the values of arrays of floats were sent, as far as the cube tells."""
    layer = dict(cube.attrs.get("spec", {})).get("layer", {})
    told = {band["name"]: band for band in layer.get("bands", ())}

    def step_of(name: str) -> Step | None:
        if name not in told or cube[name].dtype.kind != "f":
            return None
        band = told[name]
        if band["scale"] is None:
            return (1.0, 0.0) if np.dtype(band["dtype"]).kind != "f" else None
        return band["scale"], band["offset"]

    return tuple(map(step_of, names))


def _spans(times: NDArray[np.datetime64], freq: str | None, since: str | None) -> NDArray[np.datetime64]:
    """(time,): the start of the span of each date."""
    moments = [cast("datetime", each).replace(tzinfo=UTC) for each in times.tolist()]
    first = min(moments).replace(hour=0, minute=0, second=0, microsecond=0)
    if freq is None:
        return np.full(times.shape, np.datetime64(first.replace(tzinfo=None), "us"))
    if freq == ACQUISITION:
        raise PlanError("freq: an acquisition is one date; take a span such as month or P10D")
    begun = first if since is None else min(first, datetime.fromisoformat(since))
    span_of = find_spans(freq, TimeInterval(start=begun, end=max(moments) + timedelta(microseconds=1)))
    return np.array([span_of(each).start.replace(tzinfo=None) for each in moments], "datetime64[us]")


def _small_blocks(arrays: Sequence[Any], dates: int, block_nbytes: int) -> list[Any]:
    """The same arrays, whose blocks in Dask, of so many dates, take no more than they may."""
    if not any(hasattr(array, "dask") for array in arrays):
        return list(arrays)
    import dask.array as da

    lazy = [da.asarray(array) for array in arrays]
    nbytes = dates * (sum(each.dtype.itemsize for each in lazy) + WORKING_NBYTES)
    side = max(1, int((block_nbytes / nbytes) ** 0.5))
    y, x = (tuple(length for size in sizes for length in _split(size, side)) for sizes in lazy[0].chunks[1:])
    return [each.rechunk((each.chunks[0], y, x), method="tasks") for each in lazy]


def _one_picture(arrays: Sequence[Any], rule: BlockRule) -> NDArray[Any] | da.Array:
    """(band, y, x): the bands, and what is told of them, in a type that holds them all."""
    block = partial(composite_block, rule=rule)
    if not hasattr(arrays[0], "dask"):
        return block(*arrays)
    import dask.array as da

    whole = [each.rechunk({0: -1}, method="tasks") for each in arrays]
    chunks = ((rule.bands + (2 if rule.has_origin else 1),), *whole[0].chunks[1:])
    found: da.Array = da.map_blocks(
        block, *whole, chunks=chunks, dtype=rule.dtype, meta=np.empty((0, 0, 0), rule.dtype)
    )
    return found


def _split(size: int, most: int) -> list[int]:
    """``size`` in as few nearly equal lengths as are no more than ``most``."""
    parts = -(-size // most)
    return [size // parts + (position < size % parts) for position in range(parts)]


def _dataset(
    cube: xr.Dataset,
    wanted: _Wanted,
    pictures: Sequence[NDArray[Any] | da.Array],
    freq: str | None,
    starts: NDArray[np.datetime64],
) -> xr.Dataset:
    import xarray as xr

    has_time = freq is not None
    dims = DIMS if has_time else DIMS[1:]
    arrays: dict[str, xr.Variable] = {}
    for position, name in enumerate((*wanted.bands, *wanted.told)):
        like = cube[name] if name in wanted.bands else None
        dtype = np.dtype(np.uint16) if like is None else like.dtype
        planes = [picture[position].astype(dtype) for picture in pictures]
        arrays[name] = _variable(dims, planes, like, has_time)
    arrays[CLEAR_COUNT].attrs["long_name"] = "clear dates that the pixel is made of"
    if wanted.origin:
        arrays[ORIGIN_DAY].attrs["long_name"] = "day since 1970-01-01 that the pixel was taken from"
    valid = (arrays[CLEAR_COUNT] > 0).astype(np.uint8)
    valid.attrs = dict(cube[DATA_MASK].attrs) if DATA_MASK in cube else {}
    coords = {name: each for name, each in cube.coords.items() if TIME not in each.dims}
    if has_time:
        coords[TIME] = (TIME, starts.astype("datetime64[ns]"), dict(cube[TIME].attrs))
    attrs = {name: told for name, told in cube.attrs.items() if name != SPAN} | {"composite": wanted.method}
    attrs |= {SPAN: freq} if has_time else {}
    made = xr.Dataset({**arrays, DATA_MASK: valid}, coords=coords, attrs=attrs)
    for each in made.data_vars.values():
        if GRID_MAPPING in coords and "grid_mapping" not in each.attrs:
            each.encoding["grid_mapping"] = GRID_MAPPING
    return made


def _variable(dims: Sequence[str], planes: Sequence[Any], like: xr.DataArray | None, has_time: bool) -> xr.Variable:
    import dask.array as da
    import xarray as xr

    stack = da.stack if hasattr(planes[0], "dask") else np.stack
    data = stack(planes) if has_time else planes[0]
    if like is None:
        return xr.Variable(dims, data)
    encoding = {key: like.encoding[key] for key in _KEPT_ENCODING if key in like.encoding}
    return xr.Variable(dims, data, attrs=dict(like.attrs), encoding=encoding)

"""What the user wants: area, grid, time, one layer of bands, storage and service; from Python or from a job file.

Refuses to know how any of it is planned; says of every wrong value where it stands and what would be right.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, FiniteFloat, PositiveInt, PrivateAttr, ValidationInfo, field_validator
from pydantic import model_validator as check_model

from shdask.errors import PlanError
from shdask.model import TimeInterval
from shdask.plan.complaints import Table, complain, unknown_key
from shdask.request.collections import BandInfo, Collection, closest, find_collection
from shdask.settings import DEPLOYMENTS

MAX_TILE_PX = 2500
"""Longest side of one Process request, in pixels (API reference of the service)."""


def _check_days(days: tuple[date, date]) -> tuple[date, date]:
    if days[0] > days[1]:
        raise ValueError(f"the first day, {days[0]}, is after the last, {days[1]}; swap them")
    return days


Days = Annotated[tuple[date, date], AfterValidator(_check_days)]
"""First and last day, both included."""
PositiveFinite = Annotated[FiniteFloat, Field(gt=0)]


class Layer(Table):
    """One mosaic of one collection: a stored array for each band."""

    collection: str
    bands: tuple[str, ...] = Field(min_length=1)
    units: Literal["DN", "REFLECTANCE"] = "DN"
    """Of bands that have both; others keep their only unit."""
    cadence: Literal["mosaic"] = "mosaic"
    mosaicking_order: Literal["mostRecent", "leastRecent", "leastCC"] = "mostRecent"
    max_cloud_cover: FiniteFloat | None = None
    """Share of a scene, 0 to 1."""
    resampling: Literal["nearest", "bilinear", "bicubic"] = "nearest"
    time: Days | None = None
    """Overrides the cube's."""

    @field_validator("collection")
    @classmethod
    def _is_known(cls, name: str) -> str:
        find_collection(name)
        return name

    @field_validator("bands")
    @classmethod
    def _can_be_bought(cls, bands: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        twice = sorted({band for band in bands if bands.count(band) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is named more than once; name each band once")
        for reserved in {"data_mask", "dataMask", "tile_state", "spatial_ref", "x", "y", "time"} & set(bands):
            raise ValueError(f"{reserved!r} is a name the cube itself uses; leave it out (data_mask is always stored)")
        for band in (_band(info, name) for name in bands):
            if band and band.dtype not in {"uint8", "uint16"}:
                raise ValueError(
                    f"{band.name} ({band.units[0]}) needs 32 bit values, and this version buys 16 bit; leave it out"
                )
        return bands

    @field_validator("units")
    @classmethod
    def _has_reflectance(cls, units: str, info: ValidationInfo) -> str:
        bands = [_band(info, name) for name in info.data.get("bands", ())]
        if units == "REFLECTANCE" and bands and not any(band and band.reflectance_per_dn for band in bands):
            raise ValueError("none of these bands can be had as REFLECTANCE; use DN")
        return units

    @field_validator("mosaicking_order")
    @classmethod
    def _has_cloud_order(cls, order: str, info: ValidationInfo) -> str:
        collection = _collection(info)
        if order == "leastCC" and collection and not collection.has_clouds:
            raise ValueError(f"{collection.name} has no cloud cover to order by; use mostRecent or leastRecent")
        return order

    @field_validator("max_cloud_cover")
    @classmethod
    def _is_share(cls, share: float | None, info: ValidationInfo) -> float | None:
        collection = _collection(info)
        if share is None:
            return None
        if share > 1:
            cure = f": write {share / 100:g}" if share <= 100 else ""  # noqa: PLR2004  # per cent
            raise ValueError(f"{share:g} is more than the whole scene; it is a share from 0 to 1{cure}")
        if share < 0:
            raise ValueError(f"{share:g} is below 0; it is a share from 0 to 1")
        if collection and not collection.has_clouds:
            raise ValueError(f"{collection.name} has no cloud cover to filter by; leave it out")
        return share

    @field_validator("resampling")
    @classmethod
    def _keeps_classes(cls, resampling: str, info: ValidationInfo) -> str:
        bands = (_band(info, name) for name in info.data.get("bands", ()))
        classes = [band.name for band in bands if band and band.classes]
        if classes and resampling != "nearest":
            raise ValueError(
                f"{', '.join(classes)} holds class codes, which {resampling} would mix, and one request has one "
                f"resampling; use nearest, or build {', '.join(classes)} as a cube of its own"
            )
        return resampling


class StoreOptions(Table):
    """How the cube is cut on disk."""

    chunk_px: PositiveInt = 512
    tile_px: PositiveInt = 2048
    """A shard, and what one task owns."""
    sharded: bool = True

    @check_model(mode="after")
    def _fits(self) -> Self:
        if self.tile_px % self.chunk_px:
            raise ValueError(
                f"tile_px = {self.tile_px} is not a multiple of chunk_px = {self.chunk_px}; "
                f"use {max(1, self.tile_px // self.chunk_px) * self.chunk_px}"
            )
        if self.tile_px > MAX_TILE_PX:
            raise ValueError(
                f"tile_px = {self.tile_px} is more than the {MAX_TILE_PX} px of one request; make it smaller"
            )
        return self


class ServiceOptions(Table):
    """Which installation of the service is asked, how fast, and for how much."""

    deployment: str = "services"
    base_url: str | None = None
    token_url: str | None = None
    requests_per_minute: PositiveFinite | None = None
    pu_per_minute: PositiveFinite | None = None
    max_pu: PositiveFinite | None = None

    @field_validator("deployment")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in DEPLOYMENTS:
            raise ValueError(f"{name!r} is not known{closest(name, DEPLOYMENTS)}; choose {', '.join(DEPLOYMENTS)}")
        return name


class CubeSpec(Table):
    """What the user wants. Raises PlanError naming every wrong field; relative paths count from ``folder``."""

    aoi: Any = None
    """Path, GeoJSON mapping, ``__geo_interface__``, shapely geometry, or bbox (left, bottom, right, top)."""
    aoi_crs: str | None = None
    aoi_layer: str | None = None
    aoi_where: str | None = None
    crs: str | None = None
    """``EPSG:n`` (also taken: n, or a CRS object), or ``utm`` for the zone that holds the area's centre."""
    resolution: float | tuple[float, float] | None = None
    """CRS units; one number, or (x, y)."""
    origin: tuple[FiniteFloat, FiniteFloat] | None = None
    """(x, y) of one grid corner; (0, 0) where left out."""
    like: str | Path | None = None
    """A raster whose grid is taken exactly."""
    all_touched: bool = False
    buffer: FiniteFloat = 0.0
    """Widens the area, in units of the cube's CRS."""
    extent: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat] | None = None
    """(left, bottom, right, top) of the array; the area's bounds where left out."""
    time: Days | None = None
    layers: dict[str, Layer] = Field(min_length=1, max_length=1)
    store: StoreOptions = StoreOptions()
    service: ServiceOptions = ServiceOptions()
    _folder: Path | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path | None:
        """The job file's folder; None for a spec made in Python, whose paths count from the working directory."""
        return self._folder

    @property
    def layer(self) -> tuple[str, Layer]:
        """The one layer and its name."""
        return next(iter(self.layers.items()))

    @property
    def interval(self) -> TimeInterval | None:
        """The layer's time, half-open in UTC; None where the job gives none."""
        days = self.layer[1].time or self.time
        if days is None:
            return None
        first, last = (datetime.combine(day, time(), tzinfo=UTC) for day in days)
        return TimeInterval(start=first, end=last + timedelta(days=1))

    @field_validator("crs", mode="before")
    @classmethod
    def _as_text(cls, crs: object) -> object:
        code = crs.to_epsg() if hasattr(crs, "to_epsg") else crs  # CRS objects of pyproj, rasterio, odc-geo
        return f"EPSG:{code}" if isinstance(code, int) and not isinstance(code, bool) else crs

    @field_validator("crs")
    @classmethod
    def _is_one_grid(cls, crs: str | None) -> str | None:
        if crs is not None and crs.lower() in {"utm-zones", "utm_zones"}:
            raise ValueError(f"{crs!r} (a group per zone) is not built by this version; use 'utm' or 'EPSG:n'")
        return crs

    @field_validator("resolution", mode="plain")
    @classmethod
    def _is_size(cls, value: object) -> float | tuple[float, float] | None:
        sizes = tuple(value) if isinstance(value, list | tuple) else (value, value)
        numbers = [size for size in sizes if isinstance(size, int | float) and not isinstance(size, bool)]
        if value is None:
            return None
        if len(sizes) != 2 or len(numbers) != 2 or not all(0 < size < math.inf for size in numbers):  # noqa: PLR2004  # x, y
            raise ValueError(f"{value!r} is not a pixel size; give one number above 0, or [x, y], in CRS units")
        return numbers[0] if numbers[0] == numbers[1] else (numbers[0], numbers[1])

    @field_validator("extent")
    @classmethod
    def _is_box(cls, box: tuple[float, float, float, float] | None) -> tuple[float, float, float, float] | None:
        if box and not (box[0] < box[2] and box[1] < box[3]):
            raise ValueError(f"{list(box)} is not [left, bottom, right, top]")
        return box

    @check_model(mode="after")
    def _is_complete(self) -> Self:
        own_grid = [key for key in ("crs", "resolution", "origin", "extent") if getattr(self, key) is not None]
        if self.like is not None and own_grid:
            raise ValueError(f"like takes its grid from the raster; leave out {', '.join(own_grid)}")
        if self.like is None:
            missing = [key for key in ("aoi", "crs", "resolution") if getattr(self, key) is None]
            if missing:
                raise ValueError(f'{", ".join(missing)} missing; give them, or a raster\'s grid with like = "grid.tif"')
        _, layer = self.layer
        if self.interval is None and find_collection(layer.collection).has_time:
            raise ValueError(f'time missing for {layer.collection}; give time = ["2024-06-01", "2024-06-30"]')
        return self

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """The spec in a TOML job file. Reads that file only.

        Raises PlanError that lists every problem as ``file: table.key: what is wrong and what would be right``.
        """
        path = Path(path)
        try:
            tables = tomllib.loads(path.read_text("utf-8-sig"))
        except OSError as error:
            raise PlanError(f"{path}: the job file cannot be read ({error.strerror}); check the path") from error
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise PlanError(f"{path}: line {line} is not UTF-8; save the file as UTF-8") from error
        except tomllib.TOMLDecodeError as error:
            raise PlanError(f"{path}: this is not TOML: {error}; mend the job file there") from error
        fields = _flatten(tables, path.name)
        spec = complain(lambda: cls.model_validate(fields), model=cls, where=path.name, table="cube")
        spec._folder = path.parent  # noqa: SLF001  # its own instance
        return spec


def _flatten(tables: dict[str, Any], where: str) -> Mapping[str, Any]:
    known = {"cube", "layers", "store", "service"}
    problems = [f"{where}: {name}: {unknown_key(name, known)}" for name in tables if name not in known]
    problems += [
        f"{where}: {name}: must be a table, [{name}]"
        for name in known & set(tables)
        if not isinstance(tables[name], dict)
    ]
    cube = tables.get("cube")
    if cube is None:
        problems.append(f"{where}: cube: the table [cube] is missing; it holds aoi, crs, resolution and time")
    elif isinstance(cube, dict):
        inner = known & set(cube)
        problems += [f"{where}: cube.{name}: belongs in a table of its own, [{name}]" for name in sorted(inner)]
    if problems:
        raise PlanError("\n".join(problems))
    return {**tables["cube"], **{name: tables[name] for name in tables if name != "cube"}}


def _collection(info: ValidationInfo) -> Collection | None:
    name = info.data.get("collection")
    return find_collection(name) if name is not None else None


def _band(info: ValidationInfo, name: str) -> BandInfo | None:
    collection = _collection(info)
    return collection.band(name) if collection else None

"""What the user wants: area, grid, time, layers, storage and service; from Python or from a job file.

Refuses to know how any of it is planned; says of every wrong value where it stands and what would be right.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, FiniteFloat, PositiveInt, PrivateAttr, ValidationInfo, field_validator
from pydantic import model_validator as check_model

from shdask.errors import PlanError
from shdask.model import TimeInterval
from shdask.plan.complaints import Table, complain, unknown_key
from shdask.plan.delivery_spec import DeliveryOptions
from shdask.plan.layer_spec import MOSAIC, RESERVED, Layer
from shdask.plan.source_spec import Days, interval_of, needs_time
from shdask.request.collections import closest
from shdask.settings import DEPLOYMENTS

__all__ = ["CubeSpec", "DeliveryOptions", "Layer", "ServiceOptions", "StoreOptions"]

MAX_TILE_PX = 2500
"""Longest side of one Process request, in pixels (API reference of the service)."""


PositiveFinite = Annotated[FiniteFloat, Field(gt=0)]
NotNegative = Annotated[FiniteFloat, Field(ge=0)]
Prefer = Literal["auto", "pu", "time", "requests"]
UTM_ZONES = "utm-zones"
DELIVERY_CURE = 'give [delivery] s3_url = "s3://bucket/prefix", or take route = "auto"'
LAYER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


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
    requests_per_month: PositiveFinite | None = None
    pu_per_month: PositiveFinite | None = None
    bucket_s: PositiveFinite | None = None
    """Seconds of the rates that may pass at once after a rest; found out where left out."""
    max_pu: PositiveFinite | None = None
    confirm_above_pu: NotNegative = 100.0
    """The command asks before it buys for more; the default is a hundredth of the smallest published month's quota."""
    prefer: Prefer = "auto"
    """What to save where one costs the other: time first and then PU (auto), PU, time, or requests."""

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
    """``EPSG:n`` (also taken: n, or a CRS object), ``utm`` for the zone that holds the area's centre, or ``utm-zones``
    for a group per zone."""
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
    layers: dict[str, Layer] = Field(min_length=1)
    store: StoreOptions = StoreOptions()
    service: ServiceOptions = ServiceOptions()
    delivery: DeliveryOptions | None = Field(default=None, validate_default=True)
    """Where jobs of Async Process deliver to; without it there are none."""
    _folder: Path | None = PrivateAttr(default=None)

    def _repr_html_(self) -> str:
        from shdask.plan.spec_notebook import draw_spec  # reads the area, for people only

        return draw_spec(self)

    @property
    def folder(self) -> Path | None:
        """The job file's folder; None for a spec made in Python, whose paths count from the working directory."""
        return self._folder

    @property
    def layer(self) -> tuple[str, Layer]:
        """The first layer and its name."""
        return next(iter(self.layers.items()))

    @property
    def interval(self) -> TimeInterval | None:
        """The first layer's time, half-open in UTC; None where it has none."""
        return self.interval_of(self.layer[0])

    def interval_of(self, name: str) -> TimeInterval | None:
        """The time of the layer called ``name``, half-open in UTC; None where it has none, or the job gives none."""
        layer = self.layers[name]
        return None if layer.is_timeless else interval_of(layer.time or self.time)

    def with_scripts(self) -> Self:
        """The same spec with the texts of its scripts in place of their paths; reads those files.

        Raises PlanError with the place where one cannot be read.
        """
        layers = {}
        for name, layer in self.layers.items():
            try:
                layers[name] = layer.with_script(self.folder)
            except PlanError as error:
                raise PlanError(f"layers.{name}.{error}") from error
        return self.model_copy(update={"layers": layers})

    @field_validator("crs", mode="before")
    @classmethod
    def _as_text(cls, crs: object) -> object:
        code = crs.to_epsg() if hasattr(crs, "to_epsg") else crs  # CRS objects of pyproj, rasterio, odc-geo
        return f"EPSG:{code}" if isinstance(code, int) and not isinstance(code, bool) else crs

    @field_validator("crs")
    @classmethod
    def _is_spelt(cls, crs: str | None) -> str | None:
        is_zones = crs is not None and crs.lower().replace("_", "-") == UTM_ZONES
        return UTM_ZONES if is_zones else crs

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

    @field_validator("layers")
    @classmethod
    def _have_names(cls, layers: dict[str, Layer]) -> dict[str, Layer]:
        """Names of groups, also where a file system does not tell small letters from capitals."""
        lower = [name.lower() for name in layers]
        for name in layers:
            if not LAYER_NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be a group's name; use letters, digits, hyphens and underscores")
            if name in RESERVED:
                raise ValueError(f"{name!r} is a name the cube itself uses; call the layer otherwise")
            if lower.count(name.lower()) > 1:
                raise ValueError(f"{name!r} differs from another layer by capitals alone; call it otherwise")
        return layers

    @field_validator("delivery")
    @classmethod
    def _is_there(cls, delivery: DeliveryOptions | None, info: ValidationInfo) -> DeliveryOptions | None:
        layers: Mapping[str, Layer] = info.data.get("layers", {})
        asking = [name for name, layer in layers.items() if layer.route == "async"]
        if asking and delivery is None:
            raise ValueError(f'is missing, and layers.{asking[0]} has route = "async"; {DELIVERY_CURE}')
        return delivery

    @check_model(mode="after")
    def _is_complete(self) -> Self:
        own_grid = [key for key in ("crs", "resolution", "origin", "extent") if getattr(self, key) is not None]
        if self.like is not None and own_grid:
            raise ValueError(f"like takes its grid from the raster; leave out {', '.join(own_grid)}")
        if self.like is None:
            missing = [key for key in ("aoi", "crs", "resolution") if getattr(self, key) is None]
            if missing:
                raise ValueError(f'{", ".join(missing)} missing; give them, or a raster\'s grid with like = "grid.tif"')
        if self.crs == UTM_ZONES and self.extent is not None:
            raise ValueError(f"extent is in one CRS, and {UTM_ZONES} has many; leave it out, or take one CRS")
        if self.time is None:
            self._check_times()
        return self

    def _check_times(self) -> None:
        for layer in self.layers.values():
            for _, source, _ in layer.inputs():
                has_own = (source.time or layer.time) is not None
                if not has_own and (needs_time(source.collection) or layer.cadence != MOSAIC):
                    raise ValueError(f'time missing for {source.collection}; give time = ["2024-06-01", "2024-06-30"]')

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
    known = {"cube", "layers", "store", "service", "delivery"}
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

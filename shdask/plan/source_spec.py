"""What a job may say of one collection that a layer reads: which scenes of it, and how they are put together.

Refuses to know what is made of the pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, FiniteFloat, ValidationInfo, field_validator

from shdask.errors import PlanError
from shdask.model import TimeInterval
from shdask.plan.complaints import Table
from shdask.request.collections import Collection, find_collection
from shdask.request.evalscript import DATA_MASK
from shdask.request.options import Options, make_options

OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "orbitDirection": "orbit_direction",
        "demInstance": "dem_instance",
        "backCoeff": "preset",
        "orthorectify": "preset",
    }
)
"""The service's options and the fields of a job that say them, where they are called otherwise."""


def _check_days(days: tuple[date, date]) -> tuple[date, date]:
    if days[0] > days[1]:
        raise ValueError(f"the first day, {days[0]}, is after the last, {days[1]}; swap them")
    return days


Days = Annotated[tuple[date, date], AfterValidator(_check_days)]
"""First and last day, both included."""


class SourceTable(Table):
    """The fields that a layer of one collection and each source of a fusion have in common."""

    collection: str
    mosaicking_order: Literal["mostRecent", "leastRecent", "leastCC"] = "mostRecent"
    """Which scene is on top."""
    max_cloud_cover: FiniteFloat | None = None
    """Share of a scene, 0 to 1."""
    resampling: Literal["nearest", "bilinear", "bicubic"] = "nearest"
    """Of everything but classes, which are always nearest."""
    time: Days | None = None
    """Overrides the cube's."""
    preset: str | None = None
    """A collection's options by one name, such as Sentinel-1's ``gamma0-terrain``, which is its default."""
    orbit_direction: Literal["ascending", "descending"] | None = None
    polarization: str | None = None
    dem_instance: str | None = None
    """Of the DEM, or of the heights that Sentinel-1 is orthorectified with."""

    @field_validator("collection")
    @classmethod
    def _is_known(cls, name: str) -> str:
        find_collection(name)
        return name

    @field_validator("mosaicking_order")
    @classmethod
    def _has_order(cls, order: str, info: ValidationInfo) -> str:
        collection = collection_of(info)
        if order != "mostRecent" and collection and is_timeless(collection):
            raise ValueError(f"{collection.name} has no acquisitions to order; leave it out")
        if order == "leastCC" and collection and not collection.has_clouds:
            raise ValueError(f"{collection.name} has no cloud cover to order by; use mostRecent or leastRecent")
        return order

    @field_validator("max_cloud_cover")
    @classmethod
    def _is_share(cls, share: float | None, info: ValidationInfo) -> float | None:
        collection = collection_of(info)
        if share is None:
            return None
        check_share(share)
        if collection and not collection.has_clouds:
            raise ValueError(f"{collection.name} has no cloud cover to filter by; leave it out")
        return share

    @field_validator("time")
    @classmethod
    def _has_time(cls, days: tuple[date, date] | None, info: ValidationInfo) -> tuple[date, date] | None:
        collection = collection_of(info)
        if days is not None and collection and is_timeless(collection):
            raise ValueError(f"{collection.name} has no time; leave it out")
        return days

    @field_validator("preset", "orbit_direction", "polarization", "dem_instance")
    @classmethod
    def _is_option(cls, value: str | None, info: ValidationInfo) -> str | None:
        collection = collection_of(info)
        if value is None or collection is None or info.field_name is None:
            return value
        if info.field_name == "preset":
            make_options(collection, preset=value)
            return value
        option, sent, room = _option(info.field_name, value, collection)
        if option not in {**collection.filter_options, **collection.processing_options}:
            raise ValueError(f"{collection.name} has no {info.field_name}; leave it out")
        make_options(
            collection,
            data_filter={option: sent} if room == "data_filter" else None,
            processing={option: sent} if room == "processing" else None,
        )
        return value

    @property
    def is_timeless(self) -> bool:
        """Whether there are no acquisitions, and so no time. Pure."""
        return is_timeless(find_collection(self.collection))

    def options(self, bands: tuple[str, ...]) -> Options:
        """What requests for ``bands`` say beyond time, clouds, order and resampling. Pure.

        Raises PlanError for options that do not go together, or with a band.
        """
        collection = find_collection(self.collection)
        said: dict[str, dict[str, Any]] = {"data_filter": {}, "processing": {}}
        for name in ("orbit_direction", "polarization", "dem_instance"):
            value = getattr(self, name)
            if value is not None:
                option, sent, room = _option(name, value, collection)
                said[room][option] = sent
        try:
            return make_options(
                collection,
                bands=[band for band in bands if band != DATA_MASK],
                preset=self.preset,
                data_filter=said["data_filter"],
                processing=said["processing"],
            )
        except PlanError as error:  # its cure is in the service's words
            text = str(error)
            for option, field in OPTIONS.items():
                text = text.removesuffix(f"set {option}") + f"set {field}" if text.endswith(f"set {option}") else text
            raise PlanError(text) from error


class FusedSource(SourceTable):
    """One of the collections that a script reads together, by the id that it knows it by."""

    bands: tuple[str, ...] = Field(min_length=1)
    """What the script's ``setup()`` reads of it."""

    @field_validator("bands")
    @classmethod
    def _can_be_read(cls, bands: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return check_inputs(bands, collection_of(info))


def collection_of(info: ValidationInfo) -> Collection | None:
    """The table's collection; None where it is wrong itself."""
    name = info.data.get("collection")
    return find_collection(name) if name is not None else None


def is_timeless(collection: Collection) -> bool:
    """Whether a collection has no acquisitions. Pure."""
    return collection.catalog_id is None


def needs_time(collection: str) -> bool:
    """Whether a job must say of when a collection is asked. Pure."""
    return find_collection(collection).has_time


def check_share(share: float) -> None:
    """Raise ValueError unless ``share`` is one, with the cure where it is a percentage. Pure."""
    if share > 1:
        cure = f": write {share / 100:g}" if share <= 100 else ""  # noqa: PLR2004  # per cent
        raise ValueError(f"{share:g} is more than the whole scene; it is a share from 0 to 1{cure}")
    if share < 0:
        raise ValueError(f"{share:g} is below 0; it is a share from 0 to 1")


def check_inputs(bands: tuple[str, ...], collection: Collection | None) -> tuple[str, ...]:
    """``bands``, as a script may read them. Raises ValueError, or PlanError for one that is not known. Pure."""
    twice = sorted({band for band in bands if bands.count(band) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} is named more than once; name each band once")
    for band in bands:
        if collection and band != DATA_MASK:
            collection.band(band)
    return bands


def interval_of(days: tuple[date, date] | None) -> TimeInterval | None:
    """Whole days as a half-open interval in UTC. Pure."""
    if days is None:
        return None
    first, last = (datetime.combine(day, time(), tzinfo=UTC) for day in days)
    return TimeInterval(start=first, end=last + timedelta(days=1))


def _option(name: str, value: str, collection: Collection) -> tuple[str, str, Literal["data_filter", "processing"]]:
    """The service's name of an option and of its value, and which part of a request says it."""
    option = next((option for option, field in OPTIONS.items() if field == name), name)
    return option, value.upper(), "data_filter" if option in collection.filter_options else "processing"

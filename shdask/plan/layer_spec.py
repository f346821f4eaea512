"""What a job may say of one layer: its bands or its script, how they are asked for and stored, and at which times.

Refuses to know areas, and how any of it is planned.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, FiniteFloat, ValidationInfo, field_validator
from pydantic import model_validator as check_model

from shdask.errors import PlanError
from shdask.plan.cadence import ACQUISITION, CALENDAR, check_cadence
from shdask.plan.complaints import EXAMPLES, Table
from shdask.plan.composite_spec import Composite, by_method, check_composite
from shdask.plan.encode_spec import EVERY_BAND, Encode, by_band
from shdask.plan.source_spec import FusedSource, SourceTable, check_inputs, check_share, collection_of, is_timeless
from shdask.request.collections import BandInfo, Collection, find_collection
from shdask.request.evalscript import DATA_MASK

LayerRoute = Literal["auto", "process", "async"]
MOSAIC = "mosaic"
RESERVED = frozenset(
    {
        *("data_mask", DATA_MASK, "tile_state", "spatial_ref", "x", "y", "time"),
        *("scene_ids", "platform", "relative_orbit", "orbit_direction", "cloud_cover", "processing_baseline"),
        *("revision", "scout", "overviews"),
    }
)
"""Names of the cube's own arrays and groups."""
SIMPLE = "SIMPLE"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
USERDATA = "userdata"
NO_CHOICE = (
    "leastCC chooses between passes, and an acquisition is one pass; leave mosaicking_order out, or take a longer "
    "cadence, such as day or P10D"
)
CLASSIFIED = "sentinel-2-l2a"
"""The collection with a scene classification, from which clear ground is told."""


class Output(Table):
    """What a script returns by one id; the first output of a layer returns the data mask behind its bands as well."""

    bands: tuple[str, ...] = Field(min_length=1)
    """The stored arrays, in the script's order."""
    dtype: Literal["uint8", "int8", "uint16", "int16", "float32"] = "float32"

    @field_validator("bands")
    @classmethod
    def _can_be_stored(cls, bands: tuple[str, ...]) -> tuple[str, ...]:
        return _check_names(bands, owner="the script")


class Clear(Table):
    """Buys only what a coarse look at the scene classification has shown to be clear."""

    min: FiniteFloat
    """Least share of the area in a tile that is clear, 0 to 1."""
    scout_m: FiniteFloat = Field(default=200.0, gt=0, le=1500)
    """Pixel size of the look, in metres; the service renders Sentinel-2 no coarser than 1500."""

    @field_validator("min")
    @classmethod
    def _is_share(cls, share: float) -> float:
        check_share(share)
        if share == 0:
            raise ValueError("0 would buy everything; leave clear out, or give a share such as 0.2")
        return share


class Layer(SourceTable):
    """One collection on the cube's grid, or several that a script makes one picture of: an array for each band."""

    evalscript: str | None = None
    """In place of bands: a script's text, or its path, relative to the job file."""
    bands: tuple[str, ...] = Field(default=None, validate_default=True)
    """The stored arrays; empty where a script names them."""
    sources: dict[str, FusedSource] = Field(default={}, validate_default=True)
    """What a script fuses, by its ids; the first, or ``collection``, has the acquisitions of the time axis."""
    input_bands: tuple[str, ...] = Field(default=(), validate_default=True)
    """What a script's ``setup()`` reads of the one collection: the price goes by them."""
    mosaicking: Literal["SIMPLE", "ORBIT", "TILE"] = "SIMPLE"
    """What a script's ``setup()`` says."""
    outputs: dict[str, Output] = Field(default={}, validate_default=True)
    """What a script returns, by id."""
    units: Literal["DN", "REFLECTANCE"] = "DN"
    """Of bands that have both; others keep their only unit."""
    cadence: str = MOSAIC
    """``mosaic`` has no time axis; else ``acquisition``, ``day``, ``dekad``, ``month`` or an ISO period."""
    route: LayerRoute = "auto"
    """By which API of the service it is bought; ``async`` needs the job's ``[delivery]``."""
    encode: dict[str, Encode] = Field(default={})
    """By band; under ``*`` of every band."""
    clear: Clear | None = None
    composite: Composite | None = None
    """One picture of all dates of a step, made by the service; a word is its method."""

    @check_model(mode="before")
    @classmethod
    def _names_its_collection(cls, fields: Any) -> Any:
        """The first source's, where a script reads several."""
        if not isinstance(fields, Mapping) or "collection" in fields or not isinstance(fields.get("sources"), Mapping):
            return fields
        for first in fields["sources"].values():
            name = first.get("collection") if isinstance(first, Mapping) else getattr(first, "collection", None)
            return fields if name is None else {**fields, "collection": name}
        return fields

    @field_validator("bands", mode="before")
    @classmethod
    def _is_given(cls, bands: Any, info: ValidationInfo) -> Any:
        has_script = info.data.get("evalscript") is not None
        if has_script and bands:
            raise ValueError("bands and evalscript exclude each other; what a script returns is named in its outputs")
        if not has_script and not bands:
            raise ValueError(f"is {'missing' if bands is None else 'empty'}; write bands = {EXAMPLES['bands']}")
        return bands or ()

    @field_validator("bands")
    @classmethod
    def _can_be_bought(cls, bands: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        collection = collection_of(info)
        for band in _check_names(bands, owner="the collection" if collection and collection.bands is None else ""):
            if collection:
                collection.band(band)
        return bands

    @field_validator("sources")
    @classmethod
    def _are_fused(cls, sources: dict[str, FusedSource], info: ValidationInfo) -> dict[str, FusedSource]:
        if sources and info.data.get("evalscript") is None:
            raise ValueError("several collections become one picture by an evalscript; give one, or a layer for each")
        collection = info.data.get("collection")
        if sources and collection and collection not in {source.collection for source in sources.values()}:
            raise ValueError(f"{collection} is not among them; leave collection out, or give the one that leads")
        for name in sources:
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be an id in a script; use letters, digits and underscores")
        return sources

    @field_validator("input_bands")
    @classmethod
    def _can_be_read(cls, bands: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        has_script, has_sources = info.data.get("evalscript") is not None, bool(info.data.get("sources"))
        if bands and (not has_script or has_sources):
            cure = "name each source's bands in it" if has_sources else "name the bands to store in bands"
            raise ValueError(f"what one collection's script reads; {cure}")
        if has_script and not has_sources and not bands and "sources" in info.data:
            raise ValueError('is missing; write what the script reads, as in input_bands = ["B04", "B08"]')
        return check_inputs(bands, collection_of(info))

    @field_validator("mosaicking")
    @classmethod
    def _is_the_scripts(cls, mosaicking: str, info: ValidationInfo) -> str:
        if mosaicking != SIMPLE and info.data.get("evalscript") is None:
            raise ValueError("is a script's own; leave it out (several dates come with cadence)")
        collection = collection_of(info)
        if collection and mosaicking == "ORBIT" and not collection.orbit_dates:
            raise ValueError(f"{collection.name} has no days to tell apart; use SIMPLE")
        return mosaicking

    @field_validator("outputs")
    @classmethod
    def _are_the_scripts(cls, outputs: dict[str, Output], info: ValidationInfo) -> dict[str, Output]:
        has_script = info.data.get("evalscript") is not None
        if has_script and not outputs:
            raise ValueError('is missing; write what the script returns, as in outputs.default = {bands = ["ndvi"]}')
        if outputs and not has_script:
            raise ValueError("are what an evalscript returns; leave them out, or give the script")
        for name in outputs:
            if not NAME.fullmatch(name) or name == USERDATA:
                raise ValueError(f"{name!r} cannot be the id of a picture; use letters, digits and underscores")
        names = [band for output in outputs.values() for band in output.bands]
        _check_names(tuple(names), owner="the script")
        return outputs

    @field_validator("units")
    @classmethod
    def _can_be_had(cls, units: str, info: ValidationInfo) -> str:
        if units == "DN":
            return units
        if info.data.get("evalscript") is not None:
            raise ValueError("a script says its own units; leave it out")
        bands = _bands(info)
        if bands and not any(units in band.units for band in bands):
            raise ValueError(f"none of these bands can be had as {units}; use DN")
        return units

    @field_validator("cadence")
    @classmethod
    def _is_cadence(cls, cadence: str, info: ValidationInfo) -> str:
        if cadence == MOSAIC:
            return cadence
        _check_cadence(cadence)
        collection = collection_of(info)
        if collection and is_timeless(collection):
            raise ValueError(f"{collection.name} has no acquisitions, and so no time axis; use {MOSAIC}")
        if cadence == ACQUISITION and info.data.get("mosaicking_order") == "leastCC":
            raise ValueError(NO_CHOICE)
        return cadence

    @field_validator("encode", mode="before")
    @classmethod
    def _by_band(cls, encode: Any) -> Any:
        return by_band(encode)

    @field_validator("encode")
    @classmethod
    def _holds_values(cls, encode: dict[str, Encode], info: ValidationInfo) -> dict[str, Encode]:
        if encode and info.data.get("evalscript") is not None:
            raise ValueError("a script encodes its own values; leave it out")
        bands = info.data.get("bands")
        for name in encode:
            if bands and name != EVERY_BAND and name not in bands:
                raise ValueError(f"{name} is not among the bands; name it there too, or leave it out here")
        for band in _bands(info):
            table = encode.get(band.name, encode.get(EVERY_BAND))
            if table:
                table.check(band, unit_of(band, info.data.get("units", "DN")))
        return encode

    @field_validator("clear")
    @classmethod
    def _can_be_looked_at(cls, clear: Clear | None, info: ValidationInfo) -> Clear | None:
        collection = info.data.get("collection")
        if clear and collection and collection != CLASSIFIED:
            raise ValueError(f"{collection} has no scene classification to tell clear ground by; {CLASSIFIED} has")
        if clear and info.data.get("cadence") == MOSAIC:
            raise ValueError("chooses between dates, and a mosaic has none; give a cadence, such as acquisition")
        return clear

    @field_validator("composite", mode="before")
    @classmethod
    def _by_method(cls, composite: Any) -> Any:
        return by_method(composite)

    @field_validator("composite")
    @classmethod
    def _can_be_made(cls, composite: Composite | None, info: ValidationInfo) -> Composite | None:
        collection = collection_of(info)
        if composite and collection:
            check_composite(composite, collection, info.data)
        return composite

    @check_model(mode="after")
    def _goes_together(self) -> Self:
        for _, source, bands in self.inputs():
            source.options(bands)
        own = SourceTable.model_fields
        twofold = [name for name in own.keys() - {"collection", "time"} if getattr(self, name) != own[name].default]
        if self.sources and twofold:
            raise ValueError(f"{', '.join(sorted(twofold))}: each source has its own; say it there")
        for name, source in self.sources.items():
            if self.cadence == ACQUISITION and source.mosaicking_order == "leastCC":
                raise ValueError(f"sources.{name}.mosaicking_order: {NO_CHOICE}")
            is_led = source.collection == self.collection or source.is_timeless or source.time is not None
            if self.cadence == ACQUISITION and not is_led:
                raise ValueError(
                    f"sources.{name}: a pass of {self.collection} lasts seconds, in which {source.collection} saw "
                    f"nothing; give the source a time of its own, or take a longer cadence, such as day or P10D"
                )
        return self

    def inputs(self) -> Iterator[tuple[str | None, SourceTable, tuple[str, ...]]]:
        """What requests read: (id where there are several, which scenes, bands). Pure."""
        if self.sources:
            yield from ((name, source, source.bands) for name, source in self.sources.items())
        else:
            yield None, self, self.input_bands or tuple(dict.fromkeys((*self.bands, *self._also_read())))

    def _also_read(self) -> tuple[str, ...]:
        return self.composite.also_read(find_collection(self.collection)) if self.composite else ()

    def encode_of(self, band: str) -> Encode | None:
        """How ``band`` is sent, where the job says so. Pure."""
        return self.encode.get(band, self.encode.get(EVERY_BAND))

    def with_script(self, folder: Path | None) -> Layer:
        """The same layer with its script's text, read from the path that counts from ``folder``.

        Raises PlanError where it cannot be read.
        """
        if self.evalscript is None or is_script(self.evalscript):
            return self
        path = (folder or Path()) / self.evalscript
        try:
            text = path.read_text("utf-8-sig")
        except OSError as error:
            raise PlanError(f"evalscript: {path} cannot be read ({error.strerror}); check the path") from error
        except UnicodeDecodeError as error:
            raise PlanError(f"evalscript: {path} is not UTF-8; save it as UTF-8") from error
        except ValueError as error:
            raise PlanError(f"evalscript: {self.evalscript!r} is no path ({error}); check it") from error
        if not is_script(text):
            raise PlanError(f"evalscript: {path} does not begin with //VERSION=3, as a script of the service does")
        return self.model_copy(update={"evalscript": text})


def is_script(evalscript: str) -> bool:
    """Whether it is a script's text rather than its path. Pure."""
    return "\n" in evalscript or evalscript.lstrip().startswith("//VERSION")


def unit_of(band: BandInfo, units: str) -> str:
    """The unit that values of ``band`` are meant in, in a layer of ``units``: others than these two it keeps. Pure."""
    return units if {"DN", "REFLECTANCE"} <= set(band.units) else band.units[0]


def _check_names(bands: tuple[str, ...], *, owner: str) -> tuple[str, ...]:
    """Raise ValueError for names that no array can have; ``owner`` is who else may choose them, if anyone."""
    twice = sorted({band for band in bands if bands.count(band) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} is named more than once; name each band once")
    for reserved in sorted(RESERVED & set(bands)):
        raise ValueError(f"{reserved!r} is a name the cube itself uses; leave it out (data_mask is always stored)")
    for name in bands:
        if owner and not NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be a band's name; use letters, digits and underscores in {owner}")
    return bands


def _check_cadence(cadence: str) -> None:
    try:
        check_cadence(cadence)
    except PlanError:
        if re.fullmatch(r"P(0+[YMWD])+", cadence):
            raise ValueError(f"{cadence!r} is no time at all; write a period such as P10D") from None
        known = ", ".join((MOSAIC, ACQUISITION, *CALENDAR))
        raise ValueError(
            f"{cadence!r} is not understood; write {known}, or an ISO period of whole days such as P10D or P1M"
        ) from None


def _bands(info: ValidationInfo) -> list[BandInfo]:
    collection: Collection | None = collection_of(info)
    return [collection.band(name) for name in info.data.get("bands", ())] if collection else []

"""A Process request from its body to a render job: collections, bands and price as the service has them.

Refuses to render: it only says what is to be rendered, and what it costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import shapely

from shdask.emulator.config import EmulatorConfig
from shdask.emulator.evalscript.setup import ScriptInput, ScriptSetup
from shdask.emulator.lattice import Lattice
from shdask.emulator.process.area import PROCESS_SIZES, SizeRule, check_resolution, read_area
from shdask.emulator.process.body import ProcessBody
from shdask.emulator.process.choices import Choices
from shdask.emulator.process.options import DataItem, check_use, kind_of, read_choices
from shdask.emulator.process.price import (
    ELSEWHERE,
    FLOAT32_FACTOR,
    LOCAL,
    Priced,
    PricedInput,
    processing_factor,
)
from shdask.emulator.process.reply import Reply
from shdask.emulator.refusal import Refusal, bad_payload, forbidden
from shdask.emulator.source import DATA_MASK, Source
from shdask.emulator.times import BEGINNING


@dataclass(frozen=True, slots=True, kw_only=True)
class DataInput:
    """One element of ``input.data``."""

    id: str | None
    collection: str
    start: datetime
    end: datetime
    mosaicking_order: str
    max_cloud_cover: float
    """Percent, inclusive."""
    choices: Choices
    weight: int = LOCAL
    """What it counts in data fusion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderJob:
    """All a renderer needs to make one answer; small and picklable."""

    script: str
    inputs: tuple[DataInput, ...]
    lattice: Lattice
    geometry_wkb: bytes | None
    """In the lattice's CRS; outside it there is no data."""
    reply: Reply


def make_job(
    body: ProcessBody,
    sources: Mapping[str, Source],
    reply: Reply,
    now: datetime,
    config: EmulatorConfig,
    *,
    sizes: SizeRule = PROCESS_SIZES,
) -> RenderJob:
    """What to render for a request, whose answer has the form ``reply``.

    Pure; raises Refusal where the service would refuse.
    """
    found = [find_source(sources, item.type, config) for item in body.input.data]
    lattice, geometry = read_area(body, sizes)
    for source in found:
        check_resolution(lattice, source)
    return RenderJob(
        script=body.evalscript or "",
        inputs=tuple(
            _read_input(item, f"input->data->{number}", now, config) for number, item in enumerate(body.input.data)
        ),
        lattice=lattice,
        geometry_wkb=None if geometry is None else shapely.to_wkb(geometry),
        reply=reply,
    )


def find_source(sources: Mapping[str, Source], collection: str, config: EmulatorConfig) -> Source:
    """The collection of this id; raises Refusal for one that is not allowed, or not served. Pure."""
    if collection in config.forbidden_collections:
        raise forbidden()
    if collection in sources:
        return sources[collection]
    if config.unknown_collection == "forbidden":
        raise forbidden()
    if config.unknown_collection == "not_found":
        raise Refusal(404, "COMMON_NOT_FOUND", f"Collection {collection} not found.")
    raise bad_payload(f"Collection {collection} is not known; served are {', '.join(sources)}.", "input->data->type")


def pair_inputs(job: RenderJob, setup: ScriptSetup) -> list[tuple[DataInput, ScriptInput]]:
    """Which data each input of setup() reads: by datasource, or else by order.

    Pure; raises Refusal (400) where they do not match.
    """
    if len(setup.inputs) != len(job.inputs):
        message = f"The request has {len(job.inputs)} inputs, function setup() has {len(setup.inputs)}."
        raise bad_payload(message, "input->data")
    pairs = _pair(job, setup)
    for data, item in pairs:
        check_use(data.collection, data.choices, item)
    return pairs


def _pair(job: RenderJob, setup: ScriptSetup) -> list[tuple[DataInput, ScriptInput]]:
    if len(job.inputs) == 1 or any(item.datasource is None for item in setup.inputs):
        return list(zip(job.inputs, setup.inputs, strict=True))
    known = {data.id: data for data in job.inputs}
    for item in setup.inputs:
        if item.datasource not in known:
            message = f"Datasource {item.datasource} of function setup() is not among the ids of the request."
            raise bad_payload(message, "input->data->id")
    return [(known[item.datasource], item) for item in setup.inputs]


def check_bands(item: ScriptInput, source: Source) -> tuple[float, ...]:
    """The divisor of each input band, from its unit. Pure; raises Refusal (400) for unknown bands and units."""
    divisors = []
    for band in item.bands:
        if band.name == DATA_MASK:
            divisors.append(1.0)
            continue
        if band.name not in source.bands:
            raise Refusal(400, "RENDERER_EXCEPTION", f"{source.name} has no band {band.name}")
        units = source.bands[band.name].units
        unit = band.unit or next(iter(units))
        if unit not in units:
            raise Refusal(400, "RENDERER_EXCEPTION", f"{source.name} band {band.name} has no unit {unit}")
        divisors.append(units[unit])
    return tuple(divisors)


def itemize(job: RenderJob, setup: ScriptSetup, samples: Sequence[int]) -> Priced:
    """What a job costs by; raises Refusal (400) where setup() lacks an output. Pure.

    ``samples`` counts the samples of a pixel, per input of setup(). How outputs of several types are priced is not
    documented; here the dearest format counts for all.
    """
    images = [(setup.output(image.identifier), image.format) for image in job.reply.images]
    float32 = any(output.sample_type == "FLOAT32" and kind == "image/tiff" for output, kind in images)
    return Priced(
        width_px=job.lattice.width,
        height_px=job.lattice.height,
        inputs=tuple(
            PricedInput(
                bands=item.priced_bands,
                samples=count,
                factor=processing_factor(data.choices),
                weight=data.weight,
            )
            for (data, item), count in zip(pair_inputs(job, setup), samples, strict=True)
        ),
        format_factor=FLOAT32_FACTOR if float32 else 1.0,
    )


def _read_input(item: DataItem, place: str, now: datetime, config: EmulatorConfig) -> DataInput:
    choices = read_choices(item, place)
    if kind_of(item.type) == "dem" and (choices.dem_instance or config.dem_default) in config.forbidden_dems:
        raise forbidden()
    when = item.data_filter.time_range
    return DataInput(
        id=item.id,
        collection=item.type,
        start=(when and when.start) or BEGINNING,
        end=(when and when.end) or now.replace(hour=23, minute=59, second=59, microsecond=0),
        mosaicking_order=item.data_filter.mosaicking_order,
        max_cloud_cover=item.data_filter.max_cloud_coverage,
        choices=choices,
        weight=ELSEWHERE if item.type in config.elsewhere else LOCAL,
    )

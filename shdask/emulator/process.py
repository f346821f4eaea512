"""A Process request from its body to a render job: sizes, areas and limits as the service has them.

Refuses to render: it only says what is to be rendered, and what it costs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from shdask.emulator.body import DataItem, Output, ProcessBody
from shdask.emulator.lattice import Lattice, make_lattice
from shdask.emulator.quota import Priced, price_pu
from shdask.emulator.refusal import Refusal, bad_payload
from shdask.emulator.reply import Reply
from shdask.emulator.setup import ScriptInput, ScriptSetup
from shdask.emulator.source import DATA_MASK, Sampling, Source

MAX_PX = 2500
DEFAULT_PX = 256
METRES_PER_DEGREE = 111319.49
BEGINNING = datetime(2015, 6, 27, tzinfo=UTC)
"""Nothing was acquired earlier; stands for a time range that is left out."""


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
    sampling: Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderJob:
    """All a renderer needs to make one answer; small and picklable."""

    script: str
    inputs: tuple[DataInput, ...]
    lattice: Lattice
    geometry_wkb: bytes | None
    """In the lattice's CRS; outside it there is no data."""
    reply: Reply


def make_job(body: ProcessBody, sources: Mapping[str, Source], reply: Reply, now: datetime) -> RenderJob:
    """What to render for a request, whose answer has the form ``reply``.

    Pure; raises Refusal (400) where the service would refuse.
    """
    found = [find_source(sources, item) for item in body.input.data]
    lattice, geometry = _read_area(body)
    for source in found:
        _check_resolution(lattice, source)
    return RenderJob(
        script=body.evalscript or "",
        inputs=tuple(_read_input(item, now) for item in body.input.data),
        lattice=lattice,
        geometry_wkb=None if geometry is None else shapely.to_wkb(geometry),
        reply=reply,
    )


def find_source(sources: Mapping[str, Source], item: DataItem) -> Source:
    """The collection a request names; raises Refusal (400) for one that is not served. Pure."""
    if item.type not in sources:
        raise bad_payload(f"Collection {item.type} is not known; served are {', '.join(sources)}.", "input->data->type")
    return sources[item.type]


def pair_inputs(job: RenderJob, setup: ScriptSetup) -> list[tuple[DataInput, ScriptInput]]:
    """Which data each input of setup() reads: by datasource, or else by order.

    Pure; raises Refusal (400) where they do not match.
    """
    if len(setup.inputs) != len(job.inputs):
        message = f"The request has {len(job.inputs)} inputs, function setup() has {len(setup.inputs)}."
        raise bad_payload(message, "input->data")
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


def price_job(job: RenderJob, setup: ScriptSetup, samples: Sequence[int]) -> float:
    """Processing units of a job; raises Refusal (400) where setup() lacks an output. Pure.

    ``samples`` counts the samples of a pixel, per input of setup(). How outputs of several types are priced is not
    documented; here the dearest format counts for all.
    """
    images = [(setup.output(image.identifier), image.format) for image in job.reply.images]
    return price_pu(
        Priced(
            width_px=job.lattice.width,
            height_px=job.lattice.height,
            inputs=tuple((item.priced_bands, count) for item, count in zip(setup.inputs, samples, strict=True)),
            float32=any(output.sample_type == "FLOAT32" and kind == "image/tiff" for output, kind in images),
        )
    )


def _read_input(item: DataItem, now: datetime) -> DataInput:
    when = item.data_filter.time_range
    return DataInput(
        id=item.id,
        collection=item.type,
        start=when.start if when else BEGINNING,
        end=when.end if when else now.replace(hour=23, minute=59, second=59, microsecond=0),
        mosaicking_order=item.data_filter.mosaicking_order,
        max_cloud_cover=item.data_filter.max_cloud_coverage,
        sampling=Sampling(upsampling=item.processing.upsampling, downsampling=item.processing.downsampling),
    )


def _read_area(body: ProcessBody) -> tuple[Lattice, BaseGeometry | None]:
    bounds = body.input.bounds
    geometry = None if bounds.geometry is None else _read_geometry(bounds.geometry)
    if bounds.bbox is not None:
        (xa, ya, xb, yb) = bounds.bbox
        bbox = (min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb))
    elif geometry is not None:
        bbox = geometry.bounds
    else:
        raise bad_payload("Either bbox or geometry must be set.", "input->bounds")
    if not all(map(math.isfinite, bbox)) or bbox[0] == bbox[2] or bbox[1] == bbox[3]:
        raise bad_payload("The bounds have no area.", "input->bounds")
    width, height = _read_size(body.output, bbox)
    return make_lattice(bounds.properties.crs, bbox, width, height), geometry


def _read_geometry(geojson: dict[str, Any]) -> BaseGeometry:
    kind = geojson.get("type")
    if kind not in {"Polygon", "MultiPolygon"}:
        raise bad_payload(f"A geometry must be a Polygon or MultiPolygon, not {kind}.", "input->bounds->geometry")
    coordinates = geojson.get("coordinates")
    polygons = [coordinates] if kind == "Polygon" else coordinates
    try:
        closed = all(ring[0] == ring[-1] for polygon in list(polygons or ()) for ring in polygon)
        geometry = shape(geojson)
    except (TypeError, ValueError, IndexError, KeyError, shapely.errors.GEOSException):
        raise bad_payload("The geometry cannot be read.", "input->bounds->geometry") from None
    if not closed or geometry.is_empty:
        raise bad_payload("The rings of a geometry must be closed.", "input->bounds->geometry")
    return geometry


def _read_size(output: Output, bbox: tuple[float, float, float, float]) -> tuple[int, int]:
    by_size = output.width is not None or output.height is not None
    by_resolution = output.resx is not None or output.resy is not None
    if by_size and by_resolution:
        raise bad_payload("Only width and height or resx and resy can be set at the same time.", "output")
    if not by_resolution:
        size = (output.width or DEFAULT_PX, output.height or DEFAULT_PX)
        for name, value in zip(("width", "height"), size, strict=True):
            if value > MAX_PX:
                raise bad_payload(f"`{name} = {value}` is larger than allowed {MAX_PX}.\n", f"output->{name}")
        return size
    if output.resx is None or output.resy is None:
        raise bad_payload("Both resx and resy must be set.", "output")
    # how the service rounds is not documented; half up is assumed
    width = max(1, math.floor((bbox[2] - bbox[0]) / output.resx + 0.5))
    height = max(1, math.floor((bbox[3] - bbox[1]) / output.resy + 0.5))
    for name, value, origin in (("width", width, "resx"), ("height", height, "resy")):
        if value > MAX_PX:
            message = f"`{name} = {value}`, calculated from {origin}, is larger than allowed {MAX_PX}.\n"
            raise bad_payload(message, f"output->{origin}")
    return width, height


def _check_resolution(lattice: Lattice, source: Source) -> None:
    scale_x = scale_y = 1.0
    if lattice.crs == "EPSG:4326":
        middle = (lattice.bounds()[1] + lattice.bounds()[3]) / 2
        scale_x, scale_y = METRES_PER_DEGREE * math.cos(math.radians(middle)), METRES_PER_DEGREE
    metres = max(lattice.res_x * scale_x, lattice.res_y * scale_y)
    limit = source.max_metres_per_px
    if limit is not None and metres > limit:
        message = (
            f"Your request of {metres:.2f} meters per pixel exceeds the limit {limit:.2f} meters per pixel of the "
            f"collection {source.name}. Please revise the resolution (or corresponding width/height) to make sure it "
            "is in supported range."
        )
        raise Refusal(400, "COMMON_EXCEPTION", message)

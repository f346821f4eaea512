"""LayerPlan: what every request of a layer asks for, in parts that one request each can bring.

Refuses to know areas, tiles and times of acquisition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from shdask.errors import PlanError
from shdask.model import Band, TimeInterval
from shdask.plan.cadence import ACQUISITION, find_spans
from shdask.plan.composite import compose
from shdask.plan.cost import price_pixels
from shdask.plan.layer_spec import MOSAIC, is_script, unit_of
from shdask.plan.part import LayerInput, Output, Part, Resampling, interval_json
from shdask.plan.source_spec import interval_of
from shdask.request.body import data_json
from shdask.request.collections import BandInfo, Encoding, find_collection
from shdask.request.composite import make_composite_script
from shdask.request.declared import NamedOutput
from shdask.request.evalscript import DATA_MASK, SAMPLE_DTYPES, RequestedBand, make_evalscript
from shdask.settings import PUBLISHED_PRICES, Prices

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from numpy.typing import NDArray

    from shdask.plan.encode_spec import Encode
    from shdask.plan.layer_spec import Layer
    from shdask.plan.source_spec import SourceTable

    Floats = NDArray[np.float64]

DAYS_PER_SAMPLE = 2.5
"""How often Sentinel-2 passes where its orbits overlap: an estimate for scripts that read every scene of a time."""
MASK_NBYTES = 1
"""``data_mask`` is stored as uint8."""
UNITS: Mapping[str, str] = MappingProxyType(
    {
        "REFLECTANCE": "1",
        "LINEAR_POWER": "1",
        "FRACTION": "1",
        "PERCENT": "percent",
        "DEGREES": "degree",
        "METERS": "m",
        "KILOMETERS": "km",
        "KELVIN": "K",
        "BRIGHTNESS_TEMPERATURE": "K",
        "SURFACE_TEMPERATURE": "K",
        "RADIANCE": "W m-2 sr-1 um-1",
    }
)
"""The service's units in those of UDUNITS, as CF has them. A digital number has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlan:
    """What every request of a layer asks for."""

    name: str
    collection: str
    """The service's name of the collection whose acquisitions make the time axis."""
    bands: tuple[Band, ...]
    """What is stored; ``Band.scale`` and ``Band.offset`` turn what is sent into it."""
    parts: tuple[Part, ...]
    """Each band is in one of them; a pixel is valid where it is in all."""
    inputs: tuple[LayerInput, ...]
    """What every part reads; several only for a script that fuses them."""
    interval: TimeInterval | None
    """All of the layer's time."""
    cadence: str
    """``mosaic`` for one picture of the interval without a time axis."""
    mosaicking: str = "SIMPLE"
    """What a user's script declares, or a composite's."""
    prices: Prices = PUBLISHED_PRICES
    """The deployment's; no part of the layer's identity."""

    @property
    def leading(self) -> LayerInput:
        """The input whose acquisitions make the time axis."""
        return next(each for each in self.inputs if each.collection == self.collection)

    @property
    def can_share_requests(self) -> bool:
        """Whether one request can bring several of its dates, each bit-equal to a request of its own."""
        is_written_here = not any(part.script for part in self.parts)
        return self.cadence in {ACQUISITION, "day"} and is_written_here and find_collection(self.collection).orbit_dates

    @property
    def is_composite(self) -> bool:
        """Whether each of its pictures is made by the service of all dates of its step."""
        return any(part.composite is not None for part in self.parts)

    def price(self, shape: tuple[int, int]) -> float:
        """Processing units for (rows, columns) pixels of every band, at one time. Pure."""
        return sum(self.part_price(part, shape) for part in self.parts)

    def price_pixels(self, pixels: Floats, *, dates: int = 1, samples: Floats | None = None) -> Floats:
        """Processing units of windows of so many pixels of every band, one entry each, at ``dates`` times. Pure."""
        first, *others = (self.part_prices(part, pixels, dates=dates, samples=samples) for part in self.parts)
        return sum(others, first)

    def part_price(self, part: Part, shape: tuple[int, int], *, dates: int = 1, samples: float | None = None) -> float:
        """Processing units of the request for (rows, columns) pixels of ``part``, at ``dates`` times. Pure.

        ``samples`` are the dates that a composite reads of each pixel; without them, and where a user's script reads
        every scene (ORBIT, TILE), it is an estimate.
        """
        pixels, known = np.array([shape[0] * shape[1]], np.float64), None if samples is None else np.array([samples])
        return float(self.part_prices(part, pixels, dates=dates, samples=known)[0])

    def part_prices(self, part: Part, pixels: Floats, *, dates: int = 1, samples: Floats | None = None) -> Floats:
        """`part_price` of requests for so many pixels, one entry each. Pure."""
        bands: float | Floats
        if part.composite is not None:
            bands = part.read_count * self.leading.price_factor * (self.leading.samples if samples is None else samples)
        elif part.script is None:
            bands = part.read_count * self.leading.price_factor * dates
        else:
            bands = sum(each.priced_bands for each in self.inputs)
        # all collections are taken to be served by the deployment that is asked: each counts once
        factor = len(self.inputs) * (self.prices.float_factor if part.is_float else 1.0)
        return price_pixels(pixels, bands, factor=factor, prices=self.prices)

    def data_json(self, part: Part, interval: TimeInterval | None) -> list[dict[str, Any]]:
        """``input.data`` of a request for ``part`` at ``interval``. Pure."""
        return [
            data_json(
                each.collection,
                interval=(each.interval or interval) if each.has_time else None,
                max_cloud_cover=each.max_cloud_cover,
                mosaicking_order=each.mosaicking_order,
                upsampling=each.resampling if part.script else part.resampling,
                downsampling=each.resampling if part.script else part.resampling,
                identifier=each.identifier,
                data_filter=each.data_filter,
                processing=each.processing,
            )
            for each in self.inputs
        ]

    def evalscript(self, part: Part, days: Sequence[date]) -> str:
        """The script of a request for ``part``: bands and mask, of each of ``days`` or of the whole interval. Pure.

        Raises PlanError for days of a user's script or of a composite, which return one picture.
        """
        if part.script is None and part.composite is None:
            return make_evalscript(part.requested, part.sample_type, dates=days)
        if days:
            what = "a composite" if part.script is None else "a script of your own"
            raise PlanError(f"layers.{self.name}: {what} returns one date, not {len(days)}")
        if part.composite is not None:
            return make_composite_script(part.requested, part.sample_type, part.composite)
        return part.script or ""

    def named_inputs(self) -> tuple[str, ...] | dict[str, tuple[str, ...]]:
        """Bands of the one input, or of several by their ids, as ``check_declared`` takes them. Pure."""
        if self.leading.identifier is None:
            return self.leading.bands
        return {str(each.identifier): each.bands for each in self.inputs}

    def named_outputs(self, part: Part) -> dict[str, NamedOutput]:
        """What a script is said to return, as ``check_declared`` takes it. Pure."""
        return {
            output.identifier: NamedOutput(
                bands=tuple(self.bands[position].name for position in output.bands), sample_type=output.sample_type
            )
            for output in part.pictures
        }

    @property
    def sent_nbytes_per_px(self) -> int:
        """Bytes per pixel on the wire, before compression; every part has a data mask."""
        return sum(part.nbytes_per_px for part in self.parts)

    @property
    def stored_nbytes_per_px(self) -> int:
        """Bytes per pixel in the cube, before compression, data mask included."""
        return sum(np.dtype(band.dtype).itemsize for band in self.bands) + MASK_NBYTES

    def identity(self) -> dict[str, Any]:
        """What decides the pixels of a layer, as JSON types. Pure."""
        first, *more = (each.describe() for each in self.inputs)
        sources = {"sources": [first, *more]} if more else {key: first[key] for key in first if key != "collection"}
        return {
            "name": self.name,
            "collection": self.collection,
            "bands": [
                {"name": band.name, "dtype": band.dtype, "scale": band.scale, "offset": band.offset}
                for band in self.bands
            ],
            # a time axis may grow
            "interval": interval_json(self.interval) if self.cadence == MOSAIC else None,
            "cadence": self.cadence,
            **sources,
            "parts": [part.describe() for part in self.parts],
        }


def make_layer(
    name: str, layer: Layer, interval: TimeInterval | None, *, prices: Prices = PUBLISHED_PRICES
) -> LayerPlan:
    """The requests of a job's layer, whose script has been read. Pure.

    Raises PlanError for a band that the collection does not have, for a script that is still a path, and for a
    composite whose bands no single request can bring.
    """
    bands, parts = _of_script(layer) if layer.evalscript is not None else _of_bands(layer)
    return LayerPlan(
        name=name,
        collection=layer.collection,
        bands=bands,
        parts=parts,
        inputs=tuple(_make_input(layer, *each, interval) for each in layer.inputs()),
        interval=interval,
        cadence=layer.cadence,
        mosaicking=layer.mosaicking if layer.composite is None else "ORBIT",
        prices=prices,
    )


def _make_input(
    layer: Layer, identifier: str | None, source: SourceTable, bands: tuple[str, ...], interval: TimeInterval | None
) -> LayerInput:
    options = source.options(bands)
    own = interval_of(source.time) if identifier is not None else None
    return LayerInput(
        identifier=identifier,
        collection=source.collection,
        bands=tuple(band for band in bands if band != DATA_MASK),
        has_time=not source.is_timeless,
        interval=own,
        mosaicking_order=None if source.is_timeless else source.mosaicking_order,
        max_cloud_cover=source.max_cloud_cover,
        resampling=source.resampling,
        data_filter=options.data_filter,
        processing=options.processing,
        price_factor=options.price_factor,
        samples=1 if source.is_timeless else _guess_samples(layer, own or interval, is_own=own is not None),
    )


def _guess_samples(layer: Layer, interval: TimeInterval | None, *, is_own: bool) -> int:
    reads_one = layer.mosaicking == "SIMPLE" and layer.composite is None
    if reads_one or interval is None or (layer.cadence == ACQUISITION and not is_own):
        return 1
    if layer.cadence not in {MOSAIC, ACQUISITION} and not is_own:
        interval = find_spans(layer.cadence, interval)(interval.start)
    return ceil((interval.end - interval.start).days / DAYS_PER_SAMPLE) or 1


def _of_script(layer: Layer) -> tuple[tuple[Band, ...], tuple[Part, ...]]:
    script = layer.evalscript or ""
    if not is_script(script):
        raise PlanError(f"evalscript: {script!r} has not been read; give the script's text, or CubeSpec.with_scripts()")
    bands: list[Band] = []
    outputs: list[Output] = []
    for identifier, output in layer.outputs.items():
        first = len(bands)
        bands += [_make_band(name, output.dtype) for name in output.bands]
        outputs.append(
            Output(identifier=identifier, bands=tuple(range(first, len(bands))), sample_type=_sample_type(output.dtype))
        )
    part = Part(
        bands=tuple(range(len(bands))),
        requested=(),
        sample_type=outputs[0].sample_type,
        resampling=layer.resampling,
        script=script,
        outputs=tuple(outputs),
    )
    return tuple(bands), (part,)


def _of_bands(layer: Layer) -> tuple[tuple[Band, ...], tuple[Part, ...]]:
    collection = find_collection(layer.collection)
    infos = [collection.band(name) for name in layer.bands]
    asked = [_ask(layer, info, layer.encode_of(info.name)) for info in infos]
    groups: dict[tuple[Resampling, str], list[int]] = {}
    for position, (info, (_, _, sample_type)) in enumerate(zip(infos, asked, strict=True)):
        groups.setdefault(("nearest" if info.classes else layer.resampling, sample_type), []).append(position)
    parts = tuple(
        Part(
            bands=tuple(positions),
            requested=tuple(asked[position][1] for position in positions),
            sample_type=sample_type,
            resampling=resampling,
        )
        for (resampling, sample_type), positions in _join_bytes(groups, asked).items()
    )
    bands = tuple(band for band, _, _ in asked)
    if layer.composite is None:
        return bands, parts
    of_ndvi = {
        name: _ask(layer, collection.band(name), layer.encode_of(name))
        for name in layer.composite.red_nir(collection) or ()
    }
    return compose(layer.composite, collection, bands, parts, of_ndvi)


def _join_bytes(
    groups: dict[tuple[Resampling, str], list[int]], asked: Sequence[tuple[Band, RequestedBand, str]]
) -> dict[tuple[Resampling, str], list[int]]:
    """Eight bits beside sixteen in one request, which costs the same; not those that clamp at eight."""
    joined = dict(groups)
    for resampling in {resampling for resampling, _ in groups}:
        small, wide = groups.get((resampling, "UINT8"), []), (resampling, "UINT16")
        plain = [position for position in small if asked[position][1].scale is None]
        if plain and wide in groups:
            joined[wide] = sorted(groups[wide] + plain)
            joined[resampling, "UINT8"] = [position for position in small if position not in plain]
    return {key: positions for key, positions in joined.items() if positions}


def _ask(layer: Layer, info: BandInfo, encode: Encode | None) -> tuple[Band, RequestedBand, str]:
    """How a band is stored, asked for and sent."""
    unit = unit_of(info, layer.units)
    if encode is not None:
        on_disk = "dB" if encode.db else UNITS.get(unit, "")
        encoding = encode.scale and Encoding(
            sample_type=_sample_type(encode.dtype), scale=encode.scale, offset=encode.offset
        )
        return _encoded(info.name, unit, encoding or None, units=on_disk, db=encode.db)
    if unit == "REFLECTANCE" and info.reflectance_per_dn is not None:
        # bought as the integers that the source has
        band = _make_band(info.name, "float32", units=UNITS[unit], scale=info.reflectance_per_dn)
        return band, RequestedBand(name=info.name, unit="DN"), _sample_type(info.dtype)
    if info.encoding is not None:
        return _encoded(info.name, unit, info.encoding, units=UNITS.get(unit, ""))
    band = _make_band(info.name, info.dtype, units=UNITS.get(unit, ""))
    return band, RequestedBand(name=info.name, unit=unit), _sample_type(info.dtype)


def _encoded(
    name: str, unit: str, encoding: Encoding | None, *, units: str, db: bool = False
) -> tuple[Band, RequestedBand, str]:
    scale, offset = (None, 0.0) if encoding is None else (encoding.scale, encoding.offset)
    band = _make_band(name, "float32", units=units, scale=scale, offset=offset)
    requested = RequestedBand(name=name, unit=unit, scale=scale, offset=offset, db=db)
    return band, requested, "FLOAT32" if encoding is None else encoding.sample_type


def _make_band(name: str, dtype: str, *, units: str = "", scale: float | None = None, offset: float = 0.0) -> Band:
    fill = float("nan") if np.dtype(dtype).kind == "f" else 0
    return Band(name=name, dtype=dtype, fill_value=fill, scale=scale, offset=offset, units=units)


def _sample_type(dtype: str) -> str:
    return next(sample_type for sample_type, name in SAMPLE_DTYPES.items() if name == dtype)

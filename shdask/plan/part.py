"""What one request of a layer reads and brings: the collections, the bands of one picture or several, and their types.

Refuses to know areas, times of acquisition and prices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from shdask.model import TimeInterval
from shdask.request.composite import CompositeRule
from shdask.request.evalscript import SAMPLE_DTYPES, RequestedBand

Resampling = Literal["nearest", "bilinear", "bicubic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInput:
    """One collection that requests read: an entry of their ``input.data``, and what it makes of the price."""

    identifier: str | None
    """What a script that reads several knows it by."""
    collection: str
    """The service's name of it."""
    bands: tuple[str, ...]
    """What is paid for, without the data mask."""
    has_time: bool
    """False where there are no acquisitions."""
    interval: TimeInterval | None
    """A time of its own; None takes the request's."""
    mosaicking_order: str | None
    max_cloud_cover: float | None
    """Share, 0 to 1."""
    resampling: Resampling
    """A script's; where scripts are written here, each part has its own."""
    data_filter: Mapping[str, Any]
    processing: Mapping[str, Any]
    """Further options, as the service's JSON has them."""
    price_factor: float = 1.0
    samples: float = 1.0
    """Estimated scenes that a script reads of each pixel; of a composite placed in time, their mean over its tiles."""
    learned_ratio: float = 1.0
    """What such an estimate turned out to be worth in earlier runs; 1 where there were none."""

    @property
    def priced_bands(self) -> float:
        """What it counts in the price of a request."""
        return max(len(self.bands), 1) * self.samples * self.price_factor * self.learned_ratio

    def describe(self) -> dict[str, Any]:
        """What of it decides pixels, as JSON types. Pure."""
        own = {} if self.identifier is None else {"id": self.identifier, "resampling": self.resampling}
        return {
            **own,
            "collection": self.collection,
            **({"interval": interval_json(self.interval)} if self.interval else {}),
            "mosaicking_order": self.mosaicking_order,
            "max_cloud_cover": self.max_cloud_cover,
            "data_filter": dict(self.data_filter),
            "processing": dict(self.processing),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One picture of a request's answer: bands in order, and behind those of the first the data mask."""

    identifier: str
    bands: tuple[int, ...]
    """Positions in ``LayerPlan.bands``."""
    sample_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Bands that one request brings, with the data mask behind them: of one sample type and one resampling."""

    bands: tuple[int, ...]
    """Positions in ``LayerPlan.bands``."""
    requested: tuple[RequestedBand, ...]
    """The same bands as the service is asked for them; empty where a script of the user's is run."""
    sample_type: str
    """The service's name of the type that every band is sent in; of a script's, that of its first output."""
    resampling: Resampling
    script: str | None = None
    """A user's evalscript."""
    outputs: tuple[Output, ...] = ()
    """What it returns; together they hold ``bands``."""
    composite: CompositeRule | None = None
    """How its dates become one picture, whose last bands say how many those were, and which; None takes one date."""

    @property
    def read_count(self) -> int:
        """Bands that are read of every date, which the price goes by; not of a user's script."""
        return len(self.bands) if self.composite is None else len(self.composite.read(self.requested))

    @property
    def pictures(self) -> tuple[Output, ...]:
        """What the answer holds, at least one; several come as a tar."""
        return self.outputs or (Output(identifier="default", bands=self.bands, sample_type=self.sample_type),)

    @property
    def is_float(self) -> bool:
        """Whether any picture is of 32 bit floats, which cost twice."""
        return any(picture.sample_type == "FLOAT32" for picture in self.pictures)

    @property
    def nbytes_per_px(self) -> int:
        """Bytes of one pixel and time on the wire, before compression, data mask included."""
        sizes = [np.dtype(SAMPLE_DTYPES[picture.sample_type]).itemsize for picture in self.pictures]
        return sizes[0] + sum(len(picture.bands) * size for picture, size in zip(self.pictures, sizes, strict=True))

    def describe(self) -> dict[str, Any]:
        """What of it decides pixels, as JSON types. Pure."""
        written = {"bands": [asdict(band) for band in self.requested], "sample_type": self.sample_type}
        pictures = [{**asdict(output), "bands": list(output.bands)} for output in self.outputs]
        run = {"script": self.script, "outputs": pictures}
        made_of = {} if self.composite is None else {"composite": self.composite.describe()}
        return {**(run if self.script else written), "resampling": self.resampling, **made_of}


def interval_json(interval: TimeInterval | None) -> list[str] | None:
    """Start and end as ISO text. Pure."""
    return None if interval is None else [interval.start.isoformat(), interval.end.isoformat()]

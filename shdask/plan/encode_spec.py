"""How a job wants values to be sent: as 8 or 16 bit integers in steps, or as decibels.

Refuses to know collections: what a band holds is its argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, FiniteFloat
from pydantic import model_validator as check_model

from shdask.plan.complaints import Table
from shdask.request.collections import BandInfo

EVERY_BAND = "*"
"""Key of a layer-wide encoding."""
DECIBELS = "dB"
LEAST_STEPS = 10
"""With fewer over the values that are usual, nothing is left of a picture."""
USUAL: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        DECIBELS: (-20.0, 0.0),
        "LINEAR_POWER": (0.0, 0.5),
        "REFLECTANCE": (0.0, 1.0),
        "DEGREES": (0.0, 90.0),
        "PERCENT": (0.0, 100.0),
        "METERS": (0.0, 500.0),
        "BRIGHTNESS_TEMPERATURE": (250.0, 310.0),
        "SURFACE_TEMPERATURE": (250.0, 310.0),
    }
)
"""Values that most pixels on land have, by unit: an encoding that cannot hold them is a mistake."""


class Encode(Table):
    """Sent are (f(v) - offset) / scale, rounded and clamped, with f = 10 log10 for ``db``, and stored is f(v)."""

    dtype: Literal["uint8", "int8", "uint16", "int16", "float32"] = "int16"
    scale: FiniteFloat | None = Field(default=None, gt=0)
    """One step, in the unit of the band or in decibels."""
    offset: FiniteFloat = 0.0
    db: bool = False
    """Decibels, of backscatter."""

    @check_model(mode="after")
    def _says_something(self) -> Self:
        is_float = self.dtype == "float32"
        if not is_float and self.scale is None:
            raise ValueError(
                f"scale is missing: one step of {self.dtype}, such as scale = {0.01 if self.db else 0.0001}"
            )
        if is_float and (self.scale is not None or self.offset):
            raise ValueError("float32 is sent as it is; leave out scale and offset, or take an integer dtype")
        return self

    def check(self, band: BandInfo, unit: str) -> None:
        """Raise ValueError where values of ``band``, asked for in ``unit``, cannot be encoded so. Pure."""
        if band.classes:
            raise ValueError(
                f"{band.name} holds class codes, which are sent as they are; name the bands to encode instead, as in "
                f"encode.VV = {{...}}"
            )
        if self.dtype == "float32" and not self.db and band.dtype == "float32" and band.encoding is None:
            raise ValueError("float32 without db is no encoding; leave encode out")
        if self.db and not band.is_power:
            raise ValueError(
                f"decibels are made of backscatter, and {band.name} is none ({unit}); leave out db, or name the bands "
                f"it is for, as in encode.VV = {{...}}"
            )
        usual = USUAL.get(DECIBELS if self.db else unit)
        if self.scale is None or usual is None:
            return
        limits = np.iinfo(self.dtype)
        least, most = (self.offset + self.scale * float(limit) for limit in (limits.min, limits.max))
        what = "decibels" if self.db else unit
        if least > usual[0] or most < usual[1]:
            raise ValueError(
                f"{self.dtype} with scale {self.scale:g} and offset {self.offset:g} holds {least:g} to {most:g}, and "
                f"{band.name} ({what}) has values of {usual[0]:g} to {usual[1]:g}; take another scale, offset or dtype"
            )
        if (usual[1] - usual[0]) / self.scale < LEAST_STEPS:
            raise ValueError(
                f"steps of {self.scale:g} leave nothing of {band.name} ({what}), whose values are usually "
                f"{usual[0]:g} to {usual[1]:g}; make scale smaller"
            )


def by_band(given: Any) -> Any:
    """What a job says of encoding as a table by band; a layer-wide one is of ``EVERY_BAND``. Pure."""
    if isinstance(given, Encode):
        return {EVERY_BAND: given}
    is_wide = isinstance(given, Mapping) and not all(isinstance(table, Mapping | Encode) for table in given.values())
    return {EVERY_BAND: given} if is_wide else given

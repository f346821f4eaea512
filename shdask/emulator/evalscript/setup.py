"""What an evalscript's setup() declares: input bands with units, and outputs.

Refuses to run scripts; reads only the plain object that setup() returned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shdask.emulator.refusal import Refusal
from shdask.emulator.source import DATA_MASK

SAMPLE_TYPES = {
    "INT8": "int8",
    "UINT8": "uint8",
    "INT16": "int16",
    "UINT16": "uint16",
    "FLOAT32": "float32",
    "AUTO": "uint8",
}
MOSAICKINGS = ("SIMPLE", "ORBIT", "TILE")
MAX_BANDS = 2000
"""Of one output; the service's own limit is not documented."""
BOUNDS = "bounds"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputBand:
    """One band the script reads."""

    name: str
    unit: str | None
    """As the script wrote it, in upper case; None takes the band's default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptInput:
    """What the script reads of one collection."""

    datasource: str | None
    """The id of an input of the request; None goes by order."""
    mosaicking: str
    """SIMPLE, ORBIT or TILE."""
    bands: tuple[InputBand, ...]
    bounds: bool = False
    """Whether scenes come with their footprints."""

    @property
    def priced_bands(self) -> int:
        """Bands that cost: ``dataMask`` only where it stands alone. Pure."""
        return max(1, sum(band.name != DATA_MASK for band in self.bands))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptOutput:
    """One image the script writes."""

    id: str
    bands: int
    sample_type: str
    nodata: float | None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy type of the image. Pure."""
        return np.dtype(SAMPLE_TYPES[self.sample_type])


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptSetup:
    """All that setup() said, in the script's order."""

    inputs: tuple[ScriptInput, ...]
    outputs: tuple[ScriptOutput, ...]
    updates_output: bool
    """The script has a function updateOutput()."""

    @property
    def varies(self) -> bool:
        """Whether price or outputs depend on the scenes that are found. Pure."""
        return self.updates_output or any(item.mosaicking != "SIMPLE" for item in self.inputs)

    def output(self, identifier: str) -> ScriptOutput:
        """The output called ``identifier``; raises Refusal (400) for one that setup() does not declare. Pure."""
        for output in self.outputs:
            if output.id == identifier:
                return output
        message = f"Output {identifier} requested but missing from function setup()"
        raise Refusal(400, "COMMON_BAD_PAYLOAD", message)

    def with_bands(self, bands: Mapping[str, int]) -> ScriptSetup:
        """The setup with these numbers of bands by output id; raises Refusal (400) for less than one. Pure."""
        counts = [bands.get(output.id) for output in self.outputs]
        outputs = [
            replace(output, bands=count)
            for output, count in zip(self.outputs, counts, strict=True)
            if type(count) is int and 1 <= count <= MAX_BANDS
        ]
        if len(outputs) < len(self.outputs):
            raise _bad(f"Every output must have 1 to {MAX_BANDS} bands after updateOutput().")
        return replace(self, outputs=tuple(outputs))


def read_setup(returned: Any, *, updates_output: bool = False) -> ScriptSetup:
    """The declarations in what setup() returned, as JSON values. Pure.

    Raises Refusal (400) for a shape the documentation does not have.
    """
    if not isinstance(returned, dict):
        raise _bad("Function setup() must return an object.")
    declared, written = returned.get("input"), returned.get("output")
    inputs = _read_inputs(declared, returned.get("mosaicking", "SIMPLE"))
    outputs = tuple(_read_output(raw) for raw in (written if isinstance(written, list) else [written]))
    if not inputs or not outputs:
        raise _bad("Function setup() must return at least one input and one output.")
    if len({output.id for output in outputs}) < len(outputs):
        raise _bad("Output ids in setup() must be unique.")
    return ScriptSetup(inputs=inputs, outputs=outputs, updates_output=updates_output)


def _read_inputs(declared: Any, mosaicking: Any) -> tuple[ScriptInput, ...]:
    items = declared if isinstance(declared, list) else [declared]
    if items is declared and items and all(isinstance(item, str) for item in items):
        items = [{"bands": items}]
    return tuple(_read_input(item, mosaicking) for item in items)


def _read_input(item: Any, mosaicking: Any) -> ScriptInput:
    if not isinstance(item, dict):
        raise _bad("An input in setup() must be an object with bands, or all must be names of bands.")
    own = item.get("mosaicking", mosaicking)
    if own not in MOSAICKINGS:
        raise _bad(f"The mosaicking {own} in setup() is not one of {', '.join(MOSAICKINGS)}.")
    metadata = item.get("metadata", [])
    if not isinstance(metadata, list) or any(part != BOUNDS for part in metadata):
        raise _bad(f'The metadata in setup() must be ["{BOUNDS}"] or left out.')
    return ScriptInput(
        datasource=_read_name(item, "datasource"), mosaicking=own, bands=_read_bands(item), bounds=bool(metadata)
    )


def _read_bands(item: Mapping[str, Any]) -> tuple[InputBand, ...]:
    bands = item.get("bands")
    if not isinstance(bands, list) or not bands or not all(isinstance(band, str) for band in bands):
        raise _bad("An input in setup() must name its bands.")
    units = item.get("units")
    if units is None or isinstance(units, str):
        units = [units] * len(bands)
    if not isinstance(units, list) or len(units) != len(bands):
        raise _bad("The units in setup() must be one for all bands or one per band.")
    if not all(unit is None or isinstance(unit, str) for unit in units):
        raise _bad("The units in setup() must be names.")
    unique = dict(zip(bands, units, strict=True))
    return tuple(InputBand(name=name, unit=unit and unit.upper()) for name, unit in unique.items())


def _read_output(raw: Any) -> ScriptOutput:
    if not isinstance(raw, dict) or type(raw.get("bands")) is not int or not 1 <= raw["bands"] <= MAX_BANDS:
        raise _bad(f"An output in setup() must be an object with a number of bands, 1 to {MAX_BANDS}.")
    sample_type = str(raw.get("sampleType", "AUTO")).upper()
    if sample_type not in SAMPLE_TYPES:
        raise _bad(f"The sampleType {sample_type} in setup() is not supported.")
    return ScriptOutput(
        id=_read_name(raw, "id") or "default",
        bands=raw["bands"],
        sample_type=sample_type,
        nodata=_read_nodata(raw.get("nodataValue")),
    )


def _read_name(raw: Mapping[str, Any], key: str) -> str | None:
    name = raw.get(key)
    if name is not None and not isinstance(name, str):
        raise _bad(f"The {key} in setup() must be a text.")
    return name


def _read_nodata(value: Any) -> float | None:
    if value is None:
        return None
    # what JSON cannot hold comes as text
    if value in {"NaN", "Infinity", "-Infinity"} or (isinstance(value, int | float) and not isinstance(value, bool)):
        return float(value)
    raise _bad("The nodataValue in setup() must be a number.")


def _bad(message: str) -> Refusal:
    return Refusal(400, "COMMON_EXCEPTION", message)

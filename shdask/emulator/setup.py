"""What an evalscript's setup() declares: input bands with units, and outputs.

Refuses to run scripts; reads only the plain object that setup() returned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shdask.emulator.refusal import Refusal, not_emulated
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
            if isinstance(count, int) and count >= 1
        ]
        if len(outputs) < len(self.outputs):
            raise _bad("Every output must have at least one band after updateOutput().")
        return replace(self, outputs=tuple(outputs))


def read_setup(returned: Any, *, updates_output: bool = False) -> ScriptSetup:
    """The declarations in what setup() returned, as JSON values. Pure.

    Raises Refusal (400) for a shape the documentation does not have.
    """
    if not isinstance(returned, dict):
        raise _bad("Function setup() must return an object.")
    declared = returned.get("input")
    inputs = _read_inputs(declared if isinstance(declared, list) else [declared], returned.get("mosaicking", "SIMPLE"))
    raw_outputs = returned.get("output")
    outputs = tuple(_read_output(raw) for raw in (raw_outputs if isinstance(raw_outputs, list) else [raw_outputs]))
    if len({output.id for output in outputs}) < len(outputs):
        raise _bad("Output ids in setup() must be unique.")
    return ScriptSetup(inputs=inputs, outputs=outputs, updates_output=updates_output)


def _read_inputs(declared: Sequence[Any], mosaicking: Any) -> tuple[ScriptInput, ...]:
    if all(isinstance(item, str) for item in declared):
        declared = [{"bands": declared}]
    return tuple(_read_input(item, mosaicking) for item in declared)


def _read_input(item: Any, mosaicking: Any) -> ScriptInput:
    if not isinstance(item, dict):
        raise _bad("An input in setup() must be an object with bands.")
    own = item.get("mosaicking", mosaicking)
    if own not in MOSAICKINGS:
        raise _bad(f"The mosaicking {own} in setup() is not one of {', '.join(MOSAICKINGS)}.")
    if item.get("metadata"):
        raise not_emulated("the bounds of scenes as metadata")
    datasource = item.get("datasource")
    return ScriptInput(
        datasource=None if datasource is None else str(datasource), mosaicking=own, bands=_read_bands(item)
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
    unique = dict(zip(bands, units, strict=True))
    return tuple(InputBand(name=name, unit=unit and str(unit).upper()) for name, unit in unique.items())


def _read_output(raw: Any) -> ScriptOutput:
    if not isinstance(raw, dict) or not isinstance(raw.get("bands"), int) or raw["bands"] < 1:
        raise _bad("An output in setup() must be an object with a number of bands.")
    sample_type = str(raw.get("sampleType", "AUTO")).upper()
    if sample_type not in SAMPLE_TYPES:
        raise _bad(f"The sampleType {sample_type} in setup() is not supported.")
    nodata = raw.get("nodataValue")
    return ScriptOutput(
        id=str(raw.get("id", "default")),
        bands=raw["bands"],
        sample_type=sample_type,
        nodata=None if nodata is None else float(nodata),
    )


def _bad(message: str) -> Refusal:
    return Refusal(400, "COMMON_EXCEPTION", message)

"""What a user's evalscript declares in setup(), and whether that is what a job says of it.

Refuses to know what its pixels are; V8 runs setup() in a process of its own, and only where it is installed.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shdask.errors import PlanError
from shdask.request import setup_child
from shdask.request.evalscript import DATA_MASK, SAMPLE_DTYPES

DEADLINE_S = 5.0
MAX_NBYTES = 1 << 29
"""Of the process that runs setup(), V8 itself included."""
_START_S = 60.0
"""A busy machine may take so long to start a process."""
_VERSION = re.compile(r"\ufeff?\s*//\s*VERSION\s*=\s*3\b")
_MOSAICKINGS = ("SIMPLE", "ORBIT", "TILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredInput:
    """What a script reads of one collection."""

    datasource: str | None
    """The id of an entry of ``input.data``; None goes by order."""
    bands: tuple[str, ...]
    units: tuple[str | None, ...]
    """One per band; None is the band's default."""
    mosaicking: str
    """SIMPLE, ORBIT or TILE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredOutput:
    """One picture that a script returns."""

    id: str
    bands: int
    sample_type: str
    """The service's name; AUTO where the script says none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What setup() of a script returned."""

    inputs: tuple[DeclaredInput, ...]
    outputs: tuple[DeclaredOutput, ...]
    updates_output: bool
    """Whether it has a function updateOutput(), by which the number of bands depends on the scenes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedOutput:
    """What a job says of one output: the names of its bands, without the data mask, and the service's sample type."""

    bands: tuple[str, ...]
    sample_type: str


def read_declared(script: str, *, deadline_s: float = DEADLINE_S, max_nbytes: int = MAX_NBYTES) -> Declared | None:
    """What ``script`` declares; None where V8 (the package mini-racer) is not installed, so that nothing can be said.

    Starts a process, which ends with this call. Raises PlanError, with the cure, for a script that is not of version 3,
    that does not load, lacks setup() or evaluatePixel(), throws, does not end in ``deadline_s`` seconds, takes more
    than ``max_nbytes`` of memory (watched on Linux only), or returns what the documentation does not know.
    """
    if not _VERSION.match(script):
        raise PlanError("evalscript: the first line must be //VERSION=3; older versions are not understood")
    if importlib.util.find_spec("py_mini_racer") is None:
        return None
    told = _run(script, deadline_s, max_nbytes)
    return None if told is None else _read(told)


def check_declared(
    declared: Declared,
    *,
    input_bands: Sequence[str] | Mapping[str, Sequence[str]],
    mosaicking: str,
    outputs: Mapping[str, NamedOutput],
) -> None:
    """Holds a script against what a job says of it. Pure. Raises PlanError that names every contradiction and its cure.

    ``input_bands`` names the bands of the one input, or of several by the ids of their entries; the data mask may be
    left out. Of ``outputs``, by id and in the job's order, the first must return the data mask as its last band,
    behind those that it names; outputs of the script that the job does not name are never asked for.
    """
    problems = [
        *_compare_inputs(declared, input_bands),
        *_compare_mosaicking(declared, mosaicking),
        *_compare_outputs(declared, outputs),
    ]
    if declared.updates_output:
        problems.append("updateOutput() changes the number of bands while it runs, and a cube's are fixed; take it out")
    if problems:
        raise PlanError("\n".join(f"evalscript: {problem}" for problem in problems))


def _run(script: str, deadline_s: float, max_nbytes: int) -> dict[str, Any] | None:
    # -P: this folder must not be searched for modules, one of ours is called as one of Python's
    command = [sys.executable, "-P", str(Path(setup_child.__file__)), str(deadline_s), str(max_nbytes)]
    try:
        done = subprocess.run(  # noqa: S603  # our own file; the script is data on stdin
            command,
            input=script.encode(errors="replace"),
            capture_output=True,
            timeout=deadline_s + _START_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _too_slow(deadline_s) from None
    if done.returncode == setup_child.NO_V8_EXIT:
        return None
    if done.returncode == setup_child.DEADLINE_EXIT:
        raise _too_slow(deadline_s)
    if done.returncode != 0:  # the watch's own code, or V8's end when it finds no more memory
        raise PlanError(
            f"evalscript: setup() takes more than {max_nbytes >> 20} MB of memory or ends V8 (exit code "
            f"{done.returncode}); only declare inputs and outputs there"
        )
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise PlanError(f"evalscript: {answer['error']}; mend the script")
    try:
        told = json.loads(answer["told"])
        setup, evaluate, update = told["kinds"]
    except (TypeError, ValueError, KeyError, RecursionError):
        raise PlanError("evalscript: it changes the language itself, so that nothing can be read of it") from None
    return {"setup": setup, "evaluatePixel": evaluate, "updateOutput": update, "returned": told.get("returned")}


def _too_slow(deadline_s: float) -> PlanError:
    return PlanError(
        f"evalscript: it does not load, or setup() does not end, in {deadline_s:g} s; is there an endless loop?"
    )


def _read(told: Mapping[str, Any]) -> Declared:
    for name in ("setup", "evaluatePixel"):
        if told[name] != "function":
            raise PlanError(f"evalscript: the function {name}() is missing; add it")
    returned = told["returned"]
    if not isinstance(returned, dict):
        raise _odd("must return an object with input and output")
    items = _as_list(returned.get("input"))
    if items and all(isinstance(item, str) for item in items):
        items = [{"bands": items}]
    inputs = tuple(_read_input(item, returned.get("mosaicking", "SIMPLE")) for item in items)
    outputs = tuple(map(_read_output, _as_list(returned.get("output"))))
    if not inputs or not outputs:
        raise _odd("must return at least one input and one output")
    if len({output.id for output in outputs}) < len(outputs):
        raise _odd("gives two outputs one id")
    return Declared(inputs=inputs, outputs=outputs, updates_output=told["updateOutput"] == "function")


def _read_input(item: Any, mosaicking: Any) -> DeclaredInput:
    bands = item.get("bands") if isinstance(item, dict) else None
    if not isinstance(bands, list) or not bands or not all(isinstance(band, str) for band in bands):
        raise _odd('must name the bands of every input, such as input: [{bands: ["B04", "dataMask"]}]')
    units = item.get("units")
    units = units if isinstance(units, list) else [units] * len(bands)
    if len(units) != len(bands) or not all(unit is None or isinstance(unit, str) for unit in units):
        raise _odd("must give one unit for all bands of an input, or one for each")
    own = item.get("mosaicking", mosaicking)
    if own not in _MOSAICKINGS:
        raise _odd(f"has the mosaicking {own!r}; choose {', '.join(_MOSAICKINGS)}")
    source = item.get("datasource")
    return DeclaredInput(
        datasource=None if source is None else str(source),
        bands=tuple(bands),
        units=tuple(unit and unit.upper() for unit in units),
        mosaicking=own,
    )


def _read_output(item: Any) -> DeclaredOutput:
    bands = item.get("bands") if isinstance(item, dict) else None
    if type(bands) is not int or bands < 1:
        raise _odd("must give every output a number of bands, such as output: {bands: 2}")
    sample_type = str(item.get("sampleType", "AUTO")).upper()
    if sample_type not in {*SAMPLE_DTYPES, "AUTO"}:
        raise _odd(f"has the sampleType {sample_type}; choose {', '.join(SAMPLE_DTYPES)}")
    return DeclaredOutput(id=str(item.get("id", "default")), bands=bands, sample_type=sample_type)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _odd(what: str) -> PlanError:
    return PlanError(f"evalscript: setup() {what}")


def _compare_inputs(declared: Declared, named: Sequence[str] | Mapping[str, Sequence[str]]) -> Iterable[str]:
    by_id: dict[str | None, Sequence[str]] = {}
    if isinstance(named, Mapping):
        by_id.update(named)
    else:
        by_id[None] = named
    if len(by_id) != len(declared.inputs):
        yield (
            f"setup() has {len(declared.inputs)} inputs, the job names bands of {len(by_id)}; give each input of the "
            f"script its input_bands"
        )
        return
    # one input has no need of a name, and where one has none the service goes by order
    by_order = len(by_id) == 1 or any(item.datasource is None for item in declared.inputs)
    for item, in_order in zip(declared.inputs, by_id, strict=True):
        identifier = in_order if by_order else item.datasource
        if identifier not in by_id:
            yield f"datasource {identifier!r} is no input of the job; it has {', '.join(map(str, by_id))}"
            continue
        where = "" if len(by_id) == 1 else f" of {identifier}"
        read, said = (
            dict.fromkeys(band for band in bands if band != DATA_MASK) for bands in (item.bands, by_id[identifier])
        )
        more, less = [band for band in read if band not in said], [band for band in said if band not in read]
        if more:
            yield f"setup() reads {', '.join(more)}{where}; add it to input_bands, which are what is paid for"
        if less:
            yield f"setup() does not read {', '.join(less)}{where}; take it out of input_bands, or into the script"


def _compare_mosaicking(declared: Declared, mosaicking: str) -> Iterable[str]:
    for found in dict.fromkeys(item.mosaicking for item in declared.inputs):
        if found != mosaicking:
            yield f'setup() has mosaicking {found}, the job {mosaicking}; write mosaicking = "{found}" in the job'


def _compare_outputs(declared: Declared, outputs: Mapping[str, NamedOutput]) -> Iterable[str]:
    by_id = {output.id: output for output in declared.outputs}
    for position, (identifier, named) in enumerate(outputs.items()):
        if identifier not in by_id:
            yield f"setup() has no output {identifier!r}; it has {', '.join(by_id)}"
            continue
        output = by_id[identifier]
        yield from _compare_bands(output, named, masked=position == 0)
        if output.sample_type == "AUTO":
            cure = f'write sampleType: "{named.sample_type}" in the script'
            yield f"output {identifier!r} has no sampleType, so that values are stretched to bytes; {cure}"
        elif output.sample_type != named.sample_type:
            dtype = SAMPLE_DTYPES[output.sample_type]
            yield (
                f"output {identifier!r} has sampleType {output.sample_type}, the job {named.sample_type}; "
                f'write dtype = "{dtype}" in the job, or sampleType: "{named.sample_type}" in the script'
            )


def _compare_bands(output: DeclaredOutput, named: NamedOutput, *, masked: bool) -> Iterable[str]:
    names, count = ", ".join(named.bands), len(named.bands)
    if output.bands == count + masked:
        return
    if masked and output.bands == count:
        yield (
            f"output {output.id!r} returns {names} without the data mask, by which a cube knows its gaps; read "
            f"{DATA_MASK}, write bands: {count + 1}, and return it as the last band"
        )
    else:
        mask = f" and {DATA_MASK}" if masked else ""
        yield (
            f"output {output.id!r} has {output.bands} bands, the job names {names}{mask}: {count + masked}; "
            f"name every band that the script returns, in its order"
        )

"""Rules for faults as people write them: a short text, JSON, or a file of JSON or TOML.

Refuses to strike: it checks, and says what it does not understand.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from shdask.emulator.faults.rules import KINDS, Fault, Page, RetryAfter, Service

SUFFIXES = {".json": json.loads, ".toml": tomllib.loads}
SHORT = re.compile(
    r"(?:(?P<service>[a-z]+)/)?(?P<kind>[a-z0-9-]+)(?:=(?P<value>[^:@x]+))?(?::(?P<probability>[^@x]+))?"
    r"(?:@(?:every(?P<every>\d+)|(?P<first>\d+)(?P<to>-)?(?P<last>\d+)?))?(?:x(?P<times>\d+))?"
)
FORM = "[service/]kind[=value][:probability][@call, @first-last or @everyN][xTIMES]"
PARAMETERS = frozenset(kind.parameter for kind in KINDS.values() if kind.parameter)


def _read_kind(value: object) -> object:
    # a status is a number in JSON
    kind = str(value)
    if kind not in KINDS:
        raise ValueError(f"there is no kind {kind!r}; there are {', '.join(KINDS)}")
    return kind


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Annotated[str, BeforeValidator(_read_kind)]
    service: Service = "process"
    contains: str | None = Field(default=None, min_length=1)
    probability: float = Field(default=1.0, ge=0, le=1)
    first: int = Field(default=1, ge=1)
    last: int | None = Field(default=None, ge=1)
    every: int = Field(default=1, ge=1)
    after_s: float = Field(default=0.0, ge=0)
    for_s: float | None = Field(default=None, gt=0)
    times: int | None = Field(default=None, ge=1)
    charged: bool = False
    page: Page = "json"
    retry_after: RetryAfter = "ms"
    at: float = Field(default=0.5, ge=0, lt=1)
    nbytes_per_s: float = Field(default=4096.0, gt=0)
    delay_s: float = Field(default=1.0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _is_of_its_service(cls, rule: Any) -> Any:
        kind = KINDS.get(str(rule.get("kind"))) if isinstance(rule, dict) else None
        return {"service": "job", **rule} if kind is not None and kind.job else rule

    @model_validator(mode="after")
    def _fits_its_kind(self) -> _Rule:
        kind = KINDS[self.kind]
        if strange := sorted(self.model_fields_set & (PARAMETERS - {kind.parameter})):
            raise ValueError(f"{self.kind} has no {', '.join(strange)}")
        if self.last is not None and self.last < self.first:
            raise ValueError(f"the last call, {self.last}, comes before the first, {self.first}")
        if kind.spoils and "charged" in self.model_fields_set and not self.charged:
            raise ValueError(f"{self.kind} is made of the real answer, which is charged")
        if kind.job and self.model_fields_set & {"charged"}:
            raise ValueError(f"{self.kind} befalls a job, which was charged for by itself")
        if kind.job != (self.service == "job"):
            raise ValueError(f"{self.kind} {'befalls jobs alone' if kind.job else 'befalls no job'}")
        return self


def read_faults(source: str | Sequence[Mapping[str, Any]]) -> tuple[Fault, ...]:
    """The rules in a short text, in the file of this path (``.json`` or ``.toml``), or in these mappings.

    A file holds a list of rules, or such a list by the name of ``faults``. Reads that file and nothing else; raises
    ValueError that names the rule and what is wrong with it.
    """
    if not isinstance(source, str) or Path(source).suffix.lower() not in SUFFIXES:
        return parse_faults(source)
    path = Path(source)
    try:
        content = SUFFIXES[path.suffix.lower()](path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"the faults in {source} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"the faults in {source} cannot be read: {error}") from error
    return parse_faults(content.get("faults", content) if isinstance(content, dict) else content)


def parse_faults(source: object) -> tuple[Fault, ...]:
    """The rules in a short text such as ``503:0.05,reset:0.01x3,token/401@2-4``, in one mapping or in a list of them.

    Pure; raises ValueError that names the rule and what is wrong with it.
    """
    if isinstance(source, str):
        return tuple(_parse_short(text.strip()) for text in source.split(",") if text.strip())
    rules = [source] if isinstance(source, Mapping) else source
    if not isinstance(rules, Sequence):
        raise ValueError(f"faults are a text, a rule or a list of rules, not {type(source).__name__}")  # noqa: TRY004  # one class for all that is wrong in a text
    return tuple(_parse_rule(rule, f"fault {number}") for number, rule in enumerate(rules, start=1))


def _parse_short(text: str) -> Fault:
    match = SHORT.fullmatch(text)
    if match is None:
        raise ValueError(f"the fault {text!r} cannot be read; its form is {FORM}")
    rule = {name: value for name, value in match.groupdict().items() if value is not None}
    value = rule.pop("value", None)
    if rule.pop("to", None) is None and "first" in rule:
        rule["last"] = rule["first"]
    kind = KINDS.get(rule["kind"])
    if kind is not None and value is not None:
        if kind.parameter is None:
            raise ValueError(f"the fault {text!r}: {rule['kind']} takes no value")
        rule[kind.parameter] = value
    return _parse_rule(rule, f"the fault {text!r}")


def _parse_rule(rule: object, name: str) -> Fault:
    try:
        checked = _Rule.model_validate(rule)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = "->".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{name}: {place + ': ' if place else ''}{message}") from None
    return Fault(**checked.model_dump(exclude_unset=True))

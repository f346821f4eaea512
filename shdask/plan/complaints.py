"""Turns what pydantic found wrong with a job into one PlanError that lists every problem with its place and cure.

Refuses to know how a job is planned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from shdask.errors import PlanError
from shdask.request.collections import closest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

T = TypeVar("T")
LATER = frozenset({"delivery", "evalscript", "input_bands", "mosaicking", "outputs", "route"})
"""Keys of jobs that this version does not build."""
NOT_BUILT = "this version builds one mosaic layer from bands with the Process API"


class Table(BaseModel):
    """A frozen table of the job; unknown keys are errors, and every error is a PlanError."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    if not TYPE_CHECKING:  # type checkers keep the signature that the fields give

        def __init__(self, /, **data: Any) -> None:
            validate = self.__pydantic_validator__.validate_python
            complain(lambda: validate(data, self_instance=self), model=type(self), where=type(self).__name__)

        # As in pydantic's RootModel: a table inside a table is validated by the outer one, so that places stay whole.
        __init__.__pydantic_base_init__ = True


def complain(read: Callable[[], T], *, model: type[BaseModel], where: str, table: str = "") -> T:
    """What ``read`` returns; its ValidationError becomes a PlanError with one line for each problem.

    ``where`` names the file or class; ``table`` is the TOML table that holds the fields of ``model`` itself.
    """
    try:
        return read()
    except ValidationError as error:
        lines = dict.fromkeys(_line(detail, model, where, table) for detail in error.errors())
        raise PlanError("\n".join(lines)) from None


def unknown_key(name: str, known: Iterable[str]) -> str:
    """What to say of a key that is not among ``known``. Pure."""
    if name in LATER:
        return f"{NOT_BUILT}; leave it out"
    known = sorted(known)
    near = closest(name, known)
    return f"is not known{near}" if near else f"is not known; known are {', '.join(known)}"


def _line(detail: ErrorDetails, model: type[BaseModel], where: str, table: str) -> str:
    place, holder = _place(detail["loc"], model)
    if table and (not place or (holder is model and not _is_table(model, place[0]))):
        place = [table, *place]
    text = _text(detail, holder)
    return f"{where}: {'.'.join(place)}: {text}" if place else f"{where}: {text}"


def _place(loc: tuple[int | str, ...], model: type[BaseModel]) -> tuple[list[str], type[BaseModel]]:
    """The keys that lead to a problem, without pydantic's own names of union members, and the table they end in."""
    place: list[str] = []
    holder, rest = model, list(loc)
    while rest:
        key = str(rest.pop(0))
        place.append(key)
        inner = _inner_table(holder, key)
        if inner is None:
            place[-1] += "".join(f"[{part}]" for part in rest if isinstance(part, int))
            break
        if inner is not getattr(holder.model_fields[key], "annotation", None) and rest:
            place.append(str(rest.pop(0)))
        holder = inner if rest else holder
    return place, holder


def _inner_table(holder: type[BaseModel], key: str) -> type[BaseModel] | None:
    field = holder.model_fields.get(key)
    annotation = field.annotation if field else None
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _is_table(model: type[BaseModel], key: str) -> bool:
    return _inner_table(model, key) is not None


def _text(detail: ErrorDetails, holder: type[BaseModel]) -> str:
    kind, key, given, context = (
        detail["type"],
        str(detail["loc"][-1]) if detail["loc"] else "",
        detail["input"],
        detail.get("ctx", {}),
    )
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return unknown_key(key, holder.model_fields)
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        later = f"; {NOT_BUILT}" if key == "cadence" else ""
        return f"{given!r} is not one of {context['expected']}{later}"
    if kind == "too_long" and key == "layers":
        return f"{len(given)} layers are given; {NOT_BUILT}: write one job file for each layer"
    message = detail["msg"].removeprefix("Input ")
    return f"{message} (given: {given!r})"

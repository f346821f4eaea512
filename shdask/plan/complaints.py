"""Turns what pydantic found wrong with a job into one PlanError that lists every problem with its place and cure.

Refuses to know how a job is planned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from shdask.errors import PlanError
from shdask.request.collections import closest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

T = TypeVar("T")
EVERY = "*"
"""A name that stands for all, and is not in the job."""
SECRETS = frozenset({"client_id", "client_secret", "sh_client_id", "sh_client_secret"})
S3_SECRETS = frozenset(
    {
        *("access_key", "access_key_id", "aws_access_key_id", "key"),
        *("secret", "secret_access_key", "secret_key", "aws_secret_access_key", "session_token", "aws_session_token"),
    }
)
EXAMPLES = {
    "bands": '["B02", "B03"]',
    "clear": "{min = 0.2}",
    "collection": '"sentinel-2-l2a"',
    "crs": '"EPSG:32633"',
    "encode": '{dtype = "int16", scale = 0.01}',
    "extent": "[left, bottom, right, top]",
    "origin": "[0, 0]",
    "s3_url": '"s3://bucket/prefix"',
    "time": '["2024-06-01", "2024-06-30"], the first and the last day',
}
"""What values look like whose form is not plain from their key."""
PLAIN = {
    "date_from_datetime_inexact": "must be a whole day",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "too_long": "has too many values",
    "tuple_type": "must be a list",
}
"""What pydantic says in terms of Python, in terms of a job."""


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
    if name in SECRETS:
        return "is never read from a job; set SH_CLIENT_ID and SH_CLIENT_SECRET in the environment"
    if name.lower() in S3_SECRETS:
        return "is never read from a job; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
    known = sorted(known)
    near = closest(name, known)
    return f"is not known{near}" if near else f"is not known; known are {', '.join(known)}"


def _line(detail: ErrorDetails, model: type[BaseModel], where: str, table: str) -> str:
    place, holder = _place(detail["loc"], model)
    text = _text(detail, holder, model)
    if detail["type"] in {"dict_type", "model_type"} and place[0] == "layers" and len(place) <= 2:  # noqa: PLR2004  # a name
        place, text = ["layers"], 'must hold layers by name: [layers.s2] in a job file, {"s2": Layer(...)} in Python'
    if table and (not place or (holder is model and not _is_table(model, place[0]))):
        place = [table, *place]
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
        if get_origin(getattr(holder.model_fields[key], "annotation", None)) is dict and rest:
            name = str(rest.pop(0))
            place += [name] if name != EVERY else []
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


def _table_with(key: str, model: type[BaseModel], holder: type[BaseModel]) -> str | None:
    """Header of the job's table that has ``key``, where ``holder`` has not."""
    if holder is not model and key in model.model_fields and not _is_table(model, key):
        return "[cube]"
    for name in model.model_fields:
        inner = _inner_table(model, name)
        if inner is not None and inner is not holder and key in inner.model_fields:
            return f"[{name}.NAME]" if name == "layers" else f"[{name}]"
    return None


def _text(detail: ErrorDetails, holder: type[BaseModel], model: type[BaseModel]) -> str:
    kind, key, given, context = (
        detail["type"],
        str(detail["loc"][-1]) if detail["loc"] else "",
        detail["input"],
        detail.get("ctx", {}),
    )
    name = next((part for part in reversed(detail["loc"]) if isinstance(part, str)), "")
    example = f"; write {name} = {EXAMPLES[name]}" if name in EXAMPLES else ""
    if kind in {"missing", "too_short"}:
        return ("is missing" if kind == "missing" else "is empty") + example
    if kind == "extra_forbidden":
        home = _table_with(key, model, holder)
        return f"belongs in {home}" if home else unknown_key(key, holder.model_fields)
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"{given!r} is not one of {context['expected']}"
    message = PLAIN.get(kind, detail["msg"].removeprefix("Input "))
    return f"{message} (given: {given!r}){example}"

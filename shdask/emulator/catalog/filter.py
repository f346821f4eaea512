"""CQL2 filters, as text and as JSON: comparisons of a collection's queryables with constants, joined by AND.

Refuses to know items; of CQL2 it knows what the Catalog documents, and refuses the rest.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shdask.emulator.catalog.error import CatalogError, invalid

Value = float | str
Queryables = Mapping[str, Mapping[str, Any]]
"""Property -> its JSON Schema, of type ``number`` or ``string``."""

COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
BETWEEN = "between"
OPERANDS = {**dict.fromkeys(COMPARISONS, 2), BETWEEN: 3}
TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<text>'(?:[^']|'')*')
    |"(?P<quoted>[^"]+)"
    |(?P<word>[A-Za-z_][\w:.]*)
    |(?P<sign><>|<=|>=|[=<>()])
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One comparison."""

    property: str
    operator: str
    values: tuple[Value, ...]
    """One constant; two for ``between``, both inclusive."""

    def holds(self, properties: Mapping[str, Any]) -> bool:
        """Whether an item with these properties meets it; one without the property does not. Pure."""
        if self.property not in properties:
            return False
        actual = properties[self.property]
        if self.operator == BETWEEN:
            return bool(self.values[0] <= actual <= self.values[1])
        return COMPARISONS[self.operator](actual, self.values[0])


def read_filter(source: object, language: str | None, queryables: Queryables) -> tuple[Condition, ...]:
    """The conditions of a filter, which must all hold; ``language`` None is told from the filter's type.

    Pure; raises CatalogError (400) for what is no CQL2, not served, or about a property that cannot be asked for.
    """
    if isinstance(source, str) and language in {None, "cql2-text"}:
        conditions = tuple(_read_text(source))
    elif isinstance(source, dict) and language in {None, "cql2-json"}:
        conditions = tuple(_read_json(source))
    else:
        raise invalid(f"The filter does not match filter-lang {language}.")
    for condition in conditions:
        _check(condition, queryables)
    return conditions


def _check(condition: Condition, queryables: Queryables) -> None:
    if condition.property not in queryables:
        known = ", ".join(queryables) or "none"
        raise invalid(f"The property {condition.property} cannot be filtered by; this collection has {known}.")
    kind = queryables[condition.property]["type"]
    for value in condition.values:
        if isinstance(value, str) != (kind == "string"):
            raise invalid(f"The property {condition.property} is a {kind}, it cannot be compared with {value!r}.")
    if condition.operator == BETWEEN and kind != "number":
        raise invalid(f"The property {condition.property} is a {kind}; between is for numbers.")


def _read_json(source: dict[str, Any]) -> Iterator[Condition]:
    waiting: list[object] = [source]
    while waiting:
        expression = waiting.pop()
        if not isinstance(expression, dict) or not isinstance(expression.get("args"), list):
            raise invalid("A filter in cql2-json must be an object with op and args.")
        kind, arguments = str(expression.get("op")), expression["args"]
        # two are documented as the least, the service's own client sends one
        if kind == "and" and arguments:
            waiting.extend(reversed(arguments))
        elif len(arguments) == OPERANDS.get(kind):
            yield _compare(kind, arguments)
        else:
            raise _unserved(kind)


def _compare(kind: str, arguments: list[Any]) -> Condition:
    left, *values = arguments
    if not isinstance(left, dict) or not isinstance(left.get("property"), str):
        raise invalid("The first argument of a comparison must be a property.")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise invalid("The other arguments of a comparison must be numbers or texts.")
    return Condition(property=left["property"], operator=kind, values=tuple(values))


def _unserved(kind: str) -> CatalogError:
    served = ", ".join(COMPARISONS)
    return invalid(
        f"The operator {kind} with these arguments is not supported; operators are {served}, between, joined by and."
    )


def _read_text(source: str) -> Iterator[Condition]:
    tokens, depth = _Tokens(source), 0
    while True:
        # only AND joins, so brackets need to be balanced and nothing else
        while tokens.take_sign("("):
            depth += 1
        yield _read_comparison(tokens)
        while depth and tokens.take_sign(")"):
            depth -= 1
        if tokens.at_end and not depth:
            return
        tokens.expect_word("AND")


def _read_comparison(tokens: _Tokens) -> Condition:
    name = tokens.take_property()
    if tokens.take_word("BETWEEN"):
        low = tokens.take_value()
        tokens.expect_word("AND")
        return Condition(property=name, operator=BETWEEN, values=(low, tokens.take_value()))
    for sign in COMPARISONS:
        if tokens.take_sign(sign):
            return Condition(property=name, operator=sign, values=(tokens.take_value(),))
    raise tokens.surprise()


class _Tokens:
    """The words of a filter, one after the other."""

    def __init__(self, source: str) -> None:
        self._source = source.rstrip()
        self._position = 0

    @property
    def at_end(self) -> bool:
        return self._position == len(self._source)

    def take_sign(self, sign: str) -> bool:
        return self._take("sign", lambda found: found == sign) is not None

    def take_word(self, word: str) -> bool:
        return self._take("word", lambda found: found.upper() == word) is not None

    def expect_word(self, word: str) -> None:
        if not self.take_word(word):
            raise self.surprise()

    def take_property(self) -> str:
        name = self._take("quoted") or self._take("word")
        if name is None or name.upper() in {"NOT", "AND", "OR", "TRUE", "FALSE"}:
            raise self.surprise()
        return name

    def take_value(self) -> Value:
        if (number := self._take("number")) is not None:
            return float(number)
        if (text := self._take("text")) is not None:
            return text[1:-1].replace("''", "'")
        raise self.surprise()

    def surprise(self) -> CatalogError:
        rest = self._source[self._position : self._position + 40] or "the end"
        served = ", ".join(COMPARISONS)
        return invalid(f"The filter is not understood at: {rest}; operators are {served} and BETWEEN, joined by AND.")

    def _take(self, kind: str, fits: Callable[[str], bool] = bool) -> str | None:
        match = TOKEN.match(self._source, self._position)
        if match is None or (found := match[kind]) is None or not fits(found):
            return None
        self._position = match.end()
        return str(found)

"""Which options a layer's requests carry, and what they make of the price: defaults, preset and the job's own. Pure.

Refuses to know where a job wrote them, and the options that every collection has, such as time and clouds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shdask.errors import PlanError
from shdask.request.collections import Choice, Collection, closest


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a collection's requests say beyond time, clouds, order and resampling; as the service's JSON has it."""

    data_filter: Mapping[str, Any]
    processing: Mapping[str, Any]
    price_factor: float
    """Processing units are multiplied by this."""


def make_options(
    collection: Collection,
    *,
    bands: Sequence[str] = (),
    preset: str | None = None,
    data_filter: Mapping[str, Any] | None = None,
    processing: Mapping[str, Any] | None = None,
) -> Options:
    """The options of requests for ``bands``: the collection's defaults and preset, and over them the job's own. Pure.

    Keys and values are the service's (``polarization``, ``demInstance``); None in the job's own takes a default away.
    Raises PlanError, with the cure, for an unknown preset, option or value, for options that do not go together and
    for a band that does not exist with them.
    """
    _check(collection, "filter", collection.filter_options, data_filter or {})
    _check(collection, "processing", collection.processing_options, processing or {})
    chosen_filter = _merge(collection.filter_defaults, data_filter or {})
    chosen_processing = _merge(_preset(collection, preset), processing or {})
    for rule in collection.requirements:
        if _holds(chosen_processing, rule.option, rule.value):
            _check_together(f"{rule.option} {rule.value}", chosen_processing, {k: (v,) for k, v in rule.needs.items()})
    for info in map(collection.band, bands):
        # a job may take a filter away, where it knows which scenes there are
        filters = {option: values for option, values in info.needs_filter.items() if option in chosen_filter}
        _check_together(f"band {info.name} of {collection.name}", chosen_filter, filters)
        _check_together(f"band {info.name} of {collection.name}", chosen_processing, info.needs_processing)
    return Options(
        data_filter=chosen_filter, processing=chosen_processing, price_factor=_price(collection, chosen_processing)
    )


def _preset(collection: Collection, name: str | None) -> Mapping[str, Any]:
    if name is None:
        return collection.processing_defaults
    if name not in collection.presets:
        known = f"choose {', '.join(collection.presets)}" if collection.presets else "leave it out"
        raise PlanError(f"{collection.name} has no preset {name!r}{closest(name, collection.presets)}; {known}")
    return collection.presets[name]


def _check(collection: Collection, part: str, known: Mapping[str, Choice], said: Mapping[str, Any]) -> None:
    for option, value in said.items():
        if option not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise PlanError(f"{collection.name} has no {part} option {option!r}{closest(option, known)}; {has}")
        choice = known[option]
        if value is None:
            continue
        if isinstance(choice, Mapping):
            if not isinstance(value, Mapping):
                raise PlanError(f"{collection.name}: {option} is a table of {', '.join(choice)}, not {value!r}")
            _check(collection, option, choice, value)
        elif not _is_among(value, choice):
            near = closest(value, map(str, choice)) if isinstance(value, str) else ""
            raise PlanError(
                f"{collection.name}: {option} = {_show(value)} is not known{near}; choose {_show_all(choice)}"
            )


def _check_together(what: str, chosen: Mapping[str, Any], needed: Mapping[str, Sequence[Any]]) -> None:
    for option, values in needed.items():
        found = chosen.get(option)
        if not _is_among(found, values):
            now = f"not {_show(found)}" if found is not None else "which is not said"
            raise PlanError(f"{what} needs {option} = {_show_all(values)}, {now}; set {option}")


def _merge(defaults: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**defaults, **said}.items() if value is not None}


def _price(collection: Collection, processing: Mapping[str, Any]) -> float:
    factor = 1.0
    for alternatives in collection.surcharges:
        factor *= next((rule.factor for rule in alternatives if _holds(processing, rule.option, rule.value)), 1.0)
    return factor


def _holds(chosen: Mapping[str, Any], option: str, value: Any) -> bool:
    found = chosen.get(option)
    # an option that is an object says by its type what it is
    return bool((found.get("type") if isinstance(found, Mapping) else found) == value)


def _is_among(value: object, choice: Sequence[Any]) -> bool:
    """Whether it is one of them, and no number for a truth value."""
    return any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in choice)


def _show(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _show_all(values: Sequence[Any]) -> str:
    *first, end = map(_show, values)
    return f"{', '.join(first)} or {end}" if first else end

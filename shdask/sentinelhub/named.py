"""Classes whose instances can be had by name, as those of an enumeration: ``C.NAME``, ``C["NAME"]``, ``for x in C``.

Refuses to know what the instances are; unlike an enumeration it never grows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class Named(type):
    """Metaclass that looks names up in the mapping which the class's ``_named`` gives."""

    def _named(cls) -> Mapping[str, Any]:
        """The instances by name, in order; the class defines it."""
        raise NotImplementedError(cls.__name__)

    @property
    def __members__(cls) -> Mapping[str, Any]:
        return cls._named()

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_") or name not in (named := cls._named()):
            raise AttributeError(f"{cls.__name__} has no {name}")
        return named[name]

    def __getitem__(cls, name: str) -> Any:
        return cls._named()[name]

    def __iter__(cls) -> Iterator[Any]:
        return iter(cls._named().values())

    def __len__(cls) -> int:
        return len(cls._named())

    def __bool__(cls) -> bool:
        return True

    def __contains__(cls, thing: object) -> bool:
        return thing in cls._named().values()

    def __dir__(cls) -> list[str]:
        return sorted({*type.__dir__(cls), *cls._named()})

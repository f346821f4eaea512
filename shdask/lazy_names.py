"""Public names of a package that are imported when they are first used, so that importing the package is light.

PEP 562; refuses to know the names.
"""

from collections.abc import Callable, Mapping
from importlib import import_module


def names_from(
    package: str, homes: Mapping[str, str], hint: str = ""
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of ``package``, whose public names live in the modules ``homes`` tells.

    Modules are named as seen from the package. ``hint`` ends what is said of a name that there is not.
    """

    def get(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}{hint}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    def names() -> list[str]:
        return sorted({*vars(import_module(package)), *homes})

    return get, names

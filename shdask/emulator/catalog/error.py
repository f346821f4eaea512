"""How the Catalog says no: another form than the other services', without the ``error`` wrapper.

Refuses to know who says no, and why.
"""

from __future__ import annotations


class CatalogError(Exception):
    """A call that the Catalog answers with an error of its own."""

    def __init__(self, status: int, code: str, description: str) -> None:
        super().__init__(status, code, description)
        self.status = status
        self.code = code
        self.description = description

    def body(self) -> dict[str, str]:
        """The answer's JSON, a ``CatalogException``. Pure. The codes are not documented; these are the emulator's."""
        return {"code": self.code, "description": self.description}


def invalid(description: str) -> CatalogError:
    """A 400 for a parameter with a value that cannot be. Pure."""
    return CatalogError(400, "InvalidParameter", description)

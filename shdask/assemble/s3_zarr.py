"""zarr's store over obstore, made to travel without keys.

Refuses to know anything but how it is made again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from zarr.abc.store import Store
from zarr.storage import ObjectStore

if TYPE_CHECKING:
    from obstore.store import S3Store


class PlaceStore(ObjectStore["S3Store"]):
    """Pickles as a URL: whoever unpickles it needs keys of their own."""

    def __init__(self, store: S3Store, *, read_only: bool = False, url: str) -> None:
        super().__init__(store, read_only=read_only)
        self._url = url

    def with_read_only(self, read_only: bool = False) -> Self:  # noqa: D102  # zarr's own
        return type(self)(self.store, read_only=read_only, url=self._url)

    def __reduce__(self) -> tuple[Callable[[str, bool], Store], tuple[str, bool]]:
        return _reopen, (self._url, self.read_only)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlaceStore) and (self._url, self.read_only) == (other._url, other.read_only)

    __hash__ = None  # type: ignore[assignment]  # as zarr's stores


def _reopen(url: str, read_only: bool) -> Store:
    from shdask.assemble.s3 import S3Place

    return S3Place.from_url(url).zarr_store(read_only=read_only)

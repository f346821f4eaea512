"""The data collections: those of collections.toml, and those that a script defines.

Refuses to know how a collection is written in a request.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.resources import files
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict, TypeVar, Unpack

import numpy as np

from shdask.sentinelhub.bands import Band, Unit
from shdask.sentinelhub.named import Named

T = TypeVar("T")

ORBIT_DIRECTION_BOTH = "BOTH"


class _CommonFields(TypedDict, total=False):
    api_id: str | None
    catalog_id: str | None
    wfs_id: str | None
    service_url: str | None
    collection_type: str | None
    sensor_type: str | None
    processing_level: str | None
    swath_mode: str | None
    polarization: str | None
    resolution: str | None
    orbit_direction: str | None
    timeliness: str | None
    bands: tuple[Band, ...] | None
    metabands: tuple[Band, ...] | None
    is_timeless: bool
    has_cloud_coverage: bool
    dem_instance: str | None


class DefinitionFields(_CommonFields, total=False):
    """What may be said of a collection: the fields of ``DataCollectionDefinition``."""

    collection_id: str | None


class OwnFields(_CommonFields, total=False):
    """What may be said of a user's own collection besides its id."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCollectionDefinition:
    """All that is known of a collection, without its name."""

    api_id: str | None = None
    """The id in Process requests."""
    catalog_id: str | None = None
    wfs_id: str | None = None
    service_url: str | None = None
    """The deployment that serves it; None leaves the choice to the configuration."""
    collection_type: str | None = None
    sensor_type: str | None = None
    processing_level: str | None = None
    swath_mode: str | None = None
    polarization: str | None = None
    resolution: str | None = None
    orbit_direction: str | None = None
    timeliness: str | None = None
    bands: tuple[Band, ...] | None = None
    metabands: tuple[Band, ...] | None = None
    collection_id: str | None = None
    """The id of a user's own collection, without its prefix."""
    is_timeless: bool = False
    has_cloud_coverage: bool = False
    dem_instance: str | None = None

    def __post_init__(self) -> None:
        for name in ("bands", "metabands"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))

    def derive(self, **params: Unpack[DefinitionFields]) -> DataCollectionDefinition:
        """The same definition with some fields changed. Pure."""
        return replace(self, **params)


class DataCollection(metaclass=Named):
    """A collection by name: ``DataCollection.SENTINEL2_L2A``, or one that a script defines.

    The fields of its definition are attributes. Collections with one definition are equal.
    ``DataCollection(definition)`` finds the one with that definition, or raises ValueError.
    """

    __slots__ = ("name", "value")

    name: str
    value: DataCollectionDefinition

    if TYPE_CHECKING:
        SENTINEL2_L1C: ClassVar[DataCollection]
        SENTINEL2_L2A: ClassVar[DataCollection]

    def __new__(cls, value: object) -> DataCollection:  # noqa: PYI034  # a definition is one object of this very class
        """The collection with the definition ``value``."""
        if isinstance(value, DataCollection):
            return value
        found = _find(value)
        if found is None:
            raise ValueError(f"{value!r} is not the definition of a known data collection")
        return found

    @classmethod
    def _named(cls) -> Mapping[str, DataCollection]:
        return {**_built_in(), **_DEFINED.snapshot()}

    @classmethod
    def define(cls, name: str, **params: Unpack[DefinitionFields]) -> DataCollection:
        """A new collection called ``name``; from now on, in this process, also ``DataCollection.<name>``.

        Defining the same again gives the same. Raises ValueError where the name, or a collection just like it,
        already exists, and TypeError for a field that does not.
        """
        return _DEFINED.add(name, DataCollectionDefinition(**params))

    def define_from(self, name: str, **params: Unpack[DefinitionFields]) -> DataCollection:
        """A new collection like this one, with some fields changed. Raises as ``define`` does."""
        return _DEFINED.add(name, self.value.derive(**params))

    @classmethod
    def define_byoc(cls, collection_id: str, **params: Unpack[OwnFields]) -> DataCollection:
        """A collection that a user brought, by its id without prefix. Raises as ``define`` does."""
        return cls._define_own("BYOC", collection_id, params)

    @classmethod
    def define_batch(cls, collection_id: str, **params: Unpack[OwnFields]) -> DataCollection:
        """A collection made by a batch job, by its id without prefix. Raises as ``define`` does."""
        return cls._define_own("BATCH", collection_id, params)

    @classmethod
    def _define_own(cls, kind: str, collection_id: str, params: Mapping[str, Any]) -> DataCollection:
        own_id = f"{kind.lower()}-{collection_id}"
        usual = {"api_id": own_id, "catalog_id": own_id, "wfs_id": own_id, "collection_type": kind}
        said = {"name": f"{kind}_{collection_id}", **usual, **params, "collection_id": collection_id}
        return cls.define(**said)

    @classmethod
    def get_available_collections(cls) -> list[DataCollection]:
        """Every collection that has a name, the built-in ones first."""
        return list(cls)

    @property
    def api_id(self) -> str:
        """The id in Process requests. Raises ValueError where none is defined."""
        return self._required(self.value.api_id, "a Process API id")

    @property
    def catalog_id(self) -> str:
        """The id in the Catalog, else the one in Process requests. Raises ValueError where neither is defined."""
        return self._required(self.value.catalog_id or self.value.api_id, "a Catalog id")

    @property
    def wfs_id(self) -> str:
        """The id in the WFS. Raises ValueError where none is defined."""
        return self._required(self.value.wfs_id, "a WFS id")

    @property
    def bands(self) -> tuple[Band, ...]:
        """The bands that hold measurements. Raises ValueError where none are defined."""
        return self._required(self.value.bands, "bands")

    @property
    def metabands(self) -> tuple[Band, ...]:
        """The bands of masks, classes and angles. Raises ValueError where none are defined."""
        return self._required(self.value.metabands, "metabands")

    @property
    def is_sentinel1(self) -> bool:
        """Whether it holds scenes of Sentinel-1. Pure."""
        return self.value.collection_type == "Sentinel-1"

    @property
    def is_byoc(self) -> bool:
        """Whether a user brought it. Pure."""
        return self.value.collection_type == "BYOC"

    @property
    def is_batch(self) -> bool:
        """Whether a batch job made it. Pure."""
        return self.value.collection_type == "BATCH"

    def contains_orbit_direction(self, orbit_direction: str) -> bool:
        """Whether it holds scenes of orbits in this direction. Pure."""
        own = (self.value.orbit_direction or ORBIT_DIRECTION_BOTH).upper()
        return own in {ORBIT_DIRECTION_BOTH, orbit_direction.upper()}

    def __getattr__(self, name: str) -> Any:
        if name not in _FIELDS:
            raise AttributeError(f"a data collection has no {name}")
        return getattr(self.value, name)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, DataCollection) and self.value == other.value)

    def __hash__(self) -> int:
        return hash(self.value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.name, self.value)

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in _told(self.value).items())
        return f"<DataCollection.{self.name}: {said}>"

    def __str__(self) -> str:
        return f"DataCollection.{self.name}"

    def _required(self, value: T | None, what: str) -> T:
        if value is None:
            raise ValueError(f"{self} lacks {what}; define a collection that has, with define_from")
        return value


class _Defined:
    """The collections that ``define`` was told of in this process; threads may share it.

    sentinelhub-py's collections are an enumeration that grows, and scripts use the new members by name; so there must
    be one place that remembers them. Nothing else is kept between calls.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_name: dict[str, DataCollection] = {}

    def snapshot(self) -> Mapping[str, DataCollection]:
        return dict(self._by_name)

    def add(self, name: str, definition: DataCollectionDefinition) -> DataCollection:
        with self._lock:
            known = {**_built_in(), **self._by_name}
            if name in known and known[name].value == definition:
                return known[name]
            twin = next((other for other in known.values() if other.value == definition), None)
            if name in known or twin is not None:
                taken = f"the name {name!r} is taken" if name in known else f"{name!r} would be the same as {twin}"
                raise ValueError(f"{taken}; a data collection has one name and one definition")
            self._by_name[name] = _make(name, definition)
            return self._by_name[name]


_DEFINED = _Defined()
_FIELDS = frozenset(field.name for field in fields(DataCollectionDefinition))


def _make(name: str, definition: DataCollectionDefinition) -> DataCollection:
    collection = object.__new__(DataCollection)
    collection.name = name
    collection.value = definition
    return collection


def _find(definition: object) -> DataCollection | None:
    return next((known for known in DataCollection._named().values() if known.value == definition), None)  # noqa: SLF001  # of this module


def _restore(name: str, definition: DataCollectionDefinition) -> DataCollection:
    # A pickled collection of another process is equal to its original, and defines no name here.
    return _find(definition) or _make(name, definition)


def _told(definition: DataCollectionDefinition) -> dict[str, Any]:
    plain = {field.name: getattr(definition, field.name) for field in fields(definition)}
    return {name: value for name, value in plain.items() if value and name not in {"bands", "metabands"}}


@cache
def _built_in() -> Mapping[str, DataCollection]:
    tables = tomllib.loads(files("shdask.sentinelhub").joinpath("collections.toml").read_text("utf-8"))
    found: dict[str, DataCollection] = {}
    for name, table in tables.items():
        said = dict(table)
        like = found[said.pop("like")].value if "like" in said else DataCollectionDefinition()
        said |= {key: _read_bands(said[key]) for key in ("bands", "metabands") if key in said}
        found[name] = _make(name, like.derive(**said))
    return MappingProxyType(found)


def _read_bands(groups: list[dict[str, list[str]]]) -> tuple[Band, ...]:
    return tuple(
        Band(name, tuple(map(Unit, group["units"])), tuple(map(_sample_type, group["types"])))
        for group in groups
        for name in group["names"]
    )


def _sample_type(name: str) -> type:
    scalar: type = bool if name == "bool" else np.dtype(name).type
    return scalar

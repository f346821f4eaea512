"""The built-in collections are sentinelhub-py's, and scripts can define their own."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import uuid
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from shdask.sentinelhub import Band, DataCollection, Unit
from shdask.sentinelhub.collections import DataCollectionDefinition

BUILT_IN = [
    "SENTINEL2_L1C", "SENTINEL2_L2A", "SENTINEL1", "SENTINEL1_IW", "SENTINEL1_IW_ASC", "SENTINEL1_IW_DES",
    "SENTINEL1_EW", "SENTINEL1_EW_ASC", "SENTINEL1_EW_DES", "SENTINEL1_EW_SH", "SENTINEL1_EW_SH_ASC",
    "SENTINEL1_EW_SH_DES", "DEM", "DEM_MAPZEN", "DEM_COPERNICUS_30", "DEM_COPERNICUS_90", "MODIS", "LANDSAT_MSS_L1",
    "LANDSAT_TM_L1", "LANDSAT_TM_L2", "LANDSAT_ETM_L1", "LANDSAT_ETM_L2", "LANDSAT_OT_L1", "LANDSAT_OT_L2",
    "SENTINEL5P", "SENTINEL3_OLCI", "SENTINEL3_SLSTR", "HARMONIZED_LANDSAT_SENTINEL",
]  # fmt: skip  # a list to be read
FIELDS = [
    "service_url", "collection_type", "sensor_type", "processing_level", "swath_mode", "polarization", "resolution",
    "orbit_direction", "timeliness", "collection_id", "is_timeless", "has_cloud_coverage", "dem_instance",
    "is_sentinel1", "is_byoc", "is_batch",
]  # fmt: skip
REQUIRED = ["api_id", "catalog_id", "wfs_id"]


@pytest.fixture
def name() -> str:
    """A name that no other test has defined."""
    return f"T_{uuid.uuid4().hex}"


@pytest.mark.parametrize("collection", BUILT_IN)
def test_built_in_collections_are_those_of_sentinelhub_py(collection: str, theirs: ModuleType) -> None:
    """Every field, id and band is equal, and what is missing is missed alike."""
    assert _tell(DataCollection[collection]) == _tell(theirs.DataCollection[collection])


def test_all_built_in_collections_are_there_in_order(theirs: ModuleType) -> None:
    """Iteration begins with sentinelhub-py's collections, in its order."""
    assert [one.name for one in DataCollection][: len(BUILT_IN)] == BUILT_IN
    assert [one.name for one in theirs.DataCollection][: len(BUILT_IN)] == BUILT_IN


def test_a_collection_has_a_name_and_a_definition() -> None:
    """It is found by attribute, by item and by definition, and is one object."""
    collection = DataCollection.SENTINEL2_L2A
    assert collection.name == "SENTINEL2_L2A"
    assert (
        DataCollection["SENTINEL2_L2A"] is collection is DataCollection(collection.value) is DataCollection(collection)
    )


def test_bands_say_their_units() -> None:
    """A band knows its name, units and sample types."""
    band = DataCollection.SENTINEL2_L2A.bands[0]
    assert (band.name, band.units, [kind.__name__ for kind in band.output_types]) == (
        "B01",
        (Unit.REFLECTANCE, Unit.DN),
        ["float32", "uint16"],
    )


def test_a_derived_collection_keeps_the_rest(name: str) -> None:
    """``define_from`` changes what is given only, and the original not at all."""
    derived = DataCollection.SENTINEL2_L2A.define_from(name, service_url="http://127.0.0.1:1")
    assert derived.value == DataCollection.SENTINEL2_L2A.value.derive(service_url="http://127.0.0.1:1")
    assert DataCollection.SENTINEL2_L2A.service_url == "https://services.sentinel-hub.com"


def test_a_defined_collection_has_its_name(name: str) -> None:
    """Once defined, it is an attribute and is among the collections."""
    defined = DataCollection.define(name, api_id=name)
    assert getattr(DataCollection, name) is defined
    assert defined in DataCollection.get_available_collections()


def test_defining_the_same_again_gives_the_same(name: str) -> None:
    """A notebook's cell may run twice."""
    assert DataCollection.define(name, api_id=name) is DataCollection.define(name, api_id=name)


@pytest.mark.parametrize(("other", "fields"), [("", {"api_id": "x"}), ("_2", {})], ids=["name", "definition"])
def test_what_is_taken_is_refused_alike(name: str, other: str, fields: dict[str, str], theirs: ModuleType) -> None:
    """One name has one definition, and back, as in sentinelhub-py."""
    DataCollection.define(name, api_id=name)
    theirs.DataCollection.define(name, api_id=name)
    with pytest.raises(ValueError, match="taken"):
        theirs.DataCollection.define(name + other, **{"api_id": name, **fields})
    with pytest.raises(ValueError, match="one name and one definition"):
        DataCollection.define(name + other, **{"api_id": name, **fields})


@pytest.mark.parametrize("kind", ["define_byoc", "define_batch"])
@pytest.mark.parametrize(
    "fields", [{}, {"service_url": "http://127.0.0.1:1", "bands": [Band("B1", (Unit.DN,), (bool,))]}, {"api_id": "x"}]
)
def test_own_collections_are_those_of_sentinelhub_py(
    name: str, kind: str, fields: dict[str, Any], theirs: ModuleType
) -> None:
    """Ids, type, name and whatever else is said are equal."""
    own_id = name[2:]
    fields = {key: value + own_id if key == "api_id" else value for key, value in fields.items()}
    ours, other = (
        getattr(DataCollection, kind)(own_id, **fields),
        getattr(theirs.DataCollection, kind)(own_id, **fields),
    )
    assert (ours.name, *_tell(ours)) == (other.name, *_tell(other))


def test_unknown_fields_are_refused(name: str) -> None:
    """A misspelled field is a TypeError, and defines nothing."""
    with pytest.raises(TypeError, match="servise_url"):
        DataCollection.SENTINEL2_L2A.define_from(name, servise_url="x")
    assert not hasattr(DataCollection, name)


def test_missing_ids_are_refused_with_advice(name: str) -> None:
    """The message says how to get one."""
    with pytest.raises(ValueError, match=r"lacks a Process API id; .*define_from"):
        _ = DataCollection.define(name, catalog_id=name).api_id


def test_an_unknown_definition_is_no_collection() -> None:
    """``DataCollection(...)`` finds, it does not define."""
    with pytest.raises(ValueError, match="not the definition"):
        DataCollection(DataCollectionDefinition(api_id="nobody-has-this"))


def test_built_in_collections_keep_their_identity() -> None:
    """A pickled or copied collection is the same object."""
    collection = DataCollection.DEM_COPERNICUS_30
    assert pickle.loads(pickle.dumps(collection)) is collection is copy.deepcopy(collection)  # noqa: S301  # our own bytes


def test_a_collection_of_another_process_defines_nothing_here() -> None:
    """Unpickling gives an equal collection and leaves this process's names alone."""
    code = (
        "import pickle, sys; from shdask.sentinelhub import DataCollection as D;"
        "sys.stdout.buffer.write(pickle.dumps(D.SENTINEL2_L2A.define_from('ELSEWHERE', service_url='http://127.0.0.1:9')))"
    )
    sent = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    collection = pickle.loads(sent)  # noqa: S301  # our own bytes
    assert (collection.name, collection.service_url) == ("ELSEWHERE", "http://127.0.0.1:9")
    assert not hasattr(DataCollection, "ELSEWHERE")


@pytest.mark.parametrize("direction", ["ASCENDING", "descending", "BOTH"])
@pytest.mark.parametrize("collection", ["SENTINEL1", "SENTINEL1_IW_ASC", "SENTINEL1_EW_DES", "DEM"])
def test_orbit_directions_are_contained_alike(collection: str, direction: str, theirs: ModuleType) -> None:
    """A collection of both directions contains either."""
    ours = DataCollection[collection].contains_orbit_direction(direction)
    assert ours == theirs.DataCollection[collection].contains_orbit_direction(direction)


def _tell(collection: Any) -> tuple[object, ...]:
    said = [getattr(collection, field) for field in FIELDS]
    required = [_or_error(lambda field=field: getattr(collection, field)) for field in REQUIRED]
    return said, required, _bands(collection, "bands"), _bands(collection, "metabands")


def _bands(collection: Any, kind: str) -> object:
    bands = _or_error(lambda: getattr(collection, kind))
    return bands if isinstance(bands, type) else [(b.name, [u.value for u in b.units], b.output_types) for b in bands]


def _or_error(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except ValueError as error:
        return type(error)

"""Common names of bands."""

from __future__ import annotations

import pytest
from pystac.extensions.eo import Band

from shdask.errors import PlanError
from shdask.request.collections import find_collection
from shdask.request.common_names import COMMON_NAMES, find_bands

EVERY = [(collection, name) for collection, names in COMMON_NAMES.items() for name in names]
LATER = {"rededge071", "rededge075", "rededge078"}
"""Of version 2 of the extension, which pystac's table does not have yet."""


@pytest.mark.parametrize(("collection", "name"), [pair for pair in EVERY if pair[1] not in LATER])
def test_names_are_those_of_the_extension(collection: str, name: str):
    """As pystac knows them."""
    assert Band.band_range(name) is not None


@pytest.mark.parametrize(("collection", "name"), EVERY)
def test_names_are_of_bands_that_the_service_has(collection: str, name: str):
    """No name leads nowhere."""
    assert COMMON_NAMES[collection][name] in find_collection(collection).bands


def test_bands_are_found_by_either_name_in_the_order_asked():
    """Prithvi's six, of which the narrow infrared is B8A on Sentinel-2."""
    stored = ["B02", "B03", "B04", "B08", "B8A", "B11", "B12"]
    asked = ["swir22", "blue", "B03", "red", "nir08", "swir16"]
    found = find_bands(asked, stored=stored, collection="sentinel-2-l2a")
    assert found == ("B12", "B02", "B03", "B04", "B8A", "B11")


def test_landsat_numbers_its_bands_otherwise():
    """The same names, other bands."""
    found = find_bands(["blue", "nir08", "swir16"], stored=["B02", "B05", "B06"], collection="landsat-ot-l2")
    assert found == ("B02", "B05", "B06")


def test_bands_of_scripts_go_by_their_own_names():
    """Whatever the collection is called."""
    assert find_bands(["ndvi"], stored=["ndvi"], collection="byoc-1") == ("ndvi",)


def test_a_name_that_is_not_stored_is_refused_with_those_there_are():
    """A band of the collection that the layer leaves out, and a slip of the pen."""
    with pytest.raises(PlanError, match=r"swir16 cannot be had .* which has here red, B04"):
        find_bands(["swir16"], stored=["B04"], collection="sentinel-2-l2a")
    with pytest.raises(PlanError, match="did you mean green"):
        find_bands(["gren"], stored=["B03"], collection="sentinel-2-l2a")

"""What is known of the service's collections."""

from __future__ import annotations

import pytest
from sentinelhub import DataCollection

from shdask.errors import PlanError
from shdask.request.collections import find_collection
from shdask.request.evalscript import SAMPLE_DTYPES, RequestedBand

PEERS = {
    "sentinel-1-grd": (DataCollection.SENTINEL1_IW, DataCollection.SENTINEL1_EW),
    "dem": (DataCollection.DEM,),
    "landsat-ot-l1": (DataCollection.LANDSAT_OT_L1,),
    "landsat-ot-l2": (DataCollection.LANDSAT_OT_L2,),
}
"""What the service's own client says of the same collections."""
KNOWN = ["sentinel-2-l1c", "sentinel-2-l2a", *PEERS]


def _units_of_peer(name: str) -> dict[str, str]:
    bands = [band for peer in PEERS[name] for band in (*peer.bands, *peer.metabands)]
    return {band.name: band.units[0].value for band in bands if band.name != "dataMask"}


@pytest.mark.parametrize("name", PEERS)
def test_bands_and_units_are_those_of_the_services_own_client(name: str) -> None:
    """Every band it has, and no other, in its usual unit."""
    found = find_collection(name).bands
    assert {band.name: band.units[0] for band in found.values()} == _units_of_peer(name)


@pytest.mark.parametrize("name", [name for name in KNOWN if name != "dem"])
def test_the_catalogue_is_where_the_services_own_client_has_it(name: str) -> None:
    """Names of collections and of catalogues agree."""
    catalogues = {peer.api_id: peer.catalog_id for peer in DataCollection if peer.api_id == name}
    assert {find_collection(name).catalog_id} == set(catalogues.values())


def test_heights_have_no_time() -> None:
    """Nothing to search, nothing to name a time for, and no days to return at once."""
    heights = find_collection("dem")
    assert (heights.catalog_id, heights.has_time, heights.orbit_dates) == (None, False, False)


@pytest.mark.parametrize(("name", "orbit_dates"), [("byoc-3c4d", True), ("zarr-3c4d", False), ("sentinel-2-l2a", True)])
def test_a_collection_says_whether_one_request_can_bring_several_days(name: str, orbit_dates: bool) -> None:
    """ORBIT mosaicking, which Zarr collections have not."""
    assert find_collection(name).orbit_dates is orbit_dates


def test_a_users_collection_is_its_own_catalogue() -> None:
    """Its acquisitions can be searched, and yet its time need not be named."""
    own = find_collection("byoc-3c4d")
    assert (own.catalog_id, own.has_time) == ("byoc-3c4d", False)


@pytest.mark.parametrize(
    ("name", "band", "dn", "value"),
    [
        ("landsat-ot-l2", "B04", 10_000, 0.075),
        ("landsat-ot-l2", "B10", 44_000, 299.39288),
        ("landsat-ot-l1", "B04", 1234, 0.1234),
        ("landsat-ot-l1", "B11", 29_300, 293.0),
    ],
)
def test_landsat_is_bought_as_16_bit(name: str, band: str, dn: int, value: float) -> None:
    """Level 2 in the source's own steps (USGS: DN x 0.0000275 - 0.2, DN x 0.00341802 + 149.0), so that none is lost."""
    encoding = find_collection(name).band(band).encoding
    assert dn * encoding.scale + encoding.offset == pytest.approx(value, rel=1e-12)


def _encodings() -> list[tuple[str, str]]:
    return [(name, info.name) for name in KNOWN for info in find_collection(name).bands.values() if info.encoding]


@pytest.mark.parametrize(("name", "band"), _encodings())
def test_every_encoding_can_be_asked_for(name: str, band: str) -> None:
    """Its sample type is the service's, and of 16 bit; scale and offset are taken by a script."""
    info = find_collection(name).band(band)
    RequestedBand(name=band, unit=info.units[0], scale=info.encoding.scale, offset=info.encoding.offset)
    assert SAMPLE_DTYPES[info.encoding.sample_type] in {"uint16", "int16"}


@pytest.mark.parametrize(("band", "is_power"), [("VV", True), ("localIncidenceAngle", False)])
def test_decibels_are_made_of_power_only(band: str, is_power: bool) -> None:
    """An angle has none."""
    assert find_collection("sentinel-1-grd").band(band).is_power is is_power


def test_l1c_has_its_thirteen_bands() -> None:
    """Spectral bands of the service's own table; L2A lacks B10."""
    bands = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"]
    dn = [band.name for band in find_collection("sentinel-2-l1c").bands.values() if band.reflectance_per_dn]
    assert dn == bands
    assert "B10" not in find_collection("sentinel-2-l2a").bands


@pytest.mark.parametrize(
    ("band", "units", "dtype", "classes"),
    [
        ("B04", ("DN", "REFLECTANCE"), "uint16", False),
        ("SCL", ("DN",), "uint8", True),
        ("CLD", ("PERCENT",), "uint8", False),
        ("viewZenithMean", ("DEGREES",), "float32", False),
    ],
)
def test_a_band_knows_its_units_and_type(band: str, units: tuple[str, ...], dtype: str, classes: bool) -> None:
    """Literal rows of the service's table for Sentinel-2 L2A."""
    info = find_collection("sentinel-2-l2a").band(band)
    assert (info.units, info.dtype, info.classes) == (units, dtype, classes)


def test_a_users_collection_takes_any_band() -> None:
    """byoc- ids are 16 bit DN with names that only their owner knows."""
    band = find_collection("byoc-3c4d").band("my_band")
    assert (band.units, band.dtype) == (("DN",), "uint16")


def test_an_unknown_collection_is_refused_with_near_names() -> None:
    """A typing error is told apart from what this version cannot build."""
    with pytest.raises(PlanError, match=r"'sentinel2-l2a' is not known \(did you mean sentinel-2-l2a"):
        find_collection("sentinel2-l2a")


def test_an_unknown_band_is_refused_with_near_names() -> None:
    """And with the list of what there is."""
    with pytest.raises(PlanError, match=r"has no band 'b4' \(did you mean B04.*it has B01, B02"):
        find_collection("sentinel-2-l2a").band("b4")


def test_a_users_collection_needs_its_id() -> None:
    """The prefix alone names nothing."""
    with pytest.raises(PlanError, match=r"'byoc-' is not known.*byoc-<id>"):
        find_collection("byoc-")

"""What is known of the service's collections."""

from __future__ import annotations

import pytest

from shdask.errors import PlanError
from shdask.request.collections import find_collection


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

"""What product names tell."""

from __future__ import annotations

import pytest

from shdask.plan.product import read_product

S2 = "S2A_MSIL2A_20240610T100559_N0510_R022_T33TVM_20240610T164912"
S1 = "S1A_IW_GRDH_1SDV_20170909T175748_20170909T175813_018302_01EC88_98A1"
LANDSAT = "LC08_L2SP_192028_20240601_20240610_02_T1"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (S2, ("sentinel-2a", 22, "05.10")),
        (S2 + ".SAFE", ("sentinel-2a", 22, "05.10")),
        ("S2A_OPER_MSI_L1C_TL_SGS__20160112T213211_A002925_T18SVG_N02.01", ("sentinel-2a", None, "02.01")),
        (S1, ("sentinel-1a", 30, None)),
        ("S1B_IW_GRDH_1SDV_20170903T175659_20170903T175724_007231_00CBEF_874B", ("sentinel-1b", 30, None)),
        ("S1C_IW_GRDH_1SDV_20250903T175659_20250903T175724_003231_00CBEF_874B", ("sentinel-1c", None, None)),
        (LANDSAT, ("landsat-8", 192, None)),
        ("my own scene of 2024-06-01", (None, None, None)),
    ],
)
def test_names_tell_satellite_orbit_and_baseline(name: str, told: tuple[object, ...]) -> None:
    """Both Sentinels, old and new names, Landsat; orbits of Sentinel-1 are those its performance centre computed."""
    product = read_product(name)
    assert (product.platform, product.relative_orbit, product.baseline) == told


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (S2, "S2A_MSIL2A_20240610T100559_N0511_R022_T33TVM_20250110T164912"),
        (S2, "S2A_MSIL2A_20240610T100559_N0510_R022_T33TVM_20240611T010203"),
        ("LC08_L2SP_192028_20240601_20240602_02_RT", LANDSAT),
    ],
)
def test_a_view_processed_again_is_the_same_and_later(old: str, new: str) -> None:
    """A newer baseline, the same baseline again, a real-time product made definitive."""
    one, two = read_product(old), read_product(new)
    assert one.view == two.view
    assert one.made < two.made


@pytest.mark.parametrize(
    "other",
    [
        S2.replace("T33TVM", "T33TWM"),
        S2.replace("L2A", "L1C"),
        S2.replace("100559", "100601"),
        S2.replace("S2A", "S2B"),
        S1,
    ],
)
def test_another_tile_level_or_datatake_is_another_view(other: str) -> None:
    """Whatever tells pixels apart is in the view."""
    assert read_product(other).view != read_product(S2).view


def test_radar_products_of_one_view_differ_in_their_checksum_only() -> None:
    """The last four digits of Sentinel-1's names change when a slice is processed again."""
    assert read_product(S1).view == read_product(S1[:-4] + "0000").view
    assert read_product(S1).view != read_product(S1.replace("20170909T175748", "20170909T175813")).view


def test_a_name_of_no_pattern_has_no_view() -> None:
    """Nothing is claimed of users' own scenes."""
    assert read_product("scene").view is None

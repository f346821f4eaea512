"""What published models want, held against their published configs."""

from __future__ import annotations

import pytest

from shdask.errors import PlanError
from shdask.patches.reading.alignment import AllDates, ClearestDates
from shdask.patches.reading.presets import PRESETS, find_preset
from shdask.request.common_names import COMMON_NAMES, find_bands

STORED = {
    "S2L2A": ("sentinel-2-l2a", tuple(COMMON_NAMES["sentinel-2-l2a"].values())),
    "S2L1C": ("sentinel-2-l1c", tuple(COMMON_NAMES["sentinel-2-l1c"].values())),
    "S1GRD": ("sentinel-1-grd", ("VV", "VH")),
    "S1RTC": ("sentinel-1-grd", ("VV", "VH")),
    "DEM": ("dem", ("DEM",)),
}

# https://huggingface.co/ibm-nasa-geospatial/Prithvi-EO-2.0-300M/blob/main/config.json, pretrained_cfg. Its bands are
# HLS's, B02 B03 B04 B05 B06 B07, which terratorch at 85467a9 (prithvi_vit.py, PRETRAINED_BANDS) calls BLUE, GREEN, RED,
# NIR_NARROW, SWIR_1, SWIR_2: on Sentinel-2 B02, B03, B04, B8A, B11, B12. prithvi_vit.py has the first version's too.
PRITHVI_2 = {
    "img_size": 224,
    "num_frames": 4,
    "mean": [1087.0, 1342.0, 1433.0, 2734.0, 1958.0, 1363.0],
    "std": [2248.0, 2179.0, 2178.0, 1850.0, 1242.0, 1049.0],
}
PRITHVI_1 = {
    "img_size": 224,
    "num_frames": 3,
    "mean": [775.0, 1081.0, 1229.0, 2497.0, 2204.0, 1611.0],
    "std": [1282.0, 1270.0, 1399.0, 1368.0, 1292.0, 1155.0],
}
# https://github.com/Clay-foundation/model, configs/metadata.yaml at v1.0 and at a5790ce (v1.5); sizes of
# configs/config.yaml. Its names blue green red rededge1 rededge2 rededge3 nir nir08 swir16 swir22, on Sentinel-2:
CLAY_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
CLAY_MEAN = [1105.0, 1355.0, 1552.0, 1887.0, 2422.0, 2630.0, 2743.0, 2785.0, 2388.0, 1835.0]
CLAY_STD = [1809.0, 1757.0, 1888.0, 1870.0, 1732.0, 1697.0, 1742.0, 1648.0, 1470.0, 1379.0]
# https://github.com/IBM/terratorch at 85467a9, terratorch/models/backbones/terramind/model/terramind_register.py:
# v1_pretraining_mean and v1_pretraining_std of untok_*@224, and PRETRAINED_BANDS.
TERRAMIND = {
    "S2L2A": (
        [
            *(1390.458, 1503.317, 1718.197, 1853.91, 2199.1, 2779.975),
            *(2987.011, 3083.234, 3132.22, 3162.988, 2424.884, 1857.648),
        ],
        [
            *(2106.761, 2141.107, 2038.973, 2134.138, 2085.321, 1889.926),
            *(1820.257, 1871.918, 1753.829, 1797.379, 1434.261, 1334.311),
        ],
        "B01 B02 B03 B04 B05 B06 B07 B08 B8A B09 B11 B12",
    ),
    "S2L1C": (
        [
            *(2357.089, 2137.385, 2018.788, 2082.986, 2295.651, 2854.537),
            *(3122.849, 3040.56, 3306.481, 1473.847, 506.07, 2472.825, 1838.929),
        ],
        [
            *(1624.683, 1675.806, 1557.708, 1833.702, 1823.738, 1733.977),
            *(1732.131, 1679.732, 1727.26, 1024.687, 442.165, 1331.411, 1160.419),
        ],
        "B01 B02 B03 B04 B05 B06 B07 B08 B8A B09 B10 B11 B12",
    ),
    "S1GRD": ([-12.599, -20.293], [5.195, 5.890], "VV VH"),
    "S1RTC": ([-10.93, -17.329], [4.391, 4.459], "VV VH"),
    "DEM": ([670.665], [951.272], "DEM"),
}


def bands_of(preset: str, modality: str) -> tuple[str, ...]:
    collection, stored = STORED[modality]
    return find_bands(find_preset(preset).modalities[modality].bands, stored=stored, collection=collection)


@pytest.mark.parametrize(("name", "published"), [("prithvi-eo-1.0", PRITHVI_1), ("prithvi-eo-2.0", PRITHVI_2)])
def test_prithvi_is_as_published(name: str, published: dict):
    """Six bands as HLS has them, 224 px, three and four dates, reflectance x 10,000."""
    preset = find_preset(name)
    scaling = preset.modalities["S2L2A"].scaling
    assert bands_of(name, "S2L2A") == ("B02", "B03", "B04", "B8A", "B11", "B12")
    assert (list(scaling.means), list(scaling.stds)) == (published["mean"], published["std"])
    assert (preset.size_px, preset.steps, preset.resolution_m) == (published["img_size"], published["num_frames"], 30)
    assert preset.modalities["S2L2A"].values == "dn"


@pytest.mark.parametrize(
    ("name", "size_px", "values", "mean", "std"),
    [
        ("clay-v1", 224, "power", (0.123273, 0.027337), (1.492154, 0.122182)),
        ("clay-v1.5", 256, "db", (-12.113, -18.673), (8.314, 8.017)),
    ],
)
def test_clay_is_as_published(name: str, size_px: int, values: str, mean: tuple, std: tuple):
    """Ten bands of Sentinel-2 and radar, which version 1.5 has in decibels."""
    preset = find_preset(name)
    optical, radar = preset.modalities["S2L2A"], preset.modalities["S1RTC"]
    assert bands_of(name, "S2L2A") == CLAY_BANDS
    assert (list(optical.scaling.means), list(optical.scaling.stds)) == (CLAY_MEAN, CLAY_STD)
    assert (radar.bands, radar.values, radar.scaling.means, radar.scaling.stds) == (("VV", "VH"), values, mean, std)
    assert (preset.size_px, preset.steps, preset.resolution_m) == (size_px, 1, 10)


@pytest.mark.parametrize("modality", TERRAMIND)
def test_terramind_is_as_published(modality: str):
    """Every modality of TerraMesh that the service has."""
    mean, std, bands = TERRAMIND[modality]
    found = find_preset("terramind-1.0").modalities[modality]
    assert bands_of("terramind-1.0", modality) == tuple(bands.split())
    assert (list(found.scaling.means), list(found.scaling.stds)) == (mean, std)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_every_preset_has_a_mean_and_a_std_for_each_band(preset):
    """And says where its figures come from."""
    assert all(len(each.bands) == len(each.scaling.means) for each in preset.modalities.values())
    assert preset.source.startswith("https://")


def test_a_view_takes_the_model_s_dates_unless_told():
    """Prithvi's four, or a rule of the user's."""
    preset = find_preset("prithvi-eo-2.0")
    assert preset.view("s2").time == AllDates(count=4)
    assert preset.view("s2", time=ClearestDates(count=4)).time == ClearestDates(count=4)
    assert preset.view("s2").layer == "s2"


def test_unknown_names_are_refused_with_those_there_are():
    """Of a preset, and of a modality that must be named."""
    with pytest.raises(PlanError, match=r"clay-v1\.5"):
        find_preset("clay")
    with pytest.raises(PlanError, match="none of S2L2A, S1RTC"):
        find_preset("clay-v1").view("s2")

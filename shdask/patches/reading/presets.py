"""What published models want to be given: bands and their order, scaling, size and dates, as their configs say.

Pure. Refuses to know models themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from shdask.errors import PlanError
from shdask.patches.reading.alignment import Alignment, AllDates
from shdask.patches.reading.views import LayerView, Scaling, Values

_L2A_12 = (
    *("coastal", "blue", "green", "red", "rededge071", "rededge075", "rededge078"),
    *("nir", "nir08", "nir09", "swir16", "swir22"),
)
_CLAY_10 = ("blue", "green", "red", "rededge071", "rededge075", "rededge078", "nir", "nir08", "swir16", "swir22")
_PRITHVI_6 = ("blue", "green", "red", "nir08", "swir16", "swir22")
_RADAR = ("VV", "VH")
S2L2A, S2L1C, S1GRD, S1RTC, DEM = "S2L2A", "S2L1C", "S1GRD", "S1RTC", "DEM"


@dataclass(frozen=True, slots=True, kw_only=True)
class Modality:
    """One kind of input."""

    bands: tuple[str, ...]
    """Common names, or the service's own where there is none, in the model's order."""
    scaling: Scaling
    values: Values
    """What the scaling's figures are of."""

    @classmethod
    def of(cls, bands: tuple[str, ...], values: Values, means: tuple[float, ...], stds: tuple[float, ...]) -> Modality:
        """Figures in the order of ``bands``."""
        return cls(bands=bands, values=values, scaling=Scaling(means=means, stds=stds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """What a model was trained on."""

    name: str
    source: str
    """Where its authors publish these figures."""
    size_px: int
    steps: int
    """Dates of a sample."""
    resolution_m: float
    modalities: Mapping[str, Modality]

    def view(self, layer: str = "", *, modality: str | None = None, time: Alignment | None = None) -> LayerView:
        """What of ``layer`` the model wants; ``time`` is by default the first ``steps`` dates. Pure.

        Raises PlanError for a modality that the model does not have, or where it has several and none is named.
        """
        if modality is None and len(self.modalities) == 1:
            modality = next(iter(self.modalities))
        if modality is None or modality not in self.modalities:
            raise PlanError(f"{self.name}: modality {modality!r} is none of {', '.join(self.modalities)}")
        wanted = self.modalities[modality]
        return LayerView(
            layer=layer,
            bands=wanted.bands,
            time=AllDates(count=self.steps) if time is None else time,
            values=wanted.values,
            scaling=wanted.scaling,
        )


def find_preset(name: str) -> Preset:
    """The preset of that name. Pure. Raises PlanError that names those there are."""
    if name not in PRESETS:
        raise PlanError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]


# Prithvi's six bands are those of HLS, which numbers Sentinel-2's as Landsat's: its B05, B06, B07 are B8A, B11, B12.
# HLS has reflectance x 10,000 at 30 m.
_PRITHVI_1 = Preset(
    name="prithvi-eo-1.0",
    source="https://github.com/IBM/terratorch/blob/85467a9/terratorch/models/backbones/prithvi_vit.py",
    size_px=224,
    steps=3,
    resolution_m=30,
    modalities={
        S2L2A: Modality.of(
            _PRITHVI_6,
            "dn",
            (775.0, 1081.0, 1229.0, 2497.0, 2204.0, 1611.0),
            (1282.0, 1270.0, 1399.0, 1368.0, 1292.0, 1155.0),
        )
    },
)
_PRITHVI_2 = Preset(
    name="prithvi-eo-2.0",
    source="https://huggingface.co/ibm-nasa-geospatial/Prithvi-EO-2.0-300M/blob/main/config.json",
    size_px=224,
    steps=4,
    resolution_m=30,
    modalities={
        S2L2A: Modality.of(
            _PRITHVI_6,
            "dn",
            (1087.0, 1342.0, 1433.0, 2734.0, 1958.0, 1363.0),
            (2248.0, 2179.0, 2178.0, 1850.0, 1242.0, 1049.0),
        )
    },
)
_CLAY_S2 = Modality.of(
    _CLAY_10,
    "dn",
    (1105.0, 1355.0, 1552.0, 1887.0, 2422.0, 2630.0, 2743.0, 2785.0, 2388.0, 1835.0),
    (1809.0, 1757.0, 1888.0, 1870.0, 1732.0, 1697.0, 1742.0, 1648.0, 1470.0, 1379.0),
)
# Its Landsat figures are of digital numbers that the service does not give, and are left out.
_CLAY_1 = Preset(
    name="clay-v1",
    source="https://github.com/Clay-foundation/model/blob/v1.0/configs/metadata.yaml",
    size_px=224,
    steps=1,
    resolution_m=10,
    modalities={S2L2A: _CLAY_S2, S1RTC: Modality.of(_RADAR, "power", (0.123273, 0.027337), (1.492154, 0.122182))},
)
_CLAY_1_5 = Preset(
    name="clay-v1.5",
    source="https://github.com/Clay-foundation/model/blob/a5790ce/configs/metadata.yaml",
    size_px=256,
    steps=1,
    resolution_m=10,
    modalities={S2L2A: _CLAY_S2, S1RTC: Modality.of(_RADAR, "db", (-12.113, -18.673), (8.314, 8.017))},
)
# Part of TerraMesh's Sentinel-2 scenes have, others lack, the 1000 that processing baseline 04.00 adds
# (https://nilsleh.github.io/blog/2026/terramesh-data-inconsistency); the service's numbers lack it.
_TERRAMIND = Preset(
    name="terramind-1.0",
    source=(
        "https://github.com/IBM/terratorch/blob/85467a9/terratorch/models/backbones/terramind/model/"
        "terramind_register.py"
    ),
    size_px=224,
    steps=1,
    resolution_m=10,
    modalities={
        S2L2A: Modality.of(
            _L2A_12,
            "dn",
            (
                *(1390.458, 1503.317, 1718.197, 1853.91, 2199.1, 2779.975),
                *(2987.011, 3083.234, 3132.22, 3162.988, 2424.884, 1857.648),
            ),
            (
                *(2106.761, 2141.107, 2038.973, 2134.138, 2085.321, 1889.926),
                *(1820.257, 1871.918, 1753.829, 1797.379, 1434.261, 1334.311),
            ),
        ),
        S2L1C: Modality.of(
            (*_L2A_12[:10], "cirrus", *_L2A_12[10:]),
            "dn",
            (
                *(2357.089, 2137.385, 2018.788, 2082.986, 2295.651, 2854.537, 3122.849),
                *(3040.56, 3306.481, 1473.847, 506.07, 2472.825, 1838.929),
            ),
            (
                *(1624.683, 1675.806, 1557.708, 1833.702, 1823.738, 1733.977, 1732.131),
                *(1679.732, 1727.26, 1024.687, 442.165, 1331.411, 1160.419),
            ),
        ),
        S1GRD: Modality.of(_RADAR, "db", (-12.599, -20.293), (5.195, 5.890)),
        S1RTC: Modality.of(_RADAR, "db", (-10.93, -17.329), (4.391, 4.459)),
        DEM: Modality.of(("DEM",), "stored", (670.665,), (951.272,)),
    },
)
PRESETS: Mapping[str, Preset] = MappingProxyType(
    {preset.name: preset for preset in (_PRITHVI_1, _PRITHVI_2, _CLAY_1, _CLAY_1_5, _TERRAMIND)}
)
"""By name. TerraMind was trained on TerraMesh, and its figures are those of TerraMesh's modalities."""

"""The options of ``input.data[]``: which a collection has, what they may be, and what they come to.

Refuses to know how pixels follow from them. An option of another collection is ignored, whatever it holds.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from shdask.emulator.evalscript.setup import ScriptInput
from shdask.emulator.process.choices import BackCoeff, Choices, Resampling
from shdask.emulator.refusal import Refusal, bad_payload
from shdask.emulator.times import OPEN, read_time

RESAMPLING = frozenset({"upsampling", "downsampling"})
OPTICAL = frozenset({"timeRange", "mosaickingOrder", "maxCloudCoverage"})
FILTERS = {
    "sentinel-2": OPTICAL | {"previewMode"},
    "sentinel-1": frozenset(
        {
            "timeRange",
            "mosaickingOrder",
            "resolution",
            "acquisitionMode",
            "polarization",
            "orbitDirection",
            "timeliness",
        }
    ),
    "landsat": OPTICAL | {"tiers"},
    "dem": frozenset({"demInstance"}),
    "zarr": OPTICAL,
    "own": OPTICAL,
}
"""Kind of collection -> the members of its ``dataFilter``, after the schemas S2L1CFiltering, S1Filtering and so on."""
PROCESSING = {
    "sentinel-2": RESAMPLING | {"harmonizeValues"},
    "sentinel-1": RESAMPLING
    | {"backCoeff", "orthorectify", "demInstance", "speckleFilter", "radiometricTerrainOversampling"},
    "landsat": RESAMPLING,
    "dem": RESAMPLING | {"egm", "clampNegative"},
    "zarr": RESAMPLING,
    "own": RESAMPLING,
}
MOSAICKINGS = {"sentinel-1": ("SIMPLE", "ORBIT"), "dem": ("SIMPLE",), "zarr": ("SIMPLE", "TILE")}
"""Kinds that have not every mosaicking. For the DEM this is not documented: it has no scenes and no dates."""
KINDS = {"S2L1C": "sentinel-2", "S2L2A": "sentinel-2", "S1GRD": "sentinel-1", "dem": "dem", "DEM": "dem"}
"""Old names; the others start as their kind does."""
WITHOUT_CLOUDS = ("sentinel-1", "byoc-", "batch-", "zarr-", "S1GRD")
"""How the types of collections start that do not know the order leastCC."""
TIERS = {"TIER_1": ("T1",), "TIER_1_AND_RT": ("T1", "RT"), "ALL_TIERS": ("T1", "T2", "RT")}


def kind_of(collection: str) -> str:
    """Whose options a collection has: a key of FILTERS. Pure."""
    begins = [kind for kind in ("sentinel-2", "sentinel-1", "landsat", "zarr") if collection.startswith(kind)]
    return begins[0] if begins else KINDS.get(collection, "own")


def _read_time(value: object) -> object:
    # the service's own client writes an open end so
    if value == OPEN:
        return None
    return read_time(value if isinstance(value, str) else "")


def _read_flag(value: object) -> object:
    # the documentation's own examples write "true" in quotes
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


Time = Annotated[datetime | None, BeforeValidator(_read_time)]
Flag = Annotated[bool, BeforeValidator(_read_flag)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


class TimeRange(_Part):
    """``dataFilter.timeRange``, both ends inclusive; None is open."""

    start: Time = Field(alias="from")
    end: Time = Field(alias="to")

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.start is not None and self.end is not None and self.start > self.end:
            raise ValueError("from must not be after to")
        return self


class DataFilter(_Part):
    """``input.data[].dataFilter``: the members of all collections."""

    time_range: TimeRange | None = Field(default=None, alias="timeRange")
    mosaicking_order: Literal["mostRecent", "leastRecent", "leastCC"] = Field("mostRecent", alias="mosaickingOrder")
    max_cloud_coverage: float = Field(100.0, alias="maxCloudCoverage", ge=0, le=100)
    preview_mode: Literal["DETAIL", "TILE_PREVIEW", "PREVIEW", "EXTENDED_PREVIEW"] = Field(
        "DETAIL", alias="previewMode"
    )
    resolution: Literal["HIGH", "MEDIUM", "FULL"] | None = None
    acquisition_mode: Literal["SM", "IW", "EW", "WV", "EN", "AN", "IM"] | None = Field(None, alias="acquisitionMode")
    polarization: Literal["SH", "SV", "DH", "DV", "HH", "HV", "VV", "VH"] | None = None
    orbit_direction: Literal["ASCENDING", "DESCENDING"] | None = Field(None, alias="orbitDirection")
    timeliness: Literal["NRT10m", "NRT1h", "NRT3h", "Fast24h", "Offline", "Reprocessing", "ArchNormal"] | None = None
    tiers: Literal["TIER_1", "TIER_1_AND_RT", "ALL_TIERS"] = "ALL_TIERS"
    dem_instance: Literal["MAPZEN", "COPERNICUS_30", "COPERNICUS_90"] | None = Field(None, alias="demInstance")


class SpeckleFilter(_Part):
    """``processing.speckleFilter`` of Sentinel-1."""

    type: Literal["LEE", "NONE"]
    window_x: int | None = Field(None, alias="windowSizeX", ge=1, le=7)
    window_y: int | None = Field(None, alias="windowSizeY", ge=1, le=7)

    @model_validator(mode="after")
    def _check_window(self) -> Self:
        if self.type == "LEE" and (self.window_x is None or self.window_y is None):
            raise ValueError("the LEE filter needs windowSizeX and windowSizeY")
        return self


class Processing(_Part):
    """``input.data[].processing``: the members of all collections."""

    upsampling: Resampling = "NEAREST"
    downsampling: Resampling = "NEAREST"
    harmonize_values: Flag = Field(default=True, alias="harmonizeValues")
    back_coeff: BackCoeff = Field("GAMMA0_ELLIPSOID", alias="backCoeff")
    orthorectify: Flag = False
    dem_instance: Literal["MAPZEN", "COPERNICUS", "COPERNICUS_30", "COPERNICUS_90"] | None = Field(
        None, alias="demInstance"
    )
    speckle_filter: SpeckleFilter | None = Field(None, alias="speckleFilter")
    terrain_oversampling: float = Field(2.0, alias="radiometricTerrainOversampling", ge=1, le=4)
    """Checked, and without effect: the synthetic Earth's heights are exact everywhere."""
    egm: Flag = False
    clamp_negative: Flag = Field(default=False, alias="clampNegative")


class DataItem(_Part):
    """``input.data[]``."""

    type: str
    id: str | None = None
    data_filter: DataFilter = Field(default=DataFilter.model_validate({}), alias="dataFilter")
    processing: Processing = Processing.model_validate({})

    @model_validator(mode="before")
    @classmethod
    def _drop_foreign(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("type"), str):
            return value
        kind = kind_of(value["type"])
        known = {"dataFilter": FILTERS[kind], "processing": PROCESSING[kind]}
        return {
            name: {key: option for key, option in member.items() if key in known[name]}
            if name in known and isinstance(member, dict)
            else member
            for name, member in value.items()
        }


def check_use(collection: str, choices: Choices, item: ScriptInput) -> None:
    """Raise Refusal (400) for a mosaicking or a band of setup() that a collection does not have with these choices.

    Pure. Code and words are not documented.
    """
    kind = kind_of(collection)
    if item.mosaicking not in MOSAICKINGS.get(kind, (item.mosaicking,)):
        raise bad_payload(f"The mosaicking {item.mosaicking} is not supported by {collection}.")
    if kind != "sentinel-1":
        return
    for band in item.bands:
        if band.name in {"scatteringArea", "shadowMask"} and not choices.terrain_corrected:
            raise Refusal(400, "RENDERER_EXCEPTION", f"Band {band.name} requires radiometric terrain correction.")
        if band.name == "localIncidenceAngle" and not choices.orthorectify:
            raise Refusal(400, "RENDERER_EXCEPTION", f"Band {band.name} requires orthorectification.")


def read_choices(item: DataItem, place: str) -> Choices:
    """What an input chose.

    Pure; raises Refusal (400) for choices that do not go together, at ``place``, such as ``input->data->0``.
    """
    asked, processing = item.data_filter, item.processing
    if asked.mosaicking_order == "leastCC" and item.type.startswith(WITHOUT_CLOUDS):
        message = f"The mosaickingOrder leastCC does not exist for {item.type}."
        raise bad_payload(message, f"{place}->dataFilter->mosaickingOrder")
    if processing.back_coeff == "GAMMA0_TERRAIN" and not processing.orthorectify:
        message = "The backscatter coefficient GAMMA0_TERRAIN requires orthorectification."
        raise bad_payload(message, f"{place}->processing->orthorectify")
    speckle = processing.speckle_filter
    traits: dict[str, str | None] = {
        "acquisitionMode": asked.acquisition_mode,
        "polarization": asked.polarization,
        "orbitDirection": asked.orbit_direction,
        "resolution": asked.resolution,
        "timeliness": asked.timeliness,
    }
    wanted: list[tuple[str, tuple[str, ...]]] = [
        (name, (value,)) for name, value in traits.items() if value is not None
    ]
    if asked.tiers != "ALL_TIERS":
        wanted.append(("tier", TIERS[asked.tiers]))
    return Choices(
        wanted=tuple(wanted),
        upsampling=processing.upsampling,
        downsampling=processing.downsampling,
        harmonize_values=processing.harmonize_values,
        dem_instance=asked.dem_instance or processing.dem_instance,
        egm=processing.egm,
        clamp_negative=processing.clamp_negative,
        back_coeff=processing.back_coeff,
        orthorectify=processing.orthorectify,
        lee_window_px=(speckle.window_x or 1, speckle.window_y or 1) if speckle and speckle.type == "LEE" else None,
    )

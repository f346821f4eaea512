"""Options of a request's inputs: what a collection has, ignores and refuses."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from shdask.emulator.evalscript.setup import InputBand, ScriptInput
from shdask.emulator.process.choices import Choices
from shdask.emulator.process.options import DataItem, check_use, kind_of, read_choices
from shdask.emulator.refusal import Refusal

RADAR, OPTICAL = "sentinel-1-grd", "sentinel-2-l2a"


def read(collection, *, data_filter=None, processing=None):
    """The choices of an input with these members."""
    item = DataItem.model_validate(
        {"type": collection, "dataFilter": data_filter or {}, "processing": processing or {}}
    )
    return read_choices(item, "input->data->0")


def use(*bands, mosaicking="SIMPLE"):
    """An input of setup() with these bands."""
    return ScriptInput(
        datasource=None, mosaicking=mosaicking, bands=tuple(InputBand(name=band, unit=None) for band in bands)
    )


@pytest.mark.parametrize(
    ("collection", "kind"),
    [
        ("sentinel-2-l1c", "sentinel-2"),
        ("S2L2A", "sentinel-2"),
        ("S1GRD", "sentinel-1"),
        ("DEM", "dem"),
        ("landsat-ot-l2", "landsat"),
        ("byoc-1234", "own"),
    ],
)
def test_old_and_new_names_have_the_same_options(collection, kind):
    """A collection's options follow from its type, in the new and the old spelling."""
    assert kind_of(collection) == kind


@pytest.mark.parametrize(
    ("member", "option", "value"),
    [
        ("dataFilter", "acquisitionMode", "XX"),
        ("dataFilter", "polarization", "DX"),
        ("dataFilter", "polarization", "dv"),
        ("dataFilter", "orbitDirection", "UP"),
        ("dataFilter", "resolution", "LOW"),
        ("dataFilter", "timeliness", "NRT"),
        ("dataFilter", "mosaickingOrder", "latest"),
        ("processing", "backCoeff", "GAMMA0"),
        ("processing", "orthorectify", "yes"),
        ("processing", "orthorectify", 1),
        ("processing", "demInstance", "SRTM"),
        ("processing", "radiometricTerrainOversampling", 5),
        ("processing", "radiometricTerrainOversampling", 0.5),
        ("processing", "speckleFilter", {"type": "FROST"}),
        ("processing", "speckleFilter", {"type": "LEE"}),
        ("processing", "speckleFilter", {"type": "LEE", "windowSizeX": 8, "windowSizeY": 3}),
        ("processing", "speckleFilter", {"type": "LEE", "windowSizeX": 0, "windowSizeY": 3}),
        ("processing", "speckleFilter", "LEE"),
    ],
)
def test_unknown_values_are_refused_with_their_place(member, option, value):
    """A value that the schema does not have is an error at that member."""
    with pytest.raises(ValidationError) as refused:
        DataItem.model_validate({"type": RADAR, member: {option: value}})
    assert refused.value.errors()[0]["loc"][:2] == (member, option)


@pytest.mark.parametrize(
    ("collection", "member", "option"),
    [
        (OPTICAL, "dataFilter", "polarization"),
        (OPTICAL, "processing", "backCoeff"),
        (RADAR, "dataFilter", "maxCloudCoverage"),
        (RADAR, "dataFilter", "previewMode"),
        (RADAR, "processing", "harmonizeValues"),
        ("dem", "dataFilter", "timeRange"),
        ("dem", "dataFilter", "mosaickingOrder"),
        ("landsat-ot-l1", "processing", "egm"),
        ("byoc-1", "dataFilter", "demInstance"),
    ],
)
def test_options_of_other_collections_are_ignored(collection, member, option):
    """An option that a collection does not have changes nothing, whatever it holds."""
    item = DataItem.model_validate({"type": collection, member: {option: ["anything"]}})
    assert item == DataItem.model_validate({"type": collection})


@pytest.mark.parametrize(
    ("collection", "member", "option", "value"),
    [
        (OPTICAL, "dataFilter", "previewMode", "FULL"),
        (OPTICAL, "processing", "harmonizeValues", "no"),
        ("dem", "dataFilter", "demInstance", "COPERNICUS"),
        ("dem", "processing", "egm", 0),
        ("landsat-ot-l2", "dataFilter", "tiers", "TIER_3"),
    ],
)
def test_each_collection_checks_its_own(collection, member, option, value):
    """The options of Sentinel-2, the DEM and Landsat have enumerations too."""
    with pytest.raises(ValidationError):
        DataItem.model_validate({"type": collection, member: {option: value}})


@pytest.mark.parametrize("collection", [RADAR, "S1GRD", "byoc-1", "batch-1", "zarr-1"])
def test_least_cloudy_is_refused_without_clouds(collection):
    """The order leastCC is for optical collections only."""
    with pytest.raises(Refusal, match="leastCC") as refused:
        read(collection, data_filter={"mosaickingOrder": "leastCC"})
    assert refused.value.violations[0].parameter == "input->data->0->dataFilter->mosaickingOrder"


def test_documented_examples_may_quote_their_flags():
    """The documentation writes orthorectify as "true" in quotes."""
    assert read(RADAR, processing={"orthorectify": "true"}) == Choices(orthorectify=True)


def test_filters_admit_scenes_by_their_traits():
    """Every filter that is set must be met, the others are free."""
    choices = read(RADAR, data_filter={"polarization": "DV", "orbitDirection": "ASCENDING"})
    assert choices.admit({"polarization": "DV", "orbitDirection": "ASCENDING", "resolution": "HIGH"})
    assert not choices.admit({"polarization": "DV", "orbitDirection": "DESCENDING"})
    assert read(RADAR).admit({})


@pytest.mark.parametrize(
    ("tiers", "admitted"), [("TIER_1", ["T1"]), ("TIER_1_AND_RT", ["T1", "RT"]), ("ALL_TIERS", ["T1", "T2", "RT"])]
)
def test_tiers_of_landsat(tiers, admitted):
    """Tiers select products of tier 1, with real-time ones, or all."""
    choices = read("landsat-ot-l1", data_filter={"tiers": tiers})
    assert [tier for tier in ("T1", "T2", "RT") if choices.admit({"tier": tier})] == admitted


def test_terrain_correction_needs_orthorectification():
    """GAMMA0_TERRAIN alone is refused."""
    with pytest.raises(Refusal, match="orthorectification"):
        read(RADAR, processing={"backCoeff": "GAMMA0_TERRAIN"})


@pytest.mark.parametrize(
    ("collection", "mosaicking"),
    [(RADAR, "TILE"), ("dem", "TILE"), ("dem", "ORBIT"), ("S1GRD", "TILE"), ("zarr-mine", "ORBIT")],
)
def test_undocumented_mosaickings_are_refused(collection, mosaicking):
    """Sentinel-1 knows SIMPLE and ORBIT, the DEM only SIMPLE."""
    with pytest.raises(Refusal, match=mosaicking):
        check_use(collection, Choices(), use("dataMask", mosaicking=mosaicking))


@pytest.mark.parametrize(
    ("band", "choices"),
    [
        ("localIncidenceAngle", Choices()),
        ("scatteringArea", Choices(orthorectify=True)),
        ("shadowMask", Choices(orthorectify=True)),
    ],
)
def test_bands_of_the_terrain_need_its_correction(band, choices):
    """The local angle needs orthorectification, area and shadow radiometric terrain correction."""
    with pytest.raises(Refusal, match=band):
        check_use(RADAR, choices, use("VV", band))


def test_terrain_bands_are_there_with_it():
    """With terrain correction all bands may be asked for."""
    choices = Choices(orthorectify=True, back_coeff="GAMMA0_TERRAIN")
    check_use(RADAR, choices, use("localIncidenceAngle", "scatteringArea", "shadowMask", mosaicking="ORBIT"))


def test_no_filter_is_the_filter_none():
    """A speckle filter of type NONE is like none."""
    assert read(RADAR, processing={"speckleFilter": {"type": "NONE"}}) == read(RADAR)

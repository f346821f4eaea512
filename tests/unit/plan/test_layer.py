"""What requests of a layer ask for: parts by type and resampling, encodings, options, scripts, and their price."""

from __future__ import annotations

import json
import pickle
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.assemble.write import make_stored_values
from shdask.errors import PlanError
from shdask.model import Band
from shdask.plan.layer import LayerPlan, make_layer
from shdask.plan.layer_spec import Layer
from shdask.request.collections import find_collection
from shdask.request.declared import NamedOutput
from shdask.request.evalscript import SAMPLE_DTYPES
from tests.unit.plan.scenes import span

JUNE = span("2024-06-01T00:00:00", "2024-07-01T00:00:00")
S2 = {"collection": "sentinel-2-l2a"}
S1 = {"collection": "sentinel-1-grd"}
SCRIPT = {"evalscript": "//VERSION=3\n"}
L2A_BANDS = sorted(find_collection("sentinel-2-l2a").bands or {})
L2_BANDS = sorted(find_collection("landsat-ot-l2").bands or {})


def plan(**fields: Any) -> LayerPlan:
    return make_layer("layer", Layer(**fields), None if fields.get("collection") == "dem" else JUNE)


def parts_of(layer: LayerPlan) -> list[tuple[list[str], str, str]]:
    return [([layer.bands[each].name for each in p.bands], p.sample_type, p.resampling) for p in layer.parts]


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({**S2, "bands": ["B02", "SCL", "CLD"]}, [(["B02", "SCL", "CLD"], "UINT16", "nearest")]),
        ({**S2, "bands": ["SCL", "CLD"]}, [(["SCL", "CLD"], "UINT8", "nearest")]),
        (
            {**S2, "bands": ["B02", "SCL", "CLD"], "resampling": "bilinear"},
            [(["B02", "CLD"], "UINT16", "bilinear"), (["SCL"], "UINT8", "nearest")],
        ),
        (
            {**S2, "bands": ["sunZenithAngles", "B02"], "units": "REFLECTANCE"},
            [(["sunZenithAngles"], "FLOAT32", "nearest"), (["B02"], "UINT16", "nearest")],
        ),
        (
            {**S1, "bands": ["VV", "shadowMask", "VH"], "resampling": "bicubic"},
            [(["VV", "VH"], "FLOAT32", "bicubic"), (["shadowMask"], "UINT8", "nearest")],
        ),
        (
            {**S1, "bands": ["VV", "VH"], "encode": {"VV": {"dtype": "int16", "scale": 0.01, "db": True}}},
            [(["VV"], "INT16", "nearest"), (["VH"], "FLOAT32", "nearest")],
        ),
        (
            {"collection": "landsat-ot-l2", "bands": ["B04", "B10", "BQA", "SR_QA_AEROSOL", "ST_EMIS"]},
            [(["B04", "B10", "BQA", "SR_QA_AEROSOL"], "UINT16", "nearest"), (["ST_EMIS"], "FLOAT32", "nearest")],
        ),
        # an encoding clamps at its own eight bits, and so does not travel in sixteen
        (
            {**S2, "bands": ["B02", "B03", "SCL"], "encode": {"B02": {"dtype": "uint8", "scale": 40}}},
            [(["B03", "SCL"], "UINT16", "nearest"), (["B02"], "UINT8", "nearest")],
        ),
        ({"collection": "dem", "bands": ["DEM"]}, [(["DEM"], "FLOAT32", "nearest")]),
        ({"collection": "byoc-1", "bands": ["a", "b"]}, [(["a", "b"], "UINT16", "nearest")]),
    ],
)
def test_bands_of_one_type_and_resampling_are_bought_together(
    fields: dict[str, Any], parts: list[tuple[list[str], str, str]]
) -> None:
    """No band is sent wider than it needs where that costs more; classes are never mixed."""
    assert sorted(parts_of(plan(**fields))) == sorted(parts)


@given(
    st.sampled_from(["sentinel-2-l2a", "landsat-ot-l2"]).flatmap(
        lambda name: st.tuples(
            st.just(name),
            st.lists(st.sampled_from(L2A_BANDS if name == "sentinel-2-l2a" else L2_BANDS), min_size=1, unique=True),
        )
    ),
    st.sampled_from(["nearest", "bilinear", "bicubic"]),
)
def test_every_band_is_in_one_part_that_can_carry_it(asked: tuple[str, list[str]], resampling: Any) -> None:
    """Any choice of bands: none is lost or paid twice, and its type holds all its values."""
    layer = plan(collection=asked[0], bands=tuple(asked[1]), resampling=resampling)
    assert sorted(each for part in layer.parts for each in part.bands) == list(range(len(asked[1])))
    assert all([layer.bands[each].name for each in p.bands] == [r.name for r in p.requested] for p in layer.parts)
    assert all(
        layer.bands[each].scale is not None
        or np.can_cast(layer.bands[each].dtype, SAMPLE_DTYPES[part.sample_type], "safe")
        for part in layer.parts
        for each in part.bands
    )


@pytest.mark.parametrize(
    ("fields", "band"),
    [
        ({**S2, "bands": ["B02"]}, Band(name="B02", dtype="uint16", fill_value=0)),
        (
            {**S2, "bands": ["B02"], "units": "REFLECTANCE"},
            Band(name="B02", dtype="float32", fill_value=np.nan, scale=0.0001, units="1"),
        ),
        ({**S2, "bands": ["SCL"]}, Band(name="SCL", dtype="uint8", fill_value=0)),
        (
            {**S2, "bands": ["viewZenithMean"]},
            Band(name="viewZenithMean", dtype="float32", fill_value=np.nan, units="degree"),
        ),
        ({**S1, "bands": ["VV"]}, Band(name="VV", dtype="float32", fill_value=np.nan, units="1")),
        (
            {**S1, "bands": ["VV"], "encode": {"dtype": "uint8", "scale": 0.2, "offset": -35, "db": True}},
            Band(name="VV", dtype="float32", fill_value=np.nan, scale=0.2, offset=-35.0, units="dB"),
        ),
        (
            {**S1, "bands": ["VV"], "encode": {"dtype": "float32", "db": True}},
            Band(name="VV", dtype="float32", fill_value=np.nan, units="dB"),
        ),
        ({"collection": "dem", "bands": ["DEM"]}, Band(name="DEM", dtype="float32", fill_value=np.nan, units="m")),
        (
            {"collection": "landsat-ot-l2", "bands": ["B10"]},
            Band(name="B10", dtype="float32", fill_value=np.nan, scale=0.00341802, offset=149.0, units="K"),
        ),
    ],
)
def test_what_is_stored_has_its_type_fill_and_unit(fields: dict[str, Any], band: Band) -> None:
    """0 fills integers, NaN floats; scale and offset undo what the service did."""
    (found,) = plan(**fields).bands
    assert repr(found) == repr(band)  # NaN equals itself in words only


def test_an_encoded_band_is_asked_for_in_its_steps() -> None:
    """Decibels of linear power, in hundredths: what is multiplied on arrival was divided before it was sent."""
    layer = plan(**S1, bands=["VV"], encode={"dtype": "int16", "scale": 0.01, "db": True})
    (requested,) = layer.parts[0].requested
    assert (requested.unit, requested.scale, requested.offset, requested.db) == ("LINEAR_POWER", 0.01, 0.0, True)
    assert "10 * Math.log10(sample.VV)" in layer.evalscript(layer.parts[0], ())


def test_an_offset_comes_back_on_arrival() -> None:
    """Kelvin of a Landsat scene: 149 plus a step for each number, as USGS has it."""
    (band,) = plan(collection="landsat-ot-l2", bands=["B10"]).bands
    sent = np.array([[0, 41000]], np.uint16)
    stored = make_stored_values(band, sent, np.array([[False, True]]))
    np.testing.assert_array_equal(stored, np.array([[np.nan, 149 + 41000 * 0.00341802]], np.float32))


def test_a_script_returns_named_pictures() -> None:
    """Two outputs of two types come in one part; the first has the mask."""
    layer = plan(
        **S2,
        **SCRIPT,
        input_bands=["B04", "B08", "dataMask"],
        outputs={"index": {"bands": ["ndvi", "ndwi"]}, "kind": {"bands": ["land"], "dtype": "uint8"}},
    )
    (part,) = layer.parts
    assert [(band.name, band.dtype) for band in layer.bands] == [
        ("ndvi", "float32"),
        ("ndwi", "float32"),
        ("land", "uint8"),
    ]
    assert [(picture.identifier, picture.bands, picture.sample_type) for picture in part.pictures] == [
        ("index", (0, 1), "FLOAT32"),
        ("kind", (2,), "UINT8"),
    ]
    assert part.nbytes_per_px == layer.sent_nbytes_per_px == 3 * 4 + 1
    assert layer.evalscript(part, ()) == "//VERSION=3\n"
    assert layer.named_inputs() == ("B04", "B08")
    assert layer.named_outputs(part) == {
        "index": NamedOutput(bands=("ndvi", "ndwi"), sample_type="FLOAT32"),
        "kind": NamedOutput(bands=("land",), sample_type="UINT8"),
    }


def test_a_script_must_have_been_read() -> None:
    """A plan holds its text, for workers have no files."""
    with pytest.raises(PlanError, match=r"evalscript: 'ndvi\.js' has not been read"):
        plan(**S2, evalscript="ndvi.js", input_bands=["B04"], outputs={"default": {"bands": ["n"]}})


def test_a_script_returns_one_date() -> None:
    """What it does with several is not ours to say."""
    layer = plan(**S2, **SCRIPT, input_bands=["B04"], outputs={"default": {"bands": ["n"]}}, cadence="day")
    assert not layer.can_share_requests
    with pytest.raises(PlanError, match=r"layers\.layer: a script of your own returns one date, not 2"):
        layer.evalscript(layer.parts[0], [date(2024, 6, 1), date(2024, 6, 2)])


def test_every_source_of_a_fusion_is_an_entry_of_its_own() -> None:
    """By its id, with its filters, options, resampling and time; heights have none."""
    layer = plan(
        **SCRIPT,
        sources={
            "s2": {**S2, "bands": ["B04"], "max_cloud_cover": 0.3, "resampling": "bilinear"},
            "s1": {**S1, "bands": ["VV"], "time": ("2024-05-01", "2024-05-10"), "orbit_direction": "ascending"},
            "h": {"collection": "dem", "bands": ["DEM"]},
        },
        outputs={"default": {"bands": ["n"]}},
    )
    assert layer.collection == layer.leading.collection == "sentinel-2-l2a"
    assert layer.named_inputs() == {"s2": ("B04",), "s1": ("VV",), "h": ("DEM",)}
    assert layer.data_json(layer.parts[0], JUNE) == [
        {
            "type": "sentinel-2-l2a",
            "id": "s2",
            "dataFilter": {
                "timeRange": {"from": "2024-06-01T00:00:00Z", "to": "2024-06-30T23:59:59.999Z"},
                "maxCloudCoverage": 30,
                "mosaickingOrder": "mostRecent",
            },
            "processing": {"upsampling": "BILINEAR", "downsampling": "BILINEAR"},
        },
        {
            "type": "sentinel-1-grd",
            "id": "s1",
            "dataFilter": {
                "timeRange": {"from": "2024-05-01T00:00:00Z", "to": "2024-05-10T23:59:59.999Z"},
                "mosaickingOrder": "mostRecent",
                "acquisitionMode": "IW",
                "polarization": "DV",
                "resolution": "HIGH",
                "orbitDirection": "ASCENDING",
            },
            "processing": {
                "upsampling": "NEAREST",
                "downsampling": "NEAREST",
                "backCoeff": "GAMMA0_TERRAIN",
                "orthorectify": True,
                "demInstance": "COPERNICUS_30",
            },
        },
        {
            "type": "dem",
            "id": "h",
            "dataFilter": {"demInstance": "COPERNICUS_90"},
            "processing": {"upsampling": "NEAREST", "downsampling": "NEAREST"},
        },
    ]


def test_radar_is_terrain_corrected_unless_a_job_says_otherwise() -> None:
    """The default preset, and another."""
    layer = plan(**S1, bands=["VV"], preset="sigma0-ellipsoid")
    usual = plan(**S1, bands=["VV"])
    assert usual.data_json(usual.parts[0], JUNE)[0]["processing"]["backCoeff"] == "GAMMA0_TERRAIN"
    assert layer.data_json(layer.parts[0], JUNE)[0]["processing"]["backCoeff"] == "SIGMA0_ELLIPSOID"


NDVI = {**SCRIPT, "outputs": {"default": {"bands": ["n"], "dtype": "int16"}}}


@pytest.mark.parametrize(
    ("fields", "pu"),
    [
        # 512 x 512 px of three bands at 16 bit are one unit
        ({**S2, "bands": ["B02", "B03", "B04"]}, 1.0),
        ({**S2, "bands": ["B02", "B03", "B04"], "units": "REFLECTANCE"}, 1.0),
        ({**S2, "bands": ["B02", "B03", "SCL"], "resampling": "bilinear"}, 1.0),
        ({**S2, "bands": ["B02", "B03", "sunZenithAngles"]}, 2 / 3 + 2 / 3),
        ({"collection": "dem", "bands": ["DEM"]}, 2 / 3),
        ({"collection": "dem", "bands": ["DEM"], "encode": {"scale": 0.1}}, 1 / 3),
        # radar: 2.5 for terrain correction, 2 for orthorectification alone; 2 for floats
        ({**S1, "bands": ["VV", "VH"]}, 2 / 3 * 2.5 * 2),
        ({**S1, "bands": ["VV", "VH"], "preset": "gamma0-ellipsoid"}, 2 / 3 * 2 * 2),
        ({**S1, "bands": ["VV", "VH"], "encode": {"scale": 0.01, "db": True}}, 2 / 3 * 2.5),
        ({**S2, **NDVI, "input_bands": ["B04", "B08", "dataMask"]}, 2 / 3),
        ({**S2, **NDVI, "input_bands": ["dataMask"]}, 1 / 3),
        ({**S2, **NDVI, "input_bands": ["B04"], "outputs": {"default": {"bands": ["n"]}}}, 2 / 3),
        (
            {**NDVI, "sources": {"a": {**S2, "bands": ["B04"]}, "b": {**S1, "bands": ["VV"]}}},
            (1 + 2.5) / 3 * 2,
        ),
    ],
)
def test_a_layer_costs_what_the_service_says(fields: dict[str, Any], pu: float) -> None:
    """Types, surcharges and fusion multiply; parts add up; the mask is free."""
    assert plan(**fields).price((512, 512)) == pytest.approx(pu)


@pytest.mark.parametrize(
    ("cadence", "samples"),
    [("mosaic", 12), ("acquisition", 1), ("day", 1), ("dekad", 4), ("month", 12), ("P10D", 4), ("P1M", 12), ("P1D", 1)],
)
def test_a_script_that_reads_every_scene_is_priced_by_a_guess(cadence: str, samples: int) -> None:
    """Two scenes in five days of a step."""
    fields = {**S2, **NDVI, "input_bands": ["B04", "B08", "B02"], "cadence": cadence}
    assert plan(**fields, mosaicking="ORBIT").price((512, 512)) == pytest.approx(samples)
    assert plan(**fields).price((512, 512)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("fields", "can"),
    [
        ({**S2, "bands": ["B02"], "cadence": "acquisition"}, True),
        ({**S1, "bands": ["VV"], "cadence": "day"}, True),
        ({**S2, "bands": ["B02"], "cadence": "dekad"}, False),
        ({**S2, "bands": ["B02"]}, False),
        ({"collection": "byoc-1", "bands": ["b"], "cadence": "day"}, True),
        ({"collection": "zarr-1", "bands": ["b"], "cadence": "day"}, False),
    ],
)
def test_dates_share_a_request_where_days_are_told_apart(fields: dict[str, Any], can: bool) -> None:
    """One picture a day, written here, of a collection that has days."""
    assert plan(**fields).can_share_requests is can


BASE: dict[str, Any] = {**S1, "bands": ["VV", "VH"], "cadence": "day"}
SCRIPTED: dict[str, Any] = {**S2, **NDVI, "input_bands": ["B04"]}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (BASE, {**BASE, "preset": "sigma0-ellipsoid"}),
        (BASE, {**BASE, "orbit_direction": "ascending"}),
        (BASE, {**BASE, "dem_instance": "COPERNICUS_90"}),
        (BASE, {**BASE, "encode": {"scale": 0.01, "db": True}}),
        (BASE, {**BASE, "resampling": "bilinear"}),
        (BASE, {**BASE, "cadence": "acquisition"}),
        (BASE, {**BASE, "mosaicking_order": "leastRecent"}),
        (BASE, {**BASE, "bands": ["VH", "VV"]}),
        (SCRIPTED, {**SCRIPTED, "evalscript": "//VERSION=3\n\n"}),
        (SCRIPTED, {**SCRIPTED, "max_cloud_cover": 0.5}),
        (SCRIPTED, {**SCRIPTED, "outputs": {"default": {"bands": ["n"]}}}),
    ],
)
def test_what_changes_pixels_changes_the_identity(one: dict[str, Any], other: dict[str, Any]) -> None:
    """A store is continued only by a layer that would bring the same."""
    assert plan(**one).identity() != plan(**other).identity()
    assert json.loads(json.dumps(plan(**one).identity())) == plan(**one).identity()


@pytest.mark.parametrize("fields", [BASE, SCRIPTED, {"collection": "dem", "bands": ["DEM"]}])
def test_a_layer_plan_travels(fields: dict[str, Any]) -> None:
    """To workers, unchanged."""
    layer = plan(**fields)
    assert repr(pickle.loads(pickle.dumps(layer))) == repr(layer)  # noqa: S301  # our own bytes

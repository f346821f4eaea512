"""Sentinel-1, Landsat and the DEM through the Process API: pixels, options, errors and prices."""

from __future__ import annotations

import io

import numpy as np
import pytest
import rasterio

from .conftest import make_body

PATH = "input.data.0."
ALPS = [400_000, 5_190_000, 401_280, 5_191_280]
ORTHO = {"orthorectify": True}
TERRAIN = {"orthorectify": True, "backCoeff": "GAMMA0_TERRAIN"}


def script(*bands, sample_type="FLOAT32", units="", mosaicking="SIMPLE", use=None):
    """A script that returns these bands, or ``use``."""
    body = use or f"[{', '.join('s.' + band for band in bands)}]"
    count = 1 if use else len(bands)
    return (
        f"//VERSION=3\nfunction setup() {{ return {{input: [{{bands: {list(bands)}{units}}}], "
        f"mosaicking: '{mosaicking}', output: {{bands: {count}, sampleType: '{sample_type}'}}}}; }}\n"
        f"function evaluatePixel(s) {{ return {body}; }}\n"
    )


def make(collection, evalscript, *, data_filter=None, processing=None, bbox=None, size=128):
    """A Process body of a collection over the Alps in June 2024."""
    when = {"timeRange": {"from": "2024-06-01T00:00:00Z", "to": "2024-06-13T00:00:00Z"}}
    return make_body(
        **{
            PATH + "type": collection,
            PATH + "dataFilter": {**when, **(data_filter or {})},
            PATH + "processing": processing or {},
            "input.bounds.bbox": bbox or ALPS,
            "evalscript": evalscript,
            "output.width": size,
            "output.height": size,
        }
    )


def read(answer):
    """The image of an answer, (band, y, x)."""
    assert answer.status_code == 200, answer.text
    with rasterio.open(io.BytesIO(answer.content)) as file:
        return file.read()


def test_radar_is_linear_power(client):
    """Backscatter comes as linear power, by default gamma nought, in both polarizations."""
    vv, vh, mask = read(client.process(make("sentinel-1-grd", script("VV", "VH", "dataMask"))))
    assert (mask == 1).all()
    assert 0.02 < np.median(vh) < np.median(vv) < 1


def test_old_names_are_the_same_collections(client):
    """S1GRD and DEM answer as sentinel-1-grd and dem."""
    bodies = [make(name, script("VV")) for name in ("S1GRD", "sentinel-1-grd")]
    old, new = (client.process(body).content for body in bodies)
    assert old == new


def test_orbit_direction_selects_passes(client):
    """Filtered by direction the samples of ORBIT add up to those of both."""
    counting = script("VV", mosaicking="ORBIT", use="[s.length]")
    counts = [
        read(client.process(make("sentinel-1-grd", counting, data_filter=chosen)))[0, 0, 0]
        for chosen in ({"orbitDirection": "ASCENDING"}, {"orbitDirection": "DESCENDING"}, {})
    ]
    assert counts[0] > 0
    assert counts[1] > 0
    assert counts[0] + counts[1] >= counts[2] >= max(counts[:2])


def test_a_filter_that_nothing_meets_leaves_no_data(client):
    """Without a scene the image is 0 with dataMask 0, and no error."""
    body = make("sentinel-1-grd", script("VV", "dataMask"), data_filter={"acquisitionMode": "SM"})
    assert not read(client.process(body)).any()


def test_missing_polarization_is_told_in_the_words_of_the_service(client):
    """A band that the scenes lack is 400 RENDERER_S1_MISSING_POLARIZATION."""
    polar = [500_000, 8_000_000, 510_000, 8_010_000]
    error = client.process(make("sentinel-1-grd", script("VH"), bbox=polar)).json()["error"]
    assert (error["status"], error["code"]) == (400, "RENDERER_S1_MISSING_POLARIZATION")
    assert error["message"].startswith("Requested band 'VH' is not present in Sentinel 1 tile 'S1")


@pytest.mark.parametrize(
    ("collection", "change", "place"),
    [
        ("sentinel-1-grd", {"data_filter": {"polarization": "XX"}}, "input->data->0->dataFilter->polarization"),
        (
            "sentinel-1-grd",
            {"data_filter": {"mosaickingOrder": "leastCC"}},
            "input->data->0->dataFilter->mosaickingOrder",
        ),
        ("sentinel-1-grd", {"processing": {"backCoeff": "DB"}}, "input->data->0->processing->backCoeff"),
        ("sentinel-1-grd", {"processing": {"backCoeff": "GAMMA0_TERRAIN"}}, "input->data->0->processing->orthorectify"),
        ("dem", {"data_filter": {"demInstance": "SRTM"}}, "input->data->0->dataFilter->demInstance"),
        ("sentinel-2-l2a", {"processing": {"harmonizeValues": 3}}, "input->data->0->processing->harmonizeValues"),
        ("sentinel-2-l1c", {"data_filter": {"previewMode": "ALL"}}, "input->data->0->dataFilter->previewMode"),
    ],
)
def test_unknown_option_is_a_bad_payload_at_its_place(client, collection, change, place):
    """A value that is not in the enumeration of its option is COMMON_BAD_PAYLOAD and names the place."""
    error = client.process(make(collection, script("dataMask"), **change)).json()["error"]
    assert (error["status"], error["code"]) == (400, "COMMON_BAD_PAYLOAD")
    assert error["errors"][0]["parameter"] == place


def test_terrain_bands_need_their_processing(client):
    """The local incidence angle comes with orthorectification only."""
    body = script("localIncidenceAngle")
    assert client.process(make("sentinel-1-grd", body)).status_code == 400
    angle = read(client.process(make("sentinel-1-grd", body, processing=ORTHO)))
    assert 0 <= angle.min() < angle.max() <= 180


@pytest.mark.parametrize(
    ("processing", "factor"),
    [
        ({}, 1.0),
        (ORTHO, 2.0),
        (TERRAIN, 2.5),
        ({"speckleFilter": {"type": "LEE", "windowSizeX": 3, "windowSizeY": 3}}, 2.0),
        ({**TERRAIN, "speckleFilter": {"type": "LEE", "windowSizeX": 3, "windowSizeY": 3}}, 5.0),
        ({"speckleFilter": {"type": "NONE"}}, 1.0),
    ],
)
def test_radar_processing_has_its_price(client, processing, factor):
    """Orthorectification doubles the price, terrain correction makes it 2.5 instead, a speckle filter doubles."""
    answer = client.process(make("sentinel-1-grd", script("VV", "VH"), processing=processing))
    assert float(answer.headers["x-processingunits-spent"]) == pytest.approx(128 * 128 / 512**2 * 2 / 3 * 2 * factor)


@pytest.mark.parametrize(
    ("bands", "processing", "pu"),
    [
        (("VV", "VH", "localIncidenceAngle"), ORTHO, 42.667 * 3 / 4),
        (("VV", "VH", "localIncidenceAngle", "scatteringArea"), TERRAIN, 42.667 * 2.5 / 2),
    ],
    ids=["3 bands", "terrain"],
)
def test_published_price_of_samples_and_orthorectification(client, bands, processing, pu):
    """The documentation's 1024 x 1024 FLOAT32 image of 4 bands and 2 samples, orthorectified, costs 42.667 units.

    No product has four bands without terrain correction: with three it is three quarters of that, with the correction
    five quarters.
    """
    two = "function preProcessScenes(c) { c.scenes.orbits = c.scenes.orbits.slice(0, 2); return c; }\n"
    evalscript = script(*bands, mosaicking="ORBIT", use="[s.length]") + two
    bbox = [400_000, 5_190_000, 410_240, 5_200_240]
    answer = client.process(make("sentinel-1-grd", evalscript, processing=processing, bbox=bbox, size=1024))
    assert read(answer)[0, 0, 0] == 2
    assert float(answer.headers["x-processingunits-spent"]) == pytest.approx(pu, abs=0.001)


def test_published_price_of_orthorectification(client):
    """The documentation's 2000 x 2000 image of 2 bands in 16 bit, orthorectified, costs 20.34 units."""
    body = make(
        "sentinel-1-grd",
        script("VV", "VH", sample_type="UINT16"),
        processing=ORTHO,
        bbox=[400_000, 5_190_000, 420_000, 5_210_000],
        size=2000,
    )
    assert float(client.process(body).headers["x-processingunits-spent"]) == pytest.approx(20.34, abs=0.006)


def test_heights_need_no_time(client):
    """The DEM answers without a time range, in metres, everywhere."""
    body = make("dem", script("DEM", "dataMask", units=", units: ['METERS', 'DN']"))
    del body["input"]["data"][0]["dataFilter"]
    height, mask = read(client.process(body))
    assert (mask == 1).all()
    assert 300 < height.min() < height.max() < 3000


@pytest.mark.parametrize("mosaicking", ["ORBIT", "TILE"])
def test_the_dem_has_no_mosaics(client, mosaicking):
    """ORBIT and TILE of the DEM are refused."""
    body = make("dem", script("DEM", mosaicking=mosaicking, use="[1]"))
    assert client.process(body).status_code == 400


def test_a_height_model_can_be_forbidden(launched):
    """A forbidden model is 403 COMMON_INSUFFICIENT_PERMISSIONS, another one is served."""
    client = launched(forbidden_dems=["COPERNICUS_30"])
    chosen = [
        make("dem", script("DEM"), data_filter={"demInstance": name}) for name in ("COPERNICUS_30", "COPERNICUS_90")
    ]
    refused, served = (client.process(body) for body in chosen)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "COMMON_INSUFFICIENT_PERMISSIONS")
    assert served.status_code == 200


@pytest.mark.parametrize("collection", ["landsat-ot-l1", "landsat-ot-l2"])
def test_landsat_is_reflectance_and_kelvin(client, collection):
    """Optical bands are reflectance and B10 is a temperature by default."""
    body = make(collection, script("B05", "B10"), data_filter={"mosaickingOrder": "leastCC"})
    near_infrared, kelvin = read(client.process(body))
    assert 0 < np.median(near_infrared) < 1
    assert 230 < np.median(kelvin) < 330


def test_landsat_without_data_is_not_a_number(client):
    """Where no scene holds data the bands of Landsat are NaN and dataMask is 0."""
    body = make("landsat-ot-l2", script("B05", "dataMask"), data_filter={"maxCloudCoverage": 0})
    body["input"]["data"][0]["dataFilter"]["timeRange"]["to"] = "2024-06-01T00:00:01Z"
    band, mask = read(client.process(body))
    assert np.isnan(band).all()
    assert not mask.any()


def test_collections_elsewhere_count_twice_in_fusion(launched):
    """Fused with one on another deployment, a request costs three times its bands."""
    client = launched(elsewhere=["landsat-ot-l2"])
    fused = (
        "//VERSION=3\nfunction setup() { return {input: [{bands: ['VV'], datasource: 'a'}, "
        "{bands: ['B05'], datasource: 'b'}], output: {bands: 1, sampleType: 'FLOAT32'}}; }\n"
        "function evaluatePixel(s) { return [s.a.length + s.b.length]; }\n"
    )
    body = make("sentinel-1-grd", fused)
    first = body["input"]["data"][0]
    body["input"]["data"] = [{**first, "id": "a"}, {**first, "id": "b", "type": "landsat-ot-l2"}]
    spent = float(client.process(body).headers["x-processingunits-spent"])
    assert spent == pytest.approx(128 * 128 / 512**2 * 2 / 3 * 2 * 3)

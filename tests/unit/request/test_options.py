"""Options of a collection's requests: right by default, checked before anything is sent, priced."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shdask.errors import PlanError
from shdask.request.collections import find_collection
from shdask.request.options import make_options

RADAR = find_collection("sentinel-1-grd")
HEIGHTS = find_collection("dem")


def test_radar_is_right_by_default():
    """One mode, both polarizations of land, orthorectified and flattened with the best heights."""
    options = make_options(RADAR, bands=["VV", "VH"])
    assert options.data_filter == {"acquisitionMode": "IW", "polarization": "DV", "resolution": "HIGH"}
    assert options.processing == {
        "backCoeff": "GAMMA0_TERRAIN",
        "orthorectify": True,
        "demInstance": "COPERNICUS_30",
    }


@pytest.mark.parametrize(
    ("preset", "processing", "factor"),
    [
        (None, {}, 2.5),
        ("gamma0-terrain", {}, 2.5),
        ("sigma0-ellipsoid", {}, 2.0),
        ("gamma0-ellipsoid", {}, 2.0),
        ("gamma0-ellipsoid", {"orthorectify": False}, 1.0),
        ("gamma0-terrain", {"speckleFilter": {"type": "LEE", "windowSizeX": 5, "windowSizeY": 5}}, 5.0),
        ("sigma0-ellipsoid", {"speckleFilter": {"type": "NONE"}}, 2.0),
    ],
)
def test_processing_is_priced(preset: str | None, processing: dict[str, Any], factor: float):
    """Twice for orthorectification, 2.5 times in its place for terrain correction, twice for a speckle filter."""
    assert make_options(RADAR, preset=preset, processing=processing).price_factor == factor


def test_heights_are_those_that_everyone_may_have():
    """The model is always named: what the service takes by itself differs between deployments."""
    assert make_options(HEIGHTS, bands=["DEM"]).data_filter == {"demInstance": "COPERNICUS_90"}


def test_the_jobs_own_options_go_first():
    """Over the preset's and the defaults; None takes one away."""
    options = make_options(
        RADAR,
        bands=["HH"],
        data_filter={"polarization": "DH", "acquisitionMode": "EW", "resolution": None},
        processing={"demInstance": "MAPZEN"},
    )
    assert options.data_filter == {"polarization": "DH", "acquisitionMode": "EW"}
    assert options.processing["demInstance"] == "MAPZEN"


def test_a_filter_taken_away_is_the_jobs_business():
    """Who asks for scenes of every polarization knows which there are."""
    assert "polarization" not in make_options(RADAR, bands=["HH"], data_filter={"polarization": None}).data_filter


@pytest.mark.parametrize("name", ["sentinel-2-l2a", "landsat-ot-l2", "byoc-3c4d"])
def test_others_need_no_options(name: str):
    """What is not said is the service's default, and costs nothing more."""
    options = make_options(find_collection(name))
    assert (options.data_filter, options.processing, options.price_factor) == ({}, {}, 1.0)


def test_options_are_plain_json():
    """They go into requests as they are, and travel to workers."""
    options = make_options(RADAR, processing={"speckleFilter": {"type": "NONE"}})
    assert json.loads(json.dumps(options.processing)) == options.processing
    assert json.loads(json.dumps(options.data_filter)) == options.data_filter


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"bands": ["HH"]}, "band HH of sentinel-1-grd needs polarization = DH, SH or HH, not DV; set polarization"),
        ({"preset": "gama0-terrain"}, r"no preset 'gama0-terrain' \(did you mean gamma0-terrain"),
        (
            {"data_filter": {"polarization": "dv"}},
            r"polarization = dv is not known \(did you mean DV\?\); choose DV, DH",
        ),
        ({"data_filter": {"polarisation": "DV"}}, r"no filter option 'polarisation' \(did you mean polarization\?\)"),
        ({"data_filter": {"timeRange": {}}}, "no filter option 'timeRange'"),
        ({"processing": {"orthorectify": False}}, "backCoeff GAMMA0_TERRAIN needs orthorectify = true, not false"),
        ({"processing": {"orthorectify": None}}, "needs orthorectify = true, which is not said"),
        ({"processing": {"orthorectify": 1}}, "orthorectify = 1 is not known; choose true or false"),
        ({"processing": {"radiometricTerrainOversampling": True}}, "= true is not known; choose 1, 2, 3 or 4"),
        ({"processing": {"speckleFilter": "LEE"}}, "speckleFilter is a table of type, windowSizeX, windowSizeY"),
        ({"processing": {"speckleFilter": {"type": "LEE", "windowSizeX": 9}}}, "windowSizeX = 9 is not known"),
        ({"preset": "sigma0-ellipsoid", "bands": ["shadowMask"]}, "shadowMask .* needs backCoeff = GAMMA0_TERRAIN"),
        (
            {"preset": "sigma0-ellipsoid", "processing": {"orthorectify": False}, "bands": ["localIncidenceAngle"]},
            "localIncidenceAngle .* needs orthorectify = true, not false",
        ),
        ({"bands": ["vv"]}, r"no band 'vv' \(did you mean VV"),
    ],
)
def test_what_radar_cannot_give_is_said_before_it_is_asked_for(asked: dict[str, Any], words: str):
    """With the cure: the service would refuse, or send something else and charge for it."""
    with pytest.raises(PlanError, match=words):
        make_options(RADAR, **asked)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"data_filter": {"demInstance": "COPERNICUS30"}}, r"did you mean COPERNICUS_30 or COPERNICUS_90\?"),
        ({"processing": {"demInstance": "COPERNICUS_30"}}, "dem has no processing option 'demInstance'"),
        ({"preset": "x"}, "dem has no preset 'x'; leave it out"),
    ],
)
def test_an_unknown_model_of_heights_is_refused(asked: dict[str, Any], words: str):
    """And with it an option in the wrong place."""
    with pytest.raises(PlanError, match=words):
        make_options(HEIGHTS, **asked)

"""What a job may say of a layer, and what is said of a layer that cannot be."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from shdask.errors import PlanError
from shdask.plan.dates import check_dates
from shdask.plan.layer_spec import Layer
from shdask.plan.spec import CubeSpec

S2: dict[str, Any] = {"collection": "sentinel-2-l2a", "bands": ["B02", "SCL"]}
S1: dict[str, Any] = {"collection": "sentinel-1-grd", "bands": ["VV", "VH"]}
DEM: dict[str, Any] = {"collection": "dem", "bands": ["DEM"]}
LANDSAT: dict[str, Any] = {"collection": "landsat-ot-l2", "bands": ["B04"]}
OWN: dict[str, Any] = {"collection": "byoc-1", "bands": ["b"]}
SCRIPT: dict[str, Any] = {
    "collection": "sentinel-2-l2a",
    "evalscript": "ndvi.js",
    "input_bands": ["B04", "B08"],
    "outputs": {"default": {"bands": ["ndvi"]}},
}
FUSION: dict[str, Any] = {
    "evalscript": "both.js",
    "sources": {"s2": S2, "s1": S1},
    "outputs": {"default": {"bands": ["score"], "dtype": "uint8"}},
}


def without(table: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in keys}


@pytest.mark.parametrize(
    "cadence", ["mosaic", "acquisition", "day", "dekad", "month", "P10D", "P1M", "P2W", "P1Y", "P1M15D"]
)
def test_a_layer_may_have_a_time_axis(cadence: str) -> None:
    """By the pass, by the calendar, or in periods."""
    assert Layer(**S2, cadence=cadence).cadence == cadence


GOOD: list[dict[str, Any]] = [
    {**S2, "resampling": "bilinear"},
    {**S2, "bands": ["sunZenithAngles"]},
    {**S2, "units": "REFLECTANCE"},
    {**S2, "clear": {"min": 0.2}, "cadence": "acquisition"},
    {**S2, "cadence": "day", "mosaicking_order": "leastCC"},
    {**S1, "preset": "sigma0-ellipsoid", "orbit_direction": "ascending", "cadence": "acquisition"},
    {**S1, "bands": ["HH", "HV"], "polarization": "DH"},
    {**S1, "encode": {"dtype": "int16", "scale": 0.01, "db": True}},
    {**S1, "encode": {"dtype": "uint8", "scale": 0.2, "offset": -35, "db": True}},
    {**S1, "encode": {"dtype": "float32", "db": True}},
    {**S1, "encode": {"VV": {"dtype": "uint16", "scale": 0.0001}}},
    {**DEM, "dem_instance": "COPERNICUS_30"},
    {**DEM, "encode": {"dtype": "int16", "scale": 0.5}},
    {**LANDSAT, "units": "REFLECTANCE"},
    {**OWN, "cadence": "day", "encode": {"dtype": "uint8", "scale": 40}},
    {**OWN, "encode": {"dtype": "float32"}},
    {**SCRIPT, "mosaicking": "ORBIT", "cadence": "P10D"},
    {**SCRIPT, "clear": {"min": 1}, "cadence": "day"},
    FUSION,
    {**FUSION, "collection": "sentinel-1-grd", "cadence": "day"},
    {**FUSION, "sources": {"s2": S2, "h": DEM}, "cadence": "acquisition"},
    {
        **FUSION,
        "sources": {"s2": S2, "s1": {**S1, "time": ["2024-06-01", "2024-06-30"]}},
        "cadence": "acquisition",
    },
    {**S2, "route": "process"},
]


@pytest.mark.parametrize("fields", GOOD)
def test_what_goes_together_is_taken(fields: dict[str, Any]) -> None:
    """No complaint, and nothing is changed but for what is left out."""
    layer = Layer(**fields)
    assert layer.collection == fields.get("collection", "sentinel-2-l2a")


@pytest.mark.parametrize("fields", GOOD)
def test_a_layer_written_out_is_read_back(fields: dict[str, Any]) -> None:
    """With every default spelt out, as tables or as JSON."""
    layer = Layer(**fields)
    assert Layer(**layer.model_dump()) == layer
    assert Layer(**layer.model_dump(mode="json")) == layer


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        # time
        ({**S2, "cadence": "weekly"}, "cadence: 'weekly' is not understood; write mosaic, acquisition, day, dekad"),
        ({**S2, "cadence": "PT12H"}, "cadence: 'PT12H' is not understood; write mosaic"),
        ({**S2, "cadence": "10D"}, "cadence: '10D' is not understood"),
        ({**S2, "cadence": "P"}, "cadence: 'P' is not understood"),
        ({**S2, "cadence": "P0D"}, "cadence: 'P0D' is no time at all; write a period such as P10D"),
        (
            {**S2, "cadence": "acquisition", "mosaicking_order": "leastCC"},
            "cadence: leastCC chooses between passes, and an acquisition is one pass; leave mosaicking_order out",
        ),
        ({**DEM, "cadence": "day"}, "cadence: dem has no acquisitions, and so no time axis; use mosaic"),
        ({**DEM, "time": ["2024-06-01", "2024-06-02"]}, "time: dem has no time; leave it out"),
        (
            {**DEM, "mosaicking_order": "leastRecent"},
            "mosaicking_order: dem has no acquisitions to order; leave it out",
        ),
        # options of collections
        ({**S1, "mosaicking_order": "leastCC"}, "mosaicking_order: sentinel-1-grd has no cloud cover to order by"),
        ({**S1, "max_cloud_cover": 0.5}, "max_cloud_cover: sentinel-1-grd has no cloud cover to filter by"),
        ({**OWN, "mosaicking_order": "leastCC"}, "mosaicking_order: byoc-1 has no cloud cover to order by"),
        ({**S2, "max_cloud_cover": 60}, "max_cloud_cover: 60 is more than the whole scene; it is a share from 0 to 1"),
        ({**S2, "orbit_direction": "ascending"}, "orbit_direction: sentinel-2-l2a has no orbit_direction; leave it"),
        ({**S2, "polarization": "DV"}, "polarization: sentinel-2-l2a has no polarization; leave it out"),
        ({**S2, "preset": "gamma0-terrain"}, "preset: sentinel-2-l2a has no preset 'gamma0-terrain'; leave it out"),
        ({**S2, "dem_instance": "MAPZEN"}, "dem_instance: sentinel-2-l2a has no dem_instance; leave it out"),
        ({**S1, "preset": "gamma0-terrian"}, "preset: sentinel-1-grd has no preset 'gamma0-terrian' (did you mean"),
        ({**S1, "orbit_direction": "up"}, "orbit_direction: 'up' is not one of 'ascending' or 'descending'"),
        ({**S1, "polarization": "XX"}, "polarization: sentinel-1-grd: polarization = XX is not known; choose DV"),
        ({**S1, "dem_instance": "SRTM"}, "dem_instance: sentinel-1-grd: demInstance = SRTM is not known; choose"),
        ({**DEM, "dem_instance": "SRTM"}, "dem_instance: dem: demInstance = SRTM is not known; choose COPERNICUS_90"),
        (
            {**S1, "bands": ["HH"]},
            "Layer: band HH of sentinel-1-grd needs polarization = DH, SH or HH, not DV; set pol",
        ),
        (
            {**S1, "bands": ["shadowMask"], "preset": "sigma0-ellipsoid"},
            "Layer: band shadowMask of sentinel-1-grd needs backCoeff = GAMMA0_TERRAIN, not SIGMA0_ELLIPSOID; set p",
        ),
        # bands and units
        (without(S2, "bands"), 'bands: is missing; write bands = ["B02", "B03"]'),
        ({**S2, "bands": []}, 'bands: is empty; write bands = ["B02", "B03"]'),
        ({**S2, "bands": ""}, 'bands: is empty; write bands = ["B02", "B03"]'),
        ({**S2, "bands": ["scene_ids"]}, "bands: 'scene_ids' is a name the cube itself uses; leave it out"),
        ({**OWN, "bands": ["a b"]}, "bands: 'a b' cannot be a band's name; use letters, digits and underscores"),
        ({**S2, "bands": ["SCL"], "units": "REFLECTANCE"}, "units: none of these bands can be had as REFLECTANCE; use"),
        ({**S1, "units": "REFLECTANCE"}, "units: none of these bands can be had as REFLECTANCE"),
        ({**S2, "route": "batch"}, "route: 'batch' is not one of 'auto', 'process' or 'async'"),
        # encode
        ({**S1, "encode": {"dtype": "int16", "scale": 0}}, "encode.scale: should be greater than 0 (given: 0)"),
        ({**S1, "encode": {"dtype": "int16", "scale": -1}}, "encode.scale: should be greater than 0 (given: -1)"),
        ({**S1, "encode": {"dtype": "int32", "scale": 1}}, "encode.dtype: 'int32' is not one of 'uint8', 'int8'"),
        ({**S1, "encode": {"dtpe": "int16"}}, "encode.dtpe: is not known (did you mean dtype?)"),
        ({**S1, "encode": {"VV": {"dtpe": "int16"}}}, "encode.VV.dtpe: is not known (did you mean dtype?)"),
        ({**S1, "encode": {"db": True}}, "encode: scale is missing: one step of int16, such as scale = 0.01"),
        ({**S1, "encode": {"dtype": "float32"}}, "encode: float32 without db is no encoding; leave encode out"),
        (
            {**S1, "encode": {"dtype": "float32", "db": True, "offset": 1}},
            "encode: float32 is sent as it is; leave out scale and offset",
        ),
        (
            {**S1, "encode": {"dtype": "uint8", "scale": 0.2, "db": True}},
            "encode: uint8 with scale 0.2 and offset 0 holds 0 to 51, and VV (decibels) has values of -20 to 0;",
        ),
        (
            {**S1, "encode": {"dtype": "int16", "scale": 1}},
            "encode: steps of 1 leave nothing of VV (LINEAR_POWER), whose values are usually 0 to 0.5; make scale",
        ),
        (
            {**DEM, "encode": {"dtype": "uint8", "scale": 1}},
            "encode: uint8 with scale 1 and offset 0 holds 0 to 255, and DEM (METERS) has values of 0 to 500; take",
        ),
        ({**S1, "encode": {"HH": {"scale": 0.01}}}, "encode: HH is not among the bands; name it there too, or leave"),
        ({**S2, "encode": {"scale": 1}}, "encode: SCL holds class codes, which are sent as they are; name the bands"),
        ({**S2, "encode": {"B02": {"scale": 1, "db": True}}}, "encode: decibels are made of backscatter, and B02 is"),
        # a look first
        ({**S2, "clear": {"min": 0.2}}, "clear: chooses between dates, and a mosaic has none; give a cadence, such as"),
        ({**S1, "clear": {"min": 0.2}, "cadence": "day"}, "clear: sentinel-1-grd has no scene classification to tell"),
        ({**S2, "clear": {}, "cadence": "day"}, "clear.min: is missing"),
        ({**S2, "clear": {"min": 20}, "cadence": "day"}, "clear.min: 20 is more than the whole scene;"),
        ({**S2, "clear": {"min": 0}, "cadence": "day"}, "clear.min: 0 would buy everything; leave clear out"),
        (
            {**S2, "clear": {"min": 0.2, "scout": 1}, "cadence": "day"},
            "clear.scout: is not known (did you mean scout_m",
        ),
        (
            {**S2, "clear": {"min": 0.2, "scout_m": 2000}, "cadence": "day"},
            "clear.scout_m: should be less than or equal",
        ),
        # scripts
        (
            {**SCRIPT, "bands": ["B02"]},
            "bands: bands and evalscript exclude each other; what a script returns is named",
        ),
        (without(SCRIPT, "outputs"), "outputs: is missing; write what the script returns, as in outputs.default = {"),
        (without(SCRIPT, "input_bands"), "input_bands: is missing; write what the script reads, as in input_bands ="),
        ({**SCRIPT, "input_bands": ["B99"]}, "input_bands: sentinel-2-l2a has no band 'B99' (did you mean B09?)"),
        ({**SCRIPT, "input_bands": ["B02", "B02"]}, "input_bands: B02 is named more than once; name each band once"),
        (
            {**SCRIPT, "outputs": {"default": {"bands": ["n"], "dtype": "float64"}}},
            "outputs.default.dtype: 'float64' is not one of 'uint8', 'int8', 'uint16', 'int16' or 'float32'",
        ),
        ({**SCRIPT, "outputs": {"default": {"bands": []}}}, "outputs.default.bands: is empty; write bands ="),
        (
            {**SCRIPT, "outputs": {"default": {"bands": ["a/b"]}}},
            "outputs.default.bands: 'a/b' cannot be a band's name",
        ),
        ({**SCRIPT, "outputs": {"a": {"bands": ["n"]}, "b": {"bands": ["n"]}}}, "outputs: n is named more than once"),
        ({**SCRIPT, "outputs": {"userdata": {"bands": ["n"]}}}, "outputs: 'userdata' cannot be the id of a picture;"),
        ({**SCRIPT, "outputs": {"a.b": {"bands": ["n"]}}}, "outputs: 'a.b' cannot be the id of a picture; use letters"),
        ({**SCRIPT, "units": "REFLECTANCE"}, "units: a script says its own units; leave it out"),
        ({**SCRIPT, "encode": {"dtype": "int16", "scale": 1}}, "encode: a script encodes its own values; leave it out"),
        ({**SCRIPT, "mosaicking": "DAY"}, "mosaicking: 'DAY' is not one of 'SIMPLE', 'ORBIT' or 'TILE'"),
        (
            {**SCRIPT, "collection": "zarr-1", "mosaicking": "ORBIT"},
            "mosaicking: zarr-1 has no days to tell apart; use",
        ),
        ({**S2, "mosaicking": "ORBIT"}, "mosaicking: is a script's own; leave it out"),
        (
            {**S2, "outputs": {"default": {"bands": ["n"]}}},
            "outputs: are what an evalscript returns; leave them out, or",
        ),
        ({**S2, "input_bands": ["B02"]}, "input_bands: what one collection's script reads; name the bands to store in"),
        # fusion
        ({**S2, "sources": {"s1": S1}}, "sources: several collections become one picture by an evalscript; give one"),
        ({**FUSION, "collection": "dem"}, "sources: dem is not among them; leave collection out, or give the one that"),
        (
            {**FUSION, "input_bands": ["B02"]},
            "input_bands: what one collection's script reads; name each source's bands",
        ),
        ({**FUSION, "max_cloud_cover": 0.5}, "Layer: max_cloud_cover: each source has its own; say it there"),
        ({**FUSION, "sources": {"s-2": S2}}, "sources: 's-2' cannot be an id in a script; use letters, digits and"),
        ({**FUSION, "sources": {"s2": {**S2, "bands": ["B99"]}}}, "sources.s2.bands: sentinel-2-l2a has no band 'B99'"),
        (
            {**FUSION, "sources": {"s1": {**S1, "max_cloud_cover": 0.5}}},
            "sources.s1.max_cloud_cover: sentinel-1-grd has no cloud cover to filter by; leave it out",
        ),
        (
            {**FUSION, "cadence": "acquisition"},
            "Layer: sources.s1: a pass of sentinel-2-l2a lasts seconds, in which sentinel-1-grd saw nothing; give the",
        ),
        (
            {**FUSION, "sources": {"s2": {**S2, "mosaicking_order": "leastCC"}}, "cadence": "acquisition"},
            "Layer: sources.s2.mosaicking_order: leastCC chooses between passes",
        ),
        (without(FUSION, "sources"), "collection: is missing; write collection = "),
    ],
)
def test_a_wrong_layer_is_refused_with_place_and_cure(fields: dict[str, Any], line: str) -> None:
    """The field's place, what is wrong, and what would be right."""
    with pytest.raises(PlanError) as refusal:
        Layer(**fields)
    assert line in str(refusal.value)


def test_a_script_is_read_from_beside_the_job(tmp_path: Path) -> None:
    """A path counts from the job file; a text stays as it is."""
    (tmp_path / "ndvi.js").write_text("\ufeff//VERSION=3\nfunction setup() {}\n")
    layer = Layer(**SCRIPT).with_script(tmp_path)
    assert layer.evalscript == "//VERSION=3\nfunction setup() {}\n"
    assert layer.with_script(None) == layer


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"layers\.ndvi\.evalscript: .*ndvi\.js cannot be read \(No such file or directory\); check the path"),
        (b"//VERSION=3\n\xe9", r"layers\.ndvi\.evalscript: .*ndvi\.js is not UTF-8; save it as UTF-8"),
        (b"return 1", r"layers\.ndvi\.evalscript: .*ndvi\.js does not begin with //VERSION=3"),
    ],
    ids=["missing", "not-utf8", "no-script"],
)
def test_a_script_that_cannot_be_read_is_named(
    tmp_path: Path, job: dict[str, Any], content: bytes | None, message: str
) -> None:
    """With the layer, the file and the cure."""
    name = tmp_path / ("ndvi.js" if content is not None else "other.js")
    name.write_bytes(content or b"")
    script = {**SCRIPT, "evalscript": str(tmp_path / "ndvi.js")}
    spec = CubeSpec(aoi="a.geojson", **{**job, "layers": {"ndvi": script}})
    with pytest.raises(PlanError, match=message):
        spec.with_scripts()


def test_a_script_whose_path_is_none_is_refused() -> None:
    """As any other that cannot be read."""
    with pytest.raises(PlanError, match=r"^evalscript: 'a\\x00b' is no path"):
        Layer(**{**SCRIPT, "evalscript": "a\0b"}).with_script(None)


def test_a_job_with_scripts_keeps_the_rest(tmp_path: Path, job: dict[str, Any]) -> None:
    """Other layers, and everything else."""
    (tmp_path / "ndvi.js").write_text("//VERSION=3\n")
    script = {**SCRIPT, "evalscript": str(tmp_path / "ndvi.js")}
    spec = CubeSpec(aoi="a.geojson", **{**job, "layers": {"ndvi": script, "s2": S2}})
    read = spec.with_scripts()
    assert read.layers["ndvi"].evalscript == "//VERSION=3\n"
    assert read.layers["s2"] == spec.layers["s2"]
    assert read.model_dump(exclude={"layers"}) == spec.model_dump(exclude={"layers"})


@pytest.mark.parametrize(
    ("layer", "place"),
    [
        (S2, r"^cube\.time: 2014-06-30 is before 2015-06-23"),
        ({**S1, "time": ("2014-01-01", "2014-01-31")}, r"^layers\.l\.time: 2014-01-31 is before 2014-04-03"),
        (
            {**FUSION, "sources": {"s1": {**S1, "time": ("2013-01-01", "2013-01-02")}}},
            r"^layers\.l\.sources\.s1\.time: 2013-01-02 is before",
        ),
    ],
)
def test_days_before_the_mission_are_refused_wherever_they_stand(
    job: dict[str, Any], layer: dict[str, Any], place: str
) -> None:
    """Of the cube, of a layer, of a source; the other layer is right."""
    layers = {"own": OWN, "l": layer}
    spec = CubeSpec(aoi="a.geojson", **{**job, "time": ("2014-06-01", "2014-06-30"), "layers": layers})
    with pytest.raises(PlanError, match=place):
        check_dates(spec, date(2024, 7, 1))


def test_heights_have_no_dates_to_check(job: dict[str, Any]) -> None:
    """Whatever the cube's time is: it is the other layers'."""
    spec = CubeSpec(aoi="a.geojson", **{**job, "time": ("2990-01-01", "2990-01-02"), "layers": {"h": DEM}})
    check_dates(spec, date(2024, 7, 1))
    assert spec.interval is None

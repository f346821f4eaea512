"""What is sent is what sentinelhub-py sends: URL, headers, JSON with its order, and errors, for drawn arguments.

What it gets wrong and we mend is left out of what is drawn here, and listed in test_mended.py. ORACLE_EXAMPLES is how
many argument sets each law draws; ``make bench ONLY=oracle`` draws more.
"""

from __future__ import annotations

import copy
import datetime as dt
import json
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import shapely
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import shdask.sentinelhub as ours

ORACLE = settings(
    max_examples=int(os.environ.get("ORACLE_EXAMPLES", "250")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
KINDS = (ValueError, TypeError, KeyError, IndexError, AttributeError)

COLLECTIONS = [
    "SENTINEL2_L1C", "SENTINEL2_L2A", "SENTINEL1", "SENTINEL1_IW", "SENTINEL1_IW_ASC", "SENTINEL1_IW_DES",
    "SENTINEL1_EW", "SENTINEL1_EW_ASC", "SENTINEL1_EW_DES", "SENTINEL1_EW_SH", "SENTINEL1_EW_SH_ASC",
    "SENTINEL1_EW_SH_DES", "DEM", "DEM_MAPZEN", "DEM_COPERNICUS_30", "DEM_COPERNICUS_90", "MODIS", "LANDSAT_MSS_L1",
    "LANDSAT_TM_L1", "LANDSAT_TM_L2", "LANDSAT_ETM_L1", "LANDSAT_ETM_L2", "LANDSAT_OT_L1", "LANDSAT_OT_L2",
    "SENTINEL5P", "SENTINEL3_OLCI", "SENTINEL3_SLSTR", "HARMONIZED_LANDSAT_SENTINEL",
]  # fmt: skip  # a list to be read
OWN = {
    "S2_HERE": {"api_id": "sentinel-2-l2a", "service_url": "https://sh.dataspace.copernicus.eu/"},
    "ANYWHERE": {"api_id": "byoc-0", "timeliness": "NRT3h", "swath_mode": "sm", "orbit_direction": "both"},
    "NO_ID": {"catalog_id": "nothing"},
}
BASES = [
    "https://services.sentinel-hub.com",
    "https://services-uswest2.sentinel-hub.com/",
    "https://sh.dataspace.copernicus.eu",
    "http://127.0.0.1:8000",
]

dates = st.dates(dt.date(2015, 1, 1), dt.date(2030, 1, 1))
moments = st.datetimes(dt.datetime(2015, 1, 1), dt.datetime(2030, 1, 1))  # noqa: DTZ001  # naive ones are drawn too
zones = st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=2))])
good_times = st.one_of(
    st.none(),
    dates,
    dates.map(str),
    moments,
    moments.map(lambda moment: moment.isoformat()),
    st.sampled_from(["..", "2024-06", "1 June 2024", "20240601"]),
)
aware_times = st.one_of(
    st.builds(lambda moment, zone: moment.replace(tzinfo=zone), moments, zones),
    moments.map(lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ")),
)
times = good_times | aware_times | st.sampled_from(["nonsense", "", 7])
intervals = st.one_of(
    good_times,
    aware_times,
    st.tuples(good_times, good_times),
    st.tuples(aware_times, aware_times).map(list),
    st.tuples(dates, dates).map(lambda pair: tuple(sorted(pair))),
    st.tuples(times, times),
    st.tuples(times),
    st.tuples(times, times, times),
    times,
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(0, 99), st.sampled_from(["x", "HH", 0.5]), st.just([1, {"a": 2}])
)
keys = st.sampled_from(
    ["type", "id", "dataFilter", "timeRange", "from", "processing", "upsampling", "maxCloudCoverage", "input", "bounds",
     "data", "properties", "crs", "bbox", "output", "responses", "delivery", "s3", "width", "resx", "format", "new"]
)  # fmt: skip
others = st.none() | st.recursive(
    st.dictionaries(keys, scalars, max_size=3),
    lambda more: st.dictionaries(keys, more | scalars, max_size=3),
    max_leaves=6,
)
resamplings = st.sampled_from(
    [None, "", "NEAREST", "bilinear", "BICUBIC", "Nearest", "cubic", ("ResamplingType", "BICUBIC")]
)
orders = st.sampled_from(
    [None, "", "mostRecent", "leastRecent", "leastCC", "LEASTCC", ("MosaickingOrder", "LEAST_RECENT")]
)
inputs = st.fixed_dictionaries(
    {
        "collection": st.sampled_from([*COLLECTIONS, *OWN]),
        "identifier": st.sampled_from([None, "", "s2", "0"]),
        "time_interval": intervals,
        # 64ths have no noise that truncation could fall over
        "maxcc": st.none()
        | st.integers(-6, 70).map(lambda share: share / 64)
        | st.sampled_from([0, 1, True, float("nan")]),
        "mosaicking_order": orders,
        "upsampling": resamplings,
        "downsampling": resamplings,
        "other_args": others,
    }
)
good_inputs = st.fixed_dictionaries(
    {
        "collection": st.sampled_from([*COLLECTIONS, "S2_HERE", "ANYWHERE"]),
        "identifier": st.sampled_from([None, "s2"]),
        "time_interval": st.none() | dates | st.tuples(dates, st.none()),
        "other_args": st.none() | st.just({"dataFilter": {"a": {"b": 1}}}),
    }
)
codes = st.sampled_from(["4326", "3857", "32633", "32701", "3035", "2154"])
boxes = st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(0.001, 9), st.floats(0.001, 9)).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)
shapes = boxes.map(lambda box: shapely.box(*box)) | boxes.map(lambda box: shapely.box(*box).buffer(1, quad_segs=1))
shapes = shapes | st.tuples(shapes, shapes).map(shapely.MultiPolygon)
places = st.one_of(
    st.fixed_dictionaries({"bbox": boxes, "geometry": st.none()}),
    st.fixed_dictionaries({"bbox": st.none(), "geometry": shapes}),
    st.fixed_dictionaries({"bbox": boxes, "geometry": shapes}),
    st.fixed_dictionaries({"bbox": st.none() | boxes, "geometry": st.none() | shapes}),
).flatmap(
    lambda place: st.fixed_dictionaries(
        {
            **{key: st.just(value) for key, value in place.items()},
            "bbox_crs": codes,
            "geometry_crs": codes,
            "alike": st.integers(0, 3),
        }
    )
)
formats = st.sampled_from(
    ["tiff", "png", "jpg", "json", ("MimeType", "TIFF"), ("MimeType", "JPG"), ("MimeType", "TAR"), "bmp"]
)
responses = st.lists(
    st.tuples(st.sampled_from(["default", "mask", "userdata"]), formats, others), min_size=0, max_size=3
)
good_responses = st.lists(
    st.tuples(st.sampled_from(["default", "mask"]), st.sampled_from(["tiff", ("MimeType", "PNG")]), st.none()),
    min_size=1,
    max_size=3,
)
sizes = st.tuples(st.integers(1, 2500), st.integers(1, 2500))
# no side of what is drawn is longer than 120, so that none has more than 2500 pixels
resolutions = st.tuples(st.floats(0.05, 50), st.integers(1, 60))
grids = st.one_of(
    st.fixed_dictionaries({"size": st.none() | sizes, "resolution": st.none()}),
    st.fixed_dictionaries({"size": st.none(), "resolution": resolutions}),
    st.fixed_dictionaries({"size": st.none() | sizes, "resolution": st.none() | resolutions}),
)
requests = st.fixed_dictionaries(
    {
        "evalscript": st.sampled_from(["//VERSION=3 ä", "return [1]", "", "//VERSION=3", "x" * 99, 7]),
        "inputs": st.lists(good_inputs, min_size=0, max_size=3),
        "responses": good_responses | good_responses.map(list) | responses,
        "place": places,
        "grid": grids,
        "base_url": st.sampled_from(BASES),
        "data_folder": st.sampled_from([None, "folder"]),
    }
)
rights = st.one_of(
    st.just({"iam_role_arn": "arn:aws:iam::1:role/r"}),
    st.just({"access_key": "AK", "secret_access_key": "very-secret"}),
    st.fixed_dictionaries(
        {},
        optional={
            "access_key": st.just("AK"),
            "secret_access_key": st.just("very-secret"),
            "iam_role_arn": st.just("arn:aws:iam::1:role/r"),
        },
    ),
)
accesses = st.builds(
    lambda right, region: {"url": "s3://bucket/prefix", "region": region, **right},
    rights,
    st.sampled_from([None, "eu-central-1"]),
)


@ORACLE
@given(recipe=inputs)
def test_input_data_is_equal(recipe: dict[str, Any], theirs: ModuleType) -> None:
    """Every filter, processing option and ``other_args`` gives the same entry, deployment or error."""
    ask = [_outcome(lambda side=side: _tell_input(_input(side, side, recipe))) for side in (ours, theirs)]
    assert ask[0] == ask[1]


@ORACLE
@given(place=places, other_args=others)
def test_bounds_are_equal(place: dict[str, Any], other_args: Any, theirs: ModuleType) -> None:
    """Every bbox and geometry in every CRS, together and alone, gives the same JSON or error."""
    ask = [
        _outcome(
            lambda side=side: json.dumps(
                side.SentinelHubRequest.bounds(**_place(side, place), other_args=copy.deepcopy(other_args))
            )
        )
        for side in (ours, theirs)
    ]
    assert ask[0] == ask[1]


@ORACLE
@given(recipe=requests)
def test_process_requests_are_equal(recipe: dict[str, Any], theirs: ModuleType) -> None:
    """URL, headers, JSON, file names and formats of a whole request are equal, or it is refused alike."""
    ask = [_outcome(lambda side=side: _tell(_process(side, side, recipe))) for side in (ours, theirs)]
    assert ask[0] == ask[1]


@ORACLE
@given(recipe=requests, delivery=accesses, reference=st.none() | accesses)
def test_async_requests_are_equal(
    recipe: dict[str, Any], delivery: dict[str, Any], reference: dict[str, Any] | None, theirs: ModuleType
) -> None:
    """The same of a job, with delivery and evalscript by keys or by role."""
    ask = [_outcome(lambda side=side: _tell(_async(side, recipe, delivery, reference))) for side in (ours, theirs)]
    assert ask[0] == ask[1]


@ORACLE
@given(recipe=requests)
def test_objects_of_sentinelhub_py_are_taken(recipe: dict[str, Any], theirs: ModuleType) -> None:
    """Its boxes, geometries, collections, enumerations, inputs and config give what our own give."""
    ask = [_outcome(lambda parts=parts: _tell(_process(ours, parts, recipe))) for parts in (ours, theirs)]
    assert ask[0] == ask[1]


@ORACLE
@given(recipe=requests)
def test_cache_folders_are_equal(recipe: dict[str, Any], theirs: ModuleType) -> None:
    """Without ``other_args`` the answer is kept under the very path that sentinelhub-py would give it."""
    plain = {
        **recipe,
        "inputs": [{**one, "other_args": None} for one in recipe["inputs"]],
        "responses": [(name, kind, None) for name, kind, _ in recipe["responses"]],
    }
    ask = [_outcome(lambda side=side: _process(side, side, plain).get_filename_list()) for side in (ours, theirs)]
    assert ask[0] == ask[1]


@ORACLE
@given(
    request_output=st.none() | st.dictionaries(keys, scalars, max_size=2),
    other_args=others,
    responses_given=st.lists(st.dictionaries(keys, scalars, max_size=2), max_size=2),
    grid=grids,
)
def test_bodies_and_outputs_are_equal(
    request_output: Any, other_args: Any, responses_given: Any, grid: Any, theirs: ModuleType
) -> None:
    """The static methods alone give the same JSON for both requests, and change nothing that was given."""
    bounds, data = {"properties": {"crs": "x"}}, [{"type": "t"}]

    def tell(side: Any) -> list[object]:
        given = copy.deepcopy([bounds, data, request_output, other_args, responses_given])
        job, one = side.AsyncProcessRequest, side.SentinelHubRequest
        return [
            _outcome(lambda: json.dumps(one.body(*copy.deepcopy(given[:2]), "//", *copy.deepcopy(given[2:4])))),
            _outcome(lambda: json.dumps(job.body(*copy.deepcopy(given[:2]), "//", None, *copy.deepcopy(given[2:4])))),
            _outcome(lambda: json.dumps(one.output(given[4], **grid, other_args=copy.deepcopy(given[3])))),
            _outcome(lambda: json.dumps(job.output(given[4], {"s3": {}}, **grid, other_args=copy.deepcopy(given[3])))),
        ]

    assert tell(ours) == tell(theirs)


def _member(side: Any, said: Any) -> Any:
    return getattr(side, said[0])[said[1]] if isinstance(said, tuple) else said


def _collection(side: Any, name: str) -> Any:
    return side.DataCollection.define(name, **OWN[name]) if name in OWN else side.DataCollection[name]


def _input(side: Any, parts: Any, recipe: dict[str, Any]) -> Any:
    said = copy.deepcopy(recipe)
    words = {key: _member(parts, said.pop(key, None)) for key in ("mosaicking_order", "upsampling", "downsampling")}
    return side.SentinelHubRequest.input_data(_collection(parts, said.pop("collection")), **said, **words)


def _place(parts: Any, place: dict[str, Any]) -> dict[str, Any]:
    # most draws share one CRS
    geometry_crs = place["bbox_crs"] if place["alike"] else place["geometry_crs"]
    box, shape = place["bbox"], place["geometry"]
    return {
        "bbox": box and parts.BBox(box, parts.CRS(place["bbox_crs"])),
        "geometry": shape and parts.Geometry(shape, parts.CRS(geometry_crs)),
    }


def _rest(side: Any, parts: Any, recipe: dict[str, Any]) -> dict[str, Any]:
    config = parts.SHConfig(use_defaults=True)
    config.sh_base_url = recipe["base_url"]
    response = side.SentinelHubRequest.output_response
    return {
        "input_data": [_input(parts, parts, one) for one in recipe["inputs"]],
        "responses": [
            response(name, _member(parts, kind), copy.deepcopy(other)) for name, kind, other in recipe["responses"]
        ],
        **_place(parts, recipe["place"]),
        **recipe["grid"],
        "data_folder": recipe["data_folder"],
        "config": config,
    }


def _process(side: Any, parts: Any, recipe: dict[str, Any]) -> Any:
    return side.SentinelHubRequest(recipe["evalscript"], **_rest(side, parts, recipe))


def _async(side: Any, recipe: dict[str, Any], delivery: Any, reference: Any) -> Any:
    specify = side.AsyncProcessRequest.s3_specification
    script = (
        {"evalscript": recipe["evalscript"]} if reference is None else {"evalscript_reference": specify(**reference)}
    )
    return side.AsyncProcessRequest(**script, delivery=specify(**delivery), **_rest(side, side, recipe))


def _tell_input(entry: Any) -> object:
    return json.dumps(entry), entry.service_url, repr(entry), isinstance(entry, dict)


def _tell(request: Any) -> object:
    (one,) = request.download_list
    sent = (one.url, json.dumps(one.post_values), list(one.headers.items()), one.request_type.value, one.use_session)
    kept = (one.data_type.value, one.save_response, one.data_folder, request.data_folder)
    return sent, kept, request.mime_type.value, request.get_url_list(), request.payload is one.post_values


def _outcome(call: Callable[[], object]) -> object:
    """What comes of it; of an error its built-in kind, since ours say more."""
    try:
        return call()
    except KINDS as error:
        event("refused")
        return next(kind for kind in KINDS if isinstance(error, kind))

"""The same requests by sentinelhub-py and by us, to one emulator: equal results, and caches each can read."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from shdask.emulator.launch import EmulatorProcess, start_emulator
from shdask.sentinelhub.base import ProcessingRequest
from shdask.sentinelhub.config import SHConfig
from shdask.sentinelhub.constants import MimeType
from shdask.sentinelhub.exceptions import DownloadFailedException, SHRateLimitWarning

SCRIPT = """//VERSION=3
function setup() {
  return {input: [{bands: ["B02", "B03", "B04"], units: "%(units)s"}],
          output: [{id: "default", bands: %(bands)d, sampleType: "%(dtype)s"}]};
}
function evaluatePixel(s) { return [s.B02, s.B03, s.B04].slice(0, %(bands)d); }
function updateOutputMetadata(scenes, input, output) { output.userData = {"count": 3}; }
"""
BOX = (500000, 5100000, 500400, 5100300)


@pytest.fixture(autouse=True)
def insecure(monkeypatch: pytest.MonkeyPatch) -> None:
    """sentinelhub-py's login library knows no loopback."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


def settings_of(emulator: EmulatorProcess) -> dict[str, Any]:
    """The emulator as the fields of a config."""
    return {
        "sh_base_url": emulator.base_url,
        "sh_token_url": emulator.token_url,
        "sh_client_id": emulator.client_id,
        "sh_client_secret": emulator.client_secret,
    }


def their_request(
    theirs: ModuleType,
    emulator: EmulatorProcess,
    *outputs: tuple[str, str],
    folder: Path | None = None,
    **script: Any,
) -> Any:
    """sentinelhub-py's own request for 40 x 30 pixels."""
    kind = theirs.SentinelHubRequest
    collection = theirs.data_collections.DataCollection.SENTINEL2_L2A
    entry = kind.input_data(collection, time_interval=("2024-06-01", "2024-06-30"), mosaicking_order="leastCC")
    entry.service_url = None
    return kind(
        evalscript=SCRIPT % {"units": "DN", "bands": 3, "dtype": "UINT16", **script},
        input_data=[entry],
        responses=[kind.output_response(name, form) for name, form in outputs or [("default", "tiff")]],
        bbox=theirs.BBox(BOX, theirs.CRS("32633")),
        size=(40, 30),
        data_folder=None if folder is None else str(folder),
        config=theirs.SHConfig(use_defaults=True, **settings_of(emulator)),
    )


def our_request(their: Any) -> ProcessingRequest:
    """The same request, sent by us."""
    return ProcessingRequest(
        url=their.download_list[0].url,
        payload=their.payload,
        mime_type=MimeType(their.mime_type.value),
        data_folder=their.data_folder,
        config=SHConfig(use_defaults=True, **their.config.to_dict(mask_credentials=False)),
    )


@pytest.mark.parametrize(
    ("form", "script"),
    [
        ("tiff", {"dtype": "UINT16"}),
        ("tiff", {"dtype": "FLOAT32", "units": "REFLECTANCE"}),
        ("tiff", {"dtype": "UINT8", "bands": 1}),
        ("png", {"dtype": "AUTO", "units": "REFLECTANCE"}),
        ("png", {"dtype": "UINT16", "bands": 1}),
        ("png", {"dtype": "UINT16"}),
        ("jpg", {"dtype": "AUTO", "units": "REFLECTANCE"}),
        ("jpg", {"dtype": "UINT8", "bands": 1}),
    ],
)
def test_pictures_are_equal(theirs: ModuleType, emulator: EmulatorProcess, form: str, script: dict[str, Any]):
    """Type, shape and every pixel."""
    their = their_request(theirs, emulator, ("default", form), **script)
    (expected,), (found,) = their.get_data(), our_request(their).get_data()
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert expected.max() > expected.min()
    np.testing.assert_array_equal(found, expected)


def test_several_outputs_are_equal(theirs: ModuleType, emulator: EmulatorProcess):
    """A dict of the same files with the same contents."""
    their = their_request(theirs, emulator, ("default", "tiff"), ("userdata", "json"))
    (expected,), (found,) = their.get_data(), our_request(their).get_data()
    assert list(found) == list(expected) == ["default.tif", "userdata.json"]
    np.testing.assert_array_equal(found["default.tif"], expected["default.tif"])
    assert found["userdata.json"] == expected["userdata.json"] == {"count": 3}


@pytest.mark.parametrize("outputs", [[("default", "tiff")], [("default", "png"), ("userdata", "json")]])
def test_caches_are_read_both_ways(
    theirs: ModuleType, emulator: EmulatorProcess, tmp_path: Path, outputs: list[tuple[str, str]]
):
    """What either library kept, the other does not buy again."""
    their = their_request(theirs, emulator, *outputs, folder=tmp_path / "theirs")
    their.save_data()
    ours = our_request(their_request(theirs, emulator, *outputs, folder=tmp_path / "ours"))
    ours.save_data()
    emulator.reset()
    our_request(their).get_data()
    their_request(theirs, emulator, *outputs, folder=tmp_path / "ours").get_data()
    assert emulator.stats()["pu_charged"] == 0
    assert ours.get_filename_list() == their.get_filename_list()


def test_a_refusal_is_told_alike(theirs: ModuleType, emulator: EmulatorProcess):
    """Both raise, with the service's own words and status."""
    their = their_request(theirs, emulator)
    their.payload["input"]["data"][0]["type"] = "no-such-collection"
    with pytest.raises(theirs.DownloadFailedException) as expected:
        their.get_data()
    with pytest.raises(DownloadFailedException) as found:
        our_request(their).get_data()
    told, heard = expected.value.request_exception.response, found.value.request_exception.response
    assert (heard.status_code, heard.json()) == (told.status_code, told.json())
    assert heard.json()["error"]["message"] in str(found.value)


def test_a_small_plan_is_kept_to(theirs: ModuleType):
    """Sixteen threads against 20 requests a second after a burst of 5: all arrive, whatever is answered 429."""
    with start_emulator(requests_per_minute=1200, request_burst=5) as limited, warnings.catch_warnings():
        warnings.simplefilter("ignore", SHRateLimitWarning)
        asked = our_request(their_request(theirs, limited))
        asked.download_list *= 30
        found = asked.get_data(max_threads=16)
    assert [picture.shape for picture in found] == [(30, 40, 3)] * 30

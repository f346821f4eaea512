"""The service's own Python client against the emulator: what it sends is understood, what it gets is decoded."""

from __future__ import annotations

import numpy as np
import pytest

SCRIPT = """//VERSION=3
function setup() {
  return {
    input: [{bands: ["B02", "B03", "B04"], units: "DN"}],
    output: [{id: "default", bands: 3, sampleType: "UINT8"}],
  };
}
function evaluatePixel(s) { return [s.B02 % 200, s.B03 % 200, s.B04 % 200]; }
function updateOutputMetadata(scenes, inputMetadata, outputMetadata) {
  outputMetadata.userData = {factor: inputMetadata.normalizationFactor};
}
"""


@pytest.fixture
def fetch(reference, monkeypatch):
    """The client's decoded answer to a request for 20 x 10 pixels of the synthetic Earth in these formats."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    hub = reference.client

    def request(**formats):
        bbox = hub.BBox((500000, 5099900, 500200, 5100000), hub.CRS("32633"))
        data = hub.SentinelHubRequest.input_data(
            reference.optical, time_interval=("2024-06-01", "2024-06-30"), maxcc=0.8, mosaicking_order="leastCC"
        )
        responses = [
            hub.SentinelHubRequest.output_response(identifier, hub.MimeType(kind))
            for identifier, kind in formats.items()
        ]
        return hub.SentinelHubRequest(
            evalscript=SCRIPT, input_data=[data], responses=responses, bbox=bbox, size=(20, 10), config=reference.config
        ).get_data()[0]

    return request


def test_tiff_is_decoded(fetch):
    """A TIFF arrives as rows, columns and bands."""
    image = fetch(default="tiff")
    assert (image.shape, image.dtype) == ((10, 20, 3), np.uint8)
    assert image.any()


def test_png_equals_the_tiff(fetch):
    """A PNG is lossless."""
    np.testing.assert_array_equal(fetch(default="png"), fetch(default="tiff"))


def test_jpeg_is_decoded(fetch):
    """A JPEG arrives as a picture of the same size."""
    assert fetch(default="jpg").shape == (10, 20, 3)


def test_tar_becomes_files_by_name(fetch):
    """Several responses arrive as a dictionary, images as arrays and metadata as an object."""
    files = fetch(default="tiff", userdata="json")
    assert files["userdata.json"] == {"factor": 1}
    np.testing.assert_array_equal(files["default.tif"], fetch(default="tiff"))

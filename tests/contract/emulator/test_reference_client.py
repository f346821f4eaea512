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


@pytest.fixture(scope="module")
def fetch(emulator, tmp_path_factory):
    """The client's decoded answer to a request for 20 x 10 pixels of the synthetic Earth in these formats."""
    with pytest.MonkeyPatch.context() as patch:
        # importing the client writes a file of settings into the home folder, and its OAuth insists on https
        home = str(tmp_path_factory.mktemp("home"))
        patch.setenv("HOME", home)
        patch.setenv("XDG_CONFIG_HOME", home)
        patch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
        import sentinelhub

        config = sentinelhub.SHConfig(
            use_defaults=True,
            sh_client_id=emulator.client_id,
            sh_client_secret=emulator.client_secret,
            sh_base_url=emulator.base_url,
            sh_token_url=emulator.token_url,
        )
        collection = sentinelhub.DataCollection.SENTINEL2_L2A.define_from("EMULATED", service_url=emulator.base_url)

        def request(**formats):
            bbox = sentinelhub.BBox((500000, 5099900, 500200, 5100000), sentinelhub.CRS("32633"))
            data = sentinelhub.SentinelHubRequest.input_data(
                collection, time_interval=("2024-06-01", "2024-06-30"), maxcc=0.8, mosaicking_order="leastCC"
            )
            responses = [
                sentinelhub.SentinelHubRequest.output_response(identifier, sentinelhub.MimeType(kind))
                for identifier, kind in formats.items()
            ]
            return sentinelhub.SentinelHubRequest(
                evalscript=SCRIPT, input_data=[data], responses=responses, bbox=bbox, size=(20, 10), config=config
            ).get_data()[0]

        yield request


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

"""The emulator's output formats: JPEG, metadata, several responses in a tar."""

from __future__ import annotations

import email
import io
import json
import tarfile

import numpy as np
import pytest
from rasterio.io import MemoryFile

from .conftest import make_body

TAR = "application/x-tar"
SEVERAL = """//VERSION=3
function setup() {
  return {
    input: [{bands: ["B02", "B03"], units: "DN"}],
    output: [{id: "default", bands: 1, sampleType: "UINT16"}, {id: "grey", bands: 1, sampleType: "UINT8"}],
  };
}
let pixels = 0;
function evaluatePixel(s) { pixels++; return {default: [s.B02], grey: [s.B03 % 256]}; }
function updateOutputMetadata(scenes, inputMetadata, outputMetadata) {
  outputMetadata.userData = {pixels: pixels, factor: inputMetadata.normalizationFactor, scenes: scenes};
}
"""
PICTURE = """//VERSION=3
function setup() { return {input: ["B02"], output: {bands: 3}}; }
function evaluatePixel(s) { return [0.2, 0.4, 0.8]; }
"""


def respond(**formats):
    """Responses by identifier and short type."""
    kinds = {"tiff": "image/tiff", "png": "image/png", "jpeg": "image/jpeg", "json": "application/json"}
    return [{"identifier": name, "format": {"type": kinds[kind]}} for name, kind in formats.items()]


def several(**formats):
    """A request of the script with two outputs and metadata."""
    return make_body(evalscript=SEVERAL, **{"output.responses": respond(**formats)})


def unpack(content):
    """The members of a tar by name."""
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar.getmembers()}


def read(content):
    """Pixels (band, y, x) of an image, read by rasterio."""
    with MemoryFile(content) as file, file.open() as dataset:
        return dataset.read()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_jpeg_shows_the_colours(client):
    """A JPEG holds the picture up to its compression."""
    answer = client.process(make_body(evalscript=PICTURE, **{"output.responses": respond(default="jpeg")}))
    assert answer.headers["content-type"] == "image/jpeg"
    colours = np.array([51, 102, 204])[:, None, None]
    np.testing.assert_allclose(read(answer.content).astype(int), np.broadcast_to(colours, (3, 10, 20)), atol=3)


def test_jpeg_quality_is_obeyed(client):
    """The same picture takes more bytes at a higher quality."""
    source = PICTURE.replace("[0.2, 0.4, 0.8]", "[(s.B02 * 9) % 1, (s.B02 * 99) % 1, (s.B02 * 999) % 1]")
    good, bad = (
        make_body(evalscript=source, **{"output.responses": [{"format": {"type": "image/jpeg", "quality": quality}}]})
        for quality in (95, 5)
    )
    assert len(client.process(good).content) > 1.5 * len(client.process(bad).content)


def test_tar_holds_every_response_under_its_name(client):
    """Members are at the root, named by identifier and format, in the order of the request."""
    answer = client.process(several(default="tiff", grey="png", userdata="json"), accept=TAR)
    assert answer.headers["content-type"] == TAR
    assert list(unpack(answer.content)) == ["default.tif", "grey.png", "userdata.json"]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_outputs_of_a_tar_are_those_had_alone(client):
    """An output does not depend on which others are asked for."""
    files = unpack(client.process(several(default="tiff", grey="png"), accept=TAR).content)
    assert files["default.tif"] == client.process(several(default="tiff")).content
    assert files["grey.png"] == client.process(several(grey="png")).content
    assert (read(files["grey.png"]) == (read(files["default.tif"]) + 101) % 256).all()


def test_documented_tar_type_is_accepted(client):
    """The documentation's application/tar is answered like application/x-tar."""
    body = several(default="tiff", userdata="json")
    assert client.process(body, accept="application/tar").content == client.process(body, accept=TAR).content


def test_metadata_alone_is_json(client):
    """Asked for alone, userdata is the JSON the script assigned; scenes are empty, and the factor of DN is 1."""
    answer = client.process(several(userdata="json"))
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"pixels": 200, "factor": 1, "scenes": {}}


def test_metadata_does_not_grow_from_request_to_request(client):
    """A script that counts its pixels starts from nothing every time."""
    body = several(default="tiff", userdata="json")
    counts = [json.loads(unpack(client.process(body, accept=TAR).content)["userdata.json"])["pixels"] for _ in range(3)]
    assert counts == [200, 200, 200]


def test_metadata_may_come_from_pixels(client):
    """evaluatePixel() may set the metadata, and return nothing where no image is asked for."""
    source = (
        "//VERSION=3\n"
        "function setup() { return {input: [{bands: ['B02'], units: 'REFLECTANCE'}], output: {bands: 1}}; }"
        "function evaluatePixel(s, scenes, meta, custom, out) { out.userData = [meta.normalizationFactor]; }"
    )
    body = make_body(evalscript=source, **{"output.responses": respond(userdata="json")})
    assert client.process(body).json() == [0.0001]


def test_accept_wins_for_a_single_response(client):
    """The Accept header turns a TIFF into a JPEG."""
    answer = client.process(make_body(evalscript=PICTURE), accept="image/jpeg")
    assert answer.content[:3] == b"\xff\xd8\xff"


@pytest.mark.parametrize(("choice", "kind"), [("tar", TAR), ("first", "image/tiff")])
def test_several_without_tar_follow_the_switch(launched, choice, kind):
    """What the documentation leaves open can be chosen."""
    client = launched(several_without_tar=choice)
    assert client.process(several(default="tiff", grey="png")).headers["content-type"] == kind


def test_twice_the_same_response_is_refused(client):
    """Identifiers of responses are unique."""
    body = make_body(**{"output.responses": [*respond(default="png"), *respond(default="tiff")]})
    assert client.process(body, accept=TAR).status_code == 400


def test_dearest_format_prices_the_tar(client):
    """One float TIFF among the responses doubles the price of the request."""
    source = SEVERAL.replace('bands: 1, sampleType: "UINT16"', 'bands: 1, sampleType: "FLOAT32"')
    sizes = {"output.width": 512, "output.height": 512}
    body = make_body(evalscript=source, **sizes, **{"output.responses": respond(default="tiff", grey="png")})
    assert float(client.process(body, accept=TAR).headers["x-processingunits-spent"]) == pytest.approx(4 / 3)


def test_multipart_holds_every_response(client):
    """A multipart/mixed has the responses as parts, by type and name."""
    answer = client.process(several(default="tiff", grey="png", userdata="json"), accept="multipart/mixed")
    message = email.message_from_bytes(
        f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode() + answer.content
    )
    parts = {part.get_filename(): part.get_payload(decode=True) for part in message.get_payload()}
    assert list(parts) == ["default.tif", "grey.png", "userdata.json"]
    assert parts["default.tif"] == client.process(several(default="tiff")).content
    assert [part.get_content_type() for part in message.get_payload()] == [
        "image/tiff",
        "image/png",
        "application/json",
    ]


@pytest.mark.parametrize("accept", ["application/octet-stream", "text/html", "image/jp2"])
def test_types_that_are_not_served_are_refused(client, accept):
    """A type that is documented without its layout, or not at all, is refused, never faked."""
    answer = client.process(make_body(), accept=accept)
    assert answer.json()["error"]["message"].startswith("This emulator does not serve the format")


def test_single_response_in_a_tar(client):
    """Whoever accepts a tar alone gets one, of one member."""
    assert list(unpack(client.process(several(default="tiff"), accept=TAR).content)) == ["default.tif"]

"""The answers that faults give, byte by byte."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from shdask.emulator.faults.answers import Answer, garble, make_answer, spoil_answer
from shdask.emulator.faults.rules import KINDS, Fault, Strike

TIFF = (b"content-type", b"image/tiff")
NOON = 1793448000.0  # 2026-10-31T12:00:00Z


def make_strike(kind: str, luck: int = 1, **parameters: Any) -> Strike:
    service = parameters.get("service", "process")
    return Strike(fault=Fault(kind=kind, **parameters), service=service, luck=luck)


def make_tiff(bands: int, dtype: str = "uint16") -> bytes:
    """4 rows and 5 columns of 10 m, counted up from 0."""
    pixels = np.arange(bands * 20).reshape(bands, 4, 5).astype(dtype)
    place = {"crs": "EPSG:32633", "transform": from_origin(500000, 5100000, 10, 10)}
    with MemoryFile() as file:
        with file.open(driver="GTiff", count=bands, height=4, width=5, dtype=dtype, **place) as image:
            image.write(pixels)
        return bytes(file.read())


def spoil_tiff(kind: str, bands: int, dtype: str = "uint16") -> tuple[Any, Any]:
    """Pixels and transform of what a fault leaves of a TIFF."""
    answer = Answer(status=200, headers=(TIFF,), body=make_tiff(bands, dtype))
    spoilt = spoil_answer(make_strike(kind), answer)
    with MemoryFile(spoilt.body) as file, file.open() as image:
        return image.read(), image.transform


@pytest.mark.parametrize("kind", ["400", "401", "403", "429", "500", "502", "503", "504"])
def test_a_status_comes_in_the_services_own_form(kind):
    """The wrapper names the status that the answer has."""
    answer = make_answer(make_strike(kind), NOON)
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["status"]) == (int(kind), int(kind))
    assert set(error) == {"status", "reason", "message", "code"}
    assert (b"content-type", b"application/json") in answer.headers


def test_a_refused_token_is_refused_by_keycloak():
    """The identity server has its own words for a 401."""
    answer = make_answer(make_strike("401", service="token"), NOON)
    assert json.loads(answer.body) == {
        "error": "invalid_client",
        "error_description": "Invalid client or Invalid client credentials",
    }


@pytest.mark.parametrize(("kind", "keys"), [("500", {"code", "description"}), ("429", {"error"}), ("401", {"error"})])
def test_the_catalog_has_a_form_of_its_own(kind, keys):
    """Its errors are code and description, but for what stands before it."""
    assert set(json.loads(make_answer(make_strike(kind, service="catalog"), NOON).body)) == keys


@pytest.mark.parametrize(("kind", "title"), [("502", b"502 Bad Gateway"), ("504", b"504 Gateway Timeout")])
def test_a_gateway_sends_a_page(kind, title):
    """By choice a 5xx is HTML that names it."""
    answer = make_answer(make_strike(kind, page="html"), NOON)
    assert answer.status == int(kind)
    assert b"<title>" + title + b"</title>" in answer.body
    assert answer.headers == ((b"content-type", b"text/html; charset=utf-8"),)


@pytest.mark.parametrize(
    ("form", "header"),
    [
        ("ms", b"1000"),
        ("s", b"1"),
        ("negative", b"-1"),
        ("huge", b"1000000000000"),
        ("word", b"soon"),
        ("date", b"Sat, 31 Oct 2026 12:00:01 GMT"),
        ("fraction", b"3.5"),
    ],
)
def test_a_429_advises_in_many_forms(form, header):
    """A second in milliseconds, in seconds, and what no client expects."""
    headers = dict(make_answer(make_strike("429", retry_after=form), NOON).headers)
    assert headers[b"retry-after"] == header


def test_a_429_may_advise_nothing():
    """Without the header clients have to choose by themselves."""
    assert b"retry-after" not in dict(make_answer(make_strike("429", retry_after="absent"), NOON).headers)


def test_absurd_advice_is_drawn_by_luck():
    """Each of the five absurd forms comes up."""
    answers = [make_answer(make_strike("429", luck, retry_after="absurd"), NOON) for luck in range(5)]
    assert len({dict(answer.headers)[b"retry-after"] for answer in answers}) == 5


def test_a_200_may_hold_a_page_or_an_error():
    """The status alone says nothing."""
    page, error = (make_answer(make_strike(kind), NOON) for kind in ("html", "json"))
    assert (page.status, page.body[:15], error.status) == (200, b"<!DOCTYPE html>", 200)
    assert json.loads(error.body)["error"]["status"] == 500


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.spoils])
def test_what_spoils_an_answer_makes_none(kind):
    """These kinds need the real answer."""
    assert make_answer(make_strike(kind), NOON) is None


@given(st.binary(min_size=1, max_size=1000), st.integers(0, 2**64))
def test_a_garbled_body_keeps_its_length_and_changes(body, seed):
    """One byte in 64 is another, at least one, and the same seed changes the same."""
    spoilt = garble(body, seed)
    changed = sum(a != b for a, b in zip(body, spoilt, strict=True))
    assert (len(spoilt), changed) == (len(body), -(-len(body) // 64))
    assert garble(body, seed) == spoilt


def test_an_empty_body_cannot_be_garbled():
    """Nothing has no bytes to change."""
    assert garble(b"", 1) == b""


def test_a_tiff_of_another_shape_keeps_its_place():
    """The last row and column are missing; the others hold their pixels."""
    pixels, transform = spoil_tiff("shape", 2)
    np.testing.assert_array_equal(pixels, np.arange(40).reshape(2, 4, 5)[:, :3, :4])
    assert transform == from_origin(500000, 5100000, 10, 10)


@pytest.mark.parametrize(("dtype", "wider"), [("uint8", "uint16"), ("uint16", "uint32"), ("float32", "float64")])
def test_a_tiff_of_another_type_keeps_its_values(dtype, wider):
    """A wider type holds the same numbers."""
    pixels, _ = spoil_tiff("dtype", 1, dtype)
    np.testing.assert_array_equal(pixels, np.arange(20).reshape(1, 4, 5))
    assert pixels.dtype == wider


@pytest.mark.parametrize(("bands", "left"), [(3, 2), (1, 2)])
def test_a_tiff_has_a_band_too_few_or_too_many(bands, left):
    """The last band is missing, or the only one comes twice."""
    assert spoil_tiff("bands", bands)[0].shape == (left, 4, 5)


def test_what_is_no_tiff_is_garbled_instead():
    """A fault for pictures is not lost on an answer that is none."""
    answer = Answer(status=200, headers=((b"content-type", b"application/x-tar"),), body=b"x" * 640)
    assert spoil_answer(make_strike("shape"), answer).body == garble(b"x" * 640, 1)


@pytest.mark.parametrize("kind", ["cut", "cut-chunked", "reset-body", "drip", "delay"])
def test_what_the_wire_spoils_is_left_whole(kind):
    """These kinds change how the answer is sent, and none of its bytes."""
    answer = Answer(status=200, headers=(TIFF,), body=b"II*\0")
    assert spoil_answer(make_strike(kind), answer) == answer


def test_a_garbled_tiff_cannot_be_read():
    """The emulator compresses its TIFFs: what a decoder says of this one is an error, not other pixels."""
    pixels = np.random.default_rng(1).integers(0, 9000, (1, 64, 64), np.uint16)
    with MemoryFile() as file:
        profile = {"count": 1, "height": 64, "width": 64, "dtype": "uint16", "compress": "deflate"}
        with file.open(driver="GTiff", transform=from_origin(0, 64, 10, 10), **profile) as image:
            image.write(pixels)
        spoilt = garble(bytes(file.read()), 5)
    with pytest.raises(rasterio.errors.RasterioError), MemoryFile(spoilt) as file, file.open() as image:
        image.read()

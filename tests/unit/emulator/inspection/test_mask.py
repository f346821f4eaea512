"""Secrets in what people may see."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.emulator.inspection.mask import mask_json, mask_text, read_masked

SECRET = "wJalrXUtnFEMI/K7MDENG"
NAMES = ["accessKey", "secretAccessKey", "credentials", "client_secret", "password", "SECRETACCESSKEY"]
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet="abc {}[],.\n"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet="abc"), inner),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_secret_is_known_by_its_name(name):
    """At any depth; the name and what stands beside it stay."""
    masked = mask_json({"output": [{"delivery": {name: SECRET, "region": "eu"}}]})
    assert masked == {"output": [{"delivery": {name: "***", "region": "eu"}}]}


@pytest.mark.parametrize(
    "text",
    [
        f'{{"secretAccessKey": "{SECRET}", "region": "eu"',
        f"{{'secretAccessKey': '{SECRET}'",
        f'{{"secretAccessKey":"{SECRET}',
        f"grant_type=client_credentials&client_secret={SECRET}&x=1",
        f"https://bucket.example/key?X-Amz-Signature={SECRET}&x=1",
        f"https://user:{SECRET}@bucket.example/key".replace("/K7", "K7"),
        f"Bearer {SECRET}",
    ],
)
def test_a_secret_in_a_broken_text_is_masked(text):
    """Where there is no JSON to read, its name or form tells it."""
    masked = mask_text(text)
    assert "MDENG" not in masked
    assert "***" in masked


def test_an_evalscript_stays_as_it_is():
    """Its words are no secrets."""
    script = "//VERSION=3\nlet password = 'x', sig=0.5, a = b ? c&sig2 : d; // see https://example.org/a@b"
    assert mask_json({"evalscript": script}) == {"evalscript": script}


def test_amazons_keys_are_known_by_their_form():
    """Wherever they stand."""
    assert mask_json(["key AKIAIOSFODNN7EXAMPLE."]) == ["key AKIA***."]


@given(PLAIN)
def test_what_holds_no_secret_is_unchanged(value):
    """Any JSON comes back equal."""
    assert mask_json(value) == value


@given(st.binary())
def test_any_bytes_can_be_shown(raw):
    """What is no JSON becomes a text that can be told as JSON."""
    assert json.dumps(read_masked(raw))

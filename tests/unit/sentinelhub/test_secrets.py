"""A secret in a delivery: sent as it is, and shown by nothing that shows the dictionary it is in."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import pprint
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from shdask.request.delivery import hide_secrets
from shdask.sentinelhub import CRS, AsyncProcessRequest, BBox, DataCollection, MimeType, SHConfig

SECRET = "a-very-secret-key"
KEYS = AsyncProcessRequest.s3_specification("s3://bucket/prefix", "AK", SECRET)


def job(delivery: Any = KEYS) -> AsyncProcessRequest:
    """A job that delivers with a pair of keys."""
    return AsyncProcessRequest(
        evalscript="//VERSION=3",
        input_data=[AsyncProcessRequest.input_data(DataCollection.SENTINEL2_L2A)],
        responses=[AsyncProcessRequest.output_response("default", MimeType.TIFF)],
        delivery=delivery,
        bbox=BBox((14, 45, 15, 46), CRS.WGS84),
        config=SHConfig(use_defaults=True),
    )


def in_a_traceback(payload: dict[str, Any]) -> str:
    """What is shown of an exception that was made with it."""
    return "".join(traceback.format_exception(KeyError(payload)))


@pytest.mark.parametrize(
    "show",
    [repr, str, ascii, pprint.pformat, lambda shown: pprint.pformat(shown, width=1), "{}".format, in_a_traceback],
    ids=["repr", "str", "ascii", "pprint", "narrow pprint", "format", "traceback"],
)
@pytest.mark.parametrize("shown", [KEYS, job().payload], ids=["specification", "payload"])
def test_nothing_that_shows_the_dictionary_shows_the_secret(show: Callable[[Any], str], shown: dict[str, Any]) -> None:
    """The key's place is shown, and three stars in it."""
    told = show(shown)
    assert "'secretAccessKey': '***'" in told.replace("\n", "").replace(":    ", ": ")
    assert SECRET not in told


def test_a_log_of_the_payload_has_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """As argument of a message, as the message itself, and as an exception."""
    payload = job().payload
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("user").info("sending %s", payload)
        logging.getLogger("user").info(payload)
        logging.getLogger("user").error("no %r", payload, exc_info=ValueError(payload))
    assert caplog.text.count("'secretAccessKey': '***'") == 4
    assert SECRET not in caplog.text


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_keep_the_secret_and_hide_it(protocol: int) -> None:
    """Of every protocol: whoever gets the pickle can send the request, and does not show the key either."""
    payload = job().payload
    found = pickle.loads(pickle.dumps(payload, protocol))  # noqa: S301  # our own bytes
    assert found == payload
    assert json.dumps(found) == json.dumps(payload)
    assert SECRET in json.dumps(found)
    assert SECRET not in repr(found)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, dict, lambda it: it | {}, lambda it: {**it}])
def test_copies_hide_it(copied: Callable[[Any], dict[str, Any]]) -> None:
    """However the dictionary is copied."""
    assert copied(KEYS) == KEYS
    assert SECRET not in repr(copied(KEYS))


def test_it_is_sentinelhub_pys_dictionary(theirs: ModuleType) -> None:
    """A plain dict, equal to theirs, whose JSON is theirs to the byte."""
    other = theirs.AsyncProcessRequest.s3_specification("s3://bucket/prefix", "AK", SECRET)
    assert type(KEYS) is type(KEYS["s3"]) is dict
    assert other == KEYS
    assert json.dumps(KEYS) == json.dumps(other)
    assert json.dumps(KEYS, indent=1, sort_keys=True) == json.dumps(other, indent=1, sort_keys=True)
    assert KEYS["s3"]["secretAccessKey"].encode() == SECRET.encode()


@pytest.mark.parametrize(
    "own",
    [
        {"s3": {"url": "s3://b", "accessKey": "AK", "secretAccessKey": SECRET}},
        {"gs": {"url": "gs://b", "credentials": SECRET}},
        {"s3": [{"secret_access_key": SECRET}]},
    ],
)
def test_handwritten_deliveries_are_hidden(own: dict[str, Any]) -> None:
    """Keys of S3 and of Google's storage, in objects and lists; what the user wrote stays as it is."""
    payload = job(own).payload
    assert SECRET not in repr(payload)
    assert payload["output"]["delivery"] == own
    assert SECRET in repr(own)


def test_what_has_no_secret_is_not_copied() -> None:
    """The same object comes back."""
    payload = {"input": {"data": [{"type": "x"}], "numbers": (1, 2)}, "secretAccessKey": None}
    assert hide_secrets(payload) is payload

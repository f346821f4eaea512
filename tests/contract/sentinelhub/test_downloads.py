"""Downloads against a scripted server: what is sent, what fails and how, what is kept and used again."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from shdask.sentinelhub.constants import MimeType
from shdask.sentinelhub.exceptions import (
    DownloadFailedException,
    ImageDecodingError,
    OutOfRequestsException,
    SHRateLimitWarning,
    SHRuntimeWarning,
)
from shdask.sentinelhub.models import DownloadResponse

from .conftest import Asking

SECRET = "a-very-secret-key"
REFUSAL = {"error": {"status": 400, "reason": "Bad Request", "message": "Invalid bbox", "code": "COMMON_BAD_PAYLOAD"}}


def test_a_request_is_sent_with_its_headers_and_the_token(script: Any, reply: Any):
    """POST, JSON, the accepted type, one bearer token."""
    server = script(reply(body=b'{"a": 1}'))
    assert Asking(server, {"b": 1, "a": [1.5]}).get_data() == [{"a": 1}]
    seen = server.seen[1]
    assert (seen.method, seen.path, json.loads(seen.body)) == ("POST", "/api/v1/process", {"b": 1, "a": [1.5]})
    assert seen.headers["authorization"] == "Bearer token-1"
    assert (seen.headers["content-type"], seen.headers["accept"]) == ("application/json", "application/json")


def test_many_requests_share_connection_and_token(script: Any, reply: Any):
    """One token for all, and no more connections than threads."""
    server = script(reply(body=b"1"))
    assert Asking(server, *({"n": n} for n in range(40))).get_data(max_threads=4) == [1] * 40
    assert len(server.seen) == 41
    assert server.connections <= 4


def test_a_second_request_object_logs_in_no_more(script: Any, reply: Any):
    """Connections and token outlive the object that made them."""
    server = script(reply(body=b"1"))
    Asking(server).get_data()
    Asking(server).get_data()
    assert [seen.path for seen in server.seen] == ["/token", "/api/v1/process", "/api/v1/process"]
    assert server.connections == 1


def test_results_keep_the_order_of_the_requests(script: Any, reply: Any):
    """Whichever ends first."""
    server = script(*(reply(body=b"%d" % n, delay_s=0.05 * (n == 0)) for n in range(6)))
    asked = Asking(server, *({"n": n} for n in range(6)))
    found = asked.get_data(max_threads=1)
    assert found == [0, 1, 2, 3, 4, 5]


def test_an_answer_is_whole_with_its_metadata_where_decoding_is_not_wanted(script: Any, reply: Any):
    """Bytes, headers, status and seconds."""
    server = script(reply(body=b"{}", headers={"X-ProcessingUnits-Spent": "1.5"}))
    asked = Asking(server)
    (found,) = asked.get_data(decode_data=False)
    assert isinstance(found, DownloadResponse)
    assert (found.request, found.content, found.status_code) == (asked.download_list[0], b"{}", 200)
    assert found.headers["x-processingunits-spent"] == "1.5"
    assert 0 < found.elapsed < 5


@pytest.mark.parametrize(("chosen", "expected"), [([2, 0], [2, 0]), ((-1,), [2]), ([1, 1, 0], [1, 1, 0]), ([], [])])
def test_a_filter_picks_and_orders(script: Any, reply: Any, chosen: Any, expected: list[int]):
    """Negative indices count from the end; what is named twice is asked for once."""
    server = script(reply(body=b"0"))
    asked = Asking(server, *({"n": n} for n in range(3)))
    assert asked.get_data(data_filter=chosen, max_threads=1) == [0] * len(expected)
    sent = [json.loads(seen.body)["n"] for seen in server.seen[1:]]
    assert sent == list(dict.fromkeys(expected))


def test_what_a_filter_names_twice_is_two_objects(script: Any, reply: Any):
    """Changing one result leaves the other alone."""
    one, two = Asking(script(reply(body=b"[]"))).get_data(data_filter=[0, 0])
    one.append(1)
    assert two == []


@pytest.mark.parametrize(("chosen", "error"), [([3], IndexError), (1, ValueError), ("0", ValueError)])
def test_a_filter_that_picks_nothing_is_refused(script: Any, reply: Any, chosen: Any, error: type[Exception]):
    """As in sentinelhub-py, before anything is sent."""
    server = script(reply())
    with pytest.raises(error, match="data_filter"):
        Asking(server).get_data(data_filter=chosen)
    assert server.seen == []


@pytest.mark.parametrize("status", [400, 403, 404, 413])
def test_a_refusal_is_final_and_carries_the_services_words(script: Any, reply: Any, status: int):
    """Sent once; message and answer are told."""
    server = script(reply(status=status, body=json.dumps(REFUSAL).encode(), headers={"X-Told": "yes"}))
    with pytest.raises(DownloadFailedException, match="Invalid bbox") as caught:
        Asking(server).get_data()
    told = caught.value.request_exception
    assert isinstance(told, requests.HTTPError)
    assert (told.response.status_code, told.response.json()) == (status, REFUSAL)
    assert told.response.headers["x-told"] == "yes"
    assert len(server.seen) == 2


def test_used_up_units_are_out_of_requests(script: Any, reply: Any):
    """By sentinelhub-py's name for it, at once."""
    body = b'{"error": {"status": 403, "code": "ACCESS_INSUFFICIENT_PROCESSING_UNITS", "message": "no units"}}'
    server = script(reply(status=403, body=body))
    with pytest.raises(OutOfRequestsException, match="no units"):
        Asking(server).get_data()
    assert len(server.seen) == 2


def test_the_services_own_trouble_is_tried_as_often_as_the_config_says(script: Any, reply: Any):
    """``max_download_attempts`` sends in all."""
    server = script(reply(status=503, body=b"busy"))
    with pytest.raises(DownloadFailedException, match="busy") as caught:
        Asking(server, max_download_attempts=3).get_data()
    assert caught.value.request_exception.response.status_code == 503
    assert len(server.seen) == 1 + 3


def test_trouble_that_passes_is_not_seen(script: Any, reply: Any):
    """A 500, a broken connection and a cut body are all sent again."""
    server = script(
        reply(status=500), reply(reset=True), reply(body=b'{"a": 1}', sent_nbytes=4), reply(body=b'{"a": 1}')
    )
    assert Asking(server).get_data() == [{"a": 1}]
    assert len(server.seen) == 1 + 4


def test_no_answer_is_a_connection_error(script: Any, reply: Any):
    """With nothing of the request in it."""
    server = script(reply(reset=True))
    with pytest.raises(DownloadFailedException) as caught:
        Asking(server, max_download_attempts=2).get_data()
    assert isinstance(caught.value.request_exception, requests.ConnectionError)
    assert caught.value.request_exception.response is None


def test_no_attempts_means_nothing_is_sent(script: Any, reply: Any):
    """A config of 0 attempts is told."""
    server = script(reply())
    with pytest.raises(DownloadFailedException, match="max_download_attempts"):
        Asking(server, max_download_attempts=0).get_data()
    assert server.seen == []


@pytest.mark.parametrize("headers", [{"Retry-After": "20"}, {}, {"Retry-After": "soon"}])
def test_a_429_is_warned_of_and_waited_out(script: Any, reply: Any, headers: dict[str, str]):
    """With advice or without, and without counting as an attempt."""
    server = script(reply(status=429, headers=headers), reply(body=b"7"))
    with pytest.warns(SHRateLimitWarning):
        assert Asking(server, max_download_attempts=1).get_data() == [7]


@pytest.mark.filterwarnings("ignore::shdask.sentinelhub.exceptions.SHRateLimitWarning")
def test_as_many_429s_are_borne_as_the_config_says(script: Any, reply: Any):
    """``max_retries`` of them, and then by sentinelhub-py's name."""
    server = script(reply(status=429, headers={"Retry-After": "1"}, body=b"slow down"))
    with pytest.raises(OutOfRequestsException, match="slow down") as caught:
        Asking(server, max_retries=2).get_data()
    assert caught.value.request_exception.response.status_code == 429
    assert len(server.seen) == 1 + 2


def test_a_faded_token_is_renewed_once(serve: Any, reply: Any):
    """401 is no failure while another token can be had."""
    token = [reply(body=json.dumps({"access_token": f"token-{n}", "expires_in": 3600}).encode()) for n in (1, 2)]
    server = serve(token[0], reply(status=401), token[1], reply(body=b"7"))
    assert Asking(server).get_data() == [7]
    assert server.seen[3].headers["authorization"] == "Bearer token-2"


def test_wrong_credentials_are_told_with_the_cure(serve: Any, reply: Any):
    """And the secret is in no message."""
    server = serve(reply(status=401, body=b'{"error": "invalid_client", "error_description": "no such csec"}'))
    with pytest.raises(DownloadFailedException, match="SH_CLIENT_SECRET") as caught:
        Asking(server).get_data()
    assert caught.value.request_exception.response.status_code == 401
    assert "csec" not in str(caught.value)


def test_missing_credentials_are_a_value_error(script: Any, reply: Any):
    """Before anything is sent."""
    server = script(reply())
    with pytest.raises(ValueError, match="no credentials"):
        Asking(server, sh_client_id="").get_data()
    assert server.seen == []


def test_errors_that_are_not_raised_are_warned_of(script: Any, reply: Any):
    """None stands in the failed request's place."""
    server = script(reply(body=b"1"), reply(status=400, body=b"bad"), reply(body=b"3"))
    with pytest.warns(SHRuntimeWarning, match="bad"):
        found = Asking(server, {"n": 1}, {"n": 2}, {"n": 3}).get_data(raise_download_errors=False, max_threads=1)
    assert found == [1, None, 3]


def test_after_a_failure_nothing_more_is_begun(script: Any, reply: Any):
    """What would be thrown away is not bought."""
    server = script(reply(status=400, delay_s=0.2))
    with pytest.raises(DownloadFailedException):
        Asking(server, *({"n": n} for n in range(50))).get_data(max_threads=1)
    assert len(server.seen) < 10


def test_a_failure_survives_pickling(script: Any, reply: Any):
    """With message and answer, as processes send it."""
    with pytest.raises(DownloadFailedException) as caught:
        Asking(script(reply(status=400, body=b"bad"))).get_data()
    copied = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  # our own bytes
    assert str(copied) == str(caught.value)
    assert copied.request_exception.response.content == b"bad"


def test_an_echoed_secret_is_told_to_nobody(script: Any, reply: Any):
    """Neither by the message nor by the answer."""
    server = script(reply(status=400, body=f"cannot write with {SECRET}".encode()))
    with pytest.raises(DownloadFailedException, match=r"with \*\*\*") as caught:
        Asking(server, {"output": {"s3": {"secretAccessKey": SECRET}}}).get_data()
    assert SECRET not in str(caught.value) + caught.value.request_exception.response.text


def test_kept_data_is_not_asked_for_again(script: Any, reply: Any, tmp_path: Path):
    """One purchase serves every later call, of other objects too."""
    server = script(reply(body=b"7"))
    assert Asking(server, data_folder=tmp_path).get_data(save_data=True) == [7]
    assert Asking(server, data_folder=tmp_path).get_data() == [7]
    assert len(server.seen) == 2


def test_nothing_is_kept_unasked(script: Any, reply: Any, tmp_path: Path):
    """A folder alone writes nothing."""
    Asking(script(reply(body=b"7")), data_folder=tmp_path).get_data()
    assert list(tmp_path.iterdir()) == []


def test_kept_data_is_asked_for_again_on_request(script: Any, reply: Any, tmp_path: Path):
    """``redownload`` replaces what is kept."""
    server = script(reply(body=b"7"), reply(body=b"8"))
    asked = Asking(server, data_folder=tmp_path)
    asked.get_data(save_data=True)
    assert asked.get_data(save_data=True, redownload=True) == [8]
    assert asked.get_data() == [8]


def test_saving_writes_where_the_file_list_says(script: Any, reply: Any, tmp_path: Path):
    """And returns nothing; a second call asks for nothing."""
    server = script(reply(body=b"7"))
    asked = Asking(server, data_folder=tmp_path)
    assert asked.save_data() is None  # type: ignore[func-returns-value]  # the test's point
    asked.save_data()
    assert (tmp_path / asked.get_filename_list()[0]).read_bytes() == b"7"
    assert len(server.seen) == 2


def test_saving_without_a_folder_is_refused(script: Any, reply: Any):
    """Before anything is sent."""
    server = script(reply())
    with pytest.raises(ValueError, match="data_folder"):
        Asking(server).save_data()
    assert server.seen == []


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b'{"a"'), lambda path: path.write_bytes(b'{"a" 1}')])
def test_a_spoilt_file_is_fetched_again(
    script: Any, reply: Any, tmp_path: Path, spoil: Callable[[Path], object], decode: bool
):
    """Cut, or of the right length and wrong inside: it is bought again and mended."""
    server = script(reply(body=b'{"a":1}'))
    asked = Asking(server, data_folder=tmp_path)
    asked.get_data(save_data=True)
    path = tmp_path / asked.get_filename_list()[0]
    spoil(path)
    asked.get_data(save_data=True, decode_data=decode)
    assert len(server.seen) == 3
    assert path.read_bytes() == b'{"a":1}'


def test_a_file_of_the_users_own_name_is_used_again(script: Any, reply: Any, tmp_path: Path):
    """Without a record beside it."""
    server = script(reply(body=b"7"))
    asked = Asking(server, data_folder=tmp_path)
    asked.download_list[0].filename = "mine.json"
    assert asked.get_data(save_data=True) == asked.get_data() == [7]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"]
    assert len(server.seen) == 2


def test_threads_that_keep_one_answer_keep_it_whole(script: Any, reply: Any, tmp_path: Path):
    """The same request sixteen times at once."""
    server = script(reply(body=json.dumps(list(range(20000))).encode()))
    asked = Asking(server, *({"n": 1} for _ in range(16)), data_folder=tmp_path)
    assert asked.get_data(save_data=True, max_threads=16) == [list(range(20000))] * 16
    assert len(list(tmp_path.rglob("*.*"))) == 2


def test_an_answer_that_is_no_picture_is_told(script: Any, reply: Any):
    """By sentinelhub-py's name for it."""
    with pytest.raises(ImageDecodingError, match="TIFF"):
        Asking(script(reply(body=b"<html>")), mime_type=MimeType.TIFF).get_data()


def test_progress_is_shown_where_it_is_wanted(script: Any, reply: Any, capsys: pytest.CaptureFixture[str]):
    """A count of what is done."""
    Asking(script(reply(body=b"7")), {"n": 1}, {"n": 2}).get_data(show_progress=True)
    assert "2/2" in capsys.readouterr().out


def test_sentinelhub_pys_config_is_taken(script: Any, reply: Any, theirs: Any):
    """Its attributes are all that is needed."""
    asked = Asking(script(reply(body=b"7")))
    asked.config = theirs.SHConfig(use_defaults=True, **asked.config.to_dict(mask_credentials=False))
    assert asked.get_data() == [7]


def test_results_are_the_servers_bytes(script: Any, reply: Any):
    """A picture arrives as an array."""
    from tests.unit.sentinelhub.test_decoding import tiff

    values = np.arange(60, dtype="uint16").reshape(4, 5, 3)
    (found,) = Asking(script(reply(body=tiff(values))), mime_type=MimeType.TIFF).get_data()
    np.testing.assert_array_equal(found, values)

"""What an Accept header makes of the responses of a request."""

from __future__ import annotations

import pytest

from shdask.emulator.process.body import Format, Response
from shdask.emulator.process.reply import choose_reply, read_accept
from shdask.emulator.refusal import Refusal


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", ("*/*",)),
        ("image/png", ("image/png",)),
        ("Image/PNG; charset=x", ("image/png",)),
        ("image/png;q=0.5, image/tiff", ("image/tiff", "image/png")),
        ("image/png;q=0, */*;q=0.1", ("*/*",)),
        ("image/png;q=0", ("*/*",)),
        ("a/b;q=x,c/d;q=0.2,e/f", ("a/b", "e/f", "c/d")),
        (",,;q=1,", ("*/*",)),
    ],
)
def test_types_are_ordered_by_their_weight(header, expected):
    """The most wanted type is first, equal ones as written, and q=0 is not wanted at all."""
    assert read_accept(header) == expected


def respond(**formats):
    """Responses by identifier and media type."""
    return [Response(identifier=name, format=Format(type=kind)) for name, kind in formats.items()]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", "image/tiff"),
        ("image/*", "image/tiff"),
        ("image/png", "image/png"),
        ("text/html, application/xml;q=0.9, */*;q=0.8", "image/tiff"),
        ("application/json, image/jpeg", "image/jpeg"),
        ("image/png;q=0.3, image/jpeg;q=0.4", "image/jpeg"),
        ("image/tiff, application/x-tar", "image/tiff"),
        ("application/x-tar, image/tiff", "application/x-tar"),
        ("application/tar", "application/x-tar"),
    ],
)
def test_accept_chooses_the_format_of_one_response(accept, expected):
    """Accept goes before the request's own format, which answers wherever a pattern allows it."""
    assert choose_reply(respond(default="image/tiff"), accept, "refuse").media_type == expected


@pytest.mark.parametrize("accept", ["image/png, application/x-tar;q=0.1", "application/tar"])
def test_several_responses_take_any_package_that_is_accepted(accept):
    """A tar that is accepted at all holds several responses."""
    assert choose_reply(respond(default="image/tiff", other="image/png"), accept, "refuse").tar


def test_metadata_is_no_picture():
    """The metadata cannot be had as an image."""
    with pytest.raises(Refusal) as refusal:
        choose_reply(respond(userdata="application/json"), "image/png", "refuse")
    assert refusal.value.code == "COMMON_BAD_PAYLOAD"

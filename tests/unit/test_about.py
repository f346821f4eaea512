"""Lines of the log: each says first which build, tile and request it is about."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from shdask.about import get_logger, log_about

LOGGER = get_logger("shdask.tests")


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "shdask.tests")
    return caplog


def test_a_line_says_what_it_is_about(log: pytest.LogCaptureFixture) -> None:
    """Build, tile and the first digits of the request stand before the words."""
    with log_about(build="ab12", tiles=[7], request="0123456789abcdef"):
        LOGGER.warning("failed: %s", "100 % of it")
    assert log.messages == ["build ab12, tile 7, request 0123456789ab: failed: 100 % of it"]


def test_what_is_nested_is_added(log: pytest.LogCaptureFixture) -> None:
    """An inner block keeps what the outer one has said, and ends with it."""
    with log_about(build="ab12"):
        with log_about(tiles=[3, 4, 5]):
            LOGGER.info("inner")
        LOGGER.info("outer")
    assert log.messages == ["build ab12, tile 3+2: inner", "build ab12: outer"]


def test_a_line_about_nothing_is_as_it_was_said(log: pytest.LogCaptureFixture) -> None:
    """Outside of all blocks nothing is put before a line."""
    LOGGER.info("a word")
    assert log.messages == ["a word"]


def test_formatters_find_the_parts(log: pytest.LogCaptureFixture) -> None:
    """A formatter for machines finds build, tiles and the whole request as values of their own."""
    with log_about(build="ab12", tiles=[7], request="0123456789abcdef"):
        LOGGER.info("a word")
    record = log.records[0]
    assert (record.build, record.tiles, record.request) == ("ab12", (7,), "0123456789abcdef")  # type: ignore[attr-defined]  # extra


def test_another_thread_is_about_something_else(log: pytest.LogCaptureFixture) -> None:
    """Threads that work on several tiles at once do not mix their lines."""
    with log_about(tiles=[7]), ThreadPoolExecutor(1) as pool:
        pool.submit(LOGGER.info, "elsewhere").result()
    assert log.messages == ["elsewhere"]


def test_a_block_that_fails_ends_all_the_same(log: pytest.LogCaptureFixture) -> None:
    """What raises leaves nothing behind."""
    with pytest.raises(RuntimeError, match="out"), log_about(tiles=[7]):
        raise RuntimeError("out")
    LOGGER.info("after")
    assert log.messages == ["after"]

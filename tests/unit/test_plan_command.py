"""`shdask plan`, its table, its JSON, and its word for one tile."""

from __future__ import annotations

import json

import pytest

TILES = "\n[store]\nchunk_px = 64\ntile_px = 128\n"
TWO = '\n[layers.dem]\ncollection = "dem"\nbands = ["DEM"]\n'


def test_the_table_tells_both_limits_the_quota_and_whole_boxes(run, write_job) -> None:
    """In words, for people."""
    code, out, _ = run("plan", write_job(extra=TILES))
    words = " ".join(out.split())
    assert code == 0
    assert "at the account's rates (requests " in words
    assert "of a month's requests, " in words
    assert "stored before compression" in words
    assert "in boxes of 2500 px; " in words


def test_the_json_has_the_promised_names_and_more(run, write_job) -> None:
    """One object, with the limit that binds and the price of whole boxes."""
    code, out, _ = run("plan", write_job(extra=TILES), "--json")
    told = json.loads(out)
    assert (code, set(told) >= {"requests", "pu", "minutes", "nbytes", "tiles"}) == (0, True)
    assert told["limit"] == "requests_per_minute"
    assert told["whole_boxes"]["requests"] == 1
    assert told["quota_months"][0]["requests"] == told["requests"]


def test_a_tile_is_explained(run, write_job) -> None:
    """Where it is, and what was weighed."""
    code, out, _ = run("plan", write_job(extra=TILES), "--explain", "3")
    assert code == 0
    assert out.startswith("tile 3: row 0, column 3\n")
    assert "a request was taken to be worth" in out


def test_a_tile_of_one_of_several_groups_is_explained_as_json(run, write_job) -> None:
    """By the group's path and the number."""
    code, out, _ = run("plan", write_job(extra=TWO + TILES), "--explain", "dem/3", "--json")
    told = json.loads(out)
    assert (code, told["group"], told["tile"]) == (0, "dem", 3)
    assert told["parts"][0]["bands"] == ["DEM"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("three", "--explain 'three': give a tile's number, or its group's path and the number: s2/12"),
        ("-1", "--explain '-1': give a tile's number"),
        ("s2/99999", "--explain s2/99999: there is no tile 99999 of a cube with "),
        ("s1/3", "the plan has no group 's1'; it has s2, dem"),
        ("3", "tile 3 is in each of the groups s2, dem; name one of them"),
    ],
)
def test_a_tile_that_is_none_is_refused(run, write_job, words: str, message: str) -> None:
    """With exit code 2, and how it is said."""
    code, out, err = run("plan", write_job(extra=TWO + TILES), f"--explain={words}")
    assert (code, out) == (2, "")
    assert message in err

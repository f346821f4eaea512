"""`shdask patches` on a job: what it prints and writes."""

from __future__ import annotations

import json

from shdask.patches.parquet import read_patches
from shdask.patches.table import SPLITS

AREA = '{"type": "Polygon", "coordinates": [[[14, 46], [14.1, 46], [14.1, 46.1], [14, 46.1], [14, 46]]]}'


def test_the_table_is_written_and_told(run, write_job) -> None:
    """The answer on stdout, where it went on stderr."""
    code, out, err = run("patches", write_job(), "out.parquet", "--size", 64, "--block", 2000, "--guard", 100)
    table = read_patches("out.parquet")
    assert code == 0, err
    assert out.startswith(f"{len(table)} Patches\n")
    assert "written to out.parquet" in err
    assert table.size_px == 64


def test_json_is_one_object(run, write_job) -> None:
    """With counts."""
    words = ("--scheme", "random", "--count", 40, "--seed", 3, "--json")
    code, out, err = run("patches", write_job(), "out.parquet", "--size", 32, *words)
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert (told["patches"], told["seed"], told["leaking_pairs"], told["path"]) == (40, 3, 0, "out.parquet")
    assert sum(told["splits"].values()) == 40


def test_pairs_that_leak_are_told(run, write_job, monkeypatch) -> None:
    """Were nothing left out, there would be some."""
    words = ("--size", 32, "--stride", 16, "--block", 2000, "--guard", 500, "--json")
    kept_apart = json.loads(run("patches", write_job(), "out.parquet", *words)[1])
    monkeypatch.setattr(
        "shdask.patches.choosing.assigning.leave_out", lambda _squares, sets, _guard_m: sets > len(SPLITS)
    )
    broken = json.loads(run("patches", write_job(), "out.parquet", *words)[1])
    assert kept_apart["leaking_pairs"] == broken["splits"]["left out"] == 0
    assert min(kept_apart["splits"]["left out"], broken["leaking_pairs"]) > 0


def test_a_share_that_is_not_known_is_refused(run, write_job) -> None:
    """With exit code 2, and nothing written."""
    code, out, err = run("patches", write_job(), "out.parquet", "--size", 64, "--min-valid", 0.5)
    assert (code, out) == (2, "")
    assert "build it and give its store" in err


def test_a_size_is_needed(run, write_job) -> None:
    """The option is named."""
    code, _, err = run("patches", write_job(), "out.parquet")
    assert code == 2
    assert "--size" in err

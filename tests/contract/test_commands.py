"""Building, looking, verifying and repairing from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import shdask
from shdask.assemble.status import read_status
from shdask.emulator.launch import EmulatorProcess

TILES = "[store]\nchunk_px = 256\ntile_px = 256\n"


@pytest.fixture
def cube(run, write_job, service: EmulatorProcess, work: Path) -> Path:
    """A cube of six tiles, whole."""
    code, _, err = run("build", write_job(extra=TILES), "cube")
    assert code == 0, err
    service.reset()
    return work / "cube"


def spoil(shard: Path) -> None:
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0xFF
    shard.write_bytes(content)


def test_a_whole_cube_is_verified(run, cube: Path) -> None:
    """Exit code 0, and every tile is sound."""
    code, out, _ = run("verify", cube)
    assert code == 0
    assert "6 of 6 tiles read back as they were stored" in out


def test_a_repair_buys_what_is_broken_and_nothing_else(run, cube: Path, service: EmulatorProcess) -> None:
    """One tile with other pixels and one that is lost: two requests, and the pixels of before."""
    before = shdask.open_cube(cube).load()
    spoil(cube / "B02/c/0/1")
    (cube / "data_mask/c/2/0").unlink()
    code, out, err = run("verify", cube, "--repair", "--json")
    found = json.loads(out)
    assert code == 0, err
    assert (list(found["broken"]), found["missing"]) == (["1"], [4])
    assert (found["repaired"]["written"], service.stats()["calls"]["POST /api/v1/process 200"]) == (2, 2)
    assert np.array_equal(shdask.open_cube(cube).load().B02, before.B02)
    assert run("verify", cube)[0] == 0


def test_a_repair_of_a_cube_that_is_not_complete_leaves_the_rest(run, write_job, service, work: Path) -> None:
    """Tiles that were never bought are a build's work."""
    service.set_faults("403@3")
    assert run("build", write_job(extra=TILES), "cube")[0] == 4
    service.clear_faults()
    spoil(work / "cube/B02/c/0/0")
    code, _, err = run("verify", "cube", "--repair")
    assert code == 0, err
    found = read_status(work / "cube")
    assert (found.written, found.complete) == (2, False)


def test_a_repair_with_the_job_of_another_cube_touches_nothing(run, write_job, cube: Path) -> None:
    """The broken tile keeps its mark: what stands there is all that there is."""
    spoil(cube / "B02/c/0/1")
    code, _, err = run(
        "verify", cube, "--repair", "--job", write_job("resolution = 20", "resolution = 30", extra=TILES)
    )
    assert code == 2
    assert "holds another cube" in err
    assert (cube / "data_mask/c/0/1").exists()


def test_events_tell_a_whole_build(run, write_job, service) -> None:
    """From its start over each tile to its end, in a file, while stdout has one object."""
    code, out, _ = run("build", write_job(extra=TILES), "cube", "--events", "events.jsonl", "--json")
    lines = [json.loads(line) for line in Path("events.jsonl").read_text().splitlines()]
    names = [line["event"] for line in lines]
    assert (code, json.loads(out)["written"]) == (0, 6)
    assert (names[0], names[-1], names.count("tile")) == ("started", "finished", 6)
    assert "emulator" not in Path("events.jsonl").read_text()

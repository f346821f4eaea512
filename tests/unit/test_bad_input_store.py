"""What is wrong with the place of a cube: one clear error with the path and the cure, and the promised exit code."""

from __future__ import annotations

from pathlib import Path

import pytest
import zarr

from shdask.assemble.ledger import Ledger
from shdask.assemble.store import create_or_open
from shdask.plan.group import GroupPlan
from tests.unit.assemble.conftest import small_plan

HINT = "give the folder or bucket that `shdask build JOB STORE` wrote"


@pytest.fixture
def plan() -> GroupPlan:
    return small_plan()


@pytest.fixture
def account(work: Path, monkeypatch) -> None:
    """Credentials, and a service where nobody listens: nothing may be sent."""
    for name, value in {
        "SH_CLIENT_ID": "id",
        "SH_CLIENT_SECRET": "secret",
        "SH_BASE_URL": "http://127.0.0.1:9",
        "SH_TOKEN_URL": "http://127.0.0.1:9/token",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def places(work: Path, plan: GroupPlan) -> None:
    """A file, a folder with other things, stores of others, a half-made cube and another cube, each by its name."""
    (work / "file").write_text("")
    (work / "full").mkdir()
    (work / "full" / "thesis.txt").write_text("")
    zarr.open_group(work / "foreign", mode="w", zarr_format=3)
    zarr.open_group(work / "old", mode="w", zarr_format=2)
    zarr.create_array(work / "array", shape=(3,), dtype="i4")
    zarr.open_group(work / "torn", mode="w").update_attributes({"shdask_version": "0"})
    (work / "garbled").mkdir()
    (work / "garbled" / "zarr.json").write_text("{")
    create_or_open(plan, work / "other")


@pytest.mark.parametrize(
    ("store", "message"),
    [
        ("file", "/file/zarr.json: Not a directory: part of that path is a file; choose another folder"),
        ("file/cube", "Not a directory: part of that path is a file; choose another folder"),
        ("full", "/full is a folder with other things in it (thesis.txt, ...); choose a new path for the cube"),
        ("foreign", "/foreign is a Zarr store that shdask did not make; choose a new path for the cube"),
        ("old", "/old is a folder with other things in it"),
        ("array", "/array is a single Zarr array, not a cube; give the folder of a cube, or a new path"),
        ("garbled", "/garbled/zarr.json is not the metadata of a Zarr v3 group"),
        ("other", "/other holds another cube: "),
        ("/proc/cube", "/proc/cube: No such file or directory: choose another folder"),
        ("/sys/cube", "/sys/cube: Operation not permitted: this user may not write there; change the permissions"),
        ("a" * 300, "File name too long: the path is too long; choose another folder"),
        ("https://example.com/cube", "a cube lives in a folder on disk or under s3://bucket/prefix; give one of these"),
        ("gs://bucket/cube", "a cube lives in a folder on disk or under s3://bucket/prefix; give one of these"),
        ("s3://", "s3://: a cube in a bucket is given as s3://bucket/prefix"),
    ],
)
@pytest.mark.usefixtures("places", "account")
def test_a_place_where_no_cube_can_be_built_is_refused(run, write_job, store: str, message: str) -> None:
    """Before anything is sent, with exit code 2."""
    code, out, err = run("build", write_job(), store)
    assert (code, out) == (2, ""), err
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", ["status", "verify"])
@pytest.mark.parametrize(
    ("store", "message"),
    [
        ("nothing", f"/nothing does not exist; {HINT}"),
        ("full", f"/full is not a cube; {HINT}"),
        ("file", "/file/zarr.json: Not a directory"),
        ("foreign", "/foreign is a Zarr store that shdask did not make; open it with xarray.open_zarr"),
        ("array", "/array is a single Zarr array, not a cube"),
        ("torn", "/torn was cut short while it was created; run its build again"),
        ("garbled", "/garbled/zarr.json is not the metadata of a Zarr v3 group"),
        ("gs://bucket/cube", "give one of these"),
    ],
)
@pytest.mark.usefixtures("places")
def test_a_place_that_holds_no_cube_is_refused(run, command: str, store: str, message: str) -> None:
    """With exit code 2, whatever is asked of it."""
    code, out, err = run(command, store)
    assert (code, out) == (2, ""), err
    assert message in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("account")
def test_a_store_that_somebody_builds_is_refused(run, write_job, work: Path) -> None:
    """With host, process and age of the owner."""
    job = write_job()
    assert run("build", job, "cube", "--max-pu", 0)[0] == 4  # makes the cube and sends nothing
    with Ledger.open(work / "cube"):
        code, _, err = run("build", job, "cube")
    assert code == 2
    assert "/cube is being built by process" in err
    assert "heard of 0 s ago; wait for it, or stop it (what it has written is kept), then build again" in err


@pytest.mark.usefixtures("account")
def test_a_cap_below_the_price_is_refused(run, write_job) -> None:
    """With what it would cost, and exit code 4."""
    code, _, err = run("build", write_job(), "cube", "--max-pu", 0.5)
    assert code == 4
    assert "1 tiles are left to buy for 0.56 PU, and max_pu is 0.5; nothing was sent. Raise max_pu" in err


@pytest.mark.parametrize("words", [["build", "job.toml", "cube"], ["verify", "broken", "--repair"]])
def test_missing_credentials_are_told_with_where_they_come_from(run, write_job, words: list[str], broken) -> None:
    """Exit code 3, before anything of the cube is touched."""
    write_job()
    code, _, err = run(*words)
    assert code == 3, err
    assert "no credentials: set SH_CLIENT_ID and SH_CLIENT_SECRET" in err


@pytest.fixture
def broken(run, write_job, work: Path, monkeypatch) -> Path:
    """A cube whose only tile was written, and is gone; its job was named to the build that made it."""
    with monkeypatch.context() as patch:
        patch.setenv("SH_CLIENT_ID", "id")
        patch.setenv("SH_CLIENT_SECRET", "secret")
        run("build", write_job(), "broken", "--max-pu", 0)
    with Ledger.open(work / "broken") as ledger:
        ledger._journal.append(b'{"tile":0,"state":"written","checksum":1}\n', may_wait=False)
    return work / "broken"


def test_broken_tiles_that_are_not_repaired_are_exit_code_5(run, broken) -> None:
    """With the command that repairs."""
    code, out, err = run("verify", "broken")
    assert code == 5
    assert "missing    tiles 0" in out
    assert f"shdask verify {broken} --repair" in err


@pytest.mark.usefixtures("account", "broken")
def test_a_repair_above_the_cap_changes_nothing(run) -> None:
    """The price of the broken tiles is compared before their marks are removed."""
    code, _, err = run("verify", "broken", "--repair", "--max-pu", 0.1)
    assert code == 4
    assert "1 broken tiles cost 0.56 PU, and max_pu is 0.1; nothing was changed or sent. Raise max_pu" in err


@pytest.mark.usefixtures("account", "broken")
def test_a_repair_needs_the_job(run, work: Path) -> None:
    """The area stands in no cube; the file it was built from has moved."""
    (work / "job.toml").rename(work / "moved.toml")
    code, _, err = run("verify", "broken", "--repair")
    assert code == 2
    assert "job.toml, from which broken was built, is not here; name the job file with --job JOB" in err


@pytest.mark.usefixtures("account", "broken")
def test_a_repair_refuses_the_job_of_another_cube(run, write_job) -> None:
    """Before anything of the cube is touched."""
    code, _, err = run("verify", "broken", "--repair", "--job", write_job("resolution = 20", "resolution = 30"))
    assert code == 2
    assert "broken holds another cube: grid.resolution" in err


@pytest.mark.usefixtures("account", "broken")
def test_json_of_verify_is_one_object(run) -> None:
    """Also where tiles are broken; the rest goes to stderr."""
    code, out, _ = run("verify", "broken", "--json")
    assert (code, out.count("\n")) == (5, 1)
    assert '"missing": [0]' in out
    assert '"repaired": null' in out


@pytest.mark.usefixtures("account", "broken")
def test_a_map_of_failed_tiles_that_cannot_be_written_is_refused(run) -> None:
    """The option's path is named."""
    code, _, err = run("status", "broken", "--failed", "nothing/map.geojson")
    assert code == 2
    assert "nothing/map.geojson: No such file or directory: choose another folder" in err

"""Who owns a cube in a bucket, and what its ledger keeps."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from shdask.assemble import lease as lease_module
from shdask.assemble.lease import OWNER, Lease, Owner, read_owner
from shdask.assemble.ledger import Ledger, read_ledger
from shdask.assemble.place import Place, open_place
from shdask.errors import StoreError, WrongStore
from shdask.model import TileEvent, TileState

from .conftest import Faults


@pytest.fixture
def place(url: str) -> Place:
    return open_place(url)


def written(tile: int) -> TileEvent:
    return TileEvent(tile=tile, state=TileState.WRITTEN, requests=1, pu_spent=0.5, checksum=tile)


def empty(tile: int) -> TileEvent:
    return TileEvent(tile=tile, state=TileState.EMPTY, requests=1, pu_spent=0.5)


# The lease


def test_a_second_owner_is_told_host_pid_and_age_of_the_first(place: Place):
    """Two builds cannot own one cube."""
    here = f"process {os.getpid()} on {socket.gethostname()}, heard of [0-9]+ s ago"
    with Lease.acquire(place), pytest.raises(WrongStore, match=here):
        Lease.acquire(place)


def test_a_released_lease_can_be_acquired_again(place: Place):
    """And names nobody in between."""
    Lease.acquire(place).release()
    assert read_owner(place) is None
    Lease.acquire(place).release()


def test_the_lease_of_a_killed_owner_of_this_machine_is_free(place: Place):
    """Its process is gone, so nobody waits for a minute."""
    code = (
        "import os, signal, sys\n"
        "from shdask.assemble.lease import Lease\n"
        "from shdask.assemble.place import open_place\n"
        "lease = Lease.acquire(open_place(sys.argv[1]))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, place.name], check=False).returncode == -9
    assert read_owner(place) is not None
    Lease.acquire(place).release()


def test_another_machines_owner_is_believed_for_a_minute(place: Place, monkeypatch: pytest.MonkeyPatch):
    """Refused while it may live, taken over when it was silent for longer than that."""
    place.write(OWNER, json.dumps({"host": "elsewhere", "pid": 1, "build": "b", "beat": 0}).encode())
    with pytest.raises(WrongStore, match="process 1 on elsewhere"):
        Lease.acquire(place)
    monkeypatch.setattr(lease_module, "DEAD_S", -1.0)
    Lease.acquire(place).release()


def test_of_many_that_want_a_free_cube_one_gets_it(place: Place):
    """The bucket decides."""
    got: list[Lease] = []
    refused: list[WrongStore] = []
    start = threading.Barrier(8)

    def want() -> None:
        start.wait()
        try:
            got.append(Lease.acquire(place))
        except WrongStore as error:
            refused.append(error)

    threads = [threading.Thread(target=want) for _ in range(8)]
    list(map(threading.Thread.start, threads))
    list(map(threading.Thread.join, threads))
    assert (len(got), len(refused)) == (1, 7)
    got[0].release()


def test_a_heartbeat_carries_the_owners_note(place: Place):
    """For whoever asks how the build is."""
    with Lease.acquire(place) as lease:
        lease.say({"waiting_for": "quota", "resume_at": "2026-12-01T00:00:00Z"})
        lease.beat()
        owner = read_owner(place)
    assert owner == lease.owner
    assert owner.note == {"waiting_for": "quota", "resume_at": "2026-12-01T00:00:00Z"}


def test_an_owner_that_slept_too_long_has_lost_the_cube(place: Place, monkeypatch: pytest.MonkeyPatch):
    """It learns who has it now, writes no row more, and leaves the new lease alone."""
    sleeper = Ledger.open(place)
    sleeper.append([empty(0)])
    monkeypatch.setattr(lease_module, "DEAD_S", -1.0)
    with Ledger.open(place) as taker:
        sleeper.lease.beat()
        with pytest.raises(StoreError, match=rf"taken over by process {os.getpid()}.*what was bought is kept"):
            sleeper.append([empty(1)])
        sleeper.close()
        assert read_owner(place) == taker.lease.owner
        taker.append([empty(2)])
    assert read_ledger(place).states.tolist() == [2, 0, 2]


def test_rows_of_an_owner_that_does_not_know_that_it_lost_are_beside_those_of_the_next(
    place: Place, monkeypatch: pytest.MonkeyPatch
):
    """Neither writes over the other's."""
    sleeper = Ledger.open(place)
    sleeper.append([empty(0)])
    monkeypatch.setattr(lease_module, "DEAD_S", -1.0)
    with Ledger.open(place) as taker:
        taker.append([empty(1)])
        sleeper.append([empty(2)])
        taker.append([empty(3)])
    assert read_ledger(place).states.tolist() == [2, 2, 2, 2]


def test_a_heartbeat_whose_answer_is_lost_loses_no_lease(place: Place, faults: Faults):
    """What stands there is its own, so it goes on."""
    with Lease.acquire(place) as lease:
        faults.lose_answers = 1
        lease.beat()
        lease.beat()
        assert not lease.lost
        assert read_owner(place) == lease.owner


def test_an_acquisition_whose_answer_is_lost_is_one(place: Place, faults: Faults):
    """The second try finds its own name."""
    faults.lose_answers = 1
    with Lease.acquire(place) as lease:
        assert read_owner(place) == replace(lease.owner)


def test_a_bucket_that_does_not_answer_costs_no_lease(place: Place, faults: Faults, caplog: pytest.LogCaptureFixture):
    """A heartbeat is missed, and the next one is heard."""
    caplog.set_level("WARNING")  # a local cluster of Dask raises the level of every handler
    with Lease.acquire(place) as lease:
        faults.refuse = {"PUT": 100}
        lease.beat()
        assert "no heartbeat" in caplog.text
        faults.refuse = {}
        lease.beat()
        assert read_owner(place) == lease.owner
        lease.check()


def test_a_silent_owner_of_this_machine_is_dead_after_a_minute():
    """Its process id may be somebody else's by now."""
    assert not Owner.here().is_dead(60.0)
    assert Owner.here().is_dead(60.1)


# The ledger


def test_rows_of_empty_and_failed_tiles_are_there_when_append_returns(place: Place):
    """Nothing else tells of them."""
    with Ledger.open(place) as ledger:
        ledger.append([written(0)])
        ledger.append([empty(1)])
        ledger.append([TileEvent(tile=2, state=TileState.FAILED, error="TransportError: cut")])
        assert read_ledger(place).states.tolist() == [1, 2, 3]


def test_rows_of_written_tiles_are_put_once_a_second(place: Place, faults: Faults):
    """A hundred of them in a moment are one or two objects' worth of requests."""
    with Ledger.open(place) as ledger:
        faults.seen.clear()
        [ledger.append([written(tile)]) for tile in range(100)]
        assert len([line for line in faults.seen if line.startswith("PUT")]) <= 2
    assert read_ledger(place).states.tolist() == [1] * 100


def test_rows_that_the_bucket_refused_are_there_after_the_next_try(place: Place, faults: Faults):
    """Once, not twice."""
    with Ledger.open(place) as ledger:
        faults.refuse = {"PUT": 4}
        with pytest.raises(StoreError, match="throttles"):
            ledger.append([empty(0)])
        ledger.append([empty(0)])
    assert read_ledger(place).requests == 1


def test_a_ledger_is_continued_in_order(place: Place):
    """The last run's row is the last."""
    with Ledger.open(place) as ledger:
        ledger.append([TileEvent(tile=0, state=TileState.FAILED, error="cut")])
    with Ledger.open(place) as ledger:
        ledger.append([written(0)])
    assert read_ledger(place).states.tolist() == [1]


def test_a_long_ledger_is_a_few_segments(place: Place):
    """20,000 rows of some 70 bytes."""
    with Ledger.open(place) as ledger:
        [ledger.append([empty(tile) for tile in range(start, start + 2000)]) for start in range(0, 20_000, 2000)]
    assert 2 <= len(place.names(".shdask/ledger")) <= 4
    assert read_ledger(place).requests == 20_000

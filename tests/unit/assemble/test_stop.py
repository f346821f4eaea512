"""Asking whoever builds a cube to end."""

from __future__ import annotations

from pathlib import Path

import pytest
import zarr

from shdask.assemble.lease import Lease
from shdask.assemble.place import Place, open_place
from shdask.assemble.stop import ask_to_stop, forget_stop, is_asked_to_stop, is_owned, stop_owner
from shdask.assemble.tree import create_tree
from shdask.errors import WrongStore


@pytest.fixture
def cube(tmp_path: Path) -> Place:
    """As much of a cube as a word to its owner needs."""
    zarr.create_group(tmp_path / "cube", attributes={"shdask_version": "0", "identity": "x", "spec": {}})
    return open_place(tmp_path / "cube")


def test_an_owner_hears_with_its_heartbeat_that_it_shall_end(cube: Place) -> None:
    """Nothing is told before, and nothing but a word in the store is needed."""
    with Lease.acquire(cube) as lease:
        lease.beat()
        before = lease.stop_asked
        ask_to_stop(cube)
        lease.beat()
        assert (before, lease.stop_asked) == (False, True)


def test_the_word_stands_until_a_build_begins(cube: Place) -> None:
    """The owner's own end does not take it away: one that would go on in its place must read it as well."""
    ask_to_stop(cube)
    Lease.acquire(cube).release()
    before = is_asked_to_stop(cube)
    forget_stop(cube)
    assert (before, is_asked_to_stop(cube)) == (True, False)


def test_every_group_of_a_cube_is_told_that_is_there(tmp_path: Path) -> None:
    """Whichever is being built reads it; nothing is put where a group is yet to be created."""
    root = open_place(tmp_path / "cube")
    create_tree(root, ("s1", "s2"))
    zarr.create_group(tmp_path / "cube" / "s2", attributes={"shdask_version": "0", "identity": "x", "spec": {}})
    ask_to_stop(root)
    assert (is_asked_to_stop(root), (tmp_path / "cube" / "s1").exists()) == (True, False)


def test_a_place_without_a_cube_has_nobody_to_stop(tmp_path: Path) -> None:
    """It is refused, and nothing is written."""
    with pytest.raises(WrongStore):
        ask_to_stop(open_place(tmp_path / "nothing"))
    assert list(tmp_path.iterdir()) == []


def test_stopping_waits_for_the_owner(cube: Place) -> None:
    """It returns once the lease is given back."""
    lease = Lease.acquire(cube)
    naps = iter([lambda: None, lease.release])
    assert stop_owner(cube, 60.0, clock=lambda: 0.0, sleep=lambda _: next(naps)())
    assert not is_owned(cube)


def test_an_owner_that_does_not_end_is_told_of(cube: Place) -> None:
    """After the time given it says that the cube is being built yet."""
    times = iter([0.0, 59.0, 60.0])
    with Lease.acquire(cube):
        assert not stop_owner(cube, 60.0, clock=lambda: next(times), sleep=lambda _: None)


def test_a_further_group_that_forgets_the_word_is_asked_again(cube: Place) -> None:
    """A build clears it when it begins with a group, for it might stand there from before."""
    lease = Lease.acquire(cube)
    naps = iter([lambda: forget_stop(cube), lease.release])
    stop_owner(cube, 60.0, clock=lambda: 0.0, sleep=lambda _: next(naps)())
    assert is_asked_to_stop(cube)

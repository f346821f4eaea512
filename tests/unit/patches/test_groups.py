"""Finding a layer's group in a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from shdask.assemble.place import open_place
from shdask.assemble.store import create_or_open
from shdask.assemble.tree import child, create_tree
from shdask.errors import WrongStore
from shdask.patches.groups import find_group, find_groups
from tests.unit.serve.timed import flat_plan, timed_plan


@pytest.fixture(scope="module")
def half_built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers in two zones and a coarse look, of which three groups have been begun."""
    path = tmp_path_factory.mktemp("groups") / "tree"
    root = open_place(path)
    create_tree(root, ("32632/s2", "32632/flat", "32633/s2", "32633/flat", "scout/32632/s2"))
    create_or_open(timed_plan(), child(root, "32632/s2"))
    create_or_open(flat_plan(), child(root, "32633/flat"))
    create_or_open(flat_plan(), child(root, "scout/32632/s2"))
    return path


def test_groups_are_those_begun_without_coarse_looks(half_built: Path) -> None:
    """With zone and layer."""
    found = [(group.path, group.zone, group.layer) for group in find_groups(open_place(half_built))]
    assert found == [("32632/s2", "32632", "s2"), ("32633/flat", "32633", "flat")]


def test_a_cube_of_one_grid_has_no_zone(tmp_path: Path) -> None:
    """Its root is the group."""
    place = create_or_open(flat_plan(), tmp_path / "cube").place
    assert find_group(place, "", "flat").path == ""


def test_a_group_that_is_not_begun_is_told_beside_those_that_are(half_built: Path) -> None:
    """A cube that fills has fewer."""
    with pytest.raises(WrongStore, match="no layer 's2' in zone '32633'; its layers so far: 's2' in zone '32632', 'f"):
        find_group(open_place(half_built), "32633", "s2")

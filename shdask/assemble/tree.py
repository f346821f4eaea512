"""A store of several groups: what its root says of them, and where each lives.

Refuses to know what a group holds; each is a cube of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import zarr

from shdask import __version__
from shdask.assemble.place import Place, open_place
from shdask.assemble.store import read_cube_attributes, read_root_attributes
from shdask.assemble.template import expected_zarr_warnings
from shdask.errors import WrongStore

GROUPS = "groups"
"""Root attribute: the paths of the groups below."""


def child(place: Place, path: str) -> Place:
    """The place of the group at ``path``; of the root, ``""``, it is ``place``."""
    return open_place(f"{place.name}/{path}") if path else place


def group_paths(store: str | os.PathLike[str] | Place) -> tuple[str, ...]:
    """Paths of the groups of the cube at ``store``; ``("",)`` where its root is the only one. Raises StoreError."""
    place = open_place(store)
    with place.errors(opening=True):
        root = place.read("zarr.json")
    return ("",) if root is None else tuple(read_root_attributes(place).get(GROUPS, ("",)))


def begun_groups(place: Place) -> dict[str, Place]:
    """The groups of the cube at ``place`` that have been created, by path. Raises WrongStore where there is no cube."""
    places = {path: child(place, path) for path in group_paths(place)}
    if tuple(places) == ("",):
        read_cube_attributes(place)  # says what is wrong with it
        return places
    return {path: inner for path, inner in places.items() if inner.read("zarr.json") and _is_whole(inner)}


def _is_whole(place: Place) -> bool:
    return "identity" in read_root_attributes(place)


def create_tree(place: Place, paths: Sequence[str]) -> None:
    """Make the root of several groups, or check that it is there. Raises StoreError where something else stands."""
    if place.read("zarr.json") is not None:
        attributes = read_root_attributes(place)
        if "shdask_version" not in attributes:
            raise WrongStore(f"{place.name} is a Zarr store that shdask did not make; choose a new path for the cube")
        found = attributes.get(GROUPS)
        if found is None or sorted(found) != sorted(paths):
            there = "a single layer" if found is None else f"the groups {', '.join(found)}"
            raise WrongStore(
                f"{place.name} holds another cube: {there} there, and {', '.join(paths)} in this plan. Choose a new "
                f"path, or plan the cube that is there"
            )
    else:
        if place.names():
            raise WrongStore(f"{place.name} is a folder with other things in it; choose a new path for the cube")
        with place.errors():
            told = {"shdask_version": __version__, GROUPS: list(paths), "complete": False, "pu_spent": 0.0}
            zarr.create_group(place.zarr_store(), zarr_format=3, attributes=told)
            place.settle(["zarr.json"])
    _create_folders(place, {path.rpartition("/")[0] for path in paths} - {""})


def _create_folders(place: Place, paths: Iterable[str]) -> None:
    """Make the groups that hold nothing but groups; Zarr v3 knows none that are merely implied."""
    with place.errors():
        for path in sorted(paths):
            if place.read(f"{path}/zarr.json") is None:
                zarr.create_group(place.zarr_store(), path=path, zarr_format=3)
                place.settle([f"{path}/zarr.json"])


def close_tree(place: Place, *, complete: bool, pu_spent: float) -> None:
    """Say in the root whether all groups are complete and what they cost, and gather their metadata there."""
    with place.errors():
        store = place.zarr_store()
        root = zarr.open_group(store, mode="r+")
        root.update_attributes({"complete": complete, "pu_spent": pu_spent})
        with expected_zarr_warnings():
            zarr.consolidate_metadata(store, zarr_format=3)
        place.settle(["zarr.json"])

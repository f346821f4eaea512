"""Overviews as they stand in a cube: groups of halved arrays, their place, and of which tiles they were made.

Refuses to know how pixels are halved, and to decide when.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from shdask.assemble.conventions import GRID_MAPPING, NOT_CHOSEN
from shdask.assemble.layout import Layout, object_key
from shdask.assemble.ledger import read_ledger
from shdask.assemble.place import Place
from shdask.assemble.rows import LedgerSummary
from shdask.assemble.shard import COMPRESSOR, LEVEL
from shdask.assemble.template import DATA_MASK, expected_zarr_warnings
from shdask.assemble.time_axis import COORDINATES, TIME
from shdask.assemble.verify import CubeTiles
from shdask.errors import WrongStore

OVERVIEWS = "overviews"
"""The group below a cube's own that holds its overviews."""
MADE_OF = "made_of"
"""The array there that tells, by tile, of which pixels the overviews were made: 2 + their checksum; 1 where no checksum
was told, 0 where there were none; `OF_NOTHING_KNOWN`. A tile for which the ledger tells another number is outdated."""
OF_NOTHING_KNOWN = -1
"""There: of a tile that is outdated whatever stands, or does not."""
MULTISCALES = "multiscales"
_CONVENTION = {
    # https://github.com/zarr-conventions/multiscales, a "Proposal" at v0.1; readers go by the uuid
    "uuid": "d35379db-88df-4056-af3a-620245f8e347",
    "name": MULTISCALES,
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/multiscales/refs/tags/v0.1/schema.json",
    "spec_url": "https://github.com/zarr-conventions/multiscales/blob/v0.1/README.md",
    "description": "Multiscale layout of zarr datasets",
}
_CODEC = BloscCodec(cname=COMPRESSOR, clevel=LEVEL, shuffle="shuffle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One overview: each of its pixels is ``factor`` x ``factor`` of the cube's, from the upper left corner."""

    factor: int
    """A power of two."""
    shape: tuple[int, int]
    """(y, x); the last row and column may reach beyond the cube's edge."""

    @property
    def path(self) -> str:
        """Below the cube's group."""
        return f"{OVERVIEWS}/{self.factor}"


def make_levels(shape: tuple[int, int], smallest_px: int) -> tuple[Level, ...]:
    """Overviews of a (y, x) array, until the longer side is at most ``smallest_px``; none where it is already. Pure."""
    levels: list[Level] = []
    factor = 2
    while -(-max(shape) * 2 // factor) > smallest_px:
        levels.append(Level(factor=factor, shape=(-(-shape[0] // factor), -(-shape[1] // factor))))
        factor *= 2
    return tuple(levels)


def find_levels(attributes: dict[str, Any]) -> tuple[Level, ...]:
    """The overviews that a cube's root ``attributes`` tell of, the finest first. Pure."""
    height, width = attributes["spatial:shape"]
    layout = attributes.get(MULTISCALES, {}).get("layout", ())
    ours = [entry["asset"] for entry in layout if entry["asset"].startswith(f"{OVERVIEWS}/")]
    factors = sorted(int(asset.rpartition("/")[2]) for asset in ours)
    return tuple(Level(factor=f, shape=(-(-height // f), -(-width // f))) for f in factors)


def standing_levels(place: Place, attributes: dict[str, Any]) -> tuple[Level, ...]:
    """`find_levels` of the cube at ``place``, none where they were deleted by hand. Raises StoreError."""
    return find_levels(attributes) if place.exists(f"{OVERVIEWS}/{MADE_OF}/zarr.json") else ()


def create_levels(place: Place, attributes: dict[str, Any], levels: Sequence[Level], classes: Collection[str]) -> None:
    """Write the groups and arrays of ``levels`` without a pixel, and tell of them in the root. Only the owner may.

    ``classes`` are the bands that are codes. Raises WrongStore where a band stands in the way, StoreError.
    """
    if OVERVIEWS in attributes["bands"]:
        raise WrongStore(f"{place.name} has a band {OVERVIEWS!r} where its overviews would stand; name it otherwise")
    with place.errors():
        root = zarr.open_group(place.zarr_store(), mode="r+", use_consolidated=False)
        top = root.create_group(OVERVIEWS, overwrite=True)
        states = _array(root, "tile_state")
        top.create_array(
            MADE_OF,
            shape=states.shape,
            dtype="int64",
            chunks=states.chunks,
            fill_value=0,
            compressors=_CODEC,
            dimension_names=states.metadata.dimension_names,  # type: ignore[union-attr]  # v3
            attributes={
                "long_name": "2 + checksum of the tile that overviews were made of; 1 unknown, 0 none, -1 outdated"
            },
        )
        for level in levels:
            _create_level(root, attributes, level)
        has_time = _array(root, DATA_MASK).ndim > len(level.shape)
        others = [each for each in attributes["zarr_conventions"] if each["uuid"] != _CONVENTION["uuid"]]
        root.update_attributes(
            {
                "zarr_conventions": [*others, _CONVENTION],
                MULTISCALES: _multiscales(attributes, levels, classes, has_time=has_time),
            }
        )
    gather_metadata(place)
    place.settle([f"{path}/zarr.json" for path in (OVERVIEWS, *(level.path for level in levels))])


def tell_classes(place: Place, attributes: dict[str, Any], classes: Collection[str]) -> None:
    """Let ``classes`` be the bands that are codes, and outdate all that was made. Only the owner may.

    Outdated first: cut short in between, pixels are made again as they were. Raises StoreError.
    """
    with place.errors():
        root = zarr.open_group(place.zarr_store(), mode="r+", use_consolidated=False)
        made_of = _array(root, f"{OVERVIEWS}/{MADE_OF}")
        cells = CubeTiles.of(place, attributes).cells[tuple(map(slice, made_of.shape))]
        made_of[...] = np.where(cells < NOT_CHOSEN, OF_NOTHING_KNOWN, 0)
        keys = [object_key(made_of.path, position) for position in np.ndindex(made_of.cdata_shape)]
        place.settle([key for key in keys if place.exists(key)])
        has_time = len(_array(root, DATA_MASK).shape) > len(attributes["spatial:shape"])
        told = _multiscales(attributes, find_levels(attributes), classes, has_time=has_time)
        root.update_attributes({MULTISCALES: told})
    gather_metadata(place)


def _create_level(root: zarr.Group, attributes: dict[str, Any], level: Level) -> None:
    own = {key: attributes[key] for key in attributes if key.startswith(("proj:", "spatial:"))}
    own |= placing(attributes, level) | {"zarr_conventions": attributes["zarr_conventions"]}
    group = root.create_group(level.path, attributes=own, overwrite=True)
    for name in (*attributes["bands"], DATA_MASK):
        base = _array(root, name)
        group.create_array(
            name,
            shape=(*base.shape[:-2], *level.shape),
            dtype=base.dtype,
            chunks=base.chunks,
            shards=base.shards,
            fill_value=base.fill_value,
            compressors=_CODEC,
            dimension_names=base.metadata.dimension_names,  # type: ignore[union-attr]  # v3
            attributes=base.attrs.asdict(),
        )
    a, _, c, _, e, f = own["spatial:transform"]
    for name, values in (
        ("y", f + (np.arange(level.shape[0]) + 0.5) * e),
        ("x", c + (np.arange(level.shape[1]) + 0.5) * a),
    ):
        _copy(group, _array(root, name), name, values)
    mapping = _array(root, GRID_MAPPING)
    place: dict[str, Any] = {"GeoTransform": " ".join(str(float(value)) for value in (c, a, 0.0, f, 0.0, e))}
    _copy(group, mapping, GRID_MAPPING, np.asarray(mapping[...])).update_attributes(place)
    for name in (TIME, *COORDINATES) if TIME in root else ():
        array = _array(root, name)
        _copy(group, array, name, np.asarray(array[...]))


def _copy(group: zarr.Group, base: zarr.Array[Any], name: str, values: NDArray[Any]) -> zarr.Array[Any]:
    array = group.create_array(
        name,
        shape=values.shape,
        dtype="string" if values.dtype.kind in "OT" else base.dtype,
        chunks=values.shape if name in {"x", "y"} else base.chunks or "auto",
        fill_value=base.fill_value,
        dimension_names=base.metadata.dimension_names,  # type: ignore[union-attr]  # v3
        attributes=base.attrs.asdict(),
        config={"write_empty_chunks": True},
    )
    array[...] = values
    return array


def placing(attributes: dict[str, Any], level: Level) -> dict[str, Any]:
    """The ``spatial:`` attributes that differ from level to level. Pure."""
    a, b, c, d, e, f = attributes["spatial:transform"]
    a, e = a * level.factor, e * level.factor
    height, width = level.shape
    return {
        "spatial:shape": [height, width],
        "spatial:transform": [a, b, c, d, e, f],
        "spatial:bbox": [c, f + height * e, c + width * a, f],
    }


def _multiscales(
    attributes: dict[str, Any], levels: Sequence[Level], classes: Collection[str], *, has_time: bool
) -> dict[str, Any]:
    """The convention's ``multiscales``. Its base is a band, which stands for all: GDAL looks for its name. Pure.

    Shapes stand in the levels' own groups: where the root names no ``spatial:dimensions``, GDAL 3.13 passes over an
    entry that has one.
    """
    steps = (1.0,) if has_time else ()
    base = attributes["bands"][0]
    entries: list[dict[str, Any]] = [
        {
            "asset": base,
            "transform": {"scale": [*steps, 1.0, 1.0]},
            "spatial:transform": attributes["spatial:transform"],
        }
    ]
    for level in levels:
        entries.append(
            {
                "asset": level.path,
                "derived_from": entries[-1]["asset"],
                "transform": {"scale": [*steps, 2.0, 2.0], "translation": [*(0.0 for _ in steps), 0.0, 0.0]},
                "spatial:transform": placing(attributes, level)["spatial:transform"],
            }
        )
    method = "mode" if set(attributes["bands"]) <= set(classes) else "average"
    return {"layout": entries, "resampling_method": method, "classes": sorted(classes)}


def extend_levels(place: Place, attributes: dict[str, Any]) -> None:
    """Make overviews, if there are any, as long in time as the cube is. Only the owner may. Raises StoreError."""
    if not standing_levels(place, attributes):
        return
    with place.errors():
        root = zarr.open_group(place.zarr_store(), mode="r+", use_consolidated=False)
        mask = _array(root, DATA_MASK)
        if len(mask.shape[:-2]) == 0:
            return
        names = [
            f"{level.path}/{name}" for level in find_levels(attributes) for name in (*attributes["bands"], DATA_MASK)
        ]
        for path in (f"{OVERVIEWS}/{MADE_OF}", *names):
            array = _array(root, path)
            array.resize((mask.shape[0], *array.shape[1:]))
        for level in find_levels(attributes):
            for name in (TIME, *COORDINATES):
                array = _array(root, f"{level.path}/{name}")
                array.resize(mask.shape[:1])
                array[...] = np.asarray(_array(root, name)[...])
    gather_metadata(place)


def gather_metadata(place: Place) -> None:
    """Consolidate the metadata of the group at ``place`` and all below. Raises StoreError."""
    with place.errors():
        with expected_zarr_warnings():
            zarr.consolidate_metadata(place.zarr_store(), zarr_format=3)
        place.settle(["zarr.json"])


def tiles_now(place: Place, attributes: dict[str, Any], ledger: LedgerSummary) -> NDArray[np.int64]:
    """What `MADE_OF` would hold of overviews made now, in the shape of ``tile_state``. Raises StoreError."""
    tiles = CubeTiles.of(place, attributes)
    stands = tiles.marks(place)
    found = stands.astype(np.int64)
    known = min(found.size, ledger.checksums.size)
    told = stands[:known] & (ledger.checksums[:known] >= 0)
    found[:known][told] = ledger.checksums[:known][told] + 2
    return found.reshape(tiles.cells.shape)


def tiles_made_of(place: Place) -> NDArray[np.int64]:
    """What `MADE_OF` holds. Raises StoreError."""
    with place.errors():
        store = place.zarr_store(read_only=True)
        return np.asarray(zarr.open_array(store, path=f"{OVERVIEWS}/{MADE_OF}", mode="r")[...])


def outdated_tiles(
    place: Place, attributes: dict[str, Any], ledger: LedgerSummary | None = None
) -> NDArray[np.bool_] | None:
    """Of which tiles the overviews show other pixels than stand, as ``tile_state``; None where there are no overviews.

    ``ledger`` is the place's, where it has been read already. Raises StoreError.
    """
    if not standing_levels(place, attributes):
        return None
    now, made = tiles_now(place, attributes, ledger or read_ledger(place)), tiles_made_of(place)
    outdated: NDArray[np.bool_] = now != 0
    known = tuple(slice(side) for side in made.shape)  # dates may have come meanwhile
    outdated[known] = now[known] != made
    return outdated


def touched_objects(
    layout: Layout, level: Level, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> list[tuple[int, int]]:
    """(row, column) of each object of an array of ``level`` that holds pixels of a tile at these places. Pure."""
    side, whole = layout.object_px, layout.tile_px
    found: set[tuple[int, int]] = set()
    for row, column in {*zip(rows.tolist(), columns.tolist(), strict=True)}:
        first_y, first_x = (place * whole // level.factor // side for place in (row, column))
        last_y, last_x = (
            (min(-(-(place + 1) * whole // level.factor), edge) - 1) // side
            for place, edge in zip((row, column), level.shape, strict=True)
        )
        found |= {(y, x) for y in range(first_y, last_y + 1) for x in range(first_x, last_x + 1)}
    return sorted(found)


def _array(root: zarr.Group, path: str) -> zarr.Array[Any]:
    array = root[path]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{path} is no array")
    return array

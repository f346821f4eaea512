"""The index, patches and statistics of a cube in a real S3."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shdask.assemble.place import open_place
from shdask.patches.choosing.index import open_index
from shdask.patches.choosing.sample import sample_patches
from shdask.patches.measuring.counts import KEPT
from shdask.patches.measuring.statistics import measure_statistics
from tests.contract.assemble.conftest import READER, environ, server, url, use_keys
from tests.unit.patches.indexed import in_blocks, make_cube, stored, write_tiles

__all__ = ["environ", "server", "url"]
FIRST = [0, 1, 3, 4, 9, 10]


@pytest.mark.long
def test_a_bucket_is_counted_as_a_disk_is(url: str, tmp_path: Path) -> None:
    """Blocks are numpy's, tiles that come later too; patches, their shares and statistics are those of the disk."""
    there, here = make_cube(url, indices=FIRST), make_cube(tmp_path / "cube.zarr", indices=FIRST)
    assert open_index(url).blocks("", "s2", 1)[0].sum() == stored(there, 1)[0].sum()
    rest = [index for index in there.plan.tile_set.indices().tolist() if index not in FIRST]
    [write_tiles(cube, rest) for cube in (there, here)]
    for found, pixels in zip(open_index(url).blocks("", "s2", 1), stored(there, 1), strict=True):
        np.testing.assert_array_equal(found, in_blocks(pixels))
    chosen = [sample_patches(str(store), size_px=16, dates="each", labels="SCL") for store in (url, here.place.name)]
    np.testing.assert_array_equal(*(each.key for each in chosen))
    np.testing.assert_array_equal(*(each.clear_share for each in chosen))
    np.testing.assert_array_equal(*(each.label for each in chosen))
    bands = [measure_statistics(each.cube, each, "s2", split=None).bands for each in chosen]
    assert bands[0] == bands[1]


@pytest.mark.long
def test_who_may_only_read_counts_in_memory(url: str, environ: pytest.MonkeyPatch) -> None:
    """And writes nothing."""
    cube = make_cube(url, indices=FIRST)
    use_keys(environ, READER)
    assert open_index(open_place(url)).blocks("", "s2", 0)[0].sum() == stored(cube, 0)[0].sum() > 0
    assert open_place(url).read(f"{KEPT}/000000.npz") is None

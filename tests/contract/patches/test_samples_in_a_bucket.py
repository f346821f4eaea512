"""Samples of a cube in a real S3."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shdask.patches.reading.reader import open_reader
from tests.contract.assemble.conftest import environ, server, url
from tests.unit.patches.indexed import make_cube
from tests.unit.patches.rows import make_patches

__all__ = ["environ", "server", "url"]


@pytest.mark.long
def test_a_bucket_is_read_as_a_disk_is(url: str, tmp_path: Path):
    """Bit for bit, many requests side by side."""
    here, there = make_cube(tmp_path / "cube.zarr"), make_cube(url)
    patches = make_patches(here.plan.grid, [(0, 0), (20, 8), (38, 40), (30, 48)], size_px=32)
    readers = [open_reader(place) for place in (here.place.name, there.place.name)]
    samples = [[reader.read(patch) for patch in patches] for reader in readers]
    images, masks = ([[sample[name] for sample in each] for each in samples] for name in ("image", "valid"))
    np.testing.assert_array_equal(*images)
    np.testing.assert_array_equal(*masks)
    assert np.any(images[1])

"""Sampling of rasters at arbitrary positions."""

from __future__ import annotations

import numpy as np
import pytest
from rasterio.enums import Resampling
from rasterio.transform import Affine, from_origin
from rasterio.warp import reproject

from shdask.emulator.render.resample import sample

RASTER = np.random.default_rng(3).integers(1, 4000, (40, 50)).astype(np.float32)
ALL = np.ones(RASTER.shape, dtype=bool)


def centres(rows, columns):
    """Positions of pixel centres (columns, rows), shifted by (rows, columns) pixels."""
    y, x = np.mgrid[0 : RASTER.shape[0], 0 : RASTER.shape[1]]
    return x + 0.5 + columns, y + 0.5 + rows


@pytest.mark.parametrize("resampling", ["NEAREST", "BILINEAR", "BICUBIC"])
def test_own_centres_yield_the_raster(resampling):
    """At its own pixel centres every method returns the raster exactly."""
    values, data_mask = sample(RASTER, ALL, *centres(0, 0), resampling)
    np.testing.assert_array_equal(values, RASTER)
    assert data_mask.all()


@pytest.mark.parametrize(("resampling", "judge"), [("BILINEAR", Resampling.bilinear), ("BICUBIC", Resampling.cubic)])
def test_shifted_positions_agree_with_gdal(resampling, judge):
    """In the interior the values are GDAL's for a grid shifted by part of a pixel."""
    expected = np.zeros_like(RASTER)
    transform = from_origin(0, 40, 1, 1)
    moved = Affine(1, 0, 0.3, 0, -1, 40 - 0.7)
    crs = "EPSG:32633"
    reproject(
        RASTER, expected, src_transform=transform, dst_transform=moved, src_crs=crs, dst_crs=crs, resampling=judge
    )
    values, _ = sample(RASTER, ALL, *centres(0.7, 0.3), resampling)
    np.testing.assert_allclose(values[4:-4, 4:-4], expected[4:-4, 4:-4], rtol=1e-4)


@pytest.mark.parametrize("resampling", ["NEAREST", "BILINEAR", "BICUBIC"])
def test_outside_of_the_raster_is_no_data(resampling):
    """Positions beyond the edge hold 0 and no data."""
    values, data_mask = sample(RASTER, ALL, *centres(0, 10), resampling)
    assert data_mask[:, :40].all()
    assert not data_mask[:, 40:].any()
    assert not values[:, 40:].any()


@pytest.mark.parametrize("resampling", ["BILINEAR", "BICUBIC"])
def test_invalid_neighbours_take_no_part(resampling):
    """A constant raster stays constant beside its invalid pixels, whatever they hold."""
    raster = np.full((10, 10), 100, dtype=np.float32)
    valid = np.ones(raster.shape, dtype=bool)
    raster[5, 5], valid[5, 5] = 60000, False
    y, x = np.mgrid[2:8:0.25, 2:8:0.25]
    values, data_mask = sample(raster, valid, x + 0.1, y + 0.1, resampling)
    np.testing.assert_allclose(values[data_mask], 100, rtol=1e-6)
    assert not data_mask.all()

"""Small cubes that the cluster tests build."""

from __future__ import annotations

from pathlib import Path

import shdask

SCENE = "sentinel-2-l1c_T18SVG_2016-01-12"
SCENE_BANDS = ["B05", "B8A", "B11"]
L_SHAPE = {
    "type": "Polygon",
    "coordinates": [
        [[14.40, 46.00], [14.58, 46.00], [14.58, 46.04], [14.46, 46.04], [14.46, 46.12], [14.40, 46.12], [14.40, 46.00]]
    ],
}


def scene_spec(**cube: object) -> shdask.CubeSpec:
    """Three bands of the real scene in tiles of 512 px."""
    return shdask.CubeSpec(
        time=["2016-01-12", "2016-01-12"],
        layers={"s2": {"collection": "sentinel-2-l1c", "bands": SCENE_BANDS}},
        store={"chunk_px": 256, "tile_px": 512},
        **cube,
    )


def earth_spec(**changes: object) -> shdask.CubeSpec:
    """Two bands of the synthetic Earth over an L-shaped area in tiles of 256 px, two of nine untouched."""
    fields: dict[str, object] = {
        "aoi": L_SHAPE,
        "crs": "EPSG:32633",
        "resolution": 20,
        "time": ["2024-06-01", "2024-06-30"],
        "layers": {"s2": {"collection": "sentinel-2-l2a", "bands": ["B02", "B08"], "mosaicking_order": "leastCC"}},
        "store": {"chunk_px": 128, "tile_px": 256},
    }
    return shdask.CubeSpec(**{**fields, **changes})


def scene_file(shared_data: Path, band: str = "B05") -> str:
    """The path of one band of the real scene."""
    return str(shared_data / SCENE / f"{band}.tif")

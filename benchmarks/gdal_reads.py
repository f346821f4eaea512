"""Does GDAL 3.13 read cubes as they are: sharded or not, with dates, floats, overviews and several layers?

Every array of cubes of the emulator is translated to a GeoTIFF by the GDAL below ``.venv/gdal``, Debian's own, and held
against what shdask opens; so are the levels that GDAL finds as overviews. ``make gdal``.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
import zarr

import shdask
from shdask.emulator.launch import start_emulator

COMMAND = "make gdal"
ROOT = Path(__file__).parents[1] / ".venv" / "gdal"
LIBRARIES = "usr/lib", "usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/blas", "usr/lib/x86_64-linux-gnu/lapack"
S2 = {"collection": "sentinel-2-l2a", "bands": ["B04", "B08", "SCL"]}
STORE = {"chunk_px": 128, "tile_px": 256}
CUBES: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "one picture": ({"s2": S2}, STORE),
    "dates": ({"s2": S2 | {"cadence": "dekad"}}, STORE),
    "not sharded": ({"s2": S2}, STORE | {"sharded": False}),
    "reflectance": ({"s2": {"collection": "sentinel-2-l2a", "bands": ["B04"], "units": "REFLECTANCE"}}, STORE),
    "two layers": ({"s2": S2, "heights": {"collection": "dem", "bands": ["DEM"]}}, STORE),
}
"""Layers and store; those of one layer have overviews."""


def run() -> dict[str, Any]:
    """What was read of each cube; ends with an error where a pixel, a place or a level differs."""
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        with start_emulator() as service:
            os.environ.update(service.environment())
            for number, (layers, store) in enumerate(CUBES.values()):
                build(Path(folder) / str(number), layers, store)
        for number, (name, (layers, _)) in enumerate(CUBES.items()):
            groups = [""] if len(layers) == 1 else [f"{layer}/" for layer in layers]
            cube = Path(folder) / str(number)
            assert all(gdal(program, cube) for program in ("gdalinfo", "gdalmdiminfo"))
            told[name] = {key: value for group in groups for key, value in read_group(cube, group).items()}
    return {"gdal": gdal("gdalinfo", "--version").strip(), "bands_and_overviews_equal_by_array": told}


def build(store: Path, layers: dict[str, Any], options: dict[str, Any]) -> None:
    """Four by five kilometres, with edges inside of tiles."""
    spec = shdask.CubeSpec(
        aoi=[500_000, 5_000_000, 505_000, 5_004_000],
        aoi_crs="EPSG:32633",
        crs="EPSG:32633",
        resolution=10,
        time=["2024-06-01", "2024-06-30"],
        layers=layers,
        store=options,
        service={"requests_per_minute": 60_000, "pu_per_minute": 60_000},
    )
    shdask.build_cube(spec, store, executor=shdask.SerialExecutor()).raise_for_failures()
    if len(layers) == 1:
        shdask.add_overviews(store, smallest_px=128)


def gdal(program: str, *words: object) -> str:
    """What a program of GDAL says; ends with its error."""
    loader = ROOT / "lib64" / "ld-linux-x86-64.so.2"
    libraries = ":".join(str(ROOT / each) for each in LIBRARIES)
    command = [loader, "--library-path", libraries, ROOT / "usr" / "bin" / program, *words]
    data = {"PROJ_DATA": str(ROOT / "usr/share/proj"), "GDAL_DATA": str(ROOT / "usr/share/gdal")}
    ended = subprocess.run([str(word) for word in command], env=data, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{program} {words} ended with {ended.returncode}: {ended.stderr}")
    return ended.stdout


def read_group(cube: Path, group: str) -> dict[str, list[int]]:
    """By array: how many bands, and as many overviews as GDAL finds, are equal to what shdask reads."""
    opened = shdask.open_cube(cube, layer=group.rstrip("/") or None).load()
    return {
        f"{group}{name}": [len(read_equal(cube, group, name, opened)), *read_levels(cube, group, str(name))]
        for name, each in opened.data_vars.items()
        if each.ndim > 1
    }


def read_equal(cube: Path, group: str, name: Any, opened: xr.Dataset) -> np.ndarray[Any, Any]:
    """(band, y, x), after they were found equal, and in their place."""
    pixels, place, code = translate(source_of(cube, group, name))
    expected = opened[name].to_numpy()
    assert np.array_equal(pixels, expected.reshape(-1, *expected.shape[-2:]), equal_nan=pixels.dtype.kind == "f"), name
    assert (list(place), f"EPSG:{code}") == (opened.attrs["spatial:transform"], opened.attrs["proj:code"])
    return pixels


def read_levels(cube: Path, group: str, name: str) -> list[int]:
    """The factors of the levels that GDAL takes for overviews of an array, each equal to what lies there."""
    source = source_of(cube, group, name)
    told = json.loads(gdal("gdalinfo", "-json", source))
    width = told["size"][0]
    factors = [-(-width // level["size"][0]) for level in told["bands"][0].get("overviews", ())]
    for number, factor in enumerate(factors):
        pixels, _, _ = translate(source, "-ovr", number)
        expected = np.asarray(zarr.open_array(cube / group / "overviews" / str(factor) / name, mode="r")[...])
        assert np.array_equal(pixels, expected.reshape(-1, *expected.shape[-2:]), equal_nan=pixels.dtype.kind == "f")
    return factors


def source_of(cube: Path, group: str, name: str) -> str:
    """An array's name among GDAL's subdatasets."""
    return f'ZARR:"{cube}":/{group}{name}'


def translate(source: str, *words: object) -> tuple[np.ndarray[Any, Any], tuple[float, ...], int | None]:
    """Pixels (band, y, x), affine place and EPSG code of a GeoTIFF that GDAL makes."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "array.tif"
        gdal("gdal_translate", "-q", *words, source, target)
        with rasterio.open(target) as tiff:
            return tiff.read(), tuple(tiff.transform)[:6], tiff.crs.to_epsg()

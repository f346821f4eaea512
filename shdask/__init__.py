"""shdask turns a large area of interest into one analysis-ready Zarr cube with Sentinel Hub and Dask."""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from shdask.api import build_cube
    from shdask.cluster.executor import DaskExecutor
    from shdask.errors import ShdaskError
    from shdask.model import TileEvent
    from shdask.patches.sample import sample_patches
    from shdask.plan.cube import CubePlan
    from shdask.plan.spec import CubeSpec, Layer
    from shdask.planning import make_plan
    from shdask.sentinelhub.process import AsyncProcessRequest, SentinelHubRequest
    from shdask.sentinelhub.status import get_async_running_status
    from shdask.serial import SerialExecutor
    from shdask.serve.cog import export_cog
    from shdask.serve.open import open_cube, open_cube_tree
    from shdask.serve.overviews import add_overviews
    from shdask.serve.preview import preview
    from shdask.settings import Settings

__all__ = [
    "AsyncProcessRequest",
    "CubePlan",
    "CubeSpec",
    "DaskExecutor",
    "Layer",
    "SentinelHubRequest",
    "SerialExecutor",
    "Settings",
    "ShdaskError",
    "TileEvent",
    "add_overviews",
    "build_cube",
    "export_cog",
    "get_async_running_status",
    "make_plan",
    "open_cube",
    "open_cube_tree",
    "preview",
    "sample_patches",
]

_HOME = {
    "AsyncProcessRequest": "shdask.sentinelhub.process",
    "CubePlan": "shdask.plan.cube",
    "CubeSpec": "shdask.plan.spec",
    "DaskExecutor": "shdask.cluster.executor",
    "Layer": "shdask.plan.spec",
    "SentinelHubRequest": "shdask.sentinelhub.process",
    "SerialExecutor": "shdask.serial",
    "Settings": "shdask.settings",
    "ShdaskError": "shdask.errors",
    "TileEvent": "shdask.model",
    "add_overviews": "shdask.serve.overviews",
    "build_cube": "shdask.api",
    "export_cog": "shdask.serve.cog",
    "get_async_running_status": "shdask.sentinelhub.status",
    "make_plan": "shdask.planning",
    "open_cube": "shdask.serve.open",
    "open_cube_tree": "shdask.serve.open",
    "preview": "shdask.serve.preview",
    "sample_patches": "shdask.patches.sample",
}
"""Where each public name lives; importing it waits until it is used (PEP 562)."""


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

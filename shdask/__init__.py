"""shdask turns a large area of interest into one analysis-ready Zarr cube with Sentinel Hub and Dask."""

from typing import TYPE_CHECKING

from shdask.lazy_names import names_from

__version__ = "0.1.0"

if TYPE_CHECKING:
    from shdask.api import build_cube
    from shdask.cluster.executor import DaskExecutor
    from shdask.errors import ShdaskError
    from shdask.model import TileEvent
    from shdask.patches.choosing.sample import sample_patches
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
    "AsyncProcessRequest": "sentinelhub.process",
    "CubePlan": "plan.cube",
    "CubeSpec": "plan.spec",
    "DaskExecutor": "cluster.executor",
    "Layer": "plan.spec",
    "SentinelHubRequest": "sentinelhub.process",
    "SerialExecutor": "serial",
    "Settings": "settings",
    "ShdaskError": "errors",
    "TileEvent": "model",
    "add_overviews": "serve.overviews",
    "build_cube": "api",
    "export_cog": "serve.cog",
    "get_async_running_status": "sentinelhub.status",
    "make_plan": "planning",
    "open_cube": "serve.open",
    "open_cube_tree": "serve.open",
    "preview": "serve.preview",
    "sample_patches": "patches.choosing.sample",
}

__getattr__, __dir__ = names_from(__name__, _HOME)

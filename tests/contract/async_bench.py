"""A bucket that jobs deliver to, an emulator that delivers, and plans whose jobs are small.

Refuses to judge; tests do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import obstore
from obstore.store import S3Store

import shdask
from shdask.emulator.launch import EmulatorProcess
from shdask.jobs.patience import JobPatience
from shdask.plan.cube import ROOT, CubePlan, make_cube_plan
from shdask.plan.route import route_again
from tests.seaweed import Keys, Server

BUCKET = "deliveries"
ADMIN = Keys(key_id="admin-key", secret="admin-secret")
READER = Keys(key_id="reader-key", secret="reader-secret", actions=("Read", "List"))
HASTE = JobPatience(
    poll_first_s=0.05,
    poll_max_s=0.3,
    look_s=0.1,
    grace_s=2.0,
    lost_s=1.5,
    full_first_s=0.2,
    full_max_s=1.0,
)
"""With a service that is as quick as the emulator."""
TRIANGLE = {
    "type": "Polygon",
    "coordinates": [[[14.40, 46.00], [14.52, 46.00], [14.43, 46.06], [14.40, 46.00]]],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a test of builds by jobs needs."""

    service: EmulatorProcess
    server: Server

    @property
    def store(self) -> S3Store:
        """The bucket, as its admin has it."""
        keys = {"access_key_id": ADMIN.key_id, "secret_access_key": ADMIN.secret, "region": "us-east-1"}
        return S3Store(BUCKET, endpoint=self.server.endpoint, client_options={"allow_http": True}, **keys)

    def keys(self, prefix: str = "") -> list[str]:
        """The keys of all objects below a prefix."""
        return sorted(entry["path"] for page in obstore.list(self.store, prefix or None) for entry in page)

    def plan(self, prefix: str, *, job_px: int = 128, route: str = "async", **changes: Any) -> CubePlan:
        """A mosaic of the synthetic Earth over a triangle, in tiles of 64 px and jobs of up to ``job_px``."""
        return small_jobs(shdask.make_plan(self.spec(prefix, route=route, **changes)), job_px)

    def spec(self, prefix: str, *, route: str = "async", delivery: Any = None, **changes: Any) -> shdask.CubeSpec:
        """What `plan` plans."""
        layer = {
            "collection": "sentinel-2-l2a",
            "bands": ["B02", "B08", "SCL"],
            "units": "DN",
            "resampling": "bilinear",
            "mosaicking_order": "leastCC",
            "route": route,
        }
        fields: dict[str, Any] = {
            "aoi": TRIANGLE,
            "crs": "EPSG:32633",
            "resolution": 40,
            "time": ["2024-06-01", "2024-06-30"],
            "layers": {"s2": {**layer, **changes.pop("layer", {})}},
            "store": {"chunk_px": 32, "tile_px": 64},
            "delivery": {
                "s3_url": f"s3://{BUCKET}/{prefix}",
                "endpoint_url": self.server.endpoint,
                **(delivery or {}),
            },
        }
        return shdask.CubeSpec(**{**fields, **changes})

    @property
    def calls(self) -> dict[str, int]:
        """What the service was called, by method, path and status."""
        return dict(self.service.stats()["calls"])

    def submits(self, status: int = 200) -> int:
        """How many orders were answered so."""
        return sum(count for call, count in self.calls.items() if call == f"POST /api/v1/async/process {status}")


def small_jobs(plan: CubePlan, job_px: int) -> CubePlan:
    """The same plan with an account whose jobs have at most ``job_px`` a side."""
    group = plan.groups[ROOT]
    smaller = replace(group, deployment=replace(group.deployment, max_async_px=job_px))
    return make_cube_plan({ROOT: route_again(smaller)}, max_pu=plan.max_pu, notes=plan.notes)

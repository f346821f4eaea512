"""What is asked of service and bucket for a job, each as one call for another thread to make.

Refuses to know what is made of the answers. Keys of S3 are read when an order is sent, and kept nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping

from shdask.assemble.store import CubeStore
from shdask.assemble.verify import find_broken
from shdask.errors import StoreError
from shdask.fetch.async_process import job_body, submit_job
from shdask.fetch.bucket import Bucket
from shdask.fetch.client import ServiceClient, Spent
from shdask.plan.group import GroupPlan
from shdask.plan.jobs import Job
from shdask.s3_access import S3Keys


def order_job(plan: GroupPlan, job: Job, prefix: str, service: ServiceClient) -> tuple[str, float]:
    """Order a job to deliver below ``prefix``: the service's id of it, and its processing units.

    Raises as `submit_job`; SettingsError where this process has no keys to lend.
    """
    has_role = plan.delivery is not None and plan.delivery.iam_role_arn is not None
    spent = Spent()
    body = job_body(plan, job, prefix, None if has_role else S3Keys.load())
    return submit_job(service, body, job.pu, spent), spent.pu or job.pu


def clean_up(cube: CubeStore, checksums: Mapping[int, int], bucket: Bucket, prefixes: list[str]) -> None:
    """Read the tiles of these checksums back, then delete all that lies below ``prefixes``.

    Raises StoreError, and deletes nothing, where one is not as it was stored.
    """
    broken = find_broken(cube, checksums)
    if broken:
        raise StoreError(f"what jobs delivered is kept in {bucket.url}: {'; '.join(broken.values())}")
    for prefix in prefixes:
        bucket.delete(prefix)

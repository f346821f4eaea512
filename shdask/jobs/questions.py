"""What is asked of service and bucket for a job, each as one call for another thread to make.

Refuses to know what is made of the answers. Keys of S3 are read when an order is sent, and kept nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from shdask.fetch.async_process import job_body, submit_job
from shdask.fetch.bucket import Bucket
from shdask.fetch.client import ServiceClient, Spent
from shdask.fetch.delivery import Found, find_delivery
from shdask.jobs.attempts import Look
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


def look_for(bucket: Bucket, look: Look) -> Found:
    """What lies where an attempt delivers. Raises StoreError."""
    return find_delivery(bucket, look.prefix, look.outputs, job_id=look.job_id)


def look_back(bucket: Bucket, looks: Sequence[Look]) -> tuple[int | None, Found]:
    """The first of several attempts that has delivered all it owes, by its number, and its files. Raises StoreError."""
    for look in looks:
        found = look_for(bucket, look)
        if found.complete:
            return look.attempt, found
    return None, Found()

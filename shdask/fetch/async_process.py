"""A job of Async Process: its request written, ordered without ever being ordered twice, and asked for.

Refuses to know what becomes of jobs, how long they are waited for, and how their files are read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from shdask.errors import (
    DecodeError,
    JobSubmitLost,
    RequestRejected,
    ServiceUnavailable,
    ShdaskError,
    TransportError,
)
from shdask.fetch.answers import without_secrets
from shdask.fetch.client import ServiceClient, Spent
from shdask.fetch.decode import describe
from shdask.fetch.process import window_body
from shdask.plan.group import GroupPlan
from shdask.plan.jobs import Job
from shdask.request.delivery import Secret, s3_json
from shdask.s3_access import S3Keys, own_secrets

_BROKEN_GATEWAY = frozenset({502, 504})
"""The answer was lost behind the gateway, not the request."""
_FAILED, _NOT_FOUND = 500, 404


def job_body(plan: GroupPlan, job: Job, prefix: str, keys: S3Keys | None) -> dict[str, Any]:
    """The Async Process request for ``job``, which delivers below the folder ``prefix`` of the plan's place. Pure.

    The service writes with the role of the plan's delivery, else with ``keys``, whose secret is masked in the
    body's repr. Raises PlanError where there is neither, ValueError for a plan without a delivery.
    """
    delivery = plan.delivery
    if delivery is None:
        raise ValueError("a plan without a delivery has no jobs")
    role = delivery.iam_role_arn
    lent = None if role else keys
    body = window_body(plan, plan.layer.parts[job.part], job.window, [plan.tile(job.tiles[0])])
    body["output"]["delivery"] = s3_json(
        f"{delivery.s3_url}/{prefix}",
        access_key=None if lent is None else lent.access_key,
        secret_access_key=None if lent is None else lent.secret_access_key,
        iam_role_arn=role,
        region=delivery.region,
    )
    return body


def submit_job(client: ServiceClient, body: Mapping[str, Any], pu: float, spent: Spent) -> str:
    """Orders a job, projected to cost ``pu`` processing units, and returns the service's id of it.

    Tried again after errors that say it was not accepted; what is spent is added to ``spent`` with every attempt.

    Raises:
        JobSubmitLost: it may have been accepted; at once, and its price is in ``spent.pu_unknown`` (or, where a head
            came, in ``spent.pu``).
        JobQueueFull: at once; the account has as many jobs as it may.
        ShdaskError: as ``ServiceClient.process`` otherwise; no job exists.

    """

    def judge(error: ShdaskError, cost: Spent) -> ShdaskError:
        if not _may_exist(error):
            return error
        if not cost.pu and not cost.pu_unknown:
            cost.pu_unknown = pu
        return JobSubmitLost(f"the answer to the order of a job was lost: {error}")

    secrets = _secrets(body)
    try:
        return client.submit(body, pu, lambda raw: _read_id(raw, lambda: secrets), judge, spent=spent, secrets=secrets)
    except ShdaskError as error:
        # frames below hold what was sent, and some tools show a traceback with its locals
        failure = error.with_traceback(None)
    raise failure


def poll_job(client: ServiceClient, job_id: str) -> bool:
    """Whether the job runs; False for one that has ended, in whatever way, and for one that never was.

    Raises DecodeError for an answer that is no status, else as ``ServiceClient.process`` does.
    """
    url = f"{client.deployment.base_url}{client.deployment.async_path}/{quote(job_id, safe='')}"
    try:
        answer = client.send("GET", url, headers={"Accept": "application/json"}, secrets=own_secrets())
    except RequestRejected as error:
        if error.status == _NOT_FOUND:
            return False
        raise
    _read_id(answer.body, own_secrets)
    return True


def _may_exist(error: ShdaskError) -> bool:
    """Whether the service may have accepted the job all the same.

    A 500 in the service's own words, with a code, and a 503 say that it did not.
    """
    if isinstance(error, TransportError):
        return error.may_be_charged
    if isinstance(error, ServiceUnavailable):
        return error.status in _BROKEN_GATEWAY or (error.status == _FAILED and error.code is None)
    return isinstance(error, DecodeError)


def _secrets(body: Mapping[str, Any]) -> tuple[str, ...]:
    """What of an order must not be told again, not even by a service that repeats what it was sent."""
    places = body.get("output", {}).get("delivery", {}).values()
    return tuple(value for place in places for value in place.values() if isinstance(value, Secret))


def _read_id(body: bytes, secrets: Callable[[], tuple[str, ...]]) -> str:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    job_id = told.get("id") if isinstance(told, dict) else None
    if not isinstance(job_id, str) or not job_id:
        raise DecodeError(f"the answer is no job's status: {describe(without_secrets(body, secrets()))}")
    return job_id

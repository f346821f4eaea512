"""Whether jobs could deliver to the bucket that a job names, and their files be read from here: found out for nothing.

Refuses to order jobs. What the service's own rights are, where a role stands for keys, it cannot know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shdask.doctor.findings import Finding
from shdask.errors import ShdaskError
from shdask.fetch.bucket import Bucket
from shdask.s3_access import S3Keys

if TYPE_CHECKING:
    from shdask.plan.delivery_spec import DeliveryOptions

CHECK = "delivery"


def check_bucket(delivery: DeliveryOptions) -> Finding:
    """Look for keys that the service may have, and let a small object come and go in the bucket.

    Raises nothing: what is wrong is the finding, with its cure.
    """
    has_role = delivery.iam_role_arn is not None
    try:
        if not has_role:
            S3Keys.load()
        bucket = Bucket.from_url(delivery.s3_url, endpoint_url=delivery.endpoint_url, region=delivery.region)
        bucket.preflight(writes=not has_role, deletes=delivery.cleanup)
    except ShdaskError as error:
        return Finding.of_error(CHECK, error)
    found = f"{bucket.url} can be listed; whether {delivery.iam_role_arn} may write there, a first job tells"
    if has_role:
        return Finding(check=CHECK, outcome="note", found=found)
    can_delete = ", and objects be deleted" if delivery.cleanup else ""
    return Finding(check=CHECK, outcome="ok", found=f"{bucket.url} can be listed, written and read{can_delete}")

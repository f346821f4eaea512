"""Every error of shdask as one tree; each class says whether asking again can help.

Knows nothing of HTTP libraries, Dask or Zarr: rooms translate what they meet into these.

    ShdaskError
    ├─ PlanError (also ValueError)   the job cannot be planned as written; before any network
    ├─ SettingsError (also ValueError)  an environment variable or profile is unusable
    ├─ ServiceError                  the service answered, and not with data
    │  ├─ RequestRejected            4xx: this request will never succeed
    │  ├─ AuthError                  the credentials are wrong or missing
    │  │  └─ TokenRejected           401 on a token that was thought good
    │  ├─ RateLimited                429
    │  ├─ QuotaExhausted             403: the account's processing units or requests are used up
    │  └─ ServiceUnavailable         5xx
    │     └─ ServiceDown             for so long that a build gives up
    ├─ TransportError                no answer, or a cut one
    ├─ JobError                      an Async Process job brought nothing
    │  ├─ JobFailed                  its error.json says why
    │  ├─ JobVanished                the service knows it no more, and the bucket never heard of it
    │  ├─ JobDeliveredNothing        it ended, and its files are not in the bucket
    │  ├─ JobTooLate                 it runs for longer than anybody waits
    │  ├─ JobQueueFull (also ServiceError)  429: the account has as many jobs as it may
    │  └─ JobSubmitLost              it may have been accepted, and its id is not known
    ├─ DecodeError                   an answer that is not the picture that was asked for
    │  └─ SpoiltDelivery             a file that a job delivered is not
    ├─ StoreError                    the cube cannot be created, opened or written
    │  ├─ StoreUnavailable           the store refuses just now: full, throttling, 5xx
    │  └─ WrongStore                 the path holds something else
    │     └─ CubeOwned               another process builds the cube
    ├─ BudgetExceeded                the next request would pass ``max_pu``
    └─ BuildError                    a build ended with failed tiles
       └─ SchedulerLost              or since its cluster's scheduler was lost
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class ShdaskError(Exception):
    """Base of every error that shdask raises on purpose."""

    retryable: ClassVar[bool] = False
    """Whether the same call can succeed later. The only retry rule."""
    max_retries: ClassVar[int | None] = None
    """How often a retryable error is tried again for one request; None leaves it to the retry policy."""
    stops_build: ClassVar[bool] = False
    """Whether it holds for every other tile too, so that going on is pointless."""
    exit_code: ClassVar[int] = 5


class PlanError(ShdaskError, ValueError):
    """The job cannot be planned as it is written: says where, why and what to change."""

    exit_code = 2


class SettingsError(ShdaskError, ValueError):
    """An environment variable, profile or deployment setting cannot be used."""

    exit_code = 2


class ServiceError(ShdaskError):
    """The service answered with an error.

    ``status`` is the HTTP status, ``code`` the service's own word for it where it gave one.
    """

    def __init__(self, message: str, status: int | None = None, code: str | None = None) -> None:
        super().__init__(message, status, code)
        self.message = message
        self.status = status
        self.code = code

    def __str__(self) -> str:
        return self.message


class RequestRejected(ServiceError):
    """4xx: the request itself is at fault, and so is every other one like it."""

    stops_build = True
    exit_code = 2


class AuthError(ServiceError):
    """The credentials are missing, wrong or revoked."""

    stops_build = True
    exit_code = 3


class TokenRejected(AuthError):
    """401 on a token that was thought good; a few fresh ones are tried for a request, the first at once."""

    retryable = True
    max_retries = 5


class RateLimited(ServiceError):
    """429: ``retry_after_s`` is the service's advice in seconds, None where it gave none."""

    retryable = True

    def __init__(
        self,
        message: str,
        status: int | None = 429,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, status, code)
        self.args = (message, status, code, retry_after_s)
        self.retry_after_s = retry_after_s


class QuotaExhausted(ServiceError):
    """403: the account has no processing units or requests left this month.

    ``resume_at`` is when there will be some again, ISO 8601 in UTC: what the service said, else the first of the next
    month.
    """

    stops_build = True
    exit_code = 4

    def __init__(
        self,
        message: str,
        status: int | None = 403,
        code: str | None = None,
        resume_at: str | None = None,
    ) -> None:
        super().__init__(message, status, code)
        self.args = (message, status, code, resume_at)
        self.resume_at = resume_at


class ServiceUnavailable(ServiceError):
    """5xx: the service's own trouble."""

    retryable = True


class ServiceDown(ServiceUnavailable):
    """The service has brought nothing for so long, and so often in a row, that a build gives up."""

    retryable = False
    stops_build = True


class TransportError(ShdaskError):
    """The connection failed, timed out, or ended before the whole answer had come.

    ``may_be_charged`` tells that the request may have been worked on all the same: its answer never came.
    """

    retryable = True

    def __init__(self, message: str, may_be_charged: bool = False) -> None:
        super().__init__(message, may_be_charged)
        self.message = message
        self.may_be_charged = may_be_charged

    def __str__(self) -> str:
        return self.message


class JobError(ShdaskError):
    """An Async Process job brought nothing; ``job_id`` is the service's id of it, where it is known.

    Never tried again by itself: whoever ordered the job knows what it has cost, and what else can be done.
    """

    def __init__(self, message: str, job_id: str | None = None) -> None:
        super().__init__(message, job_id)
        self.message = message
        self.job_id = job_id

    def __str__(self) -> str:
        return self.message


class JobFailed(JobError):
    """The job ended with an ``error.json`` in the bucket; the message holds what it says."""


class JobVanished(JobError):
    """The service knows the job no more, and no object of it came to the bucket within the time of grace."""


class JobDeliveredNothing(JobError):
    """The job ended and left something in the bucket, but neither all its files nor an ``error.json``."""


class JobTooLate(JobError):
    """The job still runs, for longer than it is waited for; it may yet deliver, and be adopted."""


class JobQueueFull(JobError, ServiceError):
    """429 on a submit: as many jobs as the account may have are alive; one more can be had when one has ended.

    ``retry_after_s`` is the service's advice in seconds, None where it gave none.
    """

    def __init__(
        self,
        message: str,
        status: int | None = 429,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        ServiceError.__init__(self, message, status, code)
        self.args = (message, status, code, retry_after_s)
        self.job_id = None
        self.retry_after_s = retry_after_s


class JobSubmitLost(JobError):
    """A submit whose answer was lost: the job may exist, and be paid for, and its id is not known.

    To be looked for in the bucket before another one is ordered in its place.
    """

    def __init__(self, message: str, may_be_charged: bool = True) -> None:
        super().__init__(message)
        self.args = (message, may_be_charged)
        self.may_be_charged = may_be_charged


class DecodeError(ShdaskError):
    """The answer is not the picture that was asked for (it was paid for, so retries are few)."""

    retryable = True
    max_retries = 2


class SpoiltDelivery(DecodeError):
    """A file that a job delivered is not the picture that was ordered: it is no use to read it again."""

    retryable = False
    max_retries = 0


class StoreError(ShdaskError):
    """The cube cannot be created, opened or written."""

    stops_build = True


class StoreUnavailable(StoreError):
    """The store refuses just now, and may not in a minute: a full disk, throttling, 5xx, no answer."""

    retryable = True


class WrongStore(StoreError):
    """The path holds no cube, another cube, something else, or a cube that another process is building."""

    exit_code = 2


class CubeOwned(WrongStore):
    """Another process builds the cube; the message says which, and when it was last heard of."""


class BudgetExceeded(ShdaskError):
    """Going on would spend more processing units than ``max_pu``; what was paid for is kept."""

    stops_build = True
    exit_code = 4


class BuildError(ShdaskError):
    """A build ended with failed tiles; ``failures`` maps tile index (and group) to the last error's text."""

    def __init__(self, message: str, failures: Mapping[Any, str] | None = None) -> None:
        super().__init__(message, failures)
        self.message = message
        self.failures = failures or {}

    def __str__(self) -> str:
        return self.message


class SchedulerLost(BuildError):
    """The scheduler of the build's cluster does not answer, or has forgotten the build; the same call continues."""

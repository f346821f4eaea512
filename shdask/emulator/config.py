"""What one emulator is: its credentials, limits, pixels and patience.

Refuses to know how any of it is carried out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorConfig:
    """Everything that can be chosen about an emulator; the defaults answer at once and limit nothing."""

    port: int = 0
    """TCP port on 127.0.0.1; 0 takes a free one."""
    client_id: str = "emulator"
    client_secret: str = field(default="emulator", repr=False)
    token_lifetime_s: float = 3600.0
    tokens_per_minute: float | None = None
    """How many tokens are issued before the token endpoint answers 429; None does not limit. The number is not
    documented."""
    plan: str | None = None
    """The account's limits by the name of a published plan, such as ``trial``; what is named below goes before it."""
    requests_per_minute: float | None = None
    """Refill rate of the request bucket; None does not limit, or leaves it to the plan."""
    requests_per_month: float | None = None
    """The month's quota of requests; None as above."""
    pu_per_minute: float | None = None
    """Refill rate of the processing-unit bucket; None as above."""
    pu_per_month: float | None = None
    """The month's quota of processing units; None as above."""
    request_burst: float | None = None
    """Capacity of the request bucket; None is one minute's worth, as the service has it."""
    pu_burst: float | None = None
    """Capacity of the processing-unit bucket; None is one minute's worth."""
    retry_after_unit: Literal["ms", "s"] = "ms"
    """What the integer in ``Retry-After`` counts; milliseconds are documented."""
    month_window: Literal["continuous", "calendar"] = "continuous"
    """How a month's quota comes back: trickling over 744 hours, as the service's contracts show it, or all at once on
    the 1st (UTC), as its billing page says."""
    month_status: Literal[403, 429] = 403
    """The answer when the month is used up; both are documented, 403 has been observed."""
    rejected_takes_request: bool = False
    """A call that is turned away with 429 or 403 costs a request all the same; not documented."""
    failed_takes_request: bool = True
    """A call that fails otherwise, with 4xx or 5xx, costs a request; not documented."""
    pu_taken: Literal["before", "after"] = "before"
    """Units leave the bucket when work begins, to be returned if it fails, or only when it has succeeded, so that calls
    at the same time may spend one and the same unit; not documented."""
    rate_limit_body: Literal["wrapped", "bare"] = "wrapped"
    """The body of a 429: in ``{"error": {...}}`` as other errors, or without it as in the documentation's sample."""
    faults: str | Sequence[Mapping[str, Any]] = ()
    """What goes wrong, as rules, as a text such as ``503:0.05,reset:0.01``, or as the path of a JSON or TOML file."""
    fault_seed: int = 7
    """Another seed draws other luck for faults with a probability."""
    latency_s: float = 0.0
    """Waited before every answer of a data call, for benchmarks."""
    archives: Mapping[str, str] = field(default_factory=dict)
    """Collection id -> folder of GeoTIFFs served as that collection."""
    seed: int = 7
    """Names the synthetic Earth; another seed is another Earth."""
    renderers: int = 2
    """Child processes that render pixels and run evalscripts."""
    script_timeout_s: float = 10.0
    """An evalscript that runs longer is ended, with the process it ran in."""
    render_timeout_s: float = 300.0
    """A request whose rendering or encoding takes longer is given up."""
    script_memory_mb: int = 3000
    """A renderer that grows beyond this ends itself."""
    unknown_collection: Literal["bad_payload", "forbidden", "not_found"] = "bad_payload"
    """The answer to a collection that is not served: 400, 403 or 404. The service's way is not documented."""
    forbidden_collections: Sequence[str] = ()
    """Collections that answer 403 COMMON_INSUFFICIENT_PERMISSIONS, as those an account has no right to."""
    elsewhere: Sequence[str] = ()
    """Collections that count as served by another deployment: in data fusion each costs twice."""
    dem_default: Literal["MAPZEN", "COPERNICUS_30", "COPERNICUS_90"] = "MAPZEN"
    """The height model of a DEM request that names none; the OpenAPI description says MAPZEN, the page of the
    Copernicus deployment COPERNICUS_30."""
    forbidden_dems: Sequence[str] = ()
    """Height models that answer 403 COMMON_INSUFFICIENT_PERMISSIONS, as COPERNICUS_30 did without registration."""
    catalog_datetime: Literal["required", "unless_ids", "optional"] = "unless_ids"
    """Whether a Catalog search must have ``datetime``: the OpenAPI description says so, the service has answered
    searches by ids without it."""
    catalog_two_areas: Literal["refuse", "both"] = "refuse"
    """``bbox`` and ``intersects`` in one Catalog search: an error, or items must meet both; not documented."""
    catalog_fields_include: Literal["merged", "alone"] = "merged"
    """``fields.include`` adds to the default members, as documented, or stands alone, as has been observed."""
    catalog_fields_both: Literal["exclude", "include"] = "exclude"
    """A member that is both included and excluded is left out, as the Catalog's page has it, or kept, as its OpenAPI
    description has it."""
    catalog_timeout_s: float = 30.0
    """A Catalog search that takes longer, such as one of the world for what is nowhere, is given up with 500."""
    max_body_nbytes: int = 64 * 2**20
    """A Process body that is larger, as it comes or unpacked, gets 413. Neither limit nor body are documented."""
    several_without_tar: Literal["refuse", "tar", "first"] = "refuse"
    """What several responses get whose request does not accept a tar: an error, a tar all the same, or the first of
    them alone. The service's way is not documented."""
    compression: Literal["deflate", "zstd", "lzw", "none"] = "deflate"
    """Compression of the TIFFs; the pixels are the same."""
    s3_endpoint: str | None = None
    """URL of the S3 that asynchronous jobs deliver to, with the keys of their requests; without it there are none."""
    s3_region: str = "eu-central-1"
    """The deployment's own, for requests that name none."""
    s3_roles: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)
    """IAM role ARN -> access key and secret access key of whoever takes it on; other roles cannot be taken on."""
    async_renderers: int = 1
    """Further child processes, started with the first job, that render jobs; other jobs wait for them."""
    async_concurrency: int | None = None
    """Jobs that may be waiting or running before another gets 429; None does not limit. The number is not
    documented."""
    async_retry_after_s: float | None = None
    """What ``Retry-After`` says with that 429, in the unit above; None leaves it out. Not documented."""
    async_queue_s: float = 0.0
    """Every job waits so long before it begins."""
    async_discount: bool = False
    """Jobs from 10,000 pixels on cost two thirds, as the page "Processing Unit" has it; those of the API say that they
    cost what Process costs."""
    async_floor: Literal["after", "before"] = "after"
    """10 PU is the least after that discount, or before it; not documented."""
    async_pu_taken: Literal["submit", "done"] = "submit"
    """Units are taken when a job is accepted, whatever becomes of it, or when it has delivered; not documented. One
    whose evalscript is in a bucket is priced, and at the earliest charged, when it begins."""
    async_pu_buckets: Literal["month", "all"] = "month"
    """A job takes units of the month alone, or of every policy, so that one dearer than a minute's worth is never
    accepted; not documented."""
    async_error_body: Literal["message", "wrapped"] = "message"
    """``error.json`` is ``{"message": ...}``, as has been observed, or the ``{"error": {...}}`` of other errors."""
    async_copies_request: bool = True
    """The request, without keys, is put beside the outputs as ``request.json`` when the job is accepted, and again with
    its cost; that there is such a copy is documented, its name and form are not."""
    recorded_requests: int = 256
    """How many of the latest Process bodies and exchanges are kept for tests and for the inspection page."""
    recorded_nbytes: int = 64 * 2**20
    """Room for the contents of those exchanges; the oldest are let go first."""
    record: str | None = None
    """Folder that receives a file per exchange, without secrets; made if it is not there. None records nothing."""
    record_answers: bool = False
    """What was answered is recorded too, if it is no text."""
    parent_pid: int | None = None
    """The process that started this one; the emulator ends when it does. None outlives everyone."""

    def to_json(self) -> str:
        """The configuration as one JSON object, secrets included. Pure."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> EmulatorConfig:
        """The configuration that ``to_json`` wrote. Pure; raises TypeError for an option that does not exist."""
        return cls(**json.loads(text))

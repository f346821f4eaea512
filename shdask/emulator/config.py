"""What one emulator is: its credentials, limits, pixels and patience.

Refuses to know how any of it is carried out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorConfig:
    """Everything that can be chosen about an emulator; the defaults answer at once and limit nothing."""

    port: int = 0
    """TCP port on 127.0.0.1; 0 takes a free one."""
    client_id: str = "emulator"
    client_secret: str = field(default="emulator", repr=False)
    token_lifetime_s: float = 3600.0
    requests_per_minute: float | None = None
    """Refill rate of the request bucket; None does not limit."""
    pu_per_minute: float | None = None
    """Refill rate of the processing-unit bucket; None does not limit."""
    request_burst: float | None = None
    """Capacity of the request bucket; None is one minute's worth, as the service has it."""
    pu_burst: float | None = None
    """Capacity of the processing-unit bucket; None is one minute's worth."""
    retry_after_unit: Literal["ms", "s"] = "ms"
    """What the integer in ``Retry-After`` counts; milliseconds are documented."""
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
    several_without_tar: Literal["refuse", "tar", "first"] = "refuse"
    """What several responses get whose request does not accept a tar: an error, a tar all the same, or the first of
    them alone. The service's way is not documented."""
    compression: Literal["deflate", "zstd", "lzw", "none"] = "deflate"
    """Compression of the TIFFs; the pixels are the same."""
    recorded_requests: int = 256
    """How many of the latest Process bodies are kept for tests."""
    parent_pid: int | None = None
    """The process that started this one; the emulator ends when it does. None outlives everyone."""

    def to_json(self) -> str:
        """The configuration as one JSON object, secrets included. Pure."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> EmulatorConfig:
        """The configuration that ``to_json`` wrote. Pure; raises TypeError for an option that does not exist."""
        return cls(**json.loads(text))

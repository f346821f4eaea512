"""JSON answers of the service's routes.

Refuses to know what they say.
"""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from shdask.emulator.account.limits import Limited


def answer_json(body: Any, status: int = 200) -> Response:
    """``body`` as JSON."""
    return Response(json.dumps(body), status_code=status, media_type="application/json")


def turn_away(limited: Limited) -> Response:
    """The answer to a call that a policy turned away."""
    response = answer_json(limited.body, limited.status)
    response.headers.update(limited.headers)
    return response
